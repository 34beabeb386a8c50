"""`resultsfw backends` tries what is installed, importing none of it here, and says why one is broken."""

import os
import re
import signal
import subprocess
import sys
import textwrap

import pytest
import yaml
from pluginsite import GOOD

from resultsfw.cli.probe import probe
from resultsfw.plugins import installed_plugins

pytestmark = pytest.mark.slow

FACTS = {}
FEW = ("sidecar-logs", "termination-message", "object-store", "redact")


@pytest.fixture(autouse=True)
def few_own_plugins(monkeypatch, request):
    """List few of this project's plugins: importing each takes a process. All if `lists_all`."""

    def few(group):
        found = installed_plugins(group)
        return [plugin for plugin in found if plugin.distribution != "resultsfw" or plugin.name in FEW]

    if "lists_all" not in request.fixturenames:
        monkeypatch.setattr("resultsfw.cli.backends.installed_plugins", few)


@pytest.fixture
def lists_all():
    """All plugins of this project are listed."""


@pytest.fixture(autouse=True)
def probe_own_plugins_once(monkeypatch):
    """Import each plugin of this project only once in a process of its own; that takes a second for each."""

    def is_own(plugin):
        claims = [claim for claim in installed_plugins(plugin[0]) if claim.name == plugin[1]]
        return [claim.distribution for claim in claims] == ["resultsfw"]

    def probe_once(plugins, *, options):
        if options:
            return probe(plugins, options=options)
        wanted = sorted(set(plugins))
        known = {plugin: FACTS[plugin] for plugin in wanted if plugin in FACTS and is_own(plugin)}
        probed = probe(plugin for plugin in wanted if plugin not in known)
        FACTS.update({plugin: facts for plugin, facts in probed.items() if is_own(plugin)})
        facts = {**known, **probed}
        return {plugin: facts[plugin] for plugin in wanted}

    monkeypatch.setattr("resultsfw.cli.backends.probe", probe_once)


@pytest.fixture
def plugin(tmp_path, monkeypatch):
    """Installs a plugin that tells when it is imported."""

    def install(body, name="strange", distribution="strangers"):
        folder = tmp_path / distribution
        info = folder / f"{distribution}-2.5.dist-info"
        info.mkdir(parents=True)
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution}\nVersion: 2.5\n")
        (info / "entry_points.txt").write_text(f"[resultsfw.backends]\n{name} = {distribution}_module\n")
        out = f"open({str(tmp_path / 'imported')!r}, 'w').close()\n"
        (folder / f"{distribution}_module.py").write_text(out + textwrap.dedent(body))
        monkeypatch.syspath_prepend(folder)
        return tmp_path / "imported"

    return install


def test_the_list_shows_state_distribution_version_and_module(cli, lists_all):
    ran = cli("backends")
    assert ran.status == 0
    listed = re.findall(r"^  ([\w-]+) ", ran.out, re.MULTILINE)
    assert {plugin.name for plugin in installed_plugins()} <= set(listed)
    assert re.search(
        r"^  sidecar-logs +ok +resultsfw +0.1.0 +resultsfw_backends.sidecar_logs$", ran.out, re.MULTILINE
    )
    assert re.search(r"^  termination-message +ok +resultsfw ", ran.out, re.MULTILINE)
    assert re.search(r"^  object-store +needs options +resultsfw ", ran.out, re.MULTILINE)
    assert 'needs options: feature flag "config.object-store": url: say where results go' in ran.out


def test_the_list_as_json_has_kind_and_origin(cli):
    rows = {plugin["name"]: plugin for plugin in cli("backends", "-o", "json").json}
    assert rows["redact"]["kind"] == "extension"
    assert rows["termination-message"] == {
        "kind": "backend",
        "usable": True,
        "name": "termination-message",
        "target": "resultsfw_backends.termination_message",
        "distribution": "resultsfw",
        "version": rows["sidecar-logs"]["version"],
    }


