"""What may be reached by name, in which lane, and what happens when it is called, read or written."""

from __future__ import annotations

import asyncio
import collections
import datetime
import enum
import functools
import gc
import inspect
import logging
import math
import queue
import random
import sys
import threading
import types
import weakref
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest.mock import MagicMock

import pytest
from hypothesis import given
from hypothesis import strategies as st

from one_liner.errors import (
    BadArgumentsError,
    CallError,
    ConfigurationError,
    NotExposedError,
    UnknownAttributeError,
    UnknownObjectError,
)
from one_liner.rpc import exposure as exposure_module
from one_liner.rpc.exposure import Exposure
from one_liner.rpc.members import is_passable, is_value, may_make_up, member, member_names
from one_liner.rpc.proxy import Proxy
from one_liner.rpc.signatures import annotation_text, repr_text, signature_of, signature_text
from one_liner.rpc.target import Target


def decorated(function: Any) -> Any:
    @functools.wraps(function)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        return function(*args, **kwargs)

    return wrapper


class Mode(enum.Enum):
    FAST = 1


@dataclass
class Settings:
    gain: int = 1


@dataclass(frozen=True)
class Fixed:
    gain: int = 1


@dataclass
class Drive:
    """A dataclass that does things."""

    speed: float = 1.0

    def go(self) -> float:
        return self.speed


class Stage:
    """Moves."""

    def __init__(self) -> None:
        self.position = 0.0
        self.reads = 0

    def move(self, to: float, *, wait: bool = True) -> float:
        self.position = to
        return self.position

    @decorated
    def nudge(self, by: float) -> float:
        if by < 0:
            raise TypeError("backwards is not a direction")
        self.position += by
        return self.position

    @property
    def temperature(self) -> float:
        self.reads += 1
        return 21.0


class Slotted:
    __slots__ = ("child", "level", "unset")

    def __init__(self) -> None:
        self.level = 3
        self.child = Stage()


class Descriptor:
    def __get__(self, obj: Any, owner: Any = None) -> Any:
        return 5


class SettableDescriptor(Descriptor):
    def __set__(self, obj: Any, value: Any) -> None:
        obj.reads = value


class Rig:
    gain = 2
    computed = Descriptor()
    dial = SettableDescriptor()
    kind = Mode
    __call_count = 0

    def __init__(self) -> None:
        self.name = "rig"
        self.stage = Stage()
        self.items = [1, 2]
        self.mode = Mode.FAST
        self.settings = Settings()
        self.drive = Drive()
        self.log = logging.getLogger("rig")
        self.lock = threading.Lock()
        self.folder = Path()
        self.module = math
        self.error = ValueError("x")
        self.slotted = Slotted()
        self.axes = [Stage(), {"z": Stage()}]
        self._hidden = Stage()
        self.reads = 0
        self.callback = len

    def __call__(self, x: int) -> int:
        return x + 1

    @property
    def live(self) -> Stage:
        self.reads += 1
        return self.stage

    @property
    def broken(self) -> Any:
        return self._no_such_thing  # type: ignore[attr-defined]

    @property
    def function(self) -> Any:
        return self.stage.move

    @property
    def secret(self) -> int:
        return 1

    @secret.setter
    def secret(self, value: int) -> None:
        self.gain = value

    @functools.cached_property
    def serial(self) -> str:
        return "s1"

    def grab(self) -> str:
        return "frame"

    def generator(self) -> Any:
        yield 1

    @staticmethod
    def add(a: int, b: int = 2) -> int:
        return a + b

    @classmethod
    def make(cls) -> str:
        return cls.__name__

    async def later(self, value: int) -> int:
        await asyncio.sleep(0)
        return value

    def fails(self, how: str) -> None:
        raise {"type": TypeError, "attribute": AttributeError}[how](how)


class Flexible:
    """Makes attributes up."""

    def __init__(self) -> None:
        self.stage = Stage()
        self.asked: list[str] = []

    def __getattr__(self, name: str) -> Any:
        if name == "asked":
            raise AttributeError(name)
        self.asked.append(name)
        if name.startswith("made_"):
            return Stage() if name.endswith("stage") else lambda *args: (name, args)
        raise AttributeError(name)


class Opaque:
    """Answers all look-ups itself."""

    def __init__(self) -> None:
        self.stage = Stage()

    def __getattribute__(self, name: str) -> Any:
        return object.__getattribute__(self, name)


@pytest.fixture
def rig() -> Rig:
    return Rig()


@pytest.fixture
def served(rig: Rig) -> Exposure:
    exposure = Exposure()
    exposure.add("rig", rig)
    return exposure


def call(exposure: Exposure, path: str, attr: str = "", *args: Any, **kwargs: Any) -> Any:
    return exposure.call(exposure.resolve(path, attr), list(args), kwargs)


def read(exposure: Exposure, path: str, attr: str = "") -> Any:
    return exposure.read(exposure.resolve(path, attr))


def write(exposure: Exposure, path: str, attr: str, value: Any) -> None:
    exposure.write(exposure.resolve(path, attr), value)


def make_module(name: str, **contents: Any) -> types.ModuleType:
    module = types.ModuleType(name)
    vars(module).update(contents)
    return module


