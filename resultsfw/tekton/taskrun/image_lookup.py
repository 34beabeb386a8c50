"""Ask for the commands of a run's images, and read the pull secrets for their registries.

Tekton: pkg/pod/entrypoint_lookup_impl.go, go-containerregistry's authn/kubernetes. The registry client is not
part of this package: a reconciler without one refuses Steps without a command.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final, Protocol

from resultsfw.cluster import Cluster, Object
from resultsfw.errors import ForbiddenError, NotFoundError, ResultsError
from resultsfw.tekton.api.kinds import SECRETS
from resultsfw.tekton.api.refusals import creation_failed
from resultsfw.tekton.pod.image_commands import ImageCommands, images_without_command
from resultsfw.tekton.spec.run_texts import run_texts
from resultsfw.tekton.taskrun.service_accounts import AccountSecrets, listed_names
from resultsfw.types import Run

__all__ = [
    "MOST_PULL_SECRETS",
    "FoundImages",
    "ImageLookup",
    "ImageLookupError",
    "ImageRequest",
    "awaited_message",
    "find_images",
    "read_pull_secrets",
]

MOST_PULL_SECRETS: Final = 50
"""Pull secrets that are read for one run; others are ignored."""

_SHOWN: Final = 200

FoundImages = dict[str, ImageCommands]
"""Images by their names in the Task."""


class ImageLookupError(ResultsError):
    """An image's command could not be looked up; the message names image and cause."""

    code = "ImageLookupFailed"


@dataclass(frozen=True, slots=True)
class ImageRequest:
    """The images whose commands a run needs.

    Attributes:
        namespace: Of the run.
        name: Of the run.
        key: Of the run's attempt, unlike that of any other.
        images: Their names.
        read_secrets: Returns the pull secrets, and what is to be said of those that could not be read; may
            raise ClusterError.
    """

    namespace: str
    name: str
    key: str
    images: tuple[str, ...]
    read_secrets: Callable[[], tuple[Sequence[Object], str]] = field(repr=False, compare=False)

    @property
    def run(self) -> tuple[str, str]:
        """Return namespace and name of the run."""
        return self.namespace, self.name


class ImageLookup(Protocol):
    """Looks up images."""

    def look_up(self, request: ImageRequest) -> FoundImages | None:
        """Return the images; ``None``: the run is reconciled again when they are there.

        Raises:
            ImageLookupError: One could not be looked up, which ends the run.
            ClusterError: The pull secrets cannot be read now.
        """
        ...


def find_images(
    lookup: ImageLookup | None,
    cluster: Cluster,
    taskrun: Object,
    *,
    task_spec: Object,
    run: Run,
    read_account: Callable[[], AccountSecrets],
) -> FoundImages | None:
    """Return the images whose commands a pod needs.

    Returns ``None`` while they are looked up: the run is reconciled again when they are there.

    Args:
        lookup: Looks them up; ``None``: nothing does, and there are none.
        cluster: Where pull secrets are.
        taskrun: The run.
        task_spec: Substituted.
        run: The attempt.
        read_account: Reads the pod's service account; raises NotFoundError or ClusterError.

    Raises:
        RefusedRun: One could not be looked up.
        ClusterError: The pull secrets cannot be read now.
    """
    images = images_without_command(task_spec)
    if lookup is None or not images:
        return {}
    own = run_texts(taskrun, task_spec).pod_template.get("imagePullSecrets")
    names = listed_names(own)
    request = ImageRequest(
        run.namespace,
        run.name,
        f"{taskrun['metadata'].get('uid', '')}/{run.attempt}",
        images,
        lambda: read_pull_secrets(cluster, run.namespace, read_account, names),
    )
    try:
        return lookup.look_up(request)
    except ImageLookupError as error:
        raise creation_failed(taskrun, f"translating TaskSpec to Pod: {error.message}") from error


def awaited_message(task_spec: Object) -> str:
    """Return the condition's message while the commands of a run's images are looked up."""
    first, *others = images_without_command(task_spec)
    more = f" and {len(others)} more" if others else ""
    return f'looking up the command of image "{first[:_SHOWN]}"{more} in its registry'


def read_pull_secrets(
    cluster: Cluster, namespace: str, read_account: Callable[[], AccountSecrets], names: Sequence[str]
) -> tuple[Sequence[Object], str]:
    """Return the pull secrets of a pod: its own, and those of its service account.

    Those that do not exist are left out, as the kubelet does.

    Args:
        cluster: Where they are.
        namespace: Of the pod.
        read_account: Reads its service account; raises NotFoundError or ClusterError.
        names: Of the pod template's ``imagePullSecrets``.

    Returns:
        The Secrets, and a note for the message of a lookup that fails; "" if there is nothing to say.

    Raises:
        ClusterError: One cannot be read now.
    """
    found: list[Object] = []
    try:
        listed = [*names, *_pull_secrets_of(read_account)]
        for name in list(dict.fromkeys(listed))[:MOST_PULL_SECRETS]:
            try:
                found.append(cluster.get(SECRETS, namespace, name))
            except NotFoundError:
                continue
    except ForbiddenError as error:
        return found, f"; the controller may not read the pull secrets: {error.message}"
    return found, ""


def _pull_secrets_of(read_account: Callable[[], AccountSecrets]) -> Sequence[str]:
    try:
        return read_account().pull_secrets
    except NotFoundError:
        return ()
