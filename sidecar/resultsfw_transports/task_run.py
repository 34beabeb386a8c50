"""Writes results into annotations of the status of the pod's own TaskRun, in one patch.

An admission policy lets only the pod that the status names add these annotations, once, and nothing else; to
write the same again is no change. So the pod needs no right to read TaskRuns. The controller turns them into
results, and removes them.
"""

import json

from resultsfw_sidecar import wire
from resultsfw_sidecar.settings import SettingsError
from resultsfw_transports.api_object import ObjectTransport, members, required

TYPE_CHECKING = False  # typing itself would cost the start-up 5 ms

if TYPE_CHECKING:
    from resultsfw_sidecar.settings import Environment
    from resultsfw_sidecar.stop import Stop

ENV_NAME = "RESULTSFW_TASK_RUN"
ENV_ROOM = "RESULTSFW_STATUS_BYTES"
"""Bytes that all values may have together as they are kept."""
ENV_PREFIX = "RESULTSFW_STATUS_ANNOTATIONS"
"""What the annotations of this attempt begin with."""

RECORDS = "records"
"""The annotation with the records, behind the prefix."""
TEXT = "text."
ENCODED = "base64."
"""Before the keys of values, behind the prefix."""


class Transport(ObjectTransport):
    """Collects everything and writes it at the end."""

    what = "TaskRun"
    variable = ENV_NAME
    prefix = "/apis/tekton.dev/v1"
    plural = "taskruns"
    subresource = "/status"

    def open(self, environment: "Environment", stop: "Stop") -> None:
        """Reads the address. Sends no request: that the server answers now says little about later."""
        self._annotations = required(environment, ENV_PREFIX)
        try:
            self.room = int(required(environment, ENV_ROOM))
        except ValueError as error:
            raise SettingsError(wire.BAD_ENVIRONMENT, f"{ENV_ROOM}: {error}") from None
        super().open(environment, stop)

    def body(self, records: bytes) -> bytes:
        """Returns the merge patch."""
        start = self._annotations
        written = {RECORDS: json.dumps(records.decode(), ensure_ascii=False).encode()}
        parts = [
            members(written, start),
            members(self._texts, start + TEXT),
            members(self._encoded, start + ENCODED),
        ]
        return b'{"status":{"annotations":{%s}}}' % b",".join(filter(None, parts))
