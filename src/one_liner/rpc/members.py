"""What an object shows to the outside: its public methods, properties and nested objects, and the kinds of all these.

Everything here looks without touching: no property is evaluated, no `__getattr__` is asked, no foreign code runs. Both
the exposure and the description stand on it, so what is described is what can be reached.
"""

from __future__ import annotations

import functools
import sys
import types
from collections.abc import Iterable, Mapping, Sequence
from enum import Enum
from typing import Any, Final, Literal, NamedTuple


class _Missing:
    def __repr__(self) -> str:
        return "<missing>"


MISSING: Final[Any] = _Missing()
"""Stands where there is no value, or none that can be had without running the object's own code."""


# --- kinds of objects ------------------------------------------------------------------------------------------------

# Instances of the standard library's own types are machinery (locks, sockets, loggers, frames, functions) or values;
# these two are what people group and imitate instruments with.
_OPEN_STANDARD_MODULES = frozenset({"types", "unittest"})
_DATA_PACKAGES = frozenset({"numpy", "pandas", "polars", "xarray", "pydantic", "pydantic_core", "torch", "zmq"})
_VALUE_MODULES = frozenset(
    {"array", "collections", "datetime", "decimal", "fractions", "ipaddress", "pathlib", "uuid", "zoneinfo"}
)
_PRIMITIVES = (
    type(None), bool, int, float, complex, str, bytes, bytearray, memoryview,
    list, tuple, dict, set, frozenset, range,
)  # fmt: skip
_OWN_MACHINERY = (
    "one_liner.server",
    "one_liner.client",
    "one_liner.rpc.",
    "one_liner.streams",
    "one_liner.transport",
    "one_liner.commands.",
    "one_liner.events.",
)
_ROUTINES = (
    types.FunctionType,
    types.MethodType,
    types.BuiltinFunctionType,
    types.MethodWrapperType,
    types.MethodDescriptorType,
    types.WrapperDescriptorType,
    types.ClassMethodDescriptorType,
    staticmethod,
    classmethod,
    functools.partial,
    functools.partialmethod,
    functools.singledispatchmethod,
)
_BINDABLE = (types.FunctionType, types.MethodDescriptorType, types.ClassMethodDescriptorType, staticmethod, classmethod)


def is_function(obj: Any) -> bool:
    """Whether `obj` can be called and nothing else: functions, methods, partials, and what compilers make of them."""
    cls = type(obj)
    # Compiled functions of third parties have types of their own; what they share is that they bind as methods.
    return issubclass(cls, _ROUTINES) or (_on_type(cls, "__get__") and _on_type(cls, "__call__"))


def is_class(obj: Any) -> bool:
    """Whether `obj` is a class."""
    return issubclass(type(obj), type)


def is_module(obj: Any) -> bool:
    """Whether `obj` is a module."""
    return issubclass(type(obj), types.ModuleType)


def is_value(obj: Any) -> bool:
    """Whether `obj` is data and does nothing: numbers, text, containers, arrays, plain records."""
    cls = type(obj)
    if issubclass(cls, (*_PRIMITIVES, Enum)):
        return True
    if is_class(obj) or is_module(obj) or is_function(obj):
        return False
    if any(_package(base) in _DATA_PACKAGES or _package(base) in _VALUE_MODULES for base in cls.__mro__[:-1]):
        return not _has_own_methods(cls)
    return "__dataclass_fields__" in cls.__dict__ and not _has_own_methods(cls)


def is_passable(obj: Any) -> bool:
    """Whether a dotted path may lead through `obj` when it is not served under a name of its own."""
    cls = type(obj)
    if issubclass(cls, (*_PRIMITIVES, Enum, BaseException)) or is_class(obj) or is_module(obj) or is_function(obj):
        return False
    if _package(cls) in sys.stdlib_module_names:
        return _package(cls) in _OPEN_STANDARD_MODULES and (
            issubclass(cls, types.SimpleNamespace) or module_name(cls).startswith("unittest.mock")
        )
    module = module_name(cls)
    if module.startswith(_OWN_MACHINERY) and module != "one_liner.rpc.proxy":
        return False
    return not is_value(obj) and _package(cls) not in _DATA_PACKAGES


