"""Large parameters and scripts: in pieces, as files, compacted in the status, refused at Linux' limit."""

import itertools
import subprocess

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from resultsfw.limits import OBJECT_BYTES, object_size
from resultsfw.tekton.api.refusals import RefusedRun
from resultsfw.tekton.pod.builder import PodOptions, build_pod
from resultsfw.tekton.pod.scripts import place_scripts
from resultsfw.tekton.spec.param_files import (
    ARGUMENT_BYTES,
    LARGE_PARAM_BYTES,
    compact_spec,
    exceeds_argument_limit,
    expand_compact_spec,
    large_params,
    largest_param_note,
    params_as_files,
)
from resultsfw.tekton.spec.substitution import apply

BIG = "q" * 300_000


def a_run(spec, **params):
    given_params = [{"name": name, "value": value} for name, value in params.items()]
    return {
        "apiVersion": "tekton.dev/v1",
        "kind": "TaskRun",
        "metadata": {"name": "r", "namespace": "default", "uid": "u"},
        "spec": {"params": given_params, "taskSpec": spec},
    }


def a_pod(spec, **params):
    run = a_run(spec, **params)
    return build_pod(run, apply(spec, run), attempt=0, options=PodOptions())


def a_spec(**step):
    return {"params": [{"name": "b", "type": "string"}], "steps": [{"name": "s", "image": "i", **step}]}


def placed(arguments, tmp_path):
    """What the init container's shell leaves behind, with a stand-in for the entrypoint, which decodes."""
    decode = tmp_path / "entrypoint"
    decode.write_text('#!/bin/sh\nbase64 -d "$2" > "$2.x" && mv "$2.x" "$2"\n')
    decode.chmod(0o755)
    here = [
        word.replace("/tekton/bin/entrypoint", str(decode))
        .replace("/tekton/scripts", str(tmp_path))
        .replace("/tekton/params", str(tmp_path))
        for word in arguments
    ]
    subprocess.run(["sh", *here], check=True)
    decode.unlink()
    return {path.name: path.read_bytes() for path in tmp_path.iterdir()}


