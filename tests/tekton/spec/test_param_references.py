"""Parameters that are references: what is read of them is bounded."""

import pytest

from resultsfw import ResultsManager
from resultsfw.local.store import Store
from resultsfw.references import format_reference, format_reference_list
from resultsfw.tekton.api.refusals import RefusedRun
from resultsfw.tekton.spec.param_references import MOST_READ, resolve_references
from resultsfw.types import Reference


class Unread(Store):
    """A cluster of which nothing may be read."""

    def get(self, kind, namespace, name):
        raise AssertionError((kind, namespace, name))


def test_an_array_of_too_many_small_references_is_refused_before_one_is_read():
    element = format_reference(
        Reference(
            backend="config-map", location="x", size=1, digest=f"sha256:{'0' * 64}", media_type="text/plain"
        )
    )
    value = format_reference_list(["text"] * 2000 + [element] * (MOST_READ + 1))
    spec = {"params": [{"name": "p", "type": "array"}], "steps": [{"image": "i", "args": ["$(params.p[*])"]}]}
    run = {"metadata": {"name": "r", "namespace": "n"}, "spec": {"params": [{"name": "p", "value": value}]}}
    with pytest.raises(RefusedRun, match=f"has {MOST_READ + 1} elements by reference, over the limit of"):
        resolve_references(ResultsManager.from_flags({}), Unread(), run, spec)
