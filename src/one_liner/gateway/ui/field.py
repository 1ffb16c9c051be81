"""One argument in a form: what is typed for it is made from its annotation and its default."""

from __future__ import annotations

from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from nicegui import ui

from one_liner.aio import DefaultRepr, ParameterDescription
from one_liner.gateway.annotations import type_of
from one_liner.gateway.ui.values import text_of
from one_liner.gateway.words import read_word


class Field:
    """A field for one parameter, in the element that is being filled.

    One that is left empty is not given, so that its default counts over there.

    Args:
        described: the parameter.
    """

    def __init__(self, described: ParameterDescription) -> None:
        self.name = described.name
        self._kind, self._choices, self._optional = kind_of(described.annotation)
        default = described.default if described.has_default else None
        plain = not isinstance(default, DefaultRepr)
        self._untouched = default if described.has_default and plain else None
        hint = (text_of(default) if plain else str(default)) if described.has_default else ""
        label = described.name if described.annotation is None else f"{described.name}: {described.annotation}"
        self._element = self._make(label, hint, default if plain else None).props(f'data-field="{self.name}"')
        self.needed = not described.has_default

    def _make(self, label: str, hint: str, default: Any) -> Any:
        if self._kind == "bool":
            return ui.checkbox(label, value=bool(default)).props("dense")
        if self._kind == "choice":
            chosen = default if default in self._choices else None
            return ui.select(list(self._choices), label=label, value=chosen).props("dense outlined options-dense")
        if self._kind in ("int", "float"):
            number = ui.number(label, placeholder=hint, step=1 if self._kind == "int" else "any")  # type: ignore[arg-type]
            return number.props("dense outlined stack-label")
        return ui.input(label, placeholder=hint).props("dense outlined stack-label")

    @property
    def element(self) -> Any:
        """What is on the page."""
        return self._element

    @property
    def given(self) -> bool:
        """Whether something else than the default was entered."""
        value = self._element.value
        if self._kind == "bool":
            return self.needed or value != self._untouched
        if self._kind == "choice":
            return value is not None or (self._optional and self.needed)
        return value not in (None, "") or (self.needed and self._kind == "str")

    @property
    def value(self) -> Any:
        """What was entered, as what the annotation says it is."""
        value = self._element.value
        if self._kind in ("bool", "choice"):
            return value
        if self._kind == "str":
            return value or ""
        if self._kind == "int" and isinstance(value, float) and value.is_integer():
            return int(value)
        return value if self._kind in ("int", "float") else read_word(value)


def kind_of(annotation: str | None) -> tuple[str, tuple[Any, ...], bool]:
    """How a value of this type is entered: "bool", "int", "float", "str", "choice", or "any" for what JSON can say.

    Gives also what there is to choose from, and whether it may be None.
    """
    found, optional = type_of(annotation), False
    if get_origin(found) in (Union, UnionType):
        members = [one for one in get_args(found) if one is not type(None)]
        optional = len(members) < len(get_args(found))
        found = members[0] if len(members) == 1 else Any
    if get_origin(found) is Annotated:
        found = get_args(found)[0]
    if get_origin(found) is Literal:
        return "choice", get_args(found), optional
    plain = {bool: "bool", int: "int", float: "float", str: "str"}.get(found)
    return (plain if plain is not None and not (optional and plain == "bool") else "any"), (), optional
