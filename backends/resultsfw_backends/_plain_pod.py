"""Prepare and check pods without Tekton's entrypoint: an embedder's own Pod, or the template of a Job.

In such a pod only the kubelet knows when a Step ends. It sends SIGTERM to a native sidecar when all
containers of ``spec.containers`` have ended for good (`killContainer` and `computePodActions` in
pkg/kubelet/kuberuntime); the results sidecar waits for that signal.
"""

import datetime as dt
import re
from collections.abc import Iterator, Sequence
from typing import Any, Final

from resultsfw import Object, Run
from resultsfw.errors import InputError
from resultsfw.pods import container_states, containers, grace_period, terminated_states

__all__ = [
    "RESULTS",
    "ROOT",
    "add_folders",
    "check_pod",
    "is_plain",
    "may_have_missed",
    "refuse_volumes",
    "steps_ended",
]

ROOT: Final = "/resultsfw"
RESULTS: Final = f"{ROOT}/results"
ENV_RESULTS: Final = "RESULTSFW_RESULTS"
ENV_STEP_RESULTS: Final = "RESULTSFW_STEP_RESULTS"

_OF_TEKTON: Final = "tekton-internal-"
_OF_ENTRYPOINT: Final = "-step_metadata_dir"
_NAME: Final = re.compile(r"(?!\.\.?$)[A-Za-z0-9_.-]{1,200}")
_FILE_BYTES: Final = 255
_NATIVE: Final = "Always"


def is_plain(run: Run, pod: Object) -> bool:
    """Return whether a pod was not made for Tekton's entrypoint.

    It has no volume ``tekton-internal-...``, and no Step's container has the entrypoint's arguments.
    """
    volumes = pod["spec"].get("volumes") or ()
    by_name = containers(pod)
    return not any(volume["name"].startswith(_OF_TEKTON) for volume in volumes) and not any(
        _OF_ENTRYPOINT in (by_name.get(step.container, {}).get("args") or ()) for step in run.steps
    )


def check_pod(run: Run, pod: Object) -> None:
    """Refuse a pod that cannot deliver results with any backend; set ``restartPolicy`` if it is missing.

    Raises:
        InputError: The message names what is wrong.
    """
    spec = pod["spec"]
    if not run.steps:
        raise InputError(
            f'run "{run.name}" names no Step: give each container that writes results a Step of the Run',
            subject="Run.steps",
        )
    main = {container["name"] for container in spec.get("containers") or ()}
    taken: dict[str, str] = {}
    for step in run.steps:
        if (other := taken.setdefault(step.container, step.name)) != step.name:
            raise InputError(
                f'Steps "{other}" and "{step.name}" run in one container, "{step.container}": nothing tells '
                f"one's results from the other's; make them one Step",
                subject=f"Step {step.name}",
            )
        if step.container not in main:
            raise InputError(
                f'Step "{step.name}" runs in container "{step.container}", which is none of the pod\'s '
                f"spec.containers ({', '.join(sorted(main)) or 'it has none'})",
                subject=f"Step {step.name}",
            )
    # The API server's default, Always, would restart the containers for ever.
    policy = spec.setdefault("restartPolicy", "Never")
    for step in run.steps:
        if _policy(spec, containers(pod)[step.container]) == _NATIVE:
            raise InputError(
                f'container "{step.container}" is started again whenever it ends (restartPolicy {policy} of '
                f"the pod, or its own): results are read when it has ended for good; say Never or OnFailure",
                subject=f"container {step.container}",
            )


def add_folders(run: Run, pod: Object) -> list[Object]:
    """Give the Steps' containers folders for results and variables that name them.

    Returns:
        The same folders as mounts of the results sidecar.

    Raises:
        InputError: Something of the pod's own conflicts; the message names it.
    """
    by_name = containers(pod)
    steps = [(index, step) for index, step in enumerate(run.steps) if step.results]
    _refuse_names(run)
    for step in run.steps:
        _refuse_taken(by_name[step.container])
    volumes = [{"name": "resultsfw-results", "emptyDir": {}}]
    shared = {"name": "resultsfw-results", "mountPath": RESULTS}
    for step in run.steps:
        _add_folder(by_name[step.container], shared, ENV_RESULTS)
    mounts = [shared]
    for index, step in steps:
        volumes.append({"name": f"resultsfw-step-{index}", "emptyDir": {}})
        own = {"name": f"resultsfw-step-{index}", "mountPath": f"{ROOT}/steps/step-{step.name}/results"}
        _add_folder(by_name[step.container], own, ENV_STEP_RESULTS)
        mounts.append(own)
    refuse_volumes(pod, volumes)
    pod["spec"]["volumes"] = [*(pod["spec"].get("volumes") or ()), *volumes]
    return [{**mount, "readOnly": True} for mount in mounts]


def refuse_volumes(pod: Object, volumes: Sequence[Object]) -> None:
    """Refuse volumes to be added whose names the pod has already.

    Raises:
        InputError: The message names one.
    """
    present = {volume["name"] for volume in pod["spec"].get("volumes") or ()}
    for volume in volumes:
        if volume["name"] in present:
            raise InputError(
                f'the pod has a volume "{volume["name"]}" of its own, and the backend adds one of that name: '
                f"rename yours",
                subject=f"volume {volume['name']}",
            )


