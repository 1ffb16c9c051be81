"""The control port without sockets: case of keys, values in JSON, requests, answers, the record and the desk."""

from __future__ import annotations

import json
import math
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from enum import Enum, IntEnum
from pathlib import PurePosixPath
from threading import Event
from typing import Any

import numpy
import pytest
from hypothesis import given
from hypothesis import strategies as st

from one_liner.control import Command, CommandRequest, CommandResponse, ErrorKind, EventKind, Later, Result, Verbatim
from one_liner.control.desk import Desk
from one_liner.control.handlers import OWN, Handlers
from one_liner.control.letter_case import camel_case, snake_case, with_snake_keys
from one_liner.control.numbers import Catalogue
from one_liner.control.plain import plain, to_bytes
from one_liner.control.record import MAX_AGE_S, MAX_BYTES, Entry, Record
from one_liner.control.request import MAX_BYTES as MAX_REQUEST_BYTES
from one_liner.control.topics import frame_of, read, subscription_of
from one_liner.control.workers import Workers
from one_liner.errors import ConfigurationError, MalformedError, NotCarriableError
from one_liner.limits import Limits
from one_liner.testing import FakeClock
from tests.conftest import poll_until

COMMANDS = Catalogue(Command)
JSON_KEYS = st.text(max_size=12) | st.from_regex(r"[a-z]{1,3}(_[a-z0-9]{1,3}){0,2}", fullmatch=True)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(JSON_KEYS, inner, max_size=4),
    max_leaves=8,
)


# --- case ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("snake", "camel"),
    [("some_key", "someKey"), ("data_location_of_day", "dataLocationOfDay"), ("kind", "kind"), ("a_b", "aB")],
)
def test_a_name_changes_its_case_and_back(snake: str, camel: str) -> None:
    assert camel_case(snake) == camel
    assert snake_case(camel) == snake


@pytest.mark.parametrize(
    "key", ["a path", "/data/a_b", "x_1", "_x", "x_", "UPPER_KEY", "two__x", "a-b", "", "ünı_ö", "Camel", "3_a", "é_a"]
)
def test_what_is_no_name_is_data_and_stays(key: str) -> None:
    assert camel_case(key) == key
    assert snake_case(key) == key or key == "Camel"
    assert plain({key: 1}, "data") == {key: 1}


def test_keys_change_at_every_depth_and_values_never() -> None:
    value = {
        "file_path": "/data/some_day/a_b.h5",
        "nested_list": [{"deep_key": -5, "plan_id": "6ba7b810-9dad-11d1-80b4-00c04fd430c8"}],
        "note": "a_sentence of some_words - and -3.5",
    }
    assert plain(value, "context") == {
        "filePath": "/data/some_day/a_b.h5",
        "nestedList": [{"deepKey": -5, "planId": "6ba7b810-9dad-11d1-80b4-00c04fd430c8"}],
        "note": "a_sentence of some_words - and -3.5",
    }


def test_keys_that_would_become_the_same_stay_as_they_are() -> None:
    assert plain({"some_key": 1, "someKey": 2}, "data") == {"some_key": 1, "someKey": 2}
    assert with_snake_keys({"some_key": 1, "someKey": 2}) == {"some_key": 1, "someKey": 2}


def test_the_keys_of_a_verbatim_dict_are_data() -> None:
    told = {"by_stage": Verbatim({"stage_x": {"fine_step": 1}}), "at_rest": True}
    assert plain(told, "data") == {"byStage": {"stage_x": {"fine_step": 1}}, "atRest": True}


@given(JSON)
def test_what_goes_there_and_back_comes_out_as_it_went_in(value: Any) -> None:
    written = json.loads(to_bytes(plain(value, "data")))
    again = json.loads(to_bytes(plain(with_snake_keys(written), "data")))
    assert again == written
    assert sorted(map(repr, _values(written))) == sorted(map(repr, _values(value)))


def _values(value: Any) -> list[Any]:
    if isinstance(value, dict):
        return [leaf for item in value.values() for leaf in _values(item)]
    return [leaf for item in value for leaf in _values(item)] if isinstance(value, list) else [value]


# --- values ----------------------------------------------------------------------------------------------------------


class Colour(Enum):
    RED = "red_one"


@dataclass
class Status:
    training_mode: int
    animal_id: str


