"""Results by reference from Task to Task: on the engine, with real Steps, sidecars and stores."""

import base64
import hashlib
import json
from contextlib import contextmanager

import pytest

from resultsfw import ResultsManager, read_reference
from resultsfw.local.engine import Engine
from resultsfw.references import read_reference_list
from resultsfw.tekton.api.kinds import PIPELINERUNS, TASKRUNS
from resultsfw.tekton.pipelinerun.reconciler import PipelineReconciler
from resultsfw.tekton.taskrun.reconciler import Reconciler
from resultsfw_transports.store import Store, StoreError

pytestmark = pytest.mark.slow

SECRET = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "store", "namespace": "default"}}


def a_task(name, script, *, results=(), params=(), **fields):
    declared = [
        {"name": result, "type": "string"} if isinstance(result, str) else result for result in results
    ]
    named = [{"name": param[0], "type": "string"} for param in params]
    step = {"name": "s", "image": "busybox:1", **(script if isinstance(script, dict) else {"script": script})}
    task = {"name": name, "taskSpec": {"params": named, "results": declared, "steps": [step]}}
    if params:
        task["params"] = [{"name": param, "value": value} for param, value in params]
    return {**task, **fields}


def filled(size, name="big"):
    return f"head -c {size} /dev/zero | tr '\\0' q > $(results.{name}.path)"


class Ran:
    """A PipelineRun that is over, and its TaskRuns by Pipeline Task."""

    def __init__(self, objects):
        [self.run] = [item for item in objects if item["kind"] == "PipelineRun"]
        self.taskruns = {
            item["metadata"]["labels"]["tekton.dev/pipelineTask"]: item
            for item in objects
            if item["kind"] == "TaskRun"
        }

    def verdict(self, task=None):
        [condition] = (self.taskruns[task] if task else self.run)["status"]["conditions"]
        return condition["status"], condition["reason"], condition["message"]

    def results(self, task=None):
        return {
            result["name"]: result["value"]
            for result in (self.taskruns[task] if task else self.run)["status"].get("results", ())
        }


@contextmanager
def engine(place, tmp_path):
    core = ResultsManager.from_flags(place.flags)
    with Engine(
        lambda cluster: Reconciler(core, cluster),
        workdir=tmp_path / "work",
        pipelines=lambda cluster: PipelineReconciler(core, cluster),
    ) as condition:
        if place.env:
            data = {key: base64.b64encode(value.encode()).decode() for key, value in place.env.items()}
            condition.submit({**SECRET, "data": data})
        yield condition, core


def ran(place, tmp_path, *tasks, timeouts=None, **pipeline):
    with engine(place, tmp_path) as (condition, _):
        spec = {"pipelineSpec": {"tasks": list(tasks), **pipeline}}
        if timeouts:
            spec["timeouts"] = timeouts
        condition.submit(
            {
                "apiVersion": "tekton.dev/v1",
                "kind": "PipelineRun",
                "metadata": {"name": "p", "namespace": "default"},
                "spec": spec,
            }
        )
        condition.run_until_done(timeout=60)
        objects = [*condition.store.list(PIPELINERUNS), *condition.store.list(TASKRUNS)]
        return Ran(objects)


BIG = "$(tasks.make.results.big)"


def test_a_result_that_no_object_holds_lies_as_a_file_for_the_next_task(place, tmp_path):
    script = (
        "ls -l /tekton/params/big | cut -c1-10 > $(results.mode.path)\n"
        "sha256sum < /tekton/params/big | cut -c1-64 > $(results.sum.path)"
    )
    end = ran(
        place,
        tmp_path,
        a_task("make", filled(3_000_000), results=["big"]),
        a_task("use", script, results=["mode", "sum"], params=[("big", BIG)]),
        results=[{"name": "all", "value": BIG}, {"name": "sum", "value": "$(tasks.use.results.sum)"}],
    )
    assert end.verdict()[:2] == ("True", "Succeeded"), end.verdict()
    reference = read_reference(end.results("make")["big"])
    assert end.results("use")["mode"].startswith("-rw-r--r--")
    assert f"sha256:{end.results('use')['sum'].strip()}" == reference.digest
    # The reference passes on as it is, and nobody read the value for it.
    assert end.taskruns["use"]["spec"]["params"][0]["value"] == end.results("make")["big"]
    assert read_reference(end.results()["all"]) == reference
    assert len(json.dumps(end.taskruns["use"])) < 20_000


