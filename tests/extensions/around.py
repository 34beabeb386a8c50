"""A backend whose words are given, with extensions around it."""

from resultsfw import Capabilities, Extraction, ResultsManager, Stamp, hookimpl
from resultsfw.extensions import make_extension
from resultsfw.plugins import make_backend

STAMP = Stamp("mine", 1, 4096)


class Mine:
    """Says what it was told to, or raises it."""

    capabilities = Capabilities(summary="mine", external_state="owned")

    def __init__(self, *found, problems=(), transports=(), too_early=False, error=None):
        self.extraction = Extraction(
            results=found, problems=problems, transports=transports, too_early=too_early
        )
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
        return self.extraction

    @hookimpl
    def purge(self):
        if self.error:
            raise self.error


class Keeper(Mine):
    """Hands out references."""

    capabilities = Capabilities(summary="keeps", delivery="reference")

    @hookimpl
    def dereference(self):
        yield b"va"
        if self.error:
            raise self.error
        yield b"lue"


def around(backend, name, extension, options=None):
    """A core whose only backend, "mine", has an extension around it."""
    core = ResultsManager.from_flags({"results-from": "mine"}, register={"mine": backend})
    core.extensions = {name: make_extension(name, extension, options or {})}
    core._plugins._loaded["mine"] = make_backend(
        "mine", backend, extensions={name: core.extensions[name].hooks}
    )
    return core
