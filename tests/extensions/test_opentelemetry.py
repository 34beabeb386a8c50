"""`opentelemetry`: what it exports of a run; by the SDK's own exporter and by HTTP."""

import gzip
import http.server
import json
import os
import subprocess
import sys
import textwrap
import threading

import pytest
from around import STAMP, Keeper, Mine, around
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import StatusCode

from resultsfw import ExtractedResult, Problem, ProblemCode, Reference, ResultsManager, ResultSpec, Run
from resultsfw.errors import BackendError, UnavailableError
from resultsfw_extensions.opentelemetry import ANNOTATION, OpenTelemetry

RUN = Run(namespace="n", name="r", uid="u", attempt=2, results=(ResultSpec(name="a"), ResultSpec(name="b")))
FOUND = ExtractedResult(name="a", value="hunter2", source="here")
TRACE = "0f57e147e992b304d977436289d10628"
PARENT = json.dumps({"traceparent": f"00-{TRACE}-73d5909e31793992-01"})
STAMPS = {"resultsfw.dev/stamp": "mine/1", "resultsfw.dev/max-result-size": "4096"}
POD = {"metadata": {"name": "p", "annotations": {**STAMPS, ANNOTATION: PARENT}}}
RUNS = {
    "k8s.namespace.name": "n",
    "resultsfw.run.name": "r",
    "resultsfw.run.uid": "u",
    "resultsfw.run.attempt": 2,
}


class Tracing:
    """Spans that have ended."""

    def __init__(self):
        self.exporter = InMemorySpanExporter()
        provider = TracerProvider()
        provider.add_span_processor(SimpleSpanProcessor(self.exporter))
        self.extension = OpenTelemetry(provider)

    def around(self, backend):
        return around(backend, "opentelemetry", self.extension)

    @property
    def spans(self):
        return self.exporter.get_finished_spans()


@pytest.fixture
def tracing():
    return Tracing()


def test_a_collection_is_one_span_under_the_runs_own(tracing):
    core = tracing.around(Mine(FOUND))
    assert core.redacting_extensions == ()
    assert core.collect(RUN, POD, None).ok
    [span] = tracing.spans
    assert span.name == "resultsfw.collect"
    assert dict(span.attributes) == {
        **RUNS,
        "k8s.pod.name": "p",
        "resultsfw.backend": "mine",
        "resultsfw.results.count": 1,
        "resultsfw.results.bytes": 7,
    }
    assert f"{span.context.trace_id:032x}" == TRACE
    assert f"{span.parent.span_id:016x}" == "73d5909e31793992"
    assert span.status.status_code is StatusCode.UNSET
    assert "hunter2" not in span.to_json()


def test_what_did_not_come_whole_is_reported_by_its_codes(tracing):
    tracing.around(Mine(ExtractedResult(name="a", value="hunter2" * 999, source="s"))).collect(RUN, POD, None)
    [span] = tracing.spans
    assert span.attributes["resultsfw.problems"] == ("ResultTooLarge",)
    assert span.attributes["error.type"] == "ResultTooLarge"
    assert span.status.status_code is StatusCode.ERROR
    assert span.status.description is None
    assert "hunter2" not in span.to_json()


@pytest.mark.parametrize(
    ("error", "kind"),
    [(UnavailableError("password"), "Unavailable"), (ConnectionError("password"), "ConnectionError")],
)
def test_a_read_that_failed_is_reported_by_its_kind_and_not_by_its_words(tracing, error, kind):
    core = tracing.around(Mine(error=error))
    with pytest.raises((UnavailableError, BackendError)):
        core.collect(RUN, POD, None)
    [span] = tracing.spans
    assert span.attributes["error.type"] == kind
    assert "password" not in span.to_json()
    core.collect(RUN, POD, None, final=True)
    assert [span.attributes["error.type"] for span in tracing.spans] == [kind, kind, "TransportUnreadable"]


def test_a_read_that_came_too_early_is_reported_with_the_one_that_did_not(tracing):
    core = tracing.around(Mine(FOUND, too_early=True))
    with pytest.raises(UnavailableError):
        core.collect(RUN, POD, None)
    assert tracing.spans == ()
    core.collect(RUN, POD, None, final=True)
    assert len(tracing.spans) == 1


def test_the_verdict_of_another_run_does_not_end_a_span(tracing):
    core = tracing.around(Mine(FOUND, too_early=True))
    with pytest.raises(UnavailableError):
        core.collect(RUN, POD, None)
    problem = Problem(code=ProblemCode.MISSING, message="m")
    tracing.extension.collection_failed(Run(namespace="n", name="other", uid="v"), (problem,))
    assert [span.attributes["resultsfw.run.name"] for span in tracing.spans] == ["other"]


def test_preparing_and_purging(tracing):
    core = tracing.around(Mine())
    pod = POD | {"spec": {"volumes": [{"name": "tekton-internal-results"}]}}
    core.prepare_pod(RUN, pod, cluster=object())
    core.purge(RUN, POD, object())
    assert [span.name for span in tracing.spans] == ["resultsfw.prepare_pod", "resultsfw.purge"]
    assert dict(tracing.spans[1].attributes) == RUNS


def test_a_purge_that_fails(tracing):
    with pytest.raises(UnavailableError):
        tracing.around(Mine(error=UnavailableError("x"))).purge(RUN, POD, object())
    assert tracing.spans[0].attributes["error.type"] == "Unavailable"


DIGEST = "sha256:cd42404d52ad55ccfa9aca4adc828aa5800ad9d385a0671fbcbf724118320619"


