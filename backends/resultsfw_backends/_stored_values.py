"""Prepare and read pods whose results sidecar stores large values and prints references to them.

Shared by the backends by reference, wherever they store values; the pod's part is
`resultsfw_transports.stored`. Values lie in a folder for each run, under the SHA-256 of their bytes.
"""

import json
import re
from dataclasses import replace
from typing import Any, Final, Self

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from resultsfw import (
    ARTIFACTS,
    Cluster,
    Extraction,
    Limits,
    Object,
    Problem,
    ProblemCode,
    Reference,
    Run,
)
from resultsfw.errors import BackendError
from resultsfw.images import SIDECAR_OBJECT_STORE, located
from resultsfw.pods import RESULTS_SIDECAR, containers
from resultsfw_backends._encryption import Encryption, sealing_env
from resultsfw_backends._record_values import Value, value_of
from resultsfw_backends._results_sidecar import SidecarConfig
from resultsfw_backends._sidecar_log import declared_names
from resultsfw_backends._sidecar_reader import read_log, refuse_to_read
from resultsfw_sidecar import wire as wires
from resultsfw_transports.stored import ENV_INLINE, ENV_JSON, ENV_SEALING, RECORD_BYTES

__all__ = [
    "NAME_PATTERN",
    "StoringConfig",
    "allow_time",
    "extract_stored",
    "run_folder",
    "sidecar_variables",
    "storing_env",
]

NAME_PATTERN: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,252}")
"""A namespace or a uid that is the name of one folder."""

ENCRYPTING_MEMORY: Final = "128Mi"
"""Memory of a sidecar that encrypts, unless it is set."""

_DIGEST: Final = re.compile("sha256:[0-9a-f]{64}")


class StoringConfig(SidecarConfig):
    """Options of every backend whose sidecar stores large values."""

    inline_bytes: int = Field(default=4096, ge=0, le=65_536)
    """Maximum bytes of a value that is stored in the status itself."""
    grace: int = Field(default=300, ge=30, le=86_400)
    """Seconds after the end of the Steps that Kubernetes gives a native sidecar to store values."""
    encryption: Encryption | None = None
    """Encrypt all values before they are stored; none is stored in the status then."""

    @model_validator(mode="after")
    def _encrypt_all(self) -> Self:
        """Let no value go into the log and the status as it is, and use the image with the library."""
        if self.encryption is None:
            return self
        if "inline_bytes" in self.model_fields_set and self.inline_bytes:
            why = "inline-bytes must be 0 with encryption: such values would be readable in log and status"
            raise PydanticCustomError("refused", "{why}", {"why": why})
        self.inline_bytes = 0
        if "image" not in self.model_fields_set:
            self.image = located(SIDECAR_OBJECT_STORE)
        if "memory" not in self.model_fields_set:
            self.memory = ENCRYPTING_MEMORY
        return self


def storing_env(run: Run, pod: Object, config: StoringConfig, *, backend: str) -> list[Object]:
    """Return the variables that every transport needs that stores values.

    Raises:
        BackendError: Steps of the pod could read the key with which values are encrypted.
        ClusterError: There is no such key.
    """
    sealing = sealing_env(run, pod, config.encryption, backend=backend) if config.encryption else []
    return [
        {"name": ENV_INLINE, "value": str(config.inline_bytes)},
        {"name": ENV_JSON, "value": json.dumps(_mappings(run))},
        *sealing,
    ]


def allow_time(pod: Object, seconds: int) -> None:
    """Let Kubernetes kill the sidecar no earlier than this after the last Step, or the pod's termination."""
    spec = pod["spec"]
    spec["terminationGracePeriodSeconds"] = max(spec.get("terminationGracePeriodSeconds") or 0, seconds)


def sidecar_variables(pod: Object) -> dict[str, str]:
    """Return the variables of the pod's results sidecar that have a value; empty without a sidecar."""
    listed = containers(pod).get(RESULTS_SIDECAR, {}).get("env") or ()
    return {variable["name"]: variable.get("value", "") for variable in listed}


