"""Extension ``opentelemetry``: create spans for what backends do with a run, and for its results.

OpenTelemetry's own variables configure it (``OTEL_EXPORTER_OTLP_ENDPOINT``, ``OTEL_SERVICE_NAME``, ...);
if the program has set up tracing already, that is used. Spans have names, counts, bytes and codes, but never
a value and never the message of an error. A failure of tracing fails no run.
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
"""Annotation of a TaskRun and its pod with the span they belong to, as JSON of the W3C headers (Tekton's
pkg/reconciler/taskrun/tracing.go)."""

_FLUSH_MILLISECONDS: Final = 4000

_EXPORTERS: Final = {"http/protobuf": "otlp_proto_http", "grpc": "otlp_proto_grpc"}


class OpenTelemetry:
    """Wrap the hooks of every backend, and observe verdicts.

    Args:
        provider: Exports the spans; by default the program's provider, or a provider that the variables
            configure.
    """

    changes_results = False

    def __init__(self, provider: trace.TracerProvider | None = None) -> None:
        self._provider = provider or _provider()
        self._tracer = self._provider.get_tracer("resultsfw")
        self._open = threading.local()

    @hookimpl(wrapper=True)
    def prepare_pod(self, run: Run, pod: Object) -> Generator[None, int, int]:
        """Create a span for each prepared pod."""
        with self._span("resultsfw.prepare_pod", run, pod):
            return (yield)

    @hookimpl(wrapper=True)
    def extract(self, run: Run, pod: Object) -> Generator[None, Extraction, Extraction]:
        """Start the span of a collection, which the verdict ends. A read that is too early leaves no span."""
        self._open.collection = None
        span = self._start("resultsfw.collect", run, pod)
        try:
            extraction = yield
        except Exception as error:
            _fail(span, error)
            span.end()
            raise
        self._open.collection = (run.uid, run.attempt, span)
        return extraction

    @hookimpl
    def results_collected(self, run: Run, collected: CollectionOutcome) -> None:
        """End the span of a collection without problems."""
        step_results = [result for results in collected.step_results.values() for result in results]
        results = [*collected.results, *step_results]
        span = self._collection(run)
        span.set_attributes(
            {
                "resultsfw.results.count": len(results),
                "resultsfw.results.bytes": sum(result.size for result in results),
            }
        )
        span.end()

    @hookimpl
    def collection_failed(self, run: Run, problems: tuple[Problem, ...]) -> None:
        """End the span of a collection with problems."""
        span = self._collection(run)
        codes = list(dict.fromkeys(str(problem.code) for problem in problems))
        span.set_attributes({"resultsfw.problems": codes, "error.type": codes[0]})
        span.set_status(StatusCode.ERROR)
        span.end()

    @hookimpl(wrapper=True)
    def dereference(self, reference: Reference) -> Generator[None, Iterable[bytes], Iterable[bytes]]:
        """Create a span for each fetched value, until its last byte."""
        return self._pieces(reference, (yield))

    @hookimpl(wrapper=True)
    def purge(self, run: Run) -> Generator[None, Any, Any]:
        """Create a span for each purge."""
        with self._span("resultsfw.purge", run):
            return (yield)

    @hookimpl
    def close(self) -> None:
        """Send the spans that wait. The provider is the process's, and serves the next instance, too."""
        if isinstance(self._provider, TracerProvider):  # another kind may have nothing to send
            self._provider.force_flush(_FLUSH_MILLISECONDS)

    def _collection(self, run: Run) -> Span:
        """Return the span that `extract` started for this run on this thread, or a new one."""
        collection, self._open.collection = getattr(self._open, "collection", None), None
        if collection is not None and collection[:2] == (run.uid, run.attempt):
            span: Span = collection[2]
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
        """Start a span about a run; if that fails, return a span that is not exported."""
        try:
            attributes: dict[str, str | int] = {
                "k8s.namespace.name": run.namespace,
                "resultsfw.run.name": run.name,
                "resultsfw.run.uid": run.uid,
                "resultsfw.run.attempt": run.attempt,
            }
            if pod:
                attributes |= _pod_attributes(pod)
            return self._tracer.start_span(name, _parent(pod or {}), attributes=attributes)
        except Exception:
            log.exception("no span %s of run %s/%s", name, run.namespace, run.name)
            return trace.INVALID_SPAN


def _pod_attributes(pod: Object) -> Mapping[str, str]:
    attributes = {"k8s.pod.name": str(pod.get("metadata", {}).get("name", ""))}
    try:
        stamp = read_stamp(pod)
    except ResultsError:  # the stamp was edited; the core reports it
        return attributes
    return attributes if stamp is None else {**attributes, "resultsfw.backend": stamp.backend}


def _parent(pod: Object) -> Context | None:
    """Return the context of the span that the annotation names; it is untrusted text."""
    text = (pod.get("metadata", {}).get("annotations") or {}).get(ANNOTATION)
    try:
        carrier = json.loads(text) if text else None
    except (TypeError, ValueError, RecursionError):
        return None
    if not isinstance(carrier, dict) or not all(isinstance(header, str) for header in carrier.values()):
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
    """Mark a span as failed, with the type of the error only: its message may quote a value."""
    span.set_attribute("error.type", error.code if isinstance(error, ResultsError) else type(error).__name__)
    span.set_status(StatusCode.ERROR)


@functools.cache
def _provider() -> trace.TracerProvider:
    """Return the provider of the process: new flags create a new extension, but no second thread."""
    current = trace.get_tracer_provider()
    if isinstance(current, TracerProvider):
        return current
    has_name = "OTEL_SERVICE_NAME" in os.environ or "service.name=" in os.environ.get(
        "OTEL_RESOURCE_ATTRIBUTES", ""
    )
    provider = TracerProvider(resource=Resource.create({} if has_name else {"service.name": "resultsfw"}))
    for name in os.environ.get("OTEL_TRACES_EXPORTER", "otlp").split(","):
        if (name := name.strip()) not in ("", "none"):
            provider.add_span_processor(BatchSpanProcessor(_exporter(name)))
    return provider


def _exporter(name: str) -> Any:
    """Return the exporter that is registered with OpenTelemetry under that name."""
    if name == "otlp":
        general = os.environ.get("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf")
        protocol = os.environ.get("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", general)
        name = _EXPORTERS.get(protocol, protocol)
    points = metadata.entry_points(group="opentelemetry_traces_exporter")
    if name not in points.names:
        installed = ", ".join(sorted(points.names))
        raise LookupError(
            f'no exporter "{name}" is installed (installed: {installed}); see OTEL_TRACES_EXPORTER'
        )
    return points[name].load()()