# --- names -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["", "_x", "__call__", "a/b", "a.b", "a\nb", "a\0", "a\u2028b", "\u202ea", 5, None])
def test_names_that_cannot_be(name: Any) -> None:
    exposure = Exposure()
    with pytest.raises(ConfigurationError):
        exposure.add(name, Stage())
    assert exposure.names() == []


def test_a_name_is_taken_once(served: Exposure) -> None:
    with pytest.raises(ConfigurationError, match=r"taken by a Rig"):
        served.add("rig", Stage())


@pytest.mark.parametrize("obj", [None, sys._getframe(), compile("1", "", "eval"), (x for x in "a")])
def test_the_interpreters_machinery_is_not_served(obj: Any) -> None:
    with pytest.raises(ConfigurationError, match=r"cannot be served"):
        Exposure().add("it", obj)


def test_add_get_remove(served: Exposure, rig: Rig) -> None:
    served.add("stage", rig.stage)
    assert served.names() == ["rig", "stage"]
    assert "stage" in served
    assert served.get("stage") is rig.stage
    served.remove("stage")
    assert "stage" not in served
    with pytest.raises(UnknownObjectError):
        served.get("stage")
    with pytest.raises(UnknownObjectError, match=r"no object 'rigg'; did you mean 'rig'?"):
        served.remove("rigg")


@pytest.mark.parametrize("concurrent", ["grab", ["grabb"], ["stage.mov"], ["_hidden"], ["grab.x"], ["stage..move"]])
def test_concurrent_names_have_to_exist(concurrent: Any) -> None:
    exposure = Exposure()
    with pytest.raises(ConfigurationError, match=r"concurrent of 'rig'"):
        exposure.add("rig", Rig(), concurrent=concurrent)
    assert exposure.names() == []


def test_unknown_objects_are_told_with_what_is_served(served: Exposure) -> None:
    with pytest.raises(UnknownObjectError, match=r"no object 'rgi'; did you mean 'rig'"):
        served.resolve("rgi", "grab")
    with pytest.raises(UnknownObjectError, match=r"served: rig"):
        served.resolve("camera", "grab")
    with pytest.raises(UnknownObjectError, match=r"served: nothing"):
        Exposure().resolve("camera", "grab")
    for number in range(20):
        served.add(f"many{number}", Stage())
    with pytest.raises(UnknownObjectError, match=r"\.\.\.$"):
        served.resolve("camera", "grab")


# --- what is closed --------------------------------------------------------------------------------------------------

HOSTILE = [
    ("rig", "__class__"),
    ("rig", "_hidden"),
    ("rig", "_Rig__call_count"),
    ("rig", "__init__"),
    ("rig.__class__", "mro"),
    ("rig.__class__.__base__", "__subclasses__"),
    ("rig._hidden", "move"),
    ("rig.grab", "__globals__"),
    ("rig.grab.__func__", "__code__"),
    ("rig.grab.__globals__", "get"),
    ("rig", "grab.__self__"),
    ("rig.grab", "x"),
    ("rig.generator", "gi_frame"),
    ("rig.name", "format"),
    ("rig.name", "upper"),
    ("rig.items", "append"),
    ("rig.mode", "name"),
    ("rig.kind", "FAST"),
    ("rig.kind", "mro"),
    ("rig.log", "setLevel"),
    ("rig.log.manager", "disable"),
    ("rig.lock", "acquire"),
    ("rig.folder", "write_text"),
    ("rig.module", "sqrt"),
    ("rig.error", "with_traceback"),
    ("rig.settings", "__dict__"),
    ("rig.live.__init__", ""),
    ("rig..stage", "move"),
    (".rig", "grab"),
    ("rig.", "grab"),
    ("rig", "stage.__dict__"),
    ("rig", "."),
    ("rig", "_"),
    ("rig", " grab"),
    ("rig", "grab\0"),
    ("rig", "\uff3f\uff3fclass\uff3f\uff3f"),
    ("rig." + "stage." * 1000, "move"),
    ("rig", "x" * 1_000_000),
    ("x" * 1_000_000, "grab"),
    ("", ""),
    ("", "__call__"),
    ("rig.__call__", ""),
    (None, "grab"),
    (["rig"], "grab"),
    ("rig", ["grab"]),
    ("rig", 5),
    (b"rig", "grab"),
]


@pytest.mark.parametrize(("path", "attr"), HOSTILE)
def test_hostile_names_lead_nowhere(served: Exposure, path: Any, attr: Any) -> None:
    with pytest.raises(NotExposedError) as caught:
        served.call(served.resolve(path, attr), [], {})
    assert len(str(caught.value)) < 600
    assert "\0" not in str(caught.value)
    with pytest.raises(NotExposedError):
        served.write(served.resolve(path, attr), 1)


@given(st.text(alphabet="rigstae._/\0 \n{}[]()x"), st.text(alphabet="grabmove._/\0 {}x"))
def test_any_text_resolves_or_is_refused(path: str, attr: str) -> None:
    exposure = Exposure()
    exposure.add("rig", Rig())
    try:
        target = exposure.resolve(path, attr)
    except NotExposedError:
        return
    assert not any(step.startswith("_") for step in target.where.split("."))


