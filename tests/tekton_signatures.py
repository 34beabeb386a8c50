"""Sign results in a test as Tekton's entrypoint does."""

import base64
import json

from resultsfw.messages import INTERNAL, TASK_RESULT
from resultsfw_signing.tekton_format import manifest, signed_text


def signed_entries(values, svid, *, names=None):
    """Keys and values in the message of a Step that read these results.

    Args:
        values: The results' values.
        svid: Who signs (`resultsfw.testing.signing_ca.Credential`).
        names: Those in the manifest, if it does not name the results that there are.
    """

    def signature(text):
        return base64.b64encode(svid.sign(text.encode())).decode()

    listed = manifest(values if names is None else names)
    return [
        *values.items(),
        ("SVID", svid.pem),
        *((f"{name}.sig", signature(signed_text(value))) for name, value in values.items()),
        ("RESULT_MANIFEST", listed),
        ("RESULT_MANIFEST.sig", signature(listed)),
    ]


def message_of(entries):
    """The termination message with these entries."""
    started = {"key": "StartedAt", "value": "2026-11-28T12:00:00.000Z", "type": INTERNAL}
    return json.dumps(
        [*({"key": key, "value": value, "type": TASK_RESULT} for key, value in entries), started]
    )
