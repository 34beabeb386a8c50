"""``resultsfw verify``: verify runs by the verdict in their status; of saved ones no cluster is asked."""

from collections.abc import Sequence
from typing import Any, Final

import click
from cryptography import x509

from resultsfw.cli.files.inputs import Document, read_bytes
from resultsfw.cli.inspect.verify_pipelines import verify_pipelinerun
from resultsfw.cli.output.show import as_data, plain, write
from resultsfw.cli.sources.run_names import KINDS, RunName
from resultsfw.cli.sources.saved_run import checked_status
from resultsfw.cli.sources.source import LEVELS, Source
from resultsfw.errors import InputError, SignatureError
from resultsfw.jsons import MAX_DEPTH, is_deeper_than, is_json
from resultsfw.signatures import (
    Reason,
    SpiffeId,
    TrustBundle,
    VerifiedRun,
    check_trust_domain,
    controller_identity,
    parse_bundles,
    parse_spiffe_id,
    verify_taskrun,
)
from resultsfw.signatures.bundles import BUNDLE_BYTES, UNNAMED
from resultsfw.signatures.reasons import refusal
from resultsfw.tekton.api.kinds import PIPELINERUNS

__all__ = ["verify_runs"]

_API_VERSION: Final = "tekton.dev/v1"


def verify_runs(
    names: Sequence[RunName],
    source: Source,
    *,
    bundles: Sequence[str],
    trust_domain: str | None,
    controller_id: str | None,
    output: str,
) -> int:
    """Verify runs, print the outcome and return the exit status: 0 if every run verifies.

    Args:
        names: The runs; with a PipelineRun its children are verified. All runs of files without names.
        source: Where they are read.
        bundles: Files with the trust bundle, as it was when the runs ended; several are taken together.
        trust_domain: The trust domain of controller and pods; ``None``: that of the bundle.
        controller_id: The SPIFFE ID that must have signed; ``None``: `controller_identity`.
        output: ``text``, ``json`` or ``yaml``.

    Raises:
        InputError: A file is not readable, has no run, or an option is not valid.
        ClusterError: A run cannot be read.
        SignatureError: A bundle is not readable.
    """
    bundle = _bundle(bundles, trust_domain)
    controller = parse_spiffe_id(controller_id) if controller_id else controller_identity(bundle.trust_domain)
    verified = _verify(_runs(names, source), bundle, controller)
    ok = all(run.ok for _, run in verified)
    if output in {"json", "yaml"}:
        report = {"verified": ok, "runs": [_as_json(kind, run) for kind, run in verified]}
        write(as_data(report, output))
    else:
        for kind, run in verified:
            click.echo("\n".join(map(plain, _lines(kind, run))))
    return 0 if ok else 1


def _runs(names: Sequence[RunName], source: Source) -> list[Document]:
    if names or source.is_live:
        runs = _with_children(source.find(names), source)
    else:
        runs = list(source.runs(KINDS, ""))
    if not runs:
        raise InputError("no TaskRun and no PipelineRun in the files", subject="-f")
    for run in runs:
        if run.obj["apiVersion"] != _API_VERSION:
            raise run.refuse(
                f"must be {_API_VERSION}, in which the status was signed: save it with "
                f"kubectl get {run.kind.lower()}s.v1.tekton.dev NAME -o yaml",
                "apiVersion",
            )
        if is_deeper_than(run.obj, MAX_DEPTH):
            raise run.refuse(f"is nested deeper than {MAX_DEPTH} levels")
        if not is_json(run.obj):
            raise run.refuse("has a number of more than 64 bits, which no object of the API has")
    return runs


def _with_children(runs: Sequence[Document], source: Source) -> list[Document]:
    """Return the runs and, after each PipelineRun, its children, each once."""
    known: dict[tuple[str, str], Document] = {}

    def add(run: Document, levels: int) -> None:
        key = (run.kind, run.obj["metadata"]["name"])
        if key in known:
            return
        known[key] = run
        if run.kind == PIPELINERUNS.kind and levels:
            for child in source.children(checked_status(run)):
                add(child, levels - 1)

    for run in runs:
        add(run, LEVELS)
    return list(known.values())


