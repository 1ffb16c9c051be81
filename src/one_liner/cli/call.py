"""`one-liner call`, `get` and `set`: act on what is served."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable
from typing import Annotated, Any

import typer

from one_liner.cli.connection import (
    DEFAULT_SERVER,
    IfBusy,
    IfBusyOption,
    KeysOption,
    ServerKeyOption,
    ServerOption,
    TimeoutOption,
    connect,
)
from one_liner.cli.values import in_full, read_arguments, read_word, to_json
from one_liner.client import RouterClient
from one_liner.errors import RemoteError, UnknownObjectError

JsonOption = Annotated[bool, typer.Option("--json", help="Print plain JSON, for machines.")]
TracebackOption = Annotated[bool, typer.Option("--traceback", help="Show the whole remote traceback of an exception.")]
ObjectName = Annotated[
    str, typer.Argument(metavar="OBJECT", help="Its name; `rig.stage` or `north/laser` lead further.")
]
AttributeName = Annotated[str, typer.Argument(metavar="ATTRIBUTE", help="A property or an attribute.")]
CallWords = Annotated[
    list[str],
    typer.Argument(
        metavar="OBJECT METHOD | NAMED_CALL [VALUE | NAME=VALUE]...",
        show_default=False,
        help="What to call, and its arguments: JSON where they are JSON, text otherwise.",
    ),
]


def call(
    words: CallWords,
    server: ServerOption = DEFAULT_SERVER,
    timeout: TimeoutOption = None,
    keys: KeysOption = None,
    server_key: ServerKeyOption = None,
    json: JsonOption = False,
    traceback: TracebackOption = False,
    if_busy: IfBusyOption = IfBusy.WAIT,
) -> None:
    """Call a method, read a property, or make a named call.

    `one-liner call laser set_power 5 ramp=true`
    """
    with connect(server, timeout, keys, server_key, if_busy) as client:
        _answer(lambda: _call(client, words), json=json, traceback=traceback)


def get_attribute(
    obj_name: ObjectName,
    attr_name: AttributeName,
    server: ServerOption = DEFAULT_SERVER,
    timeout: TimeoutOption = None,
    keys: KeysOption = None,
    server_key: ServerKeyOption = None,
    json: JsonOption = False,
    traceback: TracebackOption = False,
    if_busy: IfBusyOption = IfBusy.WAIT,
) -> None:
    """Read a property or an attribute."""
    with connect(server, timeout, keys, server_key, if_busy) as client:
        _answer(lambda: client.get(obj_name, attr_name), json=json, traceback=traceback)


def set_attribute(
    obj_name: ObjectName,
    attr_name: AttributeName,
    value: Annotated[str, typer.Argument(help="JSON where it is JSON, text otherwise.")],
    server: ServerOption = DEFAULT_SERVER,
    timeout: TimeoutOption = None,
    keys: KeysOption = None,
    server_key: ServerKeyOption = None,
    traceback: TracebackOption = False,
    if_busy: IfBusyOption = IfBusy.WAIT,
) -> None:
    """Set a property or an attribute."""
    with connect(server, timeout, keys, server_key, if_busy) as client:
        try:
            client.set(obj_name, attr_name, read_word(value))
        except RemoteError as error:
            raise _shown(error, traceback) from None


def _call(client: RouterClient, words: list[str]) -> Any:
    """Find out what the words mean by looking, and then act, once.

    They are an object and its method or property, a named call, or an object that can be called itself.
    """
    name, *rest = words
    method = rest[0] if rest and rest[0].isidentifier() else None
    args, kwargs = read_arguments(rest)
    try:
        described = client.describe_object(name)
    except UnknownObjectError as no_object:
        try:
            return client.call_by_name(name, args, kwargs)
        except UnknownObjectError as no_call:
            raise (no_call if method is None else no_object) from None
    itself = described.callable is not None
    if method is not None and (not itself or described.dynamic or described.find(method) is not None):
        return client.call(name, method, *read_arguments(rest[1:]))
    if itself and all(one.name != name for one in client.describe().named_calls):
        return client.call(name, None, args, kwargs)
    return client.call_by_name(name, args, kwargs)


def _answer(act: Callable[[], Any], *, json: bool, traceback: bool) -> None:
    try:
        result = act()
    except RemoteError as error:
        raise _shown(error, traceback) from None
    print(to_json(result) if json else in_full(result, shutil.get_terminal_size().columns))


def _shown(error: RemoteError, whole_traceback: bool) -> typer.Exit:
    print(remote_error_text(error, whole_traceback), file=sys.stderr)
    return typer.Exit(1)


def remote_error_text(error: RemoteError, whole_traceback: bool = False) -> str:
    """What was raised at the server, and where: the last place of the traceback, or all of it."""
    trace = error.remote_traceback.rstrip().splitlines()
    if whole_traceback and trace:
        return "\n".join([f"remote traceback of {error.where or 'the call'}:", *trace])
    places = [index for index, line in enumerate(trace) if line.startswith('  File "')]
    last = trace[places[-1] : places[-1] + 2] if places else []
    headline = f"{error.type_name}: {error.message}" if error.message != error.type_name else error.type_name
    return "\n".join([headline, *last])
