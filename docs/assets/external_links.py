"""List the addresses outside the site that pages link to; with --fetch, those that do not answer.

Not a part of any test: other people's servers answer when they like. `make links` fetches them.
"""

# ruff: noqa: T201

import argparse
import re
import urllib.request
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

ROOT = Path(__file__).parents[2]
LINK = re.compile(r"\]\((https?://[^)\s]+)\)|<(https?://[^>\s]+)>")


def linked() -> dict[str, list[str]]:
    """Return the pages that link to each address."""
    pages = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "examples").rglob("*.md")]
    found = defaultdict(list)
    for page in sorted(pages):
        for match in LINK.finditer(page.read_text(encoding="utf-8")):
            found[match[1] or match[2]].append(str(page.relative_to(ROOT)))
    return dict(sorted(found.items()))


def fault(address: str) -> str:
    """Return why an address cannot be read; empty if it can."""
    request = urllib.request.Request(address, headers={"User-Agent": "resultsfw-docs"})  # noqa: S310
    try:
        with urllib.request.urlopen(request, timeout=20):  # noqa: S310 - LINK admits http and https alone
            return ""
    except (OSError, ValueError) as error:
        return str(error)


def main() -> int:
    """Print the addresses, or what is wrong with them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--fetch", action="store_true", help="request each, and print those that fail")
    pages = linked()
    if not parser.parse_args().fetch:
        for address, where in pages.items():
            print(address, *where)
        return 0
    with ThreadPoolExecutor(8) as threads:
        faults = dict(zip(pages, threads.map(fault, pages), strict=True))
    for address, reason in faults.items():
        if reason:
            print(f"{address}: {reason}: {', '.join(pages[address])}")
    return 1 if any(faults.values()) else 0


if __name__ == "__main__":
    raise SystemExit(main())
