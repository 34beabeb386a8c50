"""Run a folder of manifests under Tekton's controller and this one, on one cluster, and compare the outcomes.

    RESULTSFW_KUBECONFIG=... PYTHONPATH=tests python tests/cluster/compare.py FOLDER [--images images.json]

Each manifest is created twice, in two namespaces: as it is, for Tekton's controller, and with the
``spec.managedBy`` of a controller that is started for this. Flags and defaults are Tekton's own, copied from
its namespace. What is compared is in `outcomes`. The exit status is 1 if two outcomes differ without a reason
given.
"""

import argparse
import concurrent.futures
import dataclasses
import json
import os
import sys
import time
import uuid
from collections.abc import Iterator, Mapping
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import yaml
from api import ApiServer
from outcomes import Outcome, differences, outcome
from place import NAMESPACES, Place, create_namespace, pod_options

from resultsfw import Kind, Object
from resultsfw.cluster import CONFIG_MAPS
from resultsfw.errors import AlreadyExistsError, ClusterError
from resultsfw.tekton.api.conditions import is_done
from resultsfw.tekton.api.kinds import CUSTOMRUNS, PIPELINERUNS, TASKRUNS

TEKTON_NAMESPACE = "tekton-pipelines"
KINDS = (TASKRUNS, PIPELINERUNS, CUSTOMRUNS)
POLL_SECONDS = 1.0
SHOWN = 2


@dataclasses.dataclass(frozen=True)
class Compared:
    """One manifest, and what became of it under both controllers."""

    name: str
    tekton: Outcome
    resultsfw: Outcome
    differences: list[str]


class Comparison:
    """Compares manifests on a cluster.

    Args:
        server: The cluster.
        managed_by: The value of ``spec.managedBy`` for the controller that is compared.
        images: Images by what they replace: a repository, whatever its tag or digest.
        seconds: How long runs are waited for.
    """

    def __init__(self, server: ApiServer, managed_by: str, images: Mapping[str, str], seconds: float) -> None:
        self._server = server
        self._managed_by = managed_by
        self._images = images
        self._seconds = seconds
        self._plurals: dict[str, dict[str, tuple[str, bool]]] = {}

    def compare(self, name: str, manifest: str) -> Compared:
        """Run a manifest under both controllers and compare."""
        with concurrent.futures.ThreadPoolExecutor(2) as both:
            theirs = both.submit(self._run, manifest, "")
            ours = both.submit(self._run, manifest, self._managed_by)
            tekton, resultsfw = theirs.result(), ours.result()
        return Compared(name, tekton, resultsfw, differences(tekton, resultsfw))

    def _run(self, manifest: str, managed_by: str) -> Outcome:
        namespace = f"compare-{uuid.uuid4().hex[:8]}"
        create_namespace(self._server, namespace)
        try:
            made, refused = self._create(manifest, namespace, managed_by)
            runs = self._until_done(namespace, made)
            return outcome(runs, {namespace: "NAMESPACE"}, refused)
        finally:
            self._server.delete(NAMESPACES, "", namespace)

    def _create(self, manifest: str, namespace: str, managed_by: str) -> tuple[list[Object], list[str]]:
        """Create what a manifest holds; return the runs, and what the API server refused."""
        runs, refused = [], []
        for index, document in enumerate(filter(None, yaml.safe_load_all(manifest))):
            obj = self._with_images(document)
            kind, is_namespaced = self._kind(obj)
            obj.setdefault("metadata", {})["namespace"] = namespace if is_namespaced else ""
            for subject in obj.get("subjects") or ():
                subject.update({"namespace": namespace} if "namespace" in subject else {})
            if managed_by and kind.kind in ("TaskRun", "PipelineRun"):
                obj.setdefault("spec", {})["managedBy"] = managed_by
            if "generateName" in obj["metadata"]:
                # The same name under both: children's names that are too long end in its digest.
                obj["metadata"].setdefault("name", f"{obj['metadata']['generateName']}{index}")
            try:
                made = self._server.create(kind, obj)
            except AlreadyExistsError:
                if is_namespaced:
                    raise
                continue  # the cluster's own, which the other controller's run has created
            except ClusterError as error:
                refused.append(f"{kind.kind}: {error.message}")
                continue
            if kind.kind in {run.kind for run in KINDS}:
                runs.append(made)
        return runs, refused

    def _until_done(self, namespace: str, made: list[Object]) -> list[Object]:
        """Wait until every run has ended; return them all, with their children."""
        end = time.monotonic() + self._seconds
        while True:
            runs = [
                {**run, "kind": kind.kind} for kind in KINDS for run in self._server.list(kind, namespace)
            ]
            # A CustomRun ends if its own controller ends it, which need not be there.
            followed = [run for run in runs if run["kind"] != "CustomRun"]
            if (len(runs) >= len(made) and all(map(is_done, followed))) or time.monotonic() > end:
                return runs
            time.sleep(POLL_SECONDS)

    def _with_images(self, value: Any) -> Any:
        if isinstance(value, dict):
            return {key: self._with_images(element) for key, element in value.items()}
        if isinstance(value, list):
            return [self._with_images(element) for element in value]
        if isinstance(value, str):
            for image, replacement in self._images.items():
                if value == image or value.startswith((f"{image}:", f"{image}@")):
                    return replacement
        return value

    def _kind(self, obj: Object) -> tuple[Kind, bool]:
        """Return an object's kind, and whether it belongs into a namespace, as the API server has it."""
        group, _, version = obj["apiVersion"].rpartition("/")
        if obj["apiVersion"] not in self._plurals:
            path = f"/apis/{obj['apiVersion']}" if group else f"/api/{version}"
            served = self._server.get_path(path)["resources"]
            self._plurals[obj["apiVersion"]] = {
                entry["kind"]: (entry["name"], entry["namespaced"])
                for entry in served
                if "/" not in entry["name"]
            }
        plural, is_namespaced = self._plurals[obj["apiVersion"]][obj["kind"]]
        return Kind(group, version, plural, obj["kind"]), is_namespaced


