"""Options of the extension ``signed``, under ``config.signed``."""

import posixpath
import re
from typing import Annotated, Final, Literal, TypeAlias

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints

from resultsfw.errors import InputError
from resultsfw.images import SIDECAR_SIGNED, located
from resultsfw.option_types import Quantity, bytes_of, in_words
from resultsfw.signatures import check_trust_domain
from resultsfw_extensions._spire_entries import EntriesConfig

__all__ = ["MOUNT_PATH", "Policy", "SignedConfig"]

MOUNT_PATH: Final = "/spiffe-workload-api"
"""Folder of the Workload API's socket in the signing container, and in the controller's."""

_SOCKET: Final = re.compile(r"unix:///[^\x00-\x20\x7f?#]{1,100}")

Policy: TypeAlias = Literal["fail", "mark", "off"]

_LEAST_MEMORY: Final = "64Mi"
"""With less, the kernel ends the signing container, which uses 55 MB (docs/explanation/performance.md)."""

_OFF: Final = False
"""What the word ``off`` without quotes is in YAML 1.1."""


def _hyphens(name: str) -> str:
    return name.replace("_", "-")


def _is_trust_domain(name: str) -> str:
    try:
        return check_trust_domain(name)
    except InputError:
        raise ValueError(
            'must be a SPIFFE trust domain such as example.org: lower-case letters, digits, ".", "-" and "_"'
        ) from None


def _is_folder(path: str) -> str:
    if path == "/" or posixpath.normpath(path) != path:
        raise ValueError('must be an absolute path of a folder other than "/", without "..", "." and "//"')
    return path


def _is_enough(memory: str) -> str:
    if bytes_of(memory) < bytes_of(_LEAST_MEMORY):
        raise ValueError(f"must be at least {_LEAST_MEMORY}, which the signer needs")
    return memory


def _is_file_name(name: str) -> str:
    if name in (".", ".."):
        raise ValueError("must be the name of a file")
    return name


def _is_socket(address: str) -> str:
    if address and not _SOCKET.fullmatch(address):
        raise ValueError("must be unix:///PATH of a socket, as in SPIFFE_ENDPOINT_SOCKET")
    if address:
        _is_folder(posixpath.dirname(address.removeprefix("unix://")))
    return address


TrustDomain = Annotated[str, AfterValidator(_is_trust_domain)]
PolicyOption = Annotated[Policy, BeforeValidator(lambda given: "off" if given is _OFF else given)]
Namespace = Annotated[
    str,
    StringConstraints(pattern=r"^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$"),
    in_words('must be the name of a namespace: at most 63 lower-case letters, digits and "-"'),
]
Memory = Annotated[Quantity, AfterValidator(_is_enough)]
Image = Annotated[
    str,
    StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._:/@-]{0,999}$"),
    in_words("must be the name of an image, such as registry.example.org/team/sidecar-signed:0.1.0"),
    AfterValidator(located),
    Field(validate_default=True),
]
Driver = Annotated[
    str,
    StringConstraints(pattern=r"^[A-Za-z0-9]([A-Za-z0-9.-]{0,61}[A-Za-z0-9])?$"),
    in_words('must be the name of a CSI driver: at most 63 letters, digits, "." and "-"'),
]
Folder = Annotated[
    str,
    StringConstraints(pattern=r"^/[^\x00-\x1f\x7f]{1,250}$"),
    in_words("must be an absolute path of a folder, of at most 251 characters"),
    AfterValidator(_is_folder),
]
FileName = Annotated[
    str,
    StringConstraints(pattern=r"^[A-Za-z0-9_.-]{1,100}$"),
    in_words('must be the name of a file: at most 100 letters, digits, "_", "." and "-"'),
    AfterValidator(_is_file_name),
]
Socket = Annotated[str, AfterValidator(_is_socket)]


class SignedConfig(BaseModel):
    """Options of ``config.signed``."""

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        alias_generator=_hyphens,
        populate_by_name=True,
        use_attribute_docstrings=True,
    )

    trust_domain: Annotated[TrustDomain, Field(validate_default=True)] = ""
    """The trust domain of the pods' identities, such as ``example.org``; required."""
    policy: PolicyOption = "fail"
    """``fail``: results that do not verify fail the run. ``mark``: they are kept. ``off``: unsigned."""
    namespaces: Annotated[dict[Namespace, PolicyOption], Field(max_length=10_000)] = {}
    """The policy of a namespace, where it differs."""
    workload_api: Literal["csi", "host-path"] = "csi"
    """Where the signing container gets the socket: by SPIFFE's CSI driver, or from a folder of the node."""
    csi_driver: Driver = "csi.spiffe.io"
    """Name of that driver."""
    socket_folder: Folder = "/run/spire/agent-sockets"
    """That folder of the node."""
    socket_file: FileName = "spire-agent.sock"
    """Name of the socket in the volume."""
    controller_socket: Socket = ""
    """The controller's own socket; by default what SPIFFE_ENDPOINT_SOCKET names, or the one in its volume."""
    image: Image = SIDECAR_SIGNED
    """Image of the signing container: it also replaces the results sidecar's image."""
    cpu: Quantity = "10m"
    """CPU request of a container that only signs."""
    memory: Memory = "128Mi"
    """Memory request and limit of the signing container, from 64Mi on; a results sidecar keeps more."""
    wait: Annotated[int, Field(ge=1, le=600)] = 60
    """Seconds to wait at a run's end for an identity; never longer than the pod's grace period minus five."""
    tekton_keys: bool = False
    """Make the keys of Tekton's own format, too."""
    termination_message: Literal["signer", "entrypoint"] = "signer"
    """Whether a container of its own, or Tekton's entrypoint, signs results in termination messages."""
    entries: EntriesConfig | None = None
    """The SPIRE server with which the controller registers each pod, if SPIRE's own controller does not."""

    def policy_of(self, namespace: str) -> Policy:
        """Return the policy of a namespace."""
        return self.namespaces.get(namespace, self.policy)
