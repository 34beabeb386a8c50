"""An extension in which nothing is wrong, and which does all that an extension may do."""

import threading
from dataclasses import replace

from pydantic import BaseModel, ConfigDict, SecretStr

from resultsfw import Verification, hookimpl


class DoesAll:
    """Implements every hook, with a secret option, bounded state, and a thread that it ends."""

    class Config(BaseModel):
        model_config = ConfigDict(extra="forbid")
        token: SecretStr = SecretStr("")

    def __init__(self, config):
        self.token = config.token
        self.results = 0
        self.lock = threading.Lock()
        self.over = threading.Event()
        self.thread = threading.Thread(target=self.over.wait, daemon=True)
        self.thread.start()

    @hookimpl
    def results_collected(self, collected):
        with self.lock:
            self.results += len(collected.results)

    @hookimpl
    def collection_failed(self, problems):
        assert problems

    @hookimpl(wrapper=True)
    def prepare_pod(self, pod, run):
        wire = yield
        pod["metadata"]["annotations"]["example.com/seen"] = run.name
        pod["spec"]["containers"][0]["env"].append({"name": "SEEN", "value": "yes"})
        return wire

    @hookimpl(wrapper=True)
    def pod_ready(self):
        return (yield)

    @hookimpl(wrapper=True)
    def extract(self, run):
        found = yield
        return replace(
            found,
            results=tuple(replace(result, source=f"{result.source}; {run.name}") for result in found.results),
        )

    @hookimpl(wrapper=True)
    def dereference(self):
        pieces = yield
        return (piece for piece in pieces)

    @hookimpl(wrapper=True)
    def place_files(self):
        return (yield)

    @hookimpl(wrapper=True)
    def purge(self):
        return (yield)

    @hookimpl
    def close(self):
        self.over.set()
        self.thread.join(10)


class Verifies:
    """Verifies signatures, and has never found a valid one."""

    verifies_results = True

    @hookimpl
    def pod_created(self, run, pod):
        return Verification(
            status="Unknown", reason="Awaiting", message=f"{run.name}: pod {pod['metadata']['uid']} signs"
        )

    @hookimpl
    def attest_status(self, status):
        return {"example.com/results": str(len(status.get("results", ())))}

    @hookimpl(wrapper=True)
    def extract(self):
        found = yield
        unsigned = Verification(status="False", reason="Unsigned", message="nothing is signed")
        return replace(found, verification=unsigned)
