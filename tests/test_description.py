"""What is served, as data and for people."""

from __future__ import annotations

import functools
import inspect
import json
import logging
import math
import types
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from unittest.mock import MagicMock, Mock

import msgpack  # type: ignore[import-untyped]
import pytest
from hypothesis import given
from hypothesis import strategies as st

from one_liner.errors import MalformedError, NotExposedError
from one_liner.rpc import describing as describing_module
from one_liner.rpc.describing import describe_object, describe_served
from one_liner.rpc.description import (
    MethodDescription,
    NamedCallDescription,
    ObjectDescription,
    ParameterDescription,
    PropertyDescription,
    RouterState,
    ServerDescription,
)
from one_liner.rpc.exposure import Exposure
from one_liner.rpc.plain import DefaultRepr


class Stage:
    """A stage."""

    __slots__ = ("limit", "unset")

    def __init__(self) -> None:
        self.limit = 10

    def move(self, x: float, /, *rest: int, speed: float = 1.0, mode: Any = (1, 2), **more: Any) -> None:
        """Move there.

        And more about it.
        """


class Base:
    def power(self) -> None:
        """What a base says."""


class Rig(Base):
    """A rig.

    With a stage.
    """

    gain = 2

    def __init__(self) -> None:
        self.stage = Stage()
        self.me = self
        self.name = "rig"
        self.nothing = None
        self.log = logging.getLogger()
        self.reads = 0
        self._private = 1
        self.callback = len

    def power(self) -> None:
        pass

    @property
    def temperature(self) -> float:
        """In degrees."""
        raise AssertionError("read while describing")

    @property
    def mode(self):
        raise AssertionError("read while describing")

    @mode.setter
    def mode(self, value) -> None: ...

    @functools.cached_property
    def serial(self) -> str:
        raise AssertionError("read while describing")

    async def later(self) -> int:
        return 1

    @staticmethod
    def add(a: int, b: int = 2) -> int:
        return a + b

    @classmethod
    async def make(cls, how: object = object) -> Rig:
        return cls()

    def __call__(self, shots: int = 1) -> list[int]:
        return []


def concurrent_names(described: ObjectDescription) -> list[str]:
    return [one.name for one in described.methods if one.concurrent] + [
        one.name for one in described.properties if one.concurrent
    ]


def names_of(described: ObjectDescription) -> dict[str, list[str]]:
    return {
        "methods": sorted(one.name for one in described.methods),
        "properties": sorted(one.name for one in described.properties),
        "objects": sorted(one.name for one in described.objects),
    }


def test_what_an_object_shows() -> None:
    described = describe_object("rig", Rig())
    assert names_of(described) == {
        "methods": ["add", "callback", "later", "make", "power"],
        "properties": ["gain", "mode", "name", "nothing", "reads", "serial", "temperature"],
        "objects": ["stage"],
    }
    assert described.type.endswith("test_description.Rig")
    assert described.doc == "A rig.\n\nWith a stage."
    assert str(described.callable) == "rig(shots: int = 1) -> list[int]"
    assert not described.dynamic
    assert described.names() == sorted(name for names in names_of(described).values() for name in names)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("temperature", "temperature: float (read-only)"),
        ("mode", "mode (read-write)"),
        ("serial", "serial: str (read-only)"),
        ("gain", "gain: int (read-write)"),
        ("nothing", "nothing (read-write)"),
        ("add", "add(a: int, b: int = 2) -> int"),
        ("later", "async later() -> int"),
        ("make", "async make(how: object = <class 'object'>) -> Rig"),
        ("power", "power() -> None"),
    ],
)
def test_members_as_text(name: str, text: str) -> None:
    assert str(describe_object("rig", Rig()).find(name)) == text


def test_documentation_is_inherited() -> None:
    found = describe_object("rig", Rig()).find("power")
    assert found is not None
    assert found.doc == "What a base says."


def test_all_kinds_of_parameters_survive_the_journey() -> None:
    stage = describe_object("rig", Rig()).find("stage")
    assert isinstance(stage, ObjectDescription)
    move = stage.find("move")
    assert isinstance(move, MethodDescription)
    assert move.parameters is not None
    assert [one.kind for one in move.parameters] == [
        "positional_only", "var_positional", "keyword_only", "keyword_only", "var_keyword",
    ]  # fmt: skip
    again = MethodDescription.from_dict(msgpack.unpackb(msgpack.packb(move.as_dict())))
    assert again == move
    assert str(again.signature()) == (
        "(x: 'float', /, *rest: 'int', speed: 'float' = 1.0, mode: 'Any' = (1, 2), **more: 'Any') -> 'None'"
    )


def test_write_only() -> None:
    assert str(PropertyDescription("x", readable=False, writable=True)) == "x (write-only)"


