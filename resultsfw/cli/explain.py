"""``resultsfw explain``: in plain words, the way of each declared result."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any, Final

from rich.console import Console
from rich.text import Text

from resultsfw.cli import show
from resultsfw.cli.advice import MESSAGES, Advice, advice_for, larger, without_hints
from resultsfw.cli.saved import Judged, Saved, judge
from resultsfw.cli.ways import Budget, End, Way, budget_of, is_stamped, ways_of
from resultsfw.errors import BackendError
from resultsfw.limits import OBJECT_BYTES
from resultsfw.plugins import load_backend
from resultsfw.types import Carrier, ProblemCode, Stamp

__all__ = ["explain_saved"]

_DEEPER: Final = show.INDENT * 2
_STYLES: Final = {
    End.ARRIVED: "bold green",
    End.ABSENT: "bold yellow",
    End.PENDING: "bold yellow",
}


def explain_saved(saved: Saved, *, output: str) -> int:
    """Print the ways and return the exit status.

    Raises:
        InputError: The files are refused.
    """
    judged = judge(saved)
    verdict = show.verdict_of(judged.offline.taskrun)
    if output == "json":
        show.write(show.as_json(_facts(judged)))
    else:
        _print(show.console(), judged)
    return 0 if judged.offline.finished and verdict.succeeded else 1


def _facts(judged: Judged) -> dict[str, Any]:
    """All of it, for programs."""
    offline = judged.offline
    metadata = offline.taskrun["metadata"]
    collected = offline.collected
    carriers = collected.carriers if collected else ()
    facts: dict[str, Any] = {
        "taskrun": metadata["name"],
        "verdict": asdict(show.verdict_of(offline.taskrun)),
        "finished": offline.finished,
    }
    if offline.stamp is not None and judged.pod is not None:
        facts["transport"] = {
            "backend": offline.stamp.backend,
            "decidedBy": offline.how,
            "maxResultSize": offline.stamp.max_result_size,
            "budget": asdict(budget_of(judged.pod, offline.stamp)),
            "carriers": [asdict(one) for one in carriers],
        }
    facts["results"] = [
        {**asdict(way), "problem": asdict(way.problem) if way.problem else None, "next": _next(judged, way)}
        for way in ways_of(judged)
    ]
    facts["undeclared"] = list(collected.ignored) if collected else []
    facts["problems"] = [asdict(one) for one in collected.problems] if collected else []
    return facts


def _next(judged: Judged, way: Way) -> list[str]:
    return [one.what for one in _advice(judged, way)]


def _print(out: Console, judged: Judged) -> None:
    offline = judged.offline
    verdict = show.verdict_of(offline.taskrun)
    name = show.plain(offline.taskrun["metadata"]["name"])
    reason = f" {verdict.reason}" if verdict.failed else ""
    out.print(Text.assemble((name, "bold"), " ", (verdict.word, verdict.style), show.plain(reason)))
    if not verdict.succeeded and verdict.message:
        show.print_text(out, without_hints(offline.taskrun, offline.collected))
    if offline.run is None:
        show.print_text(out, "it was refused before it had a pod, so no result was ever on its way")
        return
    ways = ways_of(judged)
    if not ways:
        show.print_text(out, "it declares no results")
    for line in _transport(judged, ways):
        show.print_text(out, line, hanging=show.INDENT)
    for way in ways:
        _print_way(out, judged, way)
    for line in _rest(judged, ways):
        show.print_text(out, line, hanging=show.INDENT)
    advice: list[Advice] = []
    for way in ways:
        advice += [one for one in _advice(judged, way) if one not in advice]
    show.print_advice(out, advice)


def _transport(judged: Judged, ways: Sequence[Way]) -> Iterator[str]:
    """What carried the results of this pod, and how much it may carry."""
    offline = judged.offline
    if offline.stamp is None or judged.pod is None or not ways:
        return
    yield f"transport: {offline.stamp.backend}, because {offline.how}"
    if _by_reference(offline.stamp):
        yield f"budget: the backend's own (resultsfw backends {offline.stamp.backend}): it carries references"
    else:
        budget = budget_of(judged.pod, offline.stamp)
        yield f"budget: {_budget(budget, offline.stamp.max_result_size, stamped=is_stamped(judged.pod))}"
    for one in offline.collected.carriers if offline.collected else ():
        yield _carrier(one)


def _budget(budget: Budget, limit: int, *, stamped: bool) -> str:
    if budget.each is not None:
        count = sum(budget.containers.values())
        kinds = " + ".join(show.counted(number, kind) for kind, number in budget.containers.items())
        share = (budget.pod or 0) // max(count, 1)
        return (
            f"{budget.container} bytes a container, {budget.pod} / {count} containers of this pod "
            f"({kinds}) = {share}: {budget.each} bytes each"
        )
    origin = "as the pod is stamped" if stamped else "as the flags given here say"
    return f"max-result-size {limit} bytes a result ({origin}), {OBJECT_BYTES} bytes the whole run"


def _carrier(one: Carrier) -> str:
    budget = "" if one.budget is None else f" of {one.budget}"
    held = ", ".join(one.results) or "no results"
    cut = ", and was cut short there" if one.cut else ""
    return f"{one.transport} of {one.container}: {one.used}{budget} bytes, with {held}{cut}"


def _print_way(out: Console, judged: Judged, way: Way) -> None:
    whose = f' of Step "{way.step}"' if way.step else ""
    head = Text.assemble("\n", (f"{show.plain(way.name)}{whose}", "bold"), f" ({way.type}): ")
    head.append(str(way.end), style=_STYLES.get(way.end, "bold red"))
    out.print(head, soft_wrap=True)
    for line in (_writers(way), _fate(judged, way), *_failed(way)):
        show.print_text(out, line, hanging=show.INDENT)


def _writers(way: Way) -> str:
    if way.source:
        return f'taken from result {way.source}: only Step "{way.writers[0]}" can write it, to {way.file}'
    names = " and ".join(f'"{name}"' for name in way.writers)
    if len(way.writers) == 1:
        return f"only Step {names} can write it, to {way.file}"
    return f"each of the Steps {names} can write it, to {way.file}; the later one counts"


def _fate(judged: Judged, way: Way) -> str:
    carried = f"came in {_carriers(judged, way)}" if way.carried_by else "came in nothing that was read"
    message = way.problem.message if way.problem else ""
    match way.end:
        case End.ARRIVED:
            return f"{carried}: {show.counted(way.size or 0, 'byte')}{_of(judged)}"
        case End.ABSENT if way.problem:
            return f"no Step wrote it: {message}"
        case End.ABSENT:
            return "no Step wrote it: it is absent, which by itself fails no run"
        case End.PENDING:
            return "the run is not over, and nothing was read yet"
        case End.REFUSED if way.problem and way.problem.code in _WORDS:
            return f"{carried}, and was refused: {_WORDS[way.problem.code].format(message)}"
        case End.REFUSED:
            return f"refused: {message or 'there is no room for it in the run; see its message above'}"
        case End.LOST:
            return f"lost: {message}"
        case End.UNKNOWN if way.problem is None:
            return (
                "nothing of it came: the Step that failed did not write it, or its entrypoint (Tekton's) "
                "refused it as too large, which only that Step's log says"
            )
        case _:
            above = message in show.verdict_of(judged.offline.taskrun).message
            return f"lost, or never written, which cannot be told: {'see above' if above else message}"


_WORDS: Final = {
    ProblemCode.TYPE_MISMATCH: "{}",
    ProblemCode.MISSING_KEYS: "it lacks the keys {} that its properties name",
}


def _of(judged: Judged) -> str:
    stamp = judged.offline.stamp
    if stamp is None or judged.pod is None:
        return ""
    budget = budget_of(judged.pod, stamp)
    if budget.each is not None:
        return f" of the {budget.each} that a container may have"
    if _by_reference(stamp):
        return ""
    return f" of the {stamp.max_result_size} that one result may have"


def _by_reference(stamp: Stamp) -> bool:
    """Whether neither ``max-result-size`` nor the object's wall is about the values themselves."""
    try:
        return load_backend(stamp.backend).capabilities.by == "reference"
    except BackendError:
        return False


