"""A Python thread that computes, as an analysis in the process of a server would."""

from __future__ import annotations

from threading import Event, Thread


def start_busy_thread(stop: Event) -> None:
    """Have one compute until `stop`."""
    Thread(target=_compute, args=(stop,), daemon=True).start()


def _compute(stop: Event) -> None:
    while not stop.is_set():
        sum(index * index for index in range(1000))
