"""Extension ``opentelemetry``: a span for what a backend does with a run, and what came of its results.

It is set up by OpenTelemetry's own variables (``OTEL_EXPORTER_OTLP_ENDPOINT``, ``OTEL_SERVICE_NAME``, ...);
where the program around it has set up tracing already, that is used. Spans carry names, counts, bytes and
codes, never a value, and never the words of an error. Tracing that fails fails no run.
"""

import functools
import json
import logging
import os
import threading
from collections.abc import Generator, Iterable, Iterator, Mapping
from contextlib import contextmanager
from importlib import metadata
from typing import Any, Final

from resultsfw import CollectionOutcome, Extraction, Object, Problem, Reference, Run, hookimpl, read_stamp
from resultsfw.errors import ResultsError

try:
    from opentelemetry import trace
    from opentelemetry.context import Context
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor
    from opentelemetry.trace import Span, StatusCode
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
except ImportError as error:
    raise ImportError('it needs OpenTelemetry: pip install "resultsfw[otel]"') from error

__all__ = ["OpenTelemetry"]

log = logging.getLogger(__name__)

ANNOTATION: Final = "tekton.dev/taskrunSpanContext"
"""On a TaskRun, and so on its pod: the span it belongs to, as JSON of the W3C headers (Tekton's
pkg/reconciler/taskrun/tracing.go)."""

_EXPORTERS: Final = {"http/protobuf": "otlp_proto_http", "grpc": "otlp_proto_grpc"}


class OpenTelemetry:
    """Around the hooks of every backend, and an observer of verdicts.

    Args:
        provider: Where spans go; by default where the program has them go, or the variables.
    """

    changes_results = False

    def __init__(self, provider: trace.TracerProvider | None = None) -> None:
        self._tracer = (provider or _provider()).get_tracer("resultsfw")
        self._open = threading.local()

    @hookimpl(wrapper=True)
    def prepare_pod(self, run: Run, pod: Object) -> Generator[None, int, int]:
        """One span a pod that is prepared."""
        with self._span("resultsfw.prepare_pod", run, pod):
            return (yield)

    @hookimpl(wrapper=True)
    def extract(self, run: Run, pod: Object) -> Generator[None, Extraction, Extraction]:
        """Begins the span of a collection, which the verdict ends. A read that came too early is dropped."""
        self._open.held = None
        span = self._start("resultsfw.collect", run, pod)
        try:
            extraction = yield
        except Exception as error:
            _fail(span, error)
            span.end()
            raise
        self._open.held = (run.uid, run.attempt, span)
        return extraction

    @hookimpl
    def results_collected(self, run: Run, collected: CollectionOutcome) -> None:
        """The end of a collection in which all came whole."""
        results = [*collected.results, *(one for some in collected.step_results.values() for one in some)]
        span = self._collection(run)
        span.set_attributes(
            {
                "resultsfw.results.count": len(results),
                "resultsfw.results.bytes": sum(one.size for one in results),
            }
        )
        span.end()

    @hookimpl
    def collection_failed(self, run: Run, problems: tuple[Problem, ...]) -> None:
        """The end of one in which something did not."""
        span = self._collection(run)
        codes = list(dict.fromkeys(str(one.code) for one in problems))
        span.set_attributes({"resultsfw.problems": codes, "error.type": codes[0]})
        span.set_status(StatusCode.ERROR)
        span.end()

    @hookimpl(wrapper=True)
    def dereference(self, reference: Reference) -> Generator[None, Iterable[bytes], Iterable[bytes]]:
        """One span a value that is fetched, until its last byte."""
        return self._pieces(reference, (yield))

    @hookimpl(wrapper=True)
    def purge(self, run: Run) -> Generator[None, Any, Any]:
        """One span a run whose leftovers are removed."""
        with self._span("resultsfw.purge", run):
            return (yield)

    def _collection(self, run: Run) -> Span:
        """The span that `extract` began for this run on this thread; a new one where there is none."""
        held, self._open.held = getattr(self._open, "held", None), None
        if held is not None and held[:2] == (run.uid, run.attempt):
            span: Span = held[2]
            return span
        return self._start("resultsfw.collect", run)

    def _pieces(self, reference: Reference, pieces: Iterable[bytes]) -> Iterator[bytes]:
        span = self._tracer.start_span("resultsfw.dereference")
        span.set_attributes(
            {"resultsfw.backend": reference.backend, "resultsfw.results.bytes": reference.size}
        )
        with _ending(span):
            yield from pieces

    @contextmanager
    def _span(self, name: str, run: Run, pod: Object | None = None) -> Iterator[None]:
        with _ending(self._start(name, run, pod)):
            yield

    def _start(self, name: str, run: Run, pod: Object | None = None) -> Span:
        """A span about a run, or one that goes nowhere."""
        try:
            attributes: dict[str, str | int] = {
                "k8s.namespace.name": run.namespace,
                "resultsfw.run.name": run.name,
                "resultsfw.run.uid": run.uid,
                "resultsfw.run.attempt": run.attempt,
            }
            told = _of_pod(pod) if pod else {}
            return self._tracer.start_span(name, _parent(pod or {}), attributes={**attributes, **told})
        except Exception:
            log.exception("no span %s of run %s/%s", name, run.namespace, run.name)
            return trace.INVALID_SPAN


