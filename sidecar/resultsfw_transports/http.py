"""Delivers all records to the results server in one request, with the pod's own token for that server."""

from resultsfw_sidecar import wire
from resultsfw_sidecar.digest import sha256
from resultsfw_sidecar.output import Kept, OutputError
from resultsfw_sidecar.settings import Environment, SettingsError
from resultsfw_sidecar.stop import Stop
from resultsfw_sidecar.transports import LogTransport

from .request import Server

ENV_URL = "RESULTSFW_SERVER_URL"
ENV_PATH = "RESULTSFW_SERVER_PATH"
ENV_RUN = "RESULTSFW_SERVER_RUN"
ENV_TOKEN_FILE = "RESULTSFW_SERVER_TOKEN_FILE"  # noqa: S105 - a file's name
ENV_CA_FILE = "RESULTSFW_SERVER_CA_FILE"
ENV_CA = "RESULTSFW_SERVER_CA"

RUN_HEADER = "Resultsfw-Run"
"""The run's name, with which a server that has the permission checks whether the run exists."""

MEDIA_TYPE = "application/vnd.resultsfw.records+json-lines"

_STORED = (200, 201)
_MAX_REASON = 500  # characters of an answer that are passed on


class Transport(LogTransport):
    """Collects all records and delivers them together; the termination message is their digest."""

    def __init__(self) -> None:
        super().__init__()
        self._kept = self.output = Kept()
        self._tried = False

    def open(self, environment: Environment, stop: Stop) -> None:
        """See `resultsfw_sidecar.transports.LogTransport`."""
        self._environment = environment

        def get(name: str) -> str:
            return environment.variables.get(name.encode(), b"").decode("utf-8", "backslashreplace")

        for name in (ENV_URL, ENV_PATH, ENV_TOKEN_FILE):
            if not get(name):
                raise SettingsError(wire.BAD_ENVIRONMENT, f"{name} is not set")
        self._headers = {RUN_HEADER: get(ENV_RUN)} if get(ENV_RUN) else {}
        self._path = f"{get(ENV_PATH)}/pods/{environment.pod}"
        try:
            self._server = Server(
                get(ENV_URL),
                token_file=get(ENV_TOKEN_FILE),
                ca_file=get(ENV_CA_FILE),
                ca=get(ENV_CA),
                stop=stop,
            )
        except ValueError as error:
            raise SettingsError(wire.BAD_ENVIRONMENT, f"{ENV_URL}: {error}") from None

    def deliver(self) -> str:
        """See `resultsfw_sidecar.transports.LogTransport`. It is called once per process."""
        if self._tried:
            raise OutputError("an earlier delivery failed, and there is no second one")
        self._tried = True
        data = self._kept.data
        digest = sha256(data).hexdigest()
        status, answer = self._server.ask(
            "PUT", self._path, data, media_type=MEDIA_TYPE, headers=self._headers
        )
        if status not in _STORED:
            reason = answer.decode("utf-8", "replace").strip()[:_MAX_REASON]
            raise OutputError(f"the results server refused {len(data)} bytes with HTTP {status}: {reason}")
        return f"sha256:{digest}"
