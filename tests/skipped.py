"""What a run of the tests says at its end about those that were skipped: each reason once."""

from collections import defaultdict
from pathlib import Path

MOST_FILES = 2


def summary(reports) -> list[str]:
    """Return a line for each reason, the most frequent first: how many tests, why, and where they are.

    Args:
        reports: pytest's, of skipped tests: file, line and reason in ``longrepr``.
    """
    tests = defaultdict(list)
    for report in reports:
        _, _, reason = report.longrepr
        tests[reason.removeprefix("Skipped: ")].append(report.nodeid.partition("::")[0])
    ordered = sorted(tests.items(), key=lambda item: (-len(item[1]), item[0]))
    return [f"{len(files):5} {reason} ({_places(files)})" for reason, files in ordered]


def _places(files: list[str]) -> str:
    """Name the files, or their folders if they are many."""
    places = sorted(set(files))
    if len(places) > MOST_FILES:
        places = sorted({str(Path(file).parent) for file in files})
    return ", ".join(places)
