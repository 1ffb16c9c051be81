"""Named calls: a call written down once, with its arguments, and made by name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from threading import Lock
from typing import Any

from one_liner.config import check_arguments
from one_liner.errors import ConfigurationError, UnknownObjectError
from one_liner.frozen import Frozen


class NamedCall(Frozen):
    """What a name stands for.

    Attributes:
        obj_name: the served object.
        attr_name: its method or property.
        args: arguments by position, each overwritten by the caller's of the same index.
        kwargs: arguments by name, each overwritten by the caller's of the same name.
    """

    obj_name: str
    attr_name: str
    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]

    def with_arguments(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> tuple[list[Any], dict[str, Any]]:
        """The arguments of one call: the caller's, and ours where the caller gave none."""
        return [*args, *self.args[len(args) :]], {**self.kwargs, **kwargs}


class NamedCalls:
    """All named calls of a server. May be used from any thread."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._calls: dict[str, NamedCall] = {}

    def add(
        self,
        call_name: str,
        obj_name: str,
        attr_name: str,
        args: Sequence[Any] | None,
        kwargs: Mapping[str, Any] | None,
    ) -> None:
        """Write a call down; one of the same name is replaced.

        Raises:
            ConfigurationError: a name or an argument is not of the kind that it has to be.
        """
        for what, name in (("a named call", call_name), ("the object of a named call", obj_name)):
            if not isinstance(name, str) or not name or name.startswith("_"):
                raise ConfigurationError(f"{what} needs a name that does not start with an underscore, not {name!r}")
        arguments = check_arguments(call_name, args, kwargs)
        with self._lock:
            self._calls[call_name] = NamedCall(obj_name, attr_name, tuple(arguments[0]), arguments[1])

    def remove(self, call_name: str) -> None:
        """Forget one.

        Raises:
            UnknownObjectError: there is none of this name.
        """
        self.get(call_name)
        with self._lock:
            self._calls.pop(call_name, None)

    def get(self, call_name: str) -> NamedCall:
        """Look one up.

        Raises:
            UnknownObjectError: there is none of this name.
        """
        call = self._calls.get(call_name)
        if call is None:
            known = ", ".join(sorted(self._calls)) or "none"
            raise UnknownObjectError(f"no named call {call_name!r}; there are: {known}")
        return call

    def all(self) -> dict[str, NamedCall]:
        """A copy of them all."""
        with self._lock:
            return dict(self._calls)
