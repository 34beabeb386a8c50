"""Test the contract: capabilities, changes to the pod, and requests to the cluster."""

from collections.abc import Sequence
from typing import Any, Final, get_args, get_type_hints

import pytest

from resultsfw.cluster import PODS, Object
from resultsfw.entrypoint import remove_result_file_flags
from resultsfw.hookspecs import API_VERSION
from resultsfw.stamps import LIMIT_ANNOTATION, STAMP_ANNOTATION
from resultsfw.testing.assertions import assert_intact, fail, skip
from resultsfw.testing.base import Base, FinishedPods
from resultsfw.testing.clusters import Request
from resultsfw.testing.harness import Harness
from resultsfw.testing.robustness import two_pods
from resultsfw.testing.tasks import VALUE_MARK, Write
from resultsfw.types import Capabilities

__all__ = ["ContractCases"]

RECORD: Final = "contract: the capability record is what operators and the core go by"
STEPS: Final = "contract: a backend adds to the pod and leaves the Steps' containers as they are"
VALID: Final = "contract: an API server accepts the prepared pod"
TRUST: Final = "guarantee 8: a backend gives Steps no right, no credential and no view into other containers"
RESTRICTED: Final = "guarantee 8: what a backend adds runs under the Pod Security level restricted"
RIGHTS: Final = "guarantee 8: a backend asks of the cluster what its permissions name, and nothing else"

_WRITES: Final = (
    Write(name="first", data=f"first {VALUE_MARK}".encode()),
    Write(name="own", data=f"own {VALUE_MARK}".encode(), step="second"),
)
_VERBS: Final = ("get", "list", "watch", "create", "update", "patch", "delete")
_SHARED: Final = (
    "automountServiceAccountToken",
    "hostIPC",
    "hostNetwork",
    "hostPID",
    "hostUsers",
    "restartPolicy",
    "securityContext",
    "serviceAccountName",
    "shareProcessNamespace",
)
"""Of a pod's spec: what would change for its Steps, too."""

_BY, _OUTSIDE = (get_type_hints(Capabilities)[name] for name in ("delivery", "external_state"))

_NAME_BYTES: Final = 63
_RESULT_FROM: Final = "-result_from"
_SUMMARY: Final = 120


