"""What is served, as data and for people.

A description is made by looking only: no property is read, no foreign code runs. It crosses the wire as plain dicts
(`as_dict`, `from_dict`), and printing one gives the listing that a person wants to see.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Self, TypeVar

from one_liner.commands.parameter import Shape, generates
from one_liner.errors import MalformedError, NotExposedError, UnknownObjectError
from one_liner.rpc.exposure import Exposure
from one_liner.rpc.members import (
    MISSING,
    Member,
    bound_callable,
    is_class,
    is_dynamic,
    is_function,
    is_module,
    member,
    member_names,
)
from one_liner.rpc.named import NamedCall
from one_liner.rpc.signatures import annotation_text, parameters_text, repr_text, signature_of
from one_liner.version import __version__
from one_liner.wire.messages import PROTOCOL_VERSION

_MAX_DEPTH = 3
_MAX_MEMBERS = 3000
_MAX_DOC = 10_000
_MAX_PLAIN_ITEMS = 32
_MAX_PLAIN_TEXT = 500
_WIDEST_COLUMN = 60

T = TypeVar("T")

_KINDS = {kind.name.lower(): kind for kind in inspect._ParameterKind}


@dataclass(frozen=True)
class DefaultRepr:
    """A default value that is no plain data: what its `repr` is over there."""

    text: str

    def __repr__(self) -> str:
        return self.text


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
            plain["default"] = _marked(self.default)
        return plain

    @classmethod
    def from_dict(cls, plain: Mapping[str, Any]) -> Self:
        """The reverse of `as_dict`.

        Raises:
            MalformedError: `plain` is no such description.
        """
        with _Reading(cls.__name__):
            default = plain.get("default")
            return cls(
                name=_text(plain["name"]),
                kind=_text(plain["kind"]),
                annotation=_text_or_none(plain.get("annotation")),
                default=None if default is None else _unmarked(default),
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
        with _Reading(cls.__name__):
            parameters = plain.get("parameters")
            return cls(
                name=_text(plain["name"]),
                doc=_text(plain.get("doc", "")),
                parameters=None if parameters is None else _all(ParameterDescription.from_dict, parameters),
                returns=_text_or_none(plain.get("returns")),
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
        with _Reading(cls.__name__):
            return cls(
                name=_text(plain["name"]),
                doc=_text(plain.get("doc", "")),
                type=_text_or_none(plain.get("type")),
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
        with _Reading(cls.__name__):
            own = plain.get("callable")
            return cls(
                name=_text(plain["name"]),
                type=_text(plain.get("type", "")),
                doc=_text(plain.get("doc", "")),
                methods=_all(MethodDescription.from_dict, plain.get("methods", ())),
                properties=_all(PropertyDescription.from_dict, plain.get("properties", ())),
                objects=_all(ObjectDescription.from_dict, plain.get("objects", ())),
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
            "args": [_marked(value) for value in self.args],
            "kwargs": {str(name): _marked(value) for name, value in self.kwargs.items()},
        }

    @classmethod
    def from_dict(cls, plain: Mapping[str, Any]) -> Self:
        """The reverse of `as_dict`.

        Raises:
            MalformedError: `plain` is no such description.
        """
        with _Reading(cls.__name__):
            return cls(
                name=_text(plain["name"]),
                obj_name=_text(plain["obj_name"]),
                attr_name=_text(plain["attr_name"]),
                args=_all(_unmarked, plain.get("args", ())),
                kwargs={_text(name): _unmarked(value) for name, value in plain.get("kwargs", {}).items()},
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
        with _Reading(cls.__name__):
            return cls(state=_text(plain["state"]), message=_text(plain.get("message", "")))


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
        with _Reading(cls.__name__):
            return cls(
                name=_text(plain["name"]),
                version=_text(plain.get("version", "")),
                protocol=_small(plain.get("protocol", 0)),
                objects=_all(ObjectDescription.from_dict, plain.get("objects", ())),
                named_calls=_all(NamedCallDescription.from_dict, plain.get("named_calls", ())),
                streams={_text(name): _stream(stream) for name, stream in plain.get("streams", {}).items()},
                routers={_text(prefix): _router(router) for prefix, router in plain.get("routers", {}).items()},
            )


# --- describing ------------------------------------------------------------------------------------------------------


def describe_object(
    name: str,
    obj: Any,
    concurrent: bool | Iterable[str] | Callable[[str], bool] = (),
    depth: int = _MAX_DEPTH,
    only_reads: Callable[[str], bool] = lambda _path: False,
) -> ObjectDescription:
    """Describe an object by looking at it; none of its code runs.

    Args:
        name: what it is served as.
        obj: any object, module, function or class.
        concurrent: as in `Exposure.add`; or a function that tells it for the dotted name of a member.
        depth: how many levels of nested objects are described.
        only_reads: tells for the dotted name of a method whether it was declared to change nothing.
    """
    return _Describer(concurrent, only_reads).describe(name, obj, (), depth)


def describe_served(
    exposure: Exposure, path: str, only_reads: Callable[[str], bool] = lambda _where: False
) -> ObjectDescription:
    """Describe what is served as `path`, which may lead to a nested object: `rig.stage`.

    What only the object's own code could find (a property that returns an object) is described as `dynamic`, without
    members. `only_reads` tells of `stage.limits` whether it was declared to change nothing.

    Raises:
        NotExposedError: as `Exposure.resolve`.
    """
    target = exposure.resolve(path, "")
    obj = target.owner
    if target.name:
        found = None if target.steps else member(target.owner, target.name)
        if found is None or found.kind == "property":
            return ObjectDescription(name=path, dynamic=True)
        if found.kind == "closed":
            raise NotExposedError(f"{path} is of type {_type_of(found.value)}: it is not served")
        obj = bound_callable(target.owner, found) if found.value is MISSING else found.value

    def beside(member_path: str) -> bool:
        return exposure.resolve(path, member_path).lane is None

    return describe_object(path, obj, beside, only_reads=lambda member_path: only_reads(f"{path}.{member_path}"))


def describe_server(
    name: str,
    exposure: Exposure,
    named_calls: Mapping[str, NamedCall],
    streams: Mapping[str, Mapping[str, Any]],
    routers: Mapping[str, ServerDescription | RouterState],
    only_reads: Callable[[str], bool] = lambda _where: False,
) -> ServerDescription:
    """Describe everything that a server serves.

    Args:
        name: of the server.
        exposure: its objects; one that is removed meanwhile is left out.
        named_calls: its named calls.
        streams: its streams, as plain data.
        routers: what is known of the servers behind it.
        only_reads: as in `describe_served`.
    """
    objects = []
    for served in exposure.names():
        try:
            objects.append(describe_served(exposure, served, only_reads))
        except UnknownObjectError:
            continue
    return ServerDescription(
        name=name,
        version=__version__,
        protocol=PROTOCOL_VERSION,
        objects=tuple(objects),
        named_calls=tuple(
            NamedCallDescription(title, call.obj_name, call.attr_name, call.args, call.kwargs)
            for title, call in named_calls.items()
        ),
        streams=streams,
        routers=routers,
    )


class _Describer:
    """One description under way: bounded in depth and size, and not to be caught in cycles."""

    def __init__(
        self, concurrent: bool | Iterable[str] | Callable[[str], bool], only_reads: Callable[[str], bool]
    ) -> None:
        self._only_reads = only_reads
        self._left = _MAX_MEMBERS
        if callable(concurrent):
            self._beside = concurrent
        elif isinstance(concurrent, bool):
            self._beside = lambda _path: bool(concurrent)
        else:
            names = frozenset(concurrent)
            self._beside = lambda path: any(path == name or path.startswith(name + ".") for name in names)

    def describe(self, name: str, obj: Any, above: tuple[tuple[str, Any], ...], depth: int) -> ObjectDescription:
        methods: list[MethodDescription] = []
        properties: list[PropertyDescription] = []
        objects: list[ObjectDescription] = []
        here = (*above, (name, obj))
        for member_name in [] if is_function(obj) else member_names(obj):
            if self._left <= 0:
                break
            try:
                described = self._member(obj, member_name, here, depth)
            except Exception:
                # One member that cannot even be looked at hides itself and nothing else.
                continue
            self._left -= 1
            if isinstance(described, MethodDescription):
                methods.append(described)
            elif isinstance(described, PropertyDescription):
                properties.append(described)
            elif described is not None:
                objects.append(described)
        return ObjectDescription(
            name=name,
            type=_type_of(obj),
            doc=_doc_of(obj),
            methods=tuple(methods),
            properties=tuple(properties),
            objects=tuple(objects),
            callable=self._own_call(name, obj, above) if callable(obj) else None,
            dynamic=not is_function(obj) and not is_class(obj) and is_dynamic(obj),
        )

    def _own_call(self, name: str, obj: Any, above: tuple[tuple[str, Any], ...]) -> MethodDescription:
        here = (*above, (name, obj))
        path = ".".join([*(step for step, _ in here[1:]), "__call__"])
        return replace(
            _method(name, obj, obj, self._is_beside(here, ""), _doc_of(obj)), read_only=self._only_reads(path)
        )

    def _is_beside(self, here: tuple[tuple[str, Any], ...], name: str) -> bool:
        path = [step for step, _ in here[1:]] + ([name] if name else [])
        try:
            return self._beside(".".join(path))
        except NotExposedError:
            return False

    def _member(
        self, owner: Any, name: str, here: tuple[tuple[str, Any], ...], depth: int
    ) -> MethodDescription | PropertyDescription | ObjectDescription | None:
        found = member(owner, name)
        if found is None or found.kind == "closed":
            return None
        if found.kind == "object":
            if depth <= 0 or any(found.value is obj for _, obj in here):
                return None
            return self.describe(name, found.value, here, depth - 1)
        beside = self._is_beside(here, name)
        doc = _inherited_doc(owner, name, found.static)
        if found.kind == "method":
            path = ".".join([*(step for step, _ in here[1:]), name])
            return replace(
                _method(name, bound_callable(owner, found), found.static, beside, doc), read_only=self._only_reads(path)
            )
        return PropertyDescription(name, doc, _property_type(found), writable=found.writable, concurrent=beside)


def _method(name: str, func: Any, static: Any, beside: bool, doc: str) -> MethodDescription:
    shape = Shape.of(func)
    signature = shape.signature
    plain = static.__func__ if isinstance(static, (staticmethod, classmethod)) else static
    return MethodDescription(
        name=name,
        doc=doc,
        parameters=None if signature is None else tuple(_describe(one) for one in signature.parameters.values()),
        returns=None if signature is None else annotation_text(signature.return_annotation),
        concurrent=beside,
        is_async=is_function(plain) and inspect.iscoroutinefunction(inspect.unwrap(plain)),
        is_command=shape.job is not None or (is_function(plain) and generates(inspect.unwrap(plain))),
    )


def _describe(parameter: inspect.Parameter) -> ParameterDescription:
    has_default = parameter.default is not inspect.Parameter.empty
    return ParameterDescription(
        name=parameter.name,
        kind=parameter.kind.name.lower(),
        annotation=annotation_text(parameter.annotation),
        default=_plain_or_repr(parameter.default) if has_default else None,
        has_default=has_default,
    )


def _property_type(found: Member) -> str | None:
    if found.value is not MISSING:
        return None if found.value is None else _type_of(found.value)
    getter = getattr(found.static, "fget", None) or getattr(found.static, "func", None)
    signature = signature_of(getter) if is_function(getter) else None
    return None if signature is None else annotation_text(signature.return_annotation)


def _type_of(obj: Any) -> str:
    if is_module(obj):
        return "module"
    if is_class(obj):
        return "class"
    cls = type(obj)
    module = cls.__module__
    return cls.__qualname__ if module in ("builtins", None) else f"{module}.{cls.__qualname__}"


def _doc_of(obj: Any) -> str:
    if is_module(obj):
        return _clean(vars(obj).get("__doc__"))
    return _clean(obj.__doc__ if is_class(obj) or is_function(obj) else type(obj).__doc__)


def _inherited_doc(owner: Any, name: str, static: Any) -> str:
    """The member's own documentation, or that of what it overrides; a plain value has none."""
    documented = (property, staticmethod, classmethod)
    if is_class(static) or is_function(static) or isinstance(static, documented) or hasattr(type(static), "__get__"):
        own = _clean(getattr(static, "__doc__", None))
        if own or is_module(owner):
            return own
        for base in (owner if is_class(owner) else type(owner)).__mro__:
            inherited = _clean(getattr(base.__dict__.get(name), "__doc__", None))
            if inherited:
                return inherited
    return ""


