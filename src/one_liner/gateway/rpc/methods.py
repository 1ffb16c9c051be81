"""What the other side may call: the public methods of an object, and the two that every channel has."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final, Protocol, Self

import anyio
import anyio.to_thread

from one_liner.errors import BadArgumentsError, ClosedError, NotExposedError, UnknownAttributeError

BUILT_IN: Final = ("_ping_", "_get_channel_id_")
"""The only names with an underscore that run."""

_MOST_THREADS: Final = 256

Result = tuple[Any, str]
"""A result, and the name of its type."""

Call = Callable[[Sequence[Any], dict[str, Any]], Awaitable[Result]]


class Caller(Protocol):
    """Who calls a method, as the method sees it: an `RpcChannel`."""

    @property
    def id(self) -> str:
        """32 hexadecimal digits."""

    @property
    def context(self) -> dict[str, Any]:
        """What belongs to the connection."""

    @property
    def other(self) -> Any:
        """`await channel.other.name(argument=1)` calls back."""

    @property
    def closed(self) -> bool:
        """Whether the connection has ended."""


class RpcMethods:
    """Base for methods of one's own: public ones, `async` or not, may be called by the other side, by keyword.

    Each connection gets a shallow copy, whose `channel` is that connection's. Those that are not `async` run on
    threads, up to 256 at once.
    """

    _channel: Caller | None = None

    @property
    def channel(self) -> Caller:
        """The connection that calls; `await self.channel.other.name(…)` calls back.

        Raises:
            ClosedError: this is not the copy of a connection.
        """
        if self._channel is None:
            raise ClosedError("these methods belong to no connection; each connection gets a copy")
        return self._channel

    def _bound_(self, channel: Caller) -> Self:
        """The copy for one connection."""
        bound = copy.copy(self)
        bound._channel = channel
        return bound

    def _find_(self, name: str) -> Call:
        """What runs under a name; those with an underscore have been refused before.

        Raises:
            UnknownAttributeError: nothing.
        """
        method = getattr(self, name, None)
        if name in vars(RpcMethods) or not callable(method):
            raise UnknownAttributeError(f"there is no method {name!r}")
        return _call_of(method)


class MethodsOf(RpcMethods):
    """The public methods of any object, which every connection shares.

    Args:
        target: the object.
    """

    def __init__(self, target: object) -> None:
        self._target = target

    def _find_(self, name: str) -> Call:
        method = getattr(self._target, name, None)
        if not callable(method):
            raise UnknownAttributeError(f"there is no method {name!r}")
        return _call_of(method)


def as_methods(methods: object) -> RpcMethods:
    """Methods of any kind as `RpcMethods`; None has the built-in ones alone."""
    if methods is None:
        return RpcMethods()
    return methods if isinstance(methods, RpcMethods) else MethodsOf(methods)


def find(methods: RpcMethods, name: str, channel: Caller) -> Call:
    """What runs under a name.

    Raises:
        NotExposedError: the name, or a part of it, begins with an underscore.
        UnknownAttributeError: nothing.
    """
    if name == "_ping_":
        return _giving("pong")
    if name == "_get_channel_id_":
        return _giving(channel.id)
    if any(part.startswith("_") for part in name.replace("/", ".").split(".")):
        raise NotExposedError(f"{name!r} begins with an underscore: it is private, and never runs")
    return methods._find_(name)


def _giving(text: str) -> Call:
    async def call(args: Sequence[Any], kwargs: dict[str, Any]) -> Result:
        if args or kwargs:
            raise BadArgumentsError("it takes no arguments")
        return text, "str"

    return call


def _call_of(method: Callable[..., Any]) -> Call:
    async def call(args: Sequence[Any], kwargs: dict[str, Any]) -> Result:
        signature = _signature(method)
        if signature is not None:
            try:
                signature.bind(*args, **kwargs)
            except TypeError as error:
                raise BadArgumentsError(f"{method.__name__}: {error}") from None
        if inspect.iscoroutinefunction(method):
            result = await method(*args, **kwargs)
        else:
            result = await anyio.to_thread.run_sync(lambda: method(*args, **kwargs), limiter=_limiter())
            if inspect.isawaitable(result):
                result = await result
        return result, _type_name(signature, result)

    return call


def _signature(method: Callable[..., Any]) -> inspect.Signature | None:
    try:
        return inspect.signature(method)
    except (TypeError, ValueError):
        return None  # Some compiled functions have none; they check their arguments themselves.


def _type_name(signature: inspect.Signature | None, result: Any) -> str:
    """What the method promises to return, or what it did return."""
    promised = inspect.Signature.empty if signature is None else signature.return_annotation
    if isinstance(promised, str):
        return promised
    if promised is inspect.Signature.empty:
        promised = type(result)
    return getattr(promised, "__name__", None) or str(promised)


_limiters: anyio.lowlevel.RunVar[anyio.CapacityLimiter] = anyio.lowlevel.RunVar("one_liner_rpc_threads")


def _limiter() -> anyio.CapacityLimiter:
    try:
        return _limiters.get()
    except LookupError:
        limiter = anyio.CapacityLimiter(_MOST_THREADS)
        _limiters.set(limiter)
        return limiter
