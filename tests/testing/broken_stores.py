"""Backends that treat a store's fault wrongly in one thing each, and which tests must find it."""

import contextlib
from pathlib import Path

import sample_backends
from detection_harness import caught_by
from sample_backends import Kept, Owned, Store

from resultsfw import Extraction, hookimpl
from resultsfw.errors import ClusterError, NotFoundError, UnavailableError


@caught_by("test_store_fault_for_readers[down]", "test_store_fault_for_readers[slow]")
class TakesDownForEmpty(Kept):
    @hookimpl
    def extract(self, run, pod, config, backend):
        try:
            return super().extract(run, pod, config, backend)
        except UnavailableError:
            return Extraction()


@caught_by("test_store_fault_for_readers[down]", "test_store_fault_for_readers[slow]")
class TakesDownForGone(Kept):
    def give(self, reference, config):
        try:
            yield from super().give(reference, config)
        except UnavailableError as error:
            raise NotFoundError(error.message) from error


@caught_by("test_store_fault_for_readers[down]")
class PurgesNothingWhileDown(Kept):
    def remove(self, run, config):
        for file in (Path(config.folder) / self.key(run)).glob(f"{run.attempt}-*"):
            file.unlink(missing_ok=True)


@caught_by("test_store_fault_for_readers[slow]")
class WaitsForEver(Kept):
    patience = 0.5

    def check(self, config):
        Store.answers.wait()
        super().check(config)


@caught_by("test_store_fault_for_writers[down]")
class TakesNothingForNoResults(Kept):
    @hookimpl
    def extract(self, run, pod, config, backend):
        try:
            return super().extract(run, pod, config, backend)
        except NotFoundError:
            return Extraction()


@caught_by("test_store_fault_for_writers[full]")
class LosesWhatDoesNotFit(Kept):
    sidecar = sample_backends.SIDECAR.replace("state=lost", "state=absent")


@caught_by("test_endless_data_outside")
class ReadsTheWholeFile(Kept):
    @staticmethod
    def content(file, most):  # noqa: ARG004 - as `Kept` has it
        return file.read_bytes()


@caught_by("test_endless_store")
class GivesTheWholeFile(Kept):
    def give(self, reference, config):
        yield b"".join(super().give(reference, config))


WRITES = ("test_fault_while_writing[forbidden]", "test_fault_while_writing[unavailable]")


@caught_by(*WRITES)
class SwallowsFaultsOfPurge(Owned):
    def remove(self, run, cluster):
        with contextlib.suppress(ClusterError):
            super().remove(run, cluster)


@caught_by(*WRITES)
class PurgesOnlyWhatAPodLeft(Owned):
    def remove(self, run, cluster):  # noqa: ARG002 - as `Owned` has it
        raise UnavailableError("there was never a pod")


@caught_by(*WRITES)
class CreatesItsObjectOrNot(Owned):
    def prepare(self, run, pod, cluster, *rest):
        try:
            return super().prepare(run, pod, cluster, *rest)
        except ClusterError:
            return sample_backends.template.WIRE