def test_private_and_unknown_are_told_apart(served: Exposure) -> None:
    with pytest.raises(NotExposedError, match=r"'_hidden' is private") as private:
        served.resolve("rig", "_hidden")
    assert not isinstance(private.value, UnknownAttributeError)
    with pytest.raises(UnknownAttributeError, match=r"rig has no attribute 'grap'; did you mean 'grab'"):
        served.resolve("rig", "grap")
    with pytest.raises(UnknownAttributeError, match=r"rig.stage has no attribute 'mov'; did you mean 'move'"):
        served.resolve("rig.stage", "mov")
    with pytest.raises(UnknownAttributeError, match=r"rig has no attribute 'stag'"):
        served.resolve("rig.stag", "move")
    with pytest.raises(UnknownAttributeError, match=r"it has: "):
        served.resolve("rig", "zzzzzz")


def test_a_function_can_only_be_called(served: Exposure) -> None:
    served.add("double", lambda x: 2 * x)
    served.add("partial", functools.partial(max, 5))
    served.add("cached", functools.lru_cache(lambda x: x))
    assert call(served, "double", "__call__", 4) == 8
    assert call(served, "partial", "", 4) == 5
    assert call(served, "cached", "", 4) == 4
    for path, attr in (("double", "x"), ("partial", "func"), ("cached", "cache_clear"), ("double.x", "y")):
        with pytest.raises(NotExposedError, match=r"a function can be called"):
            served.resolve(path, attr)


def test_instances_of_open_standard_types(served: Exposure) -> None:
    served.add("group", types.SimpleNamespace(stage=Stage(), mock=MagicMock()))
    assert call(served, "group.stage", "move", 3.0) == 3.0
    assert call(served, "group.mock.deep", "thing") is not None


def test_no_way_into_the_servers_own_machinery() -> None:
    assert not is_passable(Exposure())
    assert is_passable(Proxy(None, "laser"))  # type: ignore[arg-type]


def test_what_pydantic_brings_along_is_closed() -> None:
    base = type("BaseModel", (), {"__module__": "pydantic.main", "parse_raw": lambda self, text: "unpickled"})
    model = type("Model", (base,), {"__module__": "lab", "gain": 3, "go": lambda self: "gone"})
    exposure = Exposure()
    exposure.add("model", model())
    assert call(exposure, "model", "go") == "gone"
    with pytest.raises(UnknownAttributeError):
        exposure.resolve("model", "parse_raw")


# --- kinds -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "value",
    [1, "x", None, [1], Mode.FAST, datetime.datetime.now(), Path(), collections.deque(), Settings(), 1j, range(3)],
)
def test_values(value: Any) -> None:
    assert is_value(value)


@pytest.mark.parametrize("obj", [Stage(), Drive(), Mode, math, len, threading.Lock(), queue.Queue(), Rig.grab])
def test_no_values(obj: Any) -> None:
    assert not is_value(obj)


def test_arrays_are_values() -> None:
    numpy = pytest.importorskip("numpy")
    assert is_value(numpy.zeros(3))
    assert not is_passable(numpy.zeros(3))


def test_a_class_that_does_not_say_where_it_is_from() -> None:
    class Odd:
        pass

    Odd.__module__ = 5  # type: ignore[assignment]
    assert is_passable(Odd())

    class Meta(type):
        @property
        def __module__(cls) -> str:  # type: ignore[override]
            raise RuntimeError

    odd = types.new_class("odd", (), {"metaclass": Meta})()
    assert is_passable(odd)


@pytest.mark.parametrize(
    ("name", "kind", "writable"),
    [
        ("grab", "method", False),
        ("add", "method", False),
        ("make", "method", False),
        ("kind", "method", False),
        ("callback", "method", False),
        ("name", "property", True),
        ("gain", "property", True),
        ("settings", "property", True),
        ("live", "property", False),
        ("secret", "property", True),
        ("serial", "property", False),
        ("computed", "property", False),
        ("dial", "property", True),
        ("stage", "object", False),
        ("drive", "object", False),
        ("log", "closed", False),
        ("module", "closed", False),
    ],
)
def test_kinds_of_members(rig: Rig, name: str, kind: str, writable: bool) -> None:
    found = member(rig, name)
    assert found is not None
    assert (found.kind, found.writable) == (kind, writable)
    assert rig.reads == 0


def test_slots(served: Exposure, rig: Rig) -> None:
    slotted = rig.slotted
    kinds = {name: member(slotted, name) for name in member_names(slotted)}
    assert {name: found and found.kind for name, found in kinds.items()} == {
        "level": "property",
        "child": "object",
        "unset": "property",
    }
    write(served, "rig.slotted", "level", 7)
    write(served, "rig.slotted", "unset", 8)
    assert (slotted.level, read(served, "rig.slotted", "unset")) == (7, 8)
    assert call(served, "rig.slotted.child", "move", 2.0) == 2.0
    with pytest.raises(UnknownAttributeError):
        write(served, "rig.slotted", "more", 1)


def test_a_property_of_the_class() -> None:
    label: Any = classmethod(property(lambda cls: "label"))  # type: ignore[arg-type]
    found = member(type("Old", (), {"label": label})(), "label")
    assert found is not None
    assert (found.kind, found.writable, repr(found.value)) == ("property", False, "<missing>")


