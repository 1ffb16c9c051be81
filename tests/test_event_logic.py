"""Events by arithmetic: what one is, who wants it, what is kept, what is missing, what waits for a listener."""

from __future__ import annotations

import threading
from enum import Enum, IntEnum
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from one_liner.errors import ClosedError, ConfigurationError, MalformedError, NotCarriableError, StreamTimeoutError
from one_liner.events.emitter import MAX_ENTRIES, Emitter
from one_liner.events.event import Event, Topic, kind_of
from one_liner.events.history import History
from one_liner.events.inbox import ALARM, Inbox, alarm, check_last
from one_liner.events.ledger import MAX_MISSING, EmergencyLedger
from one_liner.events.selection import DEFAULT_TOPICS, Selection
from one_liner.events.values import MAX_KEPT_BYTES, KnownValues
from one_liner.testing import FakeClock
from one_liner.wire.codec import Codec
from one_liner.wire.messages import SampleMessage


class Colour(Enum):
    RED = "#f00"


class Number(IntEnum):
    STOP = 101


def event(topic: Topic = Topic.EVENT, number: int = 0, *, kind: str | int = "k", origin: int = 1) -> Event:
    return Event(topic, kind, None, 1.0, number, number, origin)


# --- events ----------------------------------------------------------------------------------------------------------


def test_a_kind_is_text_a_number_or_the_name_of_a_member() -> None:
    assert [kind_of(kind) for kind in ("shutter", 5, Colour.RED, Number.STOP)] == ["shutter", 5, "RED", "STOP"]
    for nonsense in ("", None, True, 1.5, ["a"], b"x"):
        with pytest.raises(ConfigurationError, match="kind of an event"):
            kind_of(nonsense)


def test_an_event_survives_the_wire() -> None:
    codec = Codec()
    one = Event(Topic.EMERGENCY, "fire", {"where": ("lab", 3)}, 1.5, 10**18, 3, 2**63 - 1)
    read = Event.from_dict({**codec.decode(*codec.encode(one.as_dict())), "later": 1}, "north")
    assert (read.source, read.topic, read.context, read.index) == (
        "north",
        Topic.EMERGENCY,
        {"where": ("lab", 3)},
        10**18,
    )
    assert str(read) == "north: emergency fire {'where': ('lab', 3)}"
    assert str(event()) == "event k"


@pytest.mark.parametrize(
    "damage", [{"topic": "gossip"}, {"kind": None}, {"kind": True}, {"index": 1.5}, {"when": "now"}, {"origin": None}]
)
def test_what_is_no_event(damage: dict[str, Any]) -> None:
    with pytest.raises(MalformedError):
        Event.from_dict({**event().as_dict(), **damage})
    with pytest.raises(MalformedError):
        Event.from_dict([1, 2])


def test_topics_by_their_words() -> None:
    assert Topic.of("property_change") is Topic.PROPERTY_CHANGE
    assert Topic.EVENT.stream == ":event"
    with pytest.raises(ConfigurationError, match="no topic 'gossip'; there are emergency, "):
        Topic.of("gossip")


def test_who_wants_what() -> None:
    every = Selection.of()
    assert every.topics == DEFAULT_TOPICS
    assert not every.wants(event(Topic.HEARTBEAT))
    assert Selection.of("event").wants(event(Topic.EMERGENCY)), "an emergency is an event"
    assert not Selection.of("emergency").wants(event(Topic.EVENT))
    some = Selection.of(["event", "heartbeat"], ["a", Number.STOP, 7])
    assert some.wants(event(Topic.HEARTBEAT, kind="a"))
    assert some.wants(event(kind="STOP"))
    assert some.wants(event(kind=7))
    assert not some.wants(event(kind="b"))
    for nonsense in ([], "gossip", [None]):
        with pytest.raises(ConfigurationError):
            Selection.of(nonsense)
    with pytest.raises(ConfigurationError, match="empty list of kinds"):
        Selection.of(None, [])


# --- history ---------------------------------------------------------------------------------------------------------


def test_a_history_is_bounded_in_number_size_and_age() -> None:
    history: History[int, str] = History(3, 100, 10.0)
    for number in range(5):
        history.add(number, str(number), 10, float(number))
    assert (list(history), len(history), history.size_bytes, history.dropped) == (["2", "3", "4"], 3, 30, 2)
    assert (history.get(4), history.get(0)) == ("4", None)
    history.add(5, "large", 85, 5.0)
    assert list(history) == ["4", "large"]
    history.add(6, "larger", 1000, 6.0)
    assert list(history) == ["larger"], "the newest is kept whatever its size"
    history.forget(16.5)
    assert (list(history), history.size_bytes) == ([], 0)


