"""Records, what they come to, and the page made of them."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from measuring import large, records, side_by_side, signed
from measuring.cases import Case
from measuring.page import number, page, ratio, rounds, single, table
from measuring.records import Record
from measuring.summary import Spread, of_runs, pick, rows_of

ROOT = Path(__file__).parents[2]
MACHINE = {"cpu": "C", "processors": 2, "memory_gb": 8}


def figures(cpu, **more):
    figures = {"cpu_ms": cpu, "peak_mb": 60.0, "wall_s": 30.0, "wrong": []}
    return figures | {"start_ms": [3000], "status_ms": [20], "pipeline_ms": [5], "requests": 17.0} | more


def record(place="cluster", label="now", sides=(("resultsfw", 20), ("Tekton", 50)), **more):
    found = Record(place=place, label=label, command=f"measure {label}", machine=MACHINE)
    for number_ in range(3):
        for backend, factor in (("termination-message", 1), ("sidecar-logs", 1.5)):
            for side, cpu in sides:
                for part, runs in (("table", 20), ("series", 5)):
                    case = Case(part=part, backend=backend, bytes=200, runs=runs, round=number_, side=side)
                    found.add(case, figures(cpu * factor + number_, **more))
    return found


def test_a_record_is_read_as_it_was_written(tmp_path):
    file = tmp_path / "new" / "one.json"
    written = record()
    written.write(file)
    again = records.read(file)
    assert again == written
    assert len(again.done()) == len(again.rounds) == 24
    assert [path.name for path in file.parent.iterdir()] == ["one.json"]


def test_a_record_that_is_there_is_not_overwritten(tmp_path):
    file = tmp_path / "one.json"
    record().write(file)
    with pytest.raises(SystemExit, match="--resume to do what is missing"):
        records.open_record(file, "cluster", "now", resume=False)
    assert records.open_record(file, "cluster", "now", resume=True).rounds == record().rounds
    assert records.open_record(tmp_path / "other.json", "engine", "now", resume=True).rounds == []


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"place": 1, "new": 2}'])
def test_what_is_no_record_is_reported_by_name(tmp_path, text):
    file = tmp_path / "one.json"
    file.write_text(text)
    with pytest.raises(SystemExit, match=r"one\.json: no record"):
        records.read(file)


@pytest.mark.slow
def test_what_is_measured_is_that_of_the_environment_wherever_one_is(tmp_path, monkeypatch):
    (tmp_path / "resultsfw").mkdir()
    (tmp_path / "resultsfw" / "__init__.py").write_text("raise SystemExit('the wrong one')")
    monkeypatch.chdir(tmp_path)
    assert set(records.versions(sys.executable)) == {"resultsfw", "Python", "Linux"}


def test_rounds_come_to_medians_with_their_spread():
    rows = rows_of([record()], 3)
    (row,) = pick(rows, who="Tekton", backend="sidecar-logs", part="table")
    assert row.cpu == Spread(median=76, low=75, high=77)
    assert (row.taskruns, row.rounds, row.pods_cpu) == (60, 3, None)
    assert [row.who for row in pick(rows, backend="sidecar-logs", part="table")] == ["resultsfw", "Tekton"]


def test_ninety_five_of_a_hundred():
    assert of_runs(range(1, 101)) == Spread(median=50.5, low=1, high=95)
    assert of_runs([7]) == Spread(median=7, low=7, high=7)
    assert single(of_runs([])) == "- (-)"


def test_tektons_turns_beside_older_code_are_left_out():
    rows = rows_of([record(label="before", sides=(("resultsfw", 40), ("Tekton", 99))), record()], 3)
    shown = pick(rows, part="table", backend="sidecar-logs")
    assert [(row.who, row.cpu.low) for row in shown] == [
        ("resultsfw", 30),
        ("resultsfw, before", 60),
        ("Tekton", 75),
    ]


def test_figures_as_a_page_shows_them():
    assert number(1234.56) == "1,235"
    assert number(float("nan")) == "-"
    assert rounds(Spread(median=2, low=1, high=3)) == "2.0 (1.0 to 3.0)"
    assert rounds(Spread(median=2, low=2, high=2)) == "2.0"
    assert ratio(1, 2) == "50 %"
    assert table(["a", "b"], [["x", "1"]]) == "| a | b |\n|---|--:|\n| x | 1 |"


def test_the_page_has_the_teps_table_ratios_and_differences():
    found = [record(), record(label="before", sides=(("resultsfw", 40),)), record("engine", pods_cpu_ms=9.0)]
    files = [Path("cluster.json"), Path("before.json"), Path("engine.json")]
    text = page(found, rows_of(found, 3), {"cluster-table": "performance/cluster-table.svg"}, files)
    assert "20 PipelineRuns of 3 TaskRuns, 200 bytes" in text
    assert "| termination-message | resultsfw | 21.0 (20.0 to 22.0) | 60 |" in text
    assert "| termination-message | resultsfw | 41 % | 100 % |" in text
    assert "| sidecar-logs - termination-message | resultsfw | +10.0 ms, +48 % |" in text
    assert "| sidecar-logs - termination-message | resultsfw, before | +20.0 ms, +49 % |" in text
    assert "(performance/cluster-table.svg)" in text
    assert "measure before" in text
    assert "What was not as it has to be" not in text
    for block in re.findall(r"(?:^\|.*\n)+", text, re.MULTILINE):
        assert len({line.count("|") for line in block.splitlines()}) == 1, block


def test_large_results_have_a_table_of_their_own():
    figures = {"backend": "oci", "store": "registry", "bytes": 200_000_000, "status_s": 1.234}
    figures |= {"sidecar_mb": 19.4, "file_s": 2, "reader_mb": 46}
    found = [Record(place=large.PLACE, label="now", command="c", machine=MACHINE, rounds=[figures])]
    text = page(found, [], {}, [Path("large.json")])
    assert "| oci | registry | 200 | 1.23 | 19 | 2.00 | 46 |" in text
    assert "[large.json](performance/large.json)" in text


def test_backends_have_a_row_for_each_size_with_the_worst_memory_of_all_rounds():
    rounds = [
        {"name": "oci", "bytes": 1000, "round": number, "delivery": "value", "status_s": seconds}
        | {"sidecar_mb": 9 + number, "controller_mb": 60, "requests": 9, "carried": 1234}
        for number, seconds in enumerate((3, 1, 2))
    ]
    record = Record(place=side_by_side.PLACE, label="now", command="c", machine=MACHINE, rounds=rounds)
    text = page([record], [], {}, [Path("backends.json")])
    assert "| oci | 1,000 | value | 2.00 (3.00) | 11 | 60 | 9 | 1,234 |" in text


def test_the_page_says_what_was_wrong_and_does_without_tekton():
    found = [record(sides=(("resultsfw", 20),), wrong=["TaskRun Failed"])]
    text = page(found, rows_of(found, 3), {}, [Path("one.json")])
    assert "- cluster, table, sidecar-logs, 200 bytes, resultsfw: TaskRun Failed" in text
    assert "Against Tekton's" not in text
    assert "svg" not in text


def test_the_same_figures_are_the_same_plots(tmp_path):
    pytest.importorskip("matplotlib")
    from measuring import plots  # noqa: PLC0415 - only where matplotlib is

    rows = rows_of([record(), record("engine")], 3)
    names = plots.draw(rows, tmp_path / "one")
    plots.draw(rows, tmp_path / "two")
    assert set(names) == {
        f"{place}-{name}" for place in ("cluster", "engine") for name in ("table", "cpu", "status")
    }
    for name in names:
        text = (tmp_path / "one" / f"{name}.svg").read_text()
        assert text == (tmp_path / "two" / f"{name}.svg").read_text()
        assert "sidecar-logs" in text


@pytest.mark.slow
def test_the_engine_is_measured_round_by_round_and_goes_on(tmp_path):
    file = tmp_path / "engine.json"
    command = [sys.executable, ROOT / "bench" / "engine.py", "--part", "table", "--runs", "1"]
    command += ["--backend", "termination-message", "--rounds", "1", "--json", file]
    environment = {"PATH": os.environ["PATH"]}
    subprocess.run(command, check=True, capture_output=True, env=environment, timeout=60)
    found = records.read(file)
    (measured,) = found.rounds
    assert measured["wrong"] == []
    assert measured["cpu_ms"] > 0
    assert measured["pods_cpu_ms"] > 0
    assert len(measured["start_ms"]) == len(measured["status_ms"]) == 3
    assert found.versions["resultsfw"]
    again = subprocess.run(
        [*command, "--resume"], check=True, capture_output=True, env=environment, timeout=60
    )
    assert again.stderr == b""
    assert records.read(file).rounds == [measured]


def test_signed_results_are_compared_within_pairs_and_few_pairs_show_bytes_alone():
    unsigned = {
        "start_s": 4.0,
        "status_s": 0.5,
        "sidecar_cpu_ms": 80,
        "sidecar_mb": 10,
        "controller_cpu_ms": 20,
    }
    unsigned |= {"envelope": 0, "annotations": 0}
    cases = [("sidecar-logs", 1, 10, 5), ("sidecar-logs", 50, 10, 1)]
    rounds = [
        {"backend": backend, "results": results, "seconds": seconds, "pair": number, "unsigned": unsigned}
        | {"signed": {**unsigned, "start_s": 4.0 + number, "envelope": 3335}}
        for backend, results, seconds, pairs in cases
        for number in range(pairs)
    ]
    record = Record(place=signed.PLACE, label="now", command="c", machine=MACHINE, rounds=rounds)
    text = page([record], [], {}, [Path("signed.json")])
    first = "| sidecar-logs | 1 | 10 | 5 |"
    assert f"{first} pod to first Step, s | 4.0 | 6.0 | +2.0 (+0.0 to +4.0) |" in text
    assert f"{first} record with the envelope, bytes | 0 | 3,335 | +3,335 (+3,335 to +3,335) |" in text
    assert text.count("| sidecar-logs | 50 | 10 | 1 |") == 2
