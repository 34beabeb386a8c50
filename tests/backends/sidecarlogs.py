"""What tests of the backend ``sidecar-logs`` share: runs, pods, logs, and what comes of them."""

import hashlib

import captures

from resultsfw import ResultsManager, ResultSpec, Run, Stamp, Step
from resultsfw.pods import RESULTS_SIDECAR
from resultsfw_sidecar import wire

UID = "51b37f1b-97b7-4b83-81a0-acdc337a94c2"
CORE = ResultsManager.from_flags({"results-from": "sidecar-logs"})


class Logs:
    """A cluster that has nothing but one log, and counts what is pulled of it."""

    def __init__(self, chunks, error=None):
        self.chunks = chunks
        self.error = error
        self.pulled = 0
        self.closed = False
        self.asked = None

    def read_log(self, namespace, pod, container, *, limit):
        self.asked = (namespace, pod, container, limit)
        try:
            for chunk in self.chunks:
                piece = chunk[: limit - self.pulled]
                self.pulled += len(piece)
                yield piece
                if self.pulled >= limit:
                    return
            if self.error is not None:
                raise self.error
        finally:
            self.closed = True


def a_run(*names, own=()):
    """A run of Task results and of Steps' own, given as "step.name"."""
    steps = dict.fromkeys(["one", *(each.partition(".")[0] for each in own)])
    return Run(
        namespace="default",
        name="run",
        uid="u",
        results=tuple(ResultSpec(name=name) for name in names),
        steps=tuple(
            Step(
                name=step,
                container=f"step-{step}",
                results=tuple(
                    ResultSpec(name=each.partition(".")[2]) for each in own if each.partition(".")[0] == step
                ),
            )
            for step in steps
        ),
    )


def a_pod(exit_code=0, *, state=None, phase="Succeeded", uid=UID):
    ended = {"terminated": {"exitCode": exit_code, "reason": "Completed" if exit_code == 0 else "Error"}}
    return {
        "metadata": {"name": "pod", "namespace": "default", "uid": uid},
        "spec": {"containers": [{"name": "step-one"}, {"name": RESULTS_SIDECAR}]},
        "status": {
            "phase": phase,
            "containerStatuses": [{"name": RESULTS_SIDECAR, "state": ended if state is None else state}],
        },
    }


def log_of(*lines, uid=UID, end=True):
    """A whole log around these lines, made with the sidecar's own encoders."""
    before = wire.start_line(uid, wire.WATCH_INOTIFY) + b"".join(lines)
    digest = hashlib.sha256(before).hexdigest()
    last = wire.end_line(uid, before.count(b"\n"), digest, wire.WHY_STEPS_DONE) if end else b""
    return before + last


def tekton_lines(*pairs, of="task"):
    """Lines as Tekton's sidecar prints them."""
    return b"".join(wire.value_line(name, text, of, wire=wire.TEKTON) for name, text in pairs)


def value(name, text, of="task"):
    return wire.value_line(name, text, of)


def collect(run, log, *, pod=None, speaks=wire.WIRE, size=4096, final=False):
    cluster = log if isinstance(log, Logs) else Logs([log])
    stamp = Stamp("sidecar-logs", speaks, size)
    return CORE.collect(run, pod or a_pod(), cluster, stamp=stamp, final=final)


def values_of(collected):
    values = {one.name: one.value for one in collected.results}
    for step, some in collected.step_results.items():
        values |= {f"{step}.{one.name}": one.value for one in some}
    return values


def codes(collected):
    return [problem.code for problem in collected.problems]


def facts(collected):
    """What a run comes to, without where it stood."""
    return values_of(collected), collected.problems, collected.ignored


def prepared(config="", run=None, flags=None):
    """Tekton's own pod of the capture sl-basic without its sidecar, prepared by us; and Tekton's sidecar."""
    [pod] = captures.first_pods(captures.load("sl-basic"))
    theirs = next(one for one in pod["spec"]["containers"] if one["name"] == RESULTS_SIDECAR)
    pod["spec"]["containers"].remove(theirs)
    for one in pod["spec"]["containers"]:
        place = one["args"].index("-result_from")
        del one["args"][place : place + 2]
    core = ResultsManager.from_flags(
        {"results-from": "sidecar-logs", "config.sidecar-logs": config, **(flags or {})}
    )
    run = run or Run(
        namespace="default",
        name="sl-basic",
        uid="u",
        results=(ResultSpec(name="digest"), ResultSpec(name="url")),
        steps=(Step(name="build", container="step-build"), Step(name="push", container="step-push")),
    )
    out = core.prepare_pod(run, pod)
    everyone = [*out["spec"]["initContainers"], *out["spec"]["containers"]]
    (ours,) = [one for one in everyone if one["name"] == RESULTS_SIDECAR]
    return out, ours, theirs