def test_names_that_are_no_members() -> None:
    assert member(Rig(), "") is None
    assert member(len, "x") is None
    assert not may_make_up(len, "x")


# --- calling ---------------------------------------------------------------------------------------------------------


def test_calls(served: Exposure) -> None:
    assert call(served, "rig", "grab") == "frame"
    assert call(served, "rig", "add", 1) == 3
    assert call(served, "rig", "make") == "Rig"
    assert call(served, "rig", "", 1) == 2
    assert call(served, "rig", "__call__", x=4) == 5
    assert call(served, "rig.stage", "move", 1.5, wait=False) == 1.5
    assert call(served, "rig", "stage.move", 2.5) == 2.5
    assert call(served, "rig.stage.move", "", 3.5) == 3.5
    assert call(served, "rig", "callback", "abc") == 3
    assert call(served, "rig", "kind", 1) is Mode.FAST
    assert call(served, "rig.drive", "go") == 1.0


def test_what_was_found_once_is_found_again(served: Exposure, rig: Rig) -> None:
    first = served.resolve("rig", "grab")
    assert served.resolve("rig", "grab") is first
    nested = served.resolve("rig.stage", "move")
    assert served.resolve("rig.stage", "move") is nested
    rig.stage = Stage()
    assert served.resolve("rig.stage", "move").owner is rig.stage


def test_async_functions_run_to_their_end(served: Exposure) -> None:
    assert call(served, "rig", "later", 5) == 5


def test_a_property_is_read_when_called_without_arguments(served: Exposure, rig: Rig) -> None:
    target = served.resolve("rig.stage", "temperature")
    assert rig.stage.reads == 0
    assert served.call(target, [], {}) == 21.0
    assert rig.stage.reads == 1
    assert call(served, "rig", "name") == "rig"
    with pytest.raises(BadArgumentsError, match=r"rig\.name is a property .* set\('rig', 'name', value\)"):
        call(served, "rig", "name", "other")


def test_an_object_that_cannot_be_called(served: Exposure) -> None:
    served.add("stage", Stage())
    with pytest.raises(UnknownAttributeError, match=r"a Stage and cannot be called itself; it has: .*move"):
        call(served, "stage")
    served.add("number", 5)
    assert call(served, "number") == 5
    with pytest.raises(BadArgumentsError, match=r"takes no arguments$"):
        call(served, "number", "", 1)


@pytest.mark.parametrize(
    ("path", "attr", "args", "kwargs", "message"),
    [
        ("rig.stage", "move", [], {}, "rig.stage.move(to: float, *, wait: bool = True): missing a required argument"),
        ("rig.stage", "move", [1, 2], {}, "rig.stage.move(to: float, *, wait: bool = True): too many positional"),
        ("rig", "grab", [], {"x": 1}, "rig.grab(): got an unexpected keyword argument 'x'"),
        ("rig", "grab", [], {1: 1}, "rig.grab(): "),
        ("rig.stage", "nudge", [], {}, "rig.stage.nudge(by: float): missing a required argument: 'by'"),
        ("rig", "", [], {}, "rig(x: int): missing a required argument: 'x'"),
        ("drives", "", [], {"x": 1}, "drives(speed: float = 1.0): got an unexpected"),
    ],
)  # fmt: skip
def test_arguments_that_do_not_fit(
    served: Exposure, path: str, attr: str, args: list[Any], kwargs: dict[Any, Any], message: str
) -> None:
    served.add("drives", Drive)
    with pytest.raises(BadArgumentsError) as caught:
        served.call(served.resolve(path, attr), args, kwargs)
    assert str(caught.value).startswith(message)
    assert isinstance(caught.value, TypeError)


def test_compiled_functions_without_a_signature(served: Exposure) -> None:
    served.add("table", {"a": 1})
    assert signature_of({}.update) is None
    with pytest.raises(BadArgumentsError, match=r"table.update\(\.\.\.\): update expected at most 1 argument, got 2"):
        call(served, "table", "update", 1, 2)
    served.add("sort", functools.partial(sorted, key=lambda x: x + 1))
    with pytest.raises(TypeError) as caught:
        call(served, "sort", "", ["a"])
    assert not isinstance(caught.value, CallError)


def test_a_python_callback_in_a_compiled_function_without_signature(served: Exposure) -> None:
    served.add("biggest", max)
    if signature_of(max) is None:
        with pytest.raises(BadArgumentsError):
            call(served, "biggest")
        with pytest.raises(TypeError) as caught:
            call(served, "biggest", "", [1], key=lambda x: x + "a")
        assert not isinstance(caught.value, CallError)


def test_type_errors_from_inside_pass_untouched(served: Exposure) -> None:
    for path, attr, args in (
        ("rig", "fails", ["type"]),
        ("rig.stage", "nudge", [-1]),
        ("rig.stage", "nudge", ["a"]),
        ("root", "", ["a"]),
        ("cached", "", [[]]),
    ):
        if "root" not in served:
            served.add("root", math.sqrt)
            served.add("cached", functools.lru_cache(lambda x: x))
        with pytest.raises(TypeError) as caught:
            call(served, path, attr, *args)
        assert not isinstance(caught.value, CallError)


