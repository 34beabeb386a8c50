"""What of a server's message is passed on: never a value that it quotes, and in linear time."""

import json
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from resultsfw.kube.status_errors import redact

PLANTED = "hunter2"

AROUND = st.text(st.sampled_from("ab:, []{}'=;()\t`\u00e9"), max_size=12)
VALUES = st.builds(lambda before, after: f"{before}{PLANTED}{after}", AROUND, AROUND)


def go_map(value: str) -> str:
    return f'map[string]interface {{}}{{"a":{json.dumps(value)}}}'


AS_PRINTED = st.sampled_from(
    [
        json.dumps,  # %q
        lambda value: f'"{value}"',  # "%s"
        str,  # %v
        lambda value: json.dumps([value, "x"]),
        lambda value: json.dumps({"a": {"b": [value]}}),
        lambda value: f"[]string{{{json.dumps(value)}}}",
        lambda value: f"core.EnvVar{{Name:{json.dumps(value)}, ValueFrom:(*core.EnvVarSource)(nil)}}",
        go_map,
        lambda value: f"[{value} x]",
        lambda value: f"`{value}`",
        lambda value: f"'{value}'",
    ]
)
BEFORE = st.sampled_from(
    [
        'TaskRun "a" is invalid: status.results[0].value: Invalid value: ',
        "spec.containers[0].env[0].value: Unsupported value: ",
        "[spec.x: Invalid value: 7: must be less, spec.y: Duplicate value: ",
        'admission webhook "w.example.com" denied the request: validation failed: invalid value: ',
        'error: strconv.ParseInt: parsing "1": invalid syntax, spec.z: Invalid value: ',
    ]
)
BEHIND = st.sampled_from(["", ": must be no more", ": spec.params", "]", ', spec.z: Invalid value: "b": no'])


@given(BEFORE, AS_PRINTED, VALUES, BEHIND)
def test_no_value_is_in_a_message_however_it_is_printed(before, printed, value, behind):
    said = redact(before + printed(value) + behind)
    assert PLANTED not in said
    assert said.startswith(before[:4])


@given(VALUES, st.sampled_from(["name {} is taken", "{} is no port", 'must not be "{}"']))
def test_no_value_is_repeated_later_in_the_message(value, detail):
    assert PLANTED not in redact(f"spec.x: Invalid value: {json.dumps(value)}: " + detail.format(value))


@pytest.mark.parametrize(
    "message",
    [
        f'strconv.ParseInt: parsing "{PLANTED}": invalid syntax',
        f'parsing time "{PLANTED}" as "2006-01-02T15:04:05Z07:00": cannot parse',
        f"spec.x: Invalid value: abc:{PLANTED}: must be",
        f'spec.x: Invalid value: ["a:{PLANTED}"]: must be',
        f'spec.x: Invalid value: "a": {PLANTED}": must be',
        f'spec.x: Invalid value: "{PLANTED}',
        f"Bearer {PLANTED * 40} is no token",
        f"'{PLANTED * 40}' is no token",
    ],
)
def test_values_that_once_passed_the_pattern_are_redacted(message):
    assert PLANTED not in redact(message)


@pytest.mark.parametrize(
    ("message", "told"),
    [
        (
            'Pod "a" is invalid: spec.x: Invalid value: "b_c": a name must begin with a letter',
            'Pod "a" is invalid: spec.x: Invalid value: (not shown): a name must begin with a letter',
        ),
        (
            "[spec.a: Invalid value: -1: must be 0 or more, spec.b: Required value]",
            "[spec.a: Invalid value: (not shown): must be 0 or more, spec.b: Required value]",
        ),
        (
            'pods "run" is forbidden: User "system:serviceaccount:a:b" cannot get resource "pods/log"',
            'pods "run" is forbidden: User "system:serviceaccount:a:b" cannot get resource "pods/log"',
        ),
        ('spec.x: Unsupported value: "b": supported values: "c", "d"', None),
    ],
)
def test_the_rest_of_a_message_is_kept(message, told):
    assert redact(message) == (told or 'spec.x: Unsupported value: (not shown): supported values: "c", "d"')


@given(st.text(st.sampled_from('ab" \\:,value')))
def test_any_text_is_cut_to_the_limit(text):
    assert len(redact(text * 20)) <= 500


LONG = 1_000_000
PATHOLOGICAL = {
    "an unclosed quote": ('x "' + "a" * LONG),
    "unclosed quotes": ('"a' * 3 + '\\"' * (LONG // 2)),
    "backslashes": ('"' + "\\" * LONG),
    "quotes and backslashes": ('"\\' * (LONG // 2)),
    "values": ("value: " * (LONG // 7)),
    "values that are quoted": ('value: "a": ' * (LONG // 12)),
    "a value that is open": ('value: "' + '\\"' * (LONG // 2)),
    "numbers": ("value: " + "1" * LONG),
    "brackets": ("value: " + "[{" * (LONG // 2)),
    "words": (("a" * 128 + " ") * (LONG // 129)),
    "quotations": ('"a" ' * (LONG // 4)),
    "colons": ("value: " + "a:" * (LONG // 2)),
    "parsing": ("parsing " * (LONG // 8)),
}


@pytest.mark.slow
def test_a_megabyte_of_any_text_takes_linear_time():
    """In a process that the kernel ends after so many seconds of processor time."""
    program = (
        "import json, resource, sys\n"
        "from resultsfw.kube.status_errors import redact\n"
        "resource.setrlimit(resource.RLIMIT_CPU, (20, 20))\n"
        "for kind, text in json.load(sys.stdin).items():\n"
        "    print(kind, flush=True)\n"
        "    assert len(redact(text)) <= 500\n"
    )
    command = [sys.executable, "-c", program]
    ended = subprocess.run(
        command, input=json.dumps(PATHOLOGICAL), capture_output=True, text=True, check=False
    )
    assert ended.returncode == 0, f"ended at {ended.stdout.splitlines()[-1:]}: {ended.stderr}"
    assert ended.stdout.splitlines() == list(PATHOLOGICAL)
