"""The suite for extensions fails the right test for each wrong extension, and none for sound ones."""

import textwrap
import uuid

import pytest
import wrong_extensions

pytestmark = pytest.mark.slow

OPTIONS = ["-p", "no:cacheprovider", "-p", "no:terminal", "-p", "no:randomly", "-W", "error"]


class Outcomes:
    """A pytest plugin that runs some tests and keeps what became of each, by class."""

    def __init__(self, wanted=lambda _class, _test: True):
        self.wanted = wanted
        self.failed = {}
        self.ran = {}
        self.words = {}

    def pytest_collection_modifyitems(self, items):
        items[:] = [item for item in items if self.wanted(item.cls.__name__, item.name)]

    def pytest_runtest_logreport(self, report):
        _, title, name = report.nodeid.split("::")
        if report.when == "call":
            self.ran.setdefault(title, []).append(name)
        if report.outcome == "failed":
            self.failed.setdefault(title, set()).add(name)
            self.words[title, name] = str(report.longrepr)


def outcomes_of(folder, body, outcomes):
    """Run the suite over the extensions of a test file."""
    (folder / "pytest.ini").write_text("[pytest]\n")
    file = folder / f"suite_{uuid.uuid4().hex}.py"
    file.write_text("from resultsfw.testing import ExtensionSuite\n" + textwrap.dedent(body))
    pytest.main([*OPTIONS, str(file)], plugins=[outcomes])
    return outcomes


def test_each_wrong_extension_fails_the_test_that_is_meant_for_it(tmp_path):
    wrongs = {f"Test{wrong.__name__}": must for wrong, must in wrong_extensions.WRONGS.items()}
    body = """
    import wrong_extensions

    for wrong in wrong_extensions.WRONGS:
        title = f"Test{wrong.__name__}"
        seconds = getattr(wrong, "seconds", 20.0)
        body = {"extension": wrong, "seconds": seconds, "__module__": __name__}
        globals()[title] = type(title, (ExtensionSuite,), body)
    """
    outcomes = Outcomes(lambda title, name: name in wrongs.get(title, ()))
    try:
        outcomes_of(tmp_path, body, outcomes)
    finally:
        wrong_extensions.RELEASED.set()
    assert outcomes.failed == wrongs
    words = outcomes.words["TestWaitsForEver", "test_returns"]
    assert "  a call of pod_ready did not return within 2 s" in words.splitlines()


def test_sound_extensions_fail_no_test(tmp_path, monkeypatch):
    monkeypatch.setenv("OTEL_TRACES_EXPORTER", "none")
    body = """
    import sound_extensions

    from resultsfw.testing.extension_verification import VerificationCases

    class TestAll(ExtensionSuite):
        extension = sound_extensions.DoesAll

    class TestVerifies(VerificationCases):
        extension = sound_extensions.Verifies

    class TestOpenTelemetry(ExtensionSuite):
        extension = "opentelemetry"

    class TestRedact(ExtensionSuite):
        extension = "redact"
        config = {"patterns": {"aws": "AKIA[0-9A-Z]{16}"}}
    """
    outcomes = outcomes_of(tmp_path, body, Outcomes())
    assert outcomes.words == {}
    assert len(outcomes.ran["TestAll"]) > 60


def test_an_extension_that_cannot_be_loaded_is_one_failure(tmp_path):
    body = """
    import time

    class TestNone(ExtensionSuite):
        pass

    class TestUnknown(ExtensionSuite):
        extension = "redct"

    class Waits:
        def __init__(self):
            time.sleep(60)

    class TestWaits(ExtensionSuite):
        extension = Waits
        seconds = 0.2
    """
    outcomes = outcomes_of(tmp_path, body, Outcomes())
    assert {title: len(failed) for title, failed in outcomes.failed.items()} == {
        "TestNone": 1,
        "TestUnknown": 1,
        "TestWaits": 1,
    }
    words = {title: text for (title, _), text in outcomes.words.items()}
    assert 'TestNone names no extension: set its attribute "extension"' in words["TestNone"]
    assert 'did you mean "redact"?' in words["TestUnknown"]
    assert "its creation did not return within 0.2 s" in words["TestWaits"]
