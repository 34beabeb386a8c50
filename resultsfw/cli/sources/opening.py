"""Open the source of runs that the options name, and make the core with its flags."""

from collections.abc import Callable
from dataclasses import replace

from resultsfw.cli.extras import needs
from resultsfw.cli.files.settings import core_of
from resultsfw.cli.sources.saved import SavedSource
from resultsfw.cli.sources.source import Source, Where
from resultsfw.core import ResultsManager
from resultsfw.errors import InputError

__all__ = ["core_for", "open_source"]


def open_source(where: Where, *, note: Callable[[str], None]) -> Source:
    """Return the source that the options name. Files are read at once; a cluster is not asked yet.

    Args:
        where: The options.
        note: Prints what a person should know beside the output.

    Raises:
        InputError: A file cannot be read, options contradict each other, or the extra "cluster" is missing.
    """
    if where.files:
        if where.kubeconfig or where.context or where.all_namespaces:
            raise InputError(
                "-f reads saved files, and the options --kubeconfig, --context and -A are about a cluster",
                subject="-f",
            )
        return SavedSource(where)
    if where.logs:
        raise InputError("--log is for saved files (-f): others are read from the cluster", subject="--log")
    with needs("cluster"):
        from resultsfw.cli.sources.live import LiveSource  # noqa: PLC0415 - only for a cluster
    return LiveSource(where, note)


def core_for(source: Source, note: Callable[[str], None]) -> ResultsManager:
    """Return the core with the flags of a source.

    A cluster's flags may name plugins or files that only its controller has: then the defaults count.

    Raises:
        InputError: A flag of a file or of the command line cannot be used.
    """
    given = source.flags()
    try:
        return core_of(given)
    except InputError as error:
        if not source.is_live or given.file is not None:
            raise
        note(f"the cluster's flags cannot be used on this machine: the defaults are taken; {error.message}")
        return core_of(replace(given, documents=()))
