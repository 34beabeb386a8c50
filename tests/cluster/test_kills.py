"""SIGKILL on a real cluster: no run lost, none doubled, no pod too many and none missing."""

import random
import signal
import subprocess
import sys
import time

from situations import with_user

from resultsfw.tekton.api.kinds import TASKRUNS

BACKENDS = ("termination-message", "sidecar-logs")
LARGE = 3500


def test_two_replicas_and_the_leader_is_killed(place, tell):
    place.flags(results_from="sidecar-logs")
    leader = place.start()
    leader.wait_for("this replica is the leader", seconds=60)
    standby = place.start()
    standby.wait_for("caches synced", seconds=60)
    names = [f"run-{number:02}" for number in range(30)]
    for name in names:
        _create(place, name, f"printf {name} > $(results.digest.path)")
    place.until(lambda: len(place.pods()) >= len(names) // 2, 120)
    leader.signal(signal.SIGKILL)
    killed = time.monotonic()
    standby.wait_for("this replica is the leader", seconds=120)
    tell(f"takeover {time.monotonic() - killed:.1f} s after SIGKILL of the leader")
    for name, final in place.until_done(300).items():
        assert _condition(final)["reason"] == "Succeeded", (name, _condition(final))
        assert _values(final) == {"digest": name}
    assert sorted(place.pods()) == [f"{name}-pod" for name in names]
    place.assert_none_doubled()


def test_twenty_sigkills_during_sixty_runs(place, tell):
    seed = random.SystemRandom().randrange(1 << 32)
    sys.stdout.write(f"seed {seed}\n")
    draw = random.Random(seed)  # noqa: S311 - to be repeated, not to be secret
    place.flags(allowed_results_from=",".join(BACKENDS))
    ways = ("succeeds", "fails", "succeeds-again")
    wanted = [f"{way}-{backend[0]}-{number}" for number in range(10) for way in ways for backend in BACKENDS]
    began = time.monotonic()
    for name in wanted:
        backend = next(one for one in BACKENDS if f"-{one[0]}-" in name)
        wait = f"sleep {draw.uniform(0, 3):.1f}; "
        write = f"printf {name} > $(results.digest.path); "
        if backend == "sidecar-logs":
            write += f"head -c {LARGE} /dev/zero | tr '\\0' x > $(results.large.path); "
        end = {
            "succeeds": "",
            "fails": "exit 3",
            "succeeds-again": 'test "$(context.task.retry-count)" = 1',
        }[name.rsplit("-", 2)[0]]
        _create(
            place,
            name,
            write + wait + end,
            annotations={"resultsfw.dev/results-from": backend},
            retries=1 if "again" in name else 0,
        )
    kills = 0
    for _ in range(20):
        controller = place.start("--no-leader-elect")
        try:
            controller.process.wait(draw.uniform(0.5, 4))  # an instant, not a wait for something
        except subprocess.TimeoutExpired:
            kills += not all(map(_is_over, place.runs().values()))
            assert controller.signal(signal.SIGKILL) == -signal.SIGKILL
    place.start("--no-leader-elect")
    finals = place.until_done(600)
    tell(f"{kills} of 20 SIGKILLs while runs went on, seed {seed}; all over {time.monotonic() - began:.0f} s")
    assert sorted(finals) == sorted(wanted)
    for name, final in finals.items():
        expected = ("StepFailed", "False") if name.startswith("fails") else ("Succeeded", "True")
        assert (_condition(final)["reason"], _condition(final)["status"]) == expected, (name, final["status"])
        large = {"large": "x" * LARGE} if "-s-" in name else {}
        assert _values(final) == {"digest": name, **large}, name
        assert len(final["status"].get("retriesStatus", [])) == ("again" in name), name
    pods = [f"{name}-pod" for name in wanted] + [f"{name}-pod-retry1" for name in wanted if "again" in name]
    assert sorted(place.pods()) == sorted(pods)
    # Results are read before the kubelet has ended a native sidecar, and with it the pod.
    ends = {"Succeeded", "Failed"}
    place.until(lambda: {one["status"]["phase"] for one in place.pods().values()} <= ends, 60)
    place.assert_none_doubled()


def _create(place, name, script, annotations=None, **spec):
    results = [{"name": "digest", "type": "string"}]
    if "results.large" in script:
        results.append({"name": "large", "type": "string"})
    step = {"name": "one", "image": "busybox:1", "script": f"#!/bin/sh\n{script}"}
    metadata = {"name": name, "namespace": place.namespace, "annotations": annotations or {}}
    task = {"results": results, "steps": [step]}
    run = {
        "apiVersion": "tekton.dev/v1",
        "kind": "TaskRun",
        "metadata": metadata,
        "spec": {"managedBy": place.managed_by, "taskSpec": task, **spec},
    }
    place.server.create(TASKRUNS, with_user(run))


def _condition(run):
    return next(
        (one for one in run.get("status", {}).get("conditions", []) if one["type"] == "Succeeded"), {}
    )


def _is_over(run):
    return _condition(run).get("status") in ("True", "False")


def _values(run):
    return {one["name"]: one["value"] for one in run["status"].get("results", [])}
