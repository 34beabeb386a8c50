"""Pods without Tekton's entrypoint: what they do, and ought to hand out under each built-in backend.

For the local engine and for a real one.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from resultsfw import Object, ResultSpec, Run, Step

BACKENDS = ("sidecar-logs", "termination-message")

RUN = Run(
    namespace="default",
    name="report",
    uid="u",
    results=(ResultSpec(name="a"), ResultSpec(name="b")),
    steps=(Step(name="one", container="main", results=(ResultSpec(name="own"),)),),
)


def message(**values: str) -> str:
    """A termination message, written as docs/how-to/embedding.md says; a Step's own as ``own_NAME``."""
    return json.dumps(
        [
            {"key": name.removeprefix("own_"), "value": value, "type": 4 if name.startswith("own_") else 1}
            for name, value in values.items()
        ]
    )


def written(backend: str, **values: str) -> str:
    """A shell script that writes values without quotes as this backend wants them."""
    if backend == "termination-message":
        return f"printf %s '{message(**values)}' > /dev/termination-log\n"
    lines = []
    for name, value in values.items():
        folder = "$RESULTSFW_STEP_RESULTS" if name.startswith("own_") else "$RESULTSFW_RESULTS"
        lines.append(f"printf %s '{value}' > {folder}/{name.removeprefix('own_')}\n")
    return "".join(lines)


def pod(script: str, *, name: str = "report", namespace: str = "default", **spec: Any) -> Object:
    """A Pod of an embedder's own."""
    container = {"name": "main", "image": "busybox:1", "command": ["sh", "-c", script]}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": namespace, "labels": {"mine": "kept"}},
        "spec": {"restartPolicy": "Never", "containers": [container], **spec},
    }


@dataclass(frozen=True)
class Case:
    """What the container does and what must come of it.

    Attributes:
        script: From the backend's name.
        values: That must arrive.
        problems: Codes of what did not, by backend.
        exit_code: Of the container.
    """

    script: Callable[[str], str]
    values: dict[str, str] = field(default_factory=dict)
    problems: dict[str, list[str]] = field(default_factory=dict)
    exit_code: int = 0


def _awkward(backend: str) -> str:
    text = '\\u0001\\"\\\\ \\u2028 grüße 🎉\\n'
    if backend == "termination-message":
        return f'cat > /dev/termination-log <<\'END\'\n[{{"key":"a","value":"{text}","type":1}}]\nEND'
    return r"""printf '\001"\\ \342\200\250 gr\303\274\303\237e \360\237\216\211\n' > $RESULTSFW_RESULTS/a"""


def _not_utf8(backend: str) -> str:
    if backend == "termination-message":
        return r"""printf '[{"key":"a","value":"x\377y","type":1}]' > /dev/termination-log"""
    return r"printf 'x\377y' > $RESULTSFW_RESULTS/a"


def _large(size: int) -> Callable[[str], str]:
    """A value such that value, or under termination messages the whole message, has so many bytes."""

    def script(backend: str) -> str:
        if backend == "termination-message":
            frame = len('[{"key":"a","value":"","type":1}]')
            count = size - frame
            return (
                f"v=$(head -c {count} /dev/zero | tr '\\0' x); "
                'printf \'[{"key":"a","value":"%s","type":1}]\' "$v" > /dev/termination-log'
            )
        return f"head -c {size} /dev/zero | tr '\\0' x > $RESULTSFW_RESULTS/a"

    return script


CASES = {
    "at the very end": Case(
        lambda backend: "sleep 0.3\n" + written(backend, a="last", own_own="mine"),
        {"a": "last", "one.own": "mine"},
    ),
    "fails with results written": Case(
        lambda backend: written(backend, a="kept") + "exit 1", {"a": "kept"}, exit_code=1
    ),
    "killed": Case(lambda backend: written(backend, a="kept") + "exit 137", {"a": "kept"}, exit_code=137),
    "awkward": Case(_awkward, {"a": '\x01"\\ \u2028 grüße 🎉\n'}),
    "not UTF-8": Case(_not_utf8, problems={one: ["NotUTF8"] for one in BACKENDS}),
    "the limit": Case(_large(4096)),
    "one byte more": Case(
        _large(4097), problems={"sidecar-logs": ["ResultTooLarge"], "termination-message": ["TransportCut"]}
    ),
    "nothing written": Case(lambda _: "true"),
}
"""One container, and a limit of 4096 bytes; under ``termination-message`` that is the whole message's."""


def values_of(collected: Any) -> dict[str, Any]:
    """By name, a Step's own as ``step.name``."""
    values = {one.name: one.value for one in collected.results}
    for step, some in collected.step_results.items():
        values |= {f"{step}.{one.name}": one.value for one in some}
    return values


def check(case: Case, name: str, backend: str, collected: Any) -> None:
    """That it came as it ought to."""
    assert [one.code.value for one in collected.problems] == case.problems.get(backend, []), (
        collected.problems
    )
    if name == "the limit":
        size = 4096 if backend == "sidecar-logs" else 4096 - len('[{"key":"a","value":"","type":1}]')
        assert values_of(collected) == {"a": "x" * size}
    else:
        assert values_of(collected) == case.values
