"""The signatures of what can be called, and how they are written for people."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Iterable
from typing import Any

from one_liner.rpc.members import is_class, is_function


def signature_of(func: Any) -> inspect.Signature | None:
    """The signature of anything that can be called; None where there is none to be had."""
    if is_class(func) or is_function(func):
        return _signature(func)
    for base in type(func).__mro__:
        if "__call__" in base.__dict__:
            # Asking the instance itself would bother those that make attributes up.
            signature = _signature(base.__dict__["__call__"])
            break
    else:
        return None
    parameters = [] if signature is None else list(signature.parameters.values())
    if signature is not None and parameters and parameters[0].kind is not inspect.Parameter.VAR_POSITIONAL:
        signature = signature.replace(parameters=parameters[1:])
    return signature


def _signature(func: Any) -> inspect.Signature | None:
    try:
        if sys.version_info >= (3, 14):
            import annotationlib

            return inspect.signature(func, annotation_format=annotationlib.Format.STRING)
        return inspect.signature(func)
    except Exception:
        return None


def annotation_text(annotation: Any) -> str | None:
    """An annotation as one would write it; None when there is none."""
    if annotation is inspect.Signature.empty:
        return None
    if isinstance(annotation, str):
        return annotation
    try:
        return str(inspect.formatannotation(annotation))
    except Exception:
        return type(annotation).__name__


def repr_text(value: Any, limit: int = 60) -> str:
    """The `repr` of a foreign value, shortened; its type where the `repr` fails."""
    try:
        text = repr(value)
    except Exception:
        text = f"<{type(value).__qualname__}>"
    return text if len(text) <= limit else text[: limit - 3] + "..."


def signature_text(signature: inspect.Signature | None) -> str:
    """A signature as one would write it: `(watts: float, *, ramp: bool = True)`; `(...)` when it is not known."""
    if signature is None:
        return "(...)"
    return parameters_text(
        (
            parameter.name,
            parameter.kind,
            annotation_text(parameter.annotation),
            None if parameter.default is inspect.Parameter.empty else repr_text(parameter.default),
        )
        for parameter in signature.parameters.values()
    )


def parameters_text(parameters: Iterable[tuple[str, Any, str | None, str | None]]) -> str:
    """Parameters (name, kind, annotation, default as text) in parentheses, with `/` and `*` where they belong."""
    pieces: list[str] = []
    slash = star = False
    for name, kind, annotation, default in parameters:
        if slash and kind is not inspect.Parameter.POSITIONAL_ONLY:
            pieces.append("/")
        slash = kind is inspect.Parameter.POSITIONAL_ONLY
        if kind is inspect.Parameter.KEYWORD_ONLY and not star:
            pieces.append("*")
        star = star or kind in (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.KEYWORD_ONLY)
        prefix = {inspect.Parameter.VAR_POSITIONAL: "*", inspect.Parameter.VAR_KEYWORD: "**"}.get(kind, "")
        piece = prefix + name
        if annotation is not None:
            piece += f": {annotation}"
        if default is not None:
            piece += f"{' = ' if annotation is not None else '='}{default}"
        pieces.append(piece)
    if slash:
        pieces.append("/")
    return f"({', '.join(pieces)})"