def test_a_value_that_fits_stands_where_the_task_names_it(folder, tmp_path):
    script = "cat > value << 'END'\n$(params.big)\nEND\nwc -c < value > $(results.n.path)"
    end = ran(
        folder,
        tmp_path,
        a_task("make", filled(200_000), results=["big"]),
        a_task("use", script, results=["n"], params=[("big", BIG)]),
    )
    assert end.verdict()[0] == "True", end.verdict("use")
    assert end.results("use")["n"].strip() == "200001"
    assert "$(params.big)" in end.taskruns["use"]["status"]["taskSpec"]["steps"][0]["script"]


def test_a_value_that_looks_like_a_reference_stays_what_it_is(folder, tmp_path):
    """What stands in one result names a param of the next Task: nothing is put in there."""
    script = (
        "cat > $(results.small.path) << 'END'\n$(params.small)\n$(params.mid)END\n"
        "wc -c << 'END'\n$(params.big)\nEND"
    )
    make = (
        f"{filled(200_000)}\nprintf '%s(params.big) %s(~params.big)' '$' '$' > $(results.small.path)\n"
        f"printf '%5000s' '' > $(results.mid.path); echo '$''(params.small)' >> $(results.mid.path)"
    )
    passed = [(name, f"$(tasks.make.results.{name})") for name in ("big", "small", "mid")]
    end = ran(
        folder,
        tmp_path,
        a_task("make", make, results=["big", "small", "mid"]),
        a_task("use", script, results=["small"], params=passed),
    )
    assert end.verdict()[0] == "True", end.verdict("use")
    reference = read_reference(end.results("use")["small"])
    assert reference is not None
    kept = "".join(end.results("make")["small"])
    assert kept == "$(params.big) $(~params.big)"
    whole = f"{kept}\n{' ' * 5000}$(params.small)\n".encode()
    assert reference.digest == f"sha256:{hashlib.sha256(whole).hexdigest()}"


def test_a_text_that_a_reference_is_only_a_part_of_has_its_value(folder, tmp_path):
    declared = {"name": "list", "type": "array"}
    make = "printf '[\"a\",\"%s\"]' $(head -c 9000 /dev/zero | tr '\\0' q) > $(results.list.path)\n"
    end = ran(
        folder,
        tmp_path,
        a_task("make", make + filled(9_000), results=["big", declared]),
        a_task(
            "use",
            "printf '%s' '$(params.text)' | wc -c > $(results.n.path)\n"
            "printf $(params.first) > $(results.first.path)",
            results=["n", "first"],
            params=[("text", f"<{BIG}>"), ("first", "$(tasks.make.results.list[0])")],
            when=[{"input": "$(tasks.make.results.list[0])", "operator": "in", "values": ["a"]}],
        ),
        a_task("left", "true", when=[{"input": BIG, "operator": "notin", "values": ["q" * 9_000]}]),
        results=[{"name": "said", "value": "first: $(tasks.make.results.list[0])"}],
    )
    assert end.verdict()[:2] == ("True", "Completed"), end.verdict()
    assert end.results("use") == {"n": "9002\n", "first": "a"}
    assert end.results() == {"said": "first: a"}
    [skipped] = end.run["status"]["skippedTasks"]
    assert skipped["name"] == "left"
    assert skipped["whenExpressions"][0]["input"].endswith("q... (9000 bytes)")


