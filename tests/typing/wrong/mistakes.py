"""Mistakes that a type checker must find; each line says as what, to mypy and to pyright."""

from collections.abc import Callable

from resultsfw import (
    Capabilities,
    Cluster,
    ExtractedResult,
    Extraction,
    Kind,
    Object,
    Problem,
    ResultsManager,
    ResultSpec,
    Run,
    hookimpl,
    read_reference,
)

core = ResultsManager.from_flags({"max-result-size": 4096})  # wrong: dict-item reportArgumentType
declared = ResultSpec(name="a", type="number")  # wrong: arg-type reportArgumentType
run = Run("default", "report", "u")  # wrong: call-arg reportCallIssue
run.name = "other"  # wrong: misc reportAttributeAccessIssue
capabilities = Capabilities(summary="x", delivery="carrier pigeon")  # wrong: arg-type reportArgumentType
found = ExtractedResult(name="a", value=b"bytes", source="x")  # wrong: arg-type reportArgumentType
lost = ExtractedResult(name="a", value="x")  # wrong: call-arg reportCallIssue
extraction = Extraction(results=[found])  # wrong: arg-type reportArgumentType
problem = Problem(code="TooLarge", message="m")  # wrong: arg-type reportArgumentType
read_reference({"x": 1}).backend  # wrong: union-attr reportOptionalMemberAccess


class Backend:
    """Marked or not, a hook has its own signature."""

    @hookimpl
    def pod_ready(self, pod: Object) -> bool:
        """Whether it is."""
        return bool(pod)


ready: Callable[[Object], int | None] = Backend().pod_ready
said: str = Backend().pod_ready({})  # wrong: assignment reportAssignmentType
Backend().pod_ready(pod={}, wire=1)  # wrong: call-arg reportCallIssue


class NoCluster:
    """One method of five, and that one other than the protocol's."""

    def get(self, kind: Kind, name: str) -> Object:
        """One object."""
        return {"kind": kind.kind, "name": name}


cluster: Cluster = NoCluster()  # wrong: assignment reportAssignmentType
core.collect(run, {})  # wrong: call-arg reportCallIssue
core.prepare_pod(run, {}, cluster=NoCluster())  # wrong: arg-type reportArgumentType
