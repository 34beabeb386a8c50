"""`resultsfw backends` lists without importing, and says why one is broken."""

import subprocess
import sys
import textwrap

import pytest


@pytest.fixture
def plugin(tmp_path, monkeypatch):
    """Installs a plugin that tells when it is imported."""

    def install(body, name="strange", distribution="strangers"):
        folder = tmp_path / distribution
        info = folder / f"{distribution}-2.5.dist-info"
        info.mkdir(parents=True)
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution}\nVersion: 2.5\n")
        (info / "entry_points.txt").write_text(f"[resultsfw.backends]\n{name} = {distribution}_module\n")
        told = f"open({str(tmp_path / 'imported')!r}, 'w').close()\n"
        (folder / f"{distribution}_module.py").write_text(told + textwrap.dedent(body))
        monkeypatch.syspath_prepend(folder)
        return tmp_path / "imported"

    return install


def test_the_list(cli):
    ran = cli("backends")
    assert ran.status == 0
    assert "  sidecar-logs         resultsfw     0.1.0    resultsfw_backends.sidecar_logs\n" in ran.out
    assert "  termination-message  resultsfw" in ran.out


def test_the_list_as_json(cli):
    [*_, logs, message] = cli("backends", "-o", "json").json
    assert logs["name"] == "sidecar-logs"
    assert message == {
        "name": "termination-message",
        "target": "resultsfw_backends.termination_message",
        "distribution": "resultsfw",
        "version": logs["version"],
    }


def test_the_list_imports_no_backend():
    code = (
        "import sys; from resultsfw.cli import main; main(['backends']);"
        "print([m for m in sys.modules if m.startswith('resultsfw_backends')])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


def test_a_broken_plugin_is_listed_as_any_other(cli, plugin):
    imported = plugin("raise ImportError('no such library: \\n \\x1b[31m')")
    ran = cli("backends")
    assert ran.status == 0
    assert "  strange              strangers     2.5      strangers_module\n" in ran.out
    assert not imported.exists()


def test_a_broken_plugin_says_why_when_it_is_named(cli, plugin):
    imported = plugin("raise ImportError('no such library: \\n \\x1b[31m')")
    ran = cli("backends", "strange")
    assert ran.status == 1
    assert imported.exists()
    assert "from strangers 2.5, strangers_module" in ran.out
    assert "broken: " in ran.out
    assert "cannot be used: ImportError: no such" in ran.out
    assert "\x1b" not in ran.out
    facts = cli("backends", "strange", "-o", "json").json
    assert facts["usable"] is False
    assert "no such library" in facts["why"]


def test_two_of_one_name_are_both_listed_and_neither_is_used(cli, plugin):
    plugin("", name="sidecar-logs")
    assert cli("backends").out.count("  sidecar-logs ") == 2
    ran = cli("backends", "sidecar-logs")
    assert ran.status == 1
    assert "claimed by more than one distribution" in ran.out


def test_one_in_detail(cli):
    ran = cli("backends", "sidecar-logs")
    assert ran.status == 0
    assert "  permission  get pods/log: the results are in the log" in ran.out
    assert '"config.sidecar-logs"' in ran.out
    assert "  polling-interval  string               100ms" in ran.out
    assert "  wire              resultsfw or tekton  resultsfw" in ran.out


def test_one_in_detail_as_json(cli):
    facts = cli("backends", "termination-message", "-o", "json").json
    assert facts["usable"] is True
    assert facts["capabilities"]["result_bytes"] == 4096
    assert facts["capabilities"]["permissions"] == []
    assert facts["config"]["properties"]["compress"]["default"] is False


def test_a_stranger_with_and_without_options(cli, plugin):
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
            by="reference",
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


def test_an_unknown_name_is_refused_with_the_nearest(cli):
    ran = cli("backends", "sidecar-log")
    assert ran.status == 2
    assert ran.err.startswith('error: no backend "sidecar-log" is installed (installed: ')
    assert ran.err.endswith(', sidecar-logs, termination-message); did you mean "sidecar-logs"?\n')


def test_none_installed(cli, monkeypatch):
    monkeypatch.setattr("resultsfw.cli.backends.installed", list)
    ran = cli("backends")
    assert (ran.status, ran.out) == (0, 'no backend is installed (entry-point group "resultsfw.backends")\n')
