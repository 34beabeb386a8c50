"""Check that names and sentences use standard terms, and none that this project used in a sense of its own.

`docs/reference/glossary.md` explains the terms. A word is listed here if it has no use left in which it is
ordinary English or Python; a phrase is listed as it is written, and matches whole words.
"""

import ast
import re
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("resultsfw", "backends", "extensions", "sidecar")
CODE = (*PACKAGES, "bench", "examples", "tests")

MODULES = [
    "conclude",
    "ending",
    "exchange",
    "faults",
    "held",
    "large",
    "ledger",
    "leftovers",
    "looks",
    "marks",
    "measured",
    "mirror",
    "podcare",
    "problems",
    "reading",
    "referenced",
    "room",
    "serving",
    "spec_problems",
    "turns",
    "vanished",
    "workers",
]
"""Names that modules of the packages no longer have."""

NAMES = [
    "Carrier",
    "Cause",
    "Collected",
    "Core",
    "Declared",
    "Found",
    "Framed",
    "Ledger",
    "MeasuredCore",
    "Notice",
    "RESULTS_LEFT_OUT",
    "Remembered",
    "RunEnder",
    "StopMark",
    "Turns",
    "Way",
    "beneath",
    "beyond_wall",
    "conclude",
    "doubt",
    "get_sure",
    "grace_of",
    "has_said_all",
    "heirs",
    "is_held",
    "law",
    "laws",
    "leaving",
    "leftovers",
    "let_go",
    "mirror",
    "next_look",
    "notice_of",
    "podcare",
    "referenced",
    "restored",
    "sight_of",
    "spared",
    "spec_problems",
    "step_problems",
    "stop_mark",
    "transform_anew",
    "transport_of",
    "vanished",
    "walls",
    "where (a|the|it) (run )?stands",
    "withholds",
    "write_end",
]
"""Names that functions, classes, arguments and variables no longer have."""

NAMES_IN_PACKAGES = ["one", "said", "told"]
"""Names without a type, which only tests may use."""

EVERYWHERE = (
    "cluster was seen whole",
    "last good ones stay",
    "law [0-9]+",
    "laws [0-9]",
    "let go",
    "looks? at a (run|PipelineRun)",
    "this replica works",
)
"""Phrases that occur neither in code nor in documents."""

IN_PACKAGES = (
    *EVERYWHERE,
    "(a|the|each|every|two) looks?",
    "(can|could)(not| not)? be had",
    "are waited for as long",
    "at (each|every) look",
    "beneath",
    "by (its|their) own words",
    "(is|not known for) certain",
    "engine with no cluster",
    "for want of",
    "hands? over references",
    "heard",
    "held whole",
    "in one another",
    "in silence",
    "is looked for again",
    "name the run otherwise",
    "in(to)? force",
    "is no (JSON|URL|image|list|mapping|number|object|string|text|truth value|whole number)",
    "looked at",
    "one that (is|was|has|cannot|exits|leads)",
    "say otherwise",
    "seen whole",
    "walls",
    "where (a|the|it) (run )?stands",
)
"""Phrases that occur neither in the packages, nor in their manifests and benchmarks."""

IN_DOCUMENTS = (
    *IN_PACKAGES,
    "(is|are|was|be) told",
    "comes? right",
    "heard",
    "no wall",
    "one that",
    "ways out",
    "what is there",
)
"""Phrases that occur in no document."""

QUOTED = re.compile(r"^```.*?^```$|`[^`\n]+`", re.MULTILINE | re.DOTALL)
"""Commands, snippets and messages in a document: they are tested where they come from."""


def python_files(*folders: str) -> list[Path]:
    return [
        path
        for folder in folders
        for path in (ROOT / folder).rglob("*.py")
        if path.resolve() != Path(__file__)
    ]


def documents() -> list[Path]:
    folders = ("docs", "examples", "resultsfw/cli/template", "resultsfw/cli/template_extension")
    return [*ROOT.glob("*.md"), *(path for folder in folders for path in (ROOT / folder).rglob("*.md"))]


def pattern(phrases: tuple[str, ...]) -> re.Pattern[str]:
    """Match any of the phrases as whole words, over line ends as well."""
    spaced = (phrase.replace(" ", r"[\s#]+") for phrase in phrases)
    return re.compile(rf"\b({'|'.join(spaced)})\b", re.IGNORECASE)


def defined(file: Path) -> set[str]:
    """Return the names that a file gives to functions, classes, arguments and variables."""
    names = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        match node:
            case ast.FunctionDef(name=name) | ast.ClassDef(name=name) | ast.arg(arg=name):
                names.add(name.lstrip("_"))
            case ast.Name(id=name, ctx=ast.Store()) | ast.Attribute(attr=name, ctx=ast.Store()):
                names.add(name.lstrip("_"))
            case _:
                pass
    return names


@cache
def names_by_file() -> dict[Path, set[str]]:
    return {file.relative_to(ROOT): defined(file) for file in python_files(*CODE)}


def found(phrases: tuple[str, ...], text: str) -> list[str]:
    return [match[0] for match in pattern(phrases).finditer(text)]


def files_with(phrases: tuple[str, ...], files: list[Path]) -> dict[Path, list[str]]:
    by_file = {file: found(phrases, file.read_text(encoding="utf-8")) for file in files}
    return {file: matches for file, matches in by_file.items() if matches}


def test_no_module_has_a_name_that_was_replaced():
    assert [file for file in python_files(*PACKAGES) if file.stem in MODULES] == []


@pytest.mark.parametrize("name", NAMES)
def test_no_definition_has_a_name_that_was_replaced(name):
    assert [file for file, names in names_by_file().items() if name in names] == []


@pytest.mark.parametrize("name", NAMES_IN_PACKAGES)
def test_no_definition_in_the_packages_has_a_name_without_a_type(name):
    packages = [file for file in names_by_file() if file.parts[0] in PACKAGES]
    assert [file for file in packages if "tests" not in file.parts and name in names_by_file()[file]] == []


def test_tests_and_examples_have_no_phrase_that_was_replaced():
    assert files_with(EVERYWHERE, python_files("examples", "tests")) == {}


def test_packages_and_manifests_have_no_phrase_that_was_replaced():
    files = [*python_files(*PACKAGES, "bench"), *(ROOT / "config").rglob("*.yaml")]
    assert files_with(IN_PACKAGES, files) == {}


@pytest.mark.parametrize("document", documents(), ids=lambda path: path.name)
def test_a_document_has_no_phrase_that_was_replaced(document):
    prose = QUOTED.sub("", document.read_text(encoding="utf-8"))
    assert found(IN_DOCUMENTS, prose) == []


@pytest.mark.parametrize("text", ["a pod is told so", "the engine with\nno cluster", "Law 7 holds"])
def test_a_phrase_is_found_over_line_ends_and_in_any_case(text):
    assert found(IN_DOCUMENTS, text)


@pytest.mark.parametrize("text", ["a flaw 7", "the whole text", "be toldeep"])
def test_a_part_of_a_word_is_no_phrase(text):
    assert not found(IN_DOCUMENTS, text)
