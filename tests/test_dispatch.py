"""From a request to a task, without sockets: what it means, and who may have it done."""

from __future__ import annotations

from typing import Any

import pytest

from one_liner.errors import (
    BadArgumentsError,
    LeasedError,
    MalformedError,
    NotExposedError,
    RefusedError,
    UnknownAttributeError,
    UnknownObjectError,
)
from one_liner.rpc.dispatch import Dispatcher
from one_liner.rpc.exposure import Exposure
from one_liner.rpc.lease import WHOLE_SERVER, Lease, Leases
from one_liner.rpc.named import NamedCalls
from one_liner.rpc.permission import Permission, Role
from one_liner.rpc.rules import RuleBook
from one_liner.rpc.sessions import Sessions
from one_liner.rpc.task import Task
from one_liner.wire.codec import Codec
from one_liner.wire.faults import error_of
from one_liner.wire.messages import Kind, Reply, Request

ANN, BOB = 1, 2
SERVER = 77


class Clock:
    """Stands still until it is turned."""

    def __init__(self) -> None:
        self.time = 0.0

    def now(self) -> float:
        return self.time

    def wall(self) -> float:
        return self.time


class Axis:
    def __init__(self) -> None:
        self.steps: list[str] = []

    def step(self, count: int = 1) -> int:
        self.steps.append(f"step {count}")
        return count

    def halt(self) -> str:
        return "halted"


class Stage:
    def __init__(self) -> None:
        self.axis = Axis()
        self.moves: list[float] = []
        self.speed = 1.0

    def move(self, to: float, *, fast: bool = False) -> float:
        self.moves.append(-to if fast else to)
        return to

    def stop(self) -> str:
        return "stopped"

    def where(self) -> float:
        return 5.0

    @property
    def limit(self) -> float:
        return 100.0

    @property
    def handler(self) -> Any:
        return lambda: self.moves.append(666)


class House:
    """A dispatcher and everything that it knows."""

    def __init__(self) -> None:
        self.codec, self.clock = Codec(), Clock()
        self.exposure, self.named, self.rules = Exposure(), NamedCalls(), RuleBook()
        self.leases, self.sessions = Leases(), Sessions()
        self.asked: list[Any] = []
        self.was_set: list[Any] = []
        self.stage = Stage()
        self.exposure.add("stage", self.stage, ["stop"])
        self.rules.add("stage", ["stop"], ["where"], "")
        self.exposure.add("other_name", self.stage)
        self.rules.add("other_name", [], [], "")
        self.exposure.add("axis", self.stage.axis, ["halt"])
        self.rules.add("axis", ["halt"], [], "")
        self.dispatcher = Dispatcher(
            server=SERVER,
            exposure=self.exposure,
            named_calls=self.named,
            rules=self.rules,
            leases=self.leases,
            sessions=self.sessions,
            controls={"note": self.note, "trip": self.trip},
            was_set=lambda target, value, who: self.was_set.append((target.where, value, who)),
            object_of_job={"job-1": "stage"}.get,
            codec=self.codec,
            clock=self.clock,
        )

    def note(self, path: str, trail: tuple[int, ...], client: int, text: str = "") -> str:
        self.asked.append((path, trail, client, text))
        return text

    def trip(self, path: str, **_: Any) -> None:
        def inside() -> None:
            raise TypeError("a bug, not an argument")

        inside()

    def lease(self, name: str, client: int = ANN) -> None:
        key = self.exposure.object_key(name) if name else WHOLE_SERVER
        self.leases.take(key, Lease(name, client, "ann" if client == ANN else "bob", 0.0))

    def task(self, kind: Kind, path: str, content: Any, client: int = BOB, trail: tuple[int, ...] = ()) -> Task:
        body, buffers = self.codec.encode(content)
        return self.dispatcher.task(Request(kind, 1, client, path, body, buffers, trail), b"peer", self.clock.time)

    def answer(self, task: Task) -> Any:
        head, *buffers = task.perform(self.codec, self.clock)
        reply = Reply.decode(bytes(head), buffers)
        value = self.codec.decode(reply.body, reply.buffers)
        if reply.kind == Kind.ERROR:
            raise error_of(value)
        return value

    def do(self, kind: Kind, path: str, content: Any, client: int = BOB) -> Any:
        return self.answer(self.task(kind, path, content, client))


