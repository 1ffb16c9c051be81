"""What a method takes, as FastAPI sees it, and back: a model for the body, or parameters of a query."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from inspect import Parameter
from typing import Annotated, Any

from fastapi import Query
from pydantic import BaseModel, ConfigDict, Field, create_model
from typing_extensions import TypedDict

from one_liner.aio import DefaultRepr, MethodDescription, ParameterDescription
from one_liner.gateway.annotations import is_scalar, type_of

ArrayReference = TypedDict("ArrayReference", {"$array": int})
"""A stored array in place of its numbers."""

_REST = "args"


class Arguments:
    """The arguments of one method.

    Args:
        described: the method.
        title: a name for the model that no other has.
    """

    def __init__(self, described: MethodDescription, title: str) -> None:
        self._title = title
        parameters = described.parameters
        self._known = [one for one in parameters or () if not one.kind.startswith("var_")]
        kinds = {one.kind for one in parameters or ()}
        self._more = parameters is None or "var_positional" in kinds
        self._more_by_name = parameters is None or "var_keyword" in kinds
        self._fields = {f"p{index}": one for index, one in enumerate(self._known)}
        self._rest = "rest" if self._more and all(one.name != _REST for one in self._known) else None

    @property
    def fit_a_query(self) -> bool:
        """Whether all of them are single words."""
        plain = all(is_scalar(one.annotation) and one.kind != "positional_only" for one in self._known)
        return plain and not self._more and not self._more_by_name

    @property
    def needed(self) -> bool:
        """Whether it cannot be called without any."""
        return any(not one.has_default for one in self._known)

    @property
    def none(self) -> bool:
        """Whether it takes none."""
        return not self._known and not self._more and not self._more_by_name

    def model(self) -> type[BaseModel]:
        """The body, an object of the arguments by name; those of `*args` are a list named `args`."""
        fields: dict[str, Any] = {}
        for name, one in self._fields.items():
            default = ... if not one.has_default else None if isinstance(one.default, DefaultRepr) else one.default
            fields[name] = (body_type(one), Field(default, alias=one.name))
        if self._rest is not None:
            fields[self._rest] = (list[Any], Field([], alias=_REST))
        config = ConfigDict(extra="allow" if self._more_by_name else "forbid", title=self._title)
        return create_model(self._title, __config__=config, **fields)

    def from_model(self, body: BaseModel | None) -> tuple[list[Any], dict[str, Any]]:
        """What was given, as `call` takes it."""
        args: list[Any] = []
        kwargs: dict[str, Any] = {}
        if body is None:
            return args, kwargs
        rest = getattr(body, self._rest) if self._rest is not None else []
        by_position = bool(rest)
        for name, one in self._fields.items():
            if name not in body.model_fields_set:
                by_position = False
            elif one.kind == "positional_only" or (by_position and one.kind == "positional_or_keyword"):
                args.append(getattr(body, name))
            else:
                kwargs[one.name] = getattr(body, name)
        return [*args, *rest], {**kwargs, **(body.model_extra or {})}

    def query(self) -> list[Parameter]:
        """Parameters of an endpoint."""
        found = []
        for name, one in self._fields.items():
            plain = not isinstance(one.default, DefaultRepr)
            default = Parameter.empty if not one.has_default else one.default if plain else None
            kind: Any = type_of(one.annotation)
            annotation: Any = Annotated[kind if plain else kind | None, Query(alias=one.name)]
            found.append(Parameter(name, Parameter.KEYWORD_ONLY, default=default, annotation=annotation))
        return found

    def from_query(self, values: Mapping[str, Any], given: Sequence[str]) -> dict[str, Any]:
        """What was given, by name."""
        return {one.name: values[name] for name, one in self._fields.items() if one.name in given}


def body_type(described: ParameterDescription) -> Any:
    """The type of a parameter in a body: a list may also be an array that is stored."""
    found = type_of(described.annotation)
    return found | ArrayReference if getattr(found, "__origin__", None) is list else found


def identifier(*parts: str) -> str:
    """A name made of several, for models and operations."""
    return "_".join(re.sub(r"\W", "_", part) for part in parts)
