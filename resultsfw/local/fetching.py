"""Fetch one file over HTTP or from a git repository, within limits of size and time."""

import hashlib
import os
import signal
import subprocess
import tempfile
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from resultsfw.cluster import Object
from resultsfw.errors import ResultsError
from resultsfw.limits import OBJECT_BYTES

__all__ = ["FetchError", "Fetched", "Git", "fetch_http"]

SECONDS: Final = 60.0
"""For one file, as Tekton's resolvers have (``default-maximum-resolution-timeout``)."""

_PIECE: Final = 65_536
_REPOSITORY_BLOCKS: Final = 524_288
"""Blocks of 512 bytes of the largest file that git may write: a pack of 256 MiB."""

_GIT_SCHEMES: Final = "file:git:http:https:ssh"
_SHOWN: Final = 300


class FetchError(ResultsError):
    """A file could not be fetched."""

    code = "FetchFailed"


@dataclass(frozen=True, slots=True)
class Fetched:
    """A file.

    Attributes:
        content: Of the file.
        source: Where it is from: ``uri``, ``digest``, ``entryPoint``.
    """

    content: bytes
    source: Object


def fetch_http(params: Mapping[str, str], *, seconds: float = SECONDS) -> Fetched:
    """Return the file of a URL; redirects are followed, to HTTP only.

    Args:
        params: ``url``.
        seconds: Most that it may take.

    Raises:
        FetchError: It is not there, too large or too late.
    """
    url, until = params.get("url") or "", time.monotonic() + seconds
    if not url.lower().startswith(("http://", "https://")):
        raise FetchError(f"url must begin with http:// or https://, not {url[:_SHOWN]}")
    opener = urllib.request.OpenerDirector()
    for handler in (
        urllib.request.ProxyHandler(),
        urllib.request.HTTPHandler(),
        urllib.request.HTTPSHandler(),
        urllib.request.HTTPRedirectHandler(),
        urllib.request.HTTPDefaultErrorHandler(),
        urllib.request.HTTPErrorProcessor(),
    ):
        opener.add_handler(handler)
    try:
        with opener.open(url, timeout=min(10.0, seconds)) as response:
            content = _read(response, url, until)
    except urllib.error.HTTPError as error:
        error.close()
        if error.code == 404:  # noqa: PLR2004 - HTTP
            raise FetchError(f"requested URL '{url}' is not found") from error
        raise FetchError(f"requested URL '{url}': status {error.code}") from error
    except (OSError, ValueError) as error:
        why = getattr(error, "reason", None) or error
        raise FetchError(f"error fetching URL '{url}': {why}") from error
    return Fetched(content, {"uri": url, "digest": {"sha256": hashlib.sha256(content).hexdigest()}})


def _read(response: Any, url: str, until: float) -> bytes:
    content = b""
    while piece := response.read1(_PIECE):
        content += piece
        if len(content) > OBJECT_BYTES:
            raise FetchError(f"requested URL '{url}' has over {OBJECT_BYTES} bytes, the limit of an object")
        if time.monotonic() > until:
            raise FetchError(f"requested URL '{url}' took too long")
    return content


class Git:
    """Fetches files by the system's git. It runs without a terminal: credentials are those that git has.

    Args:
        seconds: Most that one file may take.
    """

    def __init__(self, *, seconds: float = SECONDS) -> None:
        self._seconds = seconds
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._stopped = False

    def fetch(self, params: Mapping[str, str]) -> Fetched:
        """Return a file of a repository.

        Args:
            params: ``url``, ``pathInRepo``, and ``revision`` (else ``main``): a branch, tag or commit.

        Raises:
            FetchError: It is not there, too large or too late.
        """
        url, path = params.get("url") or "", (params.get("pathInRepo") or "").lstrip("/")
        revision = params.get("revision") or "main"
        for name, value in (("url", url), ("pathInRepo", path), ("revision", revision)):
            if not value or value.startswith("-") or "\0" in value or "\n" in value:
                raise FetchError(f"missing or invalid git resolver param: {name}")
        until = time.monotonic() + self._seconds
        with tempfile.TemporaryDirectory(prefix="resultsfw-git-") as folder:
            self._git(["init", "--quiet", "--bare", folder], until)
            inside = [f"--git-dir={folder}"]
            fetch = ["fetch", "--quiet", "--no-tags", "--depth=1", "--", url, revision]
            self._git([*inside, *fetch], until)
            parse = ["rev-parse", "--verify", "FETCH_HEAD^{commit}"]
            commit = self._git([*inside, *parse], until).decode().strip()
            size = self._git([*inside, "cat-file", "-s", f"{commit}:{path}"], until)
            if int(size) > OBJECT_BYTES:
                raise FetchError(
                    f"{path} has {int(size)} bytes, over the limit of {OBJECT_BYTES} bytes of an object"
                )
            content = self._git([*inside, "cat-file", "blob", f"{commit}:{path}"], until)
        # As in Tekton's refSource (SPDX).
        uri = url if url.startswith("git+") else f"git+{url}"
        return Fetched(content, {"uri": uri, "digest": {"sha1": commit}, "entryPoint": path})

    def stop(self) -> None:
        """End what runs, and let nothing more start."""
        with self._lock:
            self._stopped = True
            if self._process is not None:
                _kill(self._process)

    def _git(self, arguments: Sequence[str], until: float) -> bytes:
        """Return what git prints.

        Raises:
            FetchError: It failed, was stopped or took too long.
        """
        command = ["/bin/sh", "-c", f'ulimit -f {_REPOSITORY_BLOCKS}; exec git "$@"', "git", *arguments]
        variables = {
            "GIT_ALLOW_PROTOCOL": _GIT_SCHEMES,
            "GIT_TERMINAL_PROMPT": "0",
            "GIT_SSH_COMMAND": os.environ.get("GIT_SSH_COMMAND") or "ssh -oBatchMode=yes",
            "LC_ALL": "C",
        }
        with self._lock:
            if self._stopped:
                raise FetchError("the engine was stopped")
            process = self._process = subprocess.Popen(
                command,
                env={**os.environ, **variables},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                start_new_session=True,
            )
        try:
            output, errors = process.communicate(timeout=max(0.1, until - time.monotonic()))
        except subprocess.TimeoutExpired:
            _kill(process)
            process.communicate()
            raise FetchError(f"git took longer than {self._seconds:g} s") from None
        finally:
            with self._lock:
                self._process = None
        if process.returncode != 0:
            why = errors.decode("utf-8", "replace").strip() or f"git ended with status {process.returncode}"
            raise FetchError(f"git: {why[-_SHOWN:]}")
        return output


def _kill(process: subprocess.Popen[bytes]) -> None:
    """End a process with all that it started, as git starts ssh or an HTTP helper."""
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        process.poll()
