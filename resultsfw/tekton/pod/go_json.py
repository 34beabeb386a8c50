"""Write JSON as Go's encoding/json does."""

import json
from typing import Any

__all__ = ["go_json"]


def go_json(value: Any) -> str:
    """Return a value as JSON: no blanks, HTML's own characters escaped."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return text
