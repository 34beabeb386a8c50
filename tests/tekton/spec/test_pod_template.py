"""Pod templates merge as Tekton's MergePodTemplateWithDefault merges them."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from resultsfw.tekton.spec.pod_template import merge_pod_templates

A, B, B2, C = ({"name": name, "value": value} for name, value in ("a1", "b1", "b2", "c1"))

CASES: list[Any] = [
    # id, template, default, merged
    ("only a default", None, {"hostNetwork": True}, {"hostNetwork": True}),
    ("only a template", {"hostNetwork": True}, None, {"hostNetwork": True}),
    ("neither", None, None, None),
    ("env by name, the template's first", {"env": [B2]}, {"env": [A, B, C]}, {"env": [B2, A, C]}),
    ("env of the default alone", {"schedulerName": "s"}, {"env": [A]}, {"schedulerName": "s", "env": [A]}),
    ("an empty env takes all of the default's", {"env": []}, {"env": [A]}, {"env": [A]}),
    (
        "volumes by name, each as a whole",
        {"volumes": [{"name": "v", "emptyDir": {}}]},
        {"volumes": [{"name": "v", "secret": {"secretName": "s"}}, {"name": "w", "emptyDir": {}}]},
        {"volumes": [{"name": "v", "emptyDir": {}}, {"name": "w", "emptyDir": {}}]},
    ),
    (
        "nodeSelector as a whole",
        {"nodeSelector": {"a": "1"}},
        {"nodeSelector": {"b": "2"}},
        {"nodeSelector": {"a": "1"}},
    ),
    ("an empty mapping is a value", {"nodeSelector": {}}, {"nodeSelector": {"b": "2"}}, {"nodeSelector": {}}),
    ("an empty list is a value", {"tolerations": []}, {"tolerations": [{"key": "k"}]}, {"tolerations": []}),
    ("null is none", {"affinity": None}, {"affinity": {"x": 1}}, {"affinity": {"x": 1}}),
    ("false of a pointer is a value", {"hostUsers": False}, {"hostUsers": True}, {"hostUsers": False}),
    ("hostNetwork false is none", {"hostNetwork": False}, {"hostNetwork": True}, {"hostNetwork": True}),
    ("schedulerName empty is none", {"schedulerName": ""}, {"schedulerName": "s"}, {"schedulerName": "s"}),
    (
        "fields side by side",
        {"runtimeClassName": "r"},
        {"securityContext": {"runAsUser": 1}},
        {"runtimeClassName": "r", "securityContext": {"runAsUser": 1}},
    ),
]


@pytest.mark.parametrize(
    ("template", "default", "merged"), [case[1:] for case in CASES], ids=[c[0] for c in CASES]
)
def test_a_template_over_a_default(template, default, merged):
    assert merge_pod_templates(template, default) == merged


names = st.lists(st.sampled_from("abcdef"), max_size=6)


@given(names, names)
def test_of_each_name_the_templates_items_are_kept_else_the_defaults(own, other):
    template = {"env": [{"name": name, "value": "own"} for name in own]}
    default = {"env": [{"name": name, "value": "default"} for name in other]}
    merged = merge_pod_templates(template, default)
    assert merged is not None
    values = [(one["name"], one["value"]) for one in merged["env"]]
    assert values[: len(own)] == [(name, "own") for name in own]
    assert values[len(own) :] == [(name, "default") for name in other if name not in own]
