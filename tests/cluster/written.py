"""Runs whose sidecar writes one object of the API server: what each writes, and how it must end."""

import os

from resultsfw_backends._api_object import VALUE_BYTES

MiB = VALUE_BYTES
TOO_LARGE = "TaskRunResultLargerThanAllowedLimit"
HALF = MiB // 2
AWKWARD = r"""
printf '\360\237\232\200\n\r\t\001\177\\"<&>' > $(results.a.path)
printf 'caf\351' > $(results.b.path)
printf '' > $(results.c.path)
"""


def fill(name, count, char="x"):
    return f"head -c {count} /dev/zero | tr '\\0' '{char}' > $(results.{name}.path)"


def a_run(place, name, script, results, *, image="busybox:1", retries=0, **spec):
    if not script.startswith("#!"):
        script = f"#!/bin/sh\n{script}"
    steps = [{"name": "one", "image": image, "script": script}]
    task = {"results": [{"name": result, "type": "string"} for result in results], "steps": steps, **spec}
    user = os.environ.get("RESULTSFW_RUN_AS_USER")
    pod = {"podTemplate": {"securityContext": {"runAsUser": int(user)}}} if user else {}
    return {
        "apiVersion": "tekton.dev/v1",
        "kind": "TaskRun",
        "metadata": {"name": name, "namespace": place.namespace},
        "spec": {"managedBy": place.managed_by, "taskSpec": task, "retries": retries, **pod},
    }


def written_runs(count):
    """By name: script, declared, and how it ends: reason, what arrives, words of the message.

    Args:
        count: Of the results of the run that has many.
    """
    many = {f"result-{number}": f"{number}" for number in range(count)}
    return {
        "whole": (
            f"{fill('a', HALF)}\n{fill('b', HALF, 'y')}",
            "ab",
            ("Succeeded", {"a": "x" * HALF, "b": "y" * HALF}, []),
        ),
        "over": (
            f"{fill('a', HALF)}\n{fill('b', HALF + 1)}",
            "ab",
            (TOO_LARGE, {"a": "x" * HALF}, ['"b"', f"{MiB + 1} bytes", f"{MiB} bytes"]),
        ),
        "one-over": (fill("a", MiB + 1), "a", (TOO_LARGE, {}, ['"a"', f"{MiB + 1} bytes", f"{MiB} bytes"])),
        # It comes; with six bytes for each of these it is more than a status holds.
        "html": (fill("a", MiB, "<"), "a", (TOO_LARGE, {}, ['"a"'])),
        "control": (fill("a", 200_000, "\\001"), "a", ("Succeeded", {"a": "\1" * 200_000}, [])),
        "quotes": (fill("a", 700_000, '"'), "a", ("Succeeded", {"a": '"' * 700_000}, [])),
        "awkward": (
            AWKWARD,
            "abcd",
            ("TaskRunResultRefused", {"a": '🚀\n\r\t\1\x7f\\"<&>', "c": ""}, ['"b"']),
        ),
        "many": (
            f"for i in $(seq 0 {count - 1}); do printf $i > /tekton/results/result-$i; done",
            many,
            ("Succeeded", many, []),
        ),
    }


def check_run(run, final):
    status = final["status"]
    (verdict,) = [condition for condition in status["conditions"] if condition["type"] == "Succeeded"]
    reason, values, words = run[2]
    assert verdict["reason"] == reason, verdict
    assert {result["name"]: result["value"] for result in status.get("results", [])} == values
    for word in words:
        assert word in verdict["message"]
