"""What to do about a value that cannot be carried: registering its class helps only where there is data in it."""

from __future__ import annotations

from array import array
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, ItemsView, Iterator, KeysView, ValuesView
from functools import partial
from types import BuiltinFunctionType, FunctionType, MethodType, ModuleType
from typing import Final

_OF_THIS_PROCESS: Final = frozenset(
    (
        *("_asyncio", "_ctypes", "_io", "_queue", "_socket", "_thread", "asyncio", "concurrent", "contextlib"),
        *("ctypes", "mmap", "multiprocessing", "queue", "select", "selectors", "socket", "ssl", "subprocess"),
        *("threading", "weakref", "zmq"),
    )
)
"""Modules whose objects are handles: of threads, files, connections, memory."""
_LIVES_HERE: Final = "it lives in this process only; serve the object that uses it, and call that"
_CODE: Final = "only data travels; serve it as an object, and call it there"
_BY_KIND: Final[tuple[tuple[tuple[type, ...], str], ...]] = (
    ((type, ModuleType, FunctionType, BuiltinFunctionType, MethodType, partial), _CODE),
    ((BaseException,), "raise it, or send its text"),
    ((Awaitable,), "it has to be awaited first"),
    ((AsyncIterator, AsyncGenerator, Iterator, KeysView, ItemsView, ValuesView, deque, array), "make a list of it"),
)


def advice(kind: type) -> str:
    """What to do about an instance of a class that cannot be carried, as the end of a sentence."""
    module = kind.__module__
    if module == "one_liner.rpc.proxy":
        return "it stands for a remote object; send the name of that"
    if module.partition(".")[0] in _OF_THIS_PROCESS:
        return _LIVES_HERE
    for kinds, text in _BY_KIND:
        if issubclass(kind, kinds):
            return text
    if any(base.__module__ == "numpy" and base.__name__ == "ndarray" for base in kind.__mro__):
        return "an array of this class is more than its numbers; send numpy.asarray(…), or register the class"
    return "register it with one_liner.register_type on both ends"
