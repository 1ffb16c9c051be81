"""Who lost what: every sample that was made is delivered or counted under the cause of its loss.

The producer's side counts what it made and which ticks it skipped; each reader's side finds the gaps in the sequence
numbers and names who made them. The words: dropped (a buffer was full), skipped (a deadline was missed), lost (a gap
in the sequence that a broken connection explains), conflated (replaced by a newer one in a cache), stale (came too
late or twice). Neither ledger holds a lock: the owner guards it.
"""

from __future__ import annotations

from typing import Any, Final

from one_liner.frozen import Frozen
from one_liner.streams.buffers import SampleBuffer

Origin = bytes | int

# How many producers a reader tells apart; so many restarts lie between two samples of one life only by mistake.
_REMEMBERED_ORIGINS: Final = 16
_MAX_GAP: Final = 1 << 32


class SourceLedger:
    """What one stream made at its producer.

    Ticks of a periodic stream = produced + skipped_late + skipped_busy.
    """

    __slots__ = ("_failed", "_last_holder", "_produced", "_published", "_skipped_busy", "_skipped_late")

    def __init__(self) -> None:
        self._produced = 0
        self._failed = 0
        self._published = 0
        self._skipped_late = 0
        self._skipped_busy = 0
        self._last_holder = ""

    def produced(self, failed: bool = False) -> None:
        """One sample was made and has its sequence number.

        Args:
            failed: the source raised, or returned what cannot be carried; the sample is that error.
        """
        self._produced += 1
        if failed:
            self._failed += 1

    def published(self) -> None:
        """One sample was handed to the broadcast."""
        self._published += 1

    def skipped_late(self, ticks: int) -> None:
        """So many deadlines passed while an earlier tick of the same thread still ran."""
        self._skipped_late += ticks

    def skipped_busy(self, holder: str) -> None:
        """One tick did not run because the object was at work.

        Args:
            holder: with what: `laser.sweep for gui`.
        """
        self._skipped_busy += 1
        self._last_holder = holder

    def summary(self) -> dict[str, Any]:
        """The counters as plain data.

        Returns:
            `produced` (with `failed` among them: samples that are an error), `published`, `skipped_late` and
            `skipped_busy` in ticks, `last_holder` (who was at work at the last busy tick, or None).
        """
        return {
            "produced": self._produced,
            "failed": self._failed,
            "published": self._published,
            "skipped_late": self._skipped_late,
            "skipped_busy": self._skipped_busy,
            "last_holder": self._last_holder or None,
        }


class ReaderStatistics(Frozen):
    """Where the samples of one stream went, as one reader knows it; counted from the first one that arrived.

    Attributes:
        received: samples that arrived here, each counted once.
        delivered: of these, handed out.
        waiting: of these, in the buffer now.
        dropped: of these, thrown away here: the queue was full, or was cleared.
        conflated: of these, replaced by a newer one before anybody took them.
        dropped_upstream: missing while our connection stood: a buffer at the server or at a relay was full.
        lost_on_the_way: missing because a connection broke, or because the producer restarted.
        stale: arrived a second time or out of date, and were ignored; not among the received.
        restarts: how often another producer came in place of the last one.
    """

    received: int
    delivered: int
    waiting: int
    dropped: int
    conflated: int
    dropped_upstream: int
    lost_on_the_way: int
    stale: int
    restarts: int

    @property
    def expected(self) -> int:
        """How many samples were made for this reader, as far as the sequence numbers tell."""
        return self.received + self.dropped_upstream + self.lost_on_the_way

    @property
    def accounted(self) -> bool:
        """Whether every expected sample is in exactly one of the counters; anything else is a bug of ours."""
        here = self.delivered + self.waiting + self.dropped + self.conflated
        return self.expected == here + self.dropped_upstream + self.lost_on_the_way

    @property
    def unknown_tail(self) -> bool:
        """Whether there may be samples that nobody can count: those a producer made after our last, before it died."""
        return self.restarts > 0

    def as_dict(self) -> dict[str, Any]:
        """The same as plain data, with what follows from it."""
        return {
            "expected": self.expected,
            **vars(self),
            "accounted": self.accounted,
            "unknown_tail": self.unknown_tail,
        }

    def __str__(self) -> str:
        """One line for people: the sum, without the terms that are 0."""
        terms = {
            "dropped here": self.dropped,
            "conflated": self.conflated,
            "dropped upstream": self.dropped_upstream,
            "lost on the way": self.lost_on_the_way,
        }
        losses = "".join(f" + {count} {cause}" for cause, count in terms.items() if count)
        return f"{self.expected} expected = {self.delivered} delivered + {self.waiting} waiting{losses}"