@pytest.mark.parametrize("size", [10, 99_000, 300_000])
def test_a_script_of_any_size_comes_whole(tmp_path, size):
    script = "#!/bin/sh\n: '" + "$(x) $$ \\ \u00e9" * (size // 12) + "'\n"
    shell = place_scripts([{"script": script}], [], seed="s", params={"p": b"\0\xff" * size}).shell
    assert all(len(word) <= ARGUMENT_BYTES for word in shell)
    assert sorted(placed(shell, tmp_path).values()) == sorted([script.encode(), b"\0\xff" * size])


PIECES = st.lists(st.sampled_from(["a", "b", "#!/bin/sh\n", "\n", "$(x) $$ '", "\u00e9", ""]), max_size=6)
VALUES = {"a": b"0123456789\n" * 4000, "b": b"another one\n" * 3000, "c": b""}


@pytest.mark.slow
@settings(max_examples=25, deadline=None)
@given(scripts=st.lists(PIECES, min_size=1, max_size=3))
def test_scripts_with_large_parameters_in_them_come_whole_and_hold_them_once(tmp_path_factory, scripts):
    texts = [
        "#!/bin/sh\n" + "".join(VALUES.get(one, one.encode()).decode() for one in pieces)
        for pieces in scripts
    ]
    steps = [{"script": text} for text in texts]
    shell = place_scripts(steps, [], seed="s", params={**VALUES, "d": b"x" * 100_000}).shell
    found = placed(shell, tmp_path_factory.mktemp("placed"))
    assert {name: found.pop(name) for name in VALUES} == VALUES
    assert found.pop("d") == b"x" * 100_000
    assert sorted(found.values()) == sorted(text.encode() for text in texts)
    assert len("".join(shell)) < 4 / 3 * (100_000 + sum(map(len, VALUES.values()))) + 5_000


def test_a_pod_holds_a_script_with_a_megabyte_in_it():
    pod = a_pod(a_spec(script=": '$(params.b)'\nwc -c /tekton/params/b"), b="q" * 1_100_000)
    assert object_size(pod) < OBJECT_BYTES


def test_what_fits_is_placed_as_tekton_does():
    (dash, shell) = place_scripts([{"script": "x"}], [], seed="s").shell
    assert dash == "-c"
    assert "cat > ${scriptfile} << '_EOF_'" in shell


def test_a_large_parameter_is_a_file_that_steps_and_sidecars_read():
    spec = a_spec(script="wc -c /tekton/params/b") | {
        "sidecars": [{"name": "x", "image": "i", "script": "true"}]
    }
    pod = a_pod(spec, b=BIG)
    for container in pod["spec"]["containers"]:
        (mount,) = [one for one in container["volumeMounts"] if one["mountPath"] == "/tekton/params"]
        assert mount["readOnly"]
    assert "tekton-internal-params" in [one["name"] for one in pod["spec"]["volumes"]]
    assert "/tekton/params/b" in pod["spec"]["initContainers"][1]["args"]


@pytest.mark.parametrize("size", [LARGE_PARAM_BYTES, LARGE_PARAM_BYTES + 1, 500_000])
def test_what_nothing_names_is_no_file(size):
    pod = a_pod(a_spec(script="true"), b="x" * size)
    assert "/tekton/params" not in str(pod["spec"])
    assert object_size(pod) < 10_000


@pytest.mark.parametrize("size", [1, LARGE_PARAM_BYTES, LARGE_PARAM_BYTES + 1])
@pytest.mark.parametrize("where", ["script", "args", "env", "sidecar", "template", "podTemplate"])
def test_what_is_named_is_a_file_wherever_it_is_named_and_of_any_size(size, where):
    path = "/tekton/params/b"
    env = {"env": [{"name": "F", "value": path}]}
    spec = {
        "script": a_spec(script=f"cat {path}"),
        "args": a_spec(command=["cat"], args=[path]),
        "env": a_spec(script="true", **env),
        "sidecar": a_spec(script="true")
        | {"sidecars": [{"name": "x", "image": "i", "script": f"cat {path}"}]},
        "template": a_spec(script="true") | {"stepTemplate": env},
        "podTemplate": a_spec(script="true"),
    }[where]
    run = a_run(spec, b="x" * size)
    if where == "podTemplate":
        run["spec"]["podTemplate"] = env
    assert params_as_files(run, apply(spec, run)) == {"b": b"x" * size}


@pytest.mark.parametrize(
    ("text", "all_of_them"),
    [
        ("cat /tekton/params/*", True),
        ("ls /tekton/params", True),
        ("cd /tekton/params; cat b", True),
        ('cat "/tekton/params/$NAME"', True),
        ("ls /tekton/params-of-mine /tekton/paramsets", False),
        ("cat /tekton/params/other", False),
    ],
)
def test_the_folder_without_a_name_may_mean_every_large_parameter(text, all_of_them):
    spec = a_spec(script=text)
    run = a_run(spec, b=BIG, small="s")
    assert set(params_as_files(run, spec)) == ({"b"} if all_of_them else set())


@pytest.mark.parametrize(
    ("size", "shared"),
    [(LARGE_PARAM_BYTES - 1, False), (LARGE_PARAM_BYTES, False), (LARGE_PARAM_BYTES + 1, True)],
)
def test_from_which_size_on_a_script_takes_a_parameter_from_its_file_is_one_number(size, shared):
    """It stood twice, once with "at least" and once with "more than"."""
    script = "#!/bin/sh\n: $(params.b) $(params.b)"
    pod = a_pod(a_spec(script=script), b="x" * size)
    args = pod["spec"]["initContainers"][1]["args"]
    assert ("/tekton/params/b" in str(args)) is shared
    assert ("/tekton/params" in str(pod["spec"])) is shared
    steps = [{"script": "x" * size + "y" + "x" * 200_000}]
    shell = place_scripts(steps, [], seed="s", params={"p": b"x" * size}).shell
    assert (("0", "/tekton/params/p") in itertools.pairwise(shell)) is shared


def test_the_file_of_an_array_is_json():
    run = a_run(a_spec(script="true"), b=["x" * LARGE_PARAM_BYTES, "y"])
    assert large_params(run, {})["b"] == b'["' + b"x" * LARGE_PARAM_BYTES + b'","y"]'


@pytest.mark.parametrize(
    ("step", "what"),
    [
        ({"command": ["echo"], "args": ["$(params.b)"]}, "an argument"),
        ({"command": ["echo"], "env": [{"name": "V", "value": "$(params.b)"}]}, 'the variable "V"'),
    ],
)
def test_an_argument_over_linux_limit_is_refused_naming_the_file_to_read(step, what):
    with pytest.raises(RefusedRun) as refused:
        a_pod(a_spec(**step), b=BIG)
    said = refused.value.message
    for words in (what, 'container "step-s"', "131071", 'parameter "b" has 300000 bytes', "/tekton/params/b"):
        assert words in said


@given(st.integers(-2, 2), st.booleans())
def test_an_argument_is_refused_from_linux_limit_on(more, variable):
    text = "x" * (ARGUMENT_BYTES + more - (2 if variable else 0))
    container = (
        {"name": "c", "env": [{"name": "V", "value": text}]} if variable else {"name": "c", "args": [text]}
    )
    refused = bool(exceeds_argument_limit([container], {}))
    assert refused is (more > 0)
    start = {"env": {"V": text}, "args": ["/bin/true"]} if variable else {"args": ["/bin/true", text]}
    try:
        subprocess.run(check=True, **start)
        taken = True
    except OSError:
        taken = False
    assert taken is not refused


def test_a_status_holds_references_for_what_the_run_holds():
    spec = a_spec(script="x '$(params.b)'")
    run = a_run(spec, b="v" * 900_000)
    whole = apply(spec, run)
    kept = compact_spec(whole, run)
    assert object_size({**run, "status": {"taskSpec": kept}}) < OBJECT_BYTES
    assert expand_compact_spec(kept, run) == whole
    small = a_run(spec, b="v" * 1000)
    assert compact_spec(apply(spec, small), small) == apply(spec, small)


WORDS = st.lists(
    st.sampled_from(["$(params.b)", "$(~params.b)", "$(params.c)", "$(~~params.c)", "$(", ")", "~", "x"]),
    max_size=8,
).map("".join)


@pytest.mark.slow
@settings(max_examples=60, deadline=None)
@given(b=WORDS, c=WORDS, small=WORDS, size=st.sampled_from([40_000, 500_000]))
def test_a_status_keeps_values_that_look_like_references(b, c, small, size):
    names = ("b", "c", "d")
    spec = {
        "params": [{"name": one, "type": "string"} for one in names],
        "steps": [{"name": "s", "image": "i", "script": "$(params.d) $(params.b)$(params.c) $(params.b)"}],
    }
    run = a_run(spec, b=b + "b" * size + c, c=c + "c" * size, d=small)
    whole = apply(spec, run)
    kept = compact_spec(whole, run)
    assert (len(kept["steps"][0]["script"]) < size) == (size == 500_000)
    assert expand_compact_spec(kept, run) == whole


@pytest.mark.parametrize("name", ["x$(id)", '"; id; "', "../../escape", "..", "a/b", ""])
def test_a_name_that_no_task_can_declare_is_no_file(name):
    assert params_as_files(a_run(a_spec(script="true"), **{name: BIG}), a_spec(script="true")) == {}


def test_the_note_names_the_largest_parameter():
    assert largest_param_note({"a": b"1", "b": b"22"}) == '; its parameter "b" has 2 bytes'
    assert largest_param_note({}) == ""
