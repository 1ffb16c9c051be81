"""What is served, described by looking only: no property is read, no foreign code runs."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Any, Final

from one_liner.commands.parameter import Shape, generates
from one_liner.errors import NotExposedError, UnknownObjectError
from one_liner.rpc.description import (
    MethodDescription,
    NamedCallDescription,
    ObjectDescription,
    ParameterDescription,
    PropertyDescription,
    RouterState,
    ServerDescription,
)
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
from one_liner.rpc.plain import plain_or_repr
from one_liner.rpc.signatures import annotation_text, signature_of
from one_liner.version import __version__
from one_liner.wire.messages import PROTOCOL_VERSION

_MAX_DEPTH: Final = 3
_MAX_MEMBERS: Final = 3000
_MAX_DOC: Final = 10_000


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
        default=plain_or_repr(parameter.default) if has_default else None,
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
