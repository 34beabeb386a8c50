"""Pushes large values into a container registry, an artifact each; the log has references to them.

A value is the only layer of its manifest. The manifests of a run's attempt have consecutive tags, without a
gap, so that all of them can be found and deleted by the run's identity alone.
"""

import json

from resultsfw_sidecar import wire
from resultsfw_sidecar.files import RefusedError
from resultsfw_sidecar.results import Result
from resultsfw_sidecar.settings import SettingsError

from .logins import login_for, own_logins
from .referrers import attach, parse_subject, subject_descriptor
from .registry import MANIFEST, Registry, RegistryError, digest_of
from .stored import MEDIA_JSON, NotStoredError, StoringTransport, unchanged

TYPE_CHECKING = False  # typing itself would cost the start-up 5 ms

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from typing import Any

    from resultsfw_sidecar.files import File
    from resultsfw_sidecar.settings import Environment
    from resultsfw_sidecar.stop import Stop

    from .referrers import Subject
    from .stored import EncryptedFile

ENV_REGISTRY = "RESULTSFW_OCI_REGISTRY"
"""Host, and port, of the registry."""
ENV_PLAIN = "RESULTSFW_OCI_PLAIN"
"""`true` to ask it without TLS."""
ENV_CA = "RESULTSFW_OCI_CA"
"""Certificates in PEM that its certificate must chain to."""
ENV_PATIENCE = "RESULTSFW_OCI_PATIENCE"
"""Seconds during which a request is retried, and for which an attempt may be without an answer."""
ENV_REPOSITORY = "RESULTSFW_OCI_REPOSITORY"
"""The repository into which values are pushed."""
ENV_TAG = "RESULTSFW_OCI_TAG"
"""What precedes the number in the tags of the run's attempt."""
ENV_LOCATION = "RESULTSFW_OCI_LOCATION"
"""What precedes the manifest's digest in a value's location."""
ENV_ANNOTATIONS = "RESULTSFW_OCI_ANNOTATIONS"
"""JSON: the annotations of every manifest, which say whose it is."""
ENV_SUBJECT = "RESULTSFW_OCI_SUBJECT"
"""The Task result with an image by digest, or `URL,DIGEST`: the results with its name and its digest."""

ARTIFACT = "application/vnd.resultsfw.result.v1"
LAYER_TEXT = "application/vnd.resultsfw.result.value.v1.text"
LAYER_JSON = "application/vnd.resultsfw.result.value.v1+json"
LAYER_ENCRYPTED = "application/vnd.resultsfw.result.value.v1.encrypted"
ANNOTATION_RESULT = "dev.resultsfw.result"
ANNOTATION_TITLE = "org.opencontainers.image.title"
"""Of a layer: the file's name, by which other clients write it."""

MOST_ARTIFACTS = 2000
"""Of an attempt of a run: the references to more would not fit into a status."""

_EMPTY = b"{}"
_EMPTY_TYPE = "application/vnd.oci.empty.v1+json"
_SUBJECT_BYTES = 1000


def registry_of(variables: "Mapping[str, str]", stop: "Stop") -> Registry:
    """Returns the registry that the environment of a container names.

    Raises:
        KeyError: A variable is missing.
        ValueError: A certificate or a number cannot be read.
    """
    logins = own_logins(variables, files=False)
    patience = float(variables[ENV_PATIENCE])
    return Registry(
        variables[ENV_REGISTRY],
        login=lambda path: login_for(path, logins),
        plain=variables.get(ENV_PLAIN) == "true",
        ca=variables.get(ENV_CA, ""),
        patience=patience,
        quiet=patience,
        wait=stop.wait,  # a signal ends the wait early, but not the attempts
    )


