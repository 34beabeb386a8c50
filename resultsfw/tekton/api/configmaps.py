"""What becomes of each key of Tekton's ConfigMaps: it is honoured, warned about, or it makes runs be refused.

`KEYS` is the table; `docs/reference/tekton-fields.md` shows it, and a test holds it to the recorded list of
Tekton's own keys (`tests/data/tekton/config-keys.txt`).
"""

import difflib
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Final, Literal

from resultsfw.tekton.api.signing import CONFIG_SPIRE, signing_fault

__all__ = [
    "BOOLEANS",
    "CONFIG_DEFAULTS",
    "CONFIG_EVENTS",
    "CONFIG_SPIRE",
    "FEATURE_FLAGS",
    "KEYS",
    "KeyRule",
    "configmap_of",
    "key_warnings",
    "normal",
]

FEATURE_FLAGS: Final = "feature-flags"
CONFIG_DEFAULTS: Final = "config-defaults"
CONFIG_EVENTS: Final = "config-events"

BOOLEANS: Final[Mapping[str, bool]] = {
    **dict.fromkeys(("1", "t", "T", "true", "TRUE", "True"), True),
    **dict.fromkeys(("0", "f", "F", "false", "FALSE", "False"), False),
}
"""Truth values as Go reads them (strconv.ParseBool), and with it Tekton's webhook."""

_EXAMPLE: Final = "_example"
"""A key of every ConfigMap of Tekton's that holds only documentation."""

_NEAR: Final = 0.75
_SHOWN: Final = 60


@dataclass(frozen=True, slots=True)
class KeyRule:
    """What becomes of a key.

    Attributes:
        verdict: ``honoured``: it does here what it does in Tekton, or there is nothing here that it could
            change.
            ``warned``: it has no effect here; a value that asks for one is warned about. ``refused``: a
            security policy that is not enforced here; a value that asks for it refuses every run.
        meaning: For a person: what holds here whatever the key says.
        harmless: Values that ask for nothing but what holds here anyway, lower case; an empty value always
            is one.
        lenient: Of a refused key, values that Tekton only warns for; they are warned about here, too.
        enforced: Of a refused key, a value that is enforced if ``fault`` returns "".
        fault: Takes the ConfigMap's data and returns why that value is not enforced.
    """

    verdict: Literal["honoured", "warned", "refused"]
    meaning: str
    harmless: frozenset[str] = frozenset()
    lenient: frozenset[str] = frozenset()
    enforced: str = ""
    fault: Callable[[Mapping[str, str]], str] = lambda _: ""

    def refusal(self, value: str, data: Mapping[str, str]) -> str:
        """Return why the key with this value refuses every run; "" if it does not.

        Args:
            value: The value.
            data: All data of its ConfigMap.
        """
        value = normal(value)
        if self.verdict != "refused" or value in {"", *self.harmless, *self.lenient}:
            return ""
        return self.fault(data) if self.enforced and value == self.enforced else self.meaning

    def warns(self, value: str) -> bool:
        """Return whether a value that refuses nothing is without the effect it asks for."""
        return self.verdict != "honoured" and normal(value) not in {"", self.enforced, *self.harmless}


def _honoured(meaning: str) -> KeyRule:
    return KeyRule("honoured", meaning)


def _warned(meaning: str, *harmless: str) -> KeyRule:
    return KeyRule("warned", meaning, frozenset(harmless))


def _refused(meaning: str, *harmless: str, lenient: str = "") -> KeyRule:
    return KeyRule("refused", meaning, frozenset(harmless), frozenset(lenient.split()))


_NONFALSIFIABILITY: Final = KeyRule(
    "refused",
    'Tekton knows the values "none" and "spire"; "spire" is enforced by the extension "signed", and refuses '
    "every run where it is not loaded or its policy is off",
    frozenset({"none"}),
    enforced="spire",
    fault=signing_fault,
)