class ContractCases(Base):
    """Check a backend's capabilities and what it does to a pod."""

    @pytest.mark.quick
    def test_capabilities(self, harness: Harness) -> None:
        """The record makes sense in itself."""
        can = harness.capabilities
        faults = [*_faults_of_sizes(can), *_faults_of_places(can)]
        if can.external_state != "no" and not hasattr(harness.plugin, "purge"):
            faults.append(f'external_state="{can.external_state}" needs the hook purge')
        if can.api_version != API_VERSION:
            faults.append(f"api_version is {API_VERSION} here, not {can.api_version}")
        if can.summary.strip() == "" or "\n" in can.summary or len(can.summary) > _SUMMARY:
            faults.append(f"summary is one line of at most {_SUMMARY} characters, not {can.summary!r}")
        faults += [
            f"permission {permission!r} needs a verb of {', '.join(_VERBS)} and a why"
            for permission in can.permissions
            if permission.verb not in _VERBS or not permission.why.strip()
        ]
        if faults:
            fail(RECORD, "; ".join(faults))

    @pytest.mark.quick
    def test_pod_is_valid(self, harness: Harness) -> None:
        """Names are unique and short, and what is mounted is there."""
        spec = harness.prepare(_WRITES).prepared["spec"]
        faults = []
        names = [container["name"] for container in _containers(spec)]
        faults += [f'container name "{name}" twice' for name in sorted(set(names)) if names.count(name) > 1]
        faults += [
            f'container name "{name}" is over {_NAME_BYTES} bytes'
            for name in names
            if len(name) > _NAME_BYTES
        ]
        volumes = [volume["name"] for volume in spec.get("volumes") or ()]
        faults += [f'volume name "{name}" twice' for name in sorted(set(volumes)) if volumes.count(name) > 1]
        for container in _containers(spec):
            mounts = container.get("volumeMounts") or ()
            faults += [
                f'container "{container["name"]}" mounts "{mount["name"]}", which is not a volume of the pod'
                for mount in mounts
                if mount["name"] not in volumes
            ]
            paths = [mount["mountPath"] for mount in mounts]
            faults += [
                f'container "{container["name"]}" mounts two volumes at {path}'
                for path in sorted(set(paths))
                if paths.count(path) > 1
            ]
            if not container.get("image"):
                faults.append(f'container "{container["name"]}" has no image')
        if faults:
            fail(VALID, "; ".join(faults))

    @pytest.mark.quick
    def test_steps_are_left_alone(self, harness: Harness) -> None:
        """A Step's container only gets arguments, before the Step's own; nothing of the pod goes."""
        sample = harness.prepare(_WRITES)
        faults = []
        after = {container["name"]: container for container in _containers(sample.prepared["spec"])}
        for before in _containers(sample.original["spec"]):
            name = before["name"]
            if name not in after:
                faults.append(f'container "{name}" is gone')
                continue
            faults += [
                f'"{key}" of container "{name}" was changed'
                for key in sorted({*before, *after[name]} - {"args"})
                if before.get(key) != after[name].get(key)
            ]
            now = after[name].get("args") or []
            if not _extends(_expected(before.get("args") or [], now), now):
                faults.append(f'container "{name}" lost arguments, or its own command\'s were changed')
        volumes = sample.prepared["spec"].get("volumes") or []
        faults += [
            f'volume "{volume["name"]}" was changed'
            for volume in sample.original["spec"].get("volumes") or ()
            if volume not in volumes
        ]
        if faults:
            fail(STEPS, "; ".join(faults))

    @pytest.mark.quick
    def test_metadata_is_left_alone(self, harness: Harness) -> None:
        """Labels, owners and name stay; annotations are only added."""
        sample = harness.prepare(_WRITES)
        before, after = sample.original["metadata"], sample.prepared["metadata"]
        faults = [
            f"metadata.{key} was changed"
            for key in before
            if key != "annotations" and _less(before, after, key)
        ]
        faults += [
            f'annotation "{key}" was changed'
            for key, text in before.get("annotations", {}).items()
            if after["annotations"].get(key) != text
        ]
        if not {STAMP_ANNOTATION, LIMIT_ANNOTATION} <= after["annotations"].keys():
            faults.append("the stamp is gone")
        if faults:
            fail(STEPS, "; ".join(faults))

    @pytest.mark.quick
    def test_steps_get_no_rights(self, harness: Harness) -> None:
        """Nothing of the pod that its Steps share is opened: service account, token, namespaces, host."""
        sample = harness.prepare(_WRITES)
        before, after = sample.original["spec"], sample.prepared["spec"]
        faults = [
            f"spec.{key} is {after.get(key)!r}, and was {before.get(key)!r}"
            for key in _SHARED
            if before.get(key) != after.get(key)
        ]
        new = {volume["name"] for volume in after.get("volumes") or ()} - {
            volume["name"] for volume in before["volumes"]
        }
        steps = {step.container for step in sample.run.steps}
        faults += [
            f'Step container "{container["name"]}" mounts the backend\'s volume "{mount["name"]}"'
            for container in _containers(after)
            if container["name"] in steps
            for mount in container.get("volumeMounts") or ()
            if mount["name"] in new
        ]
        if faults:
            fail(TRUST, "; ".join(faults))

    @pytest.mark.quick
    def test_restricted(self, harness: Harness) -> None:
        """Added containers are non-root, without capabilities, with the runtime's seccomp profile."""
        sample = harness.prepare(_WRITES)
        known = {container["name"] for container in _containers(sample.original["spec"])}
        added = [
            container for container in _containers(sample.prepared["spec"]) if container["name"] not in known
        ]
        if not added:
            skip("what it adds", "it adds no container")
        faults = [
            f'container "{container["name"]}": {fault}'
            for container in added
            for fault in _unrestricted(container)
        ]
        kinds = (
            "configMap",
            "downwardAPI",
            "emptyDir",
            "projected",
            "secret",
            "csi",
            *harness.capabilities.volumes,
        )
        original = [volume["name"] for volume in sample.original["spec"]["volumes"]]
        faults += [
            f'volume "{volume["name"]}" is of none of the kinds {", ".join(kinds)}; name another kind in '
            f"Capabilities(volumes=...)"
            for volume in sample.prepared["spec"]["volumes"]
            if volume["name"] not in original and not any(kind in volume for kind in kinds)
        ]
        if faults:
            fail(RESTRICTED, "; ".join(faults))

    @pytest.mark.quick
    def test_nothing_outside(self, harness: Harness, finished_pods: FinishedPods) -> None:
        """Who says ``external_state="no"`` makes and changes nothing but the pod."""
        if harness.capabilities.external_state != "no":
            skip(f'external_state="{harness.capabilities.external_state}"', "it makes things outside the pod")
        start = len(harness.requests)
        sample = harness.prepare(_WRITES)
        harness.collect(two_pods(finished_pods)[0])
        written = [
            request for request in harness.requests[start:] if request.verb in ("create", "patch", "delete")
        ]
        if written or harness.remaining(sample):
            what = ", ".join(
                f"{request.verb} {request.kind.kind if request.kind else ''} {request.name}"
                for request in written
            )
            fail(
                RECORD,
                f'external_state="no", and it requested: {what or "nothing"}; left: '
                f"{harness.remaining(sample)}",
            )

    @pytest.mark.quick
    def test_it_asks_what_its_permissions_name(self, harness: Harness, finished_pods: FinishedPods) -> None:
        """In the whole lifecycle of a run, every request is covered by the declared permissions."""
        sample, _ = two_pods(finished_pods)
        assert_intact(RIGHTS, harness, sample, harness.collect(sample))
        harness.purge(harness.prepare(_WRITES))
        named = {
            (permission.verb, permission.resource, permission.group)
            for permission in harness.capabilities.permissions
        }
        missing = sorted(
            {request.right for request in harness.requests if not _is_reading_a_pod(request)} - named
        )
        if missing:
            permissions = ", ".join(
                f'Permission(verb="{verb}", resource="{what}", group="{group}")'
                for verb, what, group in missing
            )
            fail(RIGHTS, f"not among its permissions: {permissions}")


