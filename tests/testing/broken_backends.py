"""Backends that are wrong in one thing each, and which tests of the suite must say so.

Not collected by itself: `test_detects_broken_backends` runs the suite over each.
"""

# ruff: noqa: ARG002 - methods have the signatures of what they stand for

import uuid
from dataclasses import replace
from pathlib import Path

from sample_backends import Kept, Owned, Sound, template

from resultsfw import CONFIG_MAPS, PODS, Extraction, Permission, Problem, ProblemCode, hookimpl
from resultsfw.errors import ClusterError
from resultsfw_backends import termination_message

FAULTS = {
    f"test_fault[{fault}-{when}]"
    for fault in ("not-found", "forbidden", "unavailable")
    for when in ("at-once", "in-the-middle")
}

WRONGS = {}
"""By the class: the tests that must fail, and those that may."""


def caught_by(*must, may=()):
    """Notes which tests of the suite find the wrong in a backend."""

    def note(wrong):
        WRONGS[wrong] = (set(must), set(must) | set(may))
        return wrong

    return note


def changed(extraction, change):
    """An extraction whose values are changed, ``None`` leaving one out."""
    found = (change(one) for one in extraction.results)
    return replace(extraction, results=tuple(one for one in found if one is not None))


def without_problems(extraction, code):
    return replace(extraction, problems=tuple(one for one in extraction.problems if one.code is not code))


@caught_by("test_forty_results")
class LosesTheFortieth(Sound):
    def read(self, *asked):
        extraction = super().read(*asked)
        return replace(extraction, results=extraction.results[:39])


@caught_by("test_at_its_own_wall", may=["test_more_than_a_run_holds"])
class Truncates(Sound):
    def read(self, *asked):
        return changed(super().read(*asked), lambda one: replace(one, value=one.value[:65_536]))


@caught_by("test_value[spaces]")
class Strips(Sound):
    def read(self, *asked):
        return changed(super().read(*asked), lambda one: replace(one, value=one.value.strip(" ")))


@caught_by("test_refused[latin-1]")
class ReplacesBadBytes(Sound):
    def read(self, run, pod, cluster, limits):
        extraction = super().read(run, pod, cluster, limits)
        lost = [one.result for one in extraction.problems if one.code is ProblemCode.NOT_UTF8]
        found = tuple(
            template.ExtractedResult(name=name, value="s3cr3t-pa55\ufffdt\ufffd", source="log")
            for name in lost
        )
        kept = without_problems(extraction, ProblemCode.NOT_UTF8)
        return replace(kept, results=(*kept.results, *found))


@caught_by("test_one_byte_more")
class ForgetsWhatIsTooLarge(Sound):
    def read(self, *asked):
        return without_problems(super().read(*asked), ProblemCode.RESULT_TOO_LARGE)


@caught_by("test_refused[directory]", "test_refused[fifo]")
class ForgetsWhatIsNoFile(Sound):
    def read(self, *asked):
        return without_problems(super().read(*asked), ProblemCode.NOT_REGULAR_FILE)


@caught_by("test_two_attempts")
class ReadsTheFirstAttempt(Sound):
    def read(self, run, pod, cluster, limits):
        if not pod["metadata"]["name"].endswith("-pod-retry1"):
            return super().read(run, pod, cluster, limits)
        name = pod["metadata"]["name"].removesuffix("-retry1")
        return super().read(run, cluster.get(PODS, run.namespace, name), cluster, limits)


@caught_by("test_damaged[of-another-run]", may=["test_damaged[interleaved]", "test_damaged[forged-names]"])
class ReadsAnybodysLog(Sound):
    """Takes the log's own word for whose it is."""

    def read(self, run, pod, cluster, limits):
        metadata = pod["metadata"]
        log = b"".join(
            cluster.read_log(metadata["namespace"], metadata["name"], template.CONTAINER, limit=99_999)
        )
        uid = log[:36].decode("ascii", "replace") if len(log.split(b"\n")) > 1 else ""
        pod = {**pod, "metadata": {**metadata, "uid": uid or metadata["uid"]}}
        return super().read(run, pod, cluster, limits)


@caught_by("test_damaged[deep-json]")
class RaisesItsOwn(Sound):
    def read(self, run, pod, cluster, limits):
        metadata = pod["metadata"]
        log = cluster.read_log(metadata["namespace"], metadata["name"], template.CONTAINER, limit=99_999)
        if b"[" * 1000 in b"".join(log):
            raise RecursionError("too deep")
        return super().read(run, pod, cluster, limits)