@pytest.mark.parametrize("error", [None, LookupError("password")])
def test_a_value_that_is_fetched(tracing, error):
    reference = Reference(backend="mine", location="https://secret/default/uid/n", size=5, digest=DIGEST)
    pieces = tracing.around(Keeper(error=error)).dereference(reference, None)
    assert tracing.spans == ()
    if error is None:
        assert b"".join(pieces) == b"value"
    else:
        with pytest.raises(BackendError):
            list(pieces)
    [span] = tracing.spans
    assert span.attributes["resultsfw.results.bytes"] == 5
    assert span.attributes.get("error.type") == (error and "LookupError")
    assert "secret" not in span.to_json()
    assert "password" not in span.to_json()


def test_a_value_that_is_let_go_halfway_ends_its_span(tracing):
    reference = Reference(backend="mine", location="default/uid/l", size=5, digest=DIGEST)
    pieces = tracing.around(Keeper()).dereference(reference, None)
    next(pieces)
    pieces.close()
    assert len(tracing.spans) == 1


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "null", '{"traceparent": 3}', '{"traceparent": "x"}', "[" * 9999]
)
def test_an_annotation_that_anybody_may_write_breaks_nothing(tracing, text):
    pod = {"metadata": {"name": "p", "annotations": {**STAMPS, ANNOTATION: text}}}
    assert tracing.around(Mine(FOUND)).collect(RUN, pod, None).ok
    assert tracing.spans[0].parent is None


def test_tracing_that_fails_fails_no_run(tracing, caplog):
    tracing.extension._tracer = None
    assert tracing.around(Mine(FOUND)).collect(RUN, POD, None, stamp=STAMP).ok
    assert "no span resultsfw.collect of run n/r" in caplog.text


def test_closing_sends_the_spans_that_wait_and_keeps_the_provider():
    exporter, provider = InMemorySpanExporter(), TracerProvider()
    an_hour = 3_600_000
    provider.add_span_processor(BatchSpanProcessor(exporter, schedule_delay_millis=an_hour))

    class Batched(OpenTelemetry):
        def __init__(self):
            super().__init__(provider)

    try:
        for count in (1, 2):
            register = {"mine": Mine(FOUND)}
            extensions = {"spans": Batched}
            with ResultsManager.from_flags(
                {"results-from": "mine"}, register=register, register_extensions=extensions
            ) as core:
                core.collect(RUN, POD, None, stamp=STAMP)
            assert len(exporter.get_finished_spans()) == count
    finally:
        provider.shutdown()


class Collector(http.server.BaseHTTPRequestHandler):
    """Takes spans over OTLP/HTTP."""

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.headers.get("Content-Encoding") == "gzip":
            body = gzip.decompress(body)
        self.server.got.append((self.path, ExportTraceServiceRequest.FromString(body)))
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_):
        """No words."""


@pytest.fixture
def collector():
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Collector) as server:
        server.got = []
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield server
        server.shutdown()
        thread.join(60)


def run(code, **variables):
    env = {key: value for key, value in os.environ.items() if not key.startswith("OTEL_")}
    return subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)],
        env={**env, "no_proxy": "*", **variables},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


PROGRAM = """
from resultsfw import Capabilities, ExtractedResult, Extraction, ResultsManager, ResultSpec, Run, Stamp
from resultsfw import hookimpl

class Mine:
    capabilities = Capabilities(summary="x")
    prepare_pod = hookimpl(lambda self: 1)
    pod_ready = hookimpl(lambda self: True)
    found = ExtractedResult(name="a", value="hunter2", source="s")
    extract = hookimpl(lambda self: Extraction(results=(self.found,)))

flags = {"results-from": "mine", "extensions": "opentelemetry"}
for _ in range(2):  # as when the flags change: one exporter, not two
    core = ResultsManager.from_flags(flags, register={"mine": Mine})
run = Run(namespace="n", name="r", uid="u", results=(ResultSpec(name="a"),))
core.collect(run, {}, None, stamp=Stamp("mine", 1, 99))
"""


@pytest.mark.slow
def test_spans_go_where_the_variables_say_and_are_there_when_the_process_has_ended(collector):
    endpoint = f"http://127.0.0.1:{collector.server_port}"
    done = run(PROGRAM, OTEL_EXPORTER_OTLP_ENDPOINT=endpoint, OTEL_RESOURCE_ATTRIBUTES="team=x")
    assert done.returncode == 0, done.stderr
    [(path, request)] = collector.got
    assert path == "/v1/traces"
    [resource] = request.resource_spans
    attributes = {attribute.key: attribute.value.string_value for attribute in resource.resource.attributes}
    assert (attributes["service.name"], attributes["team"]) == ("resultsfw", "x")
    [span] = resource.scope_spans[0].spans
    assert span.name == "resultsfw.collect"
    assert b"hunter2" not in request.SerializeToString()


@pytest.mark.slow
def test_the_services_name_and_the_exporter_are_the_operators():
    done = run(PROGRAM, OTEL_TRACES_EXPORTER="console", OTEL_SERVICE_NAME="mine")
    assert json.loads(done.stdout)["resource"]["attributes"]["service.name"] == "mine"
    assert run(PROGRAM, OTEL_TRACES_EXPORTER="none").returncode == 0
    refused = run(PROGRAM, OTEL_TRACES_EXPORTER="zipkin")
    assert (
        'cannot be used: LookupError: no exporter "zipkin" is installed (installed: console' in refused.stderr
    )
    grpc = run(PROGRAM, OTEL_EXPORTER_OTLP_PROTOCOL="grpc")
    assert 'no exporter "otlp_proto_grpc" is installed' in grpc.stderr


@pytest.mark.slow
def test_a_collector_that_is_away_holds_no_run_up():
    away = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1", "OTEL_EXPORTER_OTLP_TIMEOUT": "1"}
    assert run(PROGRAM + "print(core.flags.results_from)", **away).stdout == "mine\n"
