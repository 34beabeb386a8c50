"""The controller as users run it, a process, on a real cluster: each captured situation, both sidecars."""

import signal

import captures
import pytest
from situations import ENDS, cancel_when_the_second_step_runs, check, submit, taskrun

from resultsfw.tekton.api.kinds import TASKRUNS

BY_TEKTON = {
    **{name: ENDS[name] for name in ENDS if name.startswith("sl-") and name != "sl-cancelled"},
    # The byte is lost in the sidecar, before anybody of ours can see it.
    "sl-awkward-bytes": (
        "Succeeded",
        {**ENDS["sl-awkward-bytes"][1], "latin1": "caf\ufffd"},
        (),
    ),
    # Told to stop, it says nothing of what is there: that something may be missing is all we can say.
    "sl-step-oom": ("StepOOM", {}, ("OOMKilled", "is not whole", "may be missing")),
}
"""What the situations end with where Tekton's own sidecar prints the results."""

ONE_SIZE = "4096"


def test_three_runs_and_a_stop(place):
    place.flags()
    controller = place.start("--no-leader-elect")
    for number in range(3):
        run = taskrun("tm-basic", place.namespace, f"run-{number}", place.managed_by)
        place.server.create(TASKRUNS, run)
    for final in place.until_done(180).values():
        check("tm-basic", final)
    assert controller.signal(signal.SIGTERM, 40) == 0
    place.assert_none_doubled()


def test_every_situation_through_the_process(make_place, tell):
    """All at once: a controller for each set of other flags, and in each, every run chooses its backend."""
    places = {}
    seen = set()
    for situation in sorted(ENDS):
        flags = captures.load(situation)["flags"]
        others = {key: value for key, value in flags.items() if key != "results-from"}
        if (key := tuple(sorted(others.items()))) not in places:
            places[key] = place = make_place()
            place.flags(allowed_results_from="termination-message,sidecar-logs", **others)
            place.start("--no-leader-elect")
        place = places[key]
        run = taskrun(situation, place.namespace, situation, place.managed_by)
        run["metadata"]["annotations"] = {"resultsfw.dev/results-from": flags["results-from"]}
        if not submit(place.server, situation, run):
            seen.add(situation)
    for place in places.values():
        for situation, final in place.until_done(300, _cancels(place)).items():
            check(situation, final)
            seen.add(situation)
    assert seen == set(ENDS)
    for place in places.values():
        place.assert_none_doubled()


@pytest.mark.parametrize("whose", ["resultsfw", "tekton"])
def test_both_sidecars(place, whose):
    """Each image through the whole process: what ours refuses and Tekton's cannot see is the difference."""
    ends = {name: ENDS[name] for name in BY_TEKTON} if whose == "resultsfw" else BY_TEKTON
    images = {
        "resultsfw": "docker.io/resultsfw/sidecar:0.1.0",
        "tekton": "tekton/sidecarlogresults:1",
    }
    config = {"config.sidecar-logs": f"image: {images[whose]}\nwire: {whose}"}
    place.flags(results_from="sidecar-logs", max_result_size=ONE_SIZE, **config)
    place.start("--no-leader-elect", sidecar=whose == "resultsfw")
    mine = [one for one in ends if captures.load(one)["flags"]["max-result-size"] == ONE_SIZE]
    mine = [
        one for one in mine if submit(place.server, one, taskrun(one, place.namespace, one, place.managed_by))
    ]
    finals = place.until_done(300)
    assert sorted(finals) == sorted(mine)
    for situation, final in finals.items():
        check(situation, final, ends[situation])
    place.assert_none_doubled()


def _cancels(place):
    def meanwhile(run):
        if run["metadata"]["name"] == "sl-cancelled":
            cancel_when_the_second_step_runs(place.server, run)

    return meanwhile
