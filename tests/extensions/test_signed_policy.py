"""Which results count by a policy, and what the problems of the others say."""

import pytest

from resultsfw import ExtractedResult, Extraction
from resultsfw.signatures import Fault, Reason, VerifiedResults
from resultsfw_extensions._signed_policy import apply_policy

OUTDATED = ExtractedResult(name="digest", value="earlier", source="step-a")
VERIFIED = ExtractedResult(name="digest", value="later", source="step-b")
ARRIVED = Extraction(results=(OUTDATED, VERIFIED))


@pytest.mark.parametrize("policy", ["fail", "mark"])
def test_of_results_that_verify_only_those_count_that_were_signed(policy):
    found = apply_policy(ARRIVED, VerifiedResults(faults=(), results=(VERIFIED,)), policy)
    assert found.results == (VERIFIED,)


def test_faults_beyond_a_hundred_are_one_problem_that_names_results():
    faults = tuple(Fault(reason=Reason.WRONG_DIGEST, message=f"m{i}", result=f"r{i}") for i in range(103))
    found = apply_policy(ARRIVED, VerifiedResults(faults=faults), "fail")
    assert [problem.result for problem in found.problems[:100]] == [f"r{i}" for i in range(100)]
    assert "3 more results do not verify" in found.problems[100].message
    assert all(f"r{i}" in found.problems[100].message for i in range(100, 103))
    assert found.verification.message.endswith("and 3 more differences")
