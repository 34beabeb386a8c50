"""Every regular expression in the product takes time linear in the text it is used on.

The table is made from the source: each pattern, and each way it is used. A pattern that is built when it is
needed stands in `BUILT`, with an example of it.
"""

import ast
import collections
import functools
import importlib
import json
import re
import resource
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[1]
PACKAGES = {
    "resultsfw": ROOT / "resultsfw",
    "resultsfw_backends": ROOT / "backends" / "resultsfw_backends",
    "resultsfw_extensions": ROOT / "extensions" / "resultsfw_extensions",
    "resultsfw_pytest": ROOT / "resultsfw_pytest",
    "resultsfw_sidecar": ROOT / "sidecar" / "resultsfw_sidecar",
    "resultsfw_signing": ROOT / "sidecar" / "resultsfw_signing",
    "resultsfw_transports": ROOT / "sidecar" / "resultsfw_transports",
}
METHODS = ("search", "match", "fullmatch", "finditer", "findall", "sub", "split")
BUILT = {
    "resultsfw.tekton.spec.param_files": (r"\$\((~*)params\.(a|bb|ccc)\)", "sub"),
    "resultsfw.local.step.paths": (
        (
            r"(?:(?<![A-Za-z0-9_.~\\/})\]*])|(?<=\s-[A-Za-z])|(?<=^-[A-Za-z])|(?<=file://)|(?<=unix://))"
            r"(/workspace|/tekton/results|/tekton)(?![A-Za-z0-9_-]|\.[A-Za-z0-9_])"
        ),
        "sub",
    ),
    "resultsfw_backends.pvc": (r"[0-9a-f]{64}\.0", "fullmatch"),
}
BOUNDED = {("resultsfw.durations", "_PART"): 200}
"""Characters of a text, for a pattern that is only used on shorter ones."""
SIZE = 150_000
"""Characters of a text: linear work takes milliseconds, quadratic work 4 seconds and more."""
SEEDS = (
    *"a10.-~$()[]'/\\\" \n=#<{é_",
    *(
        "$(",
        "$(~",
        "$(a",
        "$(params.",
        "$(params.a",
        "$(params.a[",
        '$(params["',
        "$(params.a[1",
        "$(a)",
        "$$",
    ),
    *(
        "$(steps.x.results.",
        "$(workspaces.",
        "$(tasks.a.results.",
        "/tekton/params/",
        "/workspace",
        "-I/workspace",
    ),
    *("a.", "a-", "1.", "1.1", "1e", "e+", "1h", "0_", "a/", "[0", "#1", '\\"', '"\\', "\\u00", '"x" ', ": "),
    *(' value: "', " value: {", '{"name":"', '{"name":"\\', "metadata.annotations['", "/api/v1/", "<Code>"),
    *(
        "status code: 400 A",
        "params.a[0]",
        "tasks.a.results.b",
        "tasks.a.results['",
        "has 1",
        " has ",
        "sha256:",
    ),
)


def modules():
    for package, folder in PACKAGES.items():
        for file in sorted(folder.rglob("*.py")):
            relative = file.relative_to(folder).with_suffix("")
            if {"template", "template_extension", "testing"} & set(relative.parts):
                continue
            parts = [package, *relative.parts]
            yield ".".join(parts[:-1] if parts[-1] == "__init__" else parts), file


def is_compile(node):
    return (
        isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr == "compile"
        and isinstance(node.func.value, ast.Name)
        and node.func.value.id == "re"
    )


def methods_by_name():
    """The methods that are called on each name, anywhere."""
    uses = collections.defaultdict(set)
    for _, file in modules():
        for name, method in re.findall(rf"\b(\w+)\.({'|'.join(METHODS)})\(", file.read_text()):
            uses[name].add(method)
    return uses


@functools.cache
def table():
    """Each pattern by module and name, with the methods it is used by anywhere."""
    uses = methods_by_name()
    rows = []
    for module, file in modules():
        tree = ast.parse(file.read_text())
        named = {}
        for statement in tree.body:
            target = statement.target if isinstance(statement, ast.AnnAssign) else None
            if isinstance(statement, ast.Assign):
                (target,) = statement.targets
            if target is not None and statement.value is not None and is_compile(statement.value):
                named[target.id] = statement.value
        for name, call in named.items():
            rows.append((module, name, sorted(uses[name]), call))
        known = set(map(id, named.values()))
        for node in ast.walk(tree):
            if is_compile(node) and id(node) not in known:
                rows.append((module, "", [BUILT[module][1]] if module in BUILT else [], node))
            if (
                isinstance(node, ast.Call)
                and isinstance(node.func, ast.Attribute)
                and isinstance(node.func.value, ast.Name)
                and node.func.value.id == "re"
                and node.func.attr in METHODS
            ):
                rows.append((module, f"re.{node.func.attr}", [node.func.attr], node))
    return rows


def test_every_pattern_is_used_and_known():
    """A pattern that is built at run time is in `BUILT`, and a pattern written in a call is a constant."""
    for module, name, used, node in table():
        if not name:
            assert module in BUILT, f"{module}: name the pattern it builds in BUILT"
        elif name.startswith("re."):
            assert isinstance(node.args[0], ast.Constant), f"{module}: {ast.unparse(node)}"
        assert used, f"{module}.{name} is used by no method this test knows"


def pattern_of(module, name, node):
    if not name:
        return re.compile(BUILT[module][0])
    if name.startswith("re."):
        return re.compile(node.args[0].value)
    return getattr(importlib.import_module(module), name)


CHILD = """
import json, re, resource, sys, time
rows, seeds = json.load(sys.stdin)
for pattern, flags, binary, methods, size in rows:
    compiled = re.compile(pattern.encode() if binary else pattern, flags)
    for seed in seeds:
        text = (seed * (size // len(seed) + 1))[:size] + "!"
        data = text.encode() if binary else text
        for method in methods:
            print(pattern, method, repr(seed), flush=True)
            resource.setrlimit(resource.RLIMIT_CPU, (int(time.process_time()) + 2, 60))
            if method == "sub":
                compiled.sub(b"" if binary else "", data)
            elif method == "finditer":
                sum(1 for _ in compiled.finditer(data))
            else:
                getattr(compiled, method)(data)
print("done")
"""


def limited():
    resource.setrlimit(resource.RLIMIT_CPU, (60, 60))
    resource.setrlimit(resource.RLIMIT_AS, (4 << 30, 4 << 30))


@pytest.mark.parametrize("half", range(2))
def test_no_pattern_takes_quadratic_time_on_hostile_text(half):
    """Each use of a pattern on a text may take a second or two of the processor."""
    rows = []
    for module, name, used, node in table()[half::2]:
        pattern = pattern_of(module, name, node)
        binary = isinstance(pattern.pattern, bytes)
        text = pattern.pattern.decode() if binary else pattern.pattern
        flags = pattern.flags & ~re.UNICODE if binary else pattern.flags
        rows.append((text, int(flags), binary, used, BOUNDED.get((module, name), SIZE)))
    ended = subprocess.run(
        [sys.executable, "-c", CHILD],
        input=json.dumps((rows, SEEDS)),
        capture_output=True,
        text=True,
        check=False,
        preexec_fn=limited,
    )
    last = ended.stdout.splitlines()[-1]
    assert last == "done", f"out of CPU time at {last}"