def _of_pod(pod: Object) -> Mapping[str, str]:
    told = {"k8s.pod.name": str(pod.get("metadata", {}).get("name", ""))}
    try:
        stamp = read_stamp(pod)
    except ResultsError:  # it was edited; the core says so
        return told
    return told if stamp is None else {**told, "resultsfw.backend": stamp.backend}


def _parent(pod: Object) -> Context | None:
    """The span that a run's annotation names; anybody may write one."""
    text = (pod.get("metadata", {}).get("annotations") or {}).get(ANNOTATION)
    try:
        carrier = json.loads(text) if text else None
    except (TypeError, ValueError, RecursionError):
        return None
    if not isinstance(carrier, dict) or not all(isinstance(one, str) for one in carrier.values()):
        return None
    return TraceContextTextMapPropagator().extract(carrier)


@contextmanager
def _ending(span: Span) -> Iterator[None]:
    try:
        yield
    except Exception as error:
        _fail(span, error)
        raise
    finally:
        span.end()


def _fail(span: Span, error: Exception) -> None:
    """Mark a span as failed, by the kind of the error: its words may quote a value."""
    span.set_attribute("error.type", error.code if isinstance(error, ResultsError) else type(error).__name__)
    span.set_status(StatusCode.ERROR)


@functools.cache
def _provider() -> trace.TracerProvider:
    """One for the process: new flags make a new extension, and need no second thread that exports."""
    current = trace.get_tracer_provider()
    if isinstance(current, TracerProvider):
        return current
    named = "OTEL_SERVICE_NAME" in os.environ or "service.name=" in os.environ.get(
        "OTEL_RESOURCE_ATTRIBUTES", ""
    )
    provider = TracerProvider(resource=Resource.create({} if named else {"service.name": "resultsfw"}))
    for name in os.environ.get("OTEL_TRACES_EXPORTER", "otlp").split(","):
        if (name := name.strip()) not in ("", "none"):
            provider.add_span_processor(BatchSpanProcessor(_exporter(name)))
    return provider


def _exporter(name: str) -> Any:
    """The exporter of that name, as OpenTelemetry registers it."""
    if name == "otlp":
        general = os.environ.get("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf")
        protocol = os.environ.get("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", general)
        name = _EXPORTERS.get(protocol, protocol)
    points = metadata.entry_points(group="opentelemetry_traces_exporter")
    if name not in points.names:
        there = ", ".join(sorted(points.names))
        raise LookupError(f'no exporter "{name}" is installed (there are: {there}); see OTEL_TRACES_EXPORTER')
    return points[name].load()()
