"""Extensions that are wrong in one thing each, and the tests of the suite that must say so.

Not collected by itself: `test_detects_wrong_extensions` runs the suite over each.
"""

import json
import logging
import threading
import time
import uuid
from dataclasses import replace

from pydantic import BaseModel, ConfigDict, SecretStr

from resultsfw import Extraction, Verification, hookimpl
from resultsfw.errors import BackendError, UnavailableError

log = logging.getLogger("extension")

WRONGS = {}
"""By the class: the tests that must fail."""

RELEASED = threading.Event()
"""Set at the end, so that no thread of these tests outlives them."""

wraps = hookimpl(wrapper=True)


def caught_by(*must):
    """Note which tests of the suite find the wrong in an extension."""

    def note(wrong):
        WRONGS[wrong] = set(must)
        return wrong

    return note


@caught_by("test_returns")
class FailsToBeCreated:
    def __init__(self):
        raise OSError("no such file")

    @hookimpl
    def results_collected(self):
        pass


@caught_by("test_returns")
class WaitsForEver:
    seconds = 2.0

    @wraps
    def pod_ready(self):
        RELEASED.wait()
        return (yield)


@caught_by("test_returns")
class ObserverWaitsForEver:
    seconds = 0.2

    @hookimpl
    def results_collected(self):
        RELEASED.wait()


@caught_by("test_plain_run[extract]")
class Raises:
    @wraps
    def extract(self):
        found = yield
        return found["results"]


@caught_by("test_plain_run[purge]")
class YieldsTwice:
    @wraps
    def purge(self):
        yield
        yield


@caught_by("test_plain_run[extract]")
class ReturnsNothing:
    @wraps
    def extract(self):
        yield


@caught_by("test_wire_version")
class ChangesTheWireVersion:
    @wraps
    def prepare_pod(self):
        return (yield) + 1


@caught_by(*(f"test_backend_error[{hook}-unavailable]" for hook in ("extract", "purge")))
class HidesErrors:
    @wraps
    def extract(self):
        try:
            return (yield)
        except Exception:  # noqa: BLE001 - that is what is wrong
            return Extraction()

    @wraps
    def purge(self):
        try:
            yield
        except Exception:
            log.exception("ignored")


@caught_by("test_backend_error[extract-unavailable]", "test_backend_error[extract-not-found]")
class MakesErrorsFinal:
    @wraps
    def extract(self):
        try:
            return (yield)
        except Exception as error:
            raise BackendError("no results") from error


@caught_by("test_backend_error[extract-not-found]")
class RetriesForEver:
    @wraps
    def extract(self):
        try:
            return (yield)
        except Exception as error:
            raise UnavailableError("again") from error


@caught_by("test_observer[collection_failed-problems]")
class ObserverRaises:
    @hookimpl
    def collection_failed(self, problems):
        log.info("lost: %s", ", ".join(sorted(problem.result for problem in problems)))


@caught_by("test_arguments_are_left_alone[extract]")
class ChangesThePodThatIsRead:
    @wraps
    def extract(self, pod):
        pod["metadata"].setdefault("labels", {})["read"] = "yes"
        return (yield)


@caught_by("test_arguments_are_left_alone[purge]")
class ChangesTheRun:
    @wraps
    def purge(self, run):
        object.__setattr__(run, "name", run.name.upper())
        return (yield)


@caught_by("test_arguments_but_the_pod_are_left_alone[place_files]")
class ChangesTheFiles:
    @wraps
    def place_files(self, files):
        files.clear()
        return (yield)


@caught_by("test_observer[results_collected-plain]")
class ChangesTheOutcome:
    @hookimpl
    def results_collected(self, collected):
        for result in collected.results:
            if result.type == "array":
                result.value.append("more")


@caught_by("test_changes_results_is_true")
class ChangesResultsInSecret:
    changes_results = False

    @wraps
    def extract(self):
        found = yield
        return replace(found, results=tuple(replace(result, source="hidden") for result in found.results))


