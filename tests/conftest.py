"""Fixtures of all tests: the captures, the wheel; and how many examples a property is tried on.

A test that takes ``capture`` runs once for each of them; one that wants only some says
``@pytest.mark.parametrize("capture", ["sl-basic"], indirect=True)``.
"""

import fcntl
import gc
import logging
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

# Test files are no packages: what they share is found here.
sys.path.insert(0, str(Path(__file__).parent))

import captures
from pluginsite import Site
from skipped import summary

ROOT = Path(__file__).parents[1]

# A shell starts background jobs with SIGINT ignored, and their children inherit that: tests of Ctrl-C would
# wait in vain.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# Collecting the tests makes objects that stay: looking for garbage among them takes a fifth of that time.
gc.disable()  # until `pytest_collection_finish`

# Of a property that names no number of its own. `make check` chooses "check", by --hypothesis-profile.
settings.register_profile(
    "test",
    deadline=None,  # shared machines have slow moments
    max_examples=60,
    derandomize=os.environ.get("CI") == "true",  # there, no luck
    suppress_health_check=[HealthCheck.too_slow],
)
settings.register_profile("check", settings.get_profile("test"), max_examples=10)
settings.load_profile("test")


@pytest.fixture
def capture(request):
    """A capture, a fresh copy."""
    return captures.load(request.param)


@pytest.fixture
def site(tmp_path):
    """A folder for distributions."""
    folder = tmp_path / "site"
    folder.mkdir()
    return Site(folder)


@pytest.fixture(scope="session")
def wheel(tmp_path_factory):
    """The wheel, made from the sdist as a release's is; built once for all processes that run tests."""
    folder = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        folder = folder.parent
    built = folder / "wheel"
    with (folder / "wheel.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not built.exists():
            command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", f"{built}.part", ROOT]
            subprocess.run(command, check=True, capture_output=True)
            Path(f"{built}.part").rename(built)
    (file,) = built.glob("*.whl")
    return file


def pytest_collection_finish():
    """Spare the garbage collector all modules and tests: they stay, and it would visit them each time."""
    gc.collect()
    gc.freeze()
    gc.enable()


def pytest_terminal_summary(terminalreporter):
    """Say which tests were skipped and why, in a line for each reason."""
    if lines := summary(terminalreporter.stats.get("skipped", [])):
        terminalreporter.section("skipped", sep="-")
        terminalreporter.write_line("\n".join(lines))


def pytest_generate_tests(metafunc):
    """All captures, for a test that does not choose."""
    chosen = any("capture" in mark.args[0] for mark in metafunc.definition.iter_markers("parametrize"))
    if "capture" in metafunc.fixturenames and not chosen:
        metafunc.parametrize("capture", captures.names(), indirect=True)


def pytest_make_parametrize_id(val: object, argname: str) -> str | None:
    """Name a long text by its argument: all processes of a run must agree, and some have new keys."""
    return argname if isinstance(val, str | bytes) and len(val) > 80 else None


@pytest.fixture(autouse=True)
def logging_of_its_own():
    """What the command line sets up for its log ends with the test: others read messages by ``caplog``."""
    logger = logging.getLogger("resultsfw")
    handlers, propagate, level = logger.handlers, logger.propagate, logger.level
    yield
    logger.handlers, logger.propagate = handlers, propagate
    logger.setLevel(level)