KEYS: Final[Mapping[str, Mapping[str, KeyRule]]] = {
    FEATURE_FLAGS: {
        "results-from": _honoured("the backend"),
        "max-result-size": _honoured("bytes of one value"),
        "set-security-context": _honoured("init containers pass the restricted Pod Security level"),
        "set-security-context-read-only-root-filesystem": _honoured("their root is read-only, too"),
        "keep-pod-on-cancel": _honoured("the pod of a cancelled run is stopped, not deleted"),
        "disable-inline-spec": _honoured("embedded specs of the kinds that it names are refused"),
        "enforce-nonfalsifiability": _NONFALSIFIABILITY,
        "trusted-resources-verification-no-match-policy": _refused(
            "signatures of Tasks and Pipelines are not verified here", "ignore", lenient="warn"
        ),
        "require-git-ssh-secret-known-hosts": _honoured(
            "a run whose Secrets with SSH keys lack known_hosts is refused"
        ),
        "disable-creds-init": _honoured("Steps get no Secrets of their service account"),
        "coschedule": _honoured(
            "pods of a PipelineRun are placed beside each other; without the key they are not"
        ),
        "await-sidecar-readiness": _warned("the first Step always waits until Sidecars are ready", "true"),
        "running-in-environment-with-injected-sidecars": _honoured(
            "the first Step always waits until all containers run"
        ),
        "enable-api-fields": _warned("fields of every stability level are accepted", "alpha", "beta"),
        "enable-param-enum": _honoured("enum of a param is always checked"),
        "enable-cel-in-whenexpression": _honoured(
            'unless it is "true", CEL in when of a Pipeline Task is refused'
        ),
        "enable-artifacts": _honoured("without it, Tasks that use artifacts are refused"),
        "enable-concise-resolver-syntax": _honoured(
            "Tekton's webhook checks it; a reference whose name is a URL is given to a resolver"
        ),
        "enable-kubernetes-sidecar": _honoured(
            "Sidecars start before the Steps, and the kubelet ends them (Kubernetes 1.29 or newer)"
        ),
        "enable-termination-message-compression": _honoured("the default of the backend's option compress"),
        "enable-tekton-oci-bundles": _honoured(
            'Tekton ignores it, too: the field bundle is refused, and the resolver "bundles" reads bundles'
        ),
        "enable-step-actions": _honoured("Tekton ignores it, too: a Step may always refer to a StepAction"),
        "enable-provenance-in-status": _warned("the backend that read a run is always in its status", "true"),
        "enable-wait-exponential-backoff": _honoured(
            "failed creations are always retried with growing delays"
        ),
        "enable-informer-cache-transforms": _honoured("this controller has caches of its own"),
        "send-cloudevents-for-runs": _honoured("CloudEvents are not sent; a sink causes a warning"),
    },
    CONFIG_DEFAULTS: {
        "default-service-account": _honoured("for runs that name none"),
        "default-forbidden-env": _honoured("a podTemplate that sets one of these variables is refused"),
        "default-timeout-minutes": _honoured("for runs without a timeout"),
        "default-managed-by-label-value": _warned(
            "Tekton's webhook gives the label to runs; pods do not have it, since Tekton's own controller "
            "takes up the runs of pods that have it",
            "tekton-pipelines",
        ),
        "default-pod-template": _honoured("merged below the podTemplate of each run"),
        "default-affinity-assistant-pod-template": _honoured("for the pods of affinity assistants"),
        "default-cloud-events-sink": _warned(
            "CloudEvents are not sent; read Kubernetes Events or the status"
        ),
        "default-task-run-workspace-binding": _honoured(
            "for required workspaces that a TaskRun does not bind; a value that is not exactly one binding "
            "is rejected"
        ),
        "default-max-matrix-combinations-count": _honoured("the most combinations that a matrix may have"),
        "default-resolver-type": _honoured(
            "for references of runs with neither name nor resolver; in Pipelines and Tasks "
            "Tekton's webhook writes it"
        ),
        "default-container-resource-requirements": _honoured(
            "for containers without resources, by name, prefix or default"
        ),
        "default-imagepullbackoff-timeout": _honoured(
            "how long a run waits for an image that cannot be pulled"
        ),
        "default-create-container-error-timeout": _honoured(
            "how long a run waits for a container that the runtime takes too long to create; without it, "
            "until its timeout"
        ),
        "default-maximum-resolution-timeout": _honoured("a run whose resolver takes longer fails"),
        "default-sidecar-log-polling-interval": _honoured(
            "the results sidecar of this project does not poll"
        ),
        "default-step-ref-concurrency-limit": _honoured(
            "the StepActions of a Task are read one after the other"
        ),
    },
    CONFIG_EVENTS: {
        "sink": _warned("CloudEvents are not sent; read Kubernetes Events or the status"),
        "formats": _honoured("CloudEvents are not sent, in no format"),
    },
    CONFIG_SPIRE: {
        "spire-trust-domain": _honoured('the default of the option trust-domain of the extension "signed"'),
        "spire-socket-path": _honoured("the default of its option controller-socket"),
        "spire-server-addr": _honoured("the default of server in its option entries"),
        "spire-node-alias-prefix": _warned(
            "entries have the parent that the extension's option entries names, on every node"
        ),
    },
}
"""The rules by ConfigMap and key."""


def configmap_of(key: str) -> str:
    """Return the name of the ConfigMap that a key belongs to: ``feature-flags`` unless another has it."""
    return next((name for name, rules in KEYS.items() if key in rules), FEATURE_FLAGS)


def normal(text: str) -> str:
    """Return a value as it is compared: stripped, lower case, truth values as true or false."""
    text = text.strip()
    truth = BOOLEANS.get(text)
    return text.lower() if truth is None else str(truth).lower()


def key_warnings(
    name: str, data: Mapping[str, str], *, own: Collection[str] = (), prefix: str | None = None
) -> Iterator[str]:
    """Yield a sentence for each key that does not do what it says, and for each that nothing knows.

    Args:
        name: Of the ConfigMap.
        data: Its data.
        own: Keys that this project adds to it.
        prefix: Of further keys of this project; the rest of such a key is not checked here.
    """
    rules = KEYS[name]
    for key in sorted(data):
        rule, value = rules.get(key), data[key]
        if rule is None:
            if key not in own and key != _EXAMPLE and not (prefix and key.startswith(prefix)):
                yield _unknown(name, key, {*rules, *own})
        elif refusal := rule.refusal(value, data):
            yield f'{name}: {key} is "{value.strip()[:_SHOWN]}", and every run is refused: {refusal}'
        elif rule.warns(value):
            yield f"{name}: {key} has no effect here: {rule.meaning}"


def _unknown(name: str, key: str, known: Collection[str]) -> str:
    near = difflib.get_close_matches(key, sorted(known), n=1, cutoff=_NEAR)
    hint = f'; did you mean "{near[0]}"?' if near else ""
    return f'{name}: "{key[:_SHOWN]}" is no key that is known here, and has no effect{hint}'
