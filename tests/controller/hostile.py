"""Objects by which one tenant could stop or starve the controller for everybody."""

from controllerharness import MANAGED_BY

from resultsfw.tekton.api.kinds import PIPELINERUNS, TASKRUNS, TASKS


def nested(levels):
    """Stands for what is nested as deeply, where a server sends it (`storeserver.ApiServer.splices`)."""
    return f"@nested-{levels}-deep@"


DEEP = nested(1200)
SPLICES = {
    f'"{nested(levels)}"'.encode(): b'{"a":' * levels + b"1" + b"}" * levels for levels in (260, 600, 1200)
}

STEP = {"name": "one", "image": "i", "script": "true"}
OTHERS = "somebody/else"


def moved(objects, namespace):
    """These objects in another namespace."""
    return [(kind, {**obj, "metadata": {**obj["metadata"], "namespace": namespace}}) for kind, obj in objects]


def taskrun(name="bad", managed_by=MANAGED_BY, *, spec=None, metadata=None, **task):
    if spec is None:
        spec = {"managedBy": managed_by, "taskSpec": {"steps": [STEP], **task}}
    return TASKRUNS, {"metadata": {"name": name, "namespace": "bad", **(metadata or {})}, "spec": spec}


def pipelinerun(name="bad", managed_by=MANAGED_BY, *, spec=None, tasks=None, params=(), **pipeline):
    if spec is None:
        tasks = tasks or [{"name": "a", "taskSpec": {"steps": [STEP]}}]
        spec = {"managedBy": managed_by, "params": list(params), "pipelineSpec": {"tasks": tasks, **pipeline}}
    return PIPELINERUNS, {"metadata": {"name": name, "namespace": "bad"}, "spec": spec}


def custom(value):
    """A Pipeline Task whose custom task spec is that."""
    return [{"name": "c", "taskSpec": {"apiVersion": "example.dev/v1", "kind": "Custom", "spec": value}}]


def task(name, spec):
    return TASKS, {"metadata": {"name": name, "namespace": "bad"}, "spec": spec}


UNREADABLE = {
    "a PipelineRun of ours nested 1,200 deep": [pipelinerun(tasks=custom(DEEP))],
    "a PipelineRun of ours nested 600 deep": [pipelinerun(tasks=custom(nested(600)))],
    "a PipelineRun of ours nested 260 deep": [pipelinerun(tasks=custom(nested(260)))],
    "a TaskRun of ours nested 1,200 deep": [taskrun(podTemplate=DEEP)],
    "a TaskRun of ours nested 600 deep": [taskrun(podTemplate=nested(600))],
    "a Task nested 1,200 deep": [
        task("deep", {"steps": [STEP], "x": DEEP}),
        taskrun(spec={"managedBy": MANAGED_BY, "taskRef": {"name": "deep"}}),
    ],
    "a Task nested 600 deep": [
        task("deep", {"steps": [STEP], "x": nested(600)}),
        taskrun(spec={"managedBy": MANAGED_BY, "taskRef": {"name": "deep"}}),
    ],
    "a TaskRun whose Task is a text": [taskrun(spec={"managedBy": MANAGED_BY, "taskSpec": "x"})],
    "a PipelineRun whose Pipeline is a list": [
        pipelinerun(spec={"managedBy": MANAGED_BY, "pipelineSpec": []})
    ],
}
"""Ours, to be ended by name: they cannot be decoded, or only walked by code that recurses."""

FOREIGN = {
    "a PipelineRun of another controller": [pipelinerun(managed_by=OTHERS, tasks=custom(DEEP))],
    "a TaskRun of another controller": [taskrun(managed_by=OTHERS, podTemplate=DEEP)],
    "runs without a spec that could have an owner": [
        *(taskrun(f"t{number}", spec=spec) for number, spec in enumerate(([], "x", 5))),
        *(pipelinerun(f"p{number}", spec=spec) for number, spec in enumerate(([], "x", 5))),
    ],
    "owners that are no texts": [
        taskrun("t", spec={"managedBy": {"a": nested(260)}}),
        pipelinerun("p", spec={"managedBy": [nested(260)]}),
    ],
}
"""Nobody's or another controller's, to be left alone."""

_MANY = "$(steps.x.results." * 800


