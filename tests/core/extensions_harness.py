"""What tests of extensions share: a backend that returns what it is given, and an observer that remembers."""

from resultsfw import (
    Capabilities,
    ExtractedResult,
    Extraction,
    ResultsManager,
    ResultSpec,
    Run,
    Stamp,
    hookimpl,
)
from resultsfw.extensions import make_extension
from resultsfw.plugins import make_backend

RUN = Run(namespace="n", name="r", uid="u", results=(ResultSpec(name="a"),))
POD = {"spec": {"volumes": [{"name": "tekton-internal-results", "emptyDir": {}}]}}
STAMP = Stamp("mine", 1, 99)
VALUE = ExtractedResult(name="a", value="1", source="here")


class Mine:
    """A backend whose words are given."""

    capabilities = Capabilities(summary="mine")

    def __init__(self, *found, error=None):
        self.found = found
        self.error = error

    @hookimpl
    def prepare_pod(self):
        return 1

    @hookimpl
    def pod_ready(self):
        return True

    @hookimpl
    def extract(self):
        if self.error:
            raise self.error
        return Extraction(results=self.found)

    @hookimpl
    def purge(self):
        return None


def around(backend, **extensions):
    """A core whose backend has these extensions, classes or objects, around it."""
    core = ResultsManager.from_flags({"results-from": "mine"}, register={"mine": backend})
    core.extensions = {name: make_extension(name, item, {}) for name, item in extensions.items()}
    hooks = {name: item.hooks for name, item in core.extensions.items()}
    core._plugins._loaded["mine"] = make_backend("mine", backend, extensions=hooks)
    return core


def collect(core, **more):
    return core.collect(RUN, {}, None, stamp=STAMP, **more)


class Watcher:
    """An observer that remembers what it saw."""

    def __init__(self, error=None):
        self.seen = []
        self.error = error

    def see(self, *what):
        self.seen.append(what)
        if self.error:
            raise self.error

    @hookimpl
    def results_collected(self, collected):
        self.see("collected", [result.name for result in collected.results])

    @hookimpl
    def collection_failed(self, run, problems):
        self.see("failed", run.name, [str(problem.code) for problem in problems])