def test_one_of_the_same_name_is_replaced() -> None:
    history: History[str, int] = History(3, 100, 10.0)
    history.add("a", 1, 10, 0.0)
    history.add("a", 2, 20, 0.0)
    assert (list(history), history.size_bytes, history.dropped) == ([2], 20, 0)


# --- what is missing -------------------------------------------------------------------------------------------------


def test_a_gap_is_seen_at_the_next_one_and_closed_by_what_comes_late() -> None:
    ledger = EmergencyLedger()
    assert ledger.arrived(1, 5)
    assert (ledger.missing, ledger.wanted) == (0, 6)
    assert ledger.arrived(1, 8)
    assert (ledger.missing, ledger.wanted) == (2, 6)
    assert not ledger.arrived(1, 8)
    assert ledger.arrived(1, 7)
    assert not ledger.arrived(1, 7)
    assert (ledger.missing, ledger.wanted) == (1, 6)
    assert ledger.answered(1, 9) == 1
    assert (ledger.missing, ledger.wanted, ledger.lost) == (0, 9, 1)


def test_what_came_before_we_listened_is_not_ours() -> None:
    ledger = EmergencyLedger()
    ledger.began(1, 4)
    ledger.began(1, 9)
    assert (ledger.wanted, ledger.missing) == (4, 0)
    assert ledger.arrived(1, 4)


def test_what_was_told_before_the_answer_and_is_heard_after_it_is_ours() -> None:
    ledger = EmergencyLedger()
    ledger.began(1, 3)
    assert ledger.arrived(1, 2), "it came live, so it was sent to us"
    assert not ledger.arrived(1, 2)
    assert ledger.arrived(1, 3)
    assert (ledger.missing, ledger.wanted) == (0, 4)


def test_what_came_live_before_the_answer_shows_what_is_missing() -> None:
    ledger = EmergencyLedger()
    assert ledger.arrived(1, 5)
    ledger.began(1, 3)
    assert (ledger.missing, ledger.wanted) == (2, 3)
    assert ledger.arrived(1, 3)
    assert ledger.answered(1, 6) == 1
    late = EmergencyLedger()
    assert late.arrived(1, 5)
    late.began(1, 6)
    assert (late.missing, late.wanted, late.begun) == (0, 6, True)


def test_the_server_says_that_there_was_more() -> None:
    ledger = EmergencyLedger()
    ledger.began(1, 0)
    assert ledger.arrived(1, 1)
    assert ledger.answered(1, 4) == 3
    assert ledger.arrived(1, 4)
    assert ledger.answered(2, 100) == 0, "of another life"


def test_of_a_new_life_everything_is_ours() -> None:
    ledger = EmergencyLedger()
    ledger.began(1, 7)
    assert ledger.arrived(1, 9)
    assert ledger.arrived(2, 1)
    assert (ledger.missing, ledger.wanted) == (1, 0)
    assert ledger.arrived(2, 0)


def test_a_beginning_far_behind_what_came_live_is_lost_but_for_the_last() -> None:
    ledger = EmergencyLedger()
    ledger.arrived(1, MAX_MISSING + 5)
    ledger.began(1, 0)
    assert (ledger.missing, ledger.lost, ledger.wanted) == (MAX_MISSING, 5, 5)


def test_what_cannot_be_asked_for_is_lost_at_once() -> None:
    ledger = EmergencyLedger()
    ledger.began(1, 0)
    assert ledger.arrived(1, MAX_MISSING + 5)
    assert (ledger.missing, ledger.lost) == (MAX_MISSING, 5)


@given(st.lists(st.integers(0, 30), max_size=60), st.integers(0, 40))
def test_every_number_is_delivered_once_or_lost(numbers: list[int], told: int) -> None:
    ledger = EmergencyLedger()
    ledger.began(1, 0)
    delivered = [number for number in numbers if ledger.arrived(1, number)]
    ledger.answered(1, told)
    assert len(delivered) == len(set(delivered))
    top = max([told, *(number + 1 for number in numbers)])
    assert len(delivered) + ledger.lost + ledger.missing == top


# --- what waits ------------------------------------------------------------------------------------------------------


def inbox(*topics: str, most: int = 100, last: int = 0) -> Inbox:
    return Inbox(Selection.of(topics or None), FakeClock(), most, last)


def kinds(box: Inbox, count: int) -> list[Any]:
    return [box.take(0).kind for _ in range(count)]


def test_emergencies_come_first() -> None:
    box = inbox()
    for number, topic in enumerate([Topic.EVENT, Topic.EMERGENCY, Topic.EVENT, Topic.EMERGENCY, Topic.HEARTBEAT]):
        box.put(event(topic, kind=number))
    assert kinds(box, 4) == [1, 3, 0, 2]
    with pytest.raises(StreamTimeoutError, match="no event within 0 s"):
        box.take(0)