@caught_by("test_pod_keeps_its_parts")
class RemovesAContainer:
    @wraps
    def prepare_pod(self, pod):
        wire = yield
        pod["spec"]["initContainers"].pop()
        return wire


@caught_by("test_pod_keeps_its_parts")
class ChangesASteps:
    @wraps
    def prepare_pod(self, pod):
        for container in pod["spec"]["containers"]:
            container["command"] = ["sh"]
        return (yield)


@caught_by("test_prepare_twice")
class AddsAnotherNameEachTime:
    @wraps
    def prepare_pod(self, pod):
        pod["metadata"]["labels"]["trace"] = uuid.uuid4().hex
        return (yield)


@caught_by("test_pieces")
class HoldsTheWholeValue:
    @wraps
    def dereference(self):
        return iter([b"".join((yield))])


@caught_by("test_extraction[deep-json]", "test_extraction[no-json]")
class ReadsJson:
    @wraps
    def extract(self):
        found = yield
        for result in found.results:
            if result.name == "list":
                json.loads(result.value)
        return found


@caught_by("test_runs_at_once")
class KeepsTheRunInItself:
    @wraps
    def extract(self, run):
        self.run = run
        found = yield
        return replace(
            found, results=tuple(replace(result, source=self.run.name) for result in found.results)
        )


@caught_by("test_runs_at_once")
class HoldsALock:
    seconds = 1.0

    def __init__(self):
        self.lock = threading.Lock()

    @wraps
    def extract(self):
        with self.lock:
            return (yield)


@caught_by("test_runs_at_once")
class GoesThroughWhatOthersChange:
    def __init__(self):
        self.seen = {}

    @hookimpl
    def results_collected(self, run):
        self.seen[run.name] = 1
        for _ in self.seen:
            time.sleep(0.002)
        del self.seen[run.name]


@caught_by("test_state_does_not_grow")
class RemembersEveryRun:
    def __init__(self):
        self.seen = set()

    @hookimpl
    def results_collected(self, run):
        self.seen.add(run.uid)


@caught_by("test_state_does_not_grow")
class NeverForgetsAPod:
    def __init__(self):
        self.begun = {}

    @wraps
    def prepare_pod(self, run):
        self.begun[run.uid, run.attempt] = time.monotonic()
        return (yield)


class Verifies:
    """Verifies signatures."""

    verifies_results = True

    @hookimpl
    def pod_created(self):
        return Verification(status="Unknown", reason="Awaiting", message="")

    @wraps
    def extract(self):
        return (yield)


@caught_by("test_attesting[pod_created]")
class AnswersYes(Verifies):
    @hookimpl
    def pod_created(self):
        return True


@caught_by("test_attesting[pod_created]")
class KnowsNoStatusOfACondition(Verifies):
    @hookimpl
    def pod_created(self):
        return Verification(status="Maybe", reason="Awaiting", message="")


@caught_by("test_attesting[attest_status]")
class AnnotatesWithBytes(Verifies):
    @hookimpl
    def attest_status(self):
        return {"example.com/signature": b"signature"}


@caught_by("test_attesting[attest_status]")
class NeedsAFieldOfTheStatus(Verifies):
    @hookimpl
    def attest_status(self, status):
        return {"example.com/signature": status["taskSpec"]["description"]}


@caught_by("test_attesting_leaves_its_arguments_alone[attest_status]")
class AnnotatesTheStatusItself(Verifies):
    @hookimpl
    def attest_status(self, status):
        status["annotations"] = {"example.com/signature": "signature"}
        return {}


@caught_by("test_annotations_fit")
class CopiesTheStatus(Verifies):
    @hookimpl
    def attest_status(self, status):
        return {"example.com/status": json.dumps(status)}


@caught_by("test_attesting_leaves_its_arguments_alone[attest_status]")
class CountsInTheObject(Verifies):
    @hookimpl
    def attest_status(self, obj):
        obj["metadata"]["generation"] = 1
        return {}


