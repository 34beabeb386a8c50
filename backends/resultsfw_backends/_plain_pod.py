"""Pods without Tekton's entrypoint: an embedder's own Pod, or the template of a Job.

Nothing in such a pod says when a Step ends but the kubelet. It tells a native sidecar to stop when all
containers of ``spec.containers`` have ended for good (`killContainer` and `computePodActions` in
pkg/kubelet/kuberuntime): that is what the results sidecar waits for here.
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
    """Whether a pod was not made for Tekton's entrypoint.

    It has no volume ``tekton-internal-...``, and no Step's container has the entrypoint's arguments.
    """
    volumes = pod["spec"].get("volumes") or ()
    by_name = containers(pod)
    return not any(one["name"].startswith(_OF_TEKTON) for one in volumes) and not any(
        _OF_ENTRYPOINT in (by_name.get(step.container, {}).get("args") or ()) for step in run.steps
    )


def check_pod(run: Run, pod: Object) -> None:
    """Refuse a pod that cannot hand out results however they are carried; make it end where it does not say.

    Raises:
        InputError: The message names what is wrong.
    """
    spec = pod["spec"]
    if not run.steps:
        raise InputError(
            f'run "{run.name}" names no Step: give each container that writes results a Step of the Run',
            subject="Run.steps",
        )
    main = {one["name"] for one in spec.get("containers") or ()}
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
    # What the API server puts there would start its containers again for ever.
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
        InputError: Something of the pod's own is in the way; the message names it.
    """
    by_name = containers(pod)
    steps = [(index, step) for index, step in enumerate(run.steps) if step.results]
    _refuse_names(run)
    for step in run.steps:
        _refuse_taken(by_name[step.container])
    volumes = [{"name": "resultsfw-results", "emptyDir": {}}]
    shared = {"name": "resultsfw-results", "mountPath": RESULTS}
    for step in run.steps:
        _give(by_name[step.container], shared, ENV_RESULTS)
    mounts = [shared]
    for index, step in steps:
        volumes.append({"name": f"resultsfw-step-{index}", "emptyDir": {}})
        own = {"name": f"resultsfw-step-{index}", "mountPath": f"{ROOT}/steps/step-{step.name}/results"}
        _give(by_name[step.container], own, ENV_STEP_RESULTS)
        mounts.append(own)
    refuse_volumes(pod, volumes)
    pod["spec"]["volumes"] = [*(pod["spec"].get("volumes") or ()), *volumes]
    return [{**one, "readOnly": True} for one in mounts]


def refuse_volumes(pod: Object, volumes: Sequence[Object]) -> None:
    """Refuse volumes to be added whose names the pod has already.

    Raises:
        InputError: The message names one.
    """
    present = {one["name"] for one in pod["spec"].get("volumes") or ()}
    for one in volumes:
        if one["name"] in present:
            raise InputError(
                f'the pod has a volume "{one["name"]}" of its own, and the backend adds one of that name: '
                f"rename yours",
                subject=f"volume {one['name']}",
            )


def steps_ended(run: Run, pod: Object) -> bool:
    """Whether all Steps' containers have ended for good: none will be started again in this pod."""
    by_name, ended, spec = containers(pod), terminated_states(pod), pod["spec"]
    return bool(run.steps) and all(
        step.container in ended
        and not _comes_again(spec, by_name.get(step.container, {}), ended[step.container])
        for step in run.steps
    )


def may_have_missed(run: Run, pod: Object, sidecar: Object | None) -> bool:
    """Whether a Step may have gone on after a native sidecar was told to stop.

    The kubelet waits for the Steps before it tells it, but no longer than the pod's grace: a Step that took
    all of that may have written later. So did one that ended after the sidecar, which somebody else stopped.

    Args:
        run: Whose Steps.
        pod: As last seen.
        sidecar: Its ``terminated``, once it has ended. Times have seconds.
    """
    patience = _patience(pod)
    at = _time((sidecar or {}).get("finishedAt"))
    states = container_states(pod)
    for step in run.steps:
        state = states.get(step.container, {})
        if "running" in state:
            # Not seen to end yet. Within the grace, it has: else nobody would have told the sidecar.
            if patience is None or dt.datetime.now(dt.UTC) >= patience:
                return True
        elif (end := _time(state.get("terminated", {}).get("finishedAt"))) is not None and (
            (at is not None and end > at) or (patience is not None and end >= patience)
        ):
            return True
    return False


def _patience(pod: Object) -> dt.datetime | None:
    """Until when the kubelet waits for the Steps before it tells a native sidecar; ``None``: for ever."""
    return min(_limits(pod), default=None)


def _limits(pod: Object) -> Iterator[dt.datetime]:
    spec, status = pod["spec"], pod.get("status", {})
    if (deletion := _time(pod["metadata"].get("deletionTimestamp"))) is not None:
        yield deletion  # the request's time and the grace
    start, seconds = _time(status.get("startTime")), spec.get("activeDeadlineSeconds")
    if start is not None and seconds is not None:
        # Whether or not the status says so yet: nothing of the pod outlives this.
        yield start + dt.timedelta(seconds=seconds + grace_period(pod))
    for one in status.get("conditions") or ():
        kubelets = one.get("type") == "DisruptionTarget" and one.get("reason") == "TerminationByKubelet"
        if kubelets and (since := _time(one.get("lastTransitionTime"))) is not None:
            yield since + dt.timedelta(seconds=1)  # the least grace there is


def _time(text: Any) -> dt.datetime | None:
    try:
        time = dt.datetime.fromisoformat(text)
    except (TypeError, ValueError):
        return None
    return time if time.tzinfo is not None else None


def _policy(spec: Object, container: Object) -> str:
    return str(container.get("restartPolicy") or spec.get("restartPolicy", "Never"))


def _comes_again(spec: Object, container: Object, ended: Object) -> bool:
    policy, failed = _policy(spec, container), bool(ended.get("exitCode"))
    rules = bool(container.get("restartPolicyRules"))
    return policy == _NATIVE or (failed and (rules or policy == "OnFailure"))


def _refuse_names(run: Run) -> None:
    """Names that are no names of files, or none that the sidecar's flags can carry."""
    for step in run.steps:
        if step.results and not _NAME.fullmatch(step.name):
            raise InputError(
                f'the name of Step "{step.name}" cannot be that of a folder: use letters, digits, "-", "_" '
                f'and "."',
                subject=f"Step {step.name}",
            )
    for name in [one.name for one in (*run.results, *(own for step in run.steps for own in step.results))]:
        whole = name not in ("", ".", "..") and not any(char in name for char in "/,\0")
        if not whole or len(name.encode()) > _FILE_BYTES:
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


def _give(container: Object, mount: Object, variable: str) -> None:
    container["volumeMounts"] = [*(container.get("volumeMounts") or ()), dict(mount)]
    # In front, so that the container's own variables may refer to it.
    container["env"] = [{"name": variable, "value": mount["mountPath"]}, *(container.get("env") or ())]