def _faults_of_sizes(can: Capabilities) -> list[str]:
    sizes: dict[str, Any] = {"result_bytes": can.result_bytes, "run_bytes": can.run_bytes}
    faults = [
        f"{name} is a number of bytes from 1, or None, not {size!r}"
        for name, size in sizes.items()
        if size is not None and (type(size) is not int or size < 1)
    ]
    if not faults and can.result_bytes and can.run_bytes and can.result_bytes > can.run_bytes:
        faults.append(f"result_bytes={can.result_bytes} is over run_bytes={can.run_bytes}: a run holds one")
    return faults


def _faults_of_places(can: Capabilities) -> list[str]:
    faults = [
        f"{name} is one of {', '.join(get_args(literal))}, not {given!r}"
        for name, given, literal in (
            ("delivery", can.delivery, _BY),
            ("external_state", can.external_state, _OUTSIDE),
        )
        if given not in get_args(literal)
    ]
    if can.delivery == "reference" and can.external_state == "no":
        faults.append('delivery="reference" keeps values outside the pod, and external_state says "no"')
    return faults


def _containers(spec: Object) -> list[Object]:
    return [*(spec.get("initContainers") or ()), *(spec.get("containers") or ())]


def _expected(before: Sequence[str], after: Sequence[str]) -> Sequence[str]:
    """Return the arguments to keep: the core removes the names of result files that are not read."""
    if _RESULT_FROM not in after:
        return before
    return remove_result_file_flags([_RESULT_FROM, "elsewhere", *before])[2:]


def _extends(before: Sequence[str], after: Sequence[str]) -> bool:
    """Return whether arguments were only added, and none behind ``--``, where the Step's own begin."""

    def own(args: Sequence[str]) -> Sequence[str]:
        return args[args.index("--") :] if "--" in args else ()

    rest = iter(after)
    return own(before) == own(after) and all(argument in rest for argument in before)


def _less(before: Object, after: Object, key: str) -> bool:
    """Return whether a value was removed or changed."""
    if isinstance(before[key], dict):
        return any(after.get(key, {}).get(name) != value for name, value in before[key].items())
    return bool(before[key] != after.get(key))


def _unrestricted(container: Object) -> list[str]:
    """Return the violations of the Pod Security level restricted in a container."""
    context: dict[str, Any] = container.get("securityContext") or {}
    wanted = {
        "allowPrivilegeEscalation is false": context.get("allowPrivilegeEscalation") is False,
        'capabilities.drop is ["ALL"]': "ALL" in (context.get("capabilities") or {}).get("drop", ()),
        "no capability is added": not (context.get("capabilities") or {}).get("add"),
        "runAsNonRoot is true": context.get("runAsNonRoot") is True,
        "runAsUser is not 0": context.get("runAsUser") != 0,
        "seccompProfile.type is RuntimeDefault": (context.get("seccompProfile") or {}).get("type")
        in ("RuntimeDefault", "Localhost"),
        "it is not privileged": not context.get("privileged"),
    }
    return [f"securityContext: {what}" for what, holds in wanted.items() if not holds]


def _is_reading_a_pod(request: Request) -> bool:
    return request.verb == "get" and request.kind == PODS
