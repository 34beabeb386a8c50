"""Create a Pod with the `kubernetes` client, wait for it, and print its results with resultsfw.

    python collect.py [--results-from termination-message]

It uses the cluster that the client is configured for. Exit status 1 if a result did not arrive intact.
"""

import argparse
import json
import sys
import time
import uuid

from kubernetes import client, config

from resultsfw import PODS, Cluster, CollectionOutcome, ResultsManager, ResultSpec, Run, Step
from resultsfw.errors import ClusterError
from resultsfw.kube import Connection, KubeCluster

SECONDS = 300
FILES = """
printf %s "$(uname -s)" > $RESULTSFW_RESULTS/system
printf '["%s","%s"]' "$HOSTNAME" "$(id -u)" > $RESULTSFW_RESULTS/facts
"""
MESSAGE = r"""
printf '[{"key":"system","value":"%s","type":1},' "$(uname -s)" > /dev/termination-log
printf '{"key":"facts","value":"[\"%s\",\"%s\"]","type":1}]' "$HOSTNAME" "$(id -u)" >> /dev/termination-log
"""


def wait(core: ResultsManager, run: Run, cluster: Cluster) -> CollectionOutcome:
    """Read the pod every second until its results can be collected, or the time is over."""
    end = time.monotonic() + SECONDS
    while True:
        pod = cluster.get(PODS, run.namespace, run.name)
        late = time.monotonic() > end
        if core.is_ready(run, pod) or late:
            try:
                return core.collect(run, pod, cluster, final=late)
            except ClusterError as error:  # it may pass; otherwise it would be among the problems
                print(f"{error.code}: {error.message}; retrying", file=sys.stderr)
        time.sleep(1)


def main() -> int:
    """Run one pod and return the exit status."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--results-from", default="sidecar-logs")
    parser.add_argument("--image", default="busybox:1")
    parser.add_argument("--namespace", default="default")
    options = parser.parse_args()

    config.load_config()
    api = client.ApiClient()
    cluster = KubeCluster(Connection(api))
    name = f"facts-{uuid.uuid4().hex[:8]}"
    core = ResultsManager.from_flags({"results-from": options.results_from})
    run = Run(
        namespace=options.namespace,
        name=name,
        uid=uuid.uuid4().hex,
        results=(ResultSpec(name="system"), ResultSpec(name="facts", type="array")),
        steps=(Step(name="facts", container="facts"),),
    )
    script = MESSAGE if options.results_from == "termination-message" else FILES
    pod = {
        "metadata": {"name": name, "namespace": options.namespace},
        "spec": {
            "restartPolicy": "Never",
            "containers": [{"name": "facts", "image": options.image, "command": ["sh", "-c", script]}],
        },
    }
    client.CoreV1Api(api).create_namespaced_pod(
        options.namespace, core.prepare_pod(run, pod, cluster=cluster)
    )
    try:
        collected = wait(core, run, cluster)
        core.purge(run, cluster.get(PODS, run.namespace, run.name), cluster)
    finally:
        cluster.delete(PODS, run.namespace, run.name)
    for result in collected.results:
        print(f"{result.name} = {json.dumps(result.value)}")
    for problem in collected.problems:
        print(f"{problem.code}: {problem.message}", file=sys.stderr)
    return 0 if collected.ok else 1


if __name__ == "__main__":
    sys.exit(main())
