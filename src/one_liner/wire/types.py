"""Which classes travel as themselves: the registry, and enumerations.

Here lives the knowledge about classes of the user: `register_type` tells how one is taken apart and put together, and
an enumeration member is found again by the name of its class. Nothing here packs a byte: that is `wire.writer`.
Nothing that arrives can cause an import: a class is found only when it was registered, or, for enumerations, when its
module is loaded already.
"""

from __future__ import annotations

import enum
import sys
import threading
from collections import Counter, OrderedDict, defaultdict
from collections.abc import Callable, Iterator, Mapping
from types import ModuleType, NoneType
from typing import Any, TypeVar, cast, overload

from one_liner.errors import ConfigurationError
from one_liner.frozen import Frozen
from one_liner.wire import scalars

T = TypeVar("T")
Dumpers = dict[type, tuple[int, Callable[[Any], bytes]]]

# Python keeps every combination of flags for good once it was made, so a stranger may not make any number of them.
MAX_FLAG_MEMBERS = 4096
MAX_FLAG_BITS = 1024

_CARRIED: frozenset[type] = frozenset((NoneType, bool, float, str, bytes, bytearray, memoryview)).union(
    (list, tuple, dict, set, frozenset, slice, OrderedDict, defaultdict, Counter), scalars.DUMPERS
)


class Refusal(Exception):
    """Inside the encoder only: `value` cannot be carried, and why; an empty reason means that its type is unknown."""

    def __init__(self, value: Any, reason: str = "", *, too_deep: bool = False) -> None:
        super().__init__(reason)
        self.value = value
        self.reason = reason
        self.too_deep = too_deep


class Registration(Frozen):
    """How one class travels.

    Attributes:
        cls: the class.
        name: what it is called on the wire.
        dump: takes an instance apart into something that can be carried; None for an enumeration.
        load: puts an instance together again; None for an enumeration.
        named: whether what `dump` gives are the fields of the instance, so that an error can name one.
    """

    cls: type
    name: str
    dump: Callable[[Any], Any] | None = None
    load: Callable[[Any], Any] | None = None
    named: bool = False


_lock = threading.Lock()
_by_type: dict[type, Registration] = {}
_by_name: dict[str, Registration] = {}


def registration_of(cls: type) -> Registration | None:
    """How this very class travels, or None; its base classes do not count."""
    return _by_type.get(cls)


def registration_named(name: str) -> Registration | None:
    """The registration under this name on the wire, or None."""
    return _by_name.get(name)


def library_dumpers(cls: type) -> Dumpers:
    """What writes the values of `one_liner.wire.library`; nothing when this class cannot be among them."""
    if cls.__module__.partition(".")[0] not in scalars.LIBRARY_MODULES:
        return {}
    from one_liner.wire import library  # Takes six milliseconds, and most programs carry none of its values.

    return library.DUMPERS


def name_of(cls: type) -> str:
    """The full name of a class, as Python would import it; builtins without their module."""
    return cls.__qualname__ if cls.__module__ == "builtins" else f"{cls.__module__}.{cls.__qualname__}"


@overload
def register_type(
    cls: type[T],
    *,
    name: str | None = None,
    encode: Callable[[T], Any] | None = None,
    decode: Callable[[Any], T] | None = None,
) -> type[T]: ...


@overload
def register_type(
    cls: None = None,
    *,
    name: str | None = None,
    encode: Callable[[Any], Any] | None = None,
    decode: Callable[[Any], Any] | None = None,
) -> Callable[[type[T]], type[T]]: ...


