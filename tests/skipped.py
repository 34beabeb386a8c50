"""What a run of the tests says at its end about those that were skipped: each reason once."""

import re
from collections import defaultdict
from pathlib import Path

MOST_FILES = 2
CAPABILITY = re.compile(r"closed \(")
"""How a suite skips what a backend or an extension does not offer: `resultsfw.testing.assertions.skip`."""
VARIABLE = re.compile(r"RESULTSFW_\w+")


def summary(reports) -> list[str]:
    """Return a line for each reason, the most frequent first: how many tests, why, and where they are.

    Args:
        reports: pytest's, of skipped tests: file, line and reason in ``longrepr``.
    """
    tests = defaultdict(list)
    for report in reports:
        _, _, reason = report.longrepr
        tests[_kind(reason.removeprefix("Skipped: "))].append(report.nodeid.partition("::")[0])
    ordered = sorted(tests.items(), key=lambda item: (-len(item[1]), item[0]))
    return [f"{len(files):5} {reason} ({_places(files)})" for reason, files in ordered]


def _kind(reason: str) -> str:
    if CAPABILITY.match(reason):
        return "tests of a suite are of what the backend or extension does not offer"
    if VARIABLE.match(reason):
        return "need a real cluster: RESULTSFW_KUBECONFIG and more are not set, see docs/how-to/testing.md"
    return reason


def _places(files: list[str]) -> str:
    """Name the files, or their folders if they are many."""
    places = sorted(set(files))
    if len(places) > MOST_FILES:
        places = sorted({str(Path(file).parent) for file in files})
    return ", ".join(places)
