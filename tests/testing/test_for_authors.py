"""What an author gets of the suite: one error for a backend that cannot be loaded, a quick run, a name."""

import pytest

pytestmark = pytest.mark.slow

HEAD = """
import pytest
from sample_backends import Sound, template
from resultsfw.testing import BackendSuite
"""

MISSPELT = f"""{HEAD}
class Misspelt(Sound):
    @template.hookimpl
    def extrakt(self, run):
        return None

class TestMisspelt(BackendSuite):
    backend = Misspelt

class TestNothing(BackendSuite):
    pass
"""

NAMED = f"""{HEAD}
class TestNamed(BackendSuite):
    backend = template
    name = "my-backend"

    @pytest.mark.quick
    def test_name(self, harness):
        assert harness.name == "my-backend"
        assert harness.plugin.capabilities == template.capabilities
"""


class Reports:
    """A pytest plugin that keeps what became of each test."""

    def __init__(self):
        self.selected = set()
        self.words = {"passed": [], "failed": [], "skipped": []}

    def pytest_collection_finish(self, session):
        self.selected = {item.name for item in session.items}

    def pytest_runtest_logreport(self, report):
        if report.when == "call" or report.outcome != "passed":
            self.words[report.outcome].append(f"{report.nodeid}: {report.longrepr}")


def run(tmp_path, text, *options):
    """Run pytest as an author may, with unknown markers refused; return the reports."""
    (tmp_path / "pytest.ini").write_text("[pytest]\naddopts = --strict-markers --strict-config\n")
    file = tmp_path / f"test_{tmp_path.name}.py"
    file.write_text(text)
    reports = Reports()
    quiet = ["-p", "no:cacheprovider", "-p", "no:terminal", "-p", "no:unraisableexception", "-W", "error"]
    status = pytest.main([*quiet, *options, str(file)], plugins=[reports])
    return status, reports


def test_a_misspelt_hook_is_one_failure(tmp_path):
    status, reports = run(tmp_path, MISSPELT, "-k", "test_value or test_fault")
    words = reports.words
    assert status == pytest.ExitCode.TESTS_FAILED
    assert words["passed"] == []
    misspelt, nothing = words["failed"]
    assert 'unknown hook "extrakt"; did you mean "extract"?' in misspelt
    assert 'TestNothing names no backend: set its attribute "backend"' in nothing
    assert len(words["skipped"]) > 20
    assert all("cannot be loaded; another test says why" in skipped for skipped in words["skipped"])


def test_a_quick_run_has_tests_of_every_part(tmp_path):
    status, reports = run(tmp_path, NAMED, "-m", "quick", "--collect-only")
    assert status == pytest.ExitCode.OK
    assert {
        "test_pod_is_valid",
        "test_value[line]",
        "test_collect_twice",
        "test_two_runs_in_threads",
        "test_damaged[cut]",
        "test_fault[forbidden-at-once]",
        "test_in_plain_failures",
        "test_beyond_one_object",
        "test_plain_pod",
    } <= reports.selected
    assert len(reports.selected) < 70


def test_the_author_chooses_the_name(tmp_path):
    status, reports = run(tmp_path, NAMED, "-k", "test_name")
    assert status == pytest.ExitCode.OK
    assert len(reports.words["passed"]) == 1
