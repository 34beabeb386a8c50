"""`resultsfw value`: a result as it was written, or nothing."""

import hashlib
import json
import os
from pathlib import Path

import pytest
import yaml

CONTENT = "a \u00e9 \x01 value\n" * 1000


def reference_to(content, store, **changed):
    digest = hashlib.sha256(content.encode()).hexdigest()
    return {
        "resultsfw-reference": "1",
        "backend": "object-store",
        "location": f"file://{store}/default/uid/{digest}",
        "size": str(len(content.encode())),
        "digest": f"sha256:{digest}",
        "mediaType": "text/plain; charset=utf-8",
        **changed,
    }


@pytest.fixture
def store(tmp_path):
    """A folder with one object in it, as the sidecar leaves it."""
    place = tmp_path / "store/default/uid"
    place.mkdir(parents=True)
    (place / hashlib.sha256(CONTENT.encode()).hexdigest()).write_bytes(CONTENT.encode())
    return tmp_path / "store"


@pytest.fixture
def run(write, store):
    """A file with a run, and the options to read what it refers to."""

    def save(**values):
        results = [{"name": name, "type": "string", "value": value} for name, value in values.items()]
        status = {
            "results": results,
            "steps": [{"name": "one", "results": [{"name": "own", "type": "string", "value": "of a Step"}]}],
        }
        taskrun = {
            "apiVersion": "tekton.dev/v1",
            "kind": "TaskRun",
            "metadata": {"name": "r"},
            "status": status,
        }
        data = {"config.object-store": f"url: file://{store}\n"}
        flags = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "feature-flags"}, "data": data}
        write("flags.yaml", yaml.safe_dump(flags))
        return write("run.yaml", yaml.safe_dump(taskrun))

    return save


FLAGS = ("--feature-flags", "flags.yaml")


@pytest.mark.slow
def test_a_reference_is_dereferenced(program, run, store):
    file = run(big=reference_to(CONTENT, store))
    ran = program("value", "-f", file, "big", *FLAGS)
    assert (ran.status, ran.out, ran.err) == (0, CONTENT, "")


def test_a_value_in_the_status_is_printed_unchanged(cli, run):
    file = run(text="no newline", many=["a", "\u00e9"], mapping={"k": "v"})
    printed = {name: cli("value", "-f", file, name).out for name in ("text", "many", "mapping", "one.own")}
    assert printed == {
        "text": "no newline",
        "many": '["a","\u00e9"]',
        "mapping": '{"k":"v"}',
        "one.own": "of a Step",
    }


def test_the_taskrun_is_read_from_standard_input(cli, run, tmp_path):
    run(text="hello")
    assert cli("value", "-f", "-", "text", stdin=(tmp_path / "run.yaml").read_text()).out == "hello"


def test_the_output_file_is_replaced_after_verification(cli, run, store, tmp_path):
    file = run(big=reference_to(CONTENT, store))
    (tmp_path / "out").write_text("before")
    ran = cli("value", "-f", file, "big", "-o", "out", *FLAGS)
    assert (ran.status, ran.out) == (0, "")
    assert (tmp_path / "out").read_bytes() == CONTENT.encode()
    assert (tmp_path / "out").stat().st_mode & 0o777 == 0o666 & ~umask()


def umask():
    status = Path("/proc/self/status").read_text().splitlines()
    [line] = [line for line in status if line.startswith("Umask:")]
    return int(line.split()[1], 8)


@pytest.mark.parametrize("damage", ["changed", "longer", "shorter", "gone"])
def test_a_damaged_value_is_neither_printed_nor_written(cli, run, store, tmp_path, damage):
    file = run(big=reference_to(CONTENT, store))
    [stored] = store.rglob("?" * 64)
    data = CONTENT.encode()
    other = {"changed": b"X" + data[1:], "longer": data + b"X", "shorter": data[:-1], "gone": None}[damage]
    stored.unlink()
    if other is not None:
        stored.write_bytes(other)
    (tmp_path / "out").write_text("before")
    for options in ((), ("-o", "out")):
        ran = cli("value", "-f", file, "big", *options, *FLAGS)
        assert ran.status == (1 if damage == "gone" else 2)
        assert ran.out == ""
        assert str(store) in ran.err
    assert (tmp_path / "out").read_text() == "before"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["flags.yaml", "out", "run.yaml", "store"]


def test_a_reference_to_another_store_is_not_followed(cli, run, store):
    file = run(big=reference_to(CONTENT, store, location="file:///etc/passwd"))
    ran = cli("value", "-f", file, "big", *FLAGS)
    assert (ran.status, ran.out) == (2, "")
    assert 'leads to "file:///etc/passwd"' in ran.err


def test_an_edited_reference_is_refused(cli, run, store):
    file = run(big=reference_to(CONTENT, store, size="many"))
    ran = cli("value", "-f", file, "big", *FLAGS)
    assert (ran.status, ran.out) == (2, "")
    assert "it was edited" in ran.err


def test_an_unknown_result_is_refused_with_the_known_names(cli, run):
    ran = cli("value", "-f", run(text="x"), "txet")
    assert ran.status == 2
    assert 'has no result "txet" (it has: one.own, text)' in ran.err


@pytest.mark.parametrize("status", ["text", {"results": "text"}, {"results": ["text"]}, {"steps": [{}, 1]}])
def test_an_invalid_status_is_refused(cli, write, status):
    taskrun = {"apiVersion": "tekton.dev/v1", "kind": "TaskRun", "metadata": {"name": "r"}, "status": status}
    ran = cli("value", "-f", write("run.json", json.dumps(taskrun)), "text")
    assert ran.status == 2
    assert "run.json, document 1" in ran.err


def test_a_named_pipe_as_output_is_written_to_and_kept(cli, run, tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    try:
        assert cli("value", "-f", run(small="value"), "small", "-o", str(pipe)).status == 0
        assert pipe.is_fifo()
        assert os.read(reader, 1000)
    finally:
        os.close(reader)


def test_a_symbolic_link_as_output_is_kept(cli, run, tmp_path):
    (tmp_path / "real").write_text("old")
    (tmp_path / "link").symlink_to("real")
    assert cli("value", "-f", run(small="value"), "small", "-o", str(tmp_path / "link")).status == 0
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "real").read_text() != "old"


def test_an_unwritable_output_is_refused(cli, run):
    ran = cli("value", "-f", run(text="x"), "text", "-o", "none/out")
    assert (ran.status, "none" in ran.err) == (2, True)


def test_a_file_without_a_taskrun_is_refused(cli, write):
    ran = cli("value", "-f", write("none.yaml", "apiVersion: v1\nkind: Pod\nmetadata: {name: p}\n"), "x")
    assert ran.status == 2
    assert 'found: Pod "p"' in ran.err


def test_a_backend_that_reads_through_the_cluster_says_how_to_give_it(cli, run, store, tmp_path):
    reference = reference_to(CONTENT, store, backend="pvc")
    digest = reference["digest"].removeprefix("sha256:")
    taskrun = run(big={**reference, "location": f"pvc://results/default/uid/{digest}.0"})
    done = cli("value", "-f", taskrun, "big")
    assert done.status == 1
    assert "through the cluster (PersistentVolumeClaim default/results): add the option --cluster" in done.err
    config = tmp_path / "kubeconfig"
    config.write_text("{}")
    done = cli("value", "-f", taskrun, "big", "--kubeconfig", str(config))
    assert done.status == 2
    assert str(config) in done.err
