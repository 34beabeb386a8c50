"""Resolvers of the local engine: what they find, what they refuse, and that nothing is fetched unasked."""

import base64
import hashlib
import subprocess
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from resultsfw import ResultsManager
from resultsfw.local.engine import Engine
from resultsfw.local.fetching import FetchError, Git, fetch_http
from resultsfw.local.resolvers import Resolvers, refusal_of
from resultsfw.local.store import Store
from resultsfw.tekton.api.conditions import succeeded
from resultsfw.tekton.api.kinds import RESOLUTION_REQUESTS, TASKS
from resultsfw.tekton.pipelinerun.reconciler import PipelineReconciler
from resultsfw.tekton.taskrun.reconciler import Reconciler

TASK = """apiVersion: tekton.dev/v1beta1
kind: Task
metadata: {name: greet, labels: {team: a}}
spec:
  params: [{name: who}]
  results: [{name: text}]
  steps:
  - {name: say, image: busybox, script: "printf 'hello %s' '$(params.who)' > $(results.text.path)"}
"""

HOST = "{name: v, hostPath: {path: /}}"


@pytest.fixture
def site():
    """A URL below which a few files are served."""
    answers = {
        "/task.yaml": (200, TASK.encode()),
        "/host.yaml": (
            200,
            TASK.replace("spec:", "spec:\n  volumes: [{name: v, hostPath: {path: /}}]").encode(),
        ),
        "/large": (200, b"x" * 1_600_000),
        "/file": (302, b"file:///etc/passwd"),
        "/moved": (302, b"/task.yaml"),
    }

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            status, body = answers.get(self.path, (404, b""))
            self.send_response(status)
            if status == 302:
                self.send_header("Location", body.decode())
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join(10)


@pytest.fixture
def repository(tmp_path):
    """A git repository with one commit."""
    folder = tmp_path / "repository"
    (folder / "tasks").mkdir(parents=True)
    (folder / "tasks" / "task.yaml").write_text(TASK)
    (folder / "large").write_bytes(b"x" * 1_600_000)

    def git(*words):
        name = ("-c", "user.name=a", "-c", "user.email=a@example.com", "-c", "init.defaultBranch=main")
        done = subprocess.run(["git", *name, "-C", folder, *words], check=True, capture_output=True)
        return done.stdout.decode().strip()

    git("init", "--quiet")
    git("add", ".")
    git("commit", "--quiet", "-m", "a")
    return f"file://{folder}", git("rev-parse", "HEAD")


def test_a_url_is_fetched_and_its_digest_recorded(site):
    for path in ("/task.yaml", "/moved"):
        found = fetch_http({"url": site + path})
        assert found.content == TASK.encode()
        assert found.source == {
            "uri": site + path,
            "digest": {"sha256": hashlib.sha256(TASK.encode()).hexdigest()},
        }


@pytest.mark.parametrize(
    ("path", "why"),
    [
        ("/none", "is not found"),
        ("/large", "over 1572864 bytes"),
        ("/file", "error fetching URL|status 302|unknown url type|redirect"),
    ],
)
def test_a_url_that_is_no_document_is_refused(site, path, why):
    with pytest.raises(FetchError, match=why):
        fetch_http({"url": site + path})


@pytest.mark.parametrize("url", ["file:///etc/passwd", "", "ftp://a/b"])
def test_only_http_is_fetched(url):
    with pytest.raises(FetchError, match="must begin with http"):
        fetch_http({"url": url})


def test_a_file_of_a_repository_is_fetched_by_branch_and_by_commit(repository):
    url, commit = repository
    for revision in ("main", commit):
        params = {"url": url, "revision": revision, "pathInRepo": "/tasks/task.yaml"}
        found = Git().fetch(params)
        assert found.content == TASK.encode()
        assert found.source == {
            "uri": f"git+{url}",
            "digest": {"sha1": commit},
            "entryPoint": "tasks/task.yaml",
        }


@pytest.mark.parametrize(
    ("params", "why"),
    [
        ({"pathInRepo": "none"}, "git: "),
        ({"pathInRepo": "large"}, "1600000 bytes, over the limit"),
        ({"pathInRepo": "tasks"}, "git: "),
        ({"revision": "none"}, "git: "),
        ({"revision": "--upload-pack=touch"}, "invalid git resolver param: revision"),
        ({"url": "-x"}, "invalid git resolver param: url"),
        ({"url": "ext::sh -c touch% /tmp/x"}, "git: .*not allowed"),
    ],
)
def test_what_git_does_not_find_or_must_not_do_is_refused(repository, params, why):
    given = {"url": repository[0], "revision": "main", "pathInRepo": "tasks/task.yaml", **params}
    with pytest.raises(FetchError, match=why):
        Git().fetch(given)


def test_git_is_not_started_after_the_end(repository):
    git = Git()
    git.stop()
    with pytest.raises(FetchError, match="stopped"):
        git.fetch({"url": repository[0], "pathInRepo": "large"})


