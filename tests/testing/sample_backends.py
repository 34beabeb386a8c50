"""Correct backends, and what they are made of; those in `broken_backends` differ in one thing each."""

# ruff: noqa: ARG002 - methods have the signatures of what they stand for

import contextlib
import hashlib
import importlib.util
import os
import sys
import threading
from dataclasses import replace
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from resultsfw import (
    CONFIG_MAPS,
    Capabilities,
    Extraction,
    Permission,
    Problem,
    ProblemCode,
    Reference,
    cli,
    hookimpl,
)
from resultsfw.errors import AlreadyExistsError, NotFoundError, UnavailableError
from resultsfw.testing import Folder

TEMPLATE = Path(cli.__file__).parent / "template"


def _template():
    name = "resultsfw_my_backend"
    if name not in sys.modules:
        spec = importlib.util.spec_from_file_location(name, TEMPLATE / f"{name}.py")
        sys.modules[name] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(sys.modules[name])
    return sys.modules[name]


template = _template()


class Sound:
    """The template's, as a class to differ from."""

    capabilities = template.capabilities
    Config = template.Config

    @hookimpl
    def prepare_pod(self, run, pod, cluster, limits, config):
        return self.prepare(run, pod, cluster, limits, config)

    def prepare(self, run, pod, cluster, limits, config):
        return template.prepare_pod(run, pod, limits, config)

    @hookimpl
    def pod_ready(self, run, pod):
        return self.ready(run, pod)

    def ready(self, run, pod):
        return template.pod_ready(run, pod)

    @hookimpl
    def extract(self, run, pod, cluster, limits):
        return self.read(run, pod, cluster, limits)

    def read(self, run, pod, cluster, limits):
        return template.extract(run, pod, cluster, limits)


class Owned(Sound):
    """One that makes an object for each pod: it holds what the log must agree with."""

    capabilities = replace(
        template.capabilities,
        external_state="owned",
        permissions=(
            *template.capabilities.permissions,
            *(
                Permission(verb=verb, resource="configmaps", why="the names of the results are in one")
                for verb in ("create", "get", "delete")
            ),
        ),
    )

    @staticmethod
    def name_of(run):
        return f"results-{run.uid}-{run.attempt}"

    @staticmethod
    def names(run):
        return ",".join(f"{file.step or ''}.{file.name}" for file in template.result_files(run, {}))

    def prepare(self, run, pod, cluster, limits, config):
        metadata = {"name": self.name_of(run), "namespace": run.namespace}
        metadata["ownerReferences"] = pod["metadata"]["ownerReferences"]
        made = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata}
        with contextlib.suppress(AlreadyExistsError):
            cluster.create(CONFIG_MAPS, {**made, "data": {"names": self.names(run)}})
        return super().prepare(run, pod, cluster, limits, config)

    def read(self, run, pod, cluster, limits):
        data = cluster.get(CONFIG_MAPS, run.namespace, self.name_of(run)).get("data")
        if not isinstance(data, dict) or data.get("names") != self.names(run):
            return Extraction(problems=(Problem(code=ProblemCode.TRANSPORT_CORRUPT, message="other names"),))
        return super().read(run, pod, cluster, limits)

    @hookimpl
    def purge(self, run, cluster):
        self.remove(run, cluster)

    def remove(self, run, cluster):
        with contextlib.suppress(NotFoundError):
            cluster.delete(CONFIG_MAPS, run.namespace, self.name_of(run))


class FolderConfig(BaseModel):
    model_config = ConfigDict(extra="forbid")
    folder: str = ""
    password: str = "correct-horse"  # noqa: S105


class Store:
    """Faults of the folder in which `Kept` keeps results.

    Args:
        folder: The folder.
    """

    answers = threading.Event()
    """Cleared while the store does not answer."""

    def __init__(self, folder):
        self._folder = Folder(folder)
        self._full = Path(f"{folder}.full")

    @property
    def faults(self):
        return {"down": self._folder.down, "slow": self.slow, "full": self.full}

    @contextlib.contextmanager
    def slow(self):
        self.answers.clear()
        try:
            yield
        finally:
            self.answers.set()

    @contextlib.contextmanager
    def full(self):
        """Let each write fail as on a full file system."""
        self._full.touch()
        try:
            yield
        finally:
            self._full.unlink()


Store.answers.set()

SIDECAR = """
folder=$1 attempt=$2; shift 2
full="${folder%/*/*}.full"
store() { if [ -e "$full" ]; then cat > /dev/full; else cat > "$1"; fi; }
ended=; trap 'ended=1' TERM
while [ ! "$ended" ]; do sleep 1 & wait $!; done
mkdir -p "$folder"; exec 2> /dev/null > "$folder/$attempt-part"
index=0
for file; do
  state=absent size=0 digest=-
  if [ -L "$file" ]; then state=link
  elif [ -f "$file" ]; then
    state=value size=$(stat -c %s "$file") digest=$(sha256sum < "$file" | cut -c 1-64)
    store "$folder/$attempt-$index" < "$file" || state=lost
  elif [ -e "$file" ]; then state=odd
  fi
  echo "$POD_UID $index $state $size $digest"
  index=$((index + 1))
done
echo "$POD_UID end $index"
exec > /dev/null
mv "$folder/$attempt-part" "$folder/$attempt-list"
"""