@pytest.mark.parametrize(
    ("value", "written"),
    [
        (datetime(2026, 1, 2, tzinfo=UTC), 1767312000.0),
        (date(2026, 1, 2), "2026-01-02"),
        (timedelta(seconds=1.5), 1.5),
        (uuid.UUID(int=5), "00000000-0000-0000-0000-000000000005"),
        (PurePosixPath("/a/b_c"), "/a/b_c"),
        (Colour.RED, "red_one"),
        (EventKind.EMERGENCY_STOP, 101),
        (Status(3, "a_1"), {"trainingMode": 3, "animalId": "a_1"}),
        (math.nan, None),
        (-math.inf, None),
        ((1, (2,)), [1, [2]]),
        ({7}, [7]),
        ({1: "a", None: "b", False: "c", 2.5: "d"}, {"1": "a", "null": "b", "false": "c", "2.5": "d"}),
        ({uuid.UUID(int=5): 1, Colour.RED: 2}, {"00000000-0000-0000-0000-000000000005": 1, "redOne": 2}),
        (numpy.array([[1, 2]]), [[1, 2]]),
        (numpy.float32(0.5), 0.5),
        (numpy.bool_(True), True),
        (numpy.int64(-3), -3),
        (2**70, 2**70),
    ],
)
def test_what_values_are_in_json(value: Any, written: Any) -> None:
    assert json.loads(to_bytes(plain(value, "data"))) == written


@pytest.mark.parametrize(
    ("value", "path"),
    [
        ({"stage": [0, object()]}, "data['stage'][1]"),
        ({"seen": [0, datetime.min]}, "data['seen'][1]"),
        (b"bytes", "data"),
        (3 + 1j, "data"),
        ({(1, 2): 3}, "data"),
        ({1: 0, "1": 0}, "data"),
        (Status, "data"),
    ],
)
def test_what_has_no_form_in_json_is_named_with_its_path(value: Any, path: str) -> None:
    with pytest.raises(NotCarriableError) as caught:
        plain(value, "data")
    assert caught.value.path == path


def test_a_value_that_holds_itself_is_refused() -> None:
    endless: list[Any] = []
    endless.append(endless)
    with pytest.raises(NotCarriableError, match="deep"):
        plain(endless, "data")


# --- catalogues ------------------------------------------------------------------------------------------------------


def test_a_catalogue_finds_names_in_any_case() -> None:
    kinds = Catalogue(IntEnum("Kinds", {"sessionStarted": 1331}))
    assert kinds.number_of("sessionStarted") == kinds.number_of("SESSION_STARTED") == 1331
    assert kinds.number_of("nothing") is None
    assert kinds.name_of(1331) == "sessionStarted"
    assert kinds.name_of(5) == "5"


@pytest.mark.parametrize("wrong", [Enum("Words", {"A": "a"}), {"A": 1}, Enum("Flags", {"A": True})])
def test_a_catalogue_wants_numbers(wrong: Any) -> None:
    with pytest.raises(ConfigurationError):
        Catalogue(wrong)


# --- requests --------------------------------------------------------------------------------------------------------


def _read(told: Any) -> CommandRequest:
    return CommandRequest.read(told if isinstance(told, bytes) else json.dumps(told).encode(), COMMANDS, "peer 1")


@pytest.mark.parametrize("custom", ["customCommand", "custom_command"])
def test_a_request_in_either_case(custom: str) -> None:
    request = _read({"command": 99999, custom: 77, "nonce": 5, "data": {"fooBar": {"deepKey": 1}, "snake_key": 2}})
    assert request.command is Command.USER_DEFINED
    assert (request.custom_command, request.nonce) == (77, 5)
    assert request.data == {"foo_bar": {"deep_key": 1}, "snake_key": 2}
    assert request.name == "USER_DEFINED 77"


def test_an_unknown_number_is_user_defined_and_kept() -> None:
    request = _read({"command": 1234, "customCommand": 5})
    assert (request.command, request.custom_command) == (Command.USER_DEFINED, 1234)


def test_what_is_not_told_has_a_default() -> None:
    request = _read({"command": 300.0, "nonce": None, "data": None, "extra": [1]})
    assert request == CommandRequest(Command.GET_CONFIGURATION, -1, 0, None, "peer 1", request.digest)


