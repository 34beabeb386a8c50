"""``resultsfw explain -o html``: one static page, without scripts, that needs no network."""

import base64
import hashlib
from collections.abc import Iterator, Sequence
from importlib import resources
from typing import Final

from resultsfw.cli.graph.drawing import picture
from resultsfw.cli.graph.graph_data import check_drawable
from resultsfw.cli.graph.markup import Element, as_html, element
from resultsfw.cli.inspect.explain_sentences import (
    advice_on_run,
    by_reference,
    describe_budget,
    describe_contents,
    describe_trace,
    remaining,
    why_nothing_is_known,
)
from resultsfw.cli.inspect.explain_stages import Share, share_of, stages
from resultsfw.cli.inspect.explained import Explained, pipeline_results
from resultsfw.cli.inspect.judged import Judged
from resultsfw.cli.inspect.signatures import describe_signature, trace_signature
from resultsfw.cli.inspect.traces import RUN_LIMITS, End, ResultTrace
from resultsfw.cli.output import show
from resultsfw.cli.output.advice import Advice, without_hints
from resultsfw.errors import InputError
from resultsfw.limits import OBJECT_BYTES

__all__ = ["page"]

_STYLE: Final = "explain.css"
_BAR: Final = 100
"""Width of a bar, in units of its own."""
_LEAST: Final = 0.6
"""Width at which the smallest share is seen."""


def page(runs: Sequence[Explained]) -> str:
    """Return an HTML document on runs: where each result went, and which budgets it used."""
    style = resources.files(__package__).joinpath(_STYLE).read_text(encoding="utf-8")
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    policy = f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
    sheet = element("style")
    sheet.text = style  # as it is: the only text that is not escaped
    sections: list[Element] = []
    for run in runs:
        _add_run(sections, run, level=1)
    names = ", ".join(_name(run) for run in runs)
    head = element(
        "head",
        element("meta", charset="utf-8"),
        element("meta", http_equiv="Content-Security-Policy", content=policy),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("meta", name="color-scheme", content="light dark"),
        element("meta", name="referrer", content="no-referrer"),
        element("title", f"Results of {names}"),
        sheet,
    )
    footer = element("footer", "Made by resultsfw explain. It shows names, sizes and messages, not values.")
    return as_html(element("html", head, element("body", element("main", *sections), footer), lang="en"))


def _name(run: Explained) -> str:
    return str(run.run["metadata"]["name"])


def _add_run(sections: list[Element], run: Explained, *, level: int) -> None:
    """Add the section of a run, and those of the runs that it made."""
    section = element("section", class_="run", id=_anchor(len(sections)))
    sections.append(section)
    section.extend(_heading(run, level))
    if run.judged is not None:
        section.extend(_taskrun(run.judged, run.traces, level + 1))
        return
    places = []
    for child in run.children:
        places.append(len(sections))
        _add_run(sections, child, level=min(level + 1, 5))
    section.extend(_pipelinerun(run, places))


def _anchor(index: int) -> str:
    return f"run-{index + 1}"


def _heading(run: Explained, level: int) -> Iterator[Element]:
    verdict = show.verdict_of(run.run)
    metadata = run.run["metadata"]
    kind = str(run.run.get("kind") or ("TaskRun" if run.judged else "PipelineRun"))
    word = verdict.word.replace(" ", "-")
    yield element(
        f"h{level}",
        element("span", kind, class_="kind"),
        " ",
        element("span", str(metadata["name"]), class_="name"),
        " ",
        element("span", verdict.word, class_=f"badge {word}"),
    )
    facts = [("namespace", str(metadata.get("namespace") or "")), ("reason", verdict.reason_beside_word)]
    if run.judged is not None and run.judged.offline.stamp is not None:
        facts.append(("results by", run.judged.offline.stamp.backend))
    if shown := [(key, value) for key, value in facts if value]:
        yield element(
            "dl",
            *(element("div", element("dt", key), element("dd", value)) for key, value in shown),
            class_="facts",
        )
    message = without_hints(run.run, run.judged.offline.collected if run.judged else None)
    if message and not (verdict.succeeded and run.judged is not None):
        yield _paragraphs(message, class_="message" if verdict.failed else "message calm")


def _paragraphs(text: str, class_: str) -> Element:
    return element("div", *(element("p", line) for line in text.split("\n") if line.strip()), class_=class_)


def _taskrun(judged: Judged, traces: Sequence[ResultTrace], level: int) -> Iterator[Element]:
    if advice := advice_on_run(judged, traces):
        yield element("aside", element(f"h{level}", "What to do"), *map(_advice, advice), class_="advice")
    if why := why_nothing_is_known(judged):
        yield element("p", f"{_capital(why)}.")
        return
    if judged.note:
        yield element("p", f"Note: {judged.note}", class_="note")
    if not traces:
        yield element("p", "It declares no results.")
        return
    yield element(f"h{level}", "Results")
    for trace in traces:
        yield _result(judged, trace, level + 1)
    for line in remaining(judged, traces):
        yield element("p", f"{_capital(line)}.", class_="note")
    yield from _transport(judged, traces, level)


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def _advice(advice: Advice) -> Element:
    parts = [element("p", f"{_capital(advice.what)}.")]
    for where, commands in advice.commands:
        parts.append(element("p", f"{_capital(where)}:", class_="where"))
        block = element("pre")
        for command in commands:
            line = element("code", command)
            line.tail = "\n"
            block.append(line)
        parts.append(block)
    return element("div", *parts)


