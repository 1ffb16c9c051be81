"""Annotations of served methods, which arrive as text, as types that FastAPI can check and describe.

Nothing is evaluated: a small grammar is read, and whatever is not in it is any value.
"""

from __future__ import annotations

import ast
import datetime
from typing import Annotated, Any, Literal, Union

from pydantic import Field

_PLAIN: dict[str, Any] = {
    "bool": bool,
    "int": Annotated[int, Field(ge=-(2**63), le=2**64 - 1)],
    "float": Annotated[float, Field(allow_inf_nan=False)],
    "str": str,
    "None": None,
    "list": list[Any],
    "tuple": list[Any],
    "Sequence": list[Any],
    "set": list[Any],
    "dict": dict[str, Any],
    "Mapping": dict[str, Any],
    "datetime": datetime.datetime,
    "date": datetime.date,
}
_OF_ONE = frozenset(("list", "List", "Sequence", "Iterable", "Collection", "set", "Set", "frozenset"))
_OF_TWO = frozenset(("dict", "Dict", "Mapping"))
_SCALARS = frozenset(("bool", "int", "float", "str", "datetime", "date"))


def type_of(annotation: str | None) -> Any:
    """The type that an annotation means; `Any` for one that is not understood."""
    tree = _parsed(annotation)
    try:
        return Any if tree is None else _read(tree)
    except (TypeError, ValueError, RecursionError):  # Of what typing makes no type of.
        return Any


def is_scalar(annotation: str | None) -> bool:
    """Whether a value of this type fits into a query as one word."""
    tree = _parsed(annotation)
    return tree is not None and _is_scalar(tree)


def _parsed(annotation: str | None) -> ast.expr | None:
    """None where there is no annotation, or none that can be read."""
    if annotation is None:
        return None
    try:
        return ast.parse(annotation, mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None


def _is_scalar(node: ast.expr) -> bool:
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.BitOr):
        return all(_is_scalar(side) or _name(side) == "None" for side in (node.left, node.right))
    if isinstance(node, ast.Subscript):
        return _name(node.value) == "Literal"
    return _name(node) in _SCALARS


def _read(node: ast.expr) -> Any:
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.BitOr):
        left, right = _read(node.left), _read(node.right)
        return Any if Any in (left, right) else Union[left, right]  # noqa: UP007
    if isinstance(node, ast.Subscript):
        return _read_subscript(_name(node.value), node.slice)
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return type_of(node.value)
    return _PLAIN.get(_name(node), Any)


def _read_subscript(name: str, inside: ast.expr) -> Any:
    items = inside.elts if isinstance(inside, ast.Tuple) else [inside]
    if not items:
        return Any
    if name == "Optional":
        inner = _read(items[0])
        return Any if inner is Any else Union[inner, None]  # noqa: UP007
    if name == "Union":
        members = [_read(item) for item in items]
        return Any if Any in members else Union[tuple(members)]  # noqa: UP007
    if name == "Literal":
        values = [item.value for item in items if isinstance(item, ast.Constant) and item.value is not ...]
        return Literal[tuple(values)] if values and len(values) == len(items) else Any
    if name in _OF_ONE:
        return list[_read(items[0])]  # type: ignore[misc]
    if name in _OF_TWO and len(items) == 2:
        return dict[str, _read(items[1])]  # type: ignore[misc]
    if name in ("tuple", "Tuple"):
        if len(items) == 2 and isinstance(items[1], ast.Constant) and items[1].value is ...:
            return list[_read(items[0])]  # type: ignore[misc]
        return tuple[tuple(_read(item) for item in items)]  # type: ignore[misc]
    return Any


def _name(node: ast.expr) -> str:
    """The last part of a dotted name; "None" for None."""
    if isinstance(node, ast.Attribute):
        return node.attr
    if isinstance(node, ast.Name):
        return node.id
    return "None" if isinstance(node, ast.Constant) and node.value is None else ""
