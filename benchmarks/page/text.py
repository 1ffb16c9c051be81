"""The page, as Markdown."""

from __future__ import annotations

import tomllib
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

from benchmarks.contenders import BARE, OURS
from benchmarks.page.behind import behind
from benchmarks.page.goals import GOALS
from benchmarks.results import Results
from benchmarks.table import in_words, table_of
from benchmarks.workloads import WORKLOADS
from benchmarks.workloads.workload import Workload

REMARKS: Final = Path(__file__).parent / "remarks.toml"
CROWDED: Final = 2
"""So many who want to run for each core are more than the measurements themselves, but for moments."""
UNEXPLAINED: Final = "not explained yet"

Remarks = dict[str, dict[str, str]]


def load_remarks() -> Remarks:
    """What people wrote, by section and row."""
    return {section: dict(rows) for section, rows in tomllib.loads(REMARKS.read_text(encoding="utf-8")).items()}


def unexplained(results: Results, remarks: Remarks) -> list[str]:
    """The rows in which we are behind and nobody said why: section and name."""
    goals = [goal.name for goal in GOALS if goal.reached(results) is False]
    rows = [("goals", name) for name in goals] + [("behind", row.name) for row in behind(results)]
    return [f"{section}: {name}" for section, name in rows if name not in remarks.get(section, {})]


def text(results: Results, remarks: Remarks, pictures: dict[str, str]) -> str:
    """The whole page.

    Args:
        results: of one run.
        remarks: why we are behind.
        pictures: the file of each picture, beside the page, by its title.
    """
    parts = [_HEAD, *_run(results), *_goals(results, remarks), *_behind(results, remarks), *_pictures(pictures)]
    parts += [*_curves(results), *_figures(results), *_missing(results)]
    return "\n".join(parts) + "\n"


_HEAD: Final = """\
# Performance

How fast one_liner is, beside ZeroMQ used directly and beside what else one could take. This page is made by
`python -m benchmarks --page` from one run, and no figure in it is written by hand; [Develop one_liner
itself](../how-to/develop.md) says how to make it anew.

In one run all contenders take turns, workload by workload, and then all over again, so that whatever else the machine
does hits all of them alike. Every end is a process of its own, over tcp loopback. Figures are medians of the rounds, in
parentheses from the smallest to the largest. Absolute figures move with the machine; *ratios* are of figures of the
same round, and *bare* is pyzmq used directly for the same work: a ROUTER with a poller and msgpack on both sides, PUB →
inproc XSUB/XPUB proxy → tcp → SUB. It checks, counts, times out and orders nothing. Our side of it is as it comes:
lanes, heartbeats, journal, ledger and limits are on.
"""


def _run(results: Results) -> Iterator[str]:
    machine = results.machine
    libraries = ", ".join(f"{name} {version}" for name, version in machine["libraries"].items() if version)
    yield "## The run\n"
    yield f"{results.date}, rounds: {results.rounds}, of {results.share:.0%} of the usual duration."
    yield f"{machine['processor']}, {machine['cores']} cores, {machine['system']}, Python {machine['python']},"
    yield f"{libraries}."
    loads = results.load_averages
    if loads:
        yield f"The load average was {min(loads):.1f} to {max(loads):.1f}, on {machine['cores']} cores."
    if loads and max(loads) > CROWDED * machine["cores"]:
        yield "**Others were at work on this machine**: ratios are rough, and the worst of a hundred says little."
    yield ""
    rows = ([told["title"], told["version"]] for told in results.contenders.values())
    yield from _table(["contender", "version"], rows, words=2)


def _goals(results: Results, remarks: Remarks) -> Iterator[str]:
    yield "## Goals\n"
    rows, missed = [], []
    for goal in GOALS:
        reached = goal.reached(results)
        if reached is None:
            continue
        figures = in_words(goal.figures(results), goal.digits)
        wanted = f"{goal.side} {goal.limit:.{goal.digits}f} {goal.unit}"
        rows.append([goal.title, wanted, figures, "yes" if reached else "**no**"])
        if not reached:
            missed.append(f"- {goal.title}: {remarks.get('goals', {}).get(goal.name, UNEXPLAINED)}")
    yield from _table(["", "goal", "is", "reached"], rows)
    if missed:
        yield "Why not, and what it would cost:\n"
        yield from missed
        yield ""


def _behind(results: Results, remarks: Remarks) -> Iterator[str]:
    rows = [
        [
            f"{row.workload.title}: {row.metric.title}",
            f"{row.ours:.{row.metric.digits}f}",
            ", ".join(f"{title} {figure:.{row.metric.digits}f}" for title, figure in row.ahead.items()),
            remarks.get("behind", {}).get(row.name, UNEXPLAINED),
        ]
        for row in behind(results)
    ]
    if any(name not in (OURS, BARE) for name in results.contenders):
        yield "## Where others are ahead\n"
        yield "All their figures are better than all of ours; whatever overlaps is no difference.\n"
        if rows:
            yield from _table(["", "one_liner", "ahead", "why, and what it would cost"], rows, words=4)
        else:
            yield "Nowhere.\n"


def _pictures(pictures: dict[str, str]) -> Iterator[str]:
    if pictures:
        yield "## In pictures\n"
        for title, file in pictures.items():
            yield f"![{title}]({file})\n"


def _curves(results: Results) -> Iterator[str]:
    """A table for each curve: how a figure grows with its load."""
    curves = curves_of(results)
    if curves:
        yield "## How it grows\n"
    for (load, metric_name), points in curves.items():
        metric = points[0].metrics[metric_name]
        rows = [
            [
                f"{workload.curve[1]:g}" if workload.curve else "",
                in_words(results.of(workload.name, OURS, metric_name), metric.digits),
                in_words(results.of(workload.name, BARE, metric_name), metric.digits),
                in_words(results.ratios(workload.name, OURS, metric_name), 2),
            ]
            for workload in points
        ]
        yield from _table([f"{load} → {metric.title}", "one_liner", "bare pyzmq", "ratio"], rows)


def curves_of(results: Results) -> dict[tuple[str, str], list[Workload]]:
    """The workloads that we did and that are points of one curve, by their load and the figure that grows with it."""
    curves: dict[tuple[str, str], list[Workload]] = {}
    for name in results.figures:
        workload = WORKLOADS[name]
        if workload.curve and results.figures[name].get(OURS):
            curves.setdefault((workload.curve[0], next(iter(workload.metrics))), []).append(workload)
    return {key: points for key, points in curves.items() if len(points) > 1}


def _figures(results: Results) -> Iterator[str]:
    yield "## All figures\n"
    for name in results.figures:
        workload = WORKLOADS[name]
        if workload.curve and not workload.peers:
            continue  # Its figures are on the curve.
        yield f"### {workload.title}\n"
        yield from _table(*table_of(results, workload))


def _missing(results: Results) -> Iterator[str]:
    if not results.left_out and not results.failures:
        return
    yield "## What is missing\n"
    for name, reason in results.left_out.items():
        yield f"- {name} was left out: {reason}"
    failed = Counter((failure["workload"], failure["contender"]) for failure in results.failures)
    for (name, contender), times in failed.items():
        title = results.contenders[contender]["title"]
        yield f"- {title} failed in {times} of {results.rounds} rounds of: {WORKLOADS[name].title}"


def _table(head: list[str], rows: Iterable[list[str]], words: int = 1) -> Iterator[str]:
    """The first columns are words, the others figures."""
    yield f"| {' | '.join(head)} |"
    yield f"|{' --- |' * words}{' ---: |' * (len(head) - words)}"
    for row in rows:
        yield f"| {' | '.join(row)} |"
    yield ""