def register_type(
    cls: type[T] | None = None,
    *,
    name: str | None = None,
    encode: Callable[[T], Any] | None = None,
    decode: Callable[[Any], T] | None = None,
) -> type[T] | Callable[[type[T]], type[T]]:
    """Let instances of a class travel as what they are; to be said on both ends, with the same name.

    Works as a decorator too, with or without arguments. Dataclasses, pydantic models, named tuples and enumerations
    need nothing but the class. A dataclass is made again by calling it with its `init` fields, a pydantic model by
    `model_validate`, so both check what arrives. Fields may hold anything that can be carried. Private attributes of
    a pydantic model and a dataclass's `InitVar` do not travel.

    Only the very class travels: a subclass has to be registered itself. May be called at any time, from any thread.

    Args:
        cls: the class.
        name: what it is called on the wire; default is its module and qualified name, `rig.stage.Position`. Give one
            when the class sits in `__main__` or in different modules on the two ends.
        encode: for any other class: what makes of an instance something that can be carried.
        decode: for any other class: what makes an instance of that again. It gets what a stranger may have sent.

    Returns:
        The class itself.

    Raises:
        ConfigurationError: the class is of no known kind and came without both functions, it is carried anyhow, or
            the name is taken by another class. Registering the same class again, also one that was defined anew
            under its module and name, replaces the old registration.
    """
    if cls is None:
        return lambda decorated: register_type(decorated, name=name, encode=encode, decode=decode)
    if not isinstance(cls, type):
        raise ConfigurationError(f"register_type takes a class, not {cls!r}")
    if cls in _CARRIED or cls in library_dumpers(cls):
        raise ConfigurationError(f"<{name_of(cls)}> is carried as it is and can't be registered")
    registration = _examine(cls, f"{cls.__module__}.{cls.__qualname__}" if name is None else name, encode, decode)
    with _lock:
        taken = _by_name.get(registration.name)
        if taken is not None and taken.cls is not cls and name_of(taken.cls) != name_of(cls):
            raise ConfigurationError(
                f"the name {registration.name!r} is taken by <{name_of(taken.cls)}>; give <{name_of(cls)}> another name"
            )
        before = _by_type.get(cls)
        if before is not None:
            del _by_name[before.name]
        if taken is not None:
            _by_type.pop(taken.cls, None)
        _by_type[cls] = _by_name[registration.name] = registration
    return cls


def _examine(
    cls: type, name: str, encode: Callable[[Any], Any] | None, decode: Callable[[Any], Any] | None
) -> Registration:
    if (encode is None) != (decode is None):
        raise ConfigurationError(f"<{name_of(cls)}> needs both encode and decode, or neither")
    if encode is not None:
        return Registration(cls, name, encode, decode)
    if issubclass(cls, enum.Enum):
        return Registration(cls, name)
    if hasattr(cls, "model_fields") and hasattr(cls, "model_validate"):
        return _examine_model(cls, name)
    if hasattr(cls, "__dataclass_fields__"):
        return _examine_dataclass(cls, name)
    if issubclass(cls, tuple) and hasattr(cls, "_fields"):
        fields = cls._fields
        return Registration(
            cls,
            name,
            lambda value: dict(zip(fields, value, strict=True)),
            lambda content: cls(**_fields_in(content)),
            named=True,
        )
    raise ConfigurationError(
        f"<{name_of(cls)}> is no dataclass, pydantic model, named tuple or enumeration; give encode and decode with it"
    )


def _examine_dataclass(cls: Any, name: str) -> Registration:
    import dataclasses  # Loaded already, by whoever made one.

    fields = dataclasses.fields(cls)
    names = [field.name for field in fields]
    later = [field.name for field in fields if not field.init]

    def dump(value: Any) -> dict[str, Any]:
        return {field: getattr(value, field) for field in names if hasattr(value, field)}

    def load(content: Any) -> Any:
        content = _fields_in(content)
        set_later = {field: content.pop(field) for field in later if field in content}
        value = cls(**content)
        for field, item in set_later.items():
            object.__setattr__(value, field, item)  # the class may be frozen
        return value

    return Registration(cls, name, dump, load, named=True)


def _examine_model(cls: Any, name: str) -> Registration:
    if getattr(cls, "__pydantic_root_model__", False):
        return Registration(cls, name, lambda value: value.root, cls.model_validate)
    import inspect  # Likewise.

    by_name = "by_name" in inspect.signature(cls.model_validate).parameters  # since pydantic 2.11

    def dump(value: Any) -> dict[str, Any]:
        content = {field: getattr(value, field) for field in cls.model_fields}
        content.update(value.model_extra or {})
        return content

    def load(content: Any) -> Any:
        content = _fields_in(content)
        if by_name:
            return cls.model_validate(content, by_name=True)
        for field, info in cls.model_fields.items():
            alias = info.validation_alias or info.alias
            if isinstance(alias, str) and field in content and not cls.model_config.get("populate_by_name"):
                content[alias] = content.pop(field)
        return cls.model_validate(content)

    return Registration(cls, name, dump, load, named=True)


