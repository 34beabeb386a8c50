"""Scripts of Steps and Sidecars: the files, and the init container that places them."""

import base64
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from resultsfw.cluster import Object

__all__ = ["PREAMBLE", "Placed", "place_scripts"]

PREAMBLE: Final = "#!/bin/sh\nset -e\n"
"""What a script without a shebang begins with; Tekton's."""

_DIR: Final = "/tekton/scripts"
_ALPHABET: Final = "bcdfghjklmnpqrstvwxz2456789"  # of Kubernetes' generated names
_SUFFIX: Final = 5


@dataclass(frozen=True, slots=True)
class Placed:
    """Scripts on their way into a pod.

    Attributes:
        steps: The file of each Step, ``None`` for one without a script.
        sidecars: Likewise.
        shell: What the init container runs; empty when there is no script.
    """

    steps: tuple[str | None, ...]
    sidecars: tuple[str | None, ...]
    shell: str


def place_scripts(steps: Sequence[Object], sidecars: Sequence[Object], *, seed: str) -> Placed:
    """Name a file for each script, and write the shell that creates them.

    Args:
        steps: Steps, merged with their template.
        sidecars: Sidecars.
        seed: Makes the names; the same seed makes the same names, so that a controller that
            restarts builds the same pod.
    """
    shell: list[str] = []
    files = [
        _place(container.get("script"), f"{kind}-{index}", seed, shell)
        for kind, containers in (("script", steps), ("sidecar-script", sidecars))
        for index, container in enumerate(containers)
    ]
    return Placed(tuple(files[: len(steps)]), tuple(files[len(steps) :]), "".join(shell))


def _place(script: str | None, name: str, seed: str, shell: list[str]) -> str | None:
    if not script:
        return None
    file = f"{_DIR}/{name}-{_suffix(f'{seed}/{name}')}"
    content = script if script.strip().startswith("#!") else PREAMBLE + script
    # Base64, because kubelets expand $(VAR) and $$ in args; the entrypoint decodes the file.
    encoded = base64.b64encode(content.encode()).decode()
    shell.append(
        f'scriptfile="{file}"\n'
        "touch ${scriptfile} && chmod +x ${scriptfile}\n"
        "cat > ${scriptfile} << '_EOF_'\n"
        f"{encoded}\n"
        "_EOF_\n"
        '/tekton/bin/entrypoint decode-script "${scriptfile}"\n'
    )
    return file


def _suffix(text: str) -> str:
    number = int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big")
    letters = []
    for _ in range(_SUFFIX):
        number, letter = divmod(number, len(_ALPHABET))
        letters.append(_ALPHABET[letter])
    return "".join(letters)
