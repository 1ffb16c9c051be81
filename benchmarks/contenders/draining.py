"""A cache for those that have none: a thread that takes everything, and keeps the newest."""

from __future__ import annotations

from threading import Condition, Event, Thread

from benchmarks.contenders.contender import Reader, Sample

WAIT_S = 1.0


class Drained(Reader):
    """A reader of queues as a cache."""

    def __init__(self, queue: Reader) -> None:
        self._queue = queue
        self._changed = Condition()
        self._newest: Sample | None = None
        self._ends = Event()
        self._thread = Thread(target=self._drain, daemon=True)
        self._thread.start()

    def _drain(self) -> None:
        while not self._ends.is_set():
            try:
                sample = self._queue.take(WAIT_S)
            except TimeoutError:
                continue
            with self._changed:
                self._newest = sample
                self._changed.notify()

    def take(self, timeout_s: float) -> Sample:
        with self._changed:
            if not self._changed.wait_for(lambda: self._newest is not None, timeout_s):
                raise TimeoutError
            sample, self._newest = self._newest, None
        assert sample is not None
        return sample

    def close(self) -> None:
        """Take no more."""
        self._ends.set()
        self._thread.join()
