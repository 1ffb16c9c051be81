"""The two ways to have samples without asking for each: a function that is called, and a loop."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from threading import Event as Flag
from typing import Any, Final

from one_liner.callbacks import Callback
from one_liner.errors import ClosedError, NoDataError, OneLinerError, TransportError, UnknownStreamError
from one_liner.streams.sample import Sample

_SLICE_S: Final = 0.1


def calling(
    name: str,
    take: Callable[..., Sample],
    callback: Callable[[Sample], Any],
    on_error: Callable[[OneLinerError], Any] | None,
) -> Callback[Any]:
    """Call a function with every sample, on a thread of its own, until what is returned is closed.

    Args:
        name: the stream, for people.
        take: waits for the next sample, `timeout_s` at the longest.
        callback: called with each.
        on_error: called with what is raised in its place; with trouble that lasts, once.
    """
    stop, gone = Flag(), Gone()

    def next_item() -> Sample | OneLinerError:
        while not stop.is_set():
            try:
                sample = take(timeout_s=_SLICE_S)
                gone.is_over()
                return sample
            except NoDataError:
                gone.is_over()
            except (ClosedError, UnknownStreamError):
                raise StopIteration from None
            except TransportError as error:
                if gone.is_news(error):
                    return error
                stop.wait(_SLICE_S)
            except OneLinerError as error:
                return error
        raise StopIteration

    return Callback(name, delivering(callback, on_error), next_item, stop.set)


class Gone:
    """That a server or a router is gone is told once, not as often as somebody looks."""

    def __init__(self) -> None:
        self._told: type[OneLinerError] | None = None

    def is_news(self, error: TransportError) -> bool:
        """Whether this has to be told."""
        news = type(error) is not self._told
        self._told = type(error)
        return news

    def is_over(self) -> None:
        """It is there again."""
        self._told = None


def delivering(
    callback: Callable[[Sample], Any], on_error: Callable[[OneLinerError], Any] | None
) -> Callable[[Sample | OneLinerError], Any]:
    """One function for samples, and for what is raised in their place; gives what the user's function gives."""

    def deliver(item: Sample | OneLinerError) -> Any:
        if isinstance(item, Sample):
            return callback(item)
        return on_error(item) if on_error is not None else None

    return deliver


def samples_of(take: Callable[[], Sample]) -> Iterator[Sample]:
    """Samples, one after the other, until the client is closed or the stream not configured any more."""
    while True:
        try:
            sample = take()
        except (ClosedError, UnknownStreamError):
            return
        yield sample
