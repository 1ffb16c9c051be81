"""Values whose fields never change behave as frozen dataclasses do."""

from __future__ import annotations

import copy
import dataclasses
import inspect
import pickle
from typing import Any

import pytest

from one_liner.frozen import Frozen
from one_liner.keys import KeyPair
from one_liner.limits import Limits


class Place(Frozen):
    """Where something stands."""

    x: float
    y: float = 0.0
    name: str = ""

    def __post_init__(self) -> None:
        if self.x < 0:
            raise ValueError(f"x is negative: {self.x}")


class Named(Place):
    """One that says who put it there."""

    who: str = "nobody"


@dataclasses.dataclass(frozen=True)
class Twin:
    """The same as a dataclass, to compare with."""

    x: float
    y: float = 0.0
    name: str = ""


def test_fields_are_given_by_place_and_by_name() -> None:
    assert vars(Place(1.0)) == {"x": 1.0, "y": 0.0, "name": ""}
    assert vars(Place(name="a", x=1.0)) == {"x": 1.0, "y": 0.0, "name": "a"}
    assert vars(Place(1.0, 2.0, "b")) == {"x": 1.0, "y": 2.0, "name": "b"}
    assert Place.field_names() == ("x", "y", "name")


def test_a_subclass_adds_its_fields_behind() -> None:
    assert Named.field_names() == ("x", "y", "name", "who")
    assert vars(Named(1.0, who="me")) == {"x": 1.0, "y": 0.0, "name": "", "who": "me"}
    assert Place.field_names() == ("x", "y", "name")


@pytest.mark.parametrize(
    ("args", "kwargs", "message"),
    [
        ((), {}, "Place: missing a required argument: 'x'"),
        ((), {"y": 1.0}, "Place: missing a required argument: 'x'"),
        ((1.0, 2.0, "a", 3.0), {}, "Place: too many positional arguments"),
        ((1.0,), {"x": 1.0}, "Place: multiple values for argument 'x'"),
        ((1.0,), {"z": 1.0}, "Place: got an unexpected keyword argument 'z'"),
    ],
)
def test_fields_that_do_not_fit_are_refused(args: tuple[Any, ...], kwargs: dict[str, Any], message: str) -> None:
    with pytest.raises(TypeError, match=message):
        Place(*args, **kwargs)


def test_fields_are_checked_also_in_a_copy_with_other_values() -> None:
    with pytest.raises(ValueError, match="negative"):
        Place(-1.0)
    place = Place(1.0, name="a")
    assert place.__replace__(y=2.0) == Place(1.0, 2.0, "a")
    with pytest.raises(ValueError, match="negative"):
        place.__replace__(x=-1.0)


def test_nothing_changes() -> None:
    place = Place(1.0)
    for name in ("x", "z"):
        with pytest.raises(AttributeError, match=f"a Place never changes: cannot set '{name}'"):
            setattr(place, name, 2.0)
        with pytest.raises(AttributeError, match=f"a Place never changes: cannot delete '{name}'"):
            delattr(place, name)
    assert place == Place(1.0)


def test_two_are_equal_when_their_class_and_fields_are() -> None:
    assert Place(1.0, name="a") == Place(name="a", x=1.0)
    assert hash(Place(1.0, name="a")) == hash(Place(name="a", x=1.0))
    assert Place(1.0) != Place(2.0)
    assert Place(1.0) != Named(1.0)
    assert Place(1.0) != (1.0, 0.0, "")


def test_it_is_shown_and_taken_apart_as_a_dataclass_is() -> None:
    assert repr(Place(1.0, name="a")) == repr(Twin(1.0, name="a")).replace("Twin", "Place")
    match Named(1.0, 2.0):
        case Place(x, y):
            assert (x, y) == (1.0, 2.0)
        case _:
            pytest.fail("no match")


def test_copies_and_pickles_are_equal() -> None:
    place = Place(1.0, name="a")
    for other in (copy.copy(place), copy.deepcopy(place), pickle.loads(pickle.dumps(place))):
        assert other == place
        assert type(other) is Place


def test_help_shows_the_fields() -> None:
    assert str(inspect.signature(Place)) == str(inspect.signature(Twin)).removesuffix(" -> None")
    assert "message_bytes: 'int' = 1073741824" in str(inspect.signature(Limits))


def test_a_secret_is_not_shown() -> None:
    pair = KeyPair.new()
    assert pair.secret not in repr(pair)
    assert pair.public in repr(pair)
