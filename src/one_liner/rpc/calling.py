"""A function and what somebody sent as its arguments: whether they fit, what is added, and whose error it was."""

from __future__ import annotations

import inspect
import types
from collections.abc import Awaitable, Mapping, Sequence
from typing import Any

from one_liner.commands.job import unwatched_job
from one_liner.commands.parameter import Shape
from one_liner.errors import BadArgumentsError, UnknownAttributeError
from one_liner.rpc.members import is_function, is_value, member, member_names
from one_liner.rpc.signatures import signature_of, signature_text
from one_liner.rpc.target import Target
from one_liner.rpc.wording import a, hint, shown


def misfit(func: Any, args: Sequence[Any], kwargs: Mapping[str, Any], error: TypeError) -> str | None:
    """Why the arguments do not fit, with the signature in front; None when the function itself raised the error."""
    if _was_entered(func, error):
        return None
    signature = signature_of(func)
    if signature is None:
        return f"(...): {error}" if error.__traceback__ is not None and error.__traceback__.tb_next is None else None
    try:
        signature.bind(*args, **kwargs)
    except TypeError as reason:
        return f"{signature_text(signature)}: {reason}"
    return None


def _was_entered(func: Any, error: TypeError) -> bool:
    """Whether the function ran. A decorator around it may have, and handed on what does not fit."""
    frame = error.__traceback__ and error.__traceback__.tb_next
    if frame is None:
        return False
    outer = func.__func__ if issubclass(type(func), types.MethodType) else func
    inner = inspect.unwrap(outer) if is_function(outer) else outer
    if inner is outer or not issubclass(type(inner), types.FunctionType):
        return True
    code = inner.__code__
    while frame is not None:
        if frame.tb_frame.f_code is code:
            return True
        frame = frame.tb_next
    return False


def command_of(func: Any) -> Shape | None:
    """The shape of a function that asks for its job; None for any other."""
    shape = Shape.of(func)
    return None if shape.job is None else shape


def with_unwatched_job(
    shape: Shape, target: Target, args: Sequence[Any], kwargs: Mapping[str, Any]
) -> tuple[Sequence[Any], Mapping[str, Any]]:
    """The arguments of a function that asks for a job, and is simply called.

    Raises:
        BadArgumentsError: the caller's do not fit.
    """
    shape.check(shown(target.where), args, kwargs)
    return shape.with_job(unwatched_job(target.where), args, kwargs)


def read_instead(target: Target, value: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
    """What stands where a function was expected, as its value, where that can be what was meant.

    Raises:
        BadArgumentsError: there are arguments, and it is a property.
        UnknownAttributeError: it is an object, which cannot be called itself.
    """
    where = shown(target.where)
    if not target.name and not is_value(value):
        names = hint("", [name for name in member_names(value) if member(value, name)], "it has")
        raise UnknownAttributeError(f"{where} is {a(type(value).__name__)} and cannot be called itself; {names}")
    if args or kwargs:
        owner, _, name = target.where.rpartition(".")
        how = f": set it with set({owner!r}, {name!r}, value)" if owner else ""
        raise BadArgumentsError(f"{where} is a property and takes no arguments{how}")
    return value


def run(result: Awaitable[Any]) -> Any:
    """Wait for a coroutine, in an event loop of its own."""
    # Imported here, because it costs everybody else a third of the time that importing us may take.
    import asyncio

    async def finish() -> Any:
        return await result

    return asyncio.run(finish())