class ReaderLedger:
    """Finds the gaps in what arrives at one reader and says whose they are.

    The first sample sets the baseline: what was made before it is nobody's loss. A ledger and the buffer behind it
    begin together; put into the buffer exactly those samples that `arrived` calls new.

    Attributes:
        received: new samples.
        dropped_upstream: gaps while the connection stood. TCP loses nothing while it stands, so a buffer was full at
            the server or at a relay (or a relay lost its own connection, which cannot be told apart from here).
        lost_on_the_way: gaps across a reconnect, and what a restarted producer made before its first sample came.
        stale: duplicates, samples older than one that was already here, and numbers that cannot be.
        restarts: how often an unknown producer took over.
    """

    __slots__ = (
        "_earlier",
        "_next",
        "_origin",
        "_reconnected_at",
        "dropped_upstream",
        "lost_on_the_way",
        "received",
        "restarts",
        "stale",
    )

    def __init__(self) -> None:
        self._origin: Origin | None = None
        # No sequence number is negative: the first sample never looks like the one to expect.
        self._next = -1
        self._reconnected_at = -1
        self._earlier: dict[Origin, int] = {}
        self.received = 0
        self.dropped_upstream = 0
        self.lost_on_the_way = 0
        self.stale = 0
        self.restarts = 0

    def arrived(self, origin: Origin, sequence: int, after_reconnect: bool) -> bool:
        """Note one sample as it comes.

        Args:
            origin: which life of which producer made it; always of one type.
            sequence: its number in this stream, from 0 in each life.
            after_reconnect: it is the first of this stream since the connection came back.

        Returns:
            True if it is new; False for a duplicate or an older one, which must not be handed out.
        """
        if sequence == self._next and origin == self._origin:
            self._next = sequence + 1
            self.received += 1
            return True
        return self._out_of_step(origin, sequence, after_reconnect)

    @property
    def expected(self) -> int:
        """How many samples were made for this reader: received + dropped_upstream + lost_on_the_way, always."""
        return self.received + self.dropped_upstream + self.lost_on_the_way

    @property
    def unknown_tail(self) -> bool:
        """Whether a producer went away: what it made after our last sample, nobody can know."""
        return self.restarts > 0

    def summary(self, buffer: SampleBuffer[Any]) -> ReaderStatistics:
        """All counters of this reader at once, those of its buffer included."""
        return ReaderStatistics(
            received=self.received,
            delivered=buffer.delivered,
            waiting=len(buffer),
            dropped=buffer.dropped,
            conflated=buffer.conflated,
            dropped_upstream=self.dropped_upstream,
            lost_on_the_way=self.lost_on_the_way,
            stale=self.stale,
            restarts=self.restarts,
        )

    def _out_of_step(self, origin: Origin, sequence: int, after_reconnect: bool) -> bool:
        """The first sample, one after a gap, a stale one, or one of another producer."""
        current = self._origin
        if current is None:
            expected = sequence
        elif origin == current:
            expected = self._next
        else:
            # An earlier producer again is a straggler, or a cascade that was led back to it.
            expected = self._earlier.get(origin, 0)
        if sequence - expected > _MAX_GAP:
            # Damaged on the way: a day at 10 kHz is less. Believing it would call every later sample stale.
            self.stale += 1
            return False
        if sequence < expected:
            self.stale += 1
            if after_reconnect:
                # The gap that belongs to this reconnect is still to come: it ends at the next new sample.
                self._reconnected_at = self._next
            return False
        if current is not None and origin != current:
            self._take_over(current, origin)
            self.lost_on_the_way += sequence - expected
        elif after_reconnect or self._reconnected_at == expected:
            self.lost_on_the_way += sequence - expected
        else:
            self.dropped_upstream += sequence - expected
        self._origin = origin
        self._next = sequence + 1
        self.received += 1
        return True

    def hears(self, origin: Origin) -> bool:
        """Whether the last sample came from this producer."""
        return self._origin == origin

    def _take_over(self, previous: Origin, origin: Origin) -> None:
        """Another producer comes in place of the previous one, which is remembered in case it comes back."""
        if self._earlier.pop(origin, None) is None:
            self.restarts += 1
        self._earlier[previous] = self._next
        if len(self._earlier) > _REMEMBERED_ORIGINS:
            del self._earlier[next(iter(self._earlier))]
        self._reconnected_at = -1
