"""Backend ``step-log``: a Step prints a line ``##result NAME=VALUE`` for each of its results.

Nothing is added to the pod. A value has no line breaks; what a Step prints is trusted as much as the Step.
"""

from collections.abc import Iterator

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
    Run,
    hookimpl,
)
from resultsfw.pods import has_finished, steps_ended

MARK = b"##result "
LOG_BYTES = 1 << 20

capabilities = Capabilities(
    summary="results as lines of the Steps' own logs",
    permissions=(Permission(verb="get", resource="pods/log", why="the results are in the Steps' logs"),),
    plain_pods=True,
)


@hookimpl
def prepare_pod() -> int:
    """Add nothing, and return the first version of the format."""
    return 0


@hookimpl
def pod_ready(run: Run, pod: Object) -> bool:
    """Return whether all Steps, or the pod, have ended for good."""
    return has_finished(pod) or steps_ended(run, pod)


@hookimpl
def extract(run: Run, pod: Object, cluster: Cluster, limits: Limits) -> Extraction:
    """Read the log of every Step, in order; of two values with one name, the later is used."""
    found: list[ExtractedResult] = []
    problems: list[Problem] = []
    most = LOG_BYTES + limits.run_bytes
    for step in run.steps:
        source = f'log of container "{step.container}"'
        metadata = pod["metadata"]
        # Request one byte more than is allowed: a log that has it is longer than what is read.
        log = b"".join(
            cluster.read_log(metadata["namespace"], metadata["name"], step.container, limit=most + 1)
        )
        if len(log) > most:
            problems.append(
                Problem(
                    code=ProblemCode.TRANSPORT_CUT,
                    message=f"the {source} has more than {most} bytes, and results may be behind them",
                    size=len(log),
                    limit=most,
                )
            )
        for name, value in values(log[:most]):
            try:
                found.append(ExtractedResult(name=name, value=value.decode(), source=source))
            except UnicodeDecodeError:
                message = f'result "{name}" is not UTF-8 in the {source}'
                problems.append(Problem(code=ProblemCode.NOT_UTF8, message=message, result=name))
    return Extraction(results=tuple(found), problems=tuple(problems))


def values(log: bytes) -> Iterator[tuple[str, bytes]]:
    """Yield name and value of each line that is a result."""
    for line in log.split(b"\n"):
        name, equals, value = line.removeprefix(MARK).partition(b"=")
        if line.startswith(MARK) and equals:
            yield name.decode(errors="replace"), value
