"""``resultsfw install``: apply the manifests with an operator's choices to a cluster, or print them."""

from contextlib import closing
from typing import Any

from resultsfw.cli.extras import needs
from resultsfw.cli.files.settings import Given, core_of
from resultsfw.cli.output import show
from resultsfw.controller.manifests import (
    Choices,
    Plan,
    backends_with_rights,
    flags_patch,
    plan_of,
    reads_pod_logs,
)
from resultsfw.controller.namespaces import parse_namespaces
from resultsfw.errors import InputError
from resultsfw.images import missing_registry

__all__ = ["choices_of", "install_on_cluster"]


def install_on_cluster(given: dict[str, Any], *, printed: bool, wait: float | None) -> int:
    """Apply the manifests and report on each object, or print them; returns the exit status.

    Raises:
        InputError: A choice is invalid; nothing was changed.
        ClusterError: The cluster refused a request.
    """
    kubeconfig, context = given.pop("kubeconfig"), given.pop("context")
    if printed and wait is not None:
        raise InputError("--wait cannot be used with --print, which applies nothing", subject="--wait")
    choices = choices_of(given)
    plan = plan_of(choices)
    if printed:
        _print(plan)
        return 0
    with needs("cluster"):  # printing needs neither
        from resultsfw.controller.install import (  # noqa: PLC0415
            check,
            install,
            missing_choices,
            unchosen,
            wait_for_rollout,
        )
        from resultsfw.kube import KubeCluster, connect  # noqa: PLC0415
    with closing(connect(kubeconfig, context)) as connection:
        cluster = KubeCluster(connection)
        check(cluster, plan)
        for outcome in install(cluster, plan):
            show.write(f"{outcome.sentence}\n")
        missing = list(missing_choices(cluster, choices))
        for backend, option in missing:
            show.print_note(
                f'the flags allow the backend "{backend}", for which these options grant no rights: '
                f"add {option}"
            )
        if not missing and (commands := list(unchosen(cluster, choices))):
            show.print_note(
                "objects of options that are not chosen are still there; delete those that nothing uses:"
            )
            for command in commands:
                show.console(stderr=True).print(f"  {command}", markup=False, highlight=False, soft_wrap=True)
        if wait is not None:
            wait_for_rollout(cluster, plan.applied[-1], wait)
    return 0


def choices_of(given: dict[str, Any]) -> Choices:
    """Return the choices of the command line, validated.

    Raises:
        InputError: A flag has an invalid value.
    """
    results_from, size = given["results_from"], given["max_result_size"]
    core = core_of(Given(results_from=results_from, max_result_size=size))
    if size is not None and core.flags.max_result_size != int(size):
        raise InputError(f"{size} bytes are more than an API object can hold", subject="--max-result-size")
    flags = {"results-from": core.flags.results_from} if results_from is not None else {}
    flags |= {"max-result-size": str(core.flags.max_result_size)} if size is not None else {}
    images = {key: value for key, value in given.items() if key.endswith("_image") and value}
    controller_image = images.pop("controller_image", "")
    log_access = given["enable_log_access"]
    if log_access is None:
        log_access = reads_pod_logs(core, core.flags.results_from)
    chosen = dict.fromkeys(given["backends"])
    if results_from is not None and core.flags.results_from in backends_with_rights():
        chosen[core.flags.results_from] = None
    return Choices(
        controller_image=controller_image,
        image_registry=given["image_registry"],
        options={key.replace("_", "-"): value for key, value in images.items()},
        namespace=given["namespace"],
        flags=flags,
        log_access=log_access,
        coscheduling=given["enable_coscheduling"],
        encryption=given["enable_encryption"],
        disruption_budget=given["disruption_budget"],
        network_policies=given["network_policies"],
        admission_policy=given["admission_policy"],
        watch_namespaces=parse_namespaces(given["watch_namespaces"]),
        controller_namespace=given["controller_namespace"],
        signing=given["enable_signing"],
        backends=tuple(chosen),
        crds=given["crds"],
        monitoring=given["monitoring"],
    )


def _print(plan: Plan) -> None:
    """Print one document for each object, in an order in which kubectl can apply them."""
    if missing := missing_registry(plan.images):
        show.console(stderr=True).print(f"warning: {missing}", markup=False, highlight=False, soft_wrap=True)
    for obj in (*plan.made, *plan.applied):
        show.write(f"---\n{show.as_yaml(obj)}")
    if command := flags_patch(plan):
        # As a document it would, applied by kubectl, remove Tekton's other flags.
        show.write(f"# The ConfigMap may be Tekton's. To set only these flags: {command}\n")
        show.console(stderr=True).print(
            f"to set the flags: {command}", markup=False, highlight=False, soft_wrap=True
        )