@caught_by(
    *(f"test_damaged[{kind}]" for kind in ("beginning-lost", "cut", "end-wrong", "line-dropped", "nothing")),
    may=["test_damaged_at_random"],
)
class NeedsNoEnd(Sound):
    """Takes a log that ends between two lines for one whose Steps wrote less."""

    def read(self, run, pod, cluster, limits):
        extraction = super().read(run, pod, cluster, limits)
        metadata = pod["metadata"]
        log = b"".join(
            cluster.read_log(metadata["namespace"], metadata["name"], template.CONTAINER, limit=99_999)
        )
        count = log.count(b"\n")
        incomplete = [one.code for one in extraction.problems] == [ProblemCode.TRANSPORT_INCOMPLETE]
        if incomplete and log.endswith(b"\n") and count <= len(template.declared(run)):
            return Extraction()
        return extraction


@caught_by("test_in_plain_failures")
class TellsTheValue(Sound):
    def read(self, *asked):
        extraction = super().read(*asked)
        return replace(
            extraction,
            problems=tuple(
                replace(one, message=f"{one.message}: s3cr3t-pa55\\xe9")
                if one.code is ProblemCode.NOT_UTF8
                else one
                for one in extraction.problems
            ),
        )


@caught_by(
    "test_ready_when_the_pod_is_over", "test_restart[prepare-and-ready]", "test_restart[ready-and-collect]"
)
class IsNeverReady(Sound):
    def ready(self, run, pod):
        return False


@caught_by(
    "test_not_before_its_own_containers_have_spoken",
    may=["test_whole_run", "test_not_before_the_steps_have_ended"],
)
class IsReadyTooEarly(Sound):
    def ready(self, run, pod):
        states = {one["name"]: one["state"] for one in pod.get("status", {}).get("containerStatuses") or ()}
        return all("terminated" in states.get(step.container, {}) for step in run.steps)


@caught_by("test_not_before_the_steps_have_ended")
class IsReadyWhileStepsRun(Sound):
    def ready(self, run, pod):
        states = {one["name"]: one["state"] for one in pod.get("status", {}).get("containerStatuses") or ()}
        held = "running" in states.get("step-hold", {})
        return held or super().ready(run, pod)

    def read(self, run, pod, cluster, limits):
        if pod["status"]["phase"] == "Running" and any(one.container == "step-hold" for one in run.steps):
            return Extraction()
        return super().read(run, pod, cluster, limits)


@caught_by(
    "test_restart[prepare-and-ready]",
    "test_restart[ready-and-collect]",
    "test_collect_twice",
    "test_missing_results_fail",
)
class RemembersRuns(Sound):
    def __init__(self):
        self.known = set()

    def prepare(self, run, *rest):
        self.known.add(run.uid)
        return super().prepare(run, *rest)

    def read(self, run, *rest):
        if run.uid not in self.known:
            return Extraction()
        return super().read(run, *rest)


@caught_by("test_prepare_twice")
class MakesAnotherPodEachTime(Sound):
    pods = Sound

    def prepare(self, run, pod, *rest):
        pod["metadata"].setdefault("annotations", {})["nonce"] = str(uuid.uuid4())
        return super().prepare(run, pod, *rest)


@caught_by("test_an_endless_line")
class ReadsAllThereIs(Sound):
    def read(self, run, pod, cluster, limits):
        metadata = pod["metadata"]
        b"".join(cluster.read_log(metadata["namespace"], metadata["name"], template.CONTAINER, limit=1 << 40))
        return super().read(run, pod, cluster, limits)


@caught_by(*FAULTS)
class SwallowsFaults(Sound):
    def read(self, *asked):
        try:
            return super().read(*asked)
        except ClusterError:
            return Extraction()


@caught_by(*(one for one in FAULTS if "not-found" not in one))
class GivesUpAtOnce(Sound):
    def read(self, *asked):
        try:
            return super().read(*asked)
        except ClusterError as error:
            lost = Problem(code=ProblemCode.TRANSPORT_UNREADABLE, message=error.message)
            return Extraction(problems=(lost,))


@caught_by("test_steps_get_no_rights", "test_steps_are_left_alone")
class LetsStepsSeeItsToken(Sound):
    pods = Sound

    def prepare(self, run, pod, *rest):
        wire = super().prepare(run, pod, *rest)
        pod["spec"]["volumes"].append({"name": "token", "projected": {"sources": []}})
        for one in [*pod["spec"]["containers"], pod["spec"]["initContainers"][-1]]:
            one["volumeMounts"] = [*one["volumeMounts"], {"name": "token", "mountPath": "/var/run/token"}]
        return wire


@caught_by("test_restricted")
class RunsAsRoot(Sound):
    pods = Sound

    def prepare(self, run, pod, *rest):
        wire = super().prepare(run, pod, *rest)
        del pod["spec"]["initContainers"][-1]["securityContext"]
        return wire


@caught_by("test_pod_is_valid")
class HasANameTwice(Sound):
    pods = Sound

    def prepare(self, run, pod, *rest):
        wire = super().prepare(run, pod, *rest)
        pod["spec"]["volumes"].append({"name": "mine", "emptyDir": {}})
        pod["spec"]["volumes"].append({"name": "mine", "emptyDir": {}})
        return wire


