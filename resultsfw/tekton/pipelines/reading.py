"""Values of results by reference, read where a text of a PipelineRun needs them."""

from resultsfw.cluster import Cluster, Object
from resultsfw.core import Core
from resultsfw.errors import BackendError, ClusterError, CorruptError, FlagError
from resultsfw.references import reference_of
from resultsfw.tekton.pipelines.references import Read, ResultRef, ResultUnread
from resultsfw.tekton.pipelines.times import Times
from resultsfw.tekton.referenced import VALUE_BYTES, read_value
from resultsfw.types import Reference, Value

__all__ = ["ResultLate", "reader"]


class ResultLate(ResultUnread):
    """The value could not be read before the time of the run, or of the part that needs it, was over."""

    code = "ResultLate"


def reader(core: Core, cluster: Cluster, namespace: str, times: Times) -> Read:
    """Reads values for one look at a run.

    Args:
        core: Knows the backends.
        cluster: The way to the world.
        namespace: Of the run.
        times: Its limits: what can come right is waited for no longer.
    """
    known: dict[tuple[Reference, str], Value] = {}  # a look asks for the same more than once

    def read(ref: ResultRef, value: Object, kind: str) -> Value:
        what = f'needs the value of result "{ref.result}" of task "{ref.task}" in a text'
        try:
            reference = reference_of(value)
            if reference is not None and reference.size <= VALUE_BYTES:
                if (reference, kind) not in known:
                    # It stands in the status of a TaskRun, which only a controller writes.
                    known[reference, kind] = read_value(
                        core, cluster, reference, kind, namespace=namespace, backend=reference.backend
                    )
                return known[reference, kind]
        except (CorruptError, BackendError, FlagError) as error:
            raise ResultUnread(f"{what}: {error.message}") from error
        except ClusterError as error:
            # A store that is away is waited for, as long as there is time.
            if error.retryable:
                if not times.part_elapsed:
                    raise
                raise ResultLate(f"{what}: {error.message}") from error
            raise ResultUnread(f"{what}: {error.message}") from error
        size = 0 if reference is None else reference.size
        raise ResultUnread(
            f"{what}, which has {size} bytes by reference, over the limit of {VALUE_BYTES} bytes one object "
            f"may have: give it to a param as a whole, and read its file"
        )

    return read