def test_the_list_imports_no_backend():
    """Two of the backends and two of the extensions are listed: loading each takes a process."""
    code = """
        import sys
        from resultsfw.cli import backends, main

        installed = backends.installed_plugins
        backends.installed_plugins = lambda group: installed(group)[-2:]
        assert main(["backends"]) == main(["backends", "sidecar-logs"]) == 0
        packages = ("resultsfw_backends", "resultsfw_extensions")
        print([name for name in sys.modules if name.startswith(packages)])
    """
    command = [sys.executable, "-c", textwrap.dedent(code)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"
    assert re.search(r"^  sidecar-logs +ok ", done.stdout, re.MULTILINE)
    assert re.search(r"^  redact +(ok|needs options) ", done.stdout, re.MULTILINE)


def test_a_broken_plugin_is_listed_as_broken_with_why(cli, plugin):
    imported = plugin("print('spoils'); raise ImportError('no such library: \\n \\x1b[31m')")
    ran = cli("backends")
    assert ran.status == 0
    assert re.search(r"^  strange +broken +strangers +2.5 +strangers_module$", ran.out, re.MULTILINE)
    said = " ".join(ran.out.split())
    assert 'broken: backend "strange" (strangers 2.5, strangers_module, ' in said
    assert "strangers_module.py) cannot be used: ImportError: no such" in said
    assert "spoils" not in ran.out + ran.err
    assert "\x1b" not in ran.out
    assert imported.exists()
    (row,) = [plugin for plugin in cli("backends", "-o", "json").json if plugin["name"] == "strange"]
    assert (row["usable"], row["distribution"], row["version"]) == (False, "strangers", "2.5")
    assert "no such library" in row["why"]


def test_a_plugin_that_says_what_to_install_is_not_called_broken(cli, plugin):
    """Neither is it where a module between the two says what it lacks."""
    plugin(
        """
        try:
            try:
                import no_such_library
            except ImportError as error:
                raise ImportError("the module between needs a library") from error
        except ImportError as error:
            raise ImportError("it needs a library: pip install 'strangers[all]'") from error
        """
    )
    ran = cli("backends")
    assert ran.status == 0
    assert re.search(r"^  strange +needs packages +strangers ", ran.out, re.MULTILINE)
    assert "  needs packages: strange: it needs a library: pip install 'strangers[all]'\n" in ran.out
    assert "broken" not in ran.out
    (row,) = [row for row in cli("backends", "-o", "json").json if row["name"] == "strange"]
    assert (row["usable"], row["lacking"]) == (False, "it needs a library: pip install 'strangers[all]'")
    ran = cli("backends", "strange")
    assert ran.status == 1
    assert "  needs packages: it needs a library" in ran.out
    as_yaml, as_json = (cli("backends", "strange", "-o", form).out for form in ("yaml", "json"))
    assert yaml.safe_load(as_yaml) == yaml.safe_load(as_json)


ENDS = {
    "hangs": (
        "import time\nprint('x', flush=True)\nwhile True: time.sleep(60)",
        "did not finish within 4 s",
    ),
    "crashes": ("import os, signal\nos.kill(os.getpid(), signal.SIGSEGV)", "was killed by SIGSEGV"),
    "leaves": ("import os\nos._exit(0)", "exited with status 0"),
    "threads": ("import threading, time\nthreading.Thread(target=time.sleep, args=(99,)).start()", "`capab"),
    "bears": ("import subprocess, sys\nsubprocess.Popen([sys.executable, '-c', 'input()'])", "`capab"),
    "closes": ("import os\nfor n in (0, 1, 2): os.close(n)", "`capabilities`"),
}


def test_a_plugin_that_ends_or_hangs_its_process_is_broken_and_others_are_listed(cli, plugin, monkeypatch):
    monkeypatch.setattr("resultsfw.cli.probe.probe.__kwdefaults__", {"seconds": 4, "options": None})
    for name, (body, _) in ENDS.items():
        plugin(body, name=name, distribution=name)
    ran = cli("backends", "-o", "json")
    assert (ran.status, ran.err) == (0, "")
    why = {plugin["name"]: plugin.get("why", "") for plugin in ran.json}
    for name, (_, said) in ENDS.items():
        assert said in why[name], name
    assert why["sidecar-logs"] == ""
    out = cli("backends", "crashes")
    assert out.status == 1
    said = " ".join(out.out.split())
    assert 'broken: backend "crashes" (crashes 2.5, crashes_module, ' in said
    assert "crashes_module.py) cannot be used: the process that imported it was killed by SIGSEGV" in said


def test_ctrl_c_ends_the_command_and_the_processes_that_import_plugins(site, tmp_path):
    out = tmp_path / "pid"
    os.mkfifo(out)
    text = f"import os, time\nopen({str(out)!r}, 'w').write(str(os.getpid()))\nwhile True: time.sleep(60)"
    site.backend("hangs", text)
    command = [sys.executable, "-m", "resultsfw.cli", "backends", "hangs"]
    with subprocess.Popen(command, env=site.env, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        child = int(out.read_text())
        try:
            process.send_signal(signal.SIGINT)
            process.communicate(timeout=60)
        finally:
            process.kill()
    assert process.returncode == 130
    with pytest.raises(ProcessLookupError):
        os.kill(child, 0)


def test_extensions_are_listed_and_described_like_backends(cli, site, monkeypatch):
    monkeypatch.syspath_prepend(site.path)
    site.extension("bad", "1 / 0")
    out = cli("backends").out
    assert "  redact " in out
    assert "ZeroDivisionError" in out
    ran = cli("backends", "redact")
    assert ran.status == 0
    assert "extension redact" in ran.out
    assert "may change results" in ran.out
    assert '"config.redact"' in ran.out
    assert cli("backends", "bad").status == 1


def test_a_backend_with_deprecated_hooks_shows_the_warning(cli, site, monkeypatch):
    monkeypatch.syspath_prepend(site.path)
    site.backend("mine", GOOD)
    site.install("older", "1", "", {"sitecustomize": OLDER})
    monkeypatch.setenv("PYTHONPATH", str(site.path))
    ran = cli("backends", "mine")
    assert ran.status == 0
    assert 'hook "pod_ready" is deprecated: use another' in " ".join(ran.out.split())


OLDER = """
import resultsfw.hookspecs as specs
specs.pod_ready.resultsfw_spec["warn_on_impl"] = DeprecationWarning("use another")
"""


def test_describing_a_broken_plugin_says_why_and_fails(cli, plugin):
    imported = plugin("raise ImportError('no such library: \\n \\x1b[31m')")
    ran = cli("backends", "strange")
    assert ran.status == 1
    assert imported.exists()
    assert "from strangers 2.5, strangers_module" in " ".join(ran.out.split())
    assert "broken: " in " ".join(ran.out.split())
    assert "cannot be used: ImportError: no such" in " ".join(ran.out.split())
    assert "\x1b" not in ran.out
    facts = cli("backends", "strange", "-o", "json").json
    assert facts["usable"] is False
    assert "no such library" in facts["why"]


def test_two_plugins_of_one_name_are_both_listed_and_neither_is_usable(cli, plugin):
    plugin("", name="sidecar-logs")
    assert len(re.findall("^  sidecar-logs +broken ", cli("backends").out, re.MULTILINE)) == 2
    ran = cli("backends", "sidecar-logs")
    assert ran.status == 1
    assert "claimed by more than one distribution" in " ".join(ran.out.split())


def test_describing_a_backend_shows_limits_permissions_and_options(cli):
    ran = cli("backends", "sidecar-logs")
    assert ran.status == 0
    assert "  permission  get pods/log: the results are in the log" in ran.out
    assert '"config.sidecar-logs"' in ran.out
    assert "  polling-interval  string               100ms" in ran.out
    assert "  wire              resultsfw or tekton  resultsfw" in ran.out


def test_describing_a_backend_as_json_has_capabilities_and_schema(cli):
    facts = cli("backends", "termination-message", "-o", "json").json
    assert facts["usable"] is True
    assert facts["capabilities"]["result_bytes"] == 4096
    assert facts["capabilities"]["permissions"] == []
    assert facts["config"]["properties"]["compress"]["default"] is False


def test_a_third_party_backend_is_described_with_and_without_options(cli, plugin):
    plugin(
        """
        from pydantic import BaseModel, ConfigDict, Field
        from resultsfw import Capabilities, Extraction, Permission, hookimpl

        class Config(BaseModel):
            model_config = ConfigDict(extra="forbid")
            bucket: str | None = Field(default=None, description="Where values are put. " * 5)
            retries: int = 3

        why = "to put them there"
        capabilities = Capabilities(
            summary="elsewhere",
            delivery="reference",
            run_bytes=99,
            permissions=(Permission(verb="create", resource="buckets", group="example.com", why=why),),
        )

        @hookimpl
        def prepare_pod(): return 1
        @hookimpl
        def pod_ready(): return True
        @hookimpl
        def extract(): return Extraction()
        @hookimpl
        def dereference(): return iter(())
        """
    )
    ran = cli("backends", "strange")
    assert ran.status == 0
    assert "by reference" in ran.out
    assert "at most 99 bytes" in ran.out
    assert "create buckets.example.com: to put them there" in ran.out
    assert "  bucket   string or null  null     Where values are put." in ran.out
    assert "  retries  integer         3\n" in ran.out
    assert all(len(line) <= 100 for line in ran.out.splitlines())


def test_an_unknown_name_is_refused_with_the_nearest_name(cli, lists_all):
    ran = cli("backends", "sidecar-log")
    assert ran.status == 2
    assert ran.err.startswith('error: no backend or extension "sidecar-log" is installed (installed: ')
    assert ran.err.endswith(', sidecar-logs, signed, termination-message); did you mean "sidecar-logs"?\n')


def test_the_list_says_so_if_no_backend_is_installed(cli, monkeypatch):
    monkeypatch.setattr("resultsfw.cli.backends.installed_plugins", lambda _: [])
    ran = cli("backends")
    assert ran.status == 0
    assert ran.out.startswith('no backend is installed (entry-point group "resultsfw.backends")\n')


def test_a_backend_by_reference_shows_no_limit_of_the_api_object(cli):
    out = cli("backends", "object-store").out
    assert "one result  at most 52428800000 bytes" in out
    assert "one run     no limit: the status holds references" in out


CREATED = """
from pydantic import BaseModel, ConfigDict, SecretStr
from resultsfw import hookimpl

class Strange:
    class Config(BaseModel):
        model_config = ConfigDict(extra="forbid")
        password: SecretStr = SecretStr("")

    def __init__(self, config):
        if config.password.get_secret_value() == "wrong":
            raise ConnectionError("nobody answers")
        self.left = config.password.get_secret_value() == "left"

    @hookimpl
    def results_collected(self):
        pass

    @hookimpl
    def close(self):
        if self.left:
            raise OSError("cannot close")
"""


FLAGS = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: feature-flags}\ndata:"


@pytest.fixture
def with_flags(cli, site, monkeypatch, tmp_path):
    """Describes an extension with the flags that are given."""
    monkeypatch.syspath_prepend(site.path)
    site.extension("strange", CREATED, target="ext_strange:Strange")

    def describe(*arguments, **data):
        lines = [f"  {key}: {value!r}" for key, value in data.items()]
        file = tmp_path / "flags.yaml"
        file.write_text("\n".join([FLAGS, *lines]))
        return cli("backends", *arguments, "--feature-flags", str(file))

    return describe


def test_an_extension_is_created_with_the_options_of_the_flags(with_flags):
    assert with_flags("strange", extensions="strange").status == 0
    for password, why in (("wrong", "ConnectionError: nobody answers"), ("left", "failed in close: OSError")):
        ran = with_flags("strange", extensions="strange", **{"config.strange": f"password: {password}"})
        assert ran.status == 1
        assert why in " ".join(ran.out.split())
    ran = with_flags("strange", **{"config.strange": "pasword: x"})
    assert ran.status == 1
    assert "pasword: is no option; did you mean" in " ".join(ran.out.split())


def test_the_list_fails_for_what_the_flags_name_and_for_nothing_else(with_flags, monkeypatch):
    few = ("strange", "termination-message")
    monkeypatch.setattr(
        "resultsfw.cli.backends.installed_plugins",
        lambda group: [plugin for plugin in installed_plugins(group) if plugin.name in few],
    )
    ran = with_flags(extensions="strange, redct", **{"config.strange": "password: wrong"})
    assert ran.status == 1
    assert re.search("^  strange +broken ", ran.out, re.MULTILINE)
    assert 'not installed: the flags name "redct"' in ran.out
    assert with_flags(extensions="strange").status == 0


def test_an_extension_that_needs_options_says_which(cli):
    ran = cli("backends", "redact")
    assert ran.status == 0
    assert 'needs options: feature flag "config.redact": patterns: must have 1 or more' in ran.out