def is_dynamic(obj: Any) -> bool:
    """Whether the type of `obj` may make attributes up when asked, so that looking does not tell all."""
    cls = type(obj)
    return _on_type(cls, "__getattr__") or _getattribute_of(cls) not in _PLAIN_GETATTRIBUTES


def is_opaque(obj: Any) -> bool:
    """Whether not even what stands in `obj` is sure to be what one gets: its class answers all look-ups itself."""
    return type(_getattribute_of(type(obj))) is types.FunctionType


_PLAIN_GETATTRIBUTES = [vars(base)["__getattribute__"] for base in (object, type, types.ModuleType)]


def _getattribute_of(cls: type) -> Any:
    return next(base.__dict__["__getattribute__"] for base in cls.__mro__ if "__getattribute__" in base.__dict__)


def module_name(obj: Any) -> str:
    """Where a class or function says that it was defined; empty when it does not say."""
    try:
        name = obj.__module__
    except Exception:
        return ""
    return name if type(name) is str else ""


def _package(obj: Any) -> str:
    return module_name(obj).partition(".")[0]


def _on_type(cls: type, name: str) -> bool:
    return any(name in base.__dict__ for base in cls.__mro__)


def _has_own_methods(cls: type) -> bool:
    foreign = _DATA_PACKAGES | _VALUE_MODULES
    for base in cls.__mro__[:-1]:
        if _package(base) in foreign or _package(base) in sys.stdlib_module_names:
            continue
        if any(name[0] != "_" and is_function(value) for name, value in base.__dict__.items() if name):
            return True
    return False


# --- members of objects ----------------------------------------------------------------------------------------------


class Member(NamedTuple):
    """One attribute of an object as seen from outside, found without running any of the object's code.

    Attributes:
        kind: a method is called, a property read and perhaps written, an object walked into; the rest is closed:
            it may be asked for by name, but is neither described nor set (locks, sockets, loggers).
        static: what stands in the class or in the instance: a function, a property, or the value itself.
        value: the value, where it is a plain one; else `MISSING`.
        writable: whether it can be set, as far as that can be known.
    """

    kind: Literal["method", "property", "object", "closed"]
    static: Any
    value: Any = MISSING
    writable: bool = False


def member(owner: Any, name: str) -> Member | None:
    """What `owner.name` is; None when there is no such thing or it may not be reached."""
    if not name or name[0] == "_" or is_function(owner):
        return None
    static, holder = find(owner, name)
    if static is MISSING or (holder is not None and _package(holder) in _HIDING_PACKAGES):
        return None
    if is_module(owner) and not _is_exported(owner, name, static):
        return None
    if holder is None or not _on_type(type(static), "__get__"):
        return _plain_member(owner, static)
    if is_class(owner) and not issubclass(type(static), _ROUTINES):
        # What describes instances is no attribute of the class.
        return None
    return _descriptor_member(owner, static)


# pydantic gives every model methods that read files and unpickle; they are nobody's instrument.
_HIDING_PACKAGES = frozenset({"pydantic", "pydantic_core"})


def _plain_member(owner: Any, value: Any) -> Member:
    if is_class(value) or is_function(value):
        return Member("method", value, value)
    if is_module(value):
        own = is_module(owner) and is_submodule(owner, value)
        return Member("object" if own else "closed", value, value)
    if is_passable(value):
        return Member("object", value, value)
    if is_value(value):
        return Member("property", value, value, writable=not _is_frozen(owner))
    return Member("method" if callable(value) else "closed", value, value)