def steps_ended(run: Run, pod: Object) -> bool:
    """Return whether all Steps' containers have ended for good: none will be restarted in this pod."""
    by_name, ended, spec = containers(pod), terminated_states(pod), pod["spec"]
    return bool(run.steps) and all(
        step.container in ended
        and not _is_restarted(spec, by_name.get(step.container, {}), ended[step.container])
        for step in run.steps
    )


def may_have_missed(run: Run, pod: Object, sidecar: Object | None) -> bool:
    """Return whether a Step may have gone on after a native sidecar got SIGTERM.

    The kubelet waits for the Steps before it signals the sidecar, but no longer than the pod's grace period:
    a Step that used all of it may have written later. So may a Step that ended after the sidecar, if somebody
    else stopped the sidecar.

    Args:
        run: The run with the Steps.
        pod: The pod, as last seen.
        sidecar: The sidecar's ``terminated``, once it has ended. Times have whole seconds.
    """
    deadline = _signal_deadline(pod)
    at = _time((sidecar or {}).get("finishedAt"))
    states = container_states(pod)
    for step in run.steps:
        state = states.get(step.container, {})
        if "running" in state:
            # Its end was not seen yet. Within the grace period it has ended: otherwise there was no SIGTERM.
            if deadline is None or dt.datetime.now(dt.UTC) >= deadline:
                return True
        elif (end := _time(state.get("terminated", {}).get("finishedAt"))) is not None and (
            (at is not None and end > at) or (deadline is not None and end >= deadline)
        ):
            return True
    return False


def _signal_deadline(pod: Object) -> dt.datetime | None:
    """Return until when the kubelet delays SIGTERM to a native sidecar for the Steps; ``None``: for ever."""
    return min(_deadlines(pod), default=None)


def _deadlines(pod: Object) -> Iterator[dt.datetime]:
    spec, status = pod["spec"], pod.get("status", {})
    if (deletion := _time(pod["metadata"].get("deletionTimestamp"))) is not None:
        yield deletion  # the time of the request plus the grace period
    start, seconds = _time(status.get("startTime")), spec.get("activeDeadlineSeconds")
    if start is not None and seconds is not None:
        # Nothing in the pod outlives this time, whether or not the status shows it yet.
        yield start + dt.timedelta(seconds=seconds + grace_period(pod))
    for condition in status.get("conditions") or ():
        kind, reason = condition.get("type"), condition.get("reason")
        by_kubelet = kind == "DisruptionTarget" and reason == "TerminationByKubelet"
        if by_kubelet and (since := _time(condition.get("lastTransitionTime"))) is not None:
            yield since + dt.timedelta(seconds=1)  # the shortest possible grace period


def _time(text: Any) -> dt.datetime | None:
    try:
        time = dt.datetime.fromisoformat(text)
    except (TypeError, ValueError):
        return None
    return time if time.tzinfo is not None else None


def _policy(spec: Object, container: Object) -> str:
    return str(container.get("restartPolicy") or spec.get("restartPolicy", "Never"))


def _is_restarted(spec: Object, container: Object, ended: Object) -> bool:
    policy, failed = _policy(spec, container), bool(ended.get("exitCode"))
    rules = bool(container.get("restartPolicyRules"))
    return policy == _NATIVE or (failed and (rules or policy == "OnFailure"))


def _refuse_names(run: Run) -> None:
    """Refuse names that are not valid file names, or that the sidecar's flags cannot hold."""
    for step in run.steps:
        if step.results and not _NAME.fullmatch(step.name):
            raise InputError(
                f'the name of Step "{step.name}" cannot be that of a folder: use letters, digits, "-", "_" '
                f'and "."',
                subject=f"Step {step.name}",
            )
    step_results = [result for step in run.steps for result in step.results]
    for name in [result.name for result in (*run.results, *step_results)]:
        is_valid = name not in ("", ".", "..") and not any(char in name for char in "/,\0")
        if not is_valid or len(name.encode()) > _FILE_BYTES:
            raise InputError(
                f'result "{name}" cannot be the name of a file in {RESULTS}: use no "/" and no ",", and at '
                f"most {_FILE_BYTES} bytes",
                subject=f"result {name}",
            )


def _refuse_taken(container: Object) -> None:
    name = container["name"]
    for variable in container.get("env") or ():
        if variable["name"] in (ENV_RESULTS, ENV_STEP_RESULTS):
            raise InputError(
                f'container "{name}" has a variable {variable["name"]} of its own, which is to name its '
                f"results folder: rename yours",
                subject=f"container {name}",
            )
    for mount in container.get("volumeMounts") or ():
        if f"{mount['mountPath']}/".startswith(f"{ROOT}/"):
            raise InputError(
                f'container "{name}" mounts volume "{mount["name"]}" at {mount["mountPath"]}, and {ROOT} is '
                f"where its results folders are: mount yours elsewhere",
                subject=f"container {name}",
            )


def _add_folder(container: Object, mount: Object, variable: str) -> None:
    container["volumeMounts"] = [*(container.get("volumeMounts") or ()), dict(mount)]
    # First, so that the container's own variables may refer to it.
    container["env"] = [{"name": variable, "value": mount["mountPath"]}, *(container.get("env") or ())]
