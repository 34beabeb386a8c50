"""Backends that read results wrongly in one thing each, and which tests of the suite must find it."""

# ruff: noqa: ARG002 - methods have the signatures of what they stand for

from dataclasses import replace

from detection_harness import caught_by
from sample_backends import Sound, template

from resultsfw import PODS, Extraction, Problem, ProblemCode
from resultsfw.errors import ClusterError
from resultsfw_backends import termination_message

FAULTS = {
    f"test_fault[{fault}-{when}]"
    for fault in ("not-found", "forbidden", "unavailable")
    for when in ("at-once", "in-the-middle")
}


def changed(extraction, change):
    """An extraction whose values are changed, ``None`` leaving one out."""
    found = (change(result) for result in extraction.results)
    return replace(extraction, results=tuple(result for result in found if result is not None))


def without_problems(extraction, code):
    return replace(
        extraction, problems=tuple(problem for problem in extraction.problems if problem.code is not code)
    )


@caught_by("test_forty_results")
class LosesTheFortieth(Sound):
    def read(self, *asked):
        extraction = super().read(*asked)
        return replace(extraction, results=extraction.results[:39])


@caught_by("test_at_its_own_wall")
class Truncates(Sound):
    def read(self, *asked):
        return changed(super().read(*asked), lambda result: replace(result, value=result.value[:65_536]))


@caught_by("test_value[spaces]")
class Strips(Sound):
    def read(self, *asked):
        return changed(super().read(*asked), lambda result: replace(result, value=result.value.strip(" ")))


@caught_by("test_refused[latin-1]")
class ReplacesBadBytes(Sound):
    def read(self, run, pod, cluster, limits):
        extraction = super().read(run, pod, cluster, limits)
        lost = [problem.result for problem in extraction.problems if problem.code is ProblemCode.NOT_UTF8]
        found = tuple(
            template.ExtractedResult(name=name, value="s3cr3t-pa55\ufffdt\ufffd", source="log")
            for name in lost
        )
        kept = without_problems(extraction, ProblemCode.NOT_UTF8)
        return replace(kept, results=(*kept.results, *found))


@caught_by("test_one_byte_more")
class ForgetsWhatIsTooLarge(Sound):
    def read(self, *asked):
        return without_problems(super().read(*asked), ProblemCode.RESULT_TOO_LARGE)


@caught_by("test_refused[directory]", "test_refused[fifo]")
class ForgetsWhatIsNoFile(Sound):
    def read(self, *asked):
        return without_problems(super().read(*asked), ProblemCode.NOT_REGULAR_FILE)


@caught_by("test_two_attempts")
class ReadsTheFirstAttempt(Sound):
    def read(self, run, pod, cluster, limits):
        if not pod["metadata"]["name"].endswith("-pod-retry1"):
            return super().read(run, pod, cluster, limits)
        name = pod["metadata"]["name"].removesuffix("-retry1")
        return super().read(run, cluster.get(PODS, run.namespace, name), cluster, limits)


@caught_by("test_damaged[of-another-run]")
class ReadsAnybodysLog(Sound):
    """Takes the log's own word for whose it is."""

    def read(self, run, pod, cluster, limits):
        metadata = pod["metadata"]
        log = b"".join(
            cluster.read_log(metadata["namespace"], metadata["name"], template.CONTAINER, limit=99_999)
        )
        uid = log[:36].decode("ascii", "replace") if len(log.split(b"\n")) > 1 else ""
        pod = {**pod, "metadata": {**metadata, "uid": uid or metadata["uid"]}}
        return super().read(run, pod, cluster, limits)


@caught_by("test_damaged[deep-json]")
class RaisesItsOwn(Sound):
    def read(self, run, pod, cluster, limits):
        metadata = pod["metadata"]
        log = cluster.read_log(metadata["namespace"], metadata["name"], template.CONTAINER, limit=99_999)
        if b"[" * 1000 in b"".join(log):
            raise RecursionError("too deep")
        return super().read(run, pod, cluster, limits)


@caught_by(
    *(f"test_damaged[{kind}]" for kind in ("beginning-lost", "cut", "end-wrong", "line-dropped", "nothing")),
)
class NeedsNoEnd(Sound):
    """Takes a log that ends between two lines for one whose Steps wrote less."""

    def read(self, run, pod, cluster, limits):
        extraction = super().read(run, pod, cluster, limits)
        metadata = pod["metadata"]
        log = b"".join(
            cluster.read_log(metadata["namespace"], metadata["name"], template.CONTAINER, limit=99_999)
        )
        count = log.count(b"\n")
        incomplete = [problem.code for problem in extraction.problems] == [ProblemCode.TRANSPORT_INCOMPLETE]
        if incomplete and log.endswith(b"\n") and count <= len(template.result_files(run, pod)):
            return Extraction()
        return extraction


