"""A backend as a module, and registered as one."""

import sys

from resultsfw import (
    API_VERSION,
    Capabilities,
    Extraction,
    Object,
    ResultsManager,
    hookimpl,
    result_label,
    result_too_large,
)

capabilities = Capabilities(summary="a module", api_version=API_VERSION)


@hookimpl
def prepare_pod() -> int:
    """Nothing to add."""
    return 0


@hookimpl
def pod_ready(pod: Object) -> bool:
    """Whether it has ended."""
    return str(pod["status"]["phase"]) in {"Succeeded", "Failed"}


@hookimpl
def extract() -> Extraction:
    """Nothing found, and one that was too large."""
    return Extraction(problems=(result_too_large(result_label("a"), 2, 1),))


core = ResultsManager.from_flags({"results-from": "mine"}, register={"mine": sys.modules[__name__]})
