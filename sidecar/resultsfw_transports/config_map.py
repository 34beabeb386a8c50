"""Writes results into a ConfigMap: values under its keys, records in an annotation, all in one patch.

The backend creates the ConfigMap, empty, before the pod; the pod's service account may get and patch this
ConfigMap only. The patch makes it immutable.
"""

import json

from resultsfw_sidecar.output import OutputError
from resultsfw_transports.api_object import (
    ENV_ACCOUNT,
    ENV_SCHEME,
    VALUE_BYTES,
    ObjectTransport,
    members,
    parsed,
    proof,
    required,
)

TYPE_CHECKING = False  # typing itself would cost the start-up 5 ms

if TYPE_CHECKING:
    from resultsfw_sidecar.settings import Environment
    from resultsfw_sidecar.stop import Stop

__all__ = ["ENV_ACCOUNT", "ENV_NAME", "ENV_SCHEME", "ENV_UID", "RECORDS", "VALUE_BYTES", "Transport", "proof"]

ENV_NAME = "RESULTSFW_CONFIG_MAP"
ENV_UID = "RESULTSFW_CONFIG_MAP_UID"

RECORDS = "resultsfw.dev/records"
"""The annotation with the records."""

_SMALL = 64  # bytes that escaping may add to any value: nobody reads base64


class Transport(ObjectTransport):
    """Collects everything and writes it at the end. `ValidateConfigMap` sets the ceiling, too."""

    what = "ConfigMap"
    variable = ENV_NAME
    prefix = "/api/v1"
    plural = "configmaps"

    def open(self, environment: "Environment", stop: "Stop") -> None:
        """Reads the address. Sends no request: that the server answers now says little about later."""
        self._uid = required(environment, ENV_UID)
        super().open(environment, stop)

    def is_readable(self, value: bytes, escaped: bytes) -> bool:
        """Tells whether a value is stored as text.

        Only a request is JSON, and has 3 MiB: the API server stores ConfigMaps in another format.
        """
        return len(escaped) <= 2 * len(value) + _SMALL

    def body(self, records: bytes) -> bytes:
        """Returns the merge patch."""
        metadata = {"uid": self._uid, "annotations": {RECORDS: records.decode()}}
        return b'{"metadata":%s,"immutable":true,"data":{%s},"binaryData":{%s}}' % (
            json.dumps(metadata).encode(),
            members(self._texts),
            members(self._encoded),
        )

    def write(self, records: bytes) -> None:
        """Writes it, or finds it there as it would write it.

        Raises:
            OutputError: The server refused, or somebody else wrote the ConfigMap.
        """
        status, answer = self.ask("PATCH", self.body(records))
        if status == 200:  # noqa: PLR2004 - HTTP
            return
        why = self.refusal(status, answer)
        if status in (409, 422):
            # We may have been killed after our patch, or its answer was lost. Or somebody was faster.
            status, answer = self.ask("GET")
            found = _metadata(answer) if status == 200 else {}  # noqa: PLR2004 - HTTP
            annotations = found.get("annotations")
            known = annotations.get(RECORDS) if isinstance(annotations, dict) else None
            if found.get("uid") == self._uid and known == records.decode():
                return
            if found and (found.get("uid") != self._uid or known is not None):
                why = f"{why}; somebody else wrote it or created it again"
        raise OutputError(why)


def _metadata(answer: bytes) -> dict[str, object]:
    metadata = parsed(answer).get("metadata")
    return metadata if isinstance(metadata, dict) else {}