@pytest.mark.parametrize(
    ("default", "kept"),
    [
        (None, True),
        (True, True),
        (1, True),
        (1.5, True),
        ("text", True),
        ([1, {"a": [None]}], True),
        (2**64, False),
        (math.nan, False),
        ("x" * 1000, False),
        (b"x", False),
        ((1, 2), False),
        ({1: 2}, False),
        ([[[[1]]]], False),
        (list(range(100)), False),
        (object, False),
    ],
)
def test_defaults(default: Any, kept: bool) -> None:
    def function(x: Any = default) -> None: ...

    own = describe_object("f", function).callable
    assert own is not None
    assert own.parameters is not None
    again = ParameterDescription.from_dict(json.loads(json.dumps(own.parameters[0].as_dict())))
    assert again == own.parameters[0]
    assert again.has_default
    assert (again.default == default) is kept
    assert isinstance(again.default, DefaultRepr) is not kept


def test_functions_classes_and_modules() -> None:
    function = describe_object("f", test_defaults)
    assert (function.type, function.names()) == ("function", [])
    assert function.callable is not None
    cls = describe_object("Rig", Rig)
    assert cls.type == "class"
    assert str(cls.callable) == "Rig() -> None"
    assert names_of(cls)["properties"] == ["gain"]
    module = describe_object("math", math)
    assert module.type == "module"
    assert module.doc.startswith("This module")
    assert module.callable is None
    assert "pi" in names_of(module)["properties"]


def test_compiled_functions_without_a_signature() -> None:
    described = describe_object("table", {})
    update = described.find("update")
    assert isinstance(update, MethodDescription)
    assert update.parameters is None
    assert str(update) == "update(...)"
    assert str(update.signature()) == "(*args, **kwargs)"
    assert MethodDescription.from_dict(update.as_dict()) == update


def test_parameters_that_python_would_refuse() -> None:
    odd = MethodDescription("f", parameters=(ParameterDescription("class"), ParameterDescription("x", "sideways")))
    assert str(odd.signature()) == "(*args, **kwargs)"
    assert str(odd) == "f(class, x)"


def test_concurrent() -> None:
    described = describe_object("rig", Rig(), concurrent=["power", "stage.move"])
    assert concurrent_names(described) == ["power"]
    assert concurrent_names(described.objects[0]) == ["move"]
    everything = describe_object("rig", Rig(), concurrent=True)
    assert len(concurrent_names(everything)) == len(everything.methods) + len(everything.properties)
    assert "[concurrent]" in str(everything)


def test_depth_and_cycles_are_bounded() -> None:
    root = types.SimpleNamespace()
    inner = root
    for _ in range(10):
        inner.child = types.SimpleNamespace(root=root)
        inner = inner.child
    depth = 0
    described = describe_object("root", root)
    while described.objects:
        assert names_of(described)["objects"] == ["child"]
        described = described.objects[0]
        depth += 1
    assert depth == 3


def test_size_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(describing_module, "_MAX_MEMBERS", 10)
    described = describe_object("many", types.SimpleNamespace(**{f"x{n}": n for n in range(100)}))
    assert len(described.properties) == 10


def test_one_bad_member_harms_no_other() -> None:
    class Evil:
        @property  # type: ignore[misc]
        def __class__(self) -> Any:
            raise RuntimeError("do not look")

    class Mean(str):
        @property  # type: ignore[misc]
        def __class__(self) -> Any:
            raise RuntimeError("do not look")

    class Holder:
        def __init__(self) -> None:
            self.evil = Evil()
            self.mean = Mean()
            self.good = 1

        def method(self) -> None: ...

    assert {"good", "method"} <= set(describe_object("it", Holder()).names())


def test_objects_that_make_attributes_up() -> None:
    asked: list[str] = []

    class Remote:
        def __getattr__(self, name: str) -> Any:
            asked.append(name)
            raise AssertionError("asked while describing")

        def __dir__(self) -> list[str]:
            raise AssertionError("asked while describing")

    described = describe_object("it", Remote())
    assert described.dynamic
    assert asked == []
    assert "makes up" in str(described)
    for mock in (Mock(), MagicMock(spec=Rig), Mock(wraps=Rig())):
        assert describe_object("mock", mock).dynamic


def test_numpy_can_be_described() -> None:
    numpy = pytest.importorskip("numpy")
    described = describe_object("np", numpy)
    assert described.find("zeros") is not None
    assert ObjectDescription.from_dict(msgpack.unpackb(msgpack.packb(described.as_dict()))) == described


@dataclass
class Tricky:
    """A dataclass, a classmethod property and a lambda."""

    level: int = 1

    def __post_init__(self) -> None:
        self.quick = lambda x: x
        self.partial = functools.partial(max, 1)

    partialmethod = functools.partialmethod(print, 1)

    def go(self) -> None: ...


@pytest.mark.parametrize(
    "obj", [Rig(), Rig, Stage(), Tricky(), math, json, len, test_defaults, MagicMock(), {}, "text"]
)
def test_what_is_described_is_reachable(obj: Any) -> None:
    exposure = Exposure()
    exposure.add("it", obj)

    def check(described: ObjectDescription, path: str) -> None:
        for member_name in described.names():
            exposure.resolve(path, member_name)
        for nested in described.objects:
            check(nested, f"{path}.{nested.name}")

    described = describe_served(exposure, "it")
    check(described, "it")
    for name in dir(obj):
        if name not in described.names() and not described.dynamic and name not in ("log", "me", "__call__"):
            with pytest.raises(NotExposedError):
                exposure.resolve("it", name)


