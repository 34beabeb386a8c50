"""What the documents show is what there is."""

import re
import runpy
from pathlib import Path
from typing import Any

import pytest

from resultsfw import PODS, Core, Object
from resultsfw import flags as flags_module

ROOT = Path(__file__).parents[1]
EMBED = ROOT / "examples" / "02-embedding" / "embed.py"


def test_the_embedding_example_is_short_and_stands_in_its_document():
    text = EMBED.read_text()
    assert len(text.splitlines()) < 25
    assert f"```python\n{text}```" in (ROOT / "docs" / "embedding.md").read_text()


def test_the_embedding_example_carries_a_run():
    """With a pod of the embedder's own, no entrypoint in it: a container that writes its own message."""
    example: dict[str, Any] = runpy.run_path(str(EMBED))
    bare: Object = {
        "apiVersion": PODS.api_version,
        "kind": "Pod",
        "metadata": {"name": "report", "namespace": "default"},
        "spec": {"containers": [{"name": "build", "image": "i"}]},
    }
    pod = example["begin"](bare)
    assert pod["metadata"]["annotations"]["resultsfw.dev/stamp"] == "termination-message/1"
    report: Object = {"metadata": {"name": "report", "resourceVersion": "7"}}
    cluster = object()  # this backend asks the cluster nothing
    assert example["follow"](report, pod, cluster, "2026-01-01T00:00:00Z") is None
    message = '[{"key":"digest","value":"d","type":1},{"key":"files","value":"[\\"a\\"]","type":1}]'
    ended = {"terminated": {"exitCode": 0, "reason": "Completed", "message": message}}
    pod["status"] = {"phase": "Succeeded", "containerStatuses": [{"name": "build", "state": ended}]}
    patch = example["follow"](report, pod, cluster, "2026-01-01T00:00:00Z")
    assert patch["metadata"] == {"resourceVersion": "7"}
    assert [one["value"] for one in patch["status"]["results"]] == ["d", ["a"]]
    assert patch["status"]["conditions"][0]["status"] == "True"


def test_every_feature_flag_is_in_the_readme_with_its_default():
    readme = (ROOT / "README.md").read_text()
    defaults = Core.from_flags({}).flags
    for key in flags_module._KNOWN:
        (row,) = re.findall(rf"^\| `{key}` \| (.*?) \|", readme, flags=re.MULTILINE)
        default = getattr(defaults, key.replace("-", "_"), None)
        if isinstance(default, str | int):
            assert row == f"`{default}`"


@pytest.mark.parametrize(
    "document", sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")]), ids=lambda p: p.name
)
def test_links_lead_somewhere(document):
    for target in re.findall(r"\]\(((?!https?:)[^)#]+)", document.read_text()):
        assert (document.parent / target).exists(), target


@pytest.mark.parametrize("law", range(9))
def test_every_law_of_the_design_has_a_test_that_names_it(law):
    named = re.compile(rf"\bLaws?\b[^.:]*\b{law}\b")
    tests = (path for path in (ROOT / "tests").rglob("test_*.py") if path != Path(__file__))
    assert any(named.search(path.read_text()) for path in tests)