def _descriptor_member(owner: Any, static: Any) -> Member:
    cls = type(static)
    if issubclass(cls, property):
        return Member("property", static, writable=static.fset is not None)
    if issubclass(cls, functools.cached_property):
        return Member("property", static)
    if issubclass(cls, classmethod) and issubclass(type(static.__func__), property):
        return Member("property", static)
    if issubclass(cls, types.MemberDescriptorType):
        try:
            value = static.__get__(owner, type(owner))
        except AttributeError:
            return Member("property", static, writable=not _is_frozen(owner))
        return _plain_member(owner, value)._replace(static=static)
    if is_function(static):
        return Member("method", static)
    return Member("property", static, writable=_on_type(cls, "__set__"))


def may_make_up(owner: Any, name: str) -> bool:
    """Whether only the object itself can tell if it has this attribute, and may be asked."""
    if is_function(owner) or is_class(owner) or not name or name[0] == "_":
        return False
    if is_module(owner):
        exported = _all_of(owner)
        return exported is not None and name in exported and name not in vars(owner)
    return find(owner, name)[0] is MISSING and is_dynamic(owner)


def member_names(owner: Any) -> list[str]:
    """The public names that stand in `owner`, its type and the bases of that, in order of definition; runs no code."""
    names: dict[str, None] = {}
    if is_module(owner):
        exported = _all_of(owner)
        sources: Iterable[Iterable[Any]] = [list(vars(owner)) if exported is None else exported]
    elif is_class(owner):
        sources = [list(base.__dict__) for base in reversed(owner.__mro__[:-1])]
    else:
        sources = [list(base.__dict__) for base in reversed(type(owner).__mro__[:-1])]
        sources.append(list(instance_dict(owner)))
    for source in sources:
        names.update((name, None) for name in source if type(name) is str and name and name[0] != "_")
    return list(names)


def find(owner: Any, name: str) -> tuple[Any, type | None]:
    """The attribute as it stands, and the class that holds it; no class when it stands in the object itself."""
    if is_module(owner):
        return vars(owner).get(name, MISSING), None
    for holder in owner.__mro__ if is_class(owner) else type(owner).__mro__:
        if name in holder.__dict__:
            static = holder.__dict__[name]
            break
    else:
        static, holder = MISSING, None
    if is_class(owner):
        return static, holder
    own = instance_dict(owner)
    if name in own and not (static is not MISSING and _on_type(type(static), "__set__")):
        return own[name], None
    return static, holder


def instance_dict(obj: Any) -> Mapping[str, Any]:
    """What stands in the instance itself."""
    try:
        found = object.__getattribute__(obj, "__dict__")
    except Exception:
        return {}
    return found if type(found) is dict else {}


def _is_frozen(owner: Any) -> bool:
    return bool(getattr(getattr(type(owner), "__dataclass_params__", None), "frozen", False))


def _all_of(module: types.ModuleType) -> Sequence[Any] | None:
    exported = vars(module).get("__all__")
    return exported if isinstance(exported, (list, tuple)) else None


def is_submodule(module: types.ModuleType, other: types.ModuleType) -> bool:
    """Whether `other` is a part of the package `module`."""
    return str(vars(other).get("__name__", "")).startswith(str(vars(module).get("__name__", "")) + ".")


def _is_exported(module: types.ModuleType, name: str, value: Any) -> bool:
    exported = _all_of(module)
    if exported is not None:
        return name in exported
    if is_module(value):
        return is_submodule(module, value)
    if is_class(value) or is_function(value):
        home = _package(value)
        if not home and issubclass(type(value), types.BuiltinMethodType):
            home = _package(type(value.__self__))
        return home == str(vars(module).get("__name__", "")).partition(".")[0]
    return True


def bound_callable(owner: Any, found: Member) -> Any:
    """The method as it would be called, for its signature; binds only where that runs none of the object's code."""
    static = found.static
    if found.value is MISSING and issubclass(type(static), _BINDABLE):
        return static.__get__(None, owner) if is_class(owner) else static.__get__(owner, type(owner))
    return static
