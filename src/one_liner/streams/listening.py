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
    stop = Flag()
    gone: type[OneLinerError] | None = None  # as it was told last

    def next_item() -> Sample | OneLinerError:
        nonlocal gone
        while not stop.is_set():
            try:
                sample = take(timeout_s=_SLICE_S)
                gone = None
                return sample
            except NoDataError:
                gone = None
            except (ClosedError, UnknownStreamError):
                raise StopIteration from None
            except TransportError as error:
                if type(error) is not gone:
                    gone = type(error)
                    return error
                stop.wait(_SLICE_S)
            except OneLinerError as error:
                return error
        raise StopIteration

    def deliver(item: Sample | OneLinerError) -> None:
        if isinstance(item, Sample):
            callback(item)
        elif on_error is not None:
            on_error(item)

    return Callback(name, deliver, next_item, stop.set)


def samples_of(take: Callable[[], Sample]) -> Iterator[Sample]:
    """Samples, one after the other, until the client is closed or the stream not configured any more."""
    while True:
        try:
            sample = take()
        except (ClosedError, UnknownStreamError):
            return
        yield sample
