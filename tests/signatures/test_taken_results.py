"""A Task result that is taken from a Step result: the sidecar may list it, and no value of it counts."""

from dataclasses import replace

import pytest
from signing_harness import RUN, Signed, arrived, verify, with_value

from resultsfw import ResultSpec, StepResultRef

TAKEN = (None, "taken")
TAKING = replace(
    RUN,
    results=(*RUN.results, ResultSpec(name="taken", from_step=StepResultRef(step="build", result="digest"))),
)


@pytest.mark.parametrize(
    "signed",
    [
        Signed(run=TAKING),
        Signed(run=TAKING, absent=(*Signed().absent, TAKEN)),
        Signed(run=TAKING, values=(*Signed().values, (TAKEN, "x"))),
    ],
    ids=["unsaid", "absent", "written"],
)
@pytest.mark.parametrize("value", [None, "x", "other"])
def test_what_is_said_of_it_makes_no_difference_and_its_own_value_does_not_count(signed, value):
    extraction = arrived(signed.envelope())
    whole = extraction if value is None else with_value(extraction, TAKEN, value)
    verified = verify(whole, run=TAKING)
    assert verified.faults == ()
    assert set(verified.results) == set(extraction.results)
