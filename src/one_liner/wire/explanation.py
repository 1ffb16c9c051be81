"""What can't be carried, and where it sits: `result["stage"].handle: <serial.Serial> cannot be carried`."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import Any, Final

from one_liner.errors import NotCarriableError
from one_liner.wire.advice import advice
from one_liner.wire.shown import shown
from one_liner.wire.terms import Terms
from one_liner.wire.types import Refusal, name_of, parts_of, registration_of
from one_liner.wire.writer import Writer

# How many parts of a value are tried, at most, in search of the one that can't be carried.
_SEARCHED_PARTS: Final = 200_000


def explain(terms: Terms, whole: Any, root: str, refusal: Refusal) -> NotCarriableError:
    """Walk down to what was refused, packing the parts one by one, and say where that is."""
    writer = Writer(terms)
    path, value, above = root, whole, {id(whole): whole}
    while (found := _refused_part(writer, value)) is not None and len(above) <= terms.max_depth:
        step, value, refusal = found
        path += step
        if id(value) in above:
            return _not_carriable(path, value, "contains itself and cannot be carried")
        above[id(value)] = value
    if refusal.too_deep:
        return _not_carriable(root, whole, f"is {refusal.reason} and cannot be carried")
    if refusal.reason:
        return _not_carriable(path, value, f"cannot be carried: {refusal.reason}")
    return _not_carriable(path, value, f"cannot be carried; {advice(type(value))}")


def _refused_part(writer: Writer, value: Any) -> tuple[str, Any, Refusal] | None:
    for step, part in islice(_parts(value), _SEARCHED_PARTS):
        try:
            writer.pack_whole(part)
        except Refusal as refusal:
            return step, part, refusal
        finally:
            writer.take_buffers()
    return None


def _not_carriable(path: str, value: Any, what: str) -> NotCarriableError:
    type_name = name_of(type(value))
    return NotCarriableError(f"{path}: <{type_name}> {what}", path=path, type_name=type_name)


def _parts(value: Any) -> Iterator[tuple[str, Any]]:
    """What a value consists of, each with the step that leads to it."""
    registration = registration_of(type(value))
    try:
        if registration is not None:
            yield from parts_of(registration, value)
        elif isinstance(value, dict):
            yield from ((".keys()", key) for key in value)
            yield from ((f"[{shown(key)}]", item) for key, item in value.items())
        elif isinstance(value, tuple) and hasattr(value, "_fields"):
            yield from ((f".{name}", item) for name, item in zip(value._fields, value, strict=False))
        elif isinstance(value, (list, tuple)):
            yield from ((f"[{index}]", item) for index, item in enumerate(value))
        elif isinstance(value, (set, frozenset)):
            yield from (("{…}", item) for item in value)
        elif type(value) is slice:
            yield from ((f".{name}", getattr(value, name)) for name in ("start", "stop", "step"))
    except Exception:  # code of the user, or a container that changes meanwhile: then this is as far as it goes
        return
