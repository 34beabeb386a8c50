"""Write the Grafana dashboard of config/monitoring: `.venv/bin/python tests/monitoring/make_dashboard.py`."""

import json
import textwrap
from pathlib import Path
from typing import Final, NamedTuple

FOLDER: Final = Path(__file__).parents[2] / "config" / "monitoring"
DASHBOARD: Final = FOLDER / "dashboards" / "resultsfw.json"
CONFIG_MAP: Final = FOLDER / "dashboard.yaml"

SOURCE: Final = {"type": "prometheus", "uid": "${datasource}"}
JOB: Final = 'job=~"$job"'
RATE: Final = "$__rate_interval"


class Panel(NamedTuple):
    """A panel.

    Attributes:
        title: Above it.
        unit: Of Grafana: "s", "ops", "bytes", "percentunit", "short", ...
        queries: Each an expression and the legend of its series.
        help: What it means, and what is normal.
        kind: Of Grafana: "timeseries" or "stat".
    """

    title: str
    unit: str
    queries: tuple[tuple[str, str], ...]
    help: str
    kind: str = "timeseries"


def rate(metric, by="", where=""):
    """The rate of a counter, summed by labels."""
    selector = f"{JOB},{where}" if where else JOB
    return f"sum{f' by ({by})' if by else ''} (rate({metric}{{{selector}}}[{RATE}]))"


def gauge(metric, by="", fold="max"):
    """A gauge, folded by labels."""
    return f"{fold}{f' by ({by})' if by else ''} ({metric}{{{JOB}}})"


def quantiles(metric, by="", legend=""):
    """Median and 95th percentile of a histogram."""
    labels = f"le, {by}" if by else "le"
    buckets = rate(f"{metric}_bucket", labels)
    return tuple(
        (f"histogram_quantile({part}, {buckets})", f"{legend} {name}".strip())
        for part, name in ((0.5, "median"), (0.95, "95 %"))
    )


def finished(outcome):
    """How many TaskRuns finished in the time shown."""
    return f'sum (increase(resultsfw_taskrun_duration_seconds_count{{{JOB},outcome=~"{outcome}"}}[$__range]))'


