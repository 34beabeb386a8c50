"""Extension ``my-extension``: trims line ends of results before they are stored, and counts what arrives."""

import logging
import threading
from collections.abc import Generator
from dataclasses import replace
from typing import ClassVar

from pydantic import BaseModel, ConfigDict

from resultsfw import CollectionOutcome, ExtractedResult, Extraction, Problem, Run, hookimpl

log = logging.getLogger(__name__)


class Options(BaseModel):
    """Options of ``config.my-extension``; `resultsfw backends my-extension` lists them.

    Each has a default. A password or token is a `pydantic.SecretStr`, so that nothing prints it.
    """

    model_config = ConfigDict(extra="forbid", use_attribute_docstrings=True)

    trim: bool = True
    """Whether to remove line ends at the end of results of type string."""


class MyExtension:
    """Wrap ``extract`` of every backend, and observe outcomes.

    One instance serves all runs, on several threads at once. Keep data of one run in the generator.

    Args:
        config: The operator's options.
    """

    api_version = 1
    Config: ClassVar[type[BaseModel]] = Options
    changes_results = True  # False, if the wrapper of extract returns what it got

    def __init__(self, config: Options) -> None:
        self._trim = config.trim
        self._lock = threading.Lock()
        self._complete = 0
        self._failed = 0

    @hookimpl(wrapper=True)
    def extract(self, run: Run) -> Generator[None, Extraction, Extraction]:
        """Trim results before their sizes and types are checked. What the backend raises passes as it is."""
        extraction = yield
        if not self._trim:
            return extraction
        declared = [(None, run.results), *((step.name, step.results) for step in run.steps)]
        strings = {(step, spec.name) for step, specs in declared for spec in specs if spec.type == "string"}
        return replace(
            extraction,
            results=tuple(
                _trimmed(result) if (result.step, result.name) in strings else result
                for result in extraction.results
            ),
        )

    @hookimpl
    def results_collected(self, run: Run, collected: CollectionOutcome) -> None:
        """Count a run whose results all arrived. Log names and sizes only: values may be secrets."""
        with self._lock:
            self._complete += 1
        size = sum(result.size for result in collected.results)
        log.info("run %s/%s: %d results, %d bytes", run.namespace, run.name, len(collected.results), size)

    @hookimpl
    def collection_failed(self, run: Run, problems: tuple[Problem, ...]) -> None:
        """Count a run whose results did not all arrive."""
        with self._lock:
            self._failed += 1
        codes = ", ".join(sorted({problem.code for problem in problems}))
        log.info("run %s/%s: %s", run.namespace, run.name, codes)

    @hookimpl
    def close(self) -> None:
        """Report the totals: the flags have changed, or the program ends. Release here what you hold."""
        log.info("%d runs were complete, %d were not", self._complete, self._failed)


def _trimmed(result: ExtractedResult) -> ExtractedResult:
    """Return a result without line ends at its end; a reference stays, its value is stored elsewhere."""
    if not isinstance(result.value, str):
        return result
    text = result.value.rstrip("\r\n")
    return result if text == result.value else replace(result, value=text, source=f"{result.source}; trimmed")
