"""Why the arguments of a call do not fit, once it has failed with a `TypeError`."""

from __future__ import annotations

import inspect
import types
from collections.abc import Mapping, Sequence
from typing import Any

from one_liner.rpc.members import is_function
from one_liner.rpc.signatures import signature_of, signature_text


def misfit(func: Any, args: Sequence[Any], kwargs: Mapping[str, Any], error: TypeError) -> str | None:
    """Why the arguments do not fit, with the signature in front; None when the function itself raised the error."""
    if _was_entered(func, error):
        return None
    signature = signature_of(func)
    if signature is None:
        return f"(...): {error}" if error.__traceback__ is not None and error.__traceback__.tb_next is None else None
    try:
        signature.bind(*args, **kwargs)
    except TypeError as reason:
        return f"{signature_text(signature)}: {reason}"
    return None


def _was_entered(func: Any, error: TypeError) -> bool:
    """Whether the function ran. A decorator around it may have, and handed on what does not fit."""
    frame = error.__traceback__ and error.__traceback__.tb_next
    if frame is None:
        return False
    outer = func.__func__ if issubclass(type(func), types.MethodType) else func
    inner = inspect.unwrap(outer) if is_function(outer) else outer
    if inner is outer or not issubclass(type(inner), types.FunctionType):
        return True
    code = inner.__code__
    while frame is not None:
        if frame.tb_frame.f_code is code:
            return True
        frame = frame.tb_next
    return False
