"""Streams side by side: what comes, how often, how old, how much was lost. `watch` and `demo` show the same."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Any, Literal, Self, cast

from rich.table import Table
from rich.text import Text

from one_liner.cli.listing import hertz
from one_liner.cli.values import in_one_line
from one_liner.client import RouterClient
from one_liner.errors import NoDataError, SourceFailedError, UnknownStreamError

_AT_ONCE = 500
"""How many samples of one stream are taken before another one has its turn."""
_ASK_EVERY_S = 1.0


@dataclass(slots=True)
class Arrival:
    """A sample as it came, or the failure that came in its place."""

    stream: str
    value: Any = None
    sequence: int | None = None
    timestamp: float = field(default_factory=time.perf_counter)
    failure: SourceFailedError | None = None

    @property
    def age_s(self) -> float:
        """How long ago it was measured."""
        return time.perf_counter() - self.timestamp

    def text(self) -> str:
        """The value in one line; of a failure what was raised."""
        if self.failure is not None:
            return f"{self.failure.type_name}: {self.failure.message}"
        return in_one_line(self.value)

    def line(self) -> str:
        """The whole of it: `camera #12 +3.1ms 480x640 uint8 mean 12 ▁▃█`."""
        sequence = "#-" if self.sequence is None else f"#{self.sequence}"
        return f"{self.stream} {sequence} +{self.age_s * 1000:.1f}ms {self.text()}"


class Board:
    """Receives streams and remembers the newest of each. A context manager, to be left before the client is closed.

    Belongs to one thread. Nothing here waits for the server: its rates are asked for on a thread of their own.

    Args:
        client: whose streams. It stays the caller's.
        names: which.
        storage_type: as in `RouterClient.configure_stream`.
    """

    def __init__(
        self, client: RouterClient, names: Sequence[str], storage_type: Literal["queue", "cache"] = "queue"
    ) -> None:
        self.names = list(names)
        self.arrivals = dict.fromkeys(self.names, 0)
        self._client = client
        self._newest: dict[str, Arrival] = {}
        self._configurations: dict[str, dict[str, Any]] = {}
        self._asker = ThreadPoolExecutor(1, "one_liner board")
        self._asked: Future[dict[str, dict[str, Any]]] | None = None
        self._ask_again_at = 0.0
        for name in self.names:
            client.configure_stream(name, storage_type)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._asker.shutdown(wait=False)

    def collect(self) -> list[Arrival]:
        """Everything that came since the last time, in the order in which it was measured. Does not wait."""
        new = [arrival for name in self.names for arrival in self._waiting(name)]
        for arrival in new:
            self._newest[arrival.stream] = arrival
            self.arrivals[arrival.stream] += 1
        return sorted(new, key=lambda arrival: arrival.timestamp)

    def table(self) -> Table:
        """The board for a terminal."""
        self._ask_for_rates()
        table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim", expand=True)
        table.add_column("stream", overflow="ellipsis", no_wrap=True)
        table.add_column("value", overflow="ellipsis", no_wrap=True, ratio=1)
        for title in ("Hz", "asked", "age", "lost"):
            table.add_column(title, justify="right", no_wrap=True)
        for name in self.names:
            table.add_row(*self._row(name))
        if self._client.state != "connected":
            table.caption = f"the server is {self._client.state}"
        return table

    def lines(self) -> list[str]:
        """The board as plain lines, one per stream."""
        self._ask_for_rates()
        lines = []
        for name in self.names:
            value, rate, asked, age, lost = (str(cell) for cell in self._row(name)[1:])
            lines.append(f"{name}: {value}  ({rate} of {asked} Hz, age {age}, lost {lost})")
        return lines

    def lost(self, name: str) -> int:
        """How many samples of a stream were made for us and did not come, for whatever cause."""
        ledger = self._client.stream_statistics(name)
        return ledger.dropped + ledger.dropped_upstream + ledger.lost_on_the_way

    def failures(self) -> list[str]:
        """The streams whose newest sample is an error, each in words."""
        newest = (self._newest.get(name) for name in self.names)
        return [f"{one.stream} raised {one.text()}" for one in newest if one is not None and one.failure is not None]

    def ledger(self) -> list[str]:
        """Where the samples of each stream went, one line per stream."""
        return [f"{name}: {self._client.stream_statistics(name)}" for name in self.names]

    def _waiting(self, name: str) -> list[Arrival]:
        found: list[Arrival] = []
        while len(found) < _AT_ONCE:
            try:
                sample = self._client.get_stream(name)
            except NoDataError:
                break
            except SourceFailedError as failure:
                found.append(Arrival(name, failure=failure))
            else:
                found.append(Arrival(name, sample.data, sample.sequence, sample.timestamp))
        return found

    def _row(self, name: str) -> list[str | Text]:
        newest, configuration = self._newest.get(name), self._configurations.get(name, {})
        if newest is not None:
            value = Text(newest.text(), "red" if newest.failure else "")
        else:
            waiting = "nothing yet" if configuration.get("enabled", True) else "disabled"
            value = Text(waiting, "yellow")
        lost = self.lost(name)
        return [
            Text(name, "bold"),
            value,
            hertz(configuration.get("achieved_hz")),
            hertz(configuration.get("frequency_hz")),
            "–" if newest is None else age_text(newest.age_s),
            Text(str(lost), "red" if lost else ""),
        ]

    def _ask_for_rates(self) -> None:
        """Once per second; takes what has been answered since."""
        if self._asked is not None and self._asked.done():
            if self._asked.exception() is None:  # Otherwise the age of the samples tells how it is.
                self._configurations = self._asked.result()
            self._asked = None
        now = time.perf_counter()
        if self._asked is None and now >= self._ask_again_at:
            self._ask_again_at = now + _ASK_EVERY_S
            self._asked = self._asker.submit(configurations, self._client)


def configurations(client: RouterClient) -> dict[str, dict[str, Any]]:
    """What the server says of each stream, by name. Raises as `RouterClient.call`."""
    groups = cast("dict[str, dict[str, dict[str, Any]]]", client.get_stream_configurations(as_dict=True))
    return {name: entry for group in groups.values() for name, entry in group.items()}


def existing(known: Iterable[str], names: Sequence[str]) -> list[str]:
    """The streams that are meant: those that were named, each once, or all.

    A server does not list its own streams, such as `:ledger`; they are there.

    Raises:
        UnknownStreamError: the server has no such stream; the message has names that are close.
    """
    known = list(known)
    for name in names:
        if name not in known and name.rpartition("/")[2] != ":ledger":
            close = get_close_matches(name, known, 1)
            hint = f"did you mean {close[0]!r}?" if close else f"there are: {', '.join(known) or 'none'}"
            raise UnknownStreamError(f"no stream {name!r}; {hint}")
    return list(dict.fromkeys(names)) or known


def age_text(age_s: float) -> str:
    """An age for a column of a table."""
    return f"{age_s * 1000:.0f} ms" if age_s < 1 else f"{age_s:.1f} s" if age_s < 100 else f"{age_s:.0f} s"
