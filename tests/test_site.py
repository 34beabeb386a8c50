"""The site has each page in its navigation, and messages name pages of it that exist."""

import ast
import re
from pathlib import Path

import pytest
import yaml
from test_docs import anchors

from resultsfw import site

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
CONFIG = yaml.safe_load((ROOT / "mkdocs.yml").read_text())


def pages(nav):
    """Return the files that a navigation names, in order."""
    match nav:
        case str():
            return [nav]
        case list():
            return [file for item in nav for file in pages(item)]
        case _:
            return [file for item in nav.values() for file in pages(item)]


def test_each_page_is_in_the_navigation_once():
    files = [str(file.relative_to(DOCS)) for file in DOCS.rglob("*.md")]
    wanted = [file for file in files if not re.fullmatch(r"decisions/\d.*", file)]
    assert sorted(pages(CONFIG["nav"])) == sorted(wanted)


def test_a_warning_fails_the_build():
    """mkdocs counts what it logs: with --quiet it finds no warning, and `strict` has no effect."""
    recipe = re.search(r"^site: .*\n\t.*(mkdocs build.*)", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert CONFIG["strict"]
    assert recipe
    assert recipe[1] == "mkdocs build"


def named_pages():
    """Yield each call of ``page`` in the code, as its file and arguments."""
    for folder in ("resultsfw", "backends", "extensions"):
        for file in (ROOT / folder).rglob("*.py"):
            text = file.read_text()
            if "resultsfw.site import" not in text:
                continue
            for node in ast.walk(ast.parse(text)):
                if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "page":
                    yield pytest.param([ast.literal_eval(arg) for arg in node.args], id=file.name)


def test_addresses_are_those_of_the_site():
    assert CONFIG["site_url"] == site.SITE + "/"
    assert site.page("how-to/signed-results", "set-up") == f"{site.SITE}/how-to/signed-results/#set-up"
    assert site.page("backends/pvc") == f"{site.SITE}/backends/pvc/"


@pytest.mark.parametrize("arguments", list(named_pages()))
def test_pages_that_messages_name_exist(arguments):
    path, *section = arguments
    file = DOCS / f"{path}.md"
    assert file.exists()
    assert set(section) <= anchors(file)
