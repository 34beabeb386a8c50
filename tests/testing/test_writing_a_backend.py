"""docs/how-to/writing-a-backend.md: nothing of the contract is left out, and no snippet is made up."""

import dataclasses
import inspect
import re
from pathlib import Path

import pytest
from sample_backends import TEMPLATE

from resultsfw import Capabilities, Extraction, Permission, ProblemCode, errors, hookspecs
from resultsfw.testing import base

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs/how-to/writing-a-backend.md").read_text()
PLUGIN = Path(__file__).with_name("claims_plugin.py")
SOURCES = [
    *(path for path in TEMPLATE.rglob("*") if path.suffix in (".py", ".toml", ".yaml")),
    Path(__file__).with_name("test_sound_backends.py"),
    PLUGIN,
]

OF_EXTENSIONS = {"results_collected", "collection_failed", "pod_created", "attest_status", "close"}
HOOKS = {
    name: list(inspect.signature(hook).parameters)
    for name, hook in vars(hookspecs).items()
    if hasattr(hook, "resultsfw_spec") and name not in OF_EXTENSIONS
}


def rows(heading):
    """The first cells of the rows of the table that begins with that cell."""
    table = re.search(rf"^\| {re.escape(heading)} \|.*\n\|[-|]+\n((?:\|.*\n)+)", TEXT, flags=re.MULTILINE)
    return re.findall(r"^\| `(\w+)`", table[1], flags=re.MULTILINE)


def test_the_contract_has_exactly_these_hooks():
    value = {"dereference", "decrypt", "place_files"}
    assert set(HOOKS) == {"prepare_pod", "pod_ready", "extract", "purge", *value}


@pytest.mark.parametrize("hook", HOOKS)
def test_each_hook_is_documented_with_its_exact_arguments(hook):
    assert f"### `{hook}({', '.join(HOOKS[hook])})`\n" in TEXT


def test_each_documented_hook_exists():
    assert re.findall(r"^### `(\w+)\(", TEXT, flags=re.MULTILINE) == list(HOOKS)


def test_each_argument_is_documented():
    assert set(rows("argument")) == {name for arguments in HOOKS.values() for name in arguments}


def test_each_capability_is_documented_with_its_default():
    fields = dataclasses.fields(Capabilities)
    table = TEXT[TEXT.index("| field | default |") :]
    documented = re.findall(r"^\| `(\w+)` \| (?:`(.*?)`)? ?\|", table, flags=re.MULTILINE)
    assert [name for name, _ in documented] == [field.name for field in fields]
    for (_, default), field in zip(documented, fields, strict=True):
        wanted = "" if field.default is dataclasses.MISSING else repr(field.default).replace("'", '"')
        assert default == wanted


def test_each_part_of_an_extraction_and_of_a_permission_is_documented():
    assert rows("field") == [field.name for field in dataclasses.fields(Extraction)]
    for field in dataclasses.fields(Permission):
        assert f"`{field.name}`" in TEXT


def test_each_problem_code_is_documented():
    assert rows("code") == [code.name for code in ProblemCode]


def test_each_error_that_an_author_may_raise_is_documented():
    of_the_core = {"ResultsError", "FlagError", "InputError", "UnknownBackendError", "BrokenBackendError"}
    of_the_core |= {
        "BackendNotAllowedError",
        "FaultyBackendError",
        "ExtensionError",
        "UnknownExtensionError",
        "BrokenExtensionError",
        "SignatureError",
    }
    assert set(rows("error (`resultsfw.errors`)")) == set(errors.__all__) - of_the_core


def test_retries_are_as_documented():
    table = TEXT[TEXT.index("| error (") :]
    for name, follows in re.findall(r"^\| `(\w+)` \|.*\| (.*?) \|$", table, flags=re.MULTILINE):
        error = getattr(errors, name, None)
        if error is not None and issubclass(error, errors.ClusterError):
            again = "retried" in follows and "never retried" not in follows
            assert error.retryable is again, name


@pytest.mark.parametrize("kind", ["python", "toml"])
def test_each_snippet_is_cut_from_a_tested_file(kind):
    snippets = re.findall(rf"^```{kind}\n(.*?)^```", TEXT, flags=re.MULTILINE | re.DOTALL)
    assert snippets
    files = [path.read_text() for path in SOURCES]
    for snippet in snippets:
        assert any(snippet in text for text in files), snippet


def test_the_commands_are_those_that_new_backend_prints(tmp_path, capsys):
    from resultsfw import cli  # noqa: PLC0415

    cli.main(["new-backend", "mine", "--into", str(tmp_path)])
    printed = capsys.readouterr().out.replace(f"{tmp_path}/", "")
    commands = TEXT.split("```\n")[1].splitlines()[1:]
    assert commands == re.findall(r"^  (.*)$", printed, flags=re.MULTILINE)


@pytest.mark.parametrize(
    "fixture", ["backend_config", "backend_external_state", "backend_store_faults", "backend_claims"]
)
def test_what_an_author_may_give_the_suite_is_documented(fixture):
    assert f'"{fixture}"' in inspect.getsource(base)
    assert f"`{fixture}`" in TEXT


def test_the_plugin_with_claims_makes_the_folder_of_a_claim(tmp_path):
    names: dict[str, object] = {}
    exec(PLUGIN.read_text().replace("/tmp/claims", str(tmp_path / "claims")), names)  # noqa: S102 - of this folder
    assert (tmp_path / "claims/default/results").is_dir()
    assert "backend_claims" in names