@pytest.fixture
def house() -> House:
    return House()


# --- what a request means --------------------------------------------------------------------------------------------


def test_a_call_becomes_a_job_in_its_objects_lane(house: House) -> None:
    house.sessions.heard(BOB, "bob", b"heart", 1.0, 0.0)
    task = house.task(Kind.CALL, "stage", ["move", [3.0], {"fast": True}])
    assert (task.peer, task.id, task.where, task.who) == (b"peer", 1, "stage.move", "bob")
    assert task.lane is house.exposure.resolve("stage", "move").lane
    assert house.stage.moves == [], "nothing is done before the lane is free"
    assert house.answer(task) == 3.0
    assert house.stage.moves == [-3.0]


def test_what_is_urgent_needs_no_lane(house: House) -> None:
    assert house.task(Kind.CALL, "stage", ["stop", [], {}]).lane is None


def test_reading_and_setting(house: House) -> None:
    assert house.do(Kind.GET, "stage", ["speed"]) == 1.0
    house.do(Kind.SET, "stage", ["speed", 2.0])
    assert house.stage.speed == 2.0
    assert house.was_set == [("stage.speed", 2.0, house.sessions.name_of(BOB))]
    assert house.do(Kind.CALL, "stage", ["speed", [], {}]) == 2.0
    with pytest.raises(UnknownAttributeError, match="read-only"):
        house.do(Kind.SET, "stage", ["limit", 2.0])


def test_a_named_call_takes_the_callers_arguments_over_its_own(house: House) -> None:
    house.named.add("home", "stage", "move", [0.0], {"fast": True})
    house.do(Kind.CALL_NAMED, "home", [[], {}])
    house.do(Kind.CALL_NAMED, "home", [[1.0], {"fast": False}])
    assert house.stage.moves == [-0.0, 1.0]
    with pytest.raises(UnknownObjectError, match="no named call 'hom'"):
        house.do(Kind.CALL_NAMED, "hom", [[], {}])


def test_the_server_itself_can_be_asked(house: House) -> None:
    task = house.task(Kind.CONTROL, "path", ["note", {"text": "hello"}], trail=(5,))
    assert (task.where, task.lane) == ("server.note", None)
    assert house.answer(task) == "hello"
    assert house.asked == [("path", (5, SERVER), BOB, "hello")]
    with pytest.raises(UnknownObjectError, match="cannot be asked to 'sing'"):
        house.do(Kind.CONTROL, "", ["sing", {}])


@pytest.mark.parametrize("arguments", [{"text": "a", "volume": 3}, {"trail": []}, {"client": 1}, {"path": ""}, {5: 6}])
def test_arguments_that_a_question_does_not_take_are_the_askers_mistake(
    house: House, arguments: dict[Any, Any]
) -> None:
    with pytest.raises(BadArgumentsError, match="note: "):
        house.do(Kind.CONTROL, "", ["note", arguments])


def test_a_type_error_inside_is_not_the_askers_mistake(house: House) -> None:
    with pytest.raises(TypeError, match="a bug") as caught:
        house.do(Kind.CONTROL, "", ["trip", {}])
    assert not isinstance(caught.value, BadArgumentsError)