ROWS: Final = {
    "Overview": (
        Panel(
            "Leaders",
            "short",
            ((gauge("resultsfw_is_leader", fold="sum"), "leaders"),),
            "1: one replica reconciles. 0: none does, and every run waits.",
            "stat",
        ),
        Panel(
            "TaskRuns not finished",
            "short",
            ((gauge("resultsfw_running_taskruns"), "TaskRuns"),),
            "As the leader's cache has them.",
            "stat",
        ),
        Panel(
            "PipelineRuns not finished",
            "short",
            ((gauge("resultsfw_running_pipelineruns"), "PipelineRuns"),),
            "As the leader's cache has them.",
            "stat",
        ),
        Panel(
            "TaskRuns that succeeded",
            "percentunit",
            ((f"{finished('succeeded')} / {finished('.*')}", "succeeded"),),
            "Of those that finished in the time shown.",
            "stat",
        ),
        Panel(
            "Rejected flags",
            "short",
            (
                (gauge("resultsfw_flags_rejected"), "rejected"),
                (gauge("resultsfw_flags_doubtful"), "doubtful"),
            ),
            "1: the last edit of feature-flags has no effect. Doubtful: warnings about the edit in effect.",
            "stat",
        ),
        Panel(
            "Unreadable or unwatched",
            "short",
            (
                (gauge("resultsfw_unreadable_objects", fold="sum"), "objects"),
                (gauge("resultsfw_unwatched_namespaces"), "namespaces"),
            ),
            "Objects that cannot be decoded or reconciled, and namespaces to watch that are refused or not "
            "listed yet; the log names each.",
            "stat",
        ),
    ),
    "Runs": (
        Panel(
            "TaskRuns finished",
            "ops",
            ((rate("resultsfw_taskrun_duration_seconds_count", "outcome"), "{{outcome}}"),),
            "Finished TaskRuns a second.",
        ),
        Panel(
            "TaskRuns that failed, by reason",
            "ops",
            ((rate("resultsfw_taskrun_total", "reason", 'outcome="failed"'), "{{reason}}"),),
            "The reason of the condition. StepFailed is an error of the run's own Steps.",
        ),
        Panel(
            "TaskRun duration",
            "s",
            quantiles("resultsfw_taskrun_duration_seconds"),
            "startTime to completionTime.",
        ),
        Panel(
            "From a TaskRun's start to its first Step",
            "s",
            quantiles("resultsfw_taskrun_start_latency_seconds"),
            "Scheduling, images, volumes; Kubernetes stores whole seconds.",
        ),
        Panel(
            "PipelineRuns finished",
            "ops",
            ((rate("resultsfw_pipelinerun_duration_seconds_count", "outcome"), "{{outcome}}"),),
            "Finished PipelineRuns a second.",
        ),
        Panel(
            "PipelineRuns that failed, by reason",
            "ops",
            ((rate("resultsfw_pipelinerun_total", "reason", 'outcome="failed"'), "{{reason}}"),),
            "The reason of the condition.",
        ),
        Panel(
            "PipelineRun duration",
            "s",
            quantiles("resultsfw_pipelinerun_duration_seconds"),
            "startTime to completionTime.",
        ),
    ),
    "Results": (
        Panel(
            "Results that did not arrive complete",
            "ops",
            ((rate("resultsfw_results_refused_total", "reason"), "{{reason}}"),),
            "Too large, not UTF-8, or their transport is damaged.",
        ),
        Panel(
            "Size of results",
            "bytes",
            quantiles("resultsfw_result_size_bytes", "backend", "{{backend}}"),
            "Of values that arrived complete.",
        ),
        Panel(
            "Bytes of results",
            "Bps",
            ((rate("resultsfw_result_size_bytes_sum", "backend"), "{{backend}}"),),
            "They end up in etcd, unless the backend delivers them by reference.",
        ),
        Panel(
            "Time to extract the results of a pod",
            "s",
            quantiles("resultsfw_extraction_seconds", "backend", "{{backend}}"),
            "Reading log or message, and checking it.",
        ),
        Panel(
            "Extractions that failed",
            "ops",
            ((rate("resultsfw_extraction_errors_total", "backend, code"), "{{backend}} {{code}}"),),
            "They are retried for five minutes; then the run fails.",
        ),
        Panel(
            "TaskRuns that failed before their pod",
            "ops",
            ((rate("resultsfw_taskruns_refused_total", "reason"), "{{reason}}"),),
            "Invalid, not found, or refused by the API server.",
        ),
    ),
    "Queues and workers": (
        Panel(
            "Runs that wait for a worker",
            "short",
            ((gauge("resultsfw_workqueue_depth", "kind"), "{{kind}}"),),
            "Above zero for a moment when many runs begin at once.",
        ),
        Panel(
            "Time in the queue",
            "s",
            quantiles("resultsfw_workqueue_queue_duration_seconds", "kind", "{{kind}}"),
            "Milliseconds are normal. More: busy workers.",
        ),
        Panel(
            "Time of a reconciliation",
            "s",
            (
                *quantiles("resultsfw_workqueue_work_duration_seconds", "kind", "{{kind}}"),
                (
                    gauge("resultsfw_workqueue_longest_running_processor_seconds", "kind"),
                    "{{kind}} in progress",
                ),
            ),
            "Milliseconds; more while logs are read, or while the API server is slow.",
        ),
        Panel(
            "Workers",
            "short",
            (
                (gauge("resultsfw_active_workers", "kind"), "{{kind}} busy"),
                (gauge("resultsfw_max_concurrent_reconciles", "kind"), "{{kind}}"),
            ),
            "All of them busy for long: raise --threads.",
        ),
        Panel(
            "Reconciliations",
            "ops",
            ((rate("resultsfw_reconciles_total", "kind, result"), "{{kind}} {{result}}"),),
            "bug is a bug of resultsfw. Some conflicts are normal.",
        ),
        Panel(
            "Retries, and stalled workers",
            "short",
            (
                (rate("resultsfw_workqueue_retries_total", "kind"), "{{kind}} retries a second"),
                (
                    f"max by (kind, namespace, name) (resultsfw_stalled_run_seconds{{{JOB}}})",
                    "{{kind}} {{namespace}}/{{name}} stalled for s",
                ),
            ),
            "A stalled run holds a worker for more than a minute.",
        ),
    ),
    "API server and caches": (
        Panel(
            "Requests",
            "reqps",
            ((rate("resultsfw_api_requests_total", "verb, code"), "{{verb}} {{code}}"),),
            "Code 0: no answer. 409 is a conflict, 429 asks for a pause.",
        ),
        Panel(
            "Time of requests",
            "s",
            quantiles("resultsfw_api_request_duration_seconds", "verb", "{{verb}}"),
            "Until the headers of the response.",
        ),
        Panel(
            "Wait for the client's own limit",
            "s",
            quantiles("resultsfw_api_rate_limiter_duration_seconds"),
            "Above zero: --qps and --burst hold requests back, or the server asked for a pause.",
        ),
        Panel(
            "Objects in caches",
            "short",
            ((gauge("resultsfw_cached_objects", "resource"), "{{resource}}"),),
            "Each replica has its own caches.",
        ),
        Panel(
            "Restarted watches",
            "ops",
            ((rate("resultsfw_watch_restarts_total", "resource"), "{{resource}}"),),
            "The server ends each after five to ten minutes.",
        ),
        Panel(
            "Events and flags",
            "ops",
            (
                (rate("resultsfw_events_dropped_total"), "Events not written"),
                (rate("resultsfw_flags_reload_failures_total"), "rejected edits of flags"),
            ),
            "Both are normally zero.",
        ),
    ),
    "Processes": (
        Panel(
            "CPU",
            "percentunit",
            ((f"rate(process_cpu_seconds_total{{{JOB}}}[{RATE}])", "{{job}} {{instance}}"),),
            "1 is one core.",
        ),
        Panel(
            "Memory",
            "bytes",
            ((f"process_resident_memory_bytes{{{JOB}}}", "{{job}} {{instance}}"),),
            "60 MB for an idle controller, and 3 KB for each pod in its cache.",
        ),
        Panel(
            "File descriptors",
            "percentunit",
            ((f"process_open_fds{{{JOB}}} / process_max_fds{{{JOB}}}", "{{job}} {{instance}}"),),
            "Part of the limit in use.",
        ),
        Panel(
            "Versions",
            "short",
            (
                (f"count by (version, python) (resultsfw_build_info{{{JOB}}})", "controller {{version}}"),
                (f"count by (version, python) (resultsfw_server_build_info{{{JOB}}})", "server {{version}}"),
            ),
            "Replicas by version; two versions during an upgrade.",
        ),
    ),
    "Results server": (
        Panel(
            "Requests",
            "reqps",
            ((rate("resultsfw_server_requests_total", "verb, code"), "{{verb}} {{code}}"),),
            "404 for get: the pod delivered nothing yet.",
        ),
        Panel(
            "Refused requests",
            "ops",
            ((rate("resultsfw_server_refused_total", "verb, reason"), "{{verb}} {{reason}}"),),
            "QuotaExceeded, TooManyRequests and Busy are limits of a namespace, a client, the server.",
        ),
        Panel(
            "Time of requests",
            "s",
            quantiles("resultsfw_server_request_duration_seconds", "verb", "{{verb}}"),
            "Header of the request to end of the response.",
        ),
        Panel(
            "Stored bytes, the ten namespaces with the most",
            "bytes",
            (
                (
                    f"topk(10, max by (namespace) (resultsfw_server_stored_bytes{{{JOB}}}))",
                    "{{namespace}}",
                ),
                (gauge("resultsfw_server_quota_bytes"), "quota"),
                (gauge("resultsfw_server_stored_bytes_all"), "all"),
            ),
            "Results that the controller has not read and removed yet.",
        ),
        Panel(
            "Bytes delivered and read",
            "Bps",
            (
                (rate("resultsfw_server_request_size_bytes_sum"), "delivered"),
                (rate("resultsfw_server_response_size_bytes_sum"), "read"),
                (gauge("resultsfw_server_body_bytes", fold="sum"), "in memory, bytes"),
            ),
            "Bodies of requests and responses.",
        ),
        Panel(
            "Connections",
            "short",
            (
                (gauge("resultsfw_server_connections", fold="sum"), "open"),
                (rate("resultsfw_server_connections_shed_total", "limit"), "closed a second, {{limit}}"),
            ),
            "Closed: one client's limit (address), or that of all (total).",
        ),
        Panel(
            "Cleanup and certificates",
            "ops",
            (
                (rate("resultsfw_server_swept_total"), "removed by age"),
                (rate("resultsfw_server_orphans_removed_total"), "removed, TaskRun gone"),
                (rate("resultsfw_server_certificate_reloads_total", "outcome"), "certificate {{outcome}}"),
            ),
            "Removed by age: a controller never read them.",
        ),
    ),
}


