"""On the engine, values travel compressed where a backend's option asks for it, and nothing else changes."""

import pytest

from resultsfw.testing.harness import Harness
from resultsfw.testing.tasks import Write, generated_content

pytestmark = pytest.mark.slow
SIZE = 1_300_000
WRITES = [Write(name="report", size=SIZE), Write(name="small", data=b"s"), Write(name="never")]


def test_a_report_larger_than_a_config_map_arrives():
    with Harness("config-map", {"compress": True}) as harness:
        core = harness.core(max_result_size="1500000")
        sample = harness.run_pod(WRITES, core=core)
        outcome = harness.collect(sample, core=core)
        assert outcome.collected is not None
        assert outcome.collected.problems == ()
        values = {result.name: result.value for result in outcome.collected.results}
        assert values == {"report": generated_content(SIZE).decode(), "small": "s"}
        [usage] = outcome.collected.transports
        assert usage.used * 2 < usage.written == SIZE + 1
