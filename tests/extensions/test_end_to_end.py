"""Extensions by flag in the local engine, and over saved runs."""

import json
import os
import subprocess
import sys

import pytest

pytestmark = pytest.mark.slow

SECRET = "AKIAIOSFODNN7EXAMPLE"  # noqa: S105 - of AWS's own documents

TASKRUN = """
apiVersion: tekton.dev/v1
kind: TaskRun
metadata: {name: leaks}
spec:
  taskSpec:
    results:
    - {name: text, type: string}
    - {name: list, type: array}
    steps:
    - name: one
      image: busybox:1
      results: [{name: own, type: string}]
      script: |
        secret=AKIA; secret="${secret}IOSFODNN7EXAMPLE"
        printf 'key %s' "$secret" > $(results.text.path)
        printf '["%s","b"]' "$secret" > $(results.list.path)
        printf '%s' "$secret" > $(step.results.own.path)
---
apiVersion: v1
kind: ConfigMap
metadata: {name: feature-flags}
data:
  results-from: BACKEND
  extensions: redact
  config.redact: |
    patterns: {aws: 'AKIA[0-9A-Z]{16}'}
"""


def resultsfw(folder, *words):
    command = [sys.executable, "-m", "resultsfw.cli", *words]
    return subprocess.run(command, cwd=folder, env=os.environ, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("backend", ["termination-message", "sidecar-logs"])
def test_a_run_on_this_machine_stores_and_prints_no_secret(tmp_path, backend):
    (tmp_path / "run.yaml").write_text(TASKRUN.replace("BACKEND", backend))
    done = resultsfw(tmp_path, "run", "run.yaml", "-o", "json")
    assert done.returncode == 0, done.stderr
    [run] = json.loads(done.stdout)["items"]
    values = {result["name"]: result["value"] for result in run["status"]["results"]}
    assert values == {"text": "key [redacted:aws]", "list": ["[redacted:aws]", "b"]}
    [step] = run["status"]["steps"]
    assert [result["value"] for result in step["results"]] == ["[redacted:aws]"]
    assert SECRET not in done.stdout + done.stderr
    assert 'result "text" is redacted by pattern: aws (1)' in done.stderr


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (
            "extensions: redat",
            "run.yaml, document 2, line 25: data.extensions: invalid value for feature flag",
        ),
        ("config.redact: '{patterns: {a: (}}'", "data.config.redact: feature flag"),
        ("config.redact: ''", "patterns: must have 1 or more entries"),
    ],
)
def test_what_is_wrong_is_named_with_its_line(tmp_path, flags, said):
    kept = TASKRUN.replace("BACKEND", "sidecar-logs").split("  config.redact")[0]
    key = flags.partition(":")[0]
    lines = [line for line in kept.splitlines() if not line.strip().startswith(f"{key}:")]
    (tmp_path / "run.yaml").write_text("\n".join([*lines, f"  {flags}"]) + "\n")
    done = resultsfw(tmp_path, "run", "run.yaml")
    assert done.returncode == 2
    assert said in done.stderr


def test_a_run_on_this_machine_closes_its_extensions(tmp_path, site):
    site.extension(
        "sees",
        """
        from resultsfw import hookimpl

        class Sees:
            seen = ()

            @hookimpl
            def results_collected(self, run):
                self.seen = (*self.seen, run.name)

            @hookimpl
            def close(self):
                print("closed after", *self.seen)
        """,
        target="ext_sees:Sees",
    )
    (tmp_path / "run.yaml").write_text(
        TASKRUN.replace("BACKEND", "sidecar-logs").split("  config.redact")[0].replace(": redact", ": sees")
    )
    command = [sys.executable, "-m", "resultsfw.cli", "run", "run.yaml"]
    done = subprocess.run(command, cwd=tmp_path, env=site.env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "closed after leaks\n" in done.stdout
