"""Backends that give away a secret option in one place each, and which tests of the suite must find it."""

# ruff: noqa: ARG002 - methods have the signatures of what they stand for

import logging
from dataclasses import replace

from detection_harness import caught_by
from pydantic import SecretStr
from sample_backends import Sound, template

from resultsfw import Problem, ProblemCode, hookimpl
from resultsfw.errors import UnavailableError


class Guarded(Sound):
    """One with a password among its options, as no backend should have it."""

    class Config(template.Config):
        password: SecretStr = SecretStr("correct-horse")

    @hookimpl
    def prepare_pod(self, run, pod, cluster, limits, config):
        wire = template.prepare_pod(run, pod, limits, config)
        self.add(pod, config.password.get_secret_value())
        return wire

    def add(self, pod, password):
        """Add something to the pod."""

    @hookimpl
    def extract(self, run, pod, cluster, limits, config):
        return self.read_with(config.password, run, pod, cluster, limits)

    def read_with(self, password, *arguments):
        return super().read(*arguments)


@caught_by("test_in_plain_failures")
class NamesItInAProblem(Guarded):
    def read_with(self, password, *arguments):
        extraction = super().read(*arguments)
        problem = Problem(
            code=ProblemCode.NOT_UTF8, message=f"not for {password.get_secret_value()}", result="latin-1"
        )
        return replace(extraction, problems=(problem,)) if extraction.problems else extraction


@caught_by(*(f"test_in_damage[{kind}]" for kind in ("cut", "nothing")), "test_in_faults")
class NamesItInAnError(Guarded):
    def read_with(self, password, *arguments):
        try:
            extraction = super().read(*arguments)
        except UnavailableError as error:
            raise UnavailableError(f"{error.message}, as {password.get_secret_value()}") from error
        if any(problem.code is ProblemCode.TRANSPORT_INCOMPLETE for problem in extraction.problems):
            raise UnavailableError(f"cannot sign in with {password.get_secret_value()}")
        return extraction


@caught_by("test_in_plain_failures")
class LogsIt(Guarded):
    def read_with(self, password, *arguments):
        logging.getLogger(__name__).debug("signing in with %s", password.get_secret_value())
        return super().read(*arguments)


@caught_by("test_in_plain_failures")
class PrintsIt(Guarded):
    def read_with(self, password, *arguments):
        print(password.get_secret_value())  # noqa: T201
        return super().read(*arguments)


@caught_by("test_options_stay_secret")
class GivesItToItsSidecar(Guarded):
    def add(self, pod, password):
        pod["spec"]["initContainers"][-1]["env"].append({"name": "PASSWORD", "value": password})


@caught_by("test_options_stay_secret")
class GivesItToSteps(Guarded):
    def add(self, pod, password):
        container = pod["spec"]["containers"][0]
        container["args"] = ["-password", password, *container["args"]]
