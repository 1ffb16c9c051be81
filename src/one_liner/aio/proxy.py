"""`AsyncProxy`: a remote object whose members are awaited."""

from __future__ import annotations

from collections.abc import Awaitable, Generator
from typing import Any, Protocol


class AsyncCaller(Protocol):
    """What a proxy needs of a client."""

    def call(self, obj_name: str, attr_name: str, args: Any, kwargs: Any, /) -> Awaitable[Any]:
        """Call a method."""

    def get(self, obj_name: str, attr_name: str, /) -> Awaitable[Any]:
        """Read a property."""


class AsyncProxy:
    """A remote object, or something in one: call it, or await it to read it.

    `await laser.set_power(5)` · `await laser.power` · `await rig.stage.move(1.0)` · `await laser.set("power", 5)` is
    the method `set` of the laser; to set a property say `await client.set("laser", "power", 5)`.
    """

    __slots__ = ("_attr_name", "_client", "_obj_name")

    _client: AsyncCaller
    _obj_name: str
    _attr_name: str | None

    def __init__(self, client: AsyncCaller, obj_name: str, attr_name: str | None = None) -> None:
        object.__setattr__(self, "_client", client)
        object.__setattr__(self, "_obj_name", obj_name)
        object.__setattr__(self, "_attr_name", attr_name)

    def __getattr__(self, name: str) -> AsyncProxy:
        if name[:1] == "_":
            raise AttributeError(f"{name!r} is private: it cannot be reached through a proxy")
        return AsyncProxy(self._client, self._path(), name)

    def __setattr__(self, name: str, value: Any) -> None:
        raise AttributeError(f'nothing can be awaited here: say `await client.set("{self._path()}", "{name}", …)`')

    def __call__(self, *args: Any, **kwargs: Any) -> Awaitable[Any]:
        """Call it; await what this gives."""
        return self._client.call(self._obj_name, self._attr_name or "__call__", list(args), kwargs)

    def __await__(self) -> Generator[Any, None, Any]:
        if self._attr_name is None:
            raise TypeError(f"{self._obj_name!r} is an object, not a property: await one of its methods or properties")
        return self._client.get(self._obj_name, self._attr_name).__await__()

    def __repr__(self) -> str:
        return f"<async proxy of {self._path()!r}>"

    def _path(self) -> str:
        return self._obj_name if self._attr_name is None else f"{self._obj_name}.{self._attr_name}"
