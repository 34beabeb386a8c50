"""Evaluates the ValidatingAdmissionPolicies of ``config/backends/`` as an API server does, by cel-python."""

import celpy
from celpy import celtypes, json_to_cel

from resultsfw.controller.manifests import load

POD_NAME = "authentication.kubernetes.io/pod-name"
POD_UID = "authentication.kubernetes.io/pod-uid"


class Policy:
    """One policy.

    Args:
        backend: The folder of its manifests.
    """

    def __init__(self, backend):
        (self.manifest,) = [
            obj for obj in load(f"backends/{backend}") if obj["kind"] == "ValidatingAdmissionPolicy"
        ]
        self.spec = self.manifest["spec"]

    def matches(self, *, allowed=()):
        """Whether a requester with these rights, as (verb, subresource), is limited by the policy."""
        context = {"authorizer": celtypes.MapType(), "request": json_to_cel(request_of())}
        return all(
            bool(_evaluate(condition["expression"], context, _authorizer(allowed)))
            for condition in self.spec.get("matchConditions", ())
        )

    def refusal(self, old, new, *, pod="run-pod", uid="pod-uid", user="system:serviceaccount:ns:default"):
        """Return the message of the first validation that refuses; "" if all accept. Errors refuse, too."""
        extra = {POD_NAME: [pod], POD_UID: [uid]} if pod else None
        context = {
            "request": json_to_cel(request_of(user, extra)),
            "oldObject": json_to_cel(old),
            "object": json_to_cel(new),
            "variables": celtypes.MapType(),
        }
        for variable in self.spec["variables"]:
            value = _evaluate(variable["expression"], context)
            context["variables"][celtypes.StringType(variable["name"])] = value
        for validation in self.spec["validations"]:
            try:
                accepted = bool(_evaluate(validation["expression"], context))
            except celpy.CELEvalError as error:
                return str(error)
            if not accepted:
                return validation["message"]
        return ""


def request_of(user="system:serviceaccount:ns:default", extra=None):
    """Return what an API server tells a policy of a request."""
    info = {"username": user} | ({"extra": extra} if extra is not None else {})
    return {"namespace": "ns", "name": "run", "operation": "UPDATE", "userInfo": info}


def _evaluate(expression, context, functions=None):
    environment = celpy.Environment()
    return environment.program(environment.compile(expression), functions=functions).evaluate(context)


def _authorizer(allowed):
    """Return the functions of ``authorizer``; each adds what it is given."""

    def keep(name):
        def function(place, value):
            return celtypes.MapType({**place, celtypes.StringType(name): value})

        return function

    def decide(place):
        known = {str(key): str(value) for key, value in place.items()}
        assert (known["group"], known["resource"]) == ("tekton.dev", "taskruns")
        assert (known["namespace"], known["name"]) == ("ns", "run")
        return celtypes.BoolType((known["check"], known.get("subresource", "")) in allowed)

    names = ("group", "resource", "subresource", "namespace", "name", "check")
    return {**{name: keep(name) for name in names}, "allowed": decide}
