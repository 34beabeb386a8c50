"""Tests on a real cluster: skipped by name unless RESULTSFW_KUBECONFIG says which.

The cluster needs Tekton's CRDs, the images named by the variables below, and no controller for runs with
``spec.managedBy: resultsfw.dev/controller`` (Tekton's own leaves those alone). Sidecars may not be root:
where the images name no user, RESULTSFW_RUN_AS_USER gives the pods one.
"""

import os
import threading
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from api import ApiServer
from forwarder import Forwarder
from place import Place, pod_options
from results_servers import accounts, postgresql, results_server, store  # noqa: F401 - fixtures
from s3_store import s3  # noqa: F401 - a fixture
from signing_runs import spire  # noqa: F401 - a fixture

from resultsfw.tekton.api.kinds import TASKRUNS
from resultsfw.tekton.pod.builder import PodOptions


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents:
            item.add_marker(pytest.mark.cluster)
            if "RESULTSFW_KUBECONFIG" not in os.environ:
                item.add_marker(pytest.mark.skip(reason="RESULTSFW_KUBECONFIG is not set"))


@pytest.fixture(scope="session")
def server() -> ApiServer:
    return ApiServer(Path(os.environ["RESULTSFW_KUBECONFIG"]))


@pytest.fixture(scope="session", autouse=True)
def api_server_for_pods(request: pytest.FixtureRequest) -> Iterator[None]:
    """Forward RESULTSFW_API_FORWARD, an address such as 10.96.0.1:443, to the API server, if it is set."""
    host, _, port = os.environ.get("RESULTSFW_API_FORWARD", "").rpartition(":")
    if not host or "RESULTSFW_KUBECONFIG" not in os.environ:
        yield
        return
    server: ApiServer = request.getfixturevalue("server")
    with Forwarder((host, int(port)), server.address) as forwarder:
        thread = threading.Thread(target=forwarder.serve_forever, daemon=True)
        thread.start()
        yield
        forwarder.shutdown()
        thread.join(10)


@pytest.fixture(scope="session")
def options() -> PodOptions:
    return pod_options()


@pytest.fixture
def name() -> str:
    """A name for a run that nobody else has."""
    return f"t-{uuid.uuid4().hex[:8]}"


@pytest.fixture
def make_place(server: ApiServer, options: PodOptions) -> Iterator[Callable[[], Place]]:
    """Makes namespaces with flags, runs and controllers of their own."""
    made: list[Place] = []

    def make() -> Place:
        made.append(place := Place(server, options, f"t-{uuid.uuid4().hex[:8]}"))
        return place

    yield make
    for place in made:
        place.close()


@pytest.fixture
def place(make_place: Callable[[], Place]) -> Place:
    return make_place()


@pytest.fixture
def tell(record_property: Callable[[str, object], None]) -> Callable[[str], None]:
    """Says something measured beside the test's result."""
    return lambda line: record_property("told", line)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    for report in terminalreporter.getreports("passed") + terminalreporter.getreports("failed"):
        for key, line in getattr(report, "user_properties", ()):
            if key == "told" and report.when == "call":
                terminalreporter.write_line(f"{report.nodeid}: {line}")


@pytest.fixture
def held(place: Place) -> Iterator[Place]:
    """A place that removes the finalizers of its runs at its end, when no controller is left to do it."""
    yield place
    for name in place.runs():
        place.server.patch(TASKRUNS, place.namespace, name, {"metadata": {"finalizers": None}})
