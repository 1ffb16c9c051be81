"""What is served, as data and for people.

A description crosses the wire as plain dicts (`as_dict`, `from_dict`), and printing one gives the listing that a person
wants to see. A server makes it in `describing`.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Self

from one_liner.rpc.plain import (
    Reading,
    all_of,
    marked,
    small,
    text,
    text_or_none,
    unmarked,
)
from one_liner.rpc.signatures import parameters_text, repr_text

_WIDEST_COLUMN: Final = 60

_KINDS = {kind.name.lower(): kind for kind in inspect._ParameterKind}


@dataclass(frozen=True)
class ParameterDescription:
    """One parameter; `kind` is `positional_only`, `positional_or_keyword`, `var_positional`, `keyword_only`, …"""

    name: str
    kind: str = "positional_or_keyword"
    annotation: str | None = None
    default: Any = None
    has_default: bool = False

    def as_dict(self) -> dict[str, Any]:
        """Plain data."""
        plain: dict[str, Any] = {"name": self.name, "kind": self.kind, "annotation": self.annotation}
        if self.has_default:
            plain["default"] = marked(self.default)
        return plain

    @classmethod
    def from_dict(cls, plain: Mapping[str, Any]) -> Self:
        """The reverse of `as_dict`.

        Raises:
            MalformedError: `plain` is no such description.
        """
        with Reading(cls.__name__):
            default = plain.get("default")
            return cls(
                name=text(plain["name"]),
                kind=text(plain["kind"]),
                annotation=text_or_none(plain.get("annotation")),
                default=None if default is None else unmarked(default),
                has_default=default is not None,
            )


@dataclass(frozen=True)
class MethodDescription:
    """Something that can be called.

    Attributes:
        parameters: None when they cannot be known (some compiled functions).
        concurrent: it may run beside others on the same object.
        read_only: its owner declared that it changes nothing.
        is_async: a coroutine function; the server runs it to its end.
        is_command: made to be submitted: it is a generator, or asks for a job, which is not among its parameters here.
    """

    name: str
    doc: str = ""
    parameters: tuple[ParameterDescription, ...] | None = None
    returns: str | None = None
    concurrent: bool = False
    is_async: bool = False
    is_command: bool = False
    read_only: bool = False

    def __str__(self) -> str:
        returns = "" if self.returns is None else f" -> {self.returns}"
        return f"{'async ' if self.is_async else ''}{self.name}{self._parameters_text()}{returns}"

    def _parameters_text(self) -> str:
        if self.parameters is None:
            return "(...)"
        return parameters_text(
            (one.name, _KINDS.get(one.kind), one.annotation, repr_text(one.default) if one.has_default else None)
            for one in self.parameters
        )

    def signature(self) -> inspect.Signature:
        """For `inspect`, `help` and editors; `(*args, **kwargs)` when the parameters are not known."""
        returns = inspect.Signature.empty if self.returns is None else self.returns
        if self.parameters is not None:
            try:
                return inspect.Signature([_parameter(one) for one in self.parameters], return_annotation=returns)
            except (ValueError, KeyError):
                # Another implementation's idea of parameters; it is told to people in `__str__`.
                pass
        return inspect.Signature(
            [
                inspect.Parameter("args", inspect.Parameter.VAR_POSITIONAL),
                inspect.Parameter("kwargs", inspect.Parameter.VAR_KEYWORD),
            ],
            return_annotation=returns,
        )

    def as_dict(self) -> dict[str, Any]:
        """Plain data."""
        return {
            "name": self.name,
            "doc": self.doc,
            "parameters": None if self.parameters is None else [one.as_dict() for one in self.parameters],
            "returns": self.returns,
            "concurrent": self.concurrent,
            "is_async": self.is_async,
            "is_command": self.is_command,
            "read_only": self.read_only,
        }

    @classmethod
    def from_dict(cls, plain: Mapping[str, Any]) -> Self:
        """The reverse of `as_dict`.

        Raises:
            MalformedError: `plain` is no such description.
        """
        with Reading(cls.__name__):
            parameters = plain.get("parameters")
            return cls(
                name=text(plain["name"]),
                doc=text(plain.get("doc", "")),
                parameters=None if parameters is None else all_of(ParameterDescription.from_dict, parameters),
                returns=text_or_none(plain.get("returns")),
                concurrent=bool(plain.get("concurrent")),
                is_async=bool(plain.get("is_async")),
                is_command=bool(plain.get("is_command")),
                read_only=bool(plain.get("read_only")),
            )


@dataclass(frozen=True)
class PropertyDescription:
    """Something that can be read or set: a property, a slot, an attribute with a plain value."""

    name: str
    doc: str = ""
    type: str | None = None
    readable: bool = True
    writable: bool = False
    concurrent: bool = False

    def __str__(self) -> str:
        access = {(True, True): "read-write", (True, False): "read-only"}.get(
            (self.readable, self.writable), "write-only"
        )
        return f"{self.name}{'' if self.type is None else f': {self.type}'} ({access})"

    def as_dict(self) -> dict[str, Any]:
        """Plain data."""
        return {
            "name": self.name,
            "doc": self.doc,
            "type": self.type,
            "readable": self.readable,
            "writable": self.writable,
            "concurrent": self.concurrent,
        }

    @classmethod
    def from_dict(cls, plain: Mapping[str, Any]) -> Self:
        """The reverse of `as_dict`.

        Raises:
            MalformedError: `plain` is no such description.
        """
        with Reading(cls.__name__):
            return cls(
                name=text(plain["name"]),
                doc=text(plain.get("doc", "")),
                type=text_or_none(plain.get("type")),
                readable=bool(plain.get("readable", True)),
                writable=bool(plain.get("writable")),
                concurrent=bool(plain.get("concurrent")),
            )


@dataclass(frozen=True)
class ObjectDescription:
    """One object, and what is nested in it.

    Attributes:
        name: its name; the dotted path for the description of a nested object that was asked for by itself.
        type: where its class is from: `lab.lasers.Laser`.
        callable: how the object itself is called, if it can be.
        dynamic: it makes attributes up when asked, so there may be more than is listed.
    """

    name: str
    type: str = ""
    doc: str = ""
    methods: tuple[MethodDescription, ...] = ()
    properties: tuple[PropertyDescription, ...] = ()
    objects: tuple[ObjectDescription, ...] = ()
    callable: MethodDescription | None = None
    dynamic: bool = False

    def find(self, name: str) -> MethodDescription | PropertyDescription | ObjectDescription | None:
        """The member of this name."""
        return next((one for one in self._members() if one.name == name), None)

    def names(self) -> list[str]:
        """The names of all members, sorted."""
        return sorted(one.name for one in self._members())

    def _members(self) -> list[MethodDescription | PropertyDescription | ObjectDescription]:
        return [*self.methods, *self.properties, *self.objects]

    def __str__(self) -> str:
        return "\n".join(_object_lines(self))

    def as_dict(self) -> dict[str, Any]:
        """Plain data."""
        return {
            "name": self.name,
            "type": self.type,
            "doc": self.doc,
            "methods": [one.as_dict() for one in self.methods],
            "properties": [one.as_dict() for one in self.properties],
            "objects": [one.as_dict() for one in self.objects],
            "callable": None if self.callable is None else self.callable.as_dict(),
            "dynamic": self.dynamic,
        }

    @classmethod
    def from_dict(cls, plain: Mapping[str, Any]) -> Self:
        """The reverse of `as_dict`.

        Raises:
            MalformedError: `plain` is no such description.
        """
        with Reading(cls.__name__):
            own = plain.get("callable")
            return cls(
                name=text(plain["name"]),
                type=text(plain.get("type", "")),
                doc=text(plain.get("doc", "")),
                methods=all_of(MethodDescription.from_dict, plain.get("methods", ())),
                properties=all_of(PropertyDescription.from_dict, plain.get("properties", ())),
                objects=all_of(ObjectDescription.from_dict, plain.get("objects", ())),
                callable=None if own is None else MethodDescription.from_dict(own),
                dynamic=bool(plain.get("dynamic")),
            )


@dataclass(frozen=True)
class NamedCallDescription:
    """A call with a name of its own, and the arguments it is made with unless others are given."""

    name: str
    obj_name: str
    attr_name: str
    args: tuple[Any, ...] = ()
    kwargs: Mapping[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        arguments = [repr_text(value) for value in self.args]
        arguments += [f"{name}={repr_text(value)}" for name, value in self.kwargs.items()]
        what = self.obj_name if self.attr_name in ("", "__call__") else f"{self.obj_name}.{self.attr_name}"
        return f"{self.name} = {what}({', '.join(arguments)})"

    def as_dict(self) -> dict[str, Any]:
        """Plain data."""
        return {
            "name": self.name,
            "obj_name": self.obj_name,
            "attr_name": self.attr_name,
            "args": [marked(value) for value in self.args],
            "kwargs": {str(name): marked(value) for name, value in self.kwargs.items()},
        }

    @classmethod
    def from_dict(cls, plain: Mapping[str, Any]) -> Self:
        """The reverse of `as_dict`.

        Raises:
            MalformedError: `plain` is no such description.
        """
        with Reading(cls.__name__):
            return cls(
                name=text(plain["name"]),
                obj_name=text(plain["obj_name"]),
                attr_name=text(plain["attr_name"]),
                args=all_of(unmarked, plain.get("args", ())),
                kwargs={text(name): unmarked(value) for name, value in plain.get("kwargs", {}).items()},
            )


@dataclass(frozen=True)
class RouterState:
    """An upstream that cannot be described now, and why."""

    state: str
    message: str = ""

    def __str__(self) -> str:
        return f"{self.state}: {self.message}" if self.message else self.state

    def as_dict(self) -> dict[str, Any]:
        """Plain data."""
        return {"state": self.state, "message": self.message}

    @classmethod
    def from_dict(cls, plain: Mapping[str, Any]) -> Self:
        """The reverse of `as_dict`.

        Raises:
            MalformedError: `plain` is no such description.
        """
        with Reading(cls.__name__):
            return cls(state=text(plain["state"]), message=text(plain.get("message", "")))


@dataclass(frozen=True)
class ServerDescription:
    """Everything that one server serves.

    Attributes:
        protocol: the version of the protocol it speaks.
        streams: by name, the configuration of each as plain data.
        routers: by prefix, the description of each upstream, or why there is none.
    """

    name: str
    version: str = ""
    protocol: int = 0
    objects: tuple[ObjectDescription, ...] = ()
    named_calls: tuple[NamedCallDescription, ...] = ()
    streams: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    routers: Mapping[str, ServerDescription | RouterState] = field(default_factory=dict)

    def __str__(self) -> str:
        return "\n".join(_server_lines(self))

    def as_dict(self) -> dict[str, Any]:
        """Plain data."""
        return {
            "name": self.name,
            "version": self.version,
            "protocol": self.protocol,
            "objects": [one.as_dict() for one in self.objects],
            "named_calls": [one.as_dict() for one in self.named_calls],
            "streams": {name: dict(stream) for name, stream in self.streams.items()},
            "routers": {prefix: router.as_dict() for prefix, router in self.routers.items()},
        }

    @classmethod
    def from_dict(cls, plain: Mapping[str, Any]) -> Self:
        """The reverse of `as_dict`.

        Raises:
            MalformedError: `plain` is no such description.
        """
        with Reading(cls.__name__):
            return cls(
                name=text(plain["name"]),
                version=text(plain.get("version", "")),
                protocol=small(plain.get("protocol", 0)),
                objects=all_of(ObjectDescription.from_dict, plain.get("objects", ())),
                named_calls=all_of(NamedCallDescription.from_dict, plain.get("named_calls", ())),
                streams={text(name): _stream(stream) for name, stream in plain.get("streams", {}).items()},
                routers={text(prefix): _router(router) for prefix, router in plain.get("routers", {}).items()},
            )


# --- plain data ------------------------------------------------------------------------------------------------------


def _stream(plain: Mapping[str, Any]) -> dict[str, Any]:
    """The configuration of a stream, of which a listing shows some entries."""
    stream = dict(plain)
    text_or_none(stream.get("kind"))
    frequency_hz = stream.get("frequency_hz")
    if frequency_hz is not None and not isinstance(frequency_hz, float):
        small(frequency_hz)
    return stream


def _router(plain: Mapping[str, Any]) -> ServerDescription | RouterState:
    return RouterState.from_dict(plain) if "state" in plain else ServerDescription.from_dict(plain)


def _parameter(described: ParameterDescription) -> inspect.Parameter:
    return inspect.Parameter(
        described.name,
        _KINDS[described.kind],
        default=described.default if described.has_default else inspect.Parameter.empty,
        annotation=inspect.Parameter.empty if described.annotation is None else described.annotation,
    )


# --- for people ------------------------------------------------------------------------------------------------------


def _object_lines(described: ObjectDescription) -> Iterator[str]:
    title = described.name if not described.type else f"{described.name}: {described.type}"
    yield _beside(title, described.doc)
    rows: list[tuple[str, str]] = []
    if described.callable is not None:
        rows.append((str(described.callable), ""))
    rows += [(str(one), _note(one)) for one in described.properties]
    rows += [(str(one), _note(one)) for one in described.methods]
    yield from _indented(_columns(rows))
    for nested in described.objects:
        yield from _indented(_object_lines(nested))
    if described.dynamic:
        yield "    ... and what it makes up when asked"


def _note(one: MethodDescription | PropertyDescription) -> str:
    note = _first_line(one.doc)
    if isinstance(one, MethodDescription) and one.is_command:
        note = f"{note} [command]".strip()
    return f"{note} [concurrent]".strip() if one.concurrent else note


def _server_lines(described: ServerDescription) -> Iterator[str]:
    version = f" one_liner {described.version}" if described.version else ""
    yield f"{described.name}:{version} protocol {described.protocol}"
    sections: list[tuple[str, list[str]]] = [
        ("objects", [line for one in described.objects for line in _object_lines(one)]),
        ("named calls", [str(one) for one in described.named_calls]),
        ("streams", list(_columns([(name, _stream_note(one)) for name, one in described.streams.items()]))),
    ]
    for title, lines in sections:
        if lines:
            yield f"  {title}"
            yield from _indented(lines)
    for prefix, router in described.routers.items():
        yield f"  {prefix}/"
        yield from _indented(str(router).splitlines())


def _stream_note(stream: Mapping[str, Any]) -> str:
    parts = [str(stream["kind"])] if stream.get("kind") else []
    if stream.get("frequency_hz"):
        parts.append(f"{stream['frequency_hz']:g} Hz")
    if stream.get("enabled") is False:
        parts.append("disabled")
    return ", ".join(parts)


def _columns(rows: Sequence[tuple[str, str]]) -> Iterator[str]:
    width = max((len(left) for left, _ in rows if len(left) <= _WIDEST_COLUMN), default=0)
    for left, right in rows:
        yield f"{left:<{width}}   {right}".rstrip()


def _beside(title: str, doc: str) -> str:
    return f"{title}   {_first_line(doc)}".rstrip()


def _first_line(doc: str) -> str:
    return doc.partition("\n")[0].strip()


def _indented(lines: Iterable[str]) -> Iterator[str]:
    return (f"    {line}" for line in lines)
