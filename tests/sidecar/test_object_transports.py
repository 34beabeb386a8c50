"""What the transports into a RunResult and into a TaskRun send, and what they say of a server that refuses.

What they share with the transport by ConfigMap, ``test_config_map_transport`` tests.
"""

import json
from types import SimpleNamespace

import pytest

from resultsfw_sidecar import wire
from resultsfw_sidecar.output import OutputError
from resultsfw_sidecar.settings import Environment, SettingsError
from resultsfw_transports import api_object, run_result, task_run

DENIED = 'runresults.resultsfw.dev "theirs" is forbidden: ValidatingAdmissionPolicy denied request: not you'


class Stop:
    """Nobody asks to stop, and no wait takes time."""

    requested = False

    def wait(self, *_):
        pass


class Server:
    """Gives one answer for ever."""

    def __init__(self, status, answer):
        self.answer = status, json.dumps(answer).encode()
        self.asked = []

    def ask(self, method, path, body=None, **_):
        self.asked.append((method, path, json.loads(body)))
        return self.answer


def variables(module, folder):
    for name, text in (("token", "t"), ("namespace", "ns"), ("ca.crt", "")):
        (folder / name).write_text(text)
    found = {
        module.ENV_NAME: "theirs",
        api_object.ENV_ACCOUNT: str(folder),
        api_object.ENV_SCHEME: "http",
        "KUBERNETES_SERVICE_HOST": "::1",
        "KUBERNETES_SERVICE_PORT": "443",
        wire.ENV_POD_UID: "pod-uid",
        task_run.ENV_PREFIX: "results.resultsfw.dev/1.",
        task_run.ENV_ROOM: "100",
        wire.ENV_WIRE: "1",
    }
    return {name.encode(): value.encode() for name, value in found.items()}


def opened(module, folder, server):
    transport = module.Transport()
    transport.open(Environment(variables(module, folder), transport.ceiling), Stop())
    transport._server = server
    for name, value in (("digest", b"d"), ("bytes", b"\1" * 40)):
        record = transport.collect(
            SimpleNamespace(name=name, of="task", read=lambda _limit, value=value: value)
        )
        transport.output.line(record)
    end = wire.end_line("pod-uid", transport.output.count, transport.output.digest, wire.WHY_STEPS_DONE)
    transport.output.line([end])
    return transport


def test_a_run_result_gets_its_status_in_one_patch(tmp_path):
    server = Server(200, {})
    transport = opened(run_result, tmp_path, server)
    assert transport.deliver() == api_object.proof(transport.output.data)
    [(method, path, body)] = server.asked
    assert (method, path) == (
        "PATCH",
        "/apis/resultsfw.dev/v1alpha1/namespaces/ns/runresults/theirs/status",
    )
    assert body == {
        "status": {
            "podUid": "pod-uid",
            "records": transport.output.data.decode(),
            "texts": {"digest": "d"},
            "encoded": {"bytes": "AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQ=="},
        }
    }


def test_a_taskrun_gets_annotations_of_its_attempt_in_one_patch(tmp_path):
    server = Server(200, {})
    transport = opened(task_run, tmp_path, server)
    assert transport.deliver() == api_object.proof(transport.output.data)
    [(method, path, body)] = server.asked
    assert (method, path) == ("PATCH", "/apis/tekton.dev/v1/namespaces/ns/taskruns/theirs/status")
    assert body == {
        "status": {
            "annotations": {
                "results.resultsfw.dev/1.records": transport.output.data.decode(),
                "results.resultsfw.dev/1.text.digest": "d",
                "results.resultsfw.dev/1.base64.bytes": (
                    "AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQ=="
                ),
            }
        }
    }
    assert transport._environment.max_run_size == 100  # what its TaskRun has room for


@pytest.mark.parametrize("status", [403, 422])
def test_a_policy_that_refuses_is_told_in_its_words(tmp_path, monkeypatch, status):
    monkeypatch.setattr(api_object, "_SETTLING", 0.0)
    transport = opened(run_result, tmp_path, Server(status, {"message": DENIED}))
    with pytest.raises(OutputError) as raised:
        transport.deliver()
    assert str(raised.value) == f"RunResult theirs: HTTP {status}: {DENIED}"


@pytest.mark.parametrize(
    ("module", "name"),
    [
        (run_result, run_result.ENV_NAME),
        (run_result, wire.ENV_POD_UID),
        (task_run, task_run.ENV_NAME),
        (task_run, task_run.ENV_PREFIX),
        (task_run, task_run.ENV_ROOM),
    ],
)
def test_a_variable_that_is_missing_or_no_number_is_named(tmp_path, module, name):
    given = variables(module, tmp_path)
    del given[name.encode()]
    with pytest.raises(SettingsError, match=f"{name} is not set"):
        module.Transport().open(Environment(given), Stop())
    if name == task_run.ENV_ROOM:
        with pytest.raises(SettingsError, match=f"{name}: invalid literal"):
            module.Transport().open(Environment({**given, name.encode(): b"x"}), Stop())
