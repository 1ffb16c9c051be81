"""What a periodic stream calls: an attribute of a served object by name, or a function that was handed in.

Either knows whose lane it has to take, so that a stream never reads an instrument while a call drives it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple, NoReturn, Protocol

from one_liner.errors import ConfigurationError, OneLinerError
from one_liner.rpc.exposure import Exposure
from one_liner.rpc.lanes import Lane


class Turn(NamedTuple):
    """What one tick will do, found out before it is done.

    Attributes:
        lane: whose turn to wait for; None when it may run beside everything.
        act: gives the value, or raises.
    """

    lane: Lane | None
    act: Callable[[], Any]


class Source(Protocol):
    """Gives one value per tick."""

    def turn(self) -> Turn:
        """What to do now; never raises and runs none of the object's code."""


class AttributeSource:
    """A method, property or attribute of a served object, found anew at every tick: it follows the name."""

    __slots__ = ("_args", "_attr_name", "_exposure", "_kwargs", "_path")

    def __init__(
        self, exposure: Exposure, path: str, attr_name: str, args: Sequence[Any], kwargs: Mapping[str, Any]
    ) -> None:
        self._exposure = exposure
        self._path, self._attr_name = path, attr_name
        self._args, self._kwargs = list(args), dict(kwargs)
        exposure.resolve(path, attr_name)

    def turn(self) -> Turn:
        """In the object's lane; where the object is gone, the error that says so."""
        exposure = self._exposure
        try:
            target = exposure.resolve(self._path, self._attr_name)
        except OneLinerError as error:
            return Turn(None, partial(_fail, error))
        return Turn(target.lane, lambda: exposure.call(target, self._args, self._kwargs))


class FunctionSource:
    """A function of the application; if it is a method of a served object, it takes that object's lane."""

    __slots__ = ("_args", "_exposure", "_function", "_generation", "_kwargs", "_turn")

    def __init__(
        self, exposure: Exposure, function: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any]
    ) -> None:
        if not callable(function):
            raise ConfigurationError(f"a stream needs a function to call, not {function!r}")
        self._exposure = exposure
        self._function = function
        self._args, self._kwargs = tuple(args), dict(kwargs)
        self._generation = -1
        self._turn = Turn(None, self._act)

    def turn(self) -> Turn:
        """In the lane of the object that the function belongs to, if that is served now."""
        generation = self._exposure.generation
        if generation != self._generation:
            # Looking for the object may take a walk through everything that is served.
            self._turn = Turn(self._exposure.lane_of(self._function)[0], self._act)
            self._generation = generation
        return self._turn

    def _act(self) -> Any:
        return self._function(*self._args, **self._kwargs)


def _fail(error: OneLinerError) -> NoReturn:
    raise error


def return_type_of(function: Any) -> str | None:
    """The return annotation of a function as text; None when it has none."""
    import inspect  # For those who have streams.

    try:
        annotation = inspect.signature(function).return_annotation
    except (TypeError, ValueError):
        return None
    if annotation is inspect.Signature.empty:
        return None
    if isinstance(annotation, str):
        return annotation
    return inspect.formatannotation(annotation)


def text_of(function: Any) -> str:
    """A function's name, for people."""
    return str(getattr(function, "__qualname__", None) or type(function).__qualname__)
