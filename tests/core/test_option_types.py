"""Types of options: what they refuse is said in words."""

from contextlib import suppress
from typing import Annotated

import pytest
from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from resultsfw.errors import FlagError
from resultsfw.extensions import load_extension
from resultsfw.option_types import Quantity, bytes_of, in_words
from resultsfw.options import validate_config
from resultsfw.plugins import BACKENDS, EXTENSIONS, installed_plugins, load_backend

_LOWER = Annotated[str, StringConstraints(pattern="^[a-z]+$"), in_words("must be in lower case")]


class Options(BaseModel):
    model_config = ConfigDict(extra="forbid")

    name: _LOWER = "a"
    by_name: dict[_LOWER, int] = {}
    memory: Quantity = "1"


class WithAlias(BaseModel):
    model_config = ConfigDict(extra="forbid")

    at_least: list[str] = Field(default=[], min_length=1, alias="at-least", validate_default=True)


def refused(options, config_type=Options):
    with pytest.raises(FlagError) as caught:
        validate_config("example", config_type, options)
    return caught.value.message.partition(": ")[2]


def test_a_refusal_says_the_rule_and_no_pattern():
    assert refused({"name": "A"}) == "name: must be in lower case"
    assert refused({"by_name": {"A": 1}}) == "by_name.A.[key]: must be in lower case"
    assert refused({"name": 1}) == "name: Input should be a valid string"
    assert refused({"memory": "lots"}) == (
        "memory: must be a quantity of Kubernetes, such as 10m (CPU) or 64Mi (memory)"
    )


def test_an_unknown_option_is_named_as_it_was_given_with_a_similar_one():
    assert refused({"nam": "a"}) == 'nam: is no option; did you mean "name"?'
    assert refused({"x" * 500: 1}) == "x" * 500 + ": is no option"
    assert refused({}, WithAlias) == "at-least: must have 1 or more entries"
    assert refused({"at_least": ["a"]}, WithAlias) == (
        'at-least: must have 1 or more entries; at_least: is no option; did you mean "at-least"?'
    )


def test_the_schema_has_the_pattern():
    assert Options.model_json_schema()["properties"]["name"]["pattern"] == "^[a-z]+$"


def test_bytes_of_a_quantity():
    given = ("64Mi", "1.5k", "3", "1Ei", "10m", "", "x", None)
    assert [bytes_of(text) for text in given] == [64 << 20, 1000, 3, 1 << 60, 0, 0, 0, 0]


def config_types():
    loaders = {BACKENDS: load_backend, EXTENSIONS: lambda name: load_extension(name, None)}
    return {
        (group, plugin.name): loaders[group](plugin.name).config_type
        for group in loaders
        for plugin in installed_plugins(group)
    }


def shapes(schema, definitions):
    """Yield values that match a schema but for one text, which no pattern of ours accepts."""
    if "$ref" in schema:
        schema = definitions[schema["$ref"].rpartition("/")[2]]
    for choice in schema.get("anyOf", ()):
        yield from shapes(choice, definitions)
    if schema.get("type") == "string":
        yield ",\n,,"
    if schema.get("type") == "array" and "items" in schema:
        yield from ([value] for value in shapes(schema["items"], definitions))
    if isinstance(schema.get("additionalProperties"), dict):
        yield {",\n,,": None}
    for name, body in schema.get("properties", {}).items():
        yield from ({name: value} for value in shapes(body, definitions))


def test_no_option_of_a_plugin_shows_a_pattern_where_it_is_refused():
    for (_, name), config_type in config_types().items():
        schema = config_type.model_json_schema(by_alias=True)
        for options in shapes(schema, schema.get("$defs", {})):
            with suppress(FlagError):
                validate_config(name, config_type, options)
                continue
            assert "should match pattern" not in refused(options, config_type)