def test_an_array_by_reference_is_one_for_the_task_that_is_given_it(folder, tmp_path):
    make = "printf '[\"a\",\"%s\"]' $(head -c 9000 /dev/zero | tr '\\0' q) > $(results.list.path)"
    use = a_task("use", "", results=["n"], params=[("list", "$(tasks.make.results.list[*])")])
    use["taskSpec"]["params"] = [{"name": "list", "type": "array"}]
    use["taskSpec"]["steps"] = [
        {
            "name": "s",
            "image": "busybox:1",
            "command": ["sh", "-c", 'echo "$# $1" > $(results.n.path)', "sh"],
            "args": ["$(params.list[*])"],
        }
    ]
    end = ran(folder, tmp_path, a_task("make", make, results=[{"name": "list", "type": "array"}]), use)
    assert end.verdict()[0] == "True", end.verdict("use")
    assert end.results("use")["n"] == "2 a\n"


@pytest.mark.parametrize(
    ("size", "use", "said"),
    [
        (
            3_000_000,
            "echo $(params.big)",
            (
                'its parameter "big" has 3000000 bytes by reference, over the limit of 1556480 bytes of the '
                "pod it would be put into: read it from the file /tekton/params/big instead of $(params.big)"
            ),
        ),
        (
            200_000,
            {"command": ["echo"], "args": ["$(params.big)"]},
            (
                'over the limit of 131071 bytes that Linux sets to one; parameter "big" has 200000 bytes of '
                "them: read it from the file /tekton/params/big"
            ),
        ),
    ],
    ids=["no pod holds it", "no argument is so long"],
)
def test_what_does_not_fit_is_refused_before_there_is_a_pod(folder, tmp_path, size, use, said):
    end = ran(
        folder,
        tmp_path,
        a_task("make", filled(size), results=["big"]),
        a_task("use", use, params=[("big", BIG)]),
    )
    status, reason, message = end.verdict("use")
    assert (status, reason) == ("False", "PodCreationFailed")
    assert said in message
    assert end.verdict()[:2] == ("False", "Failed")


def test_a_file_is_held_to_its_params_enum(folder, tmp_path):
    use = a_task("use", "cat /tekton/params/big", params=[("big", BIG)])
    use["taskSpec"]["params"][0]["enum"] = ["a", "b"]
    end = ran(folder, tmp_path, a_task("make", filled(200_000), results=["big"]), use)
    status, reason, message = end.verdict("use")
    assert (status, reason) == ("False", "InvalidParamValue")
    assert "param `big` has 200000 bytes by reference: it is not in the enum list" in message


def test_a_text_with_more_than_an_object_holds_ends_the_run_naming_both(folder, tmp_path):
    end = ran(
        folder,
        tmp_path,
        a_task("make", filled(3_000_000), results=["big"]),
        a_task("use", "true", params=[("text", f"<{BIG}>")]),
    )
    status, reason, message = end.verdict()
    assert (status, reason) == ("False", "PipelineValidationFailed")
    assert 'task "use" needs the value of result "big" of task "make" in a text, which has 3000000' in message


@pytest.mark.parametrize("how", ["gone", "cut", "changed"])
def test_what_is_not_as_it_was_stored_ends_the_next_task_by_name(folder, tmp_path, how):
    damage = {
        "gone": 'rm "$one"',
        "cut": 'head -c 1000 "$one" > x; cat x > "$one"',
        "changed": 'printf z | dd of="$one" conv=notrunc 2> /dev/null',
    }[how]
    store = tmp_path / "a store"
    end = ran(
        folder,
        tmp_path,
        a_task("make", filled(3_000_000), results=["big"]),
        a_task("break", f'find "{store}" -type f | while read -r one; do {damage}; done', runAfter=["make"]),
        a_task("use", "cat /tekton/params/big > $(results.n.path)", results=["n"], params=[("big", BIG)])
        | {"runAfter": ["break"]},
    )
    status, reason, message = end.verdict("use")
    assert (status, reason) == ("False", "InitContainerFailed"), message
    assert '"fetch-results-object-store" exited with code 1' in message
    assert "/tekton/params/big: its 3000000 bytes could not be placed: file://" in message
    assert end.verdict()[:2] == ("False", "Failed")


