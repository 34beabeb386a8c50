"""What Tekton's entrypoint is told to read: nothing, where something else carries the results."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from resultsfw import Capabilities, ResultsManager, ResultSpec, Run, Step, hookimpl
from resultsfw.entrypoint import remove_result_file_flags

OWN = ["-entrypoint", "sh", "--", "-c", "tool -results x", "-results", "y", "-step_results", "z"]
RUN = Run(
    namespace="n",
    name="r",
    uid="u",
    results=(ResultSpec(name="a"),),
    steps=(Step(name="s", container="step-s", results=(ResultSpec(name="own"),)),),
)


class ByHand:
    """A backend that says that results leave another way, and knows no more of the entrypoint."""

    capabilities = Capabilities(summary="s", verified=False)

    @hookimpl
    def prepare_pod(self, pod):
        args = pod["spec"]["containers"][0]["args"]
        pod["spec"]["containers"][0]["args"] = ["-result_from", "by-hand", *args]
        return 0

    @hookimpl
    def pod_ready(self):
        return True

    @hookimpl
    def extract(self):
        raise NotImplementedError


@pytest.mark.parametrize(
    "told",
    [
        ["-result_from", "sidecar-logs", "-step_results", "own", "-results", "a,b"],
        ["-step_results", "own", "-results", "a,b", "-result_from", "another"],
        ["-result_from=sidecar-logs", "--results", "", "--step_results=own"],
        ["-wait_file_content", "-results", "-result_from", "-result_from", "x"],
    ],
)
def test_files_of_results_are_not_named_where_results_leave_another_way(told):
    left = remove_result_file_flags(["-post_file", "/tekton/run/0/out", *told, *OWN])
    ours = left[: -len(OWN)]
    assert left[-len(OWN) :] == OWN
    assert ours[:2] == ["-post_file", "/tekton/run/0/out"]
    assert not {"-results", "--results", "-step_results", "--step_results", "--step_results=own"} & set(ours)


@pytest.mark.parametrize(
    "told", [[], ["-result_from", "termination-message"], ["-stdout_path", "-result_from"]]
)
def test_arguments_stay_where_results_leave_by_message(told):
    arguments = [*told, "-step_results", "own", "-results", "a", *OWN]
    assert remove_result_file_flags(arguments) == arguments


@given(
    st.lists(
        st.sampled_from(["-results", "-result_from", "x", "--", "-entrypoint", "", "-wait_file_content"])
    )
)
def test_any_arguments_keep_what_is_the_steps_own(arguments):
    left = remove_result_file_flags([*arguments, *OWN])
    assert left[-4:] == OWN[-4:]


@pytest.mark.parametrize("backend", ["sidecar-logs", "by-hand"])
def test_every_backend_but_the_message_gets_a_pod_whose_entrypoint_opens_no_result(backend):
    """A backend of somebody else's, too: it only has to say that results leave another way."""

    given_args = ["-step_metadata_dir", "/tekton/run/0/status", "-step_results", "own", "-results", "a", *OWN]
    pod = {
        "metadata": {"name": "p", "namespace": "n"},
        "spec": {"containers": [{"name": "step-s", "image": "i", "args": given_args}], "volumes": []},
    }
    core = ResultsManager.from_flags({"results-from": backend}, register={"by-hand": ByHand()})
    made = core.prepare_pod(RUN, pod)
    args = made["spec"]["containers"][0]["args"]
    assert args[-len(OWN) :] == OWN
    assert not {"-results", "-step_results"} & set(args[: -len(OWN)])
