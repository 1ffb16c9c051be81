"""A progress bar of a job that moves by itself: in a terminal by rich, in a notebook by its own means."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any, Protocol

from one_liner.commands.info import JobInfo
from one_liner.commands.state import JobState
from one_liner.errors import MissingExtraError


class Shown(Protocol):
    """A job, as a client has it."""

    @property
    def command(self) -> str:
        """What it does."""

    @property
    def state(self) -> JobState:
        """Where it stands."""

    def updates(self) -> Iterator[JobInfo]:
        """What becomes of it."""

    def log(self) -> list[str]:
        """What it has logged."""


def show(job: Shown) -> JobState:
    """Show a job until it has ended.

    Raises:
        MissingExtraError: rich is not installed. And as `JobHandle.wait`.
    """
    display = _notebook_display()
    try:
        if display is None:
            show_in_terminal(job)
        else:
            _show_in_notebook(job, display)
    except KeyboardInterrupt:
        return job.state
    return job.state


def _notebook_display() -> Any:
    """The function that shows something in a notebook; None where this is none."""
    ipython = sys.modules.get("IPython")
    shell = None if ipython is None else ipython.get_ipython()
    if shell is None or not hasattr(shell, "kernel"):
        return None
    from IPython.display import display  # It is loaded: this is its kernel.

    return display


def _show_in_notebook(job: Shown, display: Any) -> None:
    shown = display(job, display_id=True)
    for _ in job.updates():
        shown.update(job)


def show_in_terminal(job: Shown, *, on_stderr: bool = False) -> None:
    """Show a bar until the job has ended, and above it the lines that it logs.

    Args:
        job: the job.
        on_stderr: where standard output is for the result.

    Raises:
        MissingExtraError: rich is not installed. And as `JobHandle.wait`.
    """
    try:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
    except ImportError as error:
        raise MissingExtraError('a bar in the terminal needs: pip install "one_liner[cli]"') from error
    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[note]}"), TimeElapsedColumn())
    lines = 0
    with Progress(*columns, console=Console(stderr=on_stderr)) as bar:
        task = bar.add_task(job.command, total=None, note="")
        for info in job.updates():
            bar.update(task, note=note(info), **_extent(info))
            if info.lines > lines:
                for line in job.log()[lines - info.lines :]:
                    bar.console.print(line, markup=False, highlight=False)
                lines = info.lines


def _extent(info: JobInfo) -> dict[str, Any]:
    fraction = info.progress.fraction
    if info.state is JobState.SUCCEEDED:
        fraction = 1.0
    return {"total": None} if fraction is None else {"total": 1.0, "completed": fraction}


def note(info: JobInfo) -> str:
    """How a job stands, in a few words."""
    state = "" if info.state is JobState.RUNNING else info.state.value
    return " ".join(part for part in (state, str(info.progress), info.reason) if part)
