"""Use the core as an embedder does, with every name that it may need."""

from collections.abc import Iterator
from typing import assert_type

from resultsfw import (
    PODS,
    Cluster,
    CollectionOutcome,
    Flags,
    Kind,
    Object,
    Problem,
    ProblemCode,
    Reference,
    Result,
    ResultsManager,
    ResultSpec,
    Run,
    Stamp,
    Step,
    StepResultRef,
    hookimpl,
    parse_flags,
    read_reference,
    read_stamp,
)
from resultsfw.errors import ClusterError, ResultsError, TooEarlyError

REPORTS = Kind("example.dev", "v1", "reports", "Report")

core = ResultsManager.from_flags({"results-from": "sidecar-logs"}, extensions=["redact"])
flags: Flags = parse_flags({"max-result-size": "8192"})
other = ResultsManager(flags, register={"mine": object()})

run = Run(
    namespace="default",
    name="report",
    uid="u",
    attempt=1,
    results=(
        ResultSpec(name="a", from_step=StepResultRef("one", "b")),
        ResultSpec(name="c", type="object", properties=("x",)),
    ),
    steps=(Step(name="one", container="one", results=(ResultSpec(name="b"),)),),
)


def begin(pod: Object, cluster: Cluster) -> Object:
    """Prepare the pod with a cluster and without."""
    core.prepare_pod(run, pod)
    return core.prepare_pod(run, pod, cluster=cluster, annotations={"resultsfw.dev/results-from": "mine"})


def follow(report: Object, cluster: Cluster) -> Object | None:
    """Read the pod and write the status."""
    pod = cluster.get(PODS, run.namespace, run.name)
    stamp = read_stamp(pod)
    assert_type(stamp, Stamp | None)
    if not core.is_ready(run, pod, stamp=stamp):
        return None
    try:
        collected = core.collect(run, pod, cluster, final=False)
    except TooEarlyError:
        return None
    except ClusterError as error:
        assert_type(error.retryable, bool)
        raise
    except ResultsError as error:
        assert_type(error.code, str)
        return None
    assert_type(collected, CollectionOutcome)
    patch = core.status_patch(collected, report, now="2026-01-01T00:00:00Z", status={"x": 1})
    assert_type(patch, Object)
    cluster.patch(REPORTS, run.namespace, run.name, patch, subresource="status")
    core.purge(run, pod, cluster, backend="mine", deleted=core.external_state(pod) == "elsewhere")
    return patch


def summary(collected: CollectionOutcome) -> Iterator[str]:
    """Yield lines about the results and problems."""
    for result in collected.results:
        assert_type(result, Result)
        assert_type(result.value, str | list[str] | dict[str, str] | Reference)
        yield f"{result.name}: {result.size}"
    for step, results in collected.step_results.items():
        yield from (f"{step}.{result.name}" for result in results)
    for problem in collected.problems:
        assert_type(problem, Problem)
        assert_type(problem.code, ProblemCode)
        assert_type(problem.size, int | None)
        yield problem.message if problem.code is ProblemCode.RESULT_TOO_LARGE else problem.hint


def value_of(entry: Object, cluster: Cluster) -> bytes:
    """Return the bytes of a result, as a consumer of the status."""
    reference = read_reference(entry["value"])
    assert_type(reference, Reference | None)
    return b"" if reference is None else b"".join(core.dereference(reference, cluster))


class Counter:
    """Count the results that arrived."""

    def __init__(self) -> None:
        self.results = 0

    @hookimpl
    def results_collected(self, collected: CollectionOutcome) -> None:
        """Count the results of a run."""
        self.results += len(collected.results)


counter = Counter()
with ResultsManager.from_flags({}, register_extensions={"counter": counter}) as watched:
    print(watched.extensions["counter"].implements)