def run_folder(run: Run, *, backend: str) -> str:
    """Return the folder of a run's values, relative to that of all runs: ``NAMESPACE/UID``.

    Raises:
        BackendError: Namespace or uid are no valid names, so the data could be mistaken for another run's.
    """
    if not (NAME_PATTERN.fullmatch(run.namespace) and NAME_PATTERN.fullmatch(run.uid)):
        raise BackendError(
            f'run "{run.namespace}/{run.name}" (uid "{run.uid}") cannot have a folder for its results: it '
            f"needs a namespace and a uid",
            subject=backend,
        )
    return f"{run.namespace}/{run.uid}"


def extract_stored(
    run: Run,
    pod: Object,
    cluster: Cluster,
    wire: int,
    *,
    root: str,
    backend: str,
    option: str,
    most: int,
    names: re.Pattern[str] | None = None,
) -> Extraction:
    """Read the log without any request for the values, which the sidecar had stored before it printed.

    Args:
        run: The run.
        pod: The pod, as last seen.
        cluster: The cluster with the log.
        wire: The wire version of the sidecar.
        root: Where this pod's sidecar stored values: what precedes ``/NAMESPACE/UID/SHA-256``.
        backend: The name under which the backend was selected.
        option: The option that limits the size of a value, for a hint.
        most: The most it can be set to, in bytes.
        names: What the last part of a location may be, if it is not the SHA-256 of the value.
    """
    if (nothing := refuse_to_read(pod, wire=wire, known=(wires.WIRE,))) is not None:
        return nothing
    variables = sidecar_variables(pod)
    text, encrypts = variables.get(ENV_INLINE, ""), ENV_SEALING in variables
    inline = max(int(text) if text.isdecimal() else 0, RECORD_BYTES)
    below = f"{root}/{run_folder(run, backend=backend)}"

    def resolve(record: dict[str, Any]) -> Value | None:
        if "location" not in record:
            value = value_of(record)
            # Of a sidecar that encrypts, a value in the log is one of a version that cannot.
            name = record.get("name")
            inlined = not encrypts or not value or (isinstance(name, str) and name.endswith(ARTIFACTS))
            return value if inlined else None
        reference = _reference(record, backend, most)
        if reference is None or bool(reference.encryption) != encrypts:
            return None
        folder, _, name = reference.location.rpartition("/")
        digest = reference.digest.removeprefix("sha256:")
        expected = names.fullmatch(name) is not None if names else name == digest
        return reference if folder == below and expected else None

    limits = Limits(result_bytes=inline, run_bytes=inline * len(declared_names(run)))
    extraction = read_log(run, pod, cluster, limits=limits, wire=wire, resolve=resolve)
    problems = tuple(_hinted(problem, backend, option, most) for problem in extraction.problems)
    return replace(extraction, problems=problems)


def _reference(record: dict[str, Any], backend: str, most: int) -> Reference | None:
    """Return the reference in a record, wherever it leads; ``None`` if it is none."""
    location, size, digest, media = (record.get(key) for key in ("location", "bytes", "digest", "media"))
    if not (isinstance(size, int) and not isinstance(size, bool) and 0 <= size <= most):
        return None
    if not (isinstance(digest, str) and _DIGEST.fullmatch(digest) and isinstance(media, str)):
        return None
    encryption = record.get("encryption", "")
    if not (isinstance(location, str) and isinstance(encryption, str)):
        return None
    return Reference(
        backend=backend,
        location=location,
        size=size,
        digest=digest,
        media_type=media,
        encryption=encryption,
    )


def _mappings(run: Run) -> list[str]:
    """Return the names in the log of results that are declared as array or object."""
    task_results = [(result.name, result) for result in run.results]
    step_results = [
        (f"step-{step.name}.{result.name}", result) for step in run.steps for result in step.results
    ]
    return [name for name, result in (*task_results, *step_results) if result.type != "string"]


def _hinted(problem: Problem, backend: str, option: str, most: int) -> Problem:
    """Add a hint to a value over its limit, which is not a feature flag of the core."""
    if problem.code is not ProblemCode.RESULT_TOO_LARGE:
        return problem
    if problem.result == ARTIFACTS:
        hint = f"the limit is inline-bytes of config.{backend}, or {RECORD_BYTES} if that is higher"
        return replace(problem, hint=hint)
    return replace(problem, hint=f"{option} of config.{backend} sets that limit, up to {most}")