def _carriers(judged: Judged, way: Way) -> str:
    kinds = (
        {one.container: one.transport for one in judged.offline.collected.carriers}
        if judged.offline.collected
        else {}
    )
    names = [f'the {kinds[name]} of container "{name}"' for name in way.carried_by]
    return " and ".join(names)


def _failed(way: Way) -> Iterator[str]:
    """Steps that may not have come to writing it."""
    if way.end is End.ARRIVED:
        return
    for step, code in way.failed.items() if way.problem or way.end is End.ABSENT else ():
        yield f'Step "{step}" ended with exit code {code}: it may not have come to writing it'


def _rest(judged: Judged, ways: Sequence[Way]) -> Iterator[str]:
    """What came and is no declared result's way."""
    collected = judged.offline.collected
    if collected is None:
        return
    told = {id(way.problem) for way in ways}
    for problem in collected.problems:
        if id(problem) not in told:
            yield f"also: {problem.message}"
    if collected.ignored:
        names = ", ".join(f'"{name}"' for name in collected.ignored)
        yield f"came and is declared nowhere, so it does not count: {names}"


def _advice(judged: Judged, way: Way) -> list[Advice]:
    stamp = judged.offline.stamp
    if stamp is None or way.end in (End.ARRIVED, End.PENDING):
        return []
    if way.problem is None:
        return _on_silence(way) if way.end is End.UNKNOWN else []
    return advice_for(way.problem, stamp.backend)


def _on_silence(way: Way) -> list[Advice]:
    """What to do where Tekton's entrypoint may have refused a result without leaving a trace."""
    step = next(iter(way.failed))
    hint = larger(MESSAGES, 0)
    return [
        Advice(
            f'read the end of the log of Step "{step}"; if it says "Termination message is above max allowed '
            f'size", {hint.what}',
            hint.commands,
        )
    ]