def test_an_attribute_error_from_inside_is_not_ours(served: Exposure) -> None:
    for attr, args in (("broken", []), ("fails", ["attribute"])):
        with pytest.raises(AttributeError) as caught:
            call(served, "rig", attr, *args)
        assert not isinstance(caught.value, CallError)
    with pytest.raises(AttributeError) as caught:
        call(served, "rig.broken", "x")
    assert not isinstance(caught.value, CallError)


def test_an_attribute_that_went_away(served: Exposure, rig: Rig) -> None:
    target = served.resolve("rig", "name")
    del rig.name
    with pytest.raises(UnknownAttributeError, match=r"rig has no attribute 'name'"):
        served.call(target, [], {})


# --- reading ---------------------------------------------------------------------------------------------------------


def test_reading(served: Exposure, rig: Rig) -> None:
    assert read(served, "rig", "name") == "rig"
    assert read(served, "rig", "mode") is Mode.FAST
    assert read(served, "rig", "serial") == "s1"
    assert read(served, "rig", "computed") == 5
    assert read(served, "rig.stage", "temperature") == 21.0
    assert read(served, "rig.settings", "gain") == 1 if is_passable(rig.settings) else True
    served.add("number", 5)
    assert read(served, "number") == 5


@pytest.mark.parametrize(("path", "attr"), [("rig", "grab"), ("rig", "kind"), ("function", "")])
def test_what_is_called_is_not_read(served: Exposure, path: str, attr: str) -> None:
    served.add("function", lambda: 1)
    with pytest.raises(NotExposedError, match=r"it can be called, not read"):
        read(served, path, attr)


# --- writing ---------------------------------------------------------------------------------------------------------


def test_writing(served: Exposure, rig: Rig) -> None:
    write(served, "rig", "name", "other")
    write(served, "rig", "secret", 9)
    write(served, "rig", "dial", 4)
    write(served, "rig.stage", "position", 2.0)
    assert (rig.name, rig.gain, rig.reads, rig.stage.position) == ("other", 9, 4, 2.0)


@pytest.mark.parametrize(
    ("attr", "error", "message"),
    [
        ("live", UnknownAttributeError, "rig.live is read-only"),
        ("serial", UnknownAttributeError, "rig.serial is read-only"),
        ("computed", UnknownAttributeError, "rig.computed is read-only"),
        ("grab", NotExposedError, "rig.grab is a method"),
        ("stage", NotExposedError, "rig.stage is a Stage and cannot be replaced"),
        ("log", NotExposedError, "rig.log is a Logger and cannot be replaced"),
        ("nmae", UnknownAttributeError, "did you mean 'name'"),
        ("", NotExposedError, "it cannot be replaced"),
    ],
)
def test_what_cannot_be_written(served: Exposure, attr: str, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message) as caught:
        write(served, "rig", attr, 1)
    assert type(caught.value) is error


def test_frozen_records_are_read_only() -> None:
    exposure = Exposure()
    exposure.add("fixed", Fixed())
    with pytest.raises(UnknownAttributeError, match=r"read-only"):
        write(exposure, "fixed", "gain", 3)


def test_writing_what_went_away(served: Exposure, rig: Rig) -> None:
    target = served.resolve("rig", "name")
    del rig.name
    with pytest.raises(UnknownAttributeError):
        served.write(target, "x")


# --- objects that make attributes up ---------------------------------------------------------------------------------


def test_attributes_made_up() -> None:
    exposure = Exposure()
    flexible = Flexible()
    exposure.add("it", flexible, concurrent=["made_fast", "made_fast.deeper", "stage.move"])
    target = exposure.resolve("it", "made_x")
    assert flexible.asked == []
    assert exposure.call(target, [1], {}) == ("made_x", (1,))
    assert exposure.resolve("it", "made_fast").lane is None
    assert call(exposure, "it.made_stage", "move", 1.0) == 1.0
    assert call(exposure, "it.stage", "move", 1.0) == 1.0
    with pytest.raises(UnknownAttributeError):
        call(exposure, "it", "unmade")
    with pytest.raises(UnknownAttributeError, match=r"it has no attribute 'unmade'"):
        call(exposure, "it.unmade", "move")
    with pytest.raises(UnknownAttributeError):
        call(exposure, "it.made_stage", "mov")
    with pytest.raises(NotExposedError, match=r"not an object to walk into"):
        call(exposure, "it.made_x", "y")
    write(exposure, "it", "made_level", 5)
    assert flexible.made_level == 5
    with pytest.raises(UnknownAttributeError):
        write(exposure, "it", "unmade", 5)


def test_objects_that_answer_all_look_ups_themselves() -> None:
    exposure = Exposure()
    opaque = Opaque()
    exposure.add("it", opaque)
    target = exposure.resolve("it.stage", "move")
    assert target.steps == ("stage",)
    assert exposure.call(target, [1.0], {}) == 1.0
    assert call(exposure, "it", "stage") is opaque.stage
    with pytest.raises(UnknownAttributeError):
        call(exposure, "it", "nothing")


