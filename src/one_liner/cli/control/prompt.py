"""Lines that somebody types while other things are printed above them; or that come from a file or a pipe."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from one_liner.errors import MissingExtraError


def history_file(name: str) -> Path:
    """Where the lines of earlier sessions are kept."""
    base = os.environ.get("XDG_STATE_HOME") or os.environ.get("LOCALAPPDATA") or Path.home() / ".local" / "state"
    return Path(base) / "one_liner" / f"{name}.history"


@contextmanager
def prompting(
    name: str, prompt: str, words: Sequence[str], toolbar: Callable[[], str]
) -> Iterator[Callable[[], str | None]]:
    """A function that gives the next line, and None when there will be no more.

    Args:
        name: of the history.
        prompt: what stands before the line.
        words: what Tab completes the first word to.
        toolbar: gives the line at the bottom of the screen, anew every second.

    Raises:
        MissingExtraError: this is a terminal, and what it takes to share it is not installed.
    """
    if not sys.stdin.isatty():
        yield _from_pipe
        return
    try:
        from prompt_toolkit import PromptSession
        from prompt_toolkit.auto_suggest import AutoSuggestFromHistory
        from prompt_toolkit.completion import WordCompleter
        from prompt_toolkit.history import FileHistory
        from prompt_toolkit.patch_stdout import patch_stdout
    except ImportError as error:
        if error.name is None or not error.name.startswith("prompt_toolkit"):
            raise
        raise MissingExtraError("this needs: pip install 'one_liner[control]'") from None
    path = history_file(name)
    path.parent.mkdir(parents=True, exist_ok=True)
    session: PromptSession[str] = PromptSession(
        prompt,
        history=FileHistory(str(path)),
        auto_suggest=AutoSuggestFromHistory(),
        completer=WordCompleter(list(words), ignore_case=True, sentence=True),
        complete_while_typing=False,
        bottom_toolbar=toolbar,
        refresh_interval=1.0,
    )

    def from_terminal() -> str | None:
        try:
            return session.prompt()
        except (EOFError, KeyboardInterrupt):
            return None

    with patch_stdout(raw=True):
        yield from_terminal


def _from_pipe() -> str | None:
    line = sys.stdin.readline()
    return line if line else None
