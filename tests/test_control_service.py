"""A control service on real sockets: peers in plain ZeroMQ, as any other language would write them."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from enum import IntEnum
from threading import Event, Thread
from typing import Any, Self

import pytest
import zmq

from one_liner import RouterClient, RouterServer
from one_liner.control import (
    Command,
    CommandRequest,
    CommandResponse,
    ControlPeer,
    ControlService,
    EventKind,
    Later,
    Published,
    Result,
    Topic,
)
from one_liner.errors import (
    AlreadyStartedError,
    CallTimeoutError,
    ClosedError,
    ConfigurationError,
    NotCarriableError,
    PortInUseError,
)
from one_liner.keys import make
from tests.conftest import poll_until

PATIENCE_MS = 20_000


@pytest.fixture
def service() -> Iterator[ControlService]:
    with ControlService("rig", version="1.2", broadcast_port=0, command_port=0, heartbeat_s=0.05) as made:
        made.start()
        yield made


class Bare:
    """A REQ and a SUB of plain pyzmq, which know nothing of this library."""

    def __init__(self, service: ControlService, *topics: int) -> None:
        self.context = zmq.Context()
        self.req = self.context.socket(zmq.REQ)
        self.req.connect(service.command_endpoint)
        self.sub = self.context.socket(zmq.SUB)
        for topic in topics:
            self.sub.subscribe(struct.pack("<I", topic) if topic else b"")
        self.sub.connect(service.broadcast_endpoint)

    def ask(self, told: Any) -> dict[str, Any]:
        self.req.send(told if isinstance(told, bytes) else json.dumps(told).encode())
        assert self.req.poll(PATIENCE_MS)
        (answer,) = self.req.recv_multipart()
        return json.loads(answer)

    def receive(self) -> tuple[int, dict[str, Any]]:
        frames = self.receive_frames()
        return struct.unpack("<I", frames[0])[0], json.loads(frames[1])

    def receive_frames(self) -> list[bytes]:
        assert self.sub.poll(PATIENCE_MS)
        frames = self.sub.recv_multipart()
        assert len(frames) == 2
        return frames

    def find(self, wanted: Callable[[int, dict[str, Any]], bool]) -> dict[str, Any]:
        while True:
            topic, content = self.receive()
            if wanted(topic, content):
                return content

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.context.destroy(0)


@pytest.fixture
def bare(service: ControlService) -> Iterator[Bare]:
    with Bare(service, Topic.ANY) as made:
        made.find(lambda topic, content: topic == Topic.HEARTBEAT)  # It is subscribed.
        yield made


# --- life ------------------------------------------------------------------------------------------------------------


def test_a_service_is_started_once() -> None:
    service = ControlService(broadcast_port=0, command_port=0)
    assert not service.running
    service.start()
    with pytest.raises(AlreadyStartedError):
        service.start()
    assert service.running
    service.stop()
    service.stop()
    assert not service.running
    with pytest.raises(RuntimeError):
        service.start()


def test_stopped_before_it_was_started() -> None:
    service = ControlService(broadcast_port=0, command_port=0)
    service.stop()
    with pytest.raises(RuntimeError):
        service.start()


def test_the_ports_are_free_when_stop_returns() -> None:
    service = ControlService(broadcast_port=0, command_port=0)
    service.start()
    ports = service.broadcast_port, service.command_port
    service.stop()
    for _ in range(20):
        with ControlService(broadcast_port=ports[0], command_port=ports[1]) as again:
            again.start()
            assert (again.broadcast_port, again.command_port) == ports


@pytest.mark.parametrize("which", ["broadcast_port", "command_port"])
def test_a_port_that_is_taken_is_an_error_at_start(service: ControlService, which: str) -> None:
    ports = {"broadcast_port": 0, "command_port": 0, which: getattr(service, which)}
    second = ControlService(**ports)
    with pytest.raises(PortInUseError):
        second.start()
    assert not second.running
    assert not second.send_event(1)
    service.stop()
    second.start()  # Nothing stayed bound, and it was not started yet.
    second.stop()


def test_a_server_that_is_closed_already_is_an_error_at_start() -> None:
    server = RouterServer(rpc_port=0, broadcast_port=0)
    server.close()
    service = ControlService(server=server, command_port=0)
    with pytest.raises(ClosedError):
        service.start()
    assert not service.running


def test_one_port_for_both_cannot_be() -> None:
    with pytest.raises(ConfigurationError):
        ControlService(broadcast_port=5556, command_port=5556)


def test_what_is_sent_before_or_after_is_not_sent() -> None:
    service = ControlService(broadcast_port=0, command_port=0)
    sends: list[Callable[[], bool]] = [
        lambda: service.send_event(4),
        lambda: service.send_emergency(EventKind.EMERGENCY_STOP),
        lambda: service.send_property_change("laser.power", 1, 2),
        lambda: service.send_command_result(Command.GET_STATUS, 5),
        lambda: service.send_heartbeat(),
        lambda: service.send(Topic.EVENT, {"a": 1}),
    ]
    assert [send() for send in sends] == [False] * len(sends)
    service.start()
    assert [send() for send in sends] == [True] * len(sends)
    service.stop()
    assert [send() for send in sends] == [False] * len(sends)


def test_a_handler_may_stop_its_own_service(service: ControlService, bare: Bare) -> None:
    done = Event()

    def stop(request: CommandRequest) -> None:
        service.stop()
        done.set()

    service.add_handler(Command.STOP_ACQUISITION, stop)
    answer = bare.ask({"command": 110, "nonce": 5})
    assert answer["result"] == 9999
    assert done.wait(20)


def test_stop_answers_those_who_wait(service: ControlService, bare: Bare) -> None:
    begun, end = Event(), Event()

    @service.handles(Command.START_ACQUISITION)
    def start(request: CommandRequest) -> None:
        begun.set()
        end.wait(20)

    assert bare.ask({"command": 100, "nonce": 5})["result"] == 201
    assert begun.wait(20)
    service.stop()
    end.set()
    told = bare.find(lambda topic, content: topic == Topic.COMMAND_RESULT)
    assert (told["command"], told["nonce"], told["result"], told["errorKind"]) == (100, 5, 9999, 1)


# --- events ----------------------------------------------------------------------------------------------------------


def test_a_heartbeat(service: ControlService, bare: Bare) -> None:
    service.state = "acquiring"
    beat = bare.find(lambda topic, content: content.get("state") == "acquiring")
    assert beat.pop("timestamp") > 1.6e9
    assert beat == {"identifier": "rig", "version": "1.2", "state": "acquiring"}


def test_an_event_is_two_frames_with_keys_in_camel_case(service: ControlService, bare: Bare) -> None:
    context = {"file_path": "/data/a_b", "step": -3, "note": "a_sentence of_words"}
    assert service.send_event(1331, context)
    topic, event = _not_a_beat(bare)
    assert topic == Topic.EVENT
    assert set(event) == {"kind", "when", "index", "context"}
    assert (event["kind"], event["context"]) == (1331, {"filePath": "/data/a_b", "step": -3, "note": context["note"]})


def _not_a_beat(bare: Bare) -> tuple[int, dict[str, Any]]:
    while True:
        topic, content = bare.receive()
        if topic != Topic.HEARTBEAT:
            return topic, content


def test_the_index_never_goes_back(service: ControlService, bare: Bare) -> None:
    senders = [Thread(target=lambda: [service.send_event(1) for _ in range(50)]) for _ in range(4)]
    for sender in senders:
        sender.start()
    indices = [_not_a_beat(bare)[1]["index"] for _ in range(200)]
    for sender in senders:
        sender.join()
    assert indices == sorted(set(indices))


@pytest.mark.parametrize("kind", [101, EventKind.EMERGENCY_RESUME, "EMERGENCY_STOP", "emergencyStop"])
def test_an_emergency_kind_goes_out_on_both_topics_and_first_as_an_emergency(
    service: ControlService, bare: Bare, kind: Any
) -> None:
    service.send_event(kind, {"reason": "smoke"})
    first, second = _not_a_beat(bare), _not_a_beat(bare)
    assert [first[0], second[0]] == [Topic.EMERGENCY, Topic.EVENT]
    assert first[1] == second[1]
    assert first[1]["kind"] in (101, 102)


class Speechless:
    """Something that cannot even be shown."""

    def __repr__(self) -> str:
        raise RuntimeError("no light")


def test_an_emergency_goes_out_whatever_its_context_is(service: ControlService, bare: Bare) -> None:
    assert service.send_emergency("doorOpen", Speechless())
    told = bare.find(lambda topic, content: topic == Topic.EMERGENCY)
    assert told["context"] == "<Speechless whose repr raised RuntimeError>"


def test_a_topic_that_is_none_is_named(service: ControlService) -> None:
    with pytest.raises(ConfigurationError, match="4001"):
        service.send(7, {})
    with pytest.raises(ConfigurationError, match="no topic 7"):
        ControlService(events_as_text=[7])  # type: ignore[list-item]


def test_any_event_can_be_sent_as_an_emergency(service: ControlService, bare: Bare) -> None:
    service.send_emergency(7, object())  # What has no form in JSON goes as text: an emergency always goes.
    topic, event = _not_a_beat(bare)
    assert topic == Topic.EMERGENCY
    assert event["context"].startswith("<object object at")


def test_an_event_that_cannot_be_written_says_so_and_nothing_else_is_lost(service: ControlService, bare: Bare) -> None:
    service.send_event(1)
    with pytest.raises(NotCarriableError, match=r"context\['stage'\]: <object>"):
        service.send_event(2, {"stage": object()})
    service.send_event(3)
    assert [_not_a_beat(bare)[1]["kind"] for _ in range(2)] == [1, 3]


def test_a_kind_without_a_number_goes_with_its_name(service: ControlService, bare: Bare) -> None:
    service.send_event("door_opened", None)
    _, event = _not_a_beat(bare)
    assert (event["kind"], event["name"], event["context"]) == (99999, "door_opened", None)


def test_kinds_of_the_application() -> None:
    kinds = IntEnum("kinds", {"sessionStarted": 1331, "fire": 66})
    with ControlService(
        broadcast_port=0, command_port=0, event_kinds=kinds, emergency_kinds=[kinds.fire], heartbeat_s=0.05
    ) as service:
        service.start()
        with Bare(service, Topic.ANY) as bare:
            bare.receive()
            service.send_event("session_started")
            service.send_event(kinds.fire)
            told = [_not_a_beat(bare) for _ in range(3)]
    assert [(topic, event["kind"]) for topic, event in told] == [(4001, 1331), (2001, 66), (4001, 66)]


def test_a_property_change(service: ControlService, bare: Bare) -> None:
    service.send_property_change("laser.power", None, -3.5, who="anna")
    topic, change = _not_a_beat(bare)
    assert topic == Topic.PROPERTY_CHANGE
    assert {key: change[key] for key in ("name", "old", "new", "who")} == {
        "name": "laser.power",
        "old": None,
        "new": -3.5,
        "who": "anna",
    }


def test_a_message_of_ones_own(service: ControlService, bare: Bare) -> None:
    service.send(Topic.ANY, {"some_key": 1})
    assert _not_a_beat(bare) == (0, {"someKey": 1})


@pytest.mark.parametrize(("option", "quoted"), [(True, {1001, 4001}), ([Topic.EVENT], {4001}), (False, set())])
def test_older_subscribers_get_a_string_that_holds_json(option: Any, quoted: set[int]) -> None:
    with ControlService(broadcast_port=0, command_port=0, events_as_text=option, heartbeat_s=0.05) as service:
        service.start()
        with Bare(service, Topic.ANY) as bare:
            seen: dict[int, Any] = {}
            while set(seen) < {1001, 4001}:
                service.send_event(1)
                frames = bare.receive_frames()
                seen[struct.unpack("<I", frames[0])[0]] = json.loads(frames[1])
            assert {topic for topic, content in seen.items() if isinstance(content, str)} == quoted
            assert all(isinstance(json.loads(seen[topic]), dict) for topic in quoted)
            assert bare.ask({"command": 1})["result"] == 9999  # Answers are never written so.


def test_subscribers_get_the_topics_they_asked_for(service: ControlService) -> None:
    with Bare(service, Topic.EMERGENCY, Topic.HEARTBEAT) as bare:
        bare.receive()
        service.send_event(1)
        service.send_event(101)
        assert _not_a_beat(bare)[0] == Topic.EMERGENCY
        service.send_event(102)
        assert _not_a_beat(bare)[1]["kind"] == 102


# --- commands --------------------------------------------------------------------------------------------------------


def test_a_command_and_everything_that_can_become_of_it(service: ControlService, bare: Bare) -> None:
    @service.handles(None)
    def handle(request: CommandRequest) -> Any:
        match request.command:
            case Command.GET_STATUS:
                return {"app_state": "idle", "path": "/a/b_c"}
            case Command.STOP_ACQUISITION:
                return CommandResponse(Result.FAILED, error_code=7, error_message="not running")
            case Command.GET_CONFIGURATION:
                return {"stage": object()}
            case Command.USER_DEFINED:
                return request.custom_command
        raise ValueError("boom")

    told = [
        ({"command": 400, "nonce": 1}, (1, 400, 100, {"appState": "idle", "path": "/a/b_c"}, 0, 0)),
        ({"command": 110, "nonce": 2}, (2, 110, 400, None, 2, 7)),
        ({"command": 300, "nonce": 3}, (3, 300, 100, None, 1, 0)),
        ({"command": 4711, "nonce": 4}, (4, 99999, 100, 4711, 0, 0)),
        ({"command": 100, "nonce": 5}, (5, 100, 500, None, 2, 0)),
        (b"garbage", (0, 0, 0, None, 0, 0)),
        (b"", (0, 0, 0, None, 0, 0)),
    ]
    for request, expected in told:
        answer = bare.ask(request)
        assert list(answer) == ["nonce", "command", "result", "data", "errorKind", "errorCode", "errorMessage"]
        assert tuple(answer.values())[:-1] == expected
    service.remove_handler(None)
    assert bare.ask({"command": 400, "nonce": 6})["result"] == 9999


def test_a_slow_command_ends_as_a_command_result(service: ControlService, bare: Bare) -> None:
    end = Event()
    service.add_handler(Command.START_ACQUISITION, lambda request: end.wait(20) and {"file_name": "a_b"})
    assert bare.ask({"command": 100, "nonce": 5})["result"] == 201
    end.set()
    told = bare.find(lambda topic, content: topic == Topic.COMMAND_RESULT)
    assert (told["command"], told["nonce"], told["result"], told["data"]) == (100, 5, 100, {"fileName": "a_b"})


class Broken:
    """Data that raise when they are looked at."""

    def model_dump(self) -> None:
        raise RuntimeError("no light")


def test_an_answer_that_cannot_be_written_is_an_exception_and_holds_nobody_up() -> None:
    with ControlService(broadcast_port=0, command_port=0, patience_s=20) as service:
        service.add_handler(Command.GET_STATUS, lambda request: Broken(), lane="rig")
        service.add_handler(Command.GET_CONFIGURATION, lambda request: "idle", lane="rig")
        service.start()
        with Bare(service) as bare:
            answer = bare.ask({"command": 400, "nonce": 1})
            assert (answer["result"], answer["errorMessage"]) == (500, "RuntimeError: no light")
            assert bare.ask({"command": 300, "nonce": 2})["data"] == "idle"


def test_a_result_that_the_application_sends_itself(service: ControlService, bare: Bare) -> None:
    service.add_handler(100, lambda request: CommandResponse(Result.PENDING_WITH_NOTIFICATION))
    assert bare.ask({"command": 100, "nonce": 5})["result"] == 201
    service.send_command_result(Command.START_ACQUISITION, 5, RuntimeError("no light"))
    told = bare.find(lambda topic, content: topic == Topic.COMMAND_RESULT)
    assert (told["command"], told["nonce"], told["result"]) == (100, 5, 500)
    poll_until(lambda: bare.ask({"command": 100, "nonce": 5})["result"] == 500)


def test_a_stuck_command_delays_nobody_else(service: ControlService, bare: Bare) -> None:
    end, stopped = Event(), Event()
    service.add_handler(None, lambda request: end.wait(20))
    service.add_handler(Command.GET_STATUS, lambda request: "idle")
    with Bare(service) as one, Bare(service) as another:
        for number, peer in enumerate((one, another)):
            assert peer.ask({"command": 100, "nonce": number})["result"] == 201
        assert bare.ask({"command": 400, "nonce": 5})["data"] == "idle"
        service.add_handler(Command.EMERGENCY_STOP, lambda request: stopped.set())
        bare.ask({"command": 200, "nonce": 6})
        assert stopped.wait(20)
        end.set()


def test_dealers_and_what_is_no_envelope(service: ControlService) -> None:
    service.add_handler(Command.GET_STATUS, lambda request: "idle")
    context = zmq.Context()
    dealer = context.socket(zmq.DEALER)
    dealer.connect(service.command_endpoint)
    request = b'{"command": 400, "nonce": 5}'
    answers = []
    for frames in ([request], [b"", request], [b"id", b"", request], [b"", request, b"more"], [b"", b""], [b"a", b"b"]):
        dealer.send_multipart(frames)
        assert dealer.poll(PATIENCE_MS)
        *envelope, answer = dealer.recv_multipart()
        answers.append((envelope, json.loads(answer)["result"]))
    context.destroy(0)
    assert answers == [([], 100), ([b""], 100), ([b"id", b""], 100), ([b""], 0), ([b""], 0), ([], 0)]


# --- the other end ---------------------------------------------------------------------------------------------------


def test_a_peer_of_ours(service: ControlService) -> None:
    heard: list[Published] = []
    service.add_handler(77, lambda request: {"got_it": request.data})
    with ControlPeer("localhost", service.broadcast_port, service.command_port) as peer:
        peer.listen(heard.append, [Topic.EVENT])
        poll_until(lambda: service.send_event(1, {"a_b": 1}) and heard)
        assert heard[0].topic is Topic.EVENT
        assert heard[0].content["context"] == {"aB": 1}
        response = peer.custom(77, {"some_key": -1})
        assert (response.result, response.data) == (Result.SUCCESS, {"gotIt": {"someKey": -1}})
        assert peer.command(Command.GET_STATUS).result is Result.UNAVAILABLE
        with pytest.raises(NotCarriableError):
            peer.command(1, {"a": object()})
    with pytest.raises(ClosedError):
        peer.command(1)
    with pytest.raises(ClosedError):
        peer.listen(heard.append)


def test_a_peer_without_a_service_says_so() -> None:
    with ControlPeer(command_port=1, broadcast_port=2) as peer, pytest.raises(CallTimeoutError):
        peer.command(Command.GET_STATUS, timeout_s=0.05)


def test_a_listener_that_raises_is_called_again(service: ControlService, caplog: pytest.LogCaptureFixture) -> None:
    heard: list[Published] = []

    def listen(published: Published) -> None:
        heard.append(published)
        raise ValueError("mine")

    with ControlPeer("localhost", service.broadcast_port, service.command_port) as peer:
        peer.listen(listen)
        poll_until(lambda: len(heard) >= 3)
    assert "a listener raised" in caplog.text


# --- beside a server -------------------------------------------------------------------------------------------------


@pytest.fixture
def server() -> Iterator[RouterServer]:
    with RouterServer(rpc_port=0, broadcast_port=0) as made:
        made.run()
        yield made


def test_both_kinds_of_topic_travel_side_by_side(server: RouterServer) -> None:
    # The last two are, as text, the beginning of COMMAND_RESULT and of ANY.
    names = ["cam", "ev", "q"]
    push = {name: server.get_stream_fn(name) for name in names}
    with (
        ControlService(server=server, command_port=0, heartbeat_s=0.05) as service,
        RouterClient(rpc_port=server.rpc_port, broadcast_port=None) as client,
        ExitStack() as opened,
    ):
        service.start()
        assert service.broadcast_port == server.broadcast_port
        for name in names:
            client.configure_stream(name, "queue", wait=True)
        one = opened.enter_context(Bare(service, Topic.EVENT, Topic.COMMAND_RESULT, Topic.HEARTBEAT))
        one.receive()
        everything = opened.enter_context(Bare(service, Topic.ANY))
        everything.sub.poll(PATIENCE_MS)
        for number in range(50):
            for name in names:
                push[name]({"number": number, "payload": bytes(100_000 if number % 10 == 0 else 10)})
            assert service.send_event(number, "x" * (600_000 if number == 25 else 1))
            assert service.send_command_result(400, number)
        for name in names:
            numbers = [client.get_stream(name, block=True, timeout_s=20)[1]["number"] for _ in range(50)]
            assert numbers == list(range(50))
            assert client.stream_statistics(name).expected == 50
        events, results = [], []
        while len(events) < 50 or len(results) < 50:
            topic, content = one.receive()
            if topic == Topic.EVENT:
                events.append(content["kind"])
            elif topic == Topic.COMMAND_RESULT:
                results.append(content["nonce"])
        assert events == results == list(range(50))
        mine = 0
        while mine < 50:  # Who takes everything gets both kinds, and tells ours by two frames, the first of 4 bytes.
            frames = everything.sub.recv_multipart()
            if len(frames) == 2 and len(frames[0]) == 4:
                mine += json.loads(frames[1]).keys() == {"kind", "when", "index", "context"}
            else:
                assert frames[0].split(b"\0")[0].decode() in names or frames[0].startswith(b":")


def test_a_stream_cannot_have_the_name_of_a_topic(server: RouterServer) -> None:
    for topic in Topic:
        beginning = struct.pack("<I", topic).split(b"\0")[0]
        try:
            name = beginning.decode()
        except UnicodeDecodeError:
            continue
        with pytest.raises(ConfigurationError):
            server.get_stream_fn(name)


def test_a_server_that_goes_first_does_not_hang_the_service() -> None:
    server = RouterServer(rpc_port=0, broadcast_port=0)
    server.run()
    service = ControlService(server=server, command_port=0)
    service.start()
    server.close()
    service.send_event(1)
    service.stop()


def test_the_keys_of_the_server_hold_for_commands(tmp_path: Any) -> None:
    make("server", tmp_path)
    make("anna", tmp_path)
    make("guest", tmp_path)
    make("narrow", tmp_path)
    with (
        zmq.Context() as context,  # An authenticator of its own.
        RouterServer(rpc_port=0, broadcast_port=0, keys=tmp_path / "server.key", clients={}, context=context) as server,
    ):
        server.allow(tmp_path / "anna.pub")
        server.allow(tmp_path / "guest.pub", "read")
        server.allow(tmp_path / "narrow.pub", "control", ["stage"])
        server.run()
        with ControlService(server=server, command_port=0) as service:
            service.start()
            service.add_handler(Command.START_ACQUISITION, lambda request: "started")
            service.add_handler(Command.GET_STATUS, lambda request: "idle", role="read")
            asked = {
                who: [_ask_with_key(service, tmp_path, who, command) for command in (100, 400)]
                for who in ("anna", "guest", "narrow")
            }
            assert _ask_with_key(service, tmp_path, None, 100) is None
    assert [answer["data"] for answer in asked["anna"]] == ["started", "idle"]
    assert [answer["data"] for answer in asked["guest"]] == [None, "idle"]
    assert "needs the role control" in asked["guest"][0]["errorMessage"]
    assert [answer["result"] for answer in asked["narrow"]] == [400, 400]
    assert "restricted to stage" in asked["narrow"][0]["errorMessage"]


def _ask_with_key(service: ControlService, folder: Any, who: str | None, command: int) -> Any:
    from one_liner.keys import read_pair, read_public

    with zmq.Context() as context, context.socket(zmq.REQ) as req:
        req.linger = 0
        if who is not None:
            pair = read_pair(folder / f"{who}.key")
            req.curve_publickey, req.curve_secretkey = pair.public.encode(), pair.secret.encode()
            req.curve_serverkey = read_public(folder / "server.pub").encode()
        req.connect(service.command_endpoint)
        req.send(json.dumps({"command": command, "nonce": 5}).encode())
        return req.recv_json() if req.poll(PATIENCE_MS if who else 300) else None


def test_a_later_answer_on_real_sockets(service: ControlService, bare: Bare) -> None:
    later = Later({"job_id": "7"})
    service.add_handler(Command.START_ACQUISITION, lambda request: later)
    assert bare.ask({"command": 100, "nonce": 5})["data"] == {"jobId": "7"}
    later.finish([1, 2])
    assert bare.find(lambda topic, content: topic == Topic.COMMAND_RESULT)["data"] == [1, 2]