def _clean(doc: Any) -> str:
    return inspect.cleandoc(doc)[:_MAX_DOC] if isinstance(doc, str) else ""


# --- plain data ------------------------------------------------------------------------------------------------------


class _Reading:
    """Whatever goes wrong while plain data is read was the sender's mistake."""

    def __init__(self, what: str) -> None:
        self._what = what

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: Any, error: BaseException | None, _traceback: Any) -> None:
        if isinstance(error, Exception):
            raise MalformedError(f"this is no {self._what}: {type(error).__name__}: {error}") from error


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(f"text is needed, not {type(value).__name__}")
    return value


def _small(value: Any) -> int:
    if not isinstance(value, int) or not 0 <= value < 1 << 32:
        raise TypeError(f"a small number is needed, not {type(value).__name__}")
    return value


def _stream(plain: Mapping[str, Any]) -> dict[str, Any]:
    """The configuration of a stream, of which a listing shows some entries."""
    stream = dict(plain)
    _text_or_none(stream.get("kind"))
    frequency_hz = stream.get("frequency_hz")
    if frequency_hz is not None and not isinstance(frequency_hz, float):
        _small(frequency_hz)
    return stream


def _text_or_none(value: Any) -> str | None:
    return None if value is None else _text(value)


def _all(read: Callable[[Any], T], items: Iterable[Any]) -> tuple[T, ...]:
    return tuple(read(item) for item in items)


