"""A function and what somebody sent as its arguments: what is added to them, and what else may stand in its place."""

from __future__ import annotations

from collections.abc import Awaitable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from one_liner.commands.job import unwatched_job
from one_liner.errors import BadArgumentsError, UnknownAttributeError
from one_liner.rpc.members import is_value, member, member_names
from one_liner.rpc.target import Target
from one_liner.rpc.wording import a, hint, shown

if TYPE_CHECKING:
    from one_liner.commands.parameter import Shape


def shape_of(func: Any) -> Shape:
    """How anything that can be called is called; none of its code runs."""
    from one_liner.commands.parameter import Shape  # With `inspect`, 4 ms: for the first function, not for clients.

    return Shape.of(func)


def command_of(func: Any) -> Shape | None:
    """The shape of a function that asks for its job; None for any other."""
    shape = shape_of(func)
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
