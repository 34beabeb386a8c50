"""Names of pods and containers, as Tekton forms them."""

import captures
import pytest

from resultsfw.tekton.api.names import child_name, container_name, pod_name


@pytest.mark.parametrize("index", [0, 1])
def test_pods_are_named_as_tekton_names_them(index):
    capture = captures.load("tm-retries")
    assert pod_name("tm-retries", index) == captures.first_pods(capture)[index]["metadata"]["name"]


@pytest.mark.parametrize(
    ("parent", "suffix", "name"),
    [
        ("short", "-pod", "short-pod"),
        ("a" * 59, "-pod", "a" * 59 + "-pod"),
        # The MD5 of the parent, and as much of it as fits.
        ("a" * 60, "-pod", "a" * 27 + "cc7ed669cf88f201c3297c6a91e1d18d" + "-pod"),
        # The MD5 of both, when not even the suffix fits.
        ("run", "-" + "s" * 63, "run39276e8ddf1a86aa2e556dda34f1170d" + "-" + "s" * 27),
    ],
)
def test_names_that_are_too_long_are_cut_and_hashed(parent, suffix, name):
    assert child_name(parent, suffix) == name


def test_equal_beginnings_make_different_pods():
    assert pod_name("a" * 70 + "x", 0) != pod_name("a" * 70 + "y", 0)
    assert pod_name("a" * 70, 0) != pod_name("a" * 70, 1)


def test_a_containers_name_ends_in_a_letter_or_digit():
    assert container_name("step-" + "a" * 57 + "-b") == "step-" + "a" * 57
    assert container_name("step-a") == "step-a"