def test_a_mock_can_be_served() -> None:
    exposure = Exposure()
    mock = MagicMock()
    mock.power.return_value = 5
    exposure.add("mock", mock)
    assert call(exposure, "mock", "power") == 5
    assert call(exposure, "mock.deep.er", "thing") is mock.deep.er.thing.return_value


def test_a_dict_that_is_not_to_be_had() -> None:
    class Shy:
        here = 1

        @property
        def __dict__(self) -> Any:  # type: ignore[override]
            raise RuntimeError

    exposure = Exposure()
    exposure.add("shy", Shy())
    assert read(exposure, "shy", "here") == 1
    with pytest.raises(UnknownAttributeError):
        exposure.resolve("shy", "there")


# --- modules and classes ---------------------------------------------------------------------------------------------


def own(name: str) -> Any:
    function = types.FunctionType((lambda *args: args).__code__, {}, name)
    function.__module__ = "lab.tools"
    return function


def test_a_module_shows_what_is_its_own() -> None:
    sub = make_module("lab.tools.sub", f=own("f"))
    foreign = make_module("other", f=own("f"))
    made = random.Random()
    module = make_module(
        "lab.tools", sub=sub, os=foreign, f=own("f"), run=functools.wraps(len)(own("g")), size=3, rand=made.random,
        Stage=Stage, stage=Stage(), log=logging.getLogger(),
    )  # fmt: skip
    module.run.__module__ = "subprocess"
    module.__dict__["Mine"] = type("Mine", (), {"__module__": "lab.other"})
    exposure = Exposure()
    exposure.add("tools", module)
    assert call(exposure, "tools", "f", 1) == (1,)
    assert call(exposure, "tools.sub", "f", 2) == (2,)
    assert call(exposure, "tools.stage", "move", 2.0) == 2.0
    assert call(exposure, "tools", "Mine") is not None
    assert read(exposure, "tools", "size") == 3
    write(exposure, "tools", "size", 4)
    assert module.size == 4
    for path, attr in (("tools", "os"), ("tools.os", "f"), ("tools", "run"), ("tools", "Stage"), ("tools", "rand")):
        with pytest.raises(UnknownAttributeError):
            exposure.resolve(path, attr)
    for attr in ("f", "sub", "log", "stage"):
        with pytest.raises(NotExposedError):
            write(exposure, "tools", attr, 5)
    with pytest.raises(UnknownAttributeError):
        write(exposure, "tools", "new", 5)
    with pytest.raises(NotExposedError):
        call(exposure, "tools.log", "setLevel", 1)
    assert sorted(name for name in member_names(module) if member(module, name)) == [
        "Mine", "f", "log", "size", "stage", "sub",
    ]  # fmt: skip


def test_all_decides_when_there_is_one() -> None:
    foreign = make_module("other", f=own("f"))
    module = make_module("lab", f=own("f"), g=own("g"), other=foreign, _p=own("p"))
    vars(module)["__all__"] = ["f", "other", "lazy", "gone", "_p"]
    vars(module)["__getattr__"] = lambda name: (lambda: 7) if name == "lazy" else getattr(foreign, name)
    exposure = Exposure()
    exposure.add("lab", module)
    assert call(exposure, "lab", "f") == ()
    assert call(exposure, "lab", "lazy") == 7
    for path, attr in (("lab", "g"), ("lab.other", "f"), ("lab", "_p")):
        with pytest.raises(NotExposedError):
            exposure.resolve(path, attr)
    with pytest.raises(UnknownAttributeError):
        call(exposure, "lab", "gone")
    assert member_names(module) == ["f", "other", "lazy", "gone"]


def test_the_standard_modules_do_not_leak_others() -> None:
    exposure = Exposure()
    exposure.add("logging", logging)
    exposure.add("math", math)
    assert call(exposure, "math", "sqrt", 4) == 2
    for attr in ("os", "sys", "threading"):
        with pytest.raises(UnknownAttributeError):
            exposure.resolve("logging", attr)


def test_a_class_served_at_top_level(served: Exposure) -> None:
    served.add("Rig", Rig)
    assert isinstance(call(served, "Rig"), Rig)
    assert call(served, "Rig", "make") == "Rig"
    assert call(served, "Rig", "add", 1) == 3
    assert read(served, "Rig", "gain") == 2
    for attr in ("live", "secret", "serial", "mro", "nothing"):
        with pytest.raises(UnknownAttributeError):
            served.resolve("Rig", attr)
    with pytest.raises(BadArgumentsError):
        call(served, "Rig", "grab")


# --- lanes -----------------------------------------------------------------------------------------------------------


def test_one_lane_per_object_whatever_its_names(rig: Rig) -> None:
    exposure = Exposure()
    exposure.add("rig", rig)
    exposure.add("alias", rig)
    exposure.add("other", Rig())
    exposure.add("grab", rig.grab)
    exposure.add("again", functools.partial(rig.grab))
    lane = exposure.resolve("rig", "grab").lane
    assert lane is not None
    assert lane.name == "rig"
    assert exposure.resolve("alias", "name").lane is lane
    assert exposure.resolve("grab", "").lane is lane
    assert exposure.resolve("again", "").lane is lane
    assert exposure.resolve("rig.stage", "move").lane is lane
    assert exposure.resolve("other", "grab").lane is not lane


