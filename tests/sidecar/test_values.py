"""What the Steps wrote arrives whole, in order, byte for byte."""

import json

import pytest

from resultsfw_sidecar import wire

AWKWARD = {
    "lines": b"a\nb\r\nc\r",
    "quotes": b'"a" \\ \\n </script> & <b>',
    "control": bytes(range(32)) + b"\x7f",
    "nul": b"\0",
    "emoji": "🚀é漢".encode(),
    "separators": "a\u2028b\u2029c\u0085d".encode(),
    "bom": b"\xef\xbb\xbfa",
    "not-a-character": "\uffff\U0010ffff".encode(),
    "json": b'{"type":"end"}\n{"name":"x","value":"y","type":"task"}',
    "spaces": b"  \t ",
}


def test_values_and_absences_in_order_of_the_flag(pod):
    pod.write("url", b"registry/app\n")
    pod.write("digest", b"sha256:0123")
    log = pod.print("url", "none", "digest")
    assert log.status == 0
    assert log.why == "steps-done"
    assert [list(record) for record in log.results[1:2]] == [["name", "type", "of"]]
    assert [(record["name"], record.get("value"), record["type"]) for record in log.results] == [
        ("url", "registry/app\n", "task"),
        ("none", None, "absent"),
        ("digest", "sha256:0123", "task"),
    ]


def test_start_says_pod_and_watch(pod, variant):
    log = pod.print(variables={"RESULTSFW_POD_UID": "0e7f"})
    assert log.records[0] == {"type": "start", "wire": 1, "pod": "0e7f", "watch": variant[1]}
    assert log.records[-1]["pod"] == "0e7f"
    assert log.results == []


def test_an_empty_value_is_not_absent(pod):
    pod.write("empty", b"")
    assert pod.print("empty").values == {"empty": ""}


def test_awkward_bytes(pod):
    for name, value in AWKWARD.items():
        pod.write(name, value)
    log = pod.print(*AWKWARD)
    assert {name: value.encode() for name, value in log.values.items()} == AWKWARD
    assert len(log.lines) == len(AWKWARD) + 2


def test_a_large_value(pod):
    value = ("é漢🚀a\n" * 117_000)[:700_000]
    pod.write("big", value.encode())
    log = pod.print("big")
    assert log.values == {"big": value}
    assert max(map(len, log.lines)) < wire.max_line_bytes(len(value.encode()))


def test_1_4_megabytes(pod):
    pod.write("big", b"x" * 1_400_000)
    assert pod.print("big").values == {"big": "x" * 1_400_000}


@pytest.mark.slow
def test_a_thousand_results(pod):
    names = [f"r-{number}" for number in range(1000)]
    for name in names:
        pod.write(name, name.encode())
    assert list(pod.print(*names).values.items()) == list(zip(names, names, strict=True))


def test_results_of_steps(make_pod):
    pod = make_pod(3)
    pod.write("digest", b"task's")
    (pod.step_folder("step-build", 0) / "digest").write_bytes(b"build's")
    (pod.step_folder("step-push", 1) / "url").write_bytes(b"push's")
    declared = {
        "step-push": ["url", "none", "url"],
        "step-build": ["digest"],
        "step-late": ["x"],
        "step-none": None,
    }
    log = pod.print("digest", flags=["-step-results", json.dumps(declared)])
    assert [(r["name"], r["type"], r.get("of"), r.get("value")) for r in log.results] == [
        ("digest", "task", None, "task's"),
        ("step-push.url", "step", None, "push's"),
        ("step-push.none", "absent", "step", None),
        ("step-build.digest", "step", None, "build's"),
        ("step-late.x", "absent", "step", None),
    ]


def test_a_name_declared_twice_is_one_result(pod):
    pod.write("a", b"1")
    assert [record["name"] for record in pod.print("a", "b", "a").results] == ["a", "b"]


def test_as_tekton_starts_it(pod):
    """The arguments are those of a captured pod, its empty lists included."""
    assert pod.print(flags=["-step-results", "{}"]).results == []


def test_tekton_wire(pod):
    pod.write("digest", b"d\n<")
    pod.write("empty", b"")
    log = pod.print("digest", "none", "empty", variables={"RESULTSFW_WIRE": "0"})
    assert log.status == 0
    assert log.raw == (
        b'{"name":"digest","value":"d\\n<","type":"task"}\n{"name":"empty","value":"","type":"task"}\n'
    )


def test_tekton_wire_is_the_default(pod):
    pod.write("a", b"1")
    assert pod.print("a", variables={"RESULTSFW_WIRE": ""}).raw == b'{"name":"a","value":"1","type":"task"}\n'


@pytest.mark.parametrize("locale", ["C", "en_US.ISO-8859-1", "POSIX"])
def test_names_and_paths_in_any_locale(pod, locale):
    """A plugin's names need not be Tekton's; what the locale makes of them must not matter."""
    pod.write("größe", b"1")
    variables = {"LC_ALL": locale, "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"}
    assert pod.print("größe", variables=variables).values == {"größe": "1"}
