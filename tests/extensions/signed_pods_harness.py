"""What tests of the extension `signed` share: a run's pod, its backend, and a core with the extension."""

import json
from dataclasses import replace

from around import Mine
from signing_harness import POD, RUN, Signed, arrived

from resultsfw import ResultsManager, Stamp
from resultsfw.errors import NotFoundError
from resultsfw_extensions.signed import Signed as Extension
from resultsfw_sidecar import wire

STAMP = Stamp("mine", 1, 4096)
LOG = (None, "log")
PLAIN = Signed(references=(), absent=((None, "absent"), LOG))
"""The pod's statement without its reference."""

SIGNING = {"name": "RESULTSFW_SIGNING", "value": "{}"}
FINISHED = "2026-06-01T12:00:00Z"


def read(envelope=None, **changes):
    """What the backend reads of the run."""
    return arrived(PLAIN.envelope() if envelope is None else envelope, without=[LOG], **changes)


def pod_of(container="sidecar-tekton-log-results", *, state=None, phase="Running", ended=True):
    """The run's pod with a container that signs; without one if its name is "".

    Args:
        container: That container.
        state: Its state; by default it has ended with 0.
        phase: The pod's.
        ended: Whether the Step has ended.
    """
    terminated = {"exitCode": 0, "finishedAt": FINISHED}
    status = {"name": container, "state": {"terminated": terminated} if state is None else state}
    step = {"terminated": {"exitCode": 0}} if ended else {"running": {}}
    return {
        "metadata": {"name": "build-1-pod", "namespace": RUN.namespace, "uid": POD},
        "spec": {
            "initContainers": [{"name": container, "restartPolicy": "Always", "env": [SIGNING]}]
            if container
            else [],
            "containers": [{"name": "step-build", "args": ["-step_metadata_dir", "/x"]}],
        },
        "status": {
            "phase": phase,
            "initContainerStatuses": [status] if container else [],
            "containerStatuses": [{"name": "step-build", "state": step}],
        },
    }


def signer_log(envelope="", *, fault="", tekton=None, end=True):
    """The log of a container that only signs."""
    signature = wire.signature_fault_line(fault) if fault else wire.signature_line(envelope, tekton)
    lines = [wire.start_line(POD, "inotify"), signature]
    return b"".join([*lines, *([wire.end_line(POD, 2, "0" * 64, "steps-done")] if end else [])])


class Logs:
    """A cluster with the log of one container.

    Attributes:
        log: The log, or the error that reading it raises.
        limits: Of each request, in bytes.
    """

    def __init__(self, log=b""):
        self.log = log
        self.limits = []

    def read_log(self, namespace, name, container, *, limit):
        assert (namespace, name, container) == (RUN.namespace, "build-1-pod", "resultsfw-signer")
        self.limits.append(limit)
        if isinstance(self.log, Exception):
            raise self.log
        return iter([self.log[:100], self.log[100:limit]])


NO_LOG = Logs(NotFoundError("no log"))


def new_core(api, extraction, **options):
    """A core with the extension around a backend that reads the extraction; to be closed."""
    backend = Mine()
    backend.extraction = extraction
    given = {"trust-domain": "example.org", "controller-socket": api.address, **options}
    return ResultsManager.from_flags(
        {"results-from": "mine", "config.signed": json.dumps(given)},
        register={"mine": backend},
        register_extensions={"signed": Extension},
    )


def collect(api, extraction, pod=None, cluster=NO_LOG, *, run=RUN, final=False, **options):
    """The outcome of reading the pod."""
    with new_core(api, extraction, **options) as core:
        return core.collect(run, pod or pod_of(), cluster, stamp=STAMP, final=final)


def other_value(extraction, step="build", name="digest", value="forged"):
    """The extraction with another value of one result."""
    return replace(
        extraction,
        results=tuple(
            replace(result, value=value) if (result.step, result.name) == (step, name) else result
            for result in extraction.results
        ),
    )


def arrived_names(collected):
    """Names of the results that count, those of Steps with the Step."""
    steps = [
        f"{step}.{result.name}" for step, results in collected.step_results.items() for result in results
    ]
    return {result.name for result in collected.results} | set(steps)
