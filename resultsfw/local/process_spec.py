"""Builds the process of a container as a kubelet does: program, arguments, environment, working directory."""

import base64
import importlib.util
import os
import shutil
import signal
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from resultsfw.cluster import CONFIG_MAPS, Cluster, Object
from resultsfw.errors import NotFoundError
from resultsfw.local.step import command_runner, entrypointer, paths
from resultsfw.local.volume_content import FieldError, field_value
from resultsfw.local.volumes import PodFolder
from resultsfw.tekton.api.kinds import SECRETS

__all__ = ["ConfigError", "ProcessSpec", "StartError", "build_process_spec"]

ENTRYPOINT: Final = Path(__file__).with_name("entrypoint.py")
_READ_ONLY: Final = Path(__file__).with_name("read_only.py")
_ENTRYPOINTS: Final = ("/tekton/bin/entrypoint", "/ko-app/entrypoint")
_SIDECAR: Final = "/ko-app/sidecarlogresults"
_INSTALLED: Final = ("RESULTSFW_TRANSPORT", "RESULTSFW_SIGNING")
"""Variables that let the results sidecar import modules which may need installed packages."""
_TERMINATION_LOG: Final = "RESULTSFW_TERMINATION_LOG"
_WORKING_DIR_INIT: Final = "/ko-app/workingdirinit"
_INHERITED: Final = frozenset(
    {
        *("PATH", "LANG", "LANGUAGE", "TZ", "USER", "LOGNAME", "TERM", "SSL_CERT_FILE", "SSL_CERT_DIR"),
        *("http_proxy", "https_proxy", "no_proxy", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY"),
    }
)
"""Variables that containers inherit, as an image or a node would set them. No others: a Step must neither
depend on who started the engine nor see their secrets."""


_SETTLING: Final = 2.0


class ConfigError(Exception):
    """The container cannot be created: its environment refers to an object that does not exist."""


class StartError(Exception):
    """The container is created, but its process cannot be started."""


@dataclass(frozen=True, slots=True)
class ProcessSpec:
    """A process to start.

    Attributes:
        file: Path of the program.
        argv: Arguments, the first of which is the name of the program.
        env: The whole environment.
        cwd: Working directory, which exists.
        blocked: Signals that are blocked until the process unblocks them. In a container it has pid 1, which
            a signal without a handler does not kill.
        settling: Seconds from its start within which SIGTERM waits until the process handles it: a shell may
            not have reached its ``trap`` yet. Later the signal is sent, and ends a process without a handler,
            which in a container would be killed after the grace period.
    """

    file: str
    argv: list[str]
    env: dict[str, str]
    cwd: str
    blocked: tuple[int, ...] = ()
    settling: float = 0


def build_process_spec(
    pod: Object,
    container: Object,
    folder: PodFolder,
    cluster: Cluster,
    *,
    budget: int | None,
    services: Mapping[str, str] | None = None,
) -> ProcessSpec:
    """Return the process of a container.

    Args:
        pod: The pod.
        container: The container in the pod's spec.
        folder: The pod's folders.
        cluster: Where ConfigMaps and Secrets of the environment are read.
        budget: Bytes of termination message to pass to the entrypoint; ``None``: it assumes 4096.
        services: Variables by which containers find the cluster's services; its own override them.

    Raises:
        ConfigError: The environment refers to an object or key that does not exist.
        StartError: There is no command, or no such program on this machine.
    """
    rules = folder.rules(container)
    cwd = _working_dir(container, folder, rules)
    rewriter = paths.Paths(rules)
    own = folder.own(container["name"])
    declared = _declared(pod, container, cluster)
    env = {
        **{name: os.environ[name] for name in os.environ if name in _INHERITED or name.startswith("LC_")},
        "HOME": str(folder.tekton / "home"),
        "TMPDIR": str(own / "tmp"),
        "HOSTNAME": pod["metadata"]["name"],
        **(services or {}),
        entrypointer.ENV_ROOT: str(folder.tekton),
        **{name: rewriter.rewrite(value) for name, value in declared.items()},
        entrypointer.ENV_PATHS: paths.encode(rules),
        entrypointer.ENV_SCRATCH: str(own),
    }
    if budget is not None:
        env[entrypointer.ENV_BUDGET] = str(budget)
    command = [_expanded(word, declared) for word in container.get("command") or ()]
    args = [_expanded(word, declared) for word in container.get("args") or ()]
    if not command:
        raise StartError(
            f'container "{container["name"]}" has no command, and the command of its image '
            f'"{container.get("image", "")}" is not known: images are not pulled'
        )
    if command[0] == _SIDECAR:
        env[_TERMINATION_LOG] = str(folder.termination(container["name"]))
    words = [rewriter.rewrite(word) for word in [*command[1:], *args]]
    if command[0] not in (*_ENTRYPOINTS, _SIDECAR, _WORKING_DIR_INIT):
        # The script of a Sidecar: no entrypoint rewrites its paths.
        scripts = str(folder.tekton / "scripts")
        ash = command_runner.shell_for_ash(env.get("PATH", os.defpath))
        file = rewriter.rewrite(command[0])
        command[0] = paths.localized(file, scripts, str(own), rewriter, ash=ash)
    spec = _resolved([command[0], *words], env, cwd)
    pairs = folder.read_only(container["name"])
    return _with_read_only(spec, pairs) if pairs else spec


def _with_read_only(spec: ProcessSpec, pairs: Sequence[tuple[Path, Path]]) -> ProcessSpec:
    """Return the process, started by a program that makes folders read-only for it."""
    folders = [str(folder) for pair in pairs for folder in pair]
    argv = [sys.executable, "-I", "-S", str(_READ_ONLY), *folders, "--", spec.file, *spec.argv]
    return replace(spec, file=sys.executable, argv=argv)


def _resolved(argv: list[str], env: dict[str, str], cwd: str) -> ProcessSpec:
    """Return the process of a command; this engine has its own versions of Tekton's programs."""
    name, *rest = argv
    if name in _ENTRYPOINTS:
        return ProcessSpec(sys.executable, [sys.executable, "-I", "-S", str(ENTRYPOINT), *rest], env, cwd)
    if name == _SIDECAR:
        found = importlib.util.find_spec("resultsfw_sidecar")
        if found is None or found.origin is None:
            raise StartError("the results sidecar (resultsfw_sidecar) is not installed")
        env = {**env, "PYTHONPATH": str(Path(found.origin).parent.parent)}
        bare = () if any(name in env for name in _INSTALLED) else ("-S",)
        argv = [sys.executable, *bare, "-P", "-m", "resultsfw_sidecar", *rest]
        return ProcessSpec(sys.executable, argv, env, cwd, blocked=(signal.SIGTERM,))
    if name == _WORKING_DIR_INIT:
        return ProcessSpec("/bin/mkdir", ["mkdir", "-p", "--", *rest], env, cwd)
    file = name if "/" in name else shutil.which(name, path=env.get("PATH", os.defpath))
    if file is None or not Path(cwd, file).exists():
        raise StartError(f'"{name}" is not on this machine; install it or run on a cluster')
    if missing := command_runner.missing_interpreter(file, env.get("PATH", os.defpath)):
        raise StartError(missing)
    return ProcessSpec(file, [name, *rest], env, cwd, settling=_SETTLING)


def _working_dir(container: Object, folder: PodFolder, rules: dict[str, str]) -> str:
    """Return the working directory, created if missing; that of the image is not known."""
    asked = container.get("workingDir")
    if not asked:
        return rules["/workspace"]
    here = paths.Paths(rules).rewrite(asked)
    if here == asked and not Path(asked).is_dir():
        # A container runtime makes the folder in the container; it has no place on this machine.
        here = rules[asked.rstrip("/")] = f"{folder.root}{asked}"
    Path(here).mkdir(parents=True, exist_ok=True)
    return here


def _declared(pod: Object, container: Object, cluster: Cluster) -> dict[str, str]:
    """Return the variables that the container declares, each expanded with those before it."""
    env: dict[str, str] = {}
    namespace = pod["metadata"]["namespace"]
    for source in container.get("envFrom") or ():
        for kind in ("configMapRef", "secretRef"):
            if reference := source.get(kind):
                data = _data(kind, reference, namespace, cluster)
                env.update({source.get("prefix", "") + key: value for key, value in data.items()})
    for variable in container.get("env") or ():
        name, source = variable["name"], variable.get("valueFrom")
        if not source:
            env[name] = _expanded(variable.get("value") or "", env)
            continue
        value = _value_from(pod, source, namespace, cluster)
        if value is not None:
            env[name] = value
    return env


def _value_from(pod: Object, source: Object, namespace: str, cluster: Cluster) -> str | None:
    if reference := source.get("fieldRef"):
        try:
            return field_value(pod, reference["fieldPath"])
        except FieldError as error:
            raise ConfigError(str(error)) from None
    for kind in ("configMapKeyRef", "secretKeyRef"):
        if reference := source.get(kind):
            data = _data(kind, reference, namespace, cluster)
            if reference["key"] in data:
                return data[reference["key"]]
            if reference.get("optional"):
                return None
            raise ConfigError(
                f'couldn\'t find key {reference["key"]} in {kind} "{reference.get("name", "")}"'
            )
    raise ConfigError(f"valueFrom.{next(iter(source), '')} is not supported without a cluster")


def _data(kind: str, reference: Object, namespace: str, cluster: Cluster) -> dict[str, str]:
    secret = kind.startswith("secret")
    try:
        found = cluster.get(SECRETS if secret else CONFIG_MAPS, namespace, reference.get("name", ""))
    except NotFoundError:
        if reference.get("optional"):
            return {}
        what = "secret" if secret else "configmap"
        raise ConfigError(
            f'{what} "{reference.get("name", "")}" not found; add it to the file of the TaskRun'
        ) from None
    data = found.get("data") or {}
    if not secret:
        return {key: str(value) for key, value in data.items()}
    decoded = {key: base64.b64decode(value).decode("utf-8", "surrogateescape") for key, value in data.items()}
    return {**decoded, **(found.get("stringData") or {})}


def _expanded(text: str, variables: Mapping[str, str]) -> str:
    """Return the text with ``$(NAME)`` replaced if it is known, as a kubelet does; ``$$`` becomes ``$``."""
    parts: list[str] = []
    last, at, end = 0, text.find("$"), 0
    while at >= 0:
        after = at + 1
        follows = text[after : after + 1]
        if follows == "$":
            parts += (text[last:at], "$")
            last = after = at + 2
        elif follows == "(":
            end = text.find(")", after) if 0 <= end < after else end  # searched once from each place
            name = text[after + 1 : end] if end >= 0 else None
            if name is not None:
                after = end + 1
                if name in variables:
                    parts += (text[last:at], variables[name])
                    last = after
        at = text.find("$", after)
    return "".join([*parts, text[last:]])
