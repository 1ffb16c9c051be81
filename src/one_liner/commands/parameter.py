"""How a function asks for its job: by a parameter that is annotated `Job`, which its callers do not see."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Mapping, Sequence
from inspect import Parameter, Signature
from typing import Any, NamedTuple, get_args

from one_liner.commands.job import Job
from one_liner.errors import BadArgumentsError
from one_liner.rpc.members import find, is_function
from one_liner.rpc.signatures import signature_of, signature_text

_BY_POSITION = (Parameter.POSITIONAL_ONLY, Parameter.POSITIONAL_OR_KEYWORD)
_WRITTEN = re.compile(r"""(?:Optional\[)?\s*["']?((?:\w+\.)*Job)["']?\s*\]?(?:\s*\|\s*None)?""")


class Shape(NamedTuple):
    """How a command is called.

    Attributes:
        signature: as its callers see it; None where it cannot be known.
        job: the parameter that its job belongs to; None when it asks for none.
        place: where that parameter stands.
    """

    signature: Signature | None
    job: Parameter | None = None
    place: int = 0

    @classmethod
    def of(cls, func: Any) -> Shape:
        """The shape of anything that can be called; none of its code runs."""
        signature = signature_of(func)
        if signature is None:
            return cls(None)
        parameters = list(signature.parameters.values())
        for index, parameter in enumerate(parameters):
            if _is_job(parameter, func):
                without = parameters[:index] + parameters[index + 1 :]
                return cls(signature.replace(parameters=without), parameter, index)
        return cls(signature)

    def check(self, where: str, args: Sequence[Any], kwargs: Mapping[str, Any]) -> None:
        """Refuse arguments that do not fit.

        Raises:
            BadArgumentsError: saying what is wrong, with the signature.
        """
        if self.signature is None:
            return
        try:
            self.signature.bind(*args, **kwargs)
        except TypeError as error:
            raise BadArgumentsError(f"{where}{signature_text(self.signature)}: {error}") from None

    def with_job(
        self, job: Job, args: Sequence[Any], kwargs: Mapping[str, Any]
    ) -> tuple[Sequence[Any], Mapping[str, Any]]:
        """The arguments of the function itself: the caller's, which fit, and its job."""
        if self.job is None or self.signature is None:
            return args, kwargs
        bound = self.signature.bind(*args, **kwargs)
        if self.job.kind is Parameter.POSITIONAL_ONLY:
            bound.apply_defaults()
        if self.job.kind in _BY_POSITION and len(bound.args) >= self.place:
            return [*bound.args[: self.place], job, *bound.args[self.place :]], bound.kwargs
        return bound.args, {**bound.kwargs, self.job.name: job}


def generates(func: Any) -> bool:
    """Whether a plain function is a generator, whose yields are progress."""
    return inspect.isgeneratorfunction(func) or inspect.isasyncgenfunction(func)


def _is_job(parameter: Parameter, func: Any) -> bool:
    if parameter.kind in (Parameter.VAR_POSITIONAL, Parameter.VAR_KEYWORD):
        return False
    annotation = parameter.annotation
    if annotation is Job or Job in get_args(annotation):
        return True
    return isinstance(annotation, str) and _names_job(annotation, func)


def _names_job(text: str, func: Callable[..., Any]) -> bool:
    """Whether an annotation that stands as text means our `Job`, and not a class of that name of somebody else."""
    written = _WRITTEN.fullmatch(text.strip())
    if written is None:
        return False
    plain = inspect.unwrap(getattr(func, "__func__", func)) if is_function(func) else find(type(func), "__call__")[0]
    first, *rest = written[1].split(".")
    found: Any = getattr(plain, "__globals__", {}).get(first)
    for name in rest:
        found = None if found is None else vars(found).get(name) if hasattr(found, "__dict__") else None
    # Imported for type checkers only, or inside a function: then the word decides.
    return found is None or found is Job