def manifests(folders: list[Path], only: str) -> Iterator[tuple[str, str]]:
    """Yield the manifests below some folders by name; without those in a folder ``no-ci``."""
    for folder in folders:
        for file in sorted(folder.rglob("*.yaml")) if folder.is_dir() else [folder]:
            name = str(file.relative_to(folder)) if folder.is_dir() else file.name
            if "no-ci" not in file.parts and fnmatch(name, only):
                yield name.removesuffix(".yaml"), file.read_text()


def start_controller(server: ApiServer) -> Place:
    """Start a controller that takes the compared runs, with Tekton's own flags and defaults."""
    place = Place(server, pod_options(), f"compare-{uuid.uuid4().hex[:8]}")
    for name in ("feature-flags", "config-defaults", "config-events"):
        data = server.get(CONFIG_MAPS, TEKTON_NAMESPACE, name).get("data") or {}
        metadata = {"name": name, "namespace": place.namespace}
        server.create(CONFIG_MAPS, {"metadata": metadata, "data": data})
    place.start("--no-leader-elect").wait_for("status pages on port")
    return place


def table(compared: list[Compared], reasons: Mapping[str, str]) -> str:
    """Return the comparison as a table in Markdown, with the reason of each difference."""
    lines = ["| example | under Tekton | under resultsfw | difference |", "|---|---|---|---|"]
    for entry in compared:
        why = reasons.get(entry.name) or _shortened(entry.differences) if entry.differences else ""
        cells = (f"`{entry.name}`", entry.tekton.summary(), entry.resultsfw.summary(), why)
        lines.append(f"| {' | '.join(cell.replace('|', '&#124;') for cell in cells)} |")
    return "\n".join(lines) + "\n"


def _shortened(lines: list[str]) -> str:
    more = f"; and {len(lines) - SHOWN} more" if len(lines) > SHOWN else ""
    return "; ".join(lines[:SHOWN]) + more


def main() -> int:
    """Compare; return the exit status."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folders", nargs="+", type=Path, help="folders of manifests, or single ones")
    parser.add_argument(
        "--images", type=Path, help="a JSON object: images by the repository that they replace"
    )
    parser.add_argument("--reasons", type=Path, help="a JSON object: reasons of differences by manifest")
    parser.add_argument("--only", default="*", help="a pattern of the manifests' names")
    parser.add_argument("--jobs", type=int, default=4, help="manifests at once")
    parser.add_argument("--seconds", type=float, default=150, help="how long runs are waited for")
    parser.add_argument("--table", type=Path, help="where to write the table; else on the standard output")
    parser.add_argument("--json", type=Path, help="where to write the outcomes in full")
    arguments = parser.parse_args()
    server = ApiServer(Path(os.environ["RESULTSFW_KUBECONFIG"]))
    images, reasons = (
        json.loads(file.read_text()) if file else {} for file in (arguments.images, arguments.reasons)
    )
    place = start_controller(server)
    try:
        comparison = Comparison(server, place.managed_by, images, arguments.seconds)
        with concurrent.futures.ThreadPoolExecutor(arguments.jobs) as pool:
            chosen = list(manifests(arguments.folders, arguments.only))
            futures = [pool.submit(comparison.compare, *named) for named in chosen]
            compared = []
            for future in futures:
                compared.append(entry := future.result())
                verdict = "equal" if not entry.differences else "DIFFERENT"
                theirs, ours = entry.tekton.summary(), entry.resultsfw.summary()
                print(f"{verdict:9} {entry.name}: {theirs} / {ours}", flush=True)  # noqa: T201
                for line in entry.differences:
                    print(f"          {line}", flush=True)  # noqa: T201
    finally:
        place.close()
    text = table(compared, reasons)
    if arguments.table:
        arguments.table.write_text(text)
    if arguments.json:
        arguments.json.write_text(json.dumps([dataclasses.asdict(entry) for entry in compared], indent=1))
    different = [entry for entry in compared if entry.differences]
    succeeded = sum(entry.tekton.has_succeeded() for entry in compared)
    print(  # noqa: T201
        f"{len(compared)} compared, {succeeded} succeeded under Tekton, "
        f"{len(compared) - len(different)} equal"
    )
    return int(any(entry.name not in reasons for entry in different))


if __name__ == "__main__":
    sys.exit(main())
