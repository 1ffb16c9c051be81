"""What Ctrl-C must not leave half done.

Python delivers Ctrl-C to the main thread, between any two of its steps: also after a thread was started and before
anybody knows of it. What happens on another thread is done or not begun.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from threading import Thread, current_thread, main_thread
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")


def uninterrupted(act: Callable[P, T]) -> Callable[P, T]:
    """A function that is done as a whole, wherever it is called: Ctrl-C ends the waiting for it only.

    Called on the main thread, it runs on a thread of its own, which takes some 70 µs. The caller must not hold a lock
    that it needs.
    """

    @wraps(act)
    def whole(*args: P.args, **kwargs: P.kwargs) -> T:
        if current_thread() is not main_thread():
            return act(*args, **kwargs)
        given: list[T] = []
        raised: list[BaseException] = []

        def run() -> None:
            try:
                given.append(act(*args, **kwargs))
            except BaseException as error:  # Raised again on the thread that asked.
                raised.append(error)

        thread = Thread(target=run, name="one_liner uninterrupted", daemon=True)
        try:
            thread.start()
        except RuntimeError:  # There are no more threads, or none any more: the interpreter ends.
            return act(*args, **kwargs)
        thread.join()
        if raised:
            raise raised.pop()  # Kept here, it would keep this frame, and that it.
        return given[0]

    return whole