def _fields_in(content: Any) -> dict[str, Any]:
    if type(content) is not dict or not all(type(key) is str for key in content):
        raise ValueError("not the fields of a class")
    return content


# --- enumerations ----------------------------------------------------------------------------------------------------


class EnumValue(Frozen):
    """A member of an enumeration whose class this process has not loaded.

    Equals the member that it stands for, wherever that is known, and can be sent on. Register the class with
    `one_liner.register_type`, or import it, to receive the member itself.

    Attributes:
        type_name: the class it belongs to: `rig.laser.Mode`.
        name: the member's name; None for a combination of flags that has none.
        value: the member's value; None when that could not be carried.
    """

    type_name: str
    name: str | None
    value: Any

    def __eq__(self, other: object) -> bool:
        if isinstance(other, enum.Enum):
            other = EnumValue(*parts_of_member(other))
        if not isinstance(other, EnumValue):
            return NotImplemented
        return (self.type_name, self.name, self.value) == (other.type_name, other.name, other.value)

    def __hash__(self) -> int:
        return hash(self.name)  # as a member of a plain Enum does

    def __str__(self) -> str:
        return f"{self.type_name.rpartition('.')[2]}.{self.name if self.name is not None else self.value}"


def parts_of_member(member: enum.Enum) -> tuple[str, str | None, Any]:
    """The name of a member's class on the wire, the member's name and its value."""
    cls = type(member)
    registration = _by_type.get(cls)
    type_name = f"{cls.__module__}.{cls.__qualname__}" if registration is None else registration.name
    return type_name, cast("str | None", member._name_), member._value_


def find_member(type_name: str, name: str | None, value: Any) -> enum.Enum | EnumValue:
    """The member that is meant, or an `EnumValue` in its place; imports nothing."""
    cls = _find_enum(type_name)
    member: enum.Enum | None = None
    if cls is not None and issubclass(cls, enum.Flag):
        member = _flags(cls, value)
    elif cls is not None and name is not None:
        member = cls.__members__.get(name)
    return EnumValue(type_name, name, value) if member is None else member


def _flags(cls: type[enum.Flag], value: Any) -> enum.Flag | None:
    if type(value) is not int or value.bit_length() > MAX_FLAG_BITS:
        return None
    known = cls._value2member_map_
    if value not in known and len(known) >= MAX_FLAG_MEMBERS:
        return None
    try:
        return cls(value)
    except Exception:  # the class may have rules of its own, and code
        return None


def _find_enum(type_name: str) -> type[enum.Enum] | None:
    registration = _by_name.get(type_name)
    if registration is not None:
        return registration.cls if issubclass(registration.cls, enum.Enum) else None
    parts = type_name.split(".", 32)
    for split in range(len(parts) - 1, 0, -1):
        module = sys.modules.get(".".join(parts[:split]))
        if isinstance(module, ModuleType):
            found = _look_up(module, parts[split:])
            return cast("type[enum.Enum]", found) if isinstance(found, enum.EnumMeta) else None
    return None


def _look_up(module: ModuleType, names: list[str]) -> Any:
    # Past every __getattr__: modules that load their parts lazily would import them.
    found: Any = object.__getattribute__(module, "__dict__").get(names[0])
    for name in names[1:]:
        if not isinstance(found, type):
            return None
        found = cast("Mapping[str, Any]", type.__getattribute__(found, "__dict__")).get(name)
    return found


def parts_of(registration: Registration, value: Any) -> Iterator[tuple[str, Any]]:
    """What an instance of a registered class consists of, each with the way to it as Python would write it."""
    if registration.dump is not None:
        content = registration.dump(value)
        if registration.named:
            yield from ((f".{name}", item) for name, item in content.items())
        else:
            yield "", content
