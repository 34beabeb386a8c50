"""The pages about extensions show what works, and all the options there are."""

import re
from pathlib import Path

import pytest
import yaml

from resultsfw import (
    Capabilities,
    ExtractedResult,
    Extraction,
    ResultsManager,
    ResultSpec,
    Run,
    Stamp,
    hookimpl,
)
from resultsfw.errors import FlagError
from resultsfw.extensions import OBSERVERS
from resultsfw.images import NO_REGISTRY
from resultsfw.testing import ExtensionSuite
from resultsfw_extensions.redact import RedactConfig
from resultsfw_extensions.signed import SignedConfig

HOW_TO = Path(__file__).parents[2] / "docs" / "how-to"
TEXT = "".join((HOW_TO / name).read_text() for name in ("extensions.md", "writing-an-extension.md"))


def block(language):
    return re.search(rf"^```{language}\n(.*?)^```$", TEXT, flags=re.MULTILINE | re.DOTALL)[1]


class Mine:
    """A backend."""

    capabilities = Capabilities(summary="x")
    prepare_pod = hookimpl(lambda _self: 1)
    pod_ready = hookimpl(lambda _self: True)

    @hookimpl
    def extract(self):
        key = "-----BEGIN RSA PRIVATE KEY-----\nabc\n-----END RSA PRIVATE KEY-----"
        return Extraction(results=(ExtractedResult(name="a", value=f"x {key} y", source="s"),))


RUN = Run(namespace="n", name="r", uid="u", results=(ResultSpec(name="a"),))


def test_the_flags_it_shows_are_taken_and_do_what_it_says(monkeypatch):
    monkeypatch.setenv("OTEL_TRACES_EXPORTER", "none")
    data = yaml.safe_load(block("yaml"))["data"]
    core = ResultsManager.from_flags({**data, "results-from": "mine"}, register={"mine": Mine})
    assert list(core.extensions) == ["opentelemetry", "redact"]
    collected = core.collect(RUN, {}, None, stamp=Stamp("mine", 1, 4096))
    assert collected.results[0].value == "x [redacted:private-key] y"


def test_the_extension_it_shows_hears_and_is_closed(capsys):
    namespace = {}
    exec(compile(block("python"), "extensions.md", "exec"), namespace)  # noqa: S102 - it is the document's
    flags = {"results-from": "mine", "config.shown": "max-names: 1"}
    with ResultsManager.from_flags(
        flags, register={"mine": Mine}, register_extensions={"shown": namespace["Extension"]}
    ) as core:
        core.collect(RUN, {}, None, stamp=Stamp("mine", 1, 4096))
    assert capsys.readouterr().out == "r ['a']\nfailed: 0\n"
    with pytest.raises(FlagError, match=r"max_names: is no option"):
        ResultsManager.from_flags(
            {"config.shown": "max_names: 1"}, register_extensions={"shown": namespace["Extension"]}
        )


def test_the_suite_it_shows_is_the_suite():
    (_, text) = re.findall(r"^```python\n(.*?)^```$", TEXT, flags=re.MULTILINE | re.DOTALL)
    namespace = {"__name__": "shown"}
    exec(compile(text, "extensions.md", "exec"), namespace)  # noqa: S102 - it is the document's
    shown = namespace["TestMine"]
    assert issubclass(shown, ExtensionSuite)
    assert (shown.extension, shown.config) == ("mine", {"max-names": 2})


def test_every_option_and_observer_is_there():
    said = dict(re.findall(r"^\| `(\w+)` \| (.*?) \|", TEXT.split("## `redact`")[1], flags=re.MULTILINE))
    for name, field in RedactConfig.model_fields.items():
        assert name in said
        if field.default:
            assert said[name] == f"`{field.default}`"
    assert all(f"`{name}(" in TEXT for name in OBSERVERS)


def test_every_option_of_signed_is_there_with_its_default():
    section = re.split(r"\n##? ", TEXT.split("## `signed`")[1])[0]
    shown = dict(re.findall(r"^\| `([a-z-]+)` \| (.*?) \|", section, flags=re.MULTILINE))
    fields = {field.alias: field.default for field in SignedConfig.model_fields.values()}
    assert shown.keys() - {"termination-message"} == fields.keys() - {"termination-message"}
    for name, default in fields.items():
        usual = str(default).lower() if isinstance(default, bool) else str(default)
        usual = usual.replace(NO_REGISTRY, "REGISTRY")
        assert f"| `{name}` | " + (f"`{usual}` |" if default not in ("", None) else "") in section
    example = yaml.safe_load(re.search(r"```\n(  extensions: signed.*?)```", section, flags=re.DOTALL)[1])
    config = SignedConfig.model_validate(yaml.safe_load(example["config.signed"]))
    assert [config.policy_of(name) for name in ("release", "sandbox", "x")] == ["fail", "off", "mark"]
