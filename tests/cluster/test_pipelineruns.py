"""Every captured PipelineRun live, by the controller as a process: as Tekton ended it, or better."""

from captured_runs import NAMES, load, plain

from resultsfw.tekton.api.conditions import is_done
from resultsfw.tekton.api.kinds import PIPELINERUNS

LARGE = ("pr-large-args", "pr-large-sidecar")
"""What Tekton could not do: a large result in a script, and one as an argument."""


def test_every_captured_pipelinerun(make_place):
    places = {}
    for name in NAMES:
        capture = load(name)
        flags = tuple(sorted(capture["flags"].items()))
        if flags not in places:
            places[flags] = place = make_place()
            place.flags(**{key.replace("-", "_"): value for key, value in flags})
            place.start("--no-leader-elect")
        run = capture["pipelinerun"]
        run["metadata"]["namespace"] = places[flags].namespace
        run["spec"]["managedBy"] = places[flags].managed_by
        places[flags].server.create(PIPELINERUNS, run)
    finals = {}
    for place in places.values():

        def over(place=place):
            runs = {one["metadata"]["name"]: one for one in place.server.list(PIPELINERUNS, place.namespace)}
            cancelled = runs.get("pr-cancelled")
            if cancelled is not None and not cancelled["spec"].get("status"):
                children = cancelled.get("status", {}).get("childReferences") or ()
                if len(children) == len(load("pr-cancelled")["tekton_taskruns"]):
                    patch = {"spec": {"status": "Cancelled"}}
                    place.server.patch(PIPELINERUNS, place.namespace, "pr-cancelled", patch)
            finals.update(runs)
            return all(map(is_done, runs.values()))

        place.until(over, 240)
    for name in set(NAMES) - set(LARGE):
        assert plain(finals[name]["status"]) == plain(load(name)["tekton_final"]["status"]), name
    large, wall = (finals[name]["status"]["conditions"][0] for name in reversed(LARGE))
    assert (large["status"], large["reason"]) == ("True", "Succeeded"), {
        name: run["status"].get("conditions")
        for place in places.values()
        for name, run in place.runs().items()
    }
    assert (wall["status"], wall["reason"]) == ("False", "Failed")
    for place in places.values():
        runs = place.runs()
        if "pr-large-sidecar-use" in runs:
            assert runs["pr-large-sidecar-use"]["status"]["results"][0]["value"] == "300000"
            said = runs["pr-large-args-use"]["status"]["conditions"][0]["message"]
            assert 'parameter "b" has 300000 bytes of them: read it from the file /tekton/params/b' in said
        place.assert_none_doubled()