@caught_by("test_registered_twice")
class RegistersAPodOnce(Verifies):
    def __init__(self):
        self.known = set()

    @hookimpl
    def pod_created(self, pod):
        if pod["metadata"]["uid"] in self.known:
            raise BackendError("it is registered already")
        self.known.add(pod["metadata"]["uid"])


@caught_by("test_unsigned_is_not_verified")
class VerifiesAnyEnvelope(Verifies):
    @wraps
    def extract(self):
        found = yield
        status = "True" if found.envelope else "False"
        return replace(found, verification=Verification(status=status, reason="Verified", message=""))


@caught_by("test_unsigned_is_not_verified")
class ParsesEveryEnvelope(Verifies):
    @wraps
    def extract(self):
        found = yield
        if found.envelope:
            json.loads(found.envelope)
        return found


@caught_by("test_returns")
class RegistersAndVerifiesNothing(Verifies):
    verifies_results = False


class Credentials(BaseModel):
    model_config = ConfigDict(extra="forbid")
    token: SecretStr = SecretStr("")


@caught_by("test_options_that_are_credentials")
class HasAPlainPassword:
    class Config(BaseModel):
        model_config = ConfigDict(extra="forbid")
        user: str = ""
        password: str | None = None

    def __init__(self, config):
        self.config = config

    @hookimpl
    def results_collected(self):
        pass


class Secretive:
    """Has a secret option."""

    Config = Credentials

    def __init__(self, config):
        self.token = config.token.get_secret_value()

    @hookimpl
    def collection_failed(self):
        pass


@caught_by("test_secret_options")
class LogsItsToken(Secretive):
    @hookimpl
    def collection_failed(self):
        log.debug("sent with %s", self.token)


@caught_by("test_secret_options")
class ShowsItsToken(Secretive):
    def __repr__(self):
        return f"ShowsItsToken({self.token})"


@caught_by("test_secret_options")
class GivesItsTokenToThePod(Secretive):
    @wraps
    def prepare_pod(self, pod):
        pod["spec"]["initContainers"][0]["env"] = [{"name": "TOKEN", "value": self.token}]
        return (yield)


@caught_by("test_secret_options")
class GivesItsTokenToTheStatus(Secretive):
    verifies_results = True

    @hookimpl
    def attest_status(self):
        return {"example.com/token": self.token}


@caught_by("test_secret_options")
class RaisesItsToken(Secretive):
    @wraps
    def extract(self):
        try:
            return (yield)
        except LookupError as error:
            raise LookupError(f"with {self.token}") from error


@caught_by("test_values")
class PrintsValues:
    @hookimpl
    def results_collected(self, collected):
        print([result.value for result in collected.results])  # noqa: T201 - that is what is wrong


@caught_by("test_values")
class ShowsTheLastValue:
    last = ""

    @hookimpl
    def results_collected(self, collected):
        self.last = str(collected.results)

    def __repr__(self):
        return f"<last: {self.last}>"


@caught_by("test_values")
class SaysTheValueInItsSource:
    @wraps
    def extract(self):
        found = yield
        return replace(
            found, results=tuple(replace(result, source=str(result.value)) for result in found.results)
        )


@caught_by("test_close")
class ClosesOnce:
    def __init__(self):
        self.held = ["connection"]

    @hookimpl
    def results_collected(self):
        pass

    @hookimpl
    def close(self):
        self.held.pop()


@caught_by("test_close")
class ClosingWaitsForEver:
    seconds = 0.2

    @hookimpl
    def results_collected(self):
        pass

    @hookimpl
    def close(self):
        RELEASED.wait()


@caught_by("test_made_anew")
class LeavesAThread:
    seconds = 0.2

    def __init__(self):
        threading.Thread(target=RELEASED.wait, daemon=True).start()

    @hookimpl
    def results_collected(self):
        pass


@caught_by("test_made_anew")
class IsKept:
    kept = []  # noqa: RUF012 - that is what is wrong

    def __init__(self):
        self.kept.append(self)

    @hookimpl
    def results_collected(self):
        pass