def test_describing_what_is_served() -> None:
    rig = Rig()
    exposure = Exposure()
    exposure.add("rig", rig, concurrent=["power", "stage.move"])
    whole = describe_served(exposure, "rig")
    assert whole == describe_object("rig", rig, ["power", "stage.move"])
    stage = describe_served(exposure, "rig.stage")
    assert stage.name == "rig.stage"
    assert stage.methods == whole.objects[0].methods
    exposure.add("stage", rig.stage)
    assert not describe_served(exposure, "rig.stage").methods[0].concurrent
    power = describe_served(exposure, "rig.power")
    assert str(power.callable) == "rig.power() -> None"
    assert describe_served(exposure, "rig.callback").callable is not None
    for path in ("rig.temperature", "rig.temperature.deep", "rig.name"):
        assert describe_served(exposure, path) == ObjectDescription(path, dynamic=True)
    for path in ("rig.log", "rig._private", "camera", "rig.nothing_like_it"):
        with pytest.raises(NotExposedError):
            describe_served(exposure, path)


def test_what_goes_away_while_it_is_described() -> None:
    def gone(_path: str) -> bool:
        raise NotExposedError

    assert not any(one.concurrent for one in describe_object("rig", Rig(), gone).methods)


# --- whole servers ---------------------------------------------------------------------------------------------------


@pytest.fixture
def server() -> ServerDescription:
    upstream = ServerDescription("far", "0.2.0", 1, (describe_object("laser", Stage()),))
    return ServerDescription(
        name="lab",
        version="0.2.0",
        protocol=1,
        objects=(describe_object("rig", Rig(), ["power"]), describe_object("f", lambda x: x)),
        named_calls=(
            NamedCallDescription("home", "rig.stage", "move", (0, (1, 2)), {"speed": 3}),
            NamedCallDescription("shoot", "rig", "__call__"),
        ),
        streams={
            "cam": {"kind": "periodic", "frequency_hz": 10.0, "enabled": False},
            "pushed": {"kind": "manual"},
            "odd": {},
        },
        routers={"far": upstream, "down": RouterState("down", "nobody answers"), "new": RouterState("connecting")},
    )


def test_a_server_crosses_the_wire(server: ServerDescription) -> None:
    for journey in (
        lambda plain: msgpack.unpackb(msgpack.packb(plain)),
        lambda plain: json.loads(json.dumps(plain)),
    ):
        again = ServerDescription.from_dict(journey(server.as_dict()))
        assert again.as_dict() == server.as_dict()
        assert str(again) == str(server)
        assert again.objects == server.objects
        assert again.routers == server.routers


def test_a_server_for_people(server: ServerDescription) -> None:
    assert str(server).splitlines()[:2] == ["lab: one_liner 0.2.0 protocol 1", "  objects"]
    lines = [line.strip() for line in str(server).splitlines()]
    for line in (
        "home = rig.stage.move(0, (1, 2), speed=3)",
        "shoot = rig()",
        "cam      periodic, 10 Hz, disabled",
        "pushed   manual",
        "odd",
        "far/",
        "far: one_liner 0.2.0 protocol 1",
        "down: nobody answers",
        "connecting",
    ):
        assert line in lines
    assert any(line.startswith("temperature: float (read-only)  ") and line.endswith("In degrees.") for line in lines)
    columns = {
        line.index(note) for line in str(server).splitlines() for note in ("In degrees.", "What a") if note in line
    }
    assert len(columns) == 1


def test_a_server_with_nothing() -> None:
    assert str(ServerDescription("lab")) == "lab: protocol 0"


READERS: list[Callable[[Any], Any]] = [
    ParameterDescription.from_dict,
    MethodDescription.from_dict,
    PropertyDescription.from_dict,
    ObjectDescription.from_dict,
    NamedCallDescription.from_dict,
    RouterState.from_dict,
    ServerDescription.from_dict,
]


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize(
    "plain",
    [None, 5, [], {}, {"name": 5}, {"name": "x", "methods": 5, "doc": 5, "kind": [], "obj_name": None, "objects": 5}],
)
def test_what_is_no_description(reader: Callable[[Any], Any], plain: Any) -> None:
    with pytest.raises(MalformedError, match=r"this is no "):
        reader(plain)


@given(
    st.recursive(
        st.none() | st.integers() | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from(list(ServerDescription("x").as_dict())), inner),
    )
)
def test_anything_is_a_description_or_malformed(plain: Any) -> None:
    try:
        described = ServerDescription.from_dict(plain)
    except MalformedError:
        return
    assert ServerDescription.from_dict(described.as_dict()) == described


def test_signatures_are_those_of_inspect() -> None:
    def function(a: int, *, b: str = "x") -> None: ...

    own = describe_object("f", function).callable
    assert own is not None
    assert own.signature() == inspect.signature(function)