@pytest.mark.parametrize(
    ("told", "says"),
    [
        (b"", "JSON"),
        (b"garbage", "JSON"),
        (b"\xff\xfe\x00", "JSON"),
        (b'"\xc3"', "UTF-8"),
        (b"[]", "JSON object"),
        (b"3", "JSON object"),
        (b"[" * 100_000, "nested too deeply"),
        ({"nonce": 3}, "command is missing"),
        ({"command": "300"}, "command is a whole number"),
        ({"command": True}, "command is a whole number"),
        ({"command": 300.5}, "command is a whole number"),
        ({"command": 300, "nonce": "abc"}, "nonce is a whole number"),
        ({"command": 300, "data": 5}, "data is a JSON object"),
        (b" " * (MAX_REQUEST_BYTES + 1), "longer than"),
        (b'{"command": ' + b"1" * 5000 + b"}", "JSON"),
    ],
)
def test_what_cannot_be_read_is_told_why(told: Any, says: str) -> None:
    with pytest.raises(MalformedError, match=says):
        _read(told)


# --- answers and messages --------------------------------------------------------------------------------------------


def test_an_answer_has_all_seven_fields() -> None:
    response = CommandResponse(Result.FAILED, {"some_key": 1}, 7, "no", command=300, nonce=5)
    fields = json.loads(response.written().body)
    assert fields == {
        "nonce": 5,
        "command": 300,
        "result": 400,
        "data": {"someKey": 1},
        "errorKind": 2,
        "errorCode": 7,
        "errorMessage": "no",
    }
    assert CommandResponse.from_dict(fields).error_kind is ErrorKind.COMMAND_ERROR


def test_data_that_cannot_be_written_is_a_system_error_and_the_rest_stays() -> None:
    fields = CommandResponse(Result.SUCCESS, {"stage": object()}, 3, "note", command=400, nonce=9).as_dict()
    assert fields["errorMessage"] == "the data could not be written: data['stage']: <object> has no form in JSON; note"
    assert {**fields, "errorMessage": None} == {
        "nonce": 9,
        "command": 400,
        "result": 100,
        "data": None,
        "errorKind": 1,
        "errorCode": 3,
        "errorMessage": None,
    }


def test_topics_are_four_bytes_and_any_is_everything() -> None:
    assert frame_of(1001) == b"\xe9\x03\x00\x00"
    assert subscription_of(6001) == b"q\x17\x00\x00"
    assert subscription_of(0) == b""
    assert read([b"\xe9\x03\x00\x00", b'{"a":1}']) == (1001, {"a": 1})
    assert read([b"\xe9\x03\x00\x00", b'"{\\"a\\":1}"']) == (1001, {"a": 1})


@pytest.mark.parametrize("frames", [[b"cam\0..."], [b"cam_2\0...", b"{}"], [b"abcd", b"{"], [b"abcd", b"{}", b""]])
def test_what_is_no_message_of_the_port(frames: list[bytes]) -> None:
    with pytest.raises(MalformedError):
        read(frames)


# --- the record ------------------------------------------------------------------------------------------------------


def _entry(nonce: int, size: int = 0) -> Entry:
    entry = Entry(b"peer", _read({"command": 300, "nonce": nonce}))
    entry.answer = CommandResponse(data="x" * size).written()
    return entry


def test_a_record_forgets_by_age_but_not_what_goes_on() -> None:
    record, running, ended = Record(), _entry(1), _entry(2)
    record.begin(running)
    record.begin(ended)
    record.end(ended, 10.0)
    assert record.find(b"peer", ended.request, 10.0 + MAX_AGE_S) is ended
    assert record.find(b"other", ended.request, 10.0) is None
    assert record.find(b"peer", ended.request, 10.1 + MAX_AGE_S) is None
    assert record.find(b"peer", running.request, 1e6) is running
    assert len(record) == 1


