"""``resultsfw doctor``: check what the controller and the chosen backend need of a cluster."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing
from dataclasses import asdict
from itertools import groupby
from typing import Any, Final

from resultsfw.cli.controller import options_of
from resultsfw.cli.output import show
from resultsfw.controller.doctor import Finding, Subject, examine
from resultsfw.controller.options import images_of
from resultsfw.kube import KubeCluster, connect

__all__ = ["examine_cluster", "print_findings"]

_VERBS: Final = frozenset({"create", "delete", "get", "list", "patch", "update", "watch"})
"""Verbs of RBAC, with which the name of a permission begins."""

_WORDS = {True: "ok", False: "missing", None: "unknown"}
_STYLES = {True: "", False: "bold red", None: "dim"}


def examine_cluster(given: dict[str, Any], *, impersonate: str = "", output: str) -> int:
    """Check the cluster, print the findings, and return the exit status: 1 if something is missing.

    Args:
        given: The options of the command line.
        impersonate: The user whose permissions are checked; "": the identity in use.
        output: "table", "json" or "yaml".

    Raises:
        ForbiddenError: The identity in use may not impersonate that user.
    """
    options = options_of(given)
    with ExitStack() as connections:

        def cluster_as(user: str) -> KubeCluster:
            connection = connect(options.kubeconfig, options.context, impersonate=user)
            return KubeCluster(connections.enter_context(closing(connection)))

        findings = examine(
            cluster_as(""),
            subject=Subject(impersonate, cluster_as(impersonate)) if impersonate else None,
            namespace=options.namespace,
            lease_namespace=options.lease_namespace if options.leader_elect else None,
            watched=options.watch_namespaces,
            images=images_of(options),
            sidecar_image=options.sidecar_image,
            image_registry=options.image_registry,
        )
    if output == "table":
        print_findings(findings)
    else:
        listed = [asdict(finding) for finding in findings]
        show.write(show.as_data(listed, output))
    return 1 if any(finding.well is False for finding in findings) else 0


def print_findings(findings: Sequence[Finding]) -> None:
    """Print a table, and below it how to fix what is missing."""
    out = show.console()
    rows = [tuple(map(show.plain, row)) for row in _rows(findings)]
    lines = list(show.columns(out.width, ("", "what", "detail"), rows))
    for line in lines:
        out.print(line, soft_wrap=True)
    missing = [finding for finding in findings if finding.well is False]
    if not missing:
        return
    out.print()
    for finding in missing:
        show.print_text(out, f"missing: {finding.what}", indent="", style="bold red")
        if finding.fix:
            show.print_text(out, finding.fix)


def _rows(findings: Sequence[Finding]) -> Iterator[tuple[str, str, str]]:
    """Yield state, what and detail; verbs that differ in nothing else are in one row: "get, list pods"."""

    def subject(finding: Finding) -> tuple[str, str, str]:
        verb, _, rest = finding.what.partition(" ")
        return _state(finding), rest if verb in _VERBS and finding.well else finding.what, finding.detail

    for (state, what, detail), group in groupby(findings, subject):
        verbs = [finding.what.removesuffix(what).strip() for finding in group]
        yield state, " ".join(filter(None, (", ".join(filter(None, verbs)), what))), detail


def _state(finding: Finding) -> str:
    return "warning" if finding.doubtful else _WORDS[finding.well]
