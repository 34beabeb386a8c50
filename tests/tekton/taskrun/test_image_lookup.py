"""A run whose images are looked up waits, goes on when they are there, and says why if they never are."""

import pytest
from taskrun_harness import TaskRunHarness

from resultsfw.errors import ForbiddenError, UnavailableError
from resultsfw.local.store import Store
from resultsfw.tekton.api.kinds import SECRETS, SERVICE_ACCOUNTS
from resultsfw.tekton.pod.image_commands import ImageCommand, ImageCommands
from resultsfw.tekton.taskrun.image_lookup import MOST_PULL_SECRETS, ImageLookupError, read_pull_secrets
from resultsfw.tekton.taskrun.reconciler import Reconciler
from resultsfw.tekton.taskrun.service_accounts import AccountSecrets

IMAGES = {"i:1": ImageCommands("i@sha256:0", {"linux/amd64": ImageCommand(("/e",))})}


class Lookup(TaskRunHarness):
    """A run whose Step has no command; what its lookup answers is up to the test."""

    def __init__(self, **spec):
        super().__init__()
        self.answer, self.requests = None, []
        self.reconciler = Reconciler(self.reconciler.core, self.cluster, clock=self.clock, images=self)
        self.submit(taskSpec={"steps": [{"name": "build", "image": "i:1"}]}, **spec)

    def look_up(self, request):
        self.requests.append(request)
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


def secret(name):
    return {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name, "namespace": "default"}}


def test_a_run_waits_for_its_images_and_goes_on():
    harness = Lookup()
    assert 0 < harness.reconcile() <= 10
    assert harness.condition["status"] == "Unknown"
    assert harness.condition["message"] == 'looking up the command of image "i:1" in its registry'
    assert harness.taskrun["status"]["podName"] == ""
    harness.answer = IMAGES
    harness.reconcile()
    assert harness.pod()["spec"]["containers"][0]["image"] == "i@sha256:0"
    first, second = harness.requests
    assert (first.key, first.images, first.run) == (second.key, ("i:1",), ("default", "run"))


def test_a_run_that_waits_ends_with_its_timeout():
    harness = Lookup(timeout="5s")
    assert harness.reconcile() <= 6
    harness.clock.forward(7)
    harness.reconcile()
    assert harness.condition["reason"] == "TaskRunTimeout"


def test_an_image_that_cannot_be_looked_up_ends_the_run_as_in_tekton():
    harness = Lookup()
    harness.answer = ImageLookupError('the command of image "i:1" could not be looked up: 404')
    harness.reconcile()
    assert harness.condition["reason"] == "PodCreationFailed"
    assert harness.condition["message"] == (
        'failed to create task run pod "run": translating TaskSpec to Pod: '
        'the command of image "i:1" could not be looked up: 404. Maybe invalid TaskSpec'
    )


def test_pull_secrets_that_cannot_be_read_now_are_tried_again():
    harness = Lookup()
    harness.answer = UnavailableError("later")
    with pytest.raises(UnavailableError):
        harness.reconcile()
    assert "later" in harness.condition["message"]


def test_secrets_of_the_pod_template_and_of_the_account_are_read():
    harness = Lookup(
        serviceAccountName="bot", podTemplate={"imagePullSecrets": [{"name": "own"}, {"name": "gone"}]}
    )
    account = {"apiVersion": "v1", "kind": "ServiceAccount"}
    account["metadata"] = {"name": "bot", "namespace": "default"}
    Store.create(
        harness.cluster, SERVICE_ACCOUNTS, account | {"imagePullSecrets": [{"name": "bots"}, {}, None]}
    )
    for name in ("own", "bots"):
        Store.create(harness.cluster, SECRETS, secret(name))
    harness.reconcile()
    secrets, note = harness.requests[0].read_secrets()
    assert [found["metadata"]["name"] for found in secrets] == ["own", "bots"]
    assert note == ""


def test_without_the_right_to_read_them_the_look_up_goes_on_and_says_so(monkeypatch):
    def forbidden(*_):
        raise ForbiddenError("no right")

    cluster = Store()
    monkeypatch.setattr(cluster, "get", forbidden)
    assert read_pull_secrets(cluster, "ns", forbidden, ["s"]) == (
        [],
        "; the controller may not read the pull secrets: no right",
    )


def test_pull_secrets_are_bounded():
    harness = TaskRunHarness()
    names = [f"s{number}" for number in range(1000)]
    read_pull_secrets(harness.cluster, "default", lambda: AccountSecrets((), ()), names)
    assert harness.cluster.calls.count(("get", "Secret")) == MOST_PULL_SECRETS
