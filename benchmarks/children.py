"""Functions in processes of their own, and a line to each. Whoever waits for one that has died is told so, and ends."""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Callable
from multiprocessing.connection import wait
from types import TracebackType
from typing import Any, NoReturn, Self

_LOOK_EVERY_S = 0.1


class Children:
    """Processes that need each other; `with` ends them all."""

    def __init__(self) -> None:
        self._alive: list[Child] = []

    def start(self, target: Callable[..., Any], *arguments: Any) -> Child:
        """A function in a process of its own; its last argument is its end of the line."""
        child = Child(self, target, arguments)
        self._alive.append(child)
        return child

    def forget(self, child: Child) -> None:
        """This one has ended as it should."""
        self._alive.remove(child)

    def sentinels(self) -> dict[int, Child]:
        """What `multiprocessing.connection.wait` takes, for each that has not ended in good order."""
        return {child.process.sentinel: child for child in self._alive if child.process.exitcode != 0}

    def check(self) -> None:
        """End if one of them has failed.

        Raises:
            SystemExit: with its name, and how it ended.
        """
        for child in self._alive:
            if child.process.exitcode:
                child.mourn()

    def wait_for(self, predicate: Callable[[], bool]) -> None:
        """Until something is so, or one of them has failed.

        Raises:
            SystemExit: as `check`.
        """
        while not predicate():
            self.check()
            time.sleep(_LOOK_EVERY_S)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for child in reversed(tuple(self._alive)):
            child.end()


class Child:
    """One of them. `with` ends it before the others.

    Attributes:
        process: it.
    """

    def __init__(self, children: Children, target: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
        context = multiprocessing.get_context("spawn")
        self._children = children
        self._line, there = context.Pipe()
        self.process = context.Process(target=target, args=(*arguments, there), name=target.__name__, daemon=True)
        self.process.start()
        there.close()  # Else the line would stay open when the process has died.

    def tell(self, word: Any) -> None:
        """Say something to it.

        Raises:
            SystemExit: it has ended.
        """
        try:
            self._line.send(word)
        except OSError:
            self.mourn()

    def hear(self) -> Any:
        """Wait for the next that it says.

        Raises:
            SystemExit: it ended before, or one of the others failed.
        """
        while self._line not in wait([self._line, *self._children.sentinels()]):
            self._children.check()
        try:
            return self._line.recv()
        except (EOFError, OSError):
            self.mourn()

    def ask(self, word: Any) -> Any:
        """Say something, and wait for the answer; raises as `hear`."""
        self.tell(word)
        return self.hear()

    def mourn(self) -> NoReturn:
        """Say that, and how, it has ended."""
        self.process.join()
        raise SystemExit(
            f"the process {self.process.name!r} ended with {self.process.exitcode} before its work was done"
        )

    def end(self) -> None:
        """End it, whatever it does."""
        self._children.forget(self)
        self.process.terminate()
        self.process.join()
        self._line.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.end()