class Transport(StoringTransport):
    """Prints small values in their records, and references to large ones in the registry."""

    def open(self, environment: "Environment", stop: "Stop") -> None:
        """Reads the registry's address; sends no request yet."""
        super().open(environment, stop)
        try:
            self._registry = registry_of(self.variables, stop)
            self._annotations = json.loads(self.variable(ENV_ANNOTATIONS))
        except KeyError as error:
            raise SettingsError(wire.BAD_ENVIRONMENT, f"{error.args[0]} is not set") from None
        except ValueError as error:
            raise SettingsError(wire.BAD_ENVIRONMENT, f"the registry cannot be used: {error}") from None
        self._repository, self._tag, self._location = map(
            self.variable, (ENV_REPOSITORY, ENV_TAG, ENV_LOCATION)
        )
        self._subject_results = [name for name in self.variables.get(ENV_SUBJECT, "").split(",") if name]
        self._subject_text: str | None = None
        self._subject: tuple[Subject, dict[str, Any]] | None = None
        self._used: set[int] = set()  # numbers of the tags that this process found or wrote

    def collect(self, result: "Result") -> "Iterable[bytes] | None":
        """Puts a result's value into its record, or into the registry."""
        if self._subject_results and self._subject_text is None and result.of == wire.TYPE_TASK:
            # Read at the first result: the image's own may be declared after it.
            self._subject_text = "@".join(_text(result.beside(name)) for name in self._subject_results)
        return super().collect(result)

    def store(self, result: Result, file: "File | EncryptedFile", size: int, digest: str) -> str:
        """Pushes a value and its manifest, unless the registry has them from an earlier start."""
        layer = f"sha256:{digest}"
        try:
            self._push(self._repository, layer, size, file)
            media_type = LAYER_JSON if self.media_type(result) == MEDIA_JSON else LAYER_TEXT
            media_type = LAYER_ENCRYPTED if self.encrypts else media_type
            annotations = {**self._annotations, ANNOTATION_RESULT: result.name}
            title = {ANNOTATION_TITLE: result.name}
            manifest = {
                "schemaVersion": 2,
                "mediaType": MANIFEST,
                "artifactType": ARTIFACT,
                "config": _described(_EMPTY_TYPE, digest_of(_EMPTY), len(_EMPTY)),
                "layers": [{**_described(media_type, layer, size), "annotations": title}],
                "annotations": annotations,
            }
            name = self._tagged(json.dumps(manifest, separators=(",", ":")).encode())
            if self._subject_text and self._subject_text != "@":  # else the Task has no image
                self._attach(self._subject_text, manifest, layer, size, file)
        except RegistryError as error:
            raise NotStoredError(str(error), final=error.kind == "unavailable") from None
        return f"{self._location}{name}"

    def _push(
        self, repository: str, layer: str, size: int, file: "File | EncryptedFile", source: str = ""
    ) -> None:
        """Lets a repository have a value, and the empty configuration that its manifest must have."""
        config = digest_of(_EMPTY)
        if not self._registry.has_blob(repository, config):
            self._registry.put_blob(repository, config, len(_EMPTY), lambda: [_EMPTY])
        if self._registry.has_blob(repository, layer):
            return
        if source and self._registry.mount_blob(repository, layer, source):
            return
        digest = layer.removeprefix("sha256:")
        self._registry.put_blob(repository, layer, size, lambda: unchanged(file, size, digest))

    def _tagged(self, manifest: bytes) -> str:
        """Stores a manifest under the first free tag of the attempt, or finds it; returns its digest."""
        digest = digest_of(manifest)
        for number in range(MOST_ARTIFACTS):
            if number in self._used:
                continue
            tag = f"{self._tag}{number}"
            there = self._registry.digest_of(self._repository, tag)
            if there is None:
                self._registry.put_manifest(self._repository, tag, manifest, MANIFEST)
            if there in (None, digest):
                self._used.add(number)
                return digest
            # An earlier start stored another value: it keeps its tag, by which it is deleted with the run.
        raise RegistryError(f"the run's attempt has {MOST_ARTIFACTS} artifacts already", "refused")

    def _attach(
        self, text: str, manifest: "dict[str, Any]", layer: str, size: int, file: "File | EncryptedFile"
    ) -> None:
        """Attaches a value to the image that the Task's results name."""
        if self._subject is None:
            subject = parse_subject(text)
            if subject is None or subject.registry != self._registry.host:
                names = " and ".join(self._subject_results)
                raise RegistryError(
                    f"it cannot be attached to an image: the value of {names} is no "
                    f"{self._registry.host}/REPOSITORY@sha256:DIGEST",
                    "refused",
                )
            self._subject = subject, subject_descriptor(self._registry, subject)
        subject, descriptor = self._subject
        self._push(subject.repository, layer, size, file, source=self._repository)
        attach(self._registry, subject, {**manifest, "subject": descriptor})


def _described(media_type: str, digest: str, size: int) -> "dict[str, Any]":
    return {"mediaType": media_type, "digest": digest, "size": size}


def _text(result: Result) -> str:
    """Returns the value of a result that names an image; empty without one, "?" if it cannot be read."""
    try:
        return (result.read(_SUBJECT_BYTES) or b"").decode().strip()
    except RefusedError:
        return "?"
