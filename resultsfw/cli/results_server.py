"""``resultsfw results-server``: run the process that stores the results that pods deliver over HTTP."""

from typing import Any

from resultsfw.errors import InputError

__all__ = ["run_results_server"]


def run_results_server(given: dict[str, Any]) -> int:
    """Serve until a signal arrives, and return the exit status."""
    try:
        from resultsfw.server.process import Options, run_server  # noqa: PLC0415 - an extra
    except ModuleNotFoundError as error:
        raise InputError(
            f"the results server needs {error.name}, which is not installed: "
            f"pip install 'resultsfw[results-server]'",
            subject="results-server",
        ) from error
    if given["store"] is None:
        given["store"] = _local_store(local=given["local"])
    given["listen"] = given["listen"] or ("127.0.0.1:8443" if given["local"] else ":8443")
    given["listen_status"] = given["listen_status"] or ("" if given["local"] else ":8080")
    return run_server(Options(**{key: value for key, value in given.items() if value is not None}))


def _local_store(*, local: bool) -> str:
    """Return the URL of the store where none was named."""
    if not local:
        raise InputError("--store is required without --local", subject="--store")
    from resultsfw.server.sqlite import default_url  # noqa: PLC0415 - an extra

    return default_url()
