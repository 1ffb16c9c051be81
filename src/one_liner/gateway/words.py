"""Arguments as words of a query, and whether they are what a method says that it takes."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any

from pydantic import TypeAdapter, ValidationError
from starlette.requests import Request

from one_liner.aio import MethodDescription, ParameterDescription
from one_liner.errors import BadArgumentsError
from one_liner.gateway.annotations import is_scalar, type_of
from one_liner.gateway.calls import ARRAY, STORE, Target
from one_liner.gateway.gateway import Gateway
from one_liner.gateway.rigs import find_object

_PYTHON_WORDS = {"True": True, "False": False, "None": None}


class Word(str):
    """A word of a query, which has not been read yet."""

    __slots__ = ()


def read_word(word: str) -> Any:
    """A value from a word: JSON where it is JSON, `True`, `False` and `None` as Python has them, text otherwise."""
    if word in _PYTHON_WORDS:
        return _PYTHON_WORDS[word]
    if word.startswith(f"{ARRAY}:") and word[len(ARRAY) + 1 :].isdecimal():
        return {ARRAY: int(word[len(ARRAY) + 1 :])}
    try:
        return json.loads(word)
    except (ValueError, RecursionError):
        return str(word)


def query_words(gateway: Gateway, request: Request) -> tuple[list[Any], dict[str, Any]]:
    """Arguments from a query, unread: by name, those called `args` by position.

    Raises:
        BadArgumentsError: one is given twice.
    """
    args: list[Any] = []
    kwargs: dict[str, Any] = {}
    for name, word in request.query_params.multi_items():
        if name == STORE or (name == "token" and not gateway.access.open):
            continue
        if name == "args":
            args.append(Word(word))
        elif name in kwargs:
            raise BadArgumentsError(f"{name} is given twice")
        else:
            kwargs[name] = Word(word)
    return args, kwargs


def checked(target: Target, args: Sequence[Any], kwargs: Mapping[str, Any]) -> tuple[list[Any], dict[str, Any]]:
    """The arguments, with words read, if those that have to be a number, a text or the like are that.

    What is not described, and whatever is no single value, is the method's own business.

    Raises:
        BadArgumentsError: one is not what the method says it takes.
    """
    parameters = _parameters(target)
    by_position = [one for one in parameters if one.kind.startswith("positional")]
    by_name = {one.name: one for one in parameters if one.kind != "positional_only"}
    given = [
        _checked(value, by_position[index] if index < len(by_position) else None) for index, value in enumerate(args)
    ]
    return given, {name: _checked(value, by_name.get(name)) for name, value in kwargs.items()}


def _parameters(target: Target) -> Sequence[ParameterDescription]:
    described = None if target.rig.description is None else find_object(target.rig.description, target.obj_name)
    member = None if described is None else described.find(target.attr_name)
    return (member.parameters or ()) if isinstance(member, MethodDescription) else ()


def _checked(value: Any, parameter: ParameterDescription | None) -> Any:
    readings = list(_readings(value))
    adapter = None if parameter is None else _adapter(parameter.annotation)
    if adapter is None or parameter is None:
        return readings[0]
    problem = ""
    for reading in readings:
        if reading is None and parameter.has_default and parameter.default is None:
            return None
        try:
            return adapter.validate_python(reading)
        except ValidationError as error:
            problem = problem or error.errors()[0]["msg"]
    raise BadArgumentsError(f"{parameter.name} is to be {parameter.annotation}, not {value!r:.100}: {problem}")


def _readings(value: Any) -> Iterator[Any]:
    if isinstance(value, Word):
        yield read_word(value)
        yield str(value)
    else:
        yield value


@lru_cache(1000)
def _adapter(annotation: str | None) -> TypeAdapter[Any] | None:
    """Checks a single value; None where anything may be meant."""
    found = type_of(annotation) if is_scalar(annotation) else Any
    return None if found is Any else TypeAdapter(found)