def test_a_slow_listener_loses_the_oldest_and_is_told(caplog: pytest.LogCaptureFixture) -> None:
    box = inbox(most=3)
    for number in range(5):
        box.put(event(number=number, kind=number))
    assert (box.dropped, kinds(box, 3)) == (2, [2, 3, 4])
    assert caplog.text.count("too slow") == 1


def test_emergencies_that_do_not_fit_are_an_alarm() -> None:
    box = inbox(most=3)
    for number in range(6):
        box.put(event(Topic.EMERGENCY, number, kind=number))
    assert box.dropped == 3
    assert kinds(box, 3) == [0, 1, 2]
    raised = box.take(0)
    assert (raised.kind, raised.topic, raised.context["lost"]) == (ALARM, Topic.EMERGENCY, 3)


def test_the_last_ones_come_in_front_and_none_comes_twice() -> None:
    box = inbox(last=5)
    assert box.begins_late
    box.put(event(number=3, kind="live"))
    with pytest.raises(StreamTimeoutError):
        box.take(0)
    box.put(event(Topic.EMERGENCY, 0, kind="fire"))
    assert kinds(box, 1) == ["fire"], "an emergency waits for nothing"
    box.begin_with(
        [
            event(number=2, kind="old"),
            event(Topic.EMERGENCY, 0, kind="fire"),
            event(Topic.EMERGENCY, 1, kind="flood"),
            event(number=3, kind="live"),
            event(Topic.HEARTBEAT, 4, kind="unwanted"),
        ]
    )
    assert not box.begins_late
    box.put(event(number=4, kind="next"))
    box.begin_with([event(number=9, kind="too late")])
    box.put(event(Topic.EMERGENCY, 1, kind="flood"))
    box.put(event(number=2, kind="old"))  # live, and overtaken by the last ones
    assert kinds(box, 4) == ["flood", "old", "live", "next"]


def test_closing_wakes_who_waits() -> None:
    box = inbox(last=1)
    woken: list[BaseException] = []

    def wait() -> None:
        try:
            box.take()
        except ClosedError as error:
            woken.append(error)

    thread = threading.Thread(target=wait)
    thread.start()
    box.close()
    thread.join(10)
    assert len(woken) == 1
    assert not box.begins_late


def test_how_many_of_the_last() -> None:
    assert check_last(5) == 5
    for nonsense in (-1, True, 1.5, None, "3"):
        with pytest.raises(ConfigurationError, match="last is how many"):
            check_last(nonsense)
    assert alarm("north", 3, "why", FakeClock()).source == "north"


# --- values ----------------------------------------------------------------------------------------------------------


def test_a_change_is_told_from_none() -> None:
    codec, known = Codec(), KnownValues(most=2)

    def saw(name: str, value: Any) -> tuple[bool, Any]:
        changed, before = known.replace(name, codec.encode(value)[0])
        return changed, None if before is None or before.body is None else codec.decode(before.body)

    assert saw("a", [1]) == (True, None)
    assert saw("a", [1]) == (False, [1])
    assert saw("a", float("nan")) == (True, [1])
    assert saw("a", float("nan"))[0] is False
    assert saw("a", "x" * MAX_KEPT_BYTES)[0] is True
    assert saw("a", 5) == (True, None), "what was large is not kept"
    assert known.replace("a", b"\x05", [b"large"])[0]
    assert not known.replace("a", b"\x05", [b"large"])[0]
    assert known.replace("a", b"\x05", [b"larger"])[0]
    known.forget("a")
    assert saw("a", 1) == (True, None)
    saw("b", 1)
    saw("c", 1)
    assert saw("a", 1) == (True, None), "only so many are known"


# --- emitting --------------------------------------------------------------------------------------------------------


class Sent:
    def __init__(self) -> None:
        self.clock = FakeClock()
        self.codec = Codec()
        self.sent: list[tuple[Topic, Event]] = []
        self.emitter = Emitter(9, self.codec, self.clock, self.send)

    def send(self, topic: Topic, message: SampleMessage) -> None:
        self.sent.append((topic, Event.from_dict(self.codec.decode(message.body, message.buffers))))


@pytest.fixture
def sent() -> Sent:
    return Sent()


