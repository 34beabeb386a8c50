"""Backends that break the lifecycle of a run in one thing each, and which tests of the suite must find it."""

# ruff: noqa: ARG002 - methods have the signatures of what they stand for

import uuid
from dataclasses import replace

from detection_harness import caught_by
from sample_backends import Owned, Sound

from resultsfw import CONFIG_MAPS, Extraction


@caught_by(
    "test_ready_when_the_pod_is_over", "test_restart[prepare-and-ready]", "test_restart[ready-and-collect]"
)
class IsNeverReady(Sound):
    def ready(self, run, pod):
        return False


@caught_by(
    "test_not_before_its_own_containers_have_spoken",
)
class IsReadyTooEarly(Sound):
    def ready(self, run, pod):
        states = {
            status["name"]: status["state"] for status in pod.get("status", {}).get("containerStatuses") or ()
        }
        return all("terminated" in states.get(step.container, {}) for step in run.steps)


@caught_by("test_not_before_the_steps_have_ended")
class IsReadyWhileStepsRun(Sound):
    def ready(self, run, pod):
        states = {
            status["name"]: status["state"] for status in pod.get("status", {}).get("containerStatuses") or ()
        }
        held = "running" in states.get("step-hold", {})
        return held or super().ready(run, pod)

    def read(self, run, pod, cluster, limits):
        if pod["status"]["phase"] == "Running" and any(step.container == "step-hold" for step in run.steps):
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


PURGES = ("test_purge", "test_purge_without_a_pod", "test_restart[collect-and-purge]", "test_prepare_twice")


@caught_by(*PURGES)
class PurgesNothing(Owned):
    def remove(self, run, cluster):
        pass


@caught_by("test_purge_twice", "test_purge_without_a_pod")
class PurgesOnce(Owned):
    def remove(self, run, cluster):
        cluster.delete(CONFIG_MAPS, run.namespace, self.name_of(run))


@caught_by("test_purge_leaves_other_attempts")
class ForgetsAttempts(Owned):
    @staticmethod
    def name_of(run):
        return f"results-{run.uid}"


@caught_by("test_objects_of_other_shapes")
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


@caught_by("test_purge_leaves_other_attempts")
class PurgesEarlierAttempts(Owned):
    """Takes an earlier attempt's object for one that nobody needs any more."""

    def remove(self, run, cluster):
        for attempt in range(run.attempt + 1):
            super().remove(replace(run, attempt=attempt), cluster)


@caught_by("test_purge_leaves_other_attempts")
class PurgesWhatBeginsAlike(Owned):
    def remove(self, run, cluster):
        for attempt in (run.attempt, *range(10 * run.attempt, 10 * run.attempt + 10)):
            super().remove(replace(run, attempt=attempt), cluster)
