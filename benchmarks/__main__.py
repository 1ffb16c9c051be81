"""The command line: `python -m benchmarks --help`."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from benchmarks.comparison import failed_now, pairs
from benchmarks.contenders import NAMES
from benchmarks.page.plots import draw
from benchmarks.page.text import REMARKS, load_remarks, text, unexplained
from benchmarks.report import show
from benchmarks.results import Results
from benchmarks.rounds import run
from benchmarks.session import ROOT
from benchmarks.workloads import WORKLOADS

EVERYBODY = ",".join(NAMES)
QUICK_SHARE = 0.25
PAGE = ROOT / "docs" / "explanation" / "performance.md"
PICTURES = PAGE.with_suffix("")
console = Console()
errors = Console(stderr=True)


def main(
    only: Annotated[str, typer.Option(help="workloads, by name or the beginning of one: small_call,frames")] = "",
    contenders: Annotated[str, typer.Option(help="who takes part: ours,bare")] = EVERYBODY,
    rounds: Annotated[int, typer.Option(min=1, help="how many times everything is done")] = 3,
    quick: Annotated[bool, typer.Option("--quick", help="one round, a quarter of the time each")] = False,
    json: Annotated[Path | None, typer.Option(help="keep the results in this file")] = None,
    load: Annotated[Path | None, typer.Option(help="measure nothing, take the results of this file")] = None,
    compare: Annotated[Path | None, typer.Option(help="an older results file; exit code 1 if we got slower")] = None,
    page: Annotated[
        bool | None,
        typer.Option(help="make docs/explanation/performance.md of it; otherwise when everything was measured"),
    ] = None,
    list_: Annotated[bool, typer.Option("--list", help="say which workloads there are, and end")] = False,
) -> None:
    """Measure one_liner beside bare ZeroMQ and what else a user would take."""
    if list_:
        for workload in WORKLOADS.values():
            console.print(f"{workload.name:<28} {workload.title}", highlight=False)
        return
    old = _read(compare) if compare else None
    complete = not (only or quick or load) and contenders == EVERYBODY
    if load:
        results = _read(load)
    else:
        results = Results(*((1, QUICK_SHARE) if quick else (rounds, 1.0)))
        complete &= _measure(results, only, contenders)
    if json:
        results.save(json)
    show(results, console)
    if complete if page is None else page:
        _write_page(results)
    if old and _compare(old, results):
        raise typer.Exit(1)


def _read(path: Path) -> Results:
    try:
        return Results.load(path)
    except (OSError, ValueError) as error:
        raise typer.BadParameter(str(error)) from None


def _measure(results: Results, only: str, contenders: str) -> bool:
    """Everything that was asked for, with a progress bar; False if it was interrupted."""
    workloads = [workload for workload in WORKLOADS.values() if not only or workload.name in _chosen(only)]
    names = [_one_of(NAMES, name, "contender") for name in _words(contenders)]
    columns = (TextColumn("{task.description:<32}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, TimeRemainingColumn(), console=errors) as bar:
        task = bar.add_task("", total=None)

        def progress(what: str, done: int, total: int) -> None:
            bar.update(task, description=what, completed=done, total=total)

        try:
            run(workloads, names, results, progress)
        except KeyboardInterrupt:
            errors.print("interrupted; this is what was measured so far")
            return False
    return True


def _write_page(results: Results) -> None:
    """The page with its pictures, and what somebody has to explain on it."""
    remarks = load_remarks()
    pictures = {title: path.relative_to(PAGE.parent).as_posix() for title, path in draw(results, PICTURES).items()}
    PAGE.write_text(text(results, remarks, pictures), encoding="utf-8")
    console.print(f"wrote {PAGE}", highlight=False)
    for row in unexplained(results, remarks):
        console.print(f"no remark in {REMARKS.name} yet: {row}", highlight=False)


def _compare(old: Results, new: Results) -> bool:
    """Say what changed; whether anything got worse."""
    common, lost = list(pairs(old, new)), failed_now(old, new)
    found = [pair for pair in common if pair.is_change]
    for pair in found:
        console.print(str(pair), style="red" if pair.is_worse else "green", highlight=False)
    for name in lost:
        console.print(f"worse: {name} failed", style="red", highlight=False)
    console.print(f"{len(found)} of {len(common)} figures changed since {old.date} beyond the noise", highlight=False)
    return bool(lost) or any(pair.is_worse for pair in found)


def _chosen(only: str) -> set[str]:
    """The names of workloads that are named, or begin so."""
    chosen: set[str] = set()
    for word in _words(only):
        found = {word} & set(WORKLOADS) or {name for name in WORKLOADS if name.startswith(word)}
        if not found:
            raise typer.BadParameter(f"no workload begins with {word!r}; --list says which there are")
        chosen |= found
    return chosen


def _words(text: str) -> list[str]:
    return [word for word in text.split(",") if word]


def _one_of(names: Iterable[str], name: str, what: str) -> str:
    if name not in names:
        raise typer.BadParameter(f"{name!r} is no {what}; there are {', '.join(names)}")
    return name


if __name__ == "__main__":
    typer.run(main)
