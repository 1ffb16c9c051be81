"""What may stand in a rig file, and every mistake in one with its line.

A rig file is a server in TOML: objects by import path, the streams and named calls of `RouterServer`'s `config`,
relayed publishers and routers. Reading one makes nothing and imports nothing.
"""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple, Self

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError
from pydantic_core import ErrorDetails

from one_liner.cli.serve.toml_lines import Path as KeyPath
from one_liner.cli.serve.toml_lines import lines_of
from one_liner.errors import ConfigurationError

_SHOWN_VALUE = 60


# --- the shape -------------------------------------------------------------------------------------------------------


def _import_path(text: str) -> str:
    if not re.fullmatch(r"[^\W\d]\w*(\.[^\W\d]\w*)*:[^\W\d]\w*(\.[^\W\d]\w*)*", text):
        raise ValueError(f"is written package.module:Name, not {_shown(text)}")
    return text


def _module_path(text: str) -> str:
    if not re.fullmatch(r"[^\W\d]\w*(\.[^\W\d]\w*)*", text):
        raise ValueError(f"is written package.module, not {_shown(text)}")
    return text


def _beside(value: Any) -> Any:
    if isinstance(value, bool) or (isinstance(value, list) and all(isinstance(name, str) for name in value)):
        return value
    raise ValueError(f"must be true, or a list of names of methods and properties, not {_shown(value)}")


def _port(value: Any) -> Any:
    if (isinstance(value, str) and value) or (type(value) is int and 0 <= value <= 65535):
        return value
    raise ValueError(f"must be a number from 0 (a free one) to 65535, or text for ipc, not {_shown(value)}")


def _address(text: str) -> str:
    if not re.fullmatch(r"(tcp|ipc|inproc|udp|pgm|epgm)://.+", text):
        raise ValueError(f"is written tcp://host:port or ipc://path, not {_shown(text)}")
    return text


def _clients(value: Any) -> Any:
    if isinstance(value, str | dict):
        return value
    raise ValueError(f"must be the path of a file, or a table of roles by public key, not {_shown(value)}")


