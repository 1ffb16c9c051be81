"""From a rig file to a server: import everything, take the ports, and only then make the objects."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from typing import Any

from one_liner.cli.serve.imports import load, load_module, what_was_raised
from one_liner.cli.serve.rig import Mistake, ObjectTable, RigFile, hint
from one_liner.credentials import KEYS_VARIABLE
from one_liner.errors import ConfigurationError, OneLinerError, UnknownAttributeError
from one_liner.keys import read_clients, read_pair, read_public
from one_liner.server import RouterServer

_KEY_FILES = frozenset(("keys", "server_key"))


def build(rig_file: RigFile, overrides: Mapping[str, Any]) -> RouterServer:
    """The server that a rig file describes; it does not run yet.

    Modules are looked for in the folder of the file, and where the command was given.

    Args:
        rig_file: the file.
        overrides: arguments of `RouterServer` that come before those of the file.

    Raises:
        ConfigurationError: something could not be imported or made; the message has its line. Nothing stays bound.
    """
    rig = rig_file.rig
    for folder in (os.getcwd(), str(rig_file.path.resolve().parent)):
        if folder in sys.path:
            sys.path.remove(folder)
        sys.path.insert(0, folder)
    security = _security(rig_file)
    imported = _import_all(rig_file)
    with _blaming(rig_file, "server") if not overrides else nullcontext():
        server = RouterServer(**{**rig.server.given(), **security, **overrides})
    try:
        for name, entry in rig.objects.items():
            with _blaming(rig_file, "objects", name, _named(entry)[0]):
                obj = imported[name] if entry.type is None else _make(imported[name], entry)
                server.add_instance(name, obj, entry.concurrent)
        _add_all(rig_file, "named_calls", server.add_named_call)
        _add_all(rig_file, "periodic_streams", server.add_stream)
        _add_all(rig_file, "observed_properties", lambda name, **given: _observe(server, name, **given))
        _add_all(rig_file, "zmq_streams", server.add_zmq_stream)
        _add_all(rig_file, "routers", server.add_router)
        _check_named_calls(rig_file, server)
    except BaseException:
        server.close()
        raise
    return server


def _observe(server: RouterServer, name: str, **given: Any) -> None:
    obj_name, _, attr_name = name.rpartition(".")
    server.observe(obj_name, attr_name, **given)


def _import_all(rig_file: RigFile) -> dict[str, Any]:
    """What each object is made of, by name; all mistakes at once."""
    found: dict[str, Any] = {}
    mistakes: list[Mistake] = []
    for name, entry in rig_file.rig.objects.items():
        key, path = _named(entry)
        try:
            found[name] = load_module(path) if key == "module" else load(path)
            if key == "type" and not callable(found[name]):
                raise ConfigurationError(f"{path} cannot be called; import = {path!r} serves it as it is")
        except ConfigurationError as error:
            mistakes.append(Mistake(("objects", name, key), str(error)))
    if mistakes:
        raise rig_file.error(mistakes)
    return found


def _security(rig_file: RigFile) -> dict[str, Any]:
    """The keys of the server and those of its clients, from the files that are named; all mistakes at once."""
    table = rig_file.rig.security
    found: dict[str, Any] = {}
    mistakes: list[Mistake] = []
    if table.clients is not None and table.keys is None and not os.environ.get(KEYS_VARIABLE):
        mistakes.append(Mistake(("security", "clients"), "needs keys = …, too: the file with the server's own key"))
    if table.keys is not None:
        with _noting(mistakes, "security", "keys"):
            found["keys"] = read_pair(_found(rig_file, table.keys))
    if isinstance(table.clients, str):
        with _noting(mistakes, "security", "clients"):
            found["clients"] = read_clients(_found(rig_file, table.clients))
    elif table.clients is not None:
        found["clients"] = {}
        for name, value in table.clients.items():
            with _noting(mistakes, "security", "clients", name):
                found["clients"] |= read_clients({read_public(_found(rig_file, name)): value})
    if mistakes:
        raise rig_file.error(mistakes)
    return found


@contextmanager
def _noting(mistakes: list[Mistake], *path: str) -> Iterator[None]:
    """What goes wrong inside is a mistake of this key, and others are looked for."""
    try:
        yield
    except (ConfigurationError, OSError) as error:
        _, named, rest = str(error).partition("']: ")  # The table's key is in the path already.
        mistakes.append(Mistake(path, rest if named and len(path) > 2 else str(error)))


def _found(rig_file: RigFile, name: str) -> str:
    """A file that a rig names, beside the rig if there is one. What is no file, as a key is none, stays as it is."""
    beside = os.path.join(rig_file.path.resolve().parent, os.path.expanduser(name))
    return beside if os.path.exists(beside) else name


def _named(entry: ObjectTable) -> tuple[str, str]:
    """The key that says what an object is, and what it says."""
    if entry.module is not None:
        return "module", entry.module
    return ("type", entry.type) if entry.type is not None else ("import", entry.import_ or "")


def _make(factory: Callable[..., Any], entry: ObjectTable) -> Any:
    try:
        return factory(*entry.args, **entry.kwargs)
    except Exception as error:
        raise ConfigurationError(f"making it raised {what_was_raised(error)}") from error


def _add_all(rig_file: RigFile, section: str, add: Callable[..., Any]) -> None:
    for name, entry in getattr(rig_file.rig, section).items():
        with _blaming(rig_file, section, name):
            arguments = entry.given()
            for key in _KEY_FILES & arguments.keys():
                arguments[key] = _found(rig_file, arguments[key])
            add(name, **arguments)


def _check_named_calls(rig_file: RigFile, server: RouterServer) -> None:
    """That what a named call calls exists, as far as that can be seen by looking."""
    objects: dict[str, Any] = {one.name: one for one in server.describe().objects}
    mistakes: list[Mistake] = []
    for name, call in rig_file.rig.named_calls.items():
        first, *steps = call.obj_name.split(".")
        here = objects[first]
        for step in (*steps, *call.attr_name.split(".")):
            if not step or not hasattr(here, "names") or here.dynamic:
                break
            if here.find(step) is None:
                message = f"{here.name} has no {step!r}; {hint(step, here.names())}"
                mistakes.append(Mistake(("named_calls", name, "attr_name"), message))
                break
            here = here.find(step)
    if mistakes:
        raise rig_file.error(mistakes)


@contextmanager
def _blaming(rig_file: RigFile, *path: str) -> Iterator[None]:
    """What goes wrong inside is the mistake of this key."""
    try:
        yield
    except UnknownAttributeError as error:
        raise rig_file.error([Mistake((*path, "attr_name"), str(error))]) from error
    except OneLinerError as error:
        raise rig_file.error([Mistake(path, str(error))]) from error