def test_compiled_functions_of_one_module_have_lanes_of_their_own() -> None:
    exposure = Exposure()
    exposure.add("sin", math.sin)
    exposure.add("cos", functools.partial(math.cos))
    assert exposure.resolve("sin", "").lane is not exposure.resolve("cos", "").lane


def test_the_deepest_lane_on_the_way_wins(served: Exposure, rig: Rig) -> None:
    before = served.resolve("rig.stage", "move").lane
    served.add("stage", rig.stage)
    after = served.resolve("rig.stage", "move").lane
    assert before is served.resolve("rig", "grab").lane
    assert after is served.resolve("stage", "move").lane
    assert after is not before
    served.remove("stage")
    assert served.resolve("rig.stage", "move").lane is before


def test_an_attribute_that_belongs_to_another_served_object(served: Exposure, rig: Rig) -> None:
    camera = Rig()
    served.add("camera", camera)
    rig.callback = camera.grab  # type: ignore[assignment]
    rig.camera = camera  # type: ignore[attr-defined]
    lane = served.resolve("camera", "grab").lane
    assert served.resolve("rig", "callback").lane is lane
    assert call(served, "rig", "callback") == "frame"
    assert served.resolve("rig.camera", "").lane is lane
    assert call(served, "rig.camera", "", 1) == 2


def test_nothing_is_reached_through_a_property_in_the_wrong_lane(served: Exposure, rig: Rig) -> None:
    assert call(served, "rig.live", "move", 1.0) == 1.0
    assert call(served, "rig", "function", 2.0) == 2.0
    served.add("stage", rig.stage)
    with pytest.raises(NotExposedError, match=r"served as 'stage'"):
        call(served, "rig.live", "move", 3.0)
    with pytest.raises(NotExposedError, match=r"served as 'stage'"):
        call(served, "rig", "function", 3.0)
    assert rig.stage.position == 2.0
    served.remove("stage")
    served.add("stage", rig.stage, concurrent=True)
    assert call(served, "rig.live", "move", 4.0) == 4.0


def test_resolving_runs_no_code(served: Exposure, rig: Rig) -> None:
    target = served.resolve("rig.live", "move")
    assert rig.reads == 0
    lane = served.resolve("rig", "grab").lane
    assert target == Target(rig, "move", lane, "rig.live.move", ("live",), touches=target.touches)
    with pytest.raises(UnknownAttributeError, match=r"rig.live has no attribute 'mov'"):
        call(served, "rig.live", "mov")
    with pytest.raises(NotExposedError, match=r"is a str"):
        call(served, "rig.serial", "upper")


@pytest.mark.parametrize(
    ("concurrent", "beside"),
    [
        ((), set()),
        (True, {"rig.grab", "rig.name", "rig.stage.move", "rig.stage.position", "rig"}),
        (["grab", "name"], {"rig.grab", "rig.name"}),
        (["stage"], {"rig.stage.move", "rig.stage.position"}),
        (["stage.position", "live.x"], {"rig.stage.position"}),
    ],
)
def test_what_may_run_beside_others(concurrent: Any, beside: set[str]) -> None:
    exposure = Exposure()
    exposure.add("rig", Rig(), concurrent=concurrent)
    paths = ["rig.grab", "rig.name", "rig.stage.move", "rig.stage.position", "rig"]
    assert {path for path in paths if exposure.resolve(path, "").lane is None} == beside


def test_concurrent_of_a_nested_object_that_is_served(rig: Rig) -> None:
    exposure = Exposure()
    exposure.add("rig", rig)
    exposure.add("stage", rig.stage, concurrent=["position"])
    exposure.add("move", rig.stage.move, concurrent=True)
    assert exposure.resolve("rig.stage", "position").lane is None
    assert exposure.resolve("move", "").lane is None
    assert exposure.resolve("rig.stage", "move").lane is exposure.resolve("stage", "move").lane is not None


def test_a_lane_outlives_remove_as_long_as_it_is_used() -> None:
    exposure = Exposure()
    stage = Stage()
    exposure.add("stage", stage)
    target = exposure.resolve("stage", "move")
    exposure.remove("stage")
    exposure.add("again", stage)
    assert exposure.resolve("again", "move").lane is target.lane


def test_what_is_removed_is_not_kept_alive() -> None:
    exposure = Exposure()
    stage = Stage()
    alive = weakref.ref(stage)
    exposure.add("stage", stage)
    exposure.resolve("stage", "move")
    exposure.remove("stage")
    del stage
    gc.collect()
    assert alive() is None


# --- lanes of callables ----------------------------------------------------------------------------------------------