def _verify(
    documents: Sequence[Document], bundle: TrustBundle, controller: SpiffeId
) -> list[tuple[str, VerifiedRun]]:
    """Verify each run, in the order of the files."""
    known: dict[tuple[str, str, str], tuple[Any, VerifiedRun]] = {}
    by_document: dict[int, VerifiedRun] = {}
    taskruns = [index for index, document in enumerate(documents) if document.kind == "TaskRun"]
    pipelineruns = [index for index, document in enumerate(documents) if document.kind == "PipelineRun"]
    # A PipelineRun that another contains comes before it: each round verifies those one level further up.
    for index in [*taskruns, *pipelineruns * min(len(pipelineruns), LEVELS)]:
        document = documents[index]
        run = (
            verify_taskrun(document.obj, bundle, controller=controller)
            if document.kind == "TaskRun"
            else verify_pipelinerun(document.obj, known)
        )
        by_document[index] = run
        known[document.kind, run.namespace, run.name] = (document.obj, run)
    return [(document.kind, by_document[index]) for index, document in enumerate(documents)]


def _bundle(files: Sequence[str], trust_domain: str | None) -> TrustBundle:
    """Return the trust bundle in the files."""
    if trust_domain is not None:
        check_trust_domain(trust_domain)
    authorities: dict[x509.Certificate, None] = {}
    domains: set[str] = set()
    for file in files:
        try:
            text = read_bytes(file, limit=BUNDLE_BYTES).decode("utf-8-sig")
        except UnicodeDecodeError as error:
            raise InputError(f"{file}: is not UTF-8", subject=file) from error
        try:
            bundles = parse_bundles(text, trust_domain=trust_domain or UNNAMED)
        except SignatureError as error:
            raise refusal(Reason(error.reason), f"{file}: {error.message}", subject=file) from error
        for domain, bundle in bundles.items():
            if trust_domain in (None, domain):
                authorities |= dict.fromkeys(bundle.authorities)
                domains |= {domain} if domain != UNNAMED else _domains(bundle)
    named = trust_domain or (domains.pop() if len(domains) == 1 else None)
    if named is None or not authorities:
        known = f"it has those of {', '.join(sorted(domains))}" if domains else "no authority in it names one"
        why = f"the bundle has none of {trust_domain}" if trust_domain else "the bundle's domain is unclear"
        raise InputError(f"{why} ({known}): give --trust-domain", subject="--trust-domain")
    return TrustBundle(named, tuple(authorities))


def _domains(bundle: TrustBundle) -> set[str]:
    """Return the trust domains that the authorities name themselves, as SPIRE's do."""
    found = set()
    for certificate in bundle.authorities:
        try:
            names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        except x509.ExtensionNotFound:
            continue
        for uri in names.get_values_for_type(x509.UniformResourceIdentifier):
            try:
                found.add(parse_spiffe_id(uri).trust_domain)
            except InputError:
                continue
    return found


def _lines(kind: str, run: VerifiedRun) -> list[str]:
    """Return the lines of text about a run."""
    rows = [f"{kind} {run.namespace}/{run.name}: {'verified' if run.ok else 'NOT VERIFIED'}"]
    rows += [f"  {fault.reason}: {fault.message}" for fault in run.faults]
    if run.signer and run.time is not None:
        rows.append(f"  signed {run.time:%Y-%m-%dT%H:%M:%SZ} by {run.signer}")
        rows += [f"  pod: {run.pod}"] if run.pod else []
        rows.append(f"  Succeeded: {run.succeeded.get('status', '')} ({run.succeeded.get('reason', '')})")
    rows += [f"  {result.name}: {result.state}" for result in run.results]
    return rows + [f"  note: {note}" for note in run.notes]


def _as_json(kind: str, run: VerifiedRun) -> dict[str, Any]:
    return {
        "kind": kind,
        "namespace": run.namespace,
        "name": run.name,
        "verified": run.ok,
        "faults": [
            {"reason": fault.reason, "message": fault.message, "result": fault.result, "step": fault.step}
            for fault in run.faults
        ],
        "results": [{"name": result.name, "state": result.state} for result in run.results],
        "signer": run.signer,
        "time": f"{run.time:%Y-%m-%dT%H:%M:%SZ}" if run.time else "",
        "pod": run.pod,
        "succeeded": {key: run.succeeded.get(key, "") for key in ("status", "reason")},
        "notes": list(run.notes),
    }