def panels():
    """The panels of all rows, with their place on the grid of 24 columns."""
    found, top = [], 0
    for row, items in ROWS.items():
        found.append(
            {
                "id": len(found) + 1,
                "type": "row",
                "title": row,
                "collapsed": False,
                "gridPos": {"h": 1, "w": 24, "x": 0, "y": top},
                "panels": [],
            }
        )
        top += 1
        stat = items[0].kind == "stat"
        width, height = (4, 4) if stat else (8, 8)
        for number, panel in enumerate(items):
            place = {
                "h": height,
                "w": width,
                "x": number * width % 24,
                "y": top + number * width // 24 * height,
            }
            found.append({"id": len(found) + 1, "gridPos": place, **_panel(panel)})
        top += -(-len(items) * width // 24) * height
    return found


def _panel(panel):
    looks = (
        {
            "colorMode": "value",
            "graphMode": "area",
            "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False},
        }
        if panel.kind == "stat"
        else {
            "legend": {"displayMode": "list", "placement": "bottom", "showLegend": True},
            "tooltip": {"mode": "multi", "sort": "desc"},
        }
    )
    return {
        "type": panel.kind,
        "title": panel.title,
        "description": panel.help,
        "datasource": SOURCE,
        "fieldConfig": {"defaults": {"unit": panel.unit, "min": 0}, "overrides": []},
        "options": looks,
        "targets": [
            {
                "refId": chr(ord("A") + number),
                "datasource": SOURCE,
                "expr": expression,
                "legendFormat": legend,
                "range": True,
            }
            for number, (expression, legend) in enumerate(panel.queries)
        ],
    }


def dashboard():
    """The dashboard as Grafana imports it."""
    variables = [
        {
            "name": "datasource",
            "label": "Data source",
            "type": "datasource",
            "query": "prometheus",
            "current": {},
            "options": [],
            "refresh": 1,
            "hide": 0,
            "multi": False,
            "includeAll": False,
        },
        {
            "name": "job",
            "label": "Job",
            "type": "query",
            "datasource": SOURCE,
            "query": {
                "query": 'label_values({__name__=~"resultsfw_(server_)?build_info"}, job)',
                "refId": "jobs",
            },
            "current": {"selected": True, "text": ["All"], "value": ["$__all"]},
            "options": [],
            "refresh": 2,
            "sort": 1,
            "hide": 0,
            "multi": True,
            "includeAll": True,
            "allValue": ".*",
        },
    ]
    return {
        "uid": "resultsfw",
        "title": "resultsfw",
        "description": "The resultsfw controller and results server.",
        "tags": ["resultsfw", "tekton"],
        "schemaVersion": 39,
        "version": 1,
        "editable": True,
        "graphTooltip": 1,
        "refresh": "30s",
        "time": {"from": "now-6h", "to": "now"},
        "timezone": "browser",
        "templating": {"list": variables},
        "annotations": {"list": []},
        "links": [],
        "panels": panels(),
    }


def config_map(text):
    """The ConfigMap in which the sidecar of Grafana's Helm chart looks for dashboards.

    It has the metadata of the alerts, with one label more.
    """
    rule = (FOLDER / "prometheusrule.yaml").read_text()
    metadata = rule[rule.index("metadata:\n") : rule.index("spec:\n")]
    metadata = metadata.replace("  name: resultsfw-controller\n", "  name: resultsfw-dashboard\n", 1)
    head = "# Made from dashboards/resultsfw.json by tests/monitoring/make_dashboard.py.\n"
    indented = textwrap.indent(text, "    ")
    return (
        f'{head}apiVersion: v1\nkind: ConfigMap\n{metadata}    grafana_dashboard: "1"\n'
        f"data:\n  {DASHBOARD.name}: |\n{indented}"
    )


def files():
    """The contents of the generated files, by path. Each panel is a line, and so is each other field."""
    board = dashboard()
    lines = [f'"{key}": {json.dumps(value)}' for key, value in board.items() if key != "panels"]
    rows = ",\n".join(json.dumps(panel) for panel in board["panels"])
    fields = ",\n".join(lines)
    text = f'{{\n{fields},\n"panels": [\n{rows}\n]\n}}\n'
    return {DASHBOARD: text, CONFIG_MAP: config_map(text)}


if __name__ == "__main__":
    DASHBOARD.parent.mkdir(exist_ok=True)
    for path, content in files().items():
        path.write_text(content)