def test_a_store_that_is_away_is_waited_for_until_there_is_no_time(folder, tmp_path, monkeypatch):
    def down(*_):
        raise StoreError("503 Slow Down", "unavailable")

    monkeypatch.setattr(Store, "size", down)
    end = ran(
        folder,
        tmp_path,
        a_task("make", filled(9_000), results=["big"]),
        a_task("use", "true", params=[("text", f"<{BIG}>")]),
        timeouts={"pipeline": "6s"},
    )
    assert end.verdict()[:2] == ("False", "PipelineRunTimeout")


def test_a_reference_to_what_another_namespace_left_is_refused(folder, tmp_path):
    with engine(folder, tmp_path) as (condition, _):
        value = {
            "resultsfw-reference": "1",
            "backend": "object-store",
            "location": f"{folder.url}/theirs/uid/{'0' * 64}",
            "size": "40000",
            "digest": f"sha256:{'0' * 64}",
            "mediaType": "text/plain",
        }
        for name, script in (("file", "cat /tekton/params/p"), ("value", "echo $(params.p)")):
            spec = {
                "params": [{"name": "p", "type": "string"}],
                "steps": [{"name": "s", "image": "i", "script": script}],
            }
            condition.submit(
                {
                    "apiVersion": TASKRUNS.api_version,
                    "kind": "TaskRun",
                    "metadata": {"name": name, "namespace": "default"},
                    "spec": {"params": [{"name": "p", "value": value}], "taskSpec": spec},
                }
            )
        for run in condition.run_until_done(timeout=60):
            [verdict] = run["status"]["conditions"]
            assert verdict["reason"] == "PodCreationFailed"
            assert 'to what a run of namespace "theirs" wrote' in verdict["message"]


def a_matrix(*sizes):
    """Return a Task that writes results of these sizes, one for each combination."""
    script = "head -c $(params.size) /dev/zero | tr '\\0' $(params.size) > $(results.big.path)"
    task = a_task("make", script, results=["big"], params=[("size", "")])
    return {**task, "params": [], "matrix": {"params": [{"name": "size", "value": [*map(str, sizes)]}]}}


ALL = "$(tasks.make.results.big[*])"


def taking_all(name, script, **fields):
    task = a_task(name, script, results=["out"], params=[("all", ALL)], **fields)
    task["taskSpec"]["params"][0]["type"] = "array"
    return task


def test_an_array_with_references_reaches_a_matrix_and_an_array_whole(folder, tmp_path):
    each = a_task(
        "each", "printf '%s %s' $(wc -c < /tekton/params/one) > $(results.out.path)", results=["out"]
    )
    each["taskSpec"]["params"] = [{"name": "one"}]
    shown = "cat /tekton/params/all > $(results.out.path)"
    end = ran(
        folder,
        tmp_path,
        a_matrix(9, 70_000, 2_000_000),
        {**each, "matrix": {"params": [{"name": "one", "value": ALL}]}},
        taking_all("pass", "printf unread > $(results.out.path)"),
        taking_all("read", shown, onError="continue"),
        results=[{"name": "all", "value": ALL}, {"name": "sizes", "value": "$(tasks.each.results.out[*])"}],
    )
    assert end.verdict()[0] == "True", end.verdict()
    assert end.results()["sizes"] == ["9 ", "70000 ", "2000000 "]
    small, *large = read_reference_list(end.results()["all"])
    assert small == "9" * 9
    assert [read_reference(value).size for value in large] == [70_000, 2_000_000]
    assert end.results("pass")["out"] == "unread"
    # Of the array as a whole a pod holds less: its TaskRun ends before there is one, and says how much.
    assert end.verdict("read")[1] == "PodCreationFailed"
    assert (
        'its parameter "all" has 3 elements with 2070009 bytes together by reference'
        in end.verdict("read")[2]
    )


def test_an_array_with_references_that_a_pod_holds_is_read(folder, tmp_path):
    script = 'printf \'%s \' $(wc -c < /tekton/params/all) "$#" "${#2}" > $(results.out.path)'
    read = taking_all("read", {"script": script, "args": ["$(params.all[*])"]})
    end = ran(folder, tmp_path, a_matrix(5, 70_000), read)
    assert end.verdict()[0] == "True", end.verdict("read")
    assert end.results("read")["out"].split() == [str(5 + 70_000 + len('["",""]')), "2", "70000"]
