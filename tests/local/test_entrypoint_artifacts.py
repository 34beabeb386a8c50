"""What the entrypoint makes of artifacts: it puts those of earlier Steps in, and its own into the message."""

import os
import subprocess
import sys

import pytest

from resultsfw import provenance

DOCUMENT = """{"outputs": [{"name": "image", "values":
[{"uri": "u<'$(date)", "digest": {"b": "2", "a": "1"}}]}],
"inputs": [{"name": "none"}]}"""
IMAGE = r"""[{"digest":{"a":"1","b":"2"},"uri":"u\u003c'$(date)"}]"""


@pytest.fixture
def entrypoint(entrypoint):
    folder = entrypoint.tekton / "steps/step-first/artifacts"
    folder.mkdir(parents=True)
    (folder / "provenance.json").write_text(DOCUMENT)
    return entrypoint


def test_artifact_provenance_is_in_the_message(entrypoint):
    (entrypoint.tekton / "artifacts").mkdir()
    (entrypoint.tekton / "artifacts/provenance.json").write_text("{}")
    env = {"RESULTSFW_PATHS": f"/tekton\t{entrypoint.tekton}"}
    entrypoint.sh(f"echo '[]' > {entrypoint.tekton}/run/0/status/artifacts/provenance.json", env=env)
    assert entrypoint.entries()[1:] == [
        ("/tekton/run/0/status/artifacts/provenance.json", "[]\n", 5),
        ("/tekton/artifacts/provenance.json", "{}", 6),
    ]


def test_provenance_that_cannot_be_delivered_is_refused_by_name(entrypoint):
    env = {"RESULTSFW_PATHS": f"/tekton\t{entrypoint.tekton}"}
    (entrypoint.tekton / "artifacts").mkdir()
    os.mkfifo(entrypoint.tekton / "artifacts/provenance.json")
    own = f"{entrypoint.tekton}/run/0/status/artifacts/provenance.json"
    status, output = entrypoint.sh(f"head -c 5000 /dev/zero | tr '\\0' x > {own}", env=env)
    assert status == 1
    assert sorted(entrypoint.refused(), key=lambda refusal: refusal["type"]) == [
        {
            "name": "/tekton/run/0/status/artifacts/provenance.json",
            "type": 5,
            "bytes": 5000,
            "limit": 4096,
            "reason": "TooLarge",
        },
        {"name": "/tekton/artifacts/provenance.json", "type": 6, "reason": "NotRegularFile"},
    ]
    assert "has 5000 bytes and does not fit" in output


def test_values_of_artifacts_are_put_into_arguments_and_environment(entrypoint):
    command = (
        "sh",
        "-c",
        'printf "%s|" "$@" "$A"',
        "sh",
        "-$(steps.first.outputs.image)-",
        "$(steps.first.outputs)",
    )
    env = {"A": "is $(steps.first.inputs.none)"}
    status, output = entrypoint.run(command=command, env=env)
    assert (status, output) == (0, f"-{IMAGE}-|$(steps.first.outputs)|is null|")


def test_values_of_artifacts_are_put_into_a_script_which_stays_as_it_was(entrypoint):
    script = entrypoint.tekton / "scripts/script-0-x"
    text = "#!/bin/sh\ncat << 'EOF'\n$(steps.first.outputs.image)\nEOF\n"
    script.write_text(text)
    script.chmod(0o755)
    status, output = entrypoint.run(command=(str(script),))
    assert (status, output) == (0, f"{IMAGE}\n")
    assert script.read_text() == text


@pytest.mark.parametrize(
    ("reference", "document", "says"),
    [
        ("$(steps.first.outputs.other)", DOCUMENT, "wrote no artifact with that name"),
        ("$(steps.second.outputs.image)", DOCUMENT, "no Step wrote it"),
        ("$(steps.first.outputs.image)", "{bad", "not JSON"),
        ("$(steps.first.outputs.image)", "[]", "not an object"),
    ],
)
def test_a_step_whose_artifact_is_not_there_does_not_start(entrypoint, reference, document, says):
    """Tekton's entrypoint runs it with the reference in it, which a shell takes for a command."""
    (entrypoint.tekton / "steps/step-first/artifacts/provenance.json").write_text(document)
    status, output = entrypoint.run(command=("echo", "started", reference))
    assert status == 1
    assert says in output
    assert "started" not in output
    assert entrypoint.names() == ["out.err", "status"]


def test_the_parser_needs_nothing_but_the_standard_library():
    program = f"import runpy; runpy.run_path({provenance.__file__!r})"
    subprocess.run([sys.executable, "-I", "-S", "-c", program], check=True)