def test_lanes_of_callables(rig: Rig) -> None:
    exposure = Exposure()
    exposure.add("rig", rig, concurrent=["make", "stage.move"])
    lane = exposure.resolve("rig", "grab").lane

    wrapped = decorated(rig.grab)
    for func, where in (
        (rig.grab, "rig.grab"),
        (functools.partial(rig.grab), "rig.grab"),
        (functools.partial(functools.partial(rig.fails), "type"), "rig.fails"),
        (functools.partial(Rig.grab, rig), "rig.grab"),
        (wrapped, "rig.grab"),
        (decorated(functools.partial(rig.grab)), "rig.grab"),
        (rig.stage.nudge, "rig.stage.nudge"),
        (rig._hidden.move, "rig._hidden.move"),
        (rig.axes[0].move, "rig.axes.move"),  # type: ignore[attr-defined]
        (rig.axes[1]["z"].move, "rig.axes.move"),  # type: ignore[index]
        (rig.slotted.child.move, "rig.slotted.child.move"),
        (rig, "rig"),
    ):
        assert exposure.lane_of(func) == (lane, where), where
    assert exposure.lane_of(rig.stage.move) == (None, "rig.stage.move")


def test_lanes_of_functions() -> None:
    exposure = Exposure()

    def measure() -> int:
        return 1

    exposure.add("measure", measure)
    exposure.add("free", lambda: 1, concurrent=True)
    assert exposure.lane_of(measure) == (exposure.resolve("measure", "").lane, "measure")
    assert exposure.lane_of(decorated(measure))[0] is exposure.resolve("measure", "").lane
    assert exposure.lane_of(exposure.get("free")) == (None, "free")


def test_lanes_of_served_methods_and_of_what_they_belong_to(rig: Rig) -> None:
    exposure = Exposure()
    exposure.add("move", rig.stage.move)
    lane = exposure.resolve("move", "").lane
    assert exposure.lane_of(rig.stage.move) == (lane, "move")
    assert exposure.lane_of(rig.stage.nudge) == (lane, "Stage.nudge")


def test_lanes_of_a_module() -> None:
    exposure = Exposure()
    exposure.add("tests", sys.modules[__name__])
    exposure.add("math", math)
    assert exposure.lane_of(call)[1] == "tests.call"
    assert exposure.lane_of(math.sin) == (exposure.resolve("math", "sin").lane, "math.sin")


def test_callables_of_nobody(rig: Rig) -> None:
    exposure = Exposure()
    exposure.add("other", Rig())
    exposure.add("slotted", Slotted())
    for func, name in (
        (rig.grab, "grab"),
        (lambda: 1, "<lambda>"),
        (functools.partial(len), "len"),
        (functools.partial(Rig.grab, rig), "grab"),
        (rig, "Rig"),
        (Rig, "Rig"),
        (functools.partial(rig), "Rig"),
        (decorated(rig.grab), "grab"),
    ):
        assert exposure.lane_of(func) == (None, name)


def test_the_search_for_an_owner_ends(monkeypatch: pytest.MonkeyPatch, rig: Rig) -> None:
    exposure = Exposure()
    endless = types.SimpleNamespace()
    endless.me = [endless]
    deep: Any = types.SimpleNamespace(rig=rig)
    for _ in range(20):
        deep = types.SimpleNamespace(inner=deep)
    exposure.add("endless", endless)
    exposure.add("deep", deep)
    exposure.add("wide", types.SimpleNamespace(all=[types.SimpleNamespace() for _ in range(300)]))
    monkeypatch.setattr(exposure_module, "MAX_SEARCHED", 100)
    assert exposure.lane_of(rig.grab) == (None, "grab")

    def around() -> None: ...

    around.__wrapped__ = around  # type: ignore[attr-defined]
    assert exposure.lane_of(around) == (None, "around")


def test_partials_do_not_nest_for_ever(served: Exposure) -> None:
    class Tower(functools.partial):  # type: ignore[type-arg]
        """A partial keeps itself when it has attributes, so towers of them can be built."""

    tower: Any = len
    for _ in range(100):
        tower = Tower(tower)
        tower.x = 1
    served.add("tower", tower)
    assert call(served, "tower", "", "abc") == 3
    assert served.lane_of(tower)[1] == "tower"


# --- signatures ------------------------------------------------------------------------------------------------------


def test_signatures_as_text() -> None:
    def everything(a, /, b: int, *rest: Any, c: list[int] = [1], d=None, **more: float) -> None: ...  # noqa: B006

    assert signature_text(signature_of(everything)) == (
        "(a, /, b: int, *rest: Any, c: list[int] = [1], d=None, **more: float)"
    )
    assert signature_text(inspect.signature(lambda a, /: a)) == "(a, /)"
    assert signature_text(inspect.signature(lambda *, a: a)) == "(*, a)"
    assert signature_text(None) == "(...)"


def test_signatures_of_callable_objects() -> None:
    class Anything:
        def __call__(*args: Any) -> None: ...

    assert signature_text(signature_of(Rig())) == "(x: int)"
    assert signature_text(signature_of(Anything())) == "(*args: Any)"
    assert signature_of(5) is None
    proxy_like = Flexible()
    assert signature_of(proxy_like) is None
    assert proxy_like.asked == []


def test_odd_annotations_and_defaults() -> None:
    class Bad:
        def __repr__(self) -> str:
            raise RuntimeError

    assert annotation_text(int) == "int"
    assert annotation_text("Laser") == "Laser"
    assert annotation_text(inspect.Signature.empty) is None
    assert annotation_text(Bad()) == "Bad"
    assert repr_text(Bad()) == f"<{Bad.__qualname__}>"
    assert repr_text("x" * 100, 10) == "'xxxxxx..."