@caught_by("test_it_asks_what_its_permissions_name")
class DoesNotSayWhatItNeeds(Sound):
    capabilities = replace(template.capabilities, permissions=())


@caught_by("test_capabilities")
class HasNoSense(Sound):
    capabilities = replace(
        template.capabilities, summary="two\nlines", result_bytes=2_000_000, run_bytes=1_000_000
    )


@caught_by("test_nothing_outside", "test_prepare_twice")
class MakesThingsInSecret(Sound):
    pods = Sound
    capabilities = replace(
        template.capabilities,
        permissions=(
            *template.capabilities.permissions,
            Permission(verb="create", resource="configmaps", why="a secret"),
        ),
    )

    def prepare(self, run, pod, cluster, *rest):
        name = {"name": f"secret-{uuid.uuid4()}", "namespace": run.namespace}
        cluster.create(CONFIG_MAPS, {"apiVersion": "v1", "kind": "ConfigMap", "metadata": name})
        return super().prepare(run, pod, cluster, *rest)


PURGES = ("test_purge", "test_purge_without_a_pod", "test_restart[collect-and-purge]", "test_prepare_twice")


@caught_by(*PURGES)
class PurgesNothing(Owned):
    def remove(self, run, cluster):
        pass


@caught_by("test_purge_twice", "test_purge_without_a_pod")
class PurgesOnce(Owned):
    def remove(self, run, cluster):
        cluster.delete(CONFIG_MAPS, run.namespace, self.name_of(run))


@caught_by("test_purge_leaves_the_next_attempt", may=["test_two_attempts"])
class ForgetsAttempts(Owned):
    @staticmethod
    def name_of(run):
        return f"results-{run.uid}"


@caught_by("test_objects_of_other_shapes", may=["test_damaged_at_random"])
class TrustsObjects(Owned):
    def read(self, run, pod, cluster, limits):
        cluster.get(CONFIG_MAPS, run.namespace, self.name_of(run))["data"]["names"].split(",")
        return super().read(run, pod, cluster, limits)


@caught_by("test_prepare_twice")
class MeetsItself(Owned):
    def prepare(self, run, pod, cluster, limits, config):
        metadata = {"name": self.name_of(run), "namespace": run.namespace}
        made = {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": metadata,
            "data": {"names": self.names(run)},
        }
        cluster.create(CONFIG_MAPS, made)
        return super(Owned, self).prepare(run, pod, cluster, limits, config)


@caught_by(
    "test_beyond_one_object",
    "test_restart_before_dereference",
    "test_kept_until_the_run_is_deleted",
    "test_same_value_in_two_runs",
    "test_changed_reference",
    "test_damaged_store",
    "test_no_credentials_in_a_reference",
    "test_at_its_own_wall",
    "test_another_namespace",
    "test_placed_as_a_file",
)
class CountsCharacters(Kept):
    """Every reference says another size than there is."""

    def reference(self, config, where, data):
        return replace(super().reference(config, where, data), size=len(data) + 1)


@caught_by("test_no_credentials_in_a_reference")
class SignsItsReferences(Kept):
    signature = "?x-amz-signature=0a"

    def reference(self, config, where, data):
        return replace(super().reference(config, where, data), location=f"{where}{self.signature}")

    def give(self, reference, config):
        return super().give(
            replace(reference, location=reference.location.removesuffix(self.signature)), config
        )


@caught_by("test_kept_until_the_run_is_deleted", "test_changed_reference")
class RaisesItsOwnWhenGone(Kept):
    def give(self, reference, config):
        with (Path(config.folder) / reference.location).open("rb") as opened:
            yield opened.read()


@caught_by("test_another_namespace")
class GivesToEverybody(Kept):
    @hookimpl
    def dereference(self, reference, config):
        return self.give(reference, config)


@caught_by("test_placed_as_a_file")
class PlacesUnseen(Kept):
    """Places what it finds, and does not look at the digest."""

    @hookimpl
    def place_files(self, pod, files, mount, config):
        folder = config.folder
        copies = "; ".join(f"cp {folder}/{one.location} {file}" for file, one in files.items())
        container = {"name": "place", "image": "busybox:1", "command": ["sh", "-c", copies]}
        pod["spec"]["initContainers"].append({**container, "volumeMounts": [mount]})


class Messages(Sound):
    """The built-in one by termination message."""

    capabilities = termination_message.capabilities
    Config = termination_message.Config

    def prepare(self, run, pod, cluster, limits, config):
        return termination_message.prepare_pod(run, pod, config)

    def ready(self, run, pod):
        return termination_message.pod_ready(run, pod)

    def read(self, run, pod, cluster, limits):
        return termination_message.extract(run, pod, termination_message.WIRE)


@caught_by("test_a_message_that_the_kubelet_cuts")
class TakesACutForAnEnd(Messages):
    def read(self, *asked):
        return without_problems(super().read(*asked), ProblemCode.TRANSPORT_CUT)