@pytest.mark.parametrize(
    ("kind", "content"),
    [
        (Kind.CALL, None),
        (Kind.CALL, {}),
        (Kind.CALL, ["move"]),
        (Kind.CALL, ["move", [], {}, 1]),
        (Kind.CALL, [5, [], {}]),
        (Kind.CALL, ["move", {}, {}]),
        (Kind.CALL, ["move", [], []]),
        (Kind.CALL, ["move", [], {5: 6}]),
        (Kind.CALL, ["move", (1.0,), {}]),
        (Kind.GET, ["a", "b"]),
        (Kind.GET, [b"speed"]),
        (Kind.SET, ["speed"]),
        (Kind.SET, [None, 1]),
        (Kind.CALL_NAMED, [{}, []]),
        (Kind.CONTROL, ["note"]),
        (Kind.CONTROL, ["note", None]),
    ],
)
def test_a_body_that_does_not_fit_its_kind_is_refused(house: House, kind: Kind, content: Any) -> None:
    with pytest.raises(MalformedError):
        house.task(kind, "stage", content)


def test_only_requests_that_ask_for_something_are_understood(house: House) -> None:
    understood = house.dispatcher.kinds
    assert understood == {Kind.CALL, Kind.GET, Kind.SET, Kind.CALL_NAMED, Kind.CONTROL}


@pytest.mark.parametrize(("path", "attr_name"), [("nobody", "move"), ("stage", "nothing"), ("stage", "_secret")])
def test_what_cannot_be_reached_is_refused_at_once(house: House, path: str, attr_name: str) -> None:
    with pytest.raises(NotExposedError):
        house.task(Kind.CALL, path, [attr_name, [], {}])


# --- leases ----------------------------------------------------------------------------------------------------------


def test_others_may_read_and_stop_and_nothing_else(house: House) -> None:
    house.lease("stage")
    assert house.do(Kind.GET, "stage", ["speed"]) == 1.0
    assert house.do(Kind.CALL, "stage", ["where", [], {}]) == 5.0
    assert house.do(Kind.CALL, "stage", ["stop", [], {}]) == "stopped"
    for kind, content in ((Kind.CALL, ["move", [1.0], {}]), (Kind.SET, ["speed", 2.0])):
        with pytest.raises(LeasedError, match="ann has had exclusive control of 'stage'"):
            house.task(kind, "stage", content)
    assert house.stage.moves == []
    assert house.stage.speed == 1.0


def test_a_property_may_be_read_by_a_call_too(house: House) -> None:
    house.lease("stage")
    assert house.do(Kind.CALL, "stage", ["limit", [], {}]) == 100.0
    assert house.do(Kind.CALL, "stage", ["speed", [], {}]) == 1.0
    with pytest.raises(LeasedError):
        house.do(Kind.CALL, "stage", ["limit", [3], {}])


def test_a_property_that_gives_a_function_is_not_called_under_somebody_elses_lease(house: House) -> None:
    house.lease("stage")
    with pytest.raises(NotExposedError):
        house.do(Kind.CALL, "stage", ["handler", [], {}])
    assert house.stage.moves == []


def test_the_holder_does_everything(house: House) -> None:
    house.lease("stage")
    house.do(Kind.CALL, "stage", ["move", [1.0], {}], ANN)
    house.do(Kind.SET, "stage", ["speed", 2.0], ANN)
    assert (house.stage.moves, house.stage.speed) == ([1.0], 2.0)


def test_a_lease_holds_under_every_name_of_the_object(house: House) -> None:
    house.lease("other_name")
    house.named.add("home", "stage", "move", [0.0], {})
    for kind, path, content in (
        (Kind.CALL, "stage", ["move", [1.0], {}]),
        (Kind.CALL, "other_name", ["move", [1.0], {}]),
        (Kind.CALL_NAMED, "home", [[], {}]),
        (Kind.SET, "stage", ["speed", 2.0]),
    ):
        with pytest.raises(LeasedError):
            house.task(kind, path, content)


def test_a_lease_holds_for_what_is_nested_in_the_object(house: House) -> None:
    house.lease("stage")
    with pytest.raises(LeasedError):
        house.task(Kind.CALL, "stage.axis", ["step", [], {}])
    with pytest.raises(LeasedError):
        house.task(Kind.SET, "stage.axis", ["steps", []])


