"""Whom a callable belongs to, as far as that can be seen without running any code: methods, partials, wrappers."""

from __future__ import annotations

import functools
import sys
import types
from collections.abc import Iterator
from typing import Any, Final

from one_liner.rpc.members import MISSING, find, instance_dict, is_class, is_function, is_module, module_name

MAX_UNWRAPPED: Final = 32
MAX_SEARCHED: Final = 5000


def carrier_of(obj: Any) -> Any:
    """The object that is acted on when `obj` is called: itself, or the one that it is a method of."""
    inner = obj
    for _ in range(MAX_UNWRAPPED):
        if issubclass(type(inner), functools.partial):
            inner = inner.func
        elif issubclass(type(inner), (types.MethodType, types.BuiltinMethodType)) and inner.__self__ is not None:
            owner = inner.__self__
            return obj if is_module(owner) else owner
        else:
            break
    return obj


def bound_to(func: Any) -> tuple[Any, str]:
    """Whom a callable belongs to, and under which name."""
    if issubclass(type(func), (types.MethodType, types.BuiltinMethodType)) and func.__self__ is not None:
        return func.__self__, name_of(func)
    if issubclass(type(func), functools.partial) and func.args and is_function(func.func):
        # partial(Camera.grab, camera): the object is the first argument of its own method.
        owner, name = func.args[0], name_of(func.func)
        if find(owner, name)[0] is func.func:
            return owner, name
    if issubclass(type(func), types.FunctionType):
        module = sys.modules.get(module_name(func))
        if module is not None and vars(module).get(name_of(func)) is func:
            return module, name_of(func)
    return func, ""


def unwrapped(func: Any) -> Any:
    """What a partial or a decorator has inside; MISSING when it is neither."""
    if issubclass(type(func), functools.partial):
        return func.func
    return instance_dict(func).get("__wrapped__", MISSING)


def name_of(func: Any) -> str:
    """What a callable is called; one without a name after its class."""
    if issubclass(type(func), functools.partial):
        return name_of(func.func)
    if is_function(func) or is_class(func):
        return str(getattr(func, "__name__", type(func).__name__))
    return type(func).__name__


def children(obj: Any) -> Iterator[tuple[str, Any]]:
    """What an object holds, private or not, as far as it can be seen without running code."""
    if is_container(obj) and type(obj) is not dict:
        yield from (("", item) for item in list(obj)[:MAX_SEARCHED])
    elif type(obj) is dict:
        yield from (("", item) for item in list(obj.values())[:MAX_SEARCHED])
    else:
        yield from list((vars(obj) if is_module(obj) else instance_dict(obj)).items())
        for base in type(obj).__mro__:
            for name, static in list(base.__dict__.items()):
                if type(static) is types.MemberDescriptorType and name != "__dict__":
                    try:
                        yield name, static.__get__(obj, type(obj))
                    except AttributeError:
                        continue


def is_container(obj: Any) -> bool:
    """Whether it is one of the containers that can be looked into without running code."""
    return type(obj) in (list, tuple, set, frozenset, dict)
