"""What Ctrl-C must not leave half done.

Python delivers Ctrl-C to the main thread, between any two of its steps: also after a thread was started and before
anybody knows of it. What happens on another thread is done or not begun.
"""

from __future__ import annotations

from collections.abc import Callable
from threading import Thread


def uninterrupted(act: Callable[[], None]) -> None:
    """Do something on a thread of its own, and wait for it. Ctrl-C ends the waiting only; the rest is done meanwhile.

    Raises:
        BaseException: what `act` raised.
    """
    raised: list[BaseException] = []

    def run() -> None:
        try:
            act()
        except BaseException as error:  # Raised again on the thread that asked.
            raised.append(error)

    thread = Thread(target=run, name="one_liner uninterrupted", daemon=True)
    thread.start()
    thread.join()
    if raised:
        raise raised[0]
