"""The controller's identity, without an agent."""

import pytest

from resultsfw.errors import UnavailableError
from resultsfw_extensions._signed_identity import Identity


def test_an_identity_that_is_closed_opens_no_stream(tmp_path):
    identity = Identity(f"unix://{tmp_path}/agent.sock")
    identity.close()
    with pytest.raises(UnavailableError, match="has not answered yet"):
        identity.svid()
    assert identity._thread is None


def test_the_end_of_a_stream_that_was_closed_is_no_warning(caplog):
    identity = Identity("unix:///not/there")
    identity.close()
    identity._end_stream(RuntimeError("the stream is cancelled"))
    assert not caplog.records