def test_events_are_numbered_by_topic_and_their_index_grows(sent: Sent) -> None:
    for topic in (Topic.EVENT, Topic.EVENT, Topic.EMERGENCY):
        sent.emitter.emit(topic, "k", None)
    sent.clock.advance(1)
    last = sent.emitter.emit(Topic.EVENT, Colour.RED, {"a": 1})
    assert [(one.topic, one.number) for _, one in sent.sent] == [
        (Topic.EVENT, 0),
        (Topic.EVENT, 1),
        (Topic.EMERGENCY, 0),
        (Topic.EVENT, 2),
    ]
    indices = [one.index for _, one in sent.sent]
    assert indices == sorted(set(indices))
    assert last.index == int(sent.clock.now() * 1e9)
    assert (last.kind, last.when, last.origin) == ("RED", sent.clock.wall(), 9)


def test_what_cannot_travel_is_refused_and_takes_no_number(sent: Sent) -> None:
    with pytest.raises(NotCarriableError, match=r"event\['context'\]|event\[\"context\"\]"):
        sent.emitter.emit(Topic.EVENT, "k", {"stage": object()})
    with pytest.raises(ConfigurationError):
        sent.emitter.emit(Topic.EVENT, None, None)
    assert sent.sent == []
    assert sent.emitter.emit(Topic.EVENT, "k", None).number == 0


def test_an_emergency_goes_out_whatever_its_context(sent: Sent) -> None:
    class Broken:
        def __repr__(self) -> str:
            raise RuntimeError("no repr")

    sent.emitter.emit(Topic.EMERGENCY, "fire", {"at": object()})
    sent.emitter.emit(Topic.EMERGENCY, "fire", Broken())
    assert [one.number for _, one in sent.sent] == [0, 1]
    assert "object object" in sent.sent[0][1].context
    assert sent.sent[1][1].context == "<Broken whose repr raised RuntimeError>"


def test_a_context_is_taken_as_it_is_now(sent: Sent) -> None:
    points = [1]
    box = inbox()
    sent.emitter.listen(box)
    sent.emitter.emit(Topic.EVENT, "k", points)
    points.append(2)
    assert box.take(0).context == [1]
    assert sent.emitter.recent(Selection.of(), 5)[0].context == [1]


def test_the_last_ones_are_kept_by_topic(sent: Sent) -> None:
    for number in range(MAX_ENTRIES + 5):
        sent.emitter.emit(Topic.PROPERTY_CHANGE, f"p{number}", None)
    sent.emitter.emit(Topic.EVENT, "rare", None)
    sent.emitter.emit(Topic.JOB_UPDATE, "running", None)
    every = sent.emitter.recent(Selection.of(["event", "property_change", "job_update"]), 10**6)
    assert len(every) == MAX_ENTRIES + 1
    assert [one.kind for one in every[-2:]] == [f"p{MAX_ENTRIES + 4}", "rare"]
    assert [one.kind for one in sent.emitter.recent(Selection.of(None, "p7"), 5)] == ["p7"]
    assert [one.kind for one in sent.emitter.recent(Selection.of(), 2)] == [f"p{MAX_ENTRIES + 4}", "rare"]
    assert sent.emitter.recent(Selection.of(), 0) == []
    sent.clock.advance(86_401)
    assert sent.emitter.recent(Selection.of(), 5) == []


def test_a_listener_begins_with_the_last_ones(sent: Sent) -> None:
    for number in range(3):
        sent.emitter.emit(Topic.EVENT, number, None)
    box = inbox(last=2)
    sent.emitter.listen(box)
    sent.emitter.emit(Topic.EVENT, 3, None)
    sent.emitter.emit(Topic.JOB_UPDATE, "unwanted", None)
    assert kinds(box, 3) == [1, 2, 3]
    sent.emitter.unlisten(box)
    sent.emitter.emit(Topic.EVENT, 4, None)
    with pytest.raises(StreamTimeoutError):
        box.take(0)


def test_missed_emergencies(sent: Sent) -> None:
    for number in range(3):
        sent.emitter.emit(Topic.EMERGENCY, number, None)
    asked = sent.emitter.missed_emergencies
    assert asked(None, None) == {"origin": 9, "next": 3, "events": []}
    assert [one["number"] for one in asked(9, 1)["events"]] == [1, 2]
    assert [one["number"] for one in asked(8, 77)["events"]] == [0, 1, 2], "they knew another life"


def test_heartbeats_are_numbered_and_not_kept(sent: Sent) -> None:
    assert [sent.emitter.heartbeat({"state": "x"}).number for _ in range(2)] == [0, 1]
    assert sent.sent == []


def test_a_closed_emitter_says_so(sent: Sent) -> None:
    box = inbox()
    sent.emitter.listen(box)
    sent.emitter.close()
    with pytest.raises(ClosedError, match="event k cannot be told"):
        sent.emitter.emit(Topic.EVENT, "k", None)
    with pytest.raises(ClosedError):
        box.take(0)
