"""How an exception travels.

A fault is a plain dict: the code of an error class of ours, or of `RemoteError` for whatever a served function
raised, with type name, message, arguments and traceback as text. Nothing is ever unpickled: on arrival the exception
is built anew from this data, as a subclass of the builtin type of that name where there is one.
"""

from __future__ import annotations

import builtins
import traceback
from typing import Any, TypedDict

from one_liner.errors import (
    MalformedError,
    NotCarriableError,
    OneLinerError,
    RemoteError,
    SourceFailedError,
    by_code,
)
from one_liner.wire.codec import Codec

_MAX_TRACEBACK_CHARACTERS = 20_000
_OUR_MODULES = ("one_liner.", "msgpack.", "zmq.")
_FACTS = ("filename", "filename2", "name", "path")
_REMOTE_CLASSES: dict[tuple[type[RemoteError], str], type[RemoteError]] = {}


class Fault(TypedDict):
    """What crosses the wire in place of an exception."""

    code: str
    message: str
    type: str
    args: list[Any]
    traceback: str
    where: str
    details: dict[str, Any]


def fault_of(error: BaseException, codec: Codec, where: str = "") -> Fault:
    """Describe an exception, so that the other side can raise it again.

    Args:
        error: what was raised.
        codec: tells which arguments can travel; the others are replaced by their `repr`.
        where: what was called, for people: `laser.set_power`.
    """
    try:
        return _described(error, codec, where)
    except BaseException as broken:
        # A foreign exception can be broken in every way; what matters is that its caller hears of it.
        return _plain_fault(error, f"<could not be described: {type(broken).__name__}>", where)


def _described(error: BaseException, codec: Codec, where: str) -> Fault:
    if isinstance(error, RemoteError):
        # Raised by a call to yet another server: pass on what happened there, not that we heard of it.
        return Fault(
            code=RemoteError.code,
            message=error.message,
            type=error.type_name,
            args=[_carriable(argument, codec) for argument in error.remote_args],
            traceback=error.remote_traceback,
            where=error.where or where,
            details=_facts(error),
        )
    if isinstance(error, OneLinerError) and not _is_foreign(error):
        return Fault(
            code=error.code,
            message=error.message,
            type=type(error).__name__,
            args=[],
            traceback="",
            where=where,
            details={key: _carriable(value, codec) for key, value in error.details.items()},
        )
    return Fault(
        code=RemoteError.code,
        message=_text(error),
        type=_type_name(type(error)),
        args=[_carriable(argument, codec) for argument in error.args],
        traceback=_traceback(error),
        where=where,
        details=_facts(error),
    )


def _plain_fault(error: BaseException, message: str, where: str) -> Fault:
    return Fault(
        code=RemoteError.code,
        message=message,
        type=_type_name(type(error)),
        args=[],
        traceback="",
        where=where,
        details={},
    )


def _is_foreign(error: OneLinerError) -> bool:
    """Whether a served function raised an error of ours, or of a class derived from ours: then it is *its* error.

    What we raise ourselves has frames of this library only, and of what it is built on. Passed on as ours, a driver's
    own trouble with a server that it is a client of would read as trouble with this one.
    """
    if type(error).__module__ != OneLinerError.__module__:
        return True
    frames = error.__traceback__
    while frames is not None:
        if not str(frames.tb_frame.f_globals.get("__name__", "")).startswith(_OUR_MODULES):
            return True
        frames = frames.tb_next
    return False


def error_of(fault: Any, *, of_sample: bool = False) -> OneLinerError:
    """Build the exception that a fault describes.

    Args:
        fault: decoded body of an ERROR or FAILURE message.
        of_sample: build a `SourceFailedError` where a call would give a `RemoteError`.

    Raises:
        MalformedError: this is no fault.
    """
    if not _is_fault(fault):
        raise MalformedError("an error arrived whose description cannot be read")
    code, message, where = fault["code"], fault["message"], fault["where"]
    type_name, arguments, trace = fault["type"], tuple(fault["args"]), fault["traceback"]
    details = fault["details"]
    if code != RemoteError.code:
        cls = by_code().get(code, OneLinerError)
        if of_sample:
            return _raised_remotely(SourceFailedError, cls.__name__, message, (message,), "", where)
        if cls is NotCarriableError:
            return _not_carriable(message, details)
        return _rebuilt(cls, message, details)
    base = SourceFailedError if of_sample else RemoteError
    error = _raised_remotely(base, type_name, message, arguments, trace, where)
    for name in _FACTS:
        if name in details and hasattr(error, name):
            setattr(error, name, details[name])
    return error


def _facts(error: BaseException) -> dict[str, Any]:
    """What builtin exceptions know beside their arguments."""
    if not isinstance(error, OSError | ImportError | NameError | AttributeError):
        return {}
    facts = {name: getattr(error, name, None) for name in _FACTS}
    return {name: value for name, value in facts.items() if isinstance(value, str | bytes | int)}


