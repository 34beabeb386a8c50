"""Runs the entrypoint's subcommands, which prepare a pod: ``init``, ``decode-script`` and others."""

import base64
import os
import sys

from .files import write

_LAUNCHER = "#!/bin/sh\nexec '{python}' -I -S '{program}' \"$@\"\n"


class SubcommandError(Exception):
    """A subcommand is unknown, has wrong arguments or failed."""


def run_subcommand(arguments: list[str], tekton: str) -> str:
    """Run a subcommand and return a sentence on what it did.

    Args:
        arguments: The subcommand and its arguments.
        tekton: The folder that replaces ``/tekton``.

    Raises:
        SubcommandError: The subcommand is unknown, or its arguments are wrong.
        OSError: It failed.
    """
    match arguments:
        case ["init", _, destination, *steps]:
            _install(destination)
            _link(steps, tekton)
            return "Entrypoint initialization"
        case ["cp", _, destination]:
            _install(destination)
            return f"Copied the entrypoint to {destination}"
        case ["step-init", *steps]:
            _link(steps, tekton)
            return "Setup /step directories"
        case ["decode-script", file]:
            _decode(file)
            return f"Decoded script {file}"
    raise SubcommandError(f"unknown subcommand: {' '.join(arguments)}")


def _install(destination: str) -> None:
    """Write a script that starts this program to the path to which Tekton copies the entrypoint."""
    program = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "entrypoint.py")  # noqa: PTH100, PTH118, PTH120
    write(destination, _LAUNCHER.format(python=sys.executable, program=program))
    os.chmod(destination, 0o755)  # noqa: PTH101, S103 - a program must be executable


def _link(steps: list[str], tekton: str) -> None:
    """Link ``steps/NAME`` and ``steps/INDEX`` to a Step's folder, as Tekton's ``step-init`` does."""
    folder = f"{tekton}/steps"
    os.makedirs(folder, exist_ok=True)  # noqa: PTH103
    for index, step in enumerate(steps):
        for name in (step, str(index)):
            # The link exists if the container was started before.
            if not os.path.islink(f"{folder}/{name}"):  # noqa: PTH114
                os.symlink(f"{tekton}/run/{index}/status", f"{folder}/{name}")  # noqa: PTH211


def _decode(file: str) -> None:
    with open(file, "rb") as encoded:  # noqa: PTH123
        mode = os.fstat(encoded.fileno()).st_mode
        try:
            text = base64.b64decode(b"".join(encoded.read().split()), validate=True)
        except ValueError as error:
            raise SubcommandError(f'script file "{file}" is not base64: {error}') from None
    with open(file, "wb") as decoded:  # noqa: PTH123
        decoded.write(text)
        os.fchmod(decoded.fileno(), mode & 0o777)
