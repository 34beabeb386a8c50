"""The format of Tekton's own signatures of results: its keys, and the text that is signed of a value.

Tekton's entrypoint adds these keys to a Step's results, and its controller has code that verifies them. A
signature covers a text alone, in which different values may be equal: `signed_text`. Standard library only,
for the sidecar and for verifiers.

Source: pkg/spire/spire.go, sign.go and verify.go of Tekton Pipelines; ParamValue.UnmarshalJSON in
pkg/apis/pipeline/v1beta1/param_types.go.
"""

import json

TYPE_CHECKING = False  # typing itself would cost the start-up 5 ms

if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

SVID = "SVID"
"""Key of the signer's certificate, PEM, without those that issued it."""
MANIFEST = "RESULT_MANIFEST"
"""Key of the list of the signed names, with commas between them."""
SIGNATURE_SUFFIX = ".sig"
"""Suffix of a signature's key, after the name whose value it signs; the manifest is signed, too."""

_SEPARATOR = ","


def is_signature_key(name: str) -> bool:
    """Returns whether Tekton keeps a name for signatures."""
    return name in (SVID, MANIFEST) or name.endswith(SIGNATURE_SUFFIX)


def manifest(names: "Iterable[str]") -> str:
    """Returns the manifest of the results with these names."""
    return _SEPARATOR.join(names)


def manifest_names(text: str) -> list[str]:
    """Returns the names in a manifest."""
    return [name for name in text.split(_SEPARATOR) if name]


def signed_text(value: str) -> str:
    """Returns the text that is signed of a value (getResultValue in pkg/spire/verify.go).

    An array of strings is joined with commas; an object of strings is, too, as key, value, key, value in
    order of its keys. A string in JSON's quotes is signed without them, and null as nothing. Everything else
    is signed as it is. What Go decodes differently from Python is decoded as Go does.
    """
    if value[:1] == "[":
        items = _strings(_decode(value))
        if items is not None:
            return _SEPARATOR.join(items)
    elif value[:1] == "{":
        pairs = _decode(value)
        if isinstance(pairs, _Pairs):
            values = _strings([item for _, item in pairs.items])
            if values is not None:
                entries = dict(zip((_as_go(key) for key, _ in pairs.items), values, strict=True))
                return _SEPARATOR.join(text for key in sorted(entries) for text in (key, entries[key]))
    else:
        text = _strings([_decode(value)])
        if text is not None:
            return text[0]
    return value


class _Pairs:
    """A JSON object, in which a key may occur more than once."""

    def __init__(self, items: "list[tuple[str, Any]]") -> None:
        self.items = items


def _decode(value: str) -> "Any":
    """Returns the value of a JSON text; False if it is not JSON."""
    try:
        return json.loads(value, object_pairs_hook=_Pairs)
    except (ValueError, RecursionError):
        return False


def _strings(items: "Any") -> list[str] | None:
    """Returns a list of strings as Go decodes it, where null leaves a string empty; None for other values."""
    if not isinstance(items, list) or not all(item is None or isinstance(item, str) for item in items):
        return None
    return ["" if item is None else _as_go(item) for item in items]


def _as_go(text: str) -> str:
    """Returns a decoded string with U+FFFD for each half of a surrogate pair, as Go decodes it."""
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
