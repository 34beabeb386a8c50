"""A run's results verify only if every one is what the pod of that attempt signed."""

from signing_harness import AT, arrived, verify


def test_what_the_pod_signed_verifies():
    verified = verify(arrived())
    assert verified.faults == ()
    assert verified.ok
    assert verified.spiffe_id == "spiffe://example.org/ns/team-a/taskrun/build-1/pod/pod-uid-1"
    assert verified.expires > AT
    assert verified.results == arrived().results
