"""What became of samples at their readers, as these report it to the server that they are connected to.

A server knows what it made and sent; what of that was delivered, dropped or lost only the reader knows. While somebody
follows the ledger of a server, its clients say so with every heartbeat, and the last word of each is kept here.
"""

from __future__ import annotations

from collections.abc import Callable
from threading import Lock
from typing import Any, Final

from one_liner.errors import MalformedError
from one_liner.frozen import Frozen
from one_liner.rpc.sessions import Sessions
from one_liner.streams.ledger import ReaderStatistics

MAX_STREAMS: Final = 1000
_MAX_NAME: Final = 1000
_MAX_COUNT: Final = 1 << 63
_COUNTERS: Final = ReaderStatistics.field_names()


class _Report(Frozen):
    at: float
    streams: dict[str, ReaderStatistics]


class ReaderReports:
    """The last report of each client that lives. May be used from any thread.

    Args:
        sessions: who the clients are, and whether they live; as many of them report as it takes.
    """

    def __init__(self, sessions: Sessions) -> None:
        self._sessions = sessions
        self._lock = Lock()
        self._reports: dict[int, _Report] = {}

    def note(self, client: int, streams: Any, now: float) -> None:
        """Keep what a client reports; one whose heartbeats are not known is not heard.

        Args:
            client: its number.
            streams: by name, each the counters of `ReaderStatistics`.
            now: on the server's timeline.

        Raises:
            MalformedError: it is something else, or of more than `MAX_STREAMS` streams.
        """
        if not isinstance(streams, dict) or len(streams) > MAX_STREAMS:
            raise MalformedError(f"a report is a map of at most {MAX_STREAMS} streams")
        report = _Report(now, {_name(name): _statistics(counted) for name, counted in streams.items()})
        if self._sessions.lives(client, now):
            with self._lock:
                self._reports[client] = report

    def by_stream(self, now: float) -> dict[str, list[dict[str, Any]]]:
        """Of each stream its readers: their counters, `who` they are, and how old that is (`age_s`)."""
        with self._lock:
            self._reports = {client: one for client, one in self._reports.items() if self._sessions.lives(client, now)}
            reports = dict(self._reports)
        found: dict[str, list[dict[str, Any]]] = {}
        for client, report in reports.items():
            about = {"who": self._sessions.name_of(client), "age_s": now - report.at}
            for name, statistics in report.streams.items():
                found.setdefault(name, []).append({**about, **statistics.as_dict()})
        return found

    def forget(self) -> None:
        """Nobody wants to know any more."""
        with self._lock:
            self._reports.clear()


def report_of(statistics: dict[str, Callable[[], ReaderStatistics]]) -> dict[str, dict[str, int]]:
    """What a client reports of its streams, the first `MAX_STREAMS` of them."""
    names = [name for name in statistics if len(name) <= _MAX_NAME][:MAX_STREAMS]
    now = {name: statistics[name]() for name in names}
    return {name: {counter: getattr(one, counter) for counter in _COUNTERS} for name, one in now.items()}


def _name(name: Any) -> str:
    if type(name) is not str or len(name) > _MAX_NAME:
        raise MalformedError("this is no name of a stream")
    return name


def _statistics(counted: Any) -> ReaderStatistics:
    try:
        counters = {counter: counted[counter] for counter in _COUNTERS}
        sound = all(type(count) is int and 0 <= count < _MAX_COUNT for count in counters.values())
    except (TypeError, KeyError, IndexError):
        sound = False
    if not sound:
        raise MalformedError(f"a report has of each stream the counts {', '.join(_COUNTERS)}")
    return ReaderStatistics(**counters)