def _router(plain: Mapping[str, Any]) -> ServerDescription | RouterState:
    return RouterState.from_dict(plain) if "state" in plain else ServerDescription.from_dict(plain)


def _is_plain(value: Any, depth: int = 3) -> bool:
    """Whether a value is small, and the same after a journey through msgpack or JSON."""
    kind = type(value)
    if kind is list and depth:
        return len(value) <= _MAX_PLAIN_ITEMS and all(_is_plain(item, depth - 1) for item in value)
    if kind is dict and depth:
        keys_fit = all(type(key) is str for key in value)
        return (
            len(value) <= _MAX_PLAIN_ITEMS and keys_fit and all(_is_plain(item, depth - 1) for item in value.values())
        )
    if kind is int:
        return bool(-(2**63) <= value < 2**63)
    if kind is float:
        return math.isfinite(value)
    if kind is str:
        return len(value) <= _MAX_PLAIN_TEXT
    return value is None or kind is bool


def _plain_or_repr(value: Any) -> Any:
    if isinstance(value, DefaultRepr) or _is_plain(value):
        return value
    return DefaultRepr(repr_text(value, 200))


def _marked(value: Any) -> dict[str, Any]:
    plain = _plain_or_repr(value)
    return {"repr": plain.text} if isinstance(plain, DefaultRepr) else {"value": plain}


def _unmarked(marked: Mapping[str, Any]) -> Any:
    return DefaultRepr(_text(marked["repr"])) if "repr" in marked else marked["value"]


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