def test_a_record_is_bounded_in_bytes() -> None:
    record = Record()
    for nonce in range(1, 6):
        entry = _entry(nonce, MAX_BYTES // 3)
        record.begin(entry)
        record.end(entry, 0.0)
        record.find(b"peer", entry.request, 0.0)
    assert [entry.request.nonce for entry in record] == [4, 5]


def test_a_record_keeps_nothing_of_what_a_peer_sent_but_its_digest() -> None:
    record, request = Record(), _read({"command": 300, "nonce": 1, "data": {"much": "x" * 1000}})
    entry = Entry(b"peer", request)
    record.begin(entry)
    assert entry.request.data == {"much": "x" * 1000}
    record.end(entry, 0.0)
    assert record.find(b"peer", request, 0.0) is entry
    kept = entry.request
    assert kept.data is None
    assert kept.digest == request.digest


def test_no_nonce_is_no_record() -> None:
    record = Record()
    for nonce in (0, -1):
        record.begin(_entry(nonce))
        record.end(_entry(nonce), 0.0)
    assert len(record) == 0


# --- the desk --------------------------------------------------------------------------------------------------------


class WorkersByHand:
    """Carries out what it was given when it is told to."""

    def __init__(self) -> None:
        self.duties: list[Callable[[], None]] = []
        self.urgent: list[bool] = []

    def employ(self, duty: Callable[[], None], *, urgent: bool = False) -> None:
        self.duties.append(duty)
        self.urgent.append(urgent)

    def work(self) -> None:
        while self.duties:
            self.duties.pop(0)()


class Bench:
    """A desk, everything around it, and what came out."""

    def __init__(self, limits: Limits | None = None) -> None:
        self.clock = FakeClock()
        self.workers = WorkersByHand()
        self.handlers = Handlers(COMMANDS)
        self.sent: list[tuple[bytes, dict[str, Any]]] = []
        self.published: list[dict[str, Any]] = []
        self.desk = Desk(
            commands=COMMANDS,
            handlers=self.handlers,
            workers=self.workers,
            send=lambda envelope, body: self.sent.append((envelope[0], json.loads(body))),
            publish=lambda body: self.published.append(json.loads(body)),
            post=lambda errand: errand(),
            clock=self.clock,
            limits=limits or Limits(),
            patience_s=0.02,
        )

    def add(self, command: Any, function: Callable[[CommandRequest], Any], lane: Any = OWN, urgent: Any = None) -> None:
        self.handlers.add(command, function, lane, urgent)

    def ask(self, command: int, nonce: int = 0, data: Any = None, peer: bytes = b"p") -> None:
        payload = json.dumps({"command": command, "nonce": nonce, "data": data}).encode()
        self.desk.receive([peer, b""], [payload])

    def pass_time(self, seconds: float) -> None:
        self.clock.advance(seconds)
        self.desk.remind()


def test_a_handler_in_time_is_the_answer() -> None:
    bench = Bench()
    bench.add(Command.GET_STATUS, lambda request: {"app_state": request.data})
    bench.ask(400, 5, {"fooBar": 1})
    assert bench.sent == []
    bench.workers.work()
    bench.pass_time(1.0)
    (answer,) = bench.sent
    assert answer == (b"p", {**answer[1], "nonce": 5, "result": 100, "data": {"appState": {"fooBar": 1}}})
    assert bench.published == []
    assert bench.desk.timeout_s() is None


def test_a_slow_handler_is_pending_and_its_end_is_published() -> None:
    bench = Bench()
    bench.add(Command.START_ACQUISITION, lambda request: "done")
    bench.ask(100, 5)
    assert bench.desk.timeout_s() == pytest.approx(0.02)
    bench.pass_time(0.021)
    assert [answer["result"] for _, answer in bench.sent] == [201]
    bench.workers.work()
    assert len(bench.sent) == 1
    (end,) = bench.published
    assert (end["command"], end["nonce"], end["result"], end["data"]) == (100, 5, 100, "done")


def test_a_later_answer_is_pending_at_once() -> None:
    bench, later = Bench(), Later({"job_id": "a-1"})
    bench.add(Command.START_ACQUISITION, lambda request: later)
    bench.ask(100, 5)
    bench.workers.work()
    assert [(answer["result"], answer["data"]) for _, answer in bench.sent] == [(201, {"jobId": "a-1"})]
    assert later.finish(ValueError("broken"))
    assert not later.finish("too late")
    assert [(end["result"], end["errorMessage"]) for end in bench.published] == [(500, "ValueError: broken")]


def test_a_later_answer_that_is_there_already_is_the_answer() -> None:
    bench, later = Bench(), Later()
    later.finish(3)
    bench.add(Command.START_ACQUISITION, lambda request: later)
    bench.ask(100, 5)
    bench.workers.work()
    assert [(answer["result"], answer["data"]) for _, answer in bench.sent] == [(100, 3)]
    assert bench.published == []


@pytest.mark.parametrize("error", [ValueError("boom"), SystemExit(3), KeyError()])
def test_what_a_handler_raises_is_an_exception(error: BaseException) -> None:
    def fail(request: CommandRequest) -> None:
        raise error

    bench = Bench()
    bench.add(None, fail)
    bench.ask(400, 5)
    bench.workers.work()
    ((_, answer),) = bench.sent
    assert (answer["result"], answer["errorKind"], answer["nonce"]) == (500, 2, 5)
    assert answer["errorMessage"].startswith(type(error).__name__)


def test_nobody_there_is_unavailable() -> None:
    bench = Bench()
    bench.ask(1234, 5)
    ((_, answer),) = bench.sent
    assert (answer["result"], answer["command"], answer["nonce"]) == (9999, 99999, 5)
    assert answer["errorMessage"] == "nobody here carries out USER_DEFINED 1234"


def test_what_cannot_be_read_is_answered_with_nonce_0() -> None:
    bench = Bench()
    bench.desk.receive([b"p", b""], [b"garbage"])
    bench.desk.receive([b"p", b""], [])
    bench.desk.receive([b"p", b""], [b"{}", b"{}"])
    assert [(answer["nonce"], answer["command"], answer["result"]) for _, answer in bench.sent] == [(0, 0, 0)] * 3


def test_a_custom_command_has_a_handler_of_its_own() -> None:
    bench = Bench()
    bench.add(77, lambda request: "77")
    bench.add(Command.USER_DEFINED, lambda request: "any")
    for told in ({"command": 77}, {"command": 99999, "customCommand": 77}, {"command": 99999, "customCommand": 78}):
        bench.desk.receive([b"p"], [json.dumps(told).encode()])
    bench.workers.work()
    assert sorted(answer["data"] for _, answer in bench.sent) == ["77", "77", "any"]
    assert bench.handlers.remove(77)
    assert not bench.handlers.remove(77)


def test_a_nonce_used_twice_is_answered_from_the_record() -> None:
    bench, acted = Bench(), []
    bench.add(Command.START_ACQUISITION, lambda request: acted.append(1) or len(acted))
    bench.ask(100, 5, {"a": 1})
    bench.ask(100, 5, {"a": 1})  # While it goes on, and before anybody was answered.
    bench.workers.work()
    bench.ask(100, 5, {"a": 1})
    bench.workers.work()
    assert len(acted) == 1
    assert [answer["data"] for _, answer in bench.sent] == [1, 1, 1]
    assert "nothing was done again" in bench.sent[2][1]["errorMessage"]
    assert bench.sent[2][1]["result"] == 100


def test_a_nonce_used_twice_for_something_else() -> None:
    bench, acted = Bench(), []
    bench.add(Command.START_ACQUISITION, lambda request: acted.append(request.data) or "done")
    bench.ask(100, 5, {"a": 1})
    bench.ask(100, 5, {"a": 2})
    assert [(answer["result"], answer["errorKind"]) for _, answer in bench.sent] == [(400, 2)]
    assert "use another" in bench.sent[0][1]["errorMessage"]
    bench.workers.work()
    bench.ask(100, 5, {"a": 2})  # What had its nonce has ended: nobody can mistake one for the other.
    bench.workers.work()
    assert acted == [{"a": 1}, {"a": 2}]


def test_the_same_nonce_of_another_peer_or_command_is_another_request() -> None:
    bench, acted = Bench(), []
    bench.add(None, lambda request: acted.append(request.number))
    bench.ask(100, 5)
    bench.ask(100, 5, peer=b"q")
    bench.ask(110, 5)
    bench.ask(100, 0)
    bench.ask(100, 0)
    bench.workers.work()
    assert acted == [100, 100, 110, 100, 100]


def test_an_emergency_stop_is_carried_out_as_often_as_it_comes() -> None:
    bench, acted = Bench(), []
    bench.add(None, lambda request: acted.append(request.number))
    bench.ask(100, 5)
    for _ in range(2):
        bench.ask(200, 5)
    assert bench.workers.urgent == [False, True, True]
    bench.workers.work()
    assert sorted(acted) == [100, 200, 200]


def test_a_pending_command_that_is_asked_for_again_still_goes_on() -> None:
    bench, later = Bench(), Later()
    bench.add(100, lambda request: later)
    bench.ask(100, 5)
    bench.workers.work()
    bench.ask(100, 5)
    later.finish("end")
    bench.ask(100, 5)
    assert [answer["result"] for _, answer in bench.sent] == [201, 201, 100]
    assert "still goes on" in bench.sent[1][1]["errorMessage"]


def test_what_the_application_says_itself_is_remembered() -> None:
    bench = Bench()
    bench.add(100, lambda request: CommandResponse(Result.PENDING_WITH_NOTIFICATION))
    bench.ask(100, 5)
    bench.workers.work()
    bench.desk.tell(CommandResponse(data="end", command=100, nonce=5).written())
    bench.ask(100, 5)
    assert [answer["data"] for _, answer in bench.sent] == [None, "end"]


def test_commands_of_one_lane_wait_for_each_other() -> None:
    class Stage:
        def move(self, request: CommandRequest) -> None: ...

        def home(self, request: CommandRequest) -> None: ...

    bench, stage = Bench(), Stage()
    bench.add(100, stage.move)
    bench.add(110, stage.home)
    bench.add(300, lambda request: None, "other")
    bench.add(400, lambda request: None, None)
    for command in (100, 110, 300, 300, 400, 400):
        bench.ask(command)
    assert len(bench.workers.duties) == 4
    bench.workers.duties.pop(0)()  # One thread does all of a lane.
    assert [answer["command"] for _, answer in bench.sent] == [100, 110]
    bench.workers.work()
    assert len(bench.sent) == 6


def test_a_handler_may_be_given_more_time() -> None:
    bench = Bench()
    bench.handlers.add(100, lambda request: "patient", None, None, patience_s=1.0)
    bench.add(110, lambda request: "quick")
    bench.ask(100, 5)
    bench.ask(110, 6)
    assert bench.desk.timeout_s() == pytest.approx(0.02)
    bench.pass_time(0.1)
    assert [answer["nonce"] for _, answer in bench.sent] == [6]
    assert bench.desk.timeout_s() == pytest.approx(0.9)
    bench.pass_time(1.0)
    assert [answer["nonce"] for _, answer in bench.sent] == [6, 5]


def test_too_many_commands_are_refused_and_did_not_run() -> None:
    bench = Bench(Limits(calls_per_client=2, calls=3))
    bench.add(100, lambda request: None)
    for peer in (b"p", b"p", b"p", b"q", b"q"):
        bench.ask(100, peer=peer)
    assert [(peer, answer["result"]) for peer, answer in bench.sent] == [(b"p", 9999), (b"q", 9999)]
    bench.workers.work()
    bench.sent.clear()
    bench.ask(100)
    assert bench.sent == []


def test_a_closing_desk_answers_everybody() -> None:
    bench, later = Bench(), Later()
    bench.add(100, lambda request: later)
    bench.add(110, lambda request: None)
    bench.ask(100, 5)
    bench.workers.work()
    bench.ask(110, 6)
    bench.ask(110, 7)
    bench.sent.clear()
    bench.desk.close()
    assert [(answer["nonce"], answer["result"], answer["errorKind"]) for _, answer in bench.sent] == [
        (6, 9999, 1),
        (7, 9999, 1),
    ]
    assert all("did not run" in answer["errorMessage"] for _, answer in bench.sent)
    assert [(end["nonce"], end["result"]) for end in bench.published] == [(5, 9999)]
    assert "may or may not" in bench.published[0]["errorMessage"]
    later.finish()
    bench.workers.work()
    assert len(bench.published) == 1


def test_what_is_urgent_gets_a_thread_when_all_are_busy() -> None:
    workers, gate, done = Workers("test", most=2), Event(), Event()
    order: list[int] = []
    for number in range(4):
        workers.employ(lambda number=number: gate.wait(20) and order.append(number))  # type: ignore[misc]
    workers.employ(done.set, urgent=True)
    assert done.wait(20)
    assert order == []
    gate.set()
    poll_until(lambda: sorted(order) == [0, 1, 2, 3])
    assert workers.stop(20)
    workers.employ(lambda: order.append(5))
    assert len(order) == 4


def test_workers_that_are_stuck_are_not_waited_for() -> None:
    workers, gate, begun = Workers("test", most=1), Event(), Event()
    workers.employ(lambda: begun.set() or gate.wait(20))
    assert begun.wait(20)
    assert not workers.stop(0.01)
    gate.set()


@pytest.mark.parametrize("wrong", ["text", 1.5, True])
def test_a_handler_is_for_a_number(wrong: Any) -> None:
    with pytest.raises(ConfigurationError):
        Bench().add(wrong, lambda request: None)


def test_a_handler_is_a_function() -> None:
    with pytest.raises(ConfigurationError):
        Bench().add(100, "no function")