PLACE = """
while [ "$1" ]; do
  if ! cp "$1" "$2" || [ "$(sha256sum < "$2" | cut -c 1-64)" != "$3" ]; then
    echo "$2 cannot be placed" > /dev/termination-log; exit 1
  fi
  shift 3
done
"""


class Kept(Sound):
    """One by reference: the sidecar copies files into a folder of this machine, small values stay inline."""

    capabilities = Capabilities(
        summary="in a folder", delivery="reference", external_state="elsewhere", verified=True
    )
    Config = FolderConfig
    inline = 1000
    sidecar = SIDECAR

    @staticmethod
    def key(run):
        return f"{run.namespace}/{run.uid}"

    @hookimpl
    def prepare_pod(self, run, pod, limits, config):
        wire = template.prepare_pod(run, pod, limits, template.Config())
        sidecar = pod["spec"]["initContainers"][-1]
        folder = os.path.join(config.folder, self.key(run))  # noqa: PTH118
        sidecar["command"] = ["sh", "-c", self.sidecar, "sidecar", folder, str(run.attempt)]
        return wire

    def file(self, run, config, name):
        return Path(config.folder) / self.key(run) / f"{run.attempt}-{name}"

    @hookimpl
    def extract(self, run, pod, config, backend):
        self.name = backend
        self.check(config)
        wanted = template.result_files(run, pod)
        most = 200 * (len(wanted) + 1)
        try:
            lines = self.content(self.file(run, config, "list"), most).split(b"\n")
        except FileNotFoundError:
            raise NotFoundError("nothing was kept") from None
        uid = pod["metadata"]["uid"]
        if lines[len(wanted) :] != [f"{uid} end {len(wanted)}".encode(), b""]:
            cut = Problem(code=ProblemCode.TRANSPORT_INCOMPLETE, message="the list has not its end")
            return Extraction(problems=(cut,))
        read = [self.one(run, config, uid, *item) for item in enumerate(zip(lines, wanted, strict=False))]
        return Extraction(
            results=tuple(item for item in read if isinstance(item, template.ExtractedResult)),
            problems=tuple(item for item in read if isinstance(item, Problem)),
        )

    def one(self, run, config, uid, index, of):
        line, file = of
        step, name = file.step, file.name
        fields = line.decode("ascii", "replace").split(" ")
        wrong = {"result": name, "step": step}
        if fields[:2] != [uid, str(index)] or len(fields) != 5:
            return Problem(code=ProblemCode.TRANSPORT_CORRUPT, message=f"line {index} is wrong", **wrong)
        state, size, digest = fields[2:]
        if state == "absent":
            return None
        if state in template.REFUSED:
            code, why = template.REFUSED[state]
            return Problem(code=code, message=f"{name} {why}", **wrong)
        if state == "lost":
            lost = f"{name} has {size} bytes, and the folder is full"
            return Problem(code=ProblemCode.TRANSPORT_INCOMPLETE, message=lost, **wrong)
        where = f"{self.key(run)}/{run.attempt}-{index}"
        try:
            data = self.content(self.file(run, config, index), int(size) if size.isdecimal() else 0)
        except FileNotFoundError:
            data = b""
        if state != "value" or str(len(data)) != size or hashlib.sha256(data).hexdigest() != digest:
            return Problem(code=ProblemCode.TRANSPORT_CORRUPT, message=f"{name} is damaged", **wrong)
        try:
            text = data.decode()
        except UnicodeDecodeError:
            return Problem(code=ProblemCode.NOT_UTF8, message=f"{name} is not UTF-8", **wrong)
        value = text if len(data) <= self.inline else self.reference(config, where, data)
        return template.ExtractedResult(name=name, value=value, step=step, source="the folder")

    def reference(self, config, where, data):
        digest = f"sha256:{hashlib.sha256(data).hexdigest()}"
        return Reference(backend=self.name, location=where, size=len(data), digest=digest)

    @hookimpl
    def dereference(self, reference, config):
        return self.give(reference, config)

    def give(self, reference, config):
        self.check(config)
        folder = Path(config.folder).resolve()
        file = (folder / reference.location).resolve()
        if folder not in file.parents or not file.is_file():
            raise NotFoundError(f"nothing is kept at {reference.location}")
        with file.open("rb") as opened:
            while piece := opened.read(65_536):
                yield piece

    @hookimpl
    def place_files(self, pod, files, mount, config):
        arguments = [
            text
            for path, reference in files.items()
            for text in (str(self.source(reference, config)), path, reference.digest.removeprefix("sha256:"))
        ]
        command = ["sh", "-c", PLACE, "place", *arguments]
        container = {"name": "place", "image": "busybox:1", "command": command, "volumeMounts": [mount]}
        pod["spec"]["initContainers"].append(container)

    def source(self, reference, config):
        return Path(config.folder) / reference.namespace / reference.uid / reference.name

    @hookimpl
    def purge(self, run, config):
        self.remove(run, config)

    def remove(self, run, config):
        self.check(config)
        for file in (Path(config.folder) / self.key(run)).glob(f"{run.attempt}-*"):
            file.unlink(missing_ok=True)

    def check(self, config):
        """Raise an error if the store is down, or does not answer within the time that this backend waits."""
        if Path(config.folder).is_file() or not Store.answers.is_set():
            raise UnavailableError("the folder cannot be reached")

    @staticmethod
    def content(file, most):
        """Return the bytes of a file, of one that is too long one byte more than it may have."""
        with file.open("rb") as opened:
            return opened.read(most + 1)
