"""Small values whose fields never change: what frozen dataclasses are, less their price.

`dataclasses` writes and compiles half a dozen functions for each class at the moment that is imported: half a
millisecond for each, a third of what importing this library would cost. Here they are written once, for all classes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, NoReturn, Self, dataclass_transform

if TYPE_CHECKING:
    from inspect import Signature


class _Signature:
    """The fields as parameters, for `help` and editors."""

    def __get__(self, _: object, cls: type[Frozen]) -> Signature:
        from inspect import Parameter, Signature  # Not everybody's 3 ms.

        return Signature(
            [
                Parameter(
                    name,
                    Parameter.POSITIONAL_OR_KEYWORD,
                    default=cls._defaults.get(name, Parameter.empty),
                    annotation=annotation,
                )
                for name, annotation in cls._fields.items()
            ]
        )


@dataclass_transform(frozen_default=True)
class Frozen:
    """Base of classes that name their fields as dataclasses do: `name: type`, or `name: type = default`.

    Instances are made, compared, hashed and shown by their fields; `vars` gives these as a dict, in their order. All
    instances share a default, so it is something that never changes either.
    """

    __signature__: ClassVar = _Signature()
    _fields: ClassVar[dict[str, Any]] = {}
    _defaults: ClassVar[dict[str, Any]] = {}

    def __init_subclass__(cls) -> None:
        own = cls.__annotations__
        cls._fields = {**cls._fields, **own}
        cls._defaults = {**cls._defaults, **{name: vars(cls)[name] for name in own if name in vars(cls)}}
        type.__setattr__(cls, "__match_args__", cls.field_names())  # Checkers know it, and cannot see it set.

    @classmethod
    def field_names(cls) -> tuple[str, ...]:
        """What the fields are called, in their order."""
        return tuple(cls._fields)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        names = self.field_names()
        given = {**self._defaults, **dict(zip(names, args, strict=False)), **kwargs}
        twice = kwargs and not kwargs.keys().isdisjoint(names[: len(args)])
        if twice or len(args) > len(names) or given.keys() != self._fields.keys():
            self._refuse(args, kwargs)
        vars(self).update((name, given[name]) for name in names)
        self.__post_init__()

    def _refuse(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> NoReturn:
        try:
            type(self).__signature__.bind(*args, **kwargs)
        except TypeError as error:
            raise TypeError(f"{type(self).__name__}: {error}") from None
        raise AssertionError("unreachable: the fields fit")

    def __post_init__(self) -> None:
        """Check the fields. By default they may be anything."""

    def __replace__(self, **changes: Any) -> Self:
        """The same with other values in some fields; what `copy.replace` calls."""
        return type(self)(**{**vars(self), **changes})

    def __setattr__(self, name: str, _: Any) -> NoReturn:
        raise AttributeError(f"a {type(self).__name__} never changes: cannot set {name!r}")

    def __delattr__(self, name: str) -> NoReturn:
        raise AttributeError(f"a {type(self).__name__} never changes: cannot delete {name!r}")

    def __eq__(self, other: object) -> bool:
        return vars(self) == vars(other) if type(other) is type(self) else NotImplemented

    def __hash__(self) -> int:
        return hash(tuple(vars(self).values()))

    def __repr__(self) -> str:
        return f"{type(self).__qualname__}({', '.join(f'{name}={value!r}' for name, value in vars(self).items())})"