ImportPath = Annotated[str, AfterValidator(_import_path)]
ModulePath = Annotated[str, AfterValidator(_module_path)]
Port = Annotated[int | str, BeforeValidator(_port)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class _Table(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, populate_by_name=True)

    def given(self) -> dict[str, Any]:
        """The keys that the file has, as keyword arguments."""
        return {name: getattr(self, name) for name in self.model_fields_set}


class ServerTable(_Table):
    """`[server]`: arguments of `RouterServer`."""

    protocol: Literal["tcp", "ipc"] = "tcp"
    interface: str = "127.0.0.1"
    rpc_port: Port = "5555"
    broadcast_port: Port = "5556"
    name: str | None = None
    heartbeat_s: Positive = 1.0
    switch_interval_s: Positive | None = None
    allow_pickle: bool = False


class SecurityTable(_Table):
    """`[security]`: the arguments `keys` and `clients` of `RouterServer`."""

    keys: str | None = None
    clients: Annotated[str | dict[str, Any] | None, BeforeValidator(_clients)] = None


class ObjectTable(_Table):
    """`[objects.NAME]`: one of `type`, `import` and `module`, and how it is served."""

    type: ImportPath | None = None
    import_: ImportPath | None = Field(None, alias="import")
    module: ModulePath | None = None
    args: list[Any] = []
    kwargs: dict[str, Any] = {}
    concurrent: Annotated[bool | list[str], BeforeValidator(_beside)] = False


class NamedCallTable(_Table):
    """`[named_calls.NAME]`: arguments of `RouterServer.add_named_call`."""

    obj_name: str
    attr_name: str
    args: list[Any] | None = None
    kwargs: dict[str, Any] | None = None


class PeriodicStreamTable(_Table):
    """`[periodic_streams.NAME]`: arguments of `RouterServer.add_stream`; the serializer "raw" stands for None."""

    frequency_hz: Positive
    obj_name: str
    attr_name: str
    args: list[Any] | None = None
    kwargs: dict[str, Any] | None = None
    enabled: bool = True
    serializer: Literal["msgpack", "json", "raw", "pickle"] = "msgpack"
    on_demand: bool = False

    def given(self) -> dict[str, Any]:
        """The keys that the file has, as keyword arguments."""
        arguments = super().given()
        return arguments | ({"serializer": None} if self.serializer == "raw" else {})


class ObservedPropertyTable(_Table):
    """`[observed_properties."OBJECT.PROPERTY"]`: arguments of `RouterServer.observe`."""

    frequency_hz: Positive | None = None


class ZmqStreamTable(_Table):
    """`[zmq_streams.NAME]`: arguments of `RouterServer.add_zmq_stream`."""

    address: Annotated[str, AfterValidator(_address)]
    topic: str | None = None
    enabled: bool = True
    keys: str | None = None
    server_key: str | None = None


class RouterTable(_Table):
    """`[routers.NAME]`: arguments of `RouterServer.add_router`."""

    protocol: Literal["tcp", "ipc"] = "tcp"
    interface: str = "localhost"
    rpc_port: Port = "5555"
    broadcast_port: Port | None = None
    keys: str | None = None
    server_key: str | None = None


class Rig(_Table):
    """A whole file."""

    server: ServerTable = ServerTable()
    security: SecurityTable = SecurityTable()
    objects: dict[str, ObjectTable] = {}
    named_calls: dict[str, NamedCallTable] = {}
    periodic_streams: dict[str, PeriodicStreamTable] = {}
    observed_properties: dict[str, ObservedPropertyTable] = {}
    zmq_streams: dict[str, ZmqStreamTable] = {}
    routers: dict[str, RouterTable] = {}


_SECTIONS: dict[str, type[_Table]] = {"server": ServerTable, "security": SecurityTable}
_TABLES: dict[str, type[_Table]] = {
    "objects": ObjectTable,
    "named_calls": NamedCallTable,
    "periodic_streams": PeriodicStreamTable,
    "observed_properties": ObservedPropertyTable,
    "zmq_streams": ZmqStreamTable,
    "routers": RouterTable,
}


# --- the file --------------------------------------------------------------------------------------------------------


class Mistake(NamedTuple):
    """One thing that cannot be right.

    Attributes:
        path: the key at fault; its line is looked up.
        message: what is wrong and what is allowed.
    """

    path: KeyPath
    message: str


@dataclass(frozen=True, slots=True)
class RigFile:
    """A rig file that was read and has no mistake that can be seen without importing anything."""

    path: Path
    rig: Rig
    lines: Mapping[KeyPath, int] = field(repr=False)

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read and check a file.

        Raises:
            ConfigurationError: it cannot be read or has mistakes; the message has one line for each.
        """
        text = _text_of(path)
        try:
            data = tomllib.loads(text)
        except tomllib.TOMLDecodeError as error:
            raise ConfigurationError(_syntax_error(path, text, error)) from None
        lines = lines_of(text)
        try:
            rig = Rig.model_validate(data)
        except ValidationError as error:
            found = cls(path, Rig(), lines)
            raise found.error([_mistake(one, lines) for one in error.errors(include_url=False)]) from None
        found = cls(path, rig, lines)
        mistakes = list(_contradictions(rig))
        if mistakes:
            raise found.error(mistakes)
        return found

    def error(self, mistakes: list[Mistake]) -> ConfigurationError:
        """The error that shows these mistakes, in the order of their lines."""
        ordered = sorted(mistakes, key=lambda mistake: self._line(mistake.path))
        return ConfigurationError("\n".join(self._shown(mistake) for mistake in ordered))

    def _shown(self, mistake: Mistake) -> str:
        line = self._line(mistake.path)
        place = f"{self.path}:{line}" if line else str(self.path)
        return f"{place}: {_key_text(mistake.path)}: {mistake.message}"

    def _line(self, path: KeyPath) -> int:
        """Its own line, or that of the table it should be in; 0 if the file has neither."""
        return next((self.lines[path[:n]] for n in range(len(path), 0, -1) if path[:n] in self.lines), 0)


def _text_of(path: Path) -> str:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ConfigurationError(f"{path}: cannot be read: {error.strerror}") from None
    try:
        return data.decode("utf-8").replace("\r\n", "\n")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise ConfigurationError(f"{path}:{line}: this is not UTF-8") from None


def _syntax_error(path: Path, text: str, error: tomllib.TOMLDecodeError) -> str:
    message, _, place = str(error).rpartition(" (at ")
    line = re.match(r"line (\d+)", place)
    number = int(line[1]) if line else text.rstrip("\n").count("\n") + 1
    return f"{path}:{number}: this is not TOML: {message or error}"


# --- mistakes of shape -----------------------------------------------------------------------------------------------


def _mistake(error: ErrorDetails, lines: Mapping[KeyPath, int]) -> Mistake:
    # Where a value may be one of several types, pydantic names the type it tried behind the place: no key of the file.
    path = error["loc"]
    absent = error["type"] == "missing"
    while len(path) > 1 and (path[:-1] if absent else path) not in lines:
        path = path[:-1]
    return Mistake(path, _what_is_wrong(error, path))


def _what_is_wrong(error: ErrorDetails, path: KeyPath) -> str:
    kind, value, context = error["type"], error["input"], error.get("ctx", {})
    if kind == "missing":
        return "is missing"
    if kind == "extra_forbidden":
        return f"unknown key; {hint(str(path[-1]), _allowed_keys(path[:-1]))}"
    if kind == "value_error":
        return str(context["error"])
    if kind == "literal_error":
        return f"must be one of {_alternatives(str(context['expected']))}, not {_shown(value)}"
    wanted = {
        "string_type": "text",
        "bool_type": "true or false",
        "int_type": "an integer",
        "float_type": "a number",
        "list_type": "a list",
        "dict_type": "a table",
        "model_type": "a table",
        "greater_than": "positive",
        "finite_number": "a finite number",
    }.get(kind)
    return f"must be {wanted}, not {_shown(value)}" if wanted else f"{error['msg']}, not {_shown(value)}"


def _alternatives(expected: str) -> str:
    return expected.replace("'", '"').replace(" or ", ", ")


def _allowed_keys(table: KeyPath) -> list[str]:
    model: type[_Table] = Rig
    if table:
        model = (_SECTIONS | _TABLES)[str(table[0])]
    return [one.alias or name for name, one in model.model_fields.items()]


def hint(name: str, known: list[str]) -> str:
    """What may have been meant, or all that there is."""
    close = get_close_matches(name, known, 1)
    return f"did you mean {close[0]}?" if close else f"there are: {', '.join(known) or 'none'}"


def _shown(value: Any) -> str:
    """A value as TOML has it, more or less."""
    try:
        text = json.dumps(value, ensure_ascii=False)
    except TypeError:
        text = str(value)
    text = text.replace("Infinity", "inf").replace("NaN", "nan") if isinstance(value, float) else text
    return text if len(text) <= _SHOWN_VALUE else text[: _SHOWN_VALUE - 1] + "…"


def _key_text(path: KeyPath) -> str:
    text = ""
    for step in path:
        if isinstance(step, int):
            text += f"[{step}]"
        else:
            text += ("." if text else "") + (step if re.fullmatch(r"[A-Za-z0-9_-]+", step) else _shown(step))
    return text


# --- mistakes of sense -----------------------------------------------------------------------------------------------


def _contradictions(rig: Rig) -> Iterator[Mistake]:
    for name, entry in rig.objects.items():
        yield from _object_mistakes(("objects", name), entry)
    for section in ("objects", "routers"):
        for name in getattr(rig, section):
            if name.startswith("_") or not name.isprintable() or not name or set(name) & set("/."):
                yield Mistake((section, name), "a name has no underscore in front, no slash and no dot")
    for name, call in rig.named_calls.items():
        if not name or name.startswith("_"):
            yield Mistake(("named_calls", name), "a name has no underscore in front")
        yield from _target_mistakes(("named_calls", name), call, rig)
    for name, stream in rig.periodic_streams.items():
        yield from _target_mistakes(("periodic_streams", name), stream, rig)
        if stream.serializer == "pickle" and not rig.server.allow_pickle:
            yield Mistake(("periodic_streams", name, "serializer"), '"pickle" needs allow_pickle = true in [server]')
    for name in rig.observed_properties:
        obj_name, dot, _ = name.partition(".")
        if not dot:
            yield Mistake(("observed_properties", name), 'is written [observed_properties."OBJECT.PROPERTY"]')
        elif obj_name not in rig.objects:
            reason = f"there is no object {_shown(obj_name)}; {hint(obj_name, list(rig.objects))}"
            yield Mistake(("observed_properties", name), reason)
    yield from _stream_name_mistakes(rig)


def _object_mistakes(path: KeyPath, entry: ObjectTable) -> Iterator[Mistake]:
    ways = [key for key in ("type", "import", "module") if getattr(entry, "import_" if key == "import" else key)]
    if len(ways) != 1:
        given = f"not {' and '.join(ways)}" if ways else "and has none"
        yield Mistake(
            path, f"needs one of type (which is called), import (which is served as it is) or module, {given}"
        )
    elif ways != ["type"]:
        for key in sorted({"args", "kwargs"} & entry.model_fields_set):
            yield Mistake((*path, key), f"goes with type alone; what {ways[0]} names is served as it is")


def _target_mistakes(path: KeyPath, entry: NamedCallTable | PeriodicStreamTable, rig: Rig) -> Iterator[Mistake]:
    first, *deeper = entry.obj_name.split(".")
    if "/" in first:
        yield Mistake((*path, "obj_name"), "must be an object of this server; a router brings what is its own along")
    elif first not in rig.objects:
        yield Mistake((*path, "obj_name"), f"there is no object {_shown(first)}; {hint(first, list(rig.objects))}")
    if any(step.startswith("_") for step in (*deeper, *entry.attr_name.split("."))):
        yield Mistake((*path, "attr_name"), "what starts with an underscore is private")


def _stream_name_mistakes(rig: Rig) -> Iterator[Mistake]:
    for section in ("periodic_streams", "zmq_streams"):
        for name in getattr(rig, section):
            prefix, slash, _ = name.partition("/")
            if not name or not name.isprintable() or name.startswith("/"):
                yield Mistake((section, name), "a stream needs a name of printable characters")
            elif slash and prefix in rig.routers:
                yield Mistake((section, name), f"streams named {prefix}/… are those of the router {prefix}")
    for name in rig.zmq_streams:
        if name in rig.periodic_streams:
            yield Mistake(("zmq_streams", name), "there is a periodic stream of this name")