def _is_fault(fault: Any) -> bool:
    """Whether somebody's idea of a fault has everything of its kind; there may be more."""
    return (
        type(fault) is dict
        and all(type(fault.get(name)) is str for name in ("code", "message", "type", "traceback", "where"))
        and type(fault.get("args")) is list
        and type(fault.get("details")) is dict
        and all(type(key) is str for key in fault["details"])
    )


def _not_carriable(message: str, details: dict[str, Any]) -> NotCarriableError:
    path, type_name = (text if type(text) is str else "" for text in map(details.get, ("path", "type_name")))
    return NotCarriableError(message, path=path, type_name=type_name)


def _rebuilt(cls: type[OneLinerError], message: str, details: dict[str, Any]) -> OneLinerError:
    error = cls(message)
    error.details = details
    return error


def _raised_remotely(
    base: type[RemoteError], type_name: str, message: str, arguments: tuple[Any, ...], trace: str, where: str
) -> RemoteError:
    error = _remote_class(base, type_name)(f"{type_name}: {message}" if message else type_name)
    error.message, error.details = message or type_name, {}
    error.type_name, error.remote_args = type_name, arguments
    error.remote_traceback, error.where = trace, where
    _give_arguments(error, arguments)
    error.args = arguments or (message,)
    if trace:
        error.add_note(f"\nremote traceback of {where or 'the call'}:\n{trace.rstrip()}")
    return error


def _give_arguments(error: RemoteError, arguments: tuple[Any, ...]) -> None:
    """Have the attributes of a builtin type (`errno`, `encoding`, `value`) say what they said over there."""
    if isinstance(error, OSError):
        names = ("errno", "strerror", "filename")
        for name, value in zip(names, arguments, strict=False) if len(arguments) > 1 else ():
            setattr(error, name, value)
        return
    builtin = next(cls for cls in type(error).__mro__ if cls.__module__ == "builtins")
    try:
        builtin.__init__(error, *arguments)  # type: ignore[misc]
    except Exception:
        return  # Its arguments were replaced by their repr, or are those of a subclass: `remote_args` has them.


def _remote_class(base: type[RemoteError], type_name: str) -> type[RemoteError]:
    """A class that is both `base` and the builtin exception of that name, so that either can be caught."""
    known = _REMOTE_CLASSES.get((base, type_name))
    if known is None:
        known = _make_remote_class(base, type_name)
        if known is not base:  # Only builtin names are remembered: whoever sends others cannot fill our memory.
            _REMOTE_CLASSES[base, type_name] = known
    return known


def _make_remote_class(base: type[RemoteError], type_name: str) -> type[RemoteError]:
    builtin = getattr(builtins, type_name, None)
    if not (isinstance(builtin, type) and issubclass(builtin, Exception)) or issubclass(base, builtin):
        return base
    if issubclass(builtin, StopIteration | StopAsyncIteration):
        return base  # As itself it would end the caller's `for` loop without a word.

    def construct(cls: type[RemoteError], *_: Any) -> RemoteError:
        try:
            return builtin.__new__(cls)
        except TypeError:  # MemoryError makes only its own.
            return Exception.__new__(cls)

    def initialise(self: RemoteError, message: str = "") -> None:
        # UnicodeDecodeError and friends insist on arguments of their own; what was carried is set afterwards.
        self.message, self.details = message, {}

    contents = {"__new__": construct, "__init__": initialise, "__module__": base.__module__}
    try:
        cls = type(type_name, (base, builtin), contents)
        cls("")
    except TypeError:  # Layouts that do not fit together, or a type that cannot be empty, such as ExceptionGroup.
        return base
    return cls


def _carriable(value: Any, codec: Codec) -> Any:
    try:
        _, buffers = codec.encode(value)
    except NotCarriableError:
        return _repr(value)
    return _repr(value) if buffers else value


def _repr(value: Any) -> str:
    try:
        return _plain_text(repr(value))[:1000]
    except BaseException as error:
        # The repr of a foreign object may itself be broken; what matters is the error that carries it.
        return f"<{_type_name(type(value))} whose repr raised {type(error).__name__}>"


def _text(error: BaseException) -> str:
    try:
        if isinstance(error, KeyError) and len(error.args) == 1:
            return _plain_text(error.args[0])  # str(KeyError) is the repr of the key.
        return _plain_text(error)
    except BaseException as broken:
        return f"<message could not be made: {type(broken).__name__}>"


def _plain_text(value: Any) -> str:
    return "".join(str(value))  # `str` gives whatever `__str__` does, which may be of a class that cannot travel.


def _type_name(cls: type) -> str:
    return cls.__qualname__ if cls.__module__ == "builtins" else f"{cls.__module__}.{cls.__qualname__}"


def _traceback(error: BaseException) -> str:
    """The traceback without the frames of this library, which tell a physicist nothing."""
    frames = error.__traceback__
    while frames is not None and frames.tb_frame.f_globals.get("__name__", "").startswith("one_liner."):
        frames = frames.tb_next
    try:
        lines = traceback.format_exception(type(error), error, frames)
    except BaseException as broken:
        lines = [f"<traceback could not be made: {type(broken).__name__}>"]
    return "".join(lines)[-_MAX_TRACEBACK_CHARACTERS:]
