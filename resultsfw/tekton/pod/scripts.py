"""Scripts of Steps and Sidecars, and large parameters: the files, and the init container that places them."""

import base64
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from resultsfw.cluster import Object
from resultsfw.tekton.spec.param_files import PARAMS_DIR, is_large

__all__ = ["PREAMBLE", "Placed", "place_scripts"]


PREAMBLE: Final = "#!/bin/sh\nset -e\n"
"""What a script without a shebang begins with; Tekton's."""

_DIR: Final = "/tekton/scripts"
_PIECE: Final = 100_000
"""Bytes of one argument: Linux takes 131,071 (``MAX_ARG_STRLEN`` less its end)."""

_ASSEMBLE: Final = """set -e
begun=
while [ $# -gt 0 ]; do
  file=$1; left=$2; source=$3; shift 3
  if [ "$left" = sha256 ]; then
    sum=$(sha256sum < "${file}")
    [ "${sum%% *}" = "${source}" ] && continue
    echo "${file} is not the parameter as the run has it: somebody changed its ConfigMap" \
      | tee /dev/termination-log >&2
    exit 1
  fi
  [ "${file}" = "${begun}" ] || : > "${file}"
  begun=${file}
  chmod +x "${file}"
  if [ "$left" -eq 0 ]; then
    cat "${source}" >> "${file}"
    continue
  fi
  while [ "$left" -gt 0 ]; do
    printf '%s' "$1" >> "${file}.part"
    shift; left=$((left - 1))
  done
  /tekton/bin/entrypoint decode-script "${file}.part"
  cat "${file}.part" >> "${file}"
  rm "${file}.part"
done
"""
"""Puts files together from FILE NUMBER SOURCE PIECE...: what the pieces are in base64, or the file SOURCE, is
added to FILE. FILE ``sha256`` DIGEST checks the file. ``printf`` is a shell builtin without an argument
limit.
A pod with a new sandbox runs this again, with its volumes as they were: each file begins empty."""

_ALPHABET: Final = "bcdfghjklmnpqrstvwxz2456789"  # of Kubernetes' generated names
_SUFFIX: Final = 5


@dataclass(frozen=True, slots=True)
class Placed:
    """Scripts on their way into a pod.

    Attributes:
        steps: The file of each Step, ``None`` for one without a script.
        sidecars: Likewise.
        shell: Arguments of the shell of the init container; none when there is nothing to place.
    """

    steps: tuple[str | None, ...]
    sidecars: tuple[str | None, ...]
    shell: tuple[str, ...]


def place_scripts(
    steps: Sequence[Object],
    sidecars: Sequence[Object],
    *,
    seed: str,
    others: Mapping[str, bytes] | None = None,
    params: Mapping[str, bytes] | None = None,
    sources: Mapping[str, Sequence[str]] | None = None,
) -> Placed:
    """Name a file for each script, and write the shell that creates them.

    As long as all of it fits into one argument it is Tekton's shell. One string of an argument list ends at
    128 KiB on Linux (``MAX_ARG_STRLEN``), where Tekton's pod fails: then each file comes in pieces, every
    piece an argument of its own, which the shell puts together.

    Args:
        steps: Steps, merged with their template.
        sidecars: Sidecars.
        seed: Makes the names; the same seed makes the same names, so that a controller that
            restarts builds the same pod.
        others: More scripts, by path.
        params: Parameters to place as files, by name.
        sources: Of those whose text is not in the pod, the files in the init container that hold it.
    """
    scripts: dict[str, bytes] = {}
    files = [
        _add_script(container.get("script"), f"{kind}-{index}", seed, scripts)
        for kind, containers in (("script", steps), ("sidecar-script", sidecars))
        for index, container in enumerate(containers)
    ]
    scripts |= others or {}
    placed = {f"{PARAMS_DIR}/{name}": value for name, value in (params or {}).items()}
    pieces = {f"{PARAMS_DIR}/{name}": paths for name, paths in (sources or {}).items()}
    return Placed(tuple(files[: len(steps)]), tuple(files[len(steps) :]), _shell(scripts, placed, pieces))


def _add_script(script: str | None, name: str, seed: str, contents: dict[str, bytes]) -> str | None:
    if not script:
        return None
    file = f"{_DIR}/{name}-{_suffix(f'{seed}/{name}')}"
    contents[file] = (script if script.strip().startswith("#!") else PREAMBLE + script).encode()
    return file


def _shell(
    scripts: Mapping[str, bytes], params: Mapping[str, bytes], pieces: Mapping[str, Sequence[str]]
) -> tuple[str, ...]:
    # Base64, because kubelets expand $(VAR) and $$ in args; the entrypoint decodes the file.
    whole = "".join(
        f'scriptfile="{file}"\n'
        "touch ${scriptfile} && chmod +x ${scriptfile}\n"
        "cat > ${scriptfile} << '_EOF_'\n"
        f"{text}\n"
        "_EOF_\n"
        '/tekton/bin/entrypoint decode-script "${scriptfile}"\n'
        for file, text in ((file, _encoded(content)) for file, content in {**scripts, **params}.items())
    )
    if len(whole) <= _PIECE and not pieces:
        return ("-c", whole) if whole else ()
    words: list[str] = []
    for file, content in params.items():
        if file not in pieces:
            words += _added(file, content)
            continue
        for source in pieces[file] or ("/dev/null",):
            words += [file, "0", source]
        words += [file, "sha256", hashlib.sha256(content).hexdigest()]
    for file, content in scripts.items():
        for part in _parts(content, params):
            words += [file, "0", part] if isinstance(part, str) else _added(file, part)
    return ("-c", _ASSEMBLE, "place-scripts", *words)


def _parts(content: bytes, params: Mapping[str, bytes]) -> list[bytes | str]:
    """Return a script as bytes and, where a large parameter occurs in it, the name of the parameter's file.

    The pod holds the value once then, and not once more for each script.
    """
    parts: list[bytes | str] = [content]
    large = {file: value for file, value in params.items() if is_large(value)}
    for file in sorted(large, key=lambda name: len(large[name]), reverse=True):
        split: list[bytes | str] = []
        for part in parts:
            if isinstance(part, str):
                split.append(part)
                continue
            for index, piece in enumerate(part.split(large[file])):
                split += [file, piece] if index else [piece]
        parts = split
    return [part for part in parts if part]


def _added(file: str, content: bytes) -> list[str]:
    if not content:
        return [file, "0", "/dev/null"]
    text = _encoded(content)
    pieces = [text[start : start + _PIECE] for start in range(0, len(text), _PIECE)]
    return [file, str(len(pieces)), "", *pieces]


def _encoded(content: bytes) -> str:
    return base64.b64encode(content).decode()


def _suffix(text: str) -> str:
    number = int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big")
    letters = []
    for _ in range(_SUFFIX):
        number, letter = divmod(number, len(_ALPHABET))
        letters.append(_ALPHABET[letter])
    return "".join(letters)
