"""``resultsfw doctor``: what the controller and the chosen backend need, and whether it is there."""

from collections.abc import Sequence
from contextlib import ExitStack, closing
from dataclasses import asdict
from typing import Any

from resultsfw.cli import show
from resultsfw.cli.controller import options_of
from resultsfw.controller.doctor import Finding, Subject, examine
from resultsfw.controller.options import images_of
from resultsfw.kube import KubeCluster, connect

__all__ = ["examine_cluster", "print_findings"]

_WORDS = {True: "ok", False: "missing", None: "unknown"}
_STYLES = {True: "", False: "bold red", None: "dim"}


def examine_cluster(given: dict[str, Any], *, impersonate: str = "", output: str) -> int:
    """Look, print what was found, and return the exit status: 1 if something is missing.

    Args:
        given: The options of the command line.
        impersonate: Whose rights are asked for; "": those of the identity in use.
        output: "table" or "json".

    Raises:
        ForbiddenError: The identity in use may not act as that one.
    """
    options = options_of(given)
    with ExitStack() as connections:

        def cluster_as(who: str) -> KubeCluster:
            connection = connect(options.kubeconfig, options.context, impersonate=who)
            return KubeCluster(connections.enter_context(closing(connection)))

        found = examine(
            cluster_as(""),
            subject=Subject(impersonate, cluster_as(impersonate)) if impersonate else None,
            namespace=options.namespace,
            lease_namespace=options.lease_namespace if options.leader_elect else None,
            images=images_of(options),
            sidecar_image=options.sidecar_image,
        )
    if output == "json":
        show.write(show.as_json([asdict(one) for one in found]))
    else:
        print_findings(found)
    return 1 if any(one.well is False for one in found) else 0


def print_findings(found: Sequence[Finding]) -> None:
    """Print a table, and below it what is to be done."""
    out = show.console()
    rows = [
        ("warning" if one.doubtful else _WORDS[one.well], show.plain(one.what), show.plain(one.detail))
        for one in found
    ]
    lines = list(show.columns(out.width, ("", "what", "detail"), rows))
    for line in lines:
        out.print(line, soft_wrap=True)
    bad = [one for one in found if one.well is False]
    if not bad:
        return
    out.print()
    for one in bad:
        show.print_text(out, f"missing: {one.what}", indent="", style="bold red")
        if one.fix:
            show.print_text(out, one.fix)
