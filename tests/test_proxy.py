"""The pythonic window on a remote object, looked through without a network."""

from __future__ import annotations

import copy
import inspect
import io
import pickle
import pydoc
from collections import Counter
from typing import Any

import pytest

from one_liner.errors import NoServerError, UnknownAttributeError
from one_liner.rpc.describing import describe_served
from one_liner.rpc.description import ObjectDescription
from one_liner.rpc.exposure import Exposure
from one_liner.rpc.proxy import Proxy


class Stage:
    """Moves things."""

    def __init__(self) -> None:
        self.position = 0.0

    def move(self, to: float, *, wait: bool = True) -> float:
        """Move to a position in mm."""
        self.position = to
        return to


class Laser:
    """A laser."""

    def __init__(self) -> None:
        self.stage = Stage()
        self.watts = 1.0

    @property
    def power(self) -> float:
        """In watts."""
        return self.watts

    @power.setter
    def power(self, value: float) -> None:
        self.watts = value

    @property
    def power_max(self) -> float:
        return 5.0

    def set_power(self, watts: float, *, ramp: bool = True) -> None:
        """Set the power."""
        self.watts = watts

    def __call__(self, shots: int = 1) -> int:
        return shots


class MadeUp:
    def __getattr__(self, name: str) -> Any:
        return lambda *args: (name, args)


class FakeClient:
    """Does what a client does, on an exposure in this process, and counts."""

    def __init__(self) -> None:
        self.exposure = Exposure()
        self.laser = Laser()
        self.exposure.add("laser", self.laser)
        self.exposure.add("made", MadeUp())
        self.count: Counter[str] = Counter()
        self.is_down = False

    def _knock(self, what: str) -> None:
        self.count[what] += 1
        if self.is_down:
            raise NoServerError("nobody answers")

    def call(self, obj_name: str, attr_name: str, args: Any, kwargs: Any) -> Any:
        self._knock("call")
        return self.exposure.call(self.exposure.resolve(obj_name, attr_name), args, kwargs)

    def get(self, obj_name: str, attr_name: str) -> Any:
        self._knock("get")
        return self.exposure.read(self.exposure.resolve(obj_name, attr_name))

    def set(self, obj_name: str, attr_name: str, value: Any) -> None:
        self._knock("set")
        self.exposure.write(self.exposure.resolve(obj_name, attr_name), value)

    def describe_object(self, obj_name: str) -> ObjectDescription:
        self._knock("describe")
        return ObjectDescription.from_dict(describe_served(self.exposure, obj_name).as_dict())


@pytest.fixture
def client() -> FakeClient:
    return FakeClient()


@pytest.fixture
def laser(client: FakeClient) -> Proxy:
    return Proxy(client, "laser")


def help_text(thing: Any) -> str:
    output = io.StringIO()
    pydoc.Helper(output=output).help(thing)
    return output.getvalue()


def test_methods_properties_and_nested_objects(client: FakeClient, laser: Proxy) -> None:
    assert client.count == {}
    laser.set_power(3.0, ramp=False)
    assert laser.power == 3.0
    laser.power = 4.0
    assert client.laser.watts == 4.0
    assert laser.stage.move(2.0) == 2.0
    laser.stage.position = 5.0
    assert client.laser.stage.position == 5.0
    assert laser(shots=3) == 3
    assert client.count == {"describe": 1, "call": 3, "get": 1, "set": 2}


def test_methods_look_like_methods(laser: Proxy) -> None:
    method = laser.set_power
    assert (method.__name__, method.__qualname__) == ("set_power", "laser.set_power")
    assert method.__doc__ == "Set the power."
    assert str(inspect.signature(method)) == "(watts: 'float', *, ramp: 'bool' = True) -> 'None'"
    assert laser.set_power is method
    assert "set_power(watts" in help_text(method)
    assert str(inspect.signature(laser)) == "(shots: 'int' = 1) -> 'int'"
    assert str(inspect.signature(laser.stage)) == "(*args: 'Any', **kwargs: 'Any') -> 'Any'"


def test_dir_lists_what_is_remote(client: FakeClient, laser: Proxy) -> None:
    assert dir(laser) == ["power", "power_max", "set_power", "stage", "watts"]
    assert dir(laser.stage) == ["move", "position"]
    assert client.count == {"describe": 1}


def test_help_shows_the_remote_object(client: FakeClient, laser: Proxy) -> None:
    text = help_text(laser)
    assert "A laser." in text
    assert "set_power(watts: float, *, ramp: bool = True) -> None" in text
    assert "power: float (read-write)" in text
    assert client.count["get"] == 0
    assert "remote object, as if it were here" in help_text(Proxy)


def test_unknown_names(client: FakeClient, laser: Proxy) -> None:
    with pytest.raises(AttributeError, match=r"laser has no attribute 'pover'; did you mean 'power'"):
        _ = laser.pover
    assert client.count == {"describe": 1}
    with pytest.raises(UnknownAttributeError, match=r"dir\(\) lists"):
        laser.zzz = 1
    assert client.count == {"describe": 2}
    assert not hasattr(laser, "nothing")


