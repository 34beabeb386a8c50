"""A backend as a class, with options, by reference; and one that keeps more for itself than it is asked."""

from collections.abc import Callable, Iterator
from typing import assert_type

from pydantic import BaseModel, ConfigDict

from resultsfw import (
    Capabilities,
    Cluster,
    ExtractedResult,
    Extraction,
    Limits,
    Object,
    Permission,
    Problem,
    ProblemCode,
    Reference,
    ResultsManager,
    Run,
    TransportUsage,
    hookimpl,
)


class Options(BaseModel):
    """Its options; of another name than the attribute, which would hide it from the hooks' annotations."""

    model_config = ConfigDict(extra="forbid")

    folder: str = "/var/lib/results"


class Backend:
    """Its hooks take what they need, in any order."""

    Config = Options
    capabilities = Capabilities(
        summary="by reference",
        delivery="reference",
        external_state="elsewhere",
        permissions=(Permission(verb="get", resource="pods/log", why="to see"),),
        verified=True,
    )

    @hookimpl
    def prepare_pod(self, pod: Object, config: Options, run: Run) -> int:
        """Its wire version."""
        pod["spec"]["volumes"] = [{"name": run.name, "hostPath": {"path": config.folder}}]
        return 3

    @hookimpl
    def pod_ready(self, pod: Object, wire: int) -> bool:
        """Whether it is."""
        return wire == 3 and bool(pod.get("status"))

    @hookimpl(tryfirst=True)
    def extract(self, run: Run, pod: Object, cluster: Cluster, limits: Limits) -> Extraction:
        """All there is."""
        log = b"".join(cluster.read_log(run.namespace, pod["metadata"]["name"], "x", limit=limits.run_bytes))
        reference = Reference(backend="mine", location="x", size=len(log), digest="sha256:0")
        return Extraction(
            results=(
                ExtractedResult(name="a", value=reference, source="x"),
                ExtractedResult(name="b", value="1", step="s", source="x"),
            ),
            problems=(Problem(code=ProblemCode.TRANSPORT_CUT, message="m", size=1, limit=2),),
            transports=(TransportUsage(container="x", transport="log", used=1, results=("a",)),),
        )

    @hookimpl
    def dereference(self, reference: Reference) -> Iterator[bytes]:
        """Its bytes."""
        yield reference.location.encode()

    @hookimpl
    def purge(self, run: Run, cluster: Cluster) -> None:
        """Nothing to do."""


core = ResultsManager.from_flags({"results-from": "mine"}, register={"mine": Backend})
backend = Backend()
# Marked or not, a hook is what it was.
ready: Callable[[Object, int], bool] = backend.pod_ready
assert_type(backend.prepare_pod({}, Options(), Run(namespace="n", name="r", uid="u")), int)
