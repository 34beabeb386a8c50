"""Backends by reference that are broken in one thing each, and which tests of the suite must find it."""

from dataclasses import replace
from pathlib import Path

from detection_harness import caught_by
from sample_backends import Kept

from resultsfw import hookimpl


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
    signature = "https://store/?x-amz-signature=0a/"

    def reference(self, config, where, data):
        return replace(super().reference(config, where, data), location=f"{self.signature}{where}")

    def give(self, reference, config):
        return super().give(
            replace(reference, location=reference.location.removeprefix(self.signature)), config
        )


@caught_by("test_kept_until_the_run_is_deleted", "test_changed_reference")
class RaisesItsOwnWhenGone(Kept):
    def give(self, reference, config):
        with (Path(config.folder) / reference.location).open("rb") as opened:
            yield opened.read()


@caught_by("test_another_namespace")
class GivesToEverybody(Kept):
    """Finds a value by its run's uid alone."""

    def give(self, reference, config):
        found = list(Path(config.folder).glob(f"*/{reference.uid}/{reference.name}"))
        where = found[0].relative_to(config.folder) if found else reference.location
        return super().give(replace(reference, location=str(where)), config)


@caught_by("test_another_namespace")
class GivesWhatAnyRunKept(Kept):
    """Finds a value by its namespace and name, whichever run kept it."""

    def give(self, reference, config):
        found = list(Path(config.folder).glob(f"{reference.namespace}/*/{reference.name}"))
        where = found[0].relative_to(config.folder) if found else reference.location
        return super().give(replace(reference, location=str(where)), config)


@caught_by("test_placed_for_another_namespace")
class PlacesForEverybody(Kept):
    """Finds the file to place by its run's uid alone."""

    def source(self, reference, config):
        return next(Path(config.folder).glob(f"*/{reference.uid}/{reference.name}"))


@caught_by("test_placed_as_a_file")
class PlacesUnseen(Kept):
    """Places what it finds, and does not look at the digest."""

    @hookimpl
    def place_files(self, pod, files, mount, config):
        folder = config.folder
        copies = "; ".join(f"cp {folder}/{reference.location} {file}" for file, reference in files.items())
        container = {"name": "place", "image": "busybox:1", "command": ["sh", "-c", copies]}
        pod["spec"]["initContainers"].append({**container, "volumeMounts": [mount]})
