"""The pythonic window on a remote object: `laser.power = 5` instead of `client.set("laser", "power", 5)`.

A proxy knows the object by its description, fetched when the first public name is asked for, and never reads anything
of the instrument to find out what is there: `dir()`, `help()`, tab completion and signatures come from the description.
"""

from __future__ import annotations

from collections.abc import Callable
from difflib import get_close_matches
from inspect import Signature
from typing import Any, NoReturn, Protocol

from one_liner.errors import NotCarriableError, NotExposedError, OneLinerError, UnknownAttributeError
from one_liner.rpc.description import MethodDescription, ObjectDescription, PropertyDescription


class Caller(Protocol):
    """What a proxy needs of a client."""

    def call(self, obj_name: str, attr_name: str, args: Any, kwargs: Any, /) -> Any:
        """Call a method."""

    def get(self, obj_name: str, attr_name: str, /) -> Any:
        """Read a property."""

    def set(self, obj_name: str, attr_name: str, value: Any, /) -> None:
        """Set a property."""

    def describe_object(self, obj_name: str, /) -> ObjectDescription:
        """Ask for the description of an object."""


class Proxy:
    """A remote object, as if it were here.

    Methods are called, properties read and set, nested objects walked into, and the object itself called if it can
    be. Each of these is one request, with the client's own timeout and errors. Names that start with an underscore are
    never asked for remotely. An unknown name is an `UnknownAttributeError`, which is an `AttributeError`, raised only
    after the description was fetched anew.

    A proxy may be used from any thread that may use its client. It holds no connection: two of the same client and
    object are equal, a copy is the proxy itself, and pickling is refused.
    """

    __slots__ = ("_caller", "_description", "_name", "_properties")

    _caller: Caller
    _name: str
    _description: ObjectDescription | None
    # The names to read remotely; None before the proxy has taken the shape of its description.
    _properties: frozenset[str] | None

    def __new__(cls, caller: Caller, obj_name: str, description: ObjectDescription | None = None) -> Proxy:
        """Nothing is asked for yet."""
        self = object.__new__(_ShapedProxy)
        object.__setattr__(self, "_caller", caller)
        object.__setattr__(self, "_name", obj_name)
        object.__setattr__(self, "_description", description)
        object.__setattr__(self, "_properties", None)
        return self

    def __getattr__(self, name: str) -> Any:
        if name[:1] == "_":
            raise AttributeError(f"{name!r} is private: it cannot be reached through a proxy")
        properties = self._properties
        if properties is None or name not in properties:
            found = _look_up(self, name)
            if found is None:
                return _made_up(self, name)
            if not isinstance(found, PropertyDescription):
                return object.__getattribute__(self, name)
        return _read(self, name)

    def __setattr__(self, name: str, value: Any) -> None:
        if name[:1] == "_":
            raise AttributeError(f"{name!r} is private: it cannot be set through a proxy")
        properties = self._properties
        if properties is None or name not in properties:
            _look_up(self, name)
        self._caller.set(self._name, name, value)

    def __delattr__(self, name: str) -> NoReturn:
        raise AttributeError(f"{name!r} cannot be deleted through a proxy")

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Call the object itself."""
        return self._caller.call(self._name, "__call__", list(args), kwargs)

    def __dir__(self) -> list[str]:
        try:
            return _described(self).names()
        except OneLinerError:
            # Completing a name is no place for errors; using it is.
            return []

    def __repr__(self) -> str:
        known = self._description
        return f"<proxy of {self._name!r}{f', {known.type}' if known is not None and known.type else ''}>"

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Proxy):
            return NotImplemented
        return self._caller is other._caller and self._name == other._name

    def __hash__(self) -> int:
        return hash((id(self._caller), self._name))

    def __copy__(self) -> Proxy:
        return self

    def __deepcopy__(self, _memo: Any) -> Proxy:
        return self

    def __reduce_ex__(self, _protocol: Any) -> NoReturn:
        raise TypeError(f"a proxy cannot be pickled: over there, make one with client.proxy({self._name!r})")


# Functions from here on, not methods: every name of the class would be one less for the remote object, or one more for
# whoever looks into a proxy.


def _documentation(proxy: Proxy) -> str:
    try:
        return str(_described(proxy))
    except OneLinerError as error:
        return f"{proxy._name} cannot be described now: {error}"


def _signature(proxy: Proxy) -> Signature:
    try:
        own = _described(proxy).callable
    except OneLinerError:
        own = None
    if own is None:
        raise AttributeError("__signature__")
    return own.signature()


# What the class of every proxy holds. It stands apart from `Proxy` so that `Proxy` has a text of its own as
# documentation and each instance that of its object: `help` and IPython look at the instance when the two differ.
_OF_ALL: dict[str, Any] = {
    "__slots__": (),
    "__module__": __name__,
    "__qualname__": "Proxy",
    "__doc__": property(_documentation),
    "__signature__": property(_signature),
}
_ShapedProxy: type[Proxy] = type("Proxy", (Proxy,), _OF_ALL)


def _described(proxy: Proxy) -> ObjectDescription:
    known = proxy._description
    if known is None:
        return _fetch(proxy)
    if proxy._properties is None:
        _shape(proxy, known)
    return known


def _fetch(proxy: Proxy) -> ObjectDescription:
    fresh = proxy._caller.describe_object(proxy._name)
    _shape(proxy, fresh)
    return fresh


def _shape(proxy: Proxy, description: ObjectDescription) -> None:
    """Give the proxy a class that has what is described.

    Completers ask the class before they touch the instance, and see there that a property is one: they need not read
    it to find out.
    """
    caller, name = proxy._caller, proxy._name
    contents: dict[str, Any] = {one.name: _unread(one) for one in description.properties}
    contents |= {one.name: staticmethod(_method(caller, name, one)) for one in description.methods}
    contents |= {one.name: Proxy(caller, f"{name}.{one.name}", one) for one in description.objects}
    public = {name: member for name, member in contents.items() if name[:1] != "_"}
    object.__setattr__(proxy, "__class__", type("Proxy", (Proxy,), public | _OF_ALL))
    object.__setattr__(proxy, "_description", description)
    object.__setattr__(proxy, "_properties", frozenset(one.name for one in description.properties))


def _look_up(proxy: Proxy, name: str) -> MethodDescription | PropertyDescription | ObjectDescription | None:
    """What the description says of a name; None when the object may make it up."""
    was_known = proxy._description is not None
    description = _described(proxy)
    found = description.find(name)
    if found is None and was_known:
        # The object may have changed since.
        description = _fetch(proxy)
        found = description.find(name)
    if found is None and not description.dynamic:
        close = get_close_matches(name, description.names())
        hint = f"did you mean {' or '.join(map(repr, close))}?" if close else "dir() lists what it has"
        raise UnknownAttributeError(f"{proxy._name} has no attribute {name!r}; {hint}")
    return found


def _read(proxy: Proxy, name: str) -> Any:
    """The value of a property; where that is an object that cannot travel, a proxy of it."""
    try:
        return proxy._caller.get(proxy._name, name)
    except NotCarriableError as error:
        if error.path != "result":
            raise
        return Proxy(proxy._caller, f"{proxy._name}.{name}")


def _made_up(proxy: Proxy, name: str) -> Any:
    """What only the object's own code can find: its value, or the method that it turns out to be."""
    try:
        return _read(proxy, name)
    except NotExposedError as error:
        if isinstance(error, UnknownAttributeError):
            raise
        return _method(proxy._caller, proxy._name, MethodDescription(name))


# What a completer may take a property for, without reading it, and complete further.
_KNOWN_TYPES = {cls.__name__: cls for cls in (bool, int, float, complex, str, bytes, list, tuple, dict, set)}


def _unread(described: PropertyDescription) -> property:
    """A property for those who only look; whoever gets it is sent on to `Proxy.__getattr__`, which reads once."""

    def read(_proxy: Proxy) -> NoReturn:
        raise AttributeError(described.name)

    read.__annotations__ = {"return": _KNOWN_TYPES.get(described.type or "", object)}
    return property(read, doc=described.doc or None)


def _method(caller: Caller, obj_name: str, described: MethodDescription) -> Callable[..., Any]:
    """A real function, so that `help`, IPython and editors show it as one."""
    name = described.name

    def method(*args: Any, **kwargs: Any) -> Any:
        return caller.call(obj_name, name, list(args), kwargs)

    method.__name__ = name
    method.__qualname__ = f"{obj_name}.{name}"
    method.__doc__ = described.doc or None
    method.__signature__ = described.signature()  # type: ignore[attr-defined]
    return method