def _result(judged: Judged, trace: ResultTrace, level: int) -> Element:
    whose = element("span", f" of Step {trace.step}", class_="whose") if trace.step else None
    way = element(
        "ol",
        *(
            element(
                "li",
                element("span", stage.name, class_="stage"),
                element("span", stage.subject, class_="subject"),
                element("span", stage.state.replace("-", " "), class_="state"),
                class_=stage.state,
            )
            for stage in stages(judged, trace)
        ),
        class_="way",
    )
    share = share_of(judged, trace)
    whole_run = trace.problem is not None and trace.problem.code in RUN_LIMITS
    of = "all results together" if whole_run else "this result"
    bad = trace.end in (End.REFUSED, End.LOST)
    return element(
        "article",
        element(
            f"h{level}",
            element("span", trace.name, class_="name"),
            whose,
            " ",
            element("span", trace.type, class_="type"),
            " ",
            element("span", str(trace.end), class_=f"badge {trace.end}"),
        ),
        way,
        None if share is None else _bar(share, of, bad=bad),
        *(element("p", f"{_capital(line)}.") for line in describe_trace(judged, trace)),
        class_=f"result {trace.end}",
    )


def _bar(share: Share, what: str, more: str = "", *, bad: bool = False) -> Element:
    """Return a number of bytes, and a bar of how much of its limit that is, if it has a limit.

    Args:
        share: The bytes and their limit.
        what: Whose they are.
        more: Words after the numbers.
        bad: Whether something did not arrive because of the limit.
    """
    text = show.counted(share.used, "byte")
    if share.limit is None:
        return element("p", element("b", what), f" {text}{more}", class_="share")
    over = share.used > share.limit
    whole = max(share.used, share.limit, 1)
    used = max(share.used / whole * _BAR, _LEAST if share.used else 0)
    mark = share.limit / whole * _BAR
    label = f"{text} of {share.limit}"
    parts = [
        element("rect", class_="all", width=_BAR, height=6),
        element("rect", class_="over" if over or bad else "used", width=used, height=6),
    ]
    if over:
        parts.append(element("rect", class_="limit", x=mark, width=_LEAST, height=6))
    return element(
        "p",
        element("b", what),
        f" {label} ({_percent(share)}){more}",
        element(
            "svg",
            *parts,
            viewBox=f"0 0 {_BAR} 6",
            preserveAspectRatio="none",
            role="img",
            aria_label=label,
        ),
        class_="share",
    )


def _percent(share: Share) -> str:
    percent = 100 * share.used / max(share.limit or 0, 1)
    return "under 1 %" if 0 < percent < 1 else f"{percent:.0f} %"


def _transport(judged: Judged, traces: Sequence[ResultTrace], level: int) -> Iterator[Element]:
    """Yield what carried the results of a pod, and how much of its budgets they used."""
    offline = judged.offline
    if offline.stamp is None:
        return
    yield element(f"h{level}", "Transport and budgets")
    yield element("p", "By ", element("b", offline.stamp.backend), f", because {offline.how}.")
    if judged.pod is not None:
        yield element("p", f"Budget: {describe_budget(judged.pod, offline.stamp)}.")
    for usage in offline.collected.transports if offline.collected else ():
        share = Share(usage.used, usage.budget)
        name = f"{usage.transport} of {usage.container}"
        yield _bar(share, name, f", {describe_contents(usage)}", bad=usage.cut)
    if not by_reference(offline.stamp):
        total = sum(trace.size or 0 for trace in traces if trace.end is End.ARRIVED)
        yield _bar(Share(total, OBJECT_BYTES), "all results in the status")
    if (signature := trace_signature(judged)) is not None:
        above = show.verdict_of(offline.taskrun).message
        yield element("p", f"{_capital(describe_signature(signature, above=above))}.")


def _pipelinerun(run: Explained, places: Sequence[int]) -> Iterator[Element]:
    try:
        check_drawable(run.run)
        children = [child.run for child in run.children]
        yield element("div", picture(run.run, children), class_="graph", tabindex="0")
    except InputError as error:
        yield element("p", f"It is not drawn: {error.message}.", class_="note")
    if results := list(pipeline_results(run.run)):
        yield _table(
            ("result", "bytes", "from"),
            [
                (result.name, "absent" if result.size is None else str(result.size), result.source)
                for result in results
            ],
        )
    if run.children:
        links = [
            element("a", _name(child), href=f"#{_anchor(place)}")
            for child, place in zip(run.children, places, strict=True)
        ]
        yield _table(
            ("run", "outcome", "results that arrived"),
            [
                (link, show.verdict_of(child.run).word, _arrived(child))
                for link, child in zip(links, run.children, strict=True)
            ],
        )
    for name in run.missing:
        yield element(
            "p", f"{name.label} cannot be read: it was deleted, or is not in the files.", class_="note"
        )


def _arrived(child: Explained) -> str:
    ends = (
        [trace.end for trace in child.traces]
        if child.judged is not None
        else [End.ABSENT if result.size is None else End.ARRIVED for result in pipeline_results(child.run)]
    )
    return f"{sum(end is End.ARRIVED for end in ends)} of {len(ends)}" if ends else "none declared"


def _table(head: Sequence[str], rows: Sequence[Sequence[Element | str]]) -> Element:
    table = element(
        "table",
        element("thead", element("tr", *(element("th", text) for text in head))),
        element("tbody", *(element("tr", *(element("td", cell) for cell in row)) for row in rows)),
    )
    return element("div", table, class_="table")