@caught_by("test_in_plain_failures")
class TellsTheValue(Sound):
    def read(self, *asked):
        extraction = super().read(*asked)
        return replace(
            extraction,
            problems=tuple(
                replace(problem, message=f"{problem.message}: s3cr3t-pa55\\xe9")
                if problem.code is ProblemCode.NOT_UTF8
                else problem
                for problem in extraction.problems
            ),
        )


@caught_by("test_an_endless_line")
class ReadsAllThereIs(Sound):
    def read(self, run, pod, cluster, limits):
        metadata = pod["metadata"]
        b"".join(cluster.read_log(metadata["namespace"], metadata["name"], template.CONTAINER, limit=1 << 40))
        return super().read(run, pod, cluster, limits)


@caught_by(*FAULTS)
class SwallowsFaults(Sound):
    def read(self, *asked):
        try:
            return super().read(*asked)
        except ClusterError:
            return Extraction()


@caught_by(*(name for name in FAULTS if "not-found" not in name))
class GivesUpAtOnce(Sound):
    def read(self, *asked):
        try:
            return super().read(*asked)
        except ClusterError as error:
            lost = Problem(code=ProblemCode.TRANSPORT_UNREADABLE, message=error.message)
            return Extraction(problems=(lost,))


class Messages(Sound):
    """The built-in backend ``termination-message``; it needs a kubelet of another kind, too."""

    own_kubelet = True
    capabilities = termination_message.capabilities
    Config = termination_message.Config

    def prepare(self, run, pod, cluster, limits, config):
        return termination_message.prepare_pod(run, pod, config)

    def ready(self, run, pod):
        return termination_message.pod_ready(run, pod)

    def read(self, run, pod, cluster, limits):
        return termination_message.extract(run, pod, termination_message.WIRE)


@caught_by("test_a_message_that_the_kubelet_cuts")
class TakesACutForAnEnd(Messages):
    def read(self, *asked):
        return without_problems(super().read(*asked), ProblemCode.TRANSPORT_CUT)


@caught_by("test_at_its_own_wall")
class CutsAtAMillion(Sound):
    most = 1_000_000

    def read(self, *asked):
        return changed(super().read(*asked), lambda result: replace(result, value=result.value[: self.most]))


@caught_by("test_at_its_own_wall")
class CutsAtAMebibyte(CutsAtAMillion):
    most = 1 << 20


@caught_by("test_forty_results")
class LosesALongRunsLastByte(Sound):
    def read(self, *asked):
        extraction = super().read(*asked)
        if sum(len(result.value) for result in extraction.results) <= 65_536:
            return extraction
        *others, last = extraction.results
        return replace(extraction, results=(*others, replace(last, value=last.value[:-1])))


@caught_by("test_value[line]", "test_value[blank-lines]", "test_forty_results")
class StripsALongTextsNewline(Sound):
    def read(self, *asked):
        return changed(
            super().read(*asked),
            lambda result: (
                result if len(result.value) <= 20 else replace(result, value=result.value.removesuffix("\n"))
            ),
        )


@caught_by("test_two_runs_in_threads")
class MixesUpThreads(Sound):
    """Keeps on itself what it reads, while another thread reads another run."""

    def read(self, run, pod, cluster, limits):
        self.pod = pod
        waited = cluster.get(PODS, run.namespace, pod["metadata"]["name"])
        return super().read(run, self.pod if waited else pod, cluster, limits)


@caught_by("test_two_attempts")
class FallsBackToAnEarlierAttempt(Sound):
    """Takes from the first attempt what it cannot read of this one."""

    def read(self, run, pod, cluster, limits):
        extraction = super().read(run, pod, cluster, limits)
        name = pod["metadata"]["name"].removesuffix("-retry1")
        if name == pod["metadata"]["name"] or not extraction.problems:
            return extraction
        earlier = super().read(run, cluster.get(PODS, run.namespace, name), cluster, limits)
        known = {(result.step, result.name) for result in extraction.results}
        more = [result for result in earlier.results if (result.step, result.name) not in known]
        return replace(extraction, results=(*extraction.results, *more))
