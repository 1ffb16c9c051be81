"""Events from end to end: told, heard in the right order, kept, recovered, and observed properties."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from enum import IntEnum
from typing import Any

import pytest

from one_liner.client import RouterClient
from one_liner.errors import (
    ClosedError,
    ConfigurationError,
    NotCarriableError,
    RemoteError,
    StreamTimeoutError,
    UnknownAttributeError,
    UnknownObjectError,
    UnknownStreamError,
)
from one_liner.events.emitter import MAX_ENTRIES
from one_liner.events.event import Event, Topic
from one_liner.events.hub import Feed
from one_liner.events.inbox import ALARM
from one_liner.server import RouterServer
from one_liner.testing import FaultProxy
from tests.conftest import busy_for, poll_until

PATIENCE_S = 20.0
HEARTBEAT_S = 0.3


class Laser:
    """Its power is rounded to whole milliwatts."""

    wavelength = 640.0

    def __init__(self) -> None:
        self._power = 0
        self.broken = False
        self.reads = 0

    @property
    def power(self) -> int:
        self.reads += 1
        if self.broken:
            raise OSError("no answer from the laser")
        return self._power

    @power.setter
    def power(self, power: float) -> None:
        self._power = round(power)

    def drift(self, power: int) -> None:
        self._power = power


class Kind(IntEnum):
    STOP = 101


@pytest.fixture
def laser() -> Laser:
    return Laser()


@pytest.fixture
def server(laser: Laser) -> Iterator[RouterServer]:
    with RouterServer(
        rpc_port=0, broadcast_port=0, heartbeat_s=HEARTBEAT_S, instances={"laser": laser}, name="rig"
    ) as server:
        server.run()
        yield server


def client_of(server: RouterServer, name: str = "ann") -> RouterClient:
    return RouterClient(
        rpc_port=server.rpc_port, broadcast_port=None, interface="127.0.0.1", name=name, heartbeat_s=HEARTBEAT_S
    )


@pytest.fixture
def client(server: RouterServer) -> Iterator[RouterClient]:
    with client_of(server) as client:
        yield client


def hears(client: RouterClient, *topics: str) -> bool:
    """Whether everything of these topics arrives from now on."""
    return all(
        name in client._reception.feeds and client._reception.feeds[name].synchronised.is_set() for name in topics
    )


def listening(client: RouterClient, heard: list[Event], *topics: str, **arguments: Any) -> Any:
    callback = client.on_event(heard.append, list(topics) or None, **arguments)
    prefix = f"{arguments['source']}/" if arguments.get("source") else ""
    names = [f"{prefix}:{topic}" for topic in topics or ("event", "emergency", "property_change", "command_result")]
    poll_until(lambda: hears(client, *names))
    return callback


# --- telling and hearing ---------------------------------------------------------------------------------------------


def test_what_is_told_is_heard_as_it_was(server: RouterServer, client: RouterClient) -> None:
    heard: list[Event] = []
    listening(client, heard)
    told = server.emit("shutter", {"open": True, "path": r"C:\new\table", "n": -5})
    server.emit(Kind.STOP)
    server.emit(7, [1, (2, 3)])
    poll_until(lambda: len(heard) == 3)
    assert heard[0] == told
    assert [(event.kind, event.number) for event in heard] == [("shutter", 0), ("STOP", 1), (7, 2)]
    assert heard[0].index < heard[1].index < heard[2].index
    assert heard[2].context == [1, (2, 3)]


def test_a_loop_over_events(server: RouterServer, client: RouterClient) -> None:
    with client.iter_events("event", kind=["a", "c"], timeout_s=PATIENCE_S) as events:
        poll_until(lambda: hears(client, ":event"))
        for kind in "abc":
            server.emit(kind)
        assert [next(events).kind, next(events).kind] == ["a", "c"]
        assert events.dropped == 0
    assert list(events) == []
    with client.iter_events(timeout_s=0.05) as events, pytest.raises(StreamTimeoutError):
        next(events)


def test_a_loop_ends_with_its_client(client: RouterClient) -> None:
    events = client.iter_events()
    ended = threading.Event()

    def loop() -> None:
        for _ in events:
            pass
        ended.set()

    thread = threading.Thread(target=loop)
    thread.start()
    client.close()
    assert ended.wait(PATIENCE_S)
    thread.join()
    with pytest.raises(ClosedError):
        client.on_event(print)


def test_two_listeners_hear_all_and_closing_one_leaves_the_other(server: RouterServer, client: RouterClient) -> None:
    first: list[Event] = []
    second: list[Event] = []
    one, _ = listening(client, first, "event"), listening(client, second, "event")
    server.emit("a")
    poll_until(lambda: first and second)
    one.close()
    server.emit("b")
    poll_until(lambda: len(second) == 2)
    assert len(first) == 1
    assert hears(client, ":event")


def test_a_topic_that_nobody_wants_any_more_is_received_no_longer(server: RouterServer, client: RouterClient) -> None:
    heard: list[Event] = []
    listening(client, heard, "event").close()
    assert client._reception.feeds == {}
    listening(client, heard, "event")
    server.emit("again")
    poll_until(lambda: heard)


def test_a_callback_that_raises_is_called_again(server: RouterServer, client: RouterClient) -> None:
    heard: list[Event] = []

    def fail(event: Event) -> None:
        heard.append(event)
        raise RuntimeError("in a callback")

    client.on_event(fail)
    poll_until(lambda: hears(client, ":event", ":emergency"))
    server.emit("a")
    server.emit("b")
    poll_until(lambda: len(heard) == 2)


def test_listening_may_come_before_the_server(laser: Laser) -> None:
    with RouterServer(rpc_port=0, broadcast_port=0) as probe:
        port = probe.rpc_port
    heard: list[Event] = []
    with RouterClient(rpc_port=port, broadcast_port=None, interface="127.0.0.1", heartbeat_s=HEARTBEAT_S) as client:
        client.on_event(heard.append, last=10)
        with RouterServer(rpc_port=port, broadcast_port=0, heartbeat_s=HEARTBEAT_S) as server:
            server.emit("before anybody listened")
            server.run()
            poll_until(lambda: heard, PATIENCE_S)
            server.emit("live")
            poll_until(lambda: len(heard) == 2, PATIENCE_S)
    assert [event.kind for event in heard] == ["before anybody listened", "live"]


def test_what_cannot_travel_is_told_to_whoever_tells(server: RouterServer, client: RouterClient) -> None:
    heard: list[Event] = []
    listening(client, heard)
    with pytest.raises(NotCarriableError):
        server.emit("bad", {"stage": object()})
    server.emergency("fire", {"stage": object()})
    server.emit("good")
    poll_until(lambda: len(heard) == 2)
    assert sorted((event.kind, event.number) for event in heard) == [("fire", 0), ("good", 0)]


@pytest.mark.parametrize(
    ("topic", "kind", "source", "last"),
    [("gossip", None, "", 0), ([], None, "", 0), (None, "", "", 0), (None, None, 5, 0), (None, None, "", -1)],
)
def test_nonsense_is_refused(client: RouterClient, topic: Any, kind: Any, source: Any, last: Any) -> None:
    with pytest.raises(ConfigurationError):
        client.on_event(print, topic, kind, source=source, last=last)
    assert client._reception.feeds == {}


def test_events_are_accounted_for_as_samples_are(server: RouterServer, client: RouterClient) -> None:
    heard: list[Event] = []
    listening(client, heard, "event")
    for number in range(100):
        server.emit(number)
    poll_until(lambda: len(heard) == 100)
    statistics = client.stream_statistics(":event")
    assert (statistics.received, statistics.delivered, statistics.accounted) == (100, 100, True)
    assert client.get_stream_configurations() == {}, "a server's own streams are not its owner's"


def test_a_topic_of_which_nothing_was_told_yet_is_no_mistake(server: RouterServer, client: RouterClient) -> None:
    assert client._control(":event\x01token", "publish_marker") is None
    assert "no stream" in client._control(":nothing\x01token", "publish_marker")


def test_the_streams_of_events_are_nobodys_to_change(server: RouterServer, client: RouterClient) -> None:
    server.emit("a")
    for change in (server.remove_stream, server.disable_stream, client.remove_stream, client.disable_stream):
        with pytest.raises(UnknownStreamError, match="cannot be changed"):
            change(":event")
    with pytest.raises(ConfigurationError, match="server's own"):
        server.get_stream_fn(":event")


# --- emergencies -----------------------------------------------------------------------------------------------------


def test_emergencies_overtake_what_waits(server: RouterServer, client: RouterClient) -> None:
    heard: list[Event] = []
    begun, go = threading.Event(), threading.Event()

    def slow(event: Event) -> None:
        heard.append(event)
        begun.set()
        go.wait(PATIENCE_S)

    client.on_event(slow)
    poll_until(lambda: hears(client, ":event", ":emergency"))
    for number in range(5):
        server.emit(number)
    assert begun.wait(PATIENCE_S)
    server.emergency("fire")
    poll_until(lambda: client.stream_statistics(":emergency").delivered == 1)
    poll_until(lambda: client.stream_statistics(":event").delivered == 5)
    busy_for(0.05)
    go.set()
    poll_until(lambda: len(heard) == 6)
    assert [event.kind for event in heard] == [0, "fire", 1, 2, 3, 4]


def test_an_emergency_that_was_lost_on_the_way_is_asked_for(server: RouterServer, client: RouterClient) -> None:
    heard: list[Event] = []
    listening(client, heard, "emergency")
    server.emergency("first")
    poll_until(lambda: heard)
    send = server._emitter._send
    server._emitter._send = lambda topic, message: None  # it goes nowhere
    server.emergency("lost")
    server.emergency("lost, too")
    server._emitter._send = send
    server.emergency("last")
    poll_until(lambda: len(heard) == 4)
    assert sorted(event.number for event in heard) == [0, 1, 2, 3]
    assert {event.kind for event in heard} == {"first", "lost", "lost, too", "last"}


def test_a_gap_is_asked_about_at_once(server: RouterServer) -> None:
    with RouterClient(
        rpc_port=server.rpc_port, broadcast_port=None, interface="127.0.0.1", heartbeat_s=30
    ) as client:  # in any case it asks every 90 s only
        heard: list[Event] = []
        listening(client, heard, "emergency")
        poll_until(lambda: client._hub is not None and client._hub._ledgers[""].begun)
        send, server._emitter._send = server._emitter._send, lambda topic, message: None
        server.emergency("lost")
        server._emitter._send = send
        server.emergency("last")
        poll_until(lambda: len(heard) == 2)


def test_an_emergency_that_the_answer_to_the_first_question_overtakes(
    server: RouterServer, client: RouterClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    heard: list[Event] = []
    held = threading.Event()
    read = Feed.next_event
    monkeypatch.setattr(Feed, "next_event", lambda feed: read(feed) if held.is_set() else None)
    ask, asked = server._emitter.missed_emergencies, threading.Event()

    def answer(origin: Any, since: Any) -> Any:
        if not asked.is_set():
            asked.set()
            poll_until(lambda: hears(client, ":emergency"))
            server._emitter.emit(Topic.EMERGENCY, "in between", None)
        return ask(origin, since)

    monkeypatch.setattr(server._emitter, "missed_emergencies", answer)
    client.on_event(heard.append, "emergency")
    poll_until(lambda: client._hub is not None and client._hub._ledgers[""].begun)
    held.set()
    assert client._hub is not None
    client._hub._signal()
    poll_until(lambda: heard)
    server.emergency("last")
    poll_until(lambda: len(heard) == 2)
    assert [event.kind for event in heard] == ["in between", "last"]


def test_the_last_one_is_missed_too(server: RouterServer, client: RouterClient) -> None:
    heard: list[Event] = []
    listening(client, heard, "emergency")
    poll_until(lambda: client._hub is not None and client._hub._ledgers[""].begun)
    server._emitter._send = lambda topic, message: None
    server.emergency("lost, and none follows")
    poll_until(lambda: heard)
    assert heard[0].kind == "lost, and none follows"


def test_what_cannot_be_had_any_more_is_an_alarm(server: RouterServer, client: RouterClient) -> None:
    heard: list[Event] = []
    listening(client, heard, "emergency")
    server.emergency("first")
    poll_until(lambda: heard)
    send = server._emitter._send
    server._emitter._send = lambda topic, message: None
    for number in range(MAX_ENTRIES + 7):
        server.emergency(number)
    server._emitter._send = send
    server.emergency("last")
    poll_until(lambda: len(heard) == MAX_ENTRIES + 2, PATIENCE_S)
    (raised,) = [event for event in heard if event.kind == ALARM]
    assert raised.topic is Topic.EMERGENCY
    assert raised.context["lost"] == 8  # the 1000 that are kept are 999 of these and the last one
    assert len({event.number for event in heard if event is not raised}) == MAX_ENTRIES + 1


def test_an_emergency_while_the_connection_was_cut(laser: Laser) -> None:
    with (
        RouterServer(rpc_port=0, broadcast_port=0, heartbeat_s=HEARTBEAT_S) as server,
        FaultProxy(server.rpc_port, server.broadcast_port) as way,
    ):
        server.run()
        with RouterClient(
            rpc_port=way.rpc_port, broadcast_port=way.broadcast_port, interface="127.0.0.1", heartbeat_s=HEARTBEAT_S
        ) as client:
            heard: list[Event] = []
            listening(client, heard, "emergency")
            server.emergency("before")
            poll_until(lambda: heard)
            way.cut("broadcast")
            server.emergency("meanwhile")
            poll_until(lambda: len(heard) == 2, PATIENCE_S)
            assert heard[1].kind == "meanwhile"


# --- history ---------------------------------------------------------------------------------------------------------


def test_a_late_joiner_has_the_last_ones(server: RouterServer, client: RouterClient) -> None:
    for number in range(5):
        server.emit(number)
    server.emergency("fire")
    heard: list[Event] = []
    client.on_event(heard.append, last=3)
    poll_until(lambda: len(heard) == 3)
    server.emit("live")
    poll_until(lambda: len(heard) == 4)
    assert [event.kind for event in heard] == ["fire", 3, 4, "live"]
    assert [event.kind for event in client.events(last=3)] == [4, "fire", "live"]
    assert [event.kind for event in client.events("emergency")] == ["fire"]
    assert [event.kind for event in client.events(kind=[1, "fire"])] == [1, "fire"]
    assert client.events(last=0) == []
    assert [event.kind for event in server.events(last=1)] == ["live"]


def test_listening_in_the_servers_own_process(server: RouterServer) -> None:
    server.emit("early")
    heard: list[Event] = []
    callback = server.on_event(heard.append, last=5)
    server.emit("live")
    poll_until(lambda: len(heard) == 2)
    callback.close()
    server.emit("not heard")
    assert [event.kind for event in heard] == ["early", "live"]
    with pytest.raises(ConfigurationError, match="heartbeats"):
        server.on_event(heard.append, "heartbeat")
    still = server.on_event(heard.append)
    server.close()
    poll_until(lambda: still.closed)
    with pytest.raises(ClosedError):
        server.emit("too late")


# --- heartbeats and states -------------------------------------------------------------------------------------------


def test_heartbeats_come_while_somebody_listens(server: RouterServer, client: RouterClient) -> None:
    heard: list[Event] = []
    assert server._registry.find(":heartbeat") is None
    with client.on_event(heard.append, "heartbeat"):
        poll_until(lambda: heard)
        server.state = "acquiring"
        poll_until(lambda: heard[-1].context["state"] == "acquiring")
    first = heard[0].context
    assert (first["identifier"], first["state"], first["server"]) == ("rig", "running", heard[0].origin)
    assert set(first) == {"identifier", "server", "version", "timestamp", "state"}
    assert [event.number for event in heard] == list(range(heard[0].number, heard[0].number + len(heard)))


def test_a_change_of_the_state_is_an_event(server: RouterServer) -> None:
    server.state = "acquiring"
    server.state = "acquiring"
    (event,) = server.events(kind="state")
    assert (server.state, event.context) == ("acquiring", {"old": "running", "new": "acquiring"})
    with pytest.raises(ConfigurationError, match="a state is a word"):
        server.state = ""


# --- properties ------------------------------------------------------------------------------------------------------


def changes(heard: list[Event]) -> list[tuple[Any, ...]]:
    contexts = [event.context for event in heard]
    return [(event.kind, one["old"], one["new"], one["who"]) for event, one in zip(heard, contexts, strict=True)]


def test_what_a_client_sets_is_told_at_once(server: RouterServer, client: RouterClient) -> None:
    heard: list[Event] = []
    listening(client, heard, "property_change")
    client.set("laser", "power", 5.4)
    client.proxy("laser").power = 7
    poll_until(lambda: len(heard) == 2)
    assert changes(heard) == [("laser.power", None, 5.4, "ann"), ("laser.power", 5.4, 7, "ann")]
    assert [event.context["old_known"] for event in heard] == [False, True]
    assert (heard[0].context["object"], heard[0].context["name"]) == ("laser", "power")


def test_an_observed_property_is_read_back(server: RouterServer, client: RouterClient, laser: Laser) -> None:
    heard: list[Event] = []
    listening(client, heard, "property_change")
    server.observe("laser", "power")
    client.set("laser", "power", 5.4)
    poll_until(lambda: heard)
    assert changes(heard) == [("laser.power", None, 5, "ann")]
    laser.broken = True
    client.set("laser", "power", 6)
    poll_until(lambda: len(heard) == 2)
    assert heard[1].context["error"]["type"] == "OSError"


def test_a_set_that_fails_is_no_change(server: RouterServer, client: RouterClient) -> None:
    with pytest.raises(RemoteError):
        client.set("laser", "power", "a lot")
    with pytest.raises(UnknownAttributeError):
        client.set("laser", "colour", "red")
    assert server.events("property_change") == []


def test_what_changes_by_itself_is_polled(server: RouterServer, client: RouterClient, laser: Laser) -> None:
    heard: list[Event] = []
    listening(client, heard, "property_change")
    client.observe("laser", "power", 50)
    poll_until(lambda: heard)
    client.call("laser", "drift", [3])
    poll_until(lambda: len(heard) == 2)
    before = laser.reads
    poll_until(lambda: laser.reads > before + 3)
    client.set("laser", "power", 8)
    poll_until(lambda: len(heard) == 3)
    assert changes(heard) == [
        ("laser.power", None, 0, ""),
        ("laser.power", 0, 3, ""),
        ("laser.power", 3, 8, "ann"),
    ]
    client.unobserve("laser", "power")
    poll_until(lambda: not server._registry.at(50))
    with pytest.raises(UnknownObjectError, match="is not observed"):
        client.unobserve("laser", "power")


def test_a_read_that_fails_is_told_once_and_so_is_the_next_good_one(server: RouterServer, laser: Laser) -> None:
    laser.broken = True
    server.observe("laser", "power", frequency_hz=100)
    poll_until(lambda: laser.reads > 5)
    laser.broken = False
    poll_until(lambda: len(server.events("property_change")) >= 2)
    failed, good = server.events("property_change")
    assert failed.context["error"]["message"] == "[Errno None] no answer from the laser" or (
        "no answer from the laser" in failed.context["error"]["message"]
    )
    assert (good.context["error"], good.context["new"]) == (None, 0)


def test_polling_keeps_to_the_lane(server: RouterServer, client: RouterClient, laser: Laser) -> None:
    inside = threading.Event()
    go = threading.Event()

    class Slow(Laser):
        def hold(self) -> None:
            inside.set()
            go.wait(PATIENCE_S)

    slow = Slow()
    server.add_instance("slow", slow)
    server.observe("slow", "power", 100)
    poll_until(lambda: slow.reads)
    job = client.submit("slow", "hold")
    assert inside.wait(PATIENCE_S)
    reads = slow.reads
    stream = server._registry.get(":slow.power")
    poll_until(lambda: stream.account()["skipped_busy"] > 3)
    assert slow.reads == reads
    go.set()
    job.wait(PATIENCE_S)
    poll_until(lambda: slow.reads > reads)


@pytest.mark.parametrize(
    ("obj_name", "attr_name", "frequency_hz", "error"),
    [
        ("laser", "drift", None, ConfigurationError),
        ("laser", "colour", None, UnknownAttributeError),
        ("maser", "power", None, UnknownObjectError),
        ("laser", "power", 0, ConfigurationError),
        ("laser", "power", float("nan"), ConfigurationError),
    ],
)
def test_what_cannot_be_observed(
    server: RouterServer, obj_name: str, attr_name: str, frequency_hz: Any, error: type[Exception]
) -> None:
    with pytest.raises(error):
        server.observe(obj_name, attr_name, frequency_hz)
    assert not server._registry.all()


def test_observed_by_configuration(laser: Laser) -> None:
    config = {"observed_properties": {"laser.power": {"frequency_hz": 100}, "laser.wavelength": {}}}
    with RouterServer(rpc_port=0, broadcast_port=0, instances={"laser": laser}, config=config) as server:
        server.run()
        poll_until(lambda: server.events("property_change", "laser.power"))
        with pytest.raises(ConfigurationError, match="observed_properties"):
            RouterServer(rpc_port=0, broadcast_port=0, config={"observed_properties": {"laser.power": {"hz": 1}}})


# --- through routers -------------------------------------------------------------------------------------------------


def test_events_through_three_servers(server: RouterServer) -> None:
    with (
        RouterServer(rpc_port=0, broadcast_port=0, heartbeat_s=HEARTBEAT_S) as middle,
        RouterServer(rpc_port=0, broadcast_port=0, heartbeat_s=HEARTBEAT_S) as top,
    ):
        middle.add_router("low", "tcp", "127.0.0.1", server.rpc_port)
        top.add_router("mid", "tcp", "127.0.0.1", middle.rpc_port)
        middle.run()
        top.run()
        server.emit("early")
        with client_of(top) as client:
            heard: list[Event] = []
            poll_until(lambda: _answers(lambda: client.events(source="mid/low")))
            listening(client, heard, "event", "emergency", source="mid/low", last=1)
            poll_until(lambda: heard)
            server.emergency("fire")
            top.emit("ours")
            server.emit("late")
            poll_until(lambda: len(heard) == 3, PATIENCE_S)
            assert {(event.source, event.kind) for event in heard} == {
                ("mid/low", "early"),
                ("mid/low", "fire"),
                ("mid/low", "late"),
            }
            send, server._emitter._send = server._emitter._send, lambda topic, message: None
            server.emergency("lost")
            server._emitter._send = send
            poll_until(lambda: len(heard) == 4, PATIENCE_S)
            assert [event.kind for event in client.events(source="mid/low", last=1)] == ["lost"]


def _answers(ask: Callable[[], Any]) -> bool:
    try:
        ask()
    except Exception:
        return False
    return True