def test_only_what_was_allowed_fetches():
    assert refusal_of("cluster", ()) == ""
    assert refusal_of("http", ("http",)) == ""
    assert "--resolver git" in refusal_of("git", ("http",))
    assert "no resolver" in refusal_of("bundles", ("git", "http"))


def answered(resolver, params, allowed=()):
    """The status of a request once it is answered."""
    store = Store()
    store.create(
        TASKS,
        {
            "apiVersion": "tekton.dev/v1",
            "kind": "Task",
            "metadata": {"name": "t", "namespace": "n"},
            "spec": {"steps": []},
        },
    )
    watch = store.watch(RESOLUTION_REQUESTS)
    request = store.create(
        RESOLUTION_REQUESTS,
        {
            "apiVersion": "resolution.tekton.dev/v1beta1",
            "kind": "ResolutionRequest",
            "metadata": {"name": "r", "namespace": "n", "labels": {"resolution.tekton.dev/type": resolver}},
            "spec": {"params": [{"name": name, "value": value} for name, value in params.items()]},
        },
    )
    resolvers = Resolvers(store, allowed)
    resolvers.submit(request)
    answer = next(obj["status"] for change, obj in watch if change == "MODIFIED")
    resolvers.stop()
    return answer


def test_the_cluster_resolver_reads_the_store():
    answer = answered("cluster", {"kind": "task", "name": "t", "namespace": "n"})
    assert succeeded({"status": answer})["status"] == "True"
    assert b'"name": "t"' in base64.b64decode(answer["data"])
    assert answer["refSource"]["uri"].startswith("/apis/tekton.dev/v1/namespaces/n/task/t@")


@pytest.mark.parametrize(
    ("resolver", "params", "why"),
    [
        ("cluster", {"kind": "task", "name": "none", "namespace": "n"}, 'tasks.tekton.dev "none" not found'),
        ("cluster", {"kind": "secret", "name": "t", "namespace": "n"}, "unknown or invalid resource kind"),
        ("cluster", {"name": "t"}, "missing required cluster resolver params"),
        ("http", {"url": "http://127.0.0.1:1"}, "--resolver http"),
        ("git", {"url": "a", "org": "b"}, 'param "org" is not supported'),
        ("git", {"url": ["a"]}, "must be texts"),
        ("hub", {}, "no resolver"),
    ],
)
def test_a_request_that_is_not_answered_says_why(resolver, params, why):
    verdict = succeeded({"status": answered(resolver, params, allowed=["git"])})
    assert verdict["status"] == "False"
    assert why in verdict["message"]


def test_what_was_fetched_mounts_no_folder_of_this_machine(site):
    verdict = succeeded({"status": answered("http", {"url": f"{site}/host.yaml"}, allowed=["http"])})
    assert verdict["status"] == "False"
    assert "spec.volumes[0].hostPath is refused" in verdict["message"]


@pytest.mark.slow
def test_a_pipeline_whose_tasks_come_from_resolvers_runs(site, repository):
    """By URL, from git and from the store, with a result from one to the next."""
    refs = {
        "a": ("http", {"url": f"{site}/$(params.file)"}),
        "b": ("git", {"url": repository[0], "pathInRepo": "tasks/task.yaml"}),
        "c": ("cluster", {"kind": "task", "name": "greet", "namespace": "$(context.pipelineRun.namespace)"}),
    }
    tasks, who = [], "me"
    for name, (resolver, params) in refs.items():
        given = [{"name": key, "value": value} for key, value in params.items()]
        tasks.append(
            {
                "name": name,
                "taskRef": {"resolver": resolver, "params": given},
                "params": [{"name": "who", "value": who}],
            }
        )
        who = f"$(tasks.{name}.results.text)"
    step = {"name": "say", "image": "i", "script": "printf 'bye %s' '$(params.who)' > $(results.text.path)"}
    local = {"params": [{"name": "who"}], "results": [{"name": "text"}], "steps": [step]}
    core = ResultsManager.from_flags({"results-from": "sidecar-logs"})
    engine = Engine(
        lambda cluster: Reconciler(core, cluster),
        pipelines=lambda cluster: PipelineReconciler(core, cluster),
        resolvers=["git", "http"],
    )
    with engine:
        metadata = {"name": "greet", "namespace": "default"}
        engine.submit({"apiVersion": "tekton.dev/v1", "kind": "Task", "metadata": metadata, "spec": local})
        engine.submit(
            {
                "apiVersion": "tekton.dev/v1",
                "kind": "PipelineRun",
                "metadata": {"name": "p", "namespace": "default"},
                "spec": {
                    "params": [{"name": "file", "value": "task.yaml"}],
                    "pipelineSpec": {
                        "params": [{"name": "file"}],
                        "tasks": tasks,
                        "results": [{"name": "out", "value": who}],
                    },
                },
            }
        )
        (run,) = engine.run_until_done(120)
    assert succeeded(run)["status"] == "True", succeeded(run)["message"]
    assert run["status"]["results"] == [{"name": "out", "value": "bye hello hello me"}]