def _with(**step):
    return taskrun(steps=[{**STEP, **step}])


def _grown():
    """Eight params, each default ten times the one before."""
    params = [{"name": "p0", "default": "x" * 10}]
    params += [{"name": f"p{at}", "default": f"$(params.p{at - 1})" * 10} for at in range(1, 9)]
    return params


_LARGE = "x" * 100_000
_ARRAY = ["x"] * 10_000
_STARS = ["$(params.a[*])"] * 10_000
_TOUCH = [{"name": "p", "value": _LARGE}]


def _task_with(value, name="b"):
    steps = [{**STEP, "script": "echo $(params.b)"}]
    given = [{"name": name, "value": value}]
    return [{"name": "a", "params": given, "taskSpec": {"params": [{"name": name}], "steps": steps}}]


SUBSTITUTION = {
    "a pathological result value": [taskrun(results=[{"name": "r", "value": _MANY}])],
    "a pathological script": [_with(script=_MANY)],
    "a pathological name": [_with(name=_MANY)],
    "a pathological workingDir": [_with(workingDir=_MANY)],
    "params that grow tenfold": [
        taskrun(params=_grown(), steps=[{**STEP, "script": "echo $(params.p8)"}]),
    ],
    "a large param named 8,000 times": [
        taskrun(
            spec={
                "managedBy": MANAGED_BY,
                "params": _TOUCH,
                "taskSpec": {
                    "params": [{"name": "p"}],
                    "steps": [{**STEP, "script": "echo $(params.p)\n" * 8000}],
                },
            }
        )
    ],
    "10,000 args of 10,000 elements": [
        taskrun(
            params=[{"name": "a", "type": "array", "default": _ARRAY}],
            steps=[{"name": "one", "image": "i", "command": ["echo"], "args": _STARS}],
        )
    ],
    "params of a Pipeline that grow tenfold": [pipelinerun(params=[], tasks=_task_with("$(params.p8)"))],
    "a large param of a Pipeline named 8,000 times": [
        pipelinerun(params=_TOUCH, tasks=_task_with("$(params.p)" * 8000))
    ],
    "10,000 elements of 10,000 elements in a Pipeline": [
        pipelinerun(params=[{"name": "a", "value": _ARRAY}], tasks=_task_with(_STARS))
    ],
    "a pathological param of a Pipeline": [pipelinerun(tasks=_task_with(_MANY))],
    "4,000 Tasks chained in reverse": [
        task("t", {"steps": [STEP]}),
        pipelinerun(
            tasks=[
                {
                    "name": f"t{at}",
                    "taskRef": {"name": "t"},
                    **({"runAfter": [f"t{at + 1}"]} if at < 3999 else {}),
                }
                for at in range(4000)
            ]
        ),
    ],
}
"""Texts whose substitution, and graphs whose order, cost more than their size: the engine bounds them."""
SUBSTITUTION["params of a Pipeline that grow tenfold"][0][1]["spec"]["pipelineSpec"]["params"] = _grown()

BACKENDS = {
    "a finalizer that names a backend": [taskrun(metadata={"finalizers": ["resultsfw.dev/purge-hostile"]})],
    "5,000 finalizers": [taskrun(metadata={"finalizers": ["resultsfw.dev/purge-hostile"] * 5000})],
    "an annotation that names a backend": [
        taskrun(
            results=[{"name": "r"}],
            metadata={"annotations": {"resultsfw.dev/results-from": "hostile"}},
        )
    ],
    "a stamp that names a backend": [
        taskrun(results=[{"name": "r"}], metadata={"annotations": {"resultsfw.dev/stamp": "hostile/1"}})
    ],
    "a param that is a reference of a backend": [
        taskrun(
            spec={
                "managedBy": MANAGED_BY,
                "params": [
                    {
                        "name": "p",
                        "value": {
                            "resultsfw-reference": "1",
                            "backend": "hostile",
                            "location": "l",
                            "size": "1",
                            "digest": f"sha256:{'0' * 64}",
                            "mediaType": "text/plain",
                        },
                    }
                ],
                "taskSpec": {
                    "params": [{"name": "p"}],
                    "steps": [{**STEP, "script": "echo $(params.p)"}],
                },
            }
        )
    ],
}
"""Texts that name an installed backend which no flag allows."""