def test_an_object_that_has_changed(client: FakeClient, laser: Proxy) -> None:
    assert laser.power == 1.0
    client.laser.wavelength = 500  # type: ignore[attr-defined]
    assert laser.wavelength == 500
    assert client.count["describe"] == 2
    client.laser.colour = "red"  # type: ignore[attr-defined]
    laser.colour = "blue"
    assert client.count["describe"] == 3


def test_setting_what_cannot_be_set_is_the_servers_to_refuse(laser: Proxy) -> None:
    with pytest.raises(AttributeError, match=r"laser.power_max is read-only"):
        laser.power_max = 3
    with pytest.raises(AttributeError, match=r"cannot be deleted"):
        del laser.power


def test_private_names_stay_here(client: FakeClient, laser: Proxy) -> None:
    for name in ("_repr_html_", "_ipython_display_", "__array__", "__wrapped__", "_private", "__len__"):
        assert not hasattr(laser, name)
        with pytest.raises(AttributeError, match=r"private"):
            setattr(laser, name, 1)
    assert repr(laser) == "<proxy of 'laser'>"
    assert bool(laser)
    assert client.count == {}


def test_repr_tells_the_type_once_it_is_known(client: FakeClient, laser: Proxy) -> None:
    dir(laser)
    assert repr(laser) == f"<proxy of 'laser', {Laser.__module__}.Laser>"
    assert client.count == {"describe": 1}


def test_equality_copies_and_pickles(client: FakeClient, laser: Proxy) -> None:
    assert laser == Proxy(client, "laser")
    assert hash(laser) == hash(Proxy(client, "laser"))
    assert laser != Proxy(client, "made")
    assert laser != Proxy(FakeClient(), "laser")
    assert laser != "laser"
    assert copy.copy(laser) is laser
    assert copy.deepcopy([laser])[0] is laser
    with pytest.raises(TypeError, match=r"client.proxy\('laser'\)"):
        pickle.dumps(laser)
    assert client.count == {}


def test_nothing_breaks_a_prompt_when_nobody_answers(client: FakeClient, laser: Proxy) -> None:
    client.is_down = True
    assert dir(laser) == []
    assert "cannot be described now: nobody answers" in str(laser.__doc__)
    assert str(inspect.signature(laser)) == "(*args: 'Any', **kwargs: 'Any') -> 'Any'"
    with pytest.raises(NoServerError):
        _ = laser.power


def test_objects_that_make_attributes_up(client: FakeClient) -> None:
    made = Proxy(client, "made")
    assert made.anything(1, 2) == ("anything", (1, 2))
    made.level = 5
    assert made.level is not None
    assert not hasattr(made, "_private")


def test_typed_annotations_are_served_as_text(laser: Proxy) -> None:
    assert inspect.signature(laser.stage.move).parameters["to"].annotation == "float"


def test_a_read_that_fails_is_tried_once(client: FakeClient, laser: Proxy) -> None:
    del client.laser.watts
    with pytest.raises(AttributeError, match=r"object has no attribute 'watts'"):
        _ = laser.power
    assert client.count["get"] == 1
    client.laser.watts = 1.0
    assert laser.power == 1.0


def test_nobody_reads_a_property_from_the_class(client: FakeClient, laser: Proxy) -> None:
    assert laser.power == 1.0
    cls = type(laser)
    seen = inspect.getattr_static(laser, "power")
    assert isinstance(seen, property)
    assert seen.__doc__ == "In watts."
    assert "set_power(watts" in help_text(cls)
    assert client.count["get"] == 1


# --- IPython ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def prompt(laser: Proxy) -> Any:
    completer = pytest.importorskip("IPython.core.completer")
    return completer.IPCompleter(namespace={"laser": laser})


@pytest.mark.parametrize("use_jedi", [False, True])
@pytest.mark.filterwarnings("ignore")
def test_tab_completion_reads_nothing(client: FakeClient, prompt: Any, use_jedi: bool) -> None:
    completer_module = pytest.importorskip("IPython.core.completer")
    prompt.use_jedi = use_jedi
    for line in (
        "laser.",
        "laser.po",
        "laser.power.",
        "laser.power_max.re",
        "laser.stage.",
        "laser.stage.mo",
        "laser.set_power(",
    ):
        with completer_module.provisionalcompleter():
            list(prompt.completions(line, len(line)))
    with completer_module.provisionalcompleter():
        found = {completion.text.lstrip(".") for completion in prompt.completions("laser.po", 8)}
    assert {"power", "power_max"} <= found
    assert client.count["get"] == client.count["call"] == client.count["set"] == 0


def test_a_question_mark_reads_nothing(client: FakeClient, laser: Proxy) -> None:
    oinspect = pytest.importorskip("IPython.core.oinspect")
    themed = "theme_name" in inspect.signature(oinspect.Inspector).parameters
    inspector = oinspect.Inspector(theme_name="nocolor") if themed else oinspect.Inspector()
    shown = inspector.info(laser, oname="laser")
    assert "A laser." in shown["docstring"]
    shown = inspector.info(laser.set_power, oname="laser.set_power")
    assert "Set the power." in shown["docstring"]
    assert "watts: 'float'" in shown["definition"]
    assert client.count["get"] == client.count["call"] == 0
