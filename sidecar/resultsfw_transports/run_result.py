"""Writes results into the status of a RunResult, a custom resource, in one patch.

The backend creates the RunResult, without a status, before the pod. An admission policy lets only the pod
that it names write the status, once; to write the same again is no change. So the pod needs no right to read.
"""

import json

from resultsfw_sidecar import wire
from resultsfw_transports.api_object import ObjectTransport, members, required

TYPE_CHECKING = False  # typing itself would cost the start-up 5 ms

if TYPE_CHECKING:
    from resultsfw_sidecar.settings import Environment
    from resultsfw_sidecar.stop import Stop

ENV_NAME = "RESULTSFW_RUN_RESULT"


class Transport(ObjectTransport):
    """Collects everything and writes it at the end."""

    what = "RunResult"
    variable = ENV_NAME
    prefix = "/apis/resultsfw.dev/v1alpha1"
    plural = "runresults"
    subresource = "/status"

    def open(self, environment: "Environment", stop: "Stop") -> None:
        """Reads the address. Sends no request: that the server answers now says little about later."""
        self._pod_uid = required(environment, wire.ENV_POD_UID)
        super().open(environment, stop)

    def body(self, records: bytes) -> bytes:
        """Returns the merge patch."""
        return b'{"status":{"podUid":%s,"records":%s,"texts":{%s},"encoded":{%s}}}' % (
            json.dumps(self._pod_uid).encode(),
            json.dumps(records.decode(), ensure_ascii=False).encode(),
            members(self._texts),
            members(self._encoded),
        )
