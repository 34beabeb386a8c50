"""The end of a run of the tests says which were skipped and why, in a line for each reason."""

from types import SimpleNamespace

from skipped import summary


def report(file, reason, line=7):
    return SimpleNamespace(nodeid=f"{file}::test_of_something", longrepr=(file, line, f"Skipped: {reason}"))


def test_each_reason_is_named_once_with_its_tests_the_most_frequent_first():
    cluster = [report(f"tests/cluster/test_{number}.py", "no cluster", number) for number in range(4)]
    kubectl = [report("tests/controller/test_manifests.py", "there is no kubectl")] * 2
    chart = [report("tests/charts/test_chart.py", "there is no kubectl")]
    assert summary([report("tests/test_docs.py", "there is no jq"), *kubectl, *cluster, *chart]) == [
        "    4 no cluster (tests/cluster)",
        "    3 there is no kubectl (tests/charts/test_chart.py, tests/controller/test_manifests.py)",
        "    1 there is no jq (tests/test_docs.py)",
    ]
    assert summary([]) == []


def test_what_a_backend_does_not_offer_and_what_a_cluster_is_needed_for_are_a_line_each():
    closed = [report("tests/oci/test_compliance.py", f"closed (hooks): no {hook}") for hook in "ab"]
    names = ("RESULTSFW_KUBECONFIG is not set", "RESULTSFW_S3_HOST is not set")
    lines = summary([*closed, *(report("tests/cluster/test_oci.py", name) for name in names)])
    assert [line.split()[:4] for line in lines] == [["2", "need", "a", "real"], ["2", "tests", "of", "a"]]