def test_a_lease_of_a_nested_object_holds_on_the_way_through_its_owner(house: House) -> None:
    house.lease("axis")
    for path in ("axis", "stage.axis", "other_name.axis"):
        with pytest.raises(LeasedError, match="control of 'axis'"):
            house.task(Kind.CALL, path, ["step", [], {}])
    house.do(Kind.CALL, "stage", ["move", [1.0], {}])


def test_what_is_urgent_is_urgent_on_every_way(house: House) -> None:
    house.lease("")
    assert house.do(Kind.CALL, "axis", ["halt", [], {}]) == "halted"
    assert house.do(Kind.CALL, "stage.axis", ["halt", [], {}]) == "halted"


def test_a_lease_of_the_whole_server_holds_everything(house: House) -> None:
    house.lease("")
    with pytest.raises(LeasedError, match="control of the whole server"):
        house.task(Kind.CALL, "axis", ["step", [], {}])
    with pytest.raises(LeasedError):
        house.task(Kind.CALL, "stage", ["move", [1.0], {}])
    house.do(Kind.CALL, "stage", ["move", [1.0], {}], ANN)


def test_the_holder_of_something_else_disturbs_nobody(house: House) -> None:
    house.lease("axis")
    house.do(Kind.SET, "stage", ["speed", 2.0])
    assert house.do(Kind.CALL, "stage", ["move", [1.0], {}]) == 1.0


def test_a_call_that_waited_is_refused_when_somebody_took_control_meanwhile(house: House) -> None:
    moving = house.task(Kind.CALL, "stage", ["move", [1.0], {}])
    setting = house.task(Kind.SET, "stage", ["speed", 2.0])
    reading = house.task(Kind.CALL, "stage", ["where", [], {}])
    house.lease("stage")
    house.clock.time = 4.0
    with pytest.raises(LeasedError, match=r"for 4\.0 s"):
        house.answer(moving)
    with pytest.raises(LeasedError, match=r"for 4\.0 s"):
        house.answer(setting)
    assert house.answer(reading) == 5.0
    assert (house.stage.moves, house.stage.speed) == ([], 1.0)


def test_to_submit_is_to_call(house: House) -> None:
    def permit(permission: Permission, word: str, path: str, **arguments: Any) -> None:
        body, buffers = house.codec.encode([word, arguments])
        house.dispatcher.permit(Request(Kind.CONTROL, 1, BOB, path, body, buffers), permission)

    reader, restricted = Permission(Role.READ), Permission(Role.CONTROL, frozenset(("stage",)))
    permit(reader, "submit", "stage", attr_name="where")
    with pytest.raises(RefusedError, match="needs the role control"):
        permit(reader, "submit", "stage", attr_name="move")
    permit(restricted, "submit", "stage", attr_name="move")
    with pytest.raises(RefusedError, match="may not reach 'axis'"):
        permit(restricted, "submit", "axis", attr_name="halt")


@pytest.mark.parametrize("word", ["cancel_job", "pause_job", "resume_job"])
def test_a_job_is_reached_by_whom_its_object_is(house: House, word: str) -> None:
    body, buffers = house.codec.encode([word, {}])

    def permit(permission: Permission, path: str) -> None:
        house.dispatcher.permit(Request(Kind.CONTROL, 1, BOB, path, body, buffers), permission)

    permit(Permission(Role.CONTROL, frozenset(("stage",))), "job-1")
    with pytest.raises(RefusedError, match="may not reach 'stage'"):
        permit(Permission(Role.CONTROL, frozenset(("axis",))), "job-1")
    with pytest.raises(RefusedError, match="may not reach 'job-2'"):
        permit(Permission(Role.CONTROL, frozenset(("stage",))), "job-2")
    with pytest.raises(RefusedError, match="needs the role control"):
        permit(Permission(Role.READ), "job-1")
