"""What users configure, as plain data: whether it can be right, and which entry cannot.

A configuration of a server has `named_calls`, `periodic_streams` and `observed_properties`, each entry the arguments
of `add_…` or `observe`, and `security`, with the keys of the server and the file of clients that it lets in. The same
shape comes from a dict in a script and from a TOML file. Nothing here makes anything.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from numbers import Real
from types import MappingProxyType
from typing import Any, Self

from one_liner.errors import ConfigurationError
from one_liner.frozen import Frozen


class _Entry(Frozen):
    """One entry; its fields are the keys that it may have."""

    @classmethod
    def read(cls, where: str, data: Any) -> Self:
        """Check the keys of an entry.

        Raises:
            ConfigurationError: it is no dict, a key is unknown, or one is missing.
        """
        if not isinstance(data, Mapping):
            raise ConfigurationError(f"{where} has to be a dict of arguments, not {data!r}")
        known = set(cls.field_names())
        unknown = sorted(str(key) for key in set(data) - known)
        missing = sorted(known - set(cls._defaults) - set(data))
        if unknown:
            raise ConfigurationError(f"{where} has unknown keys {unknown}; there are {sorted(known)}")
        if missing:
            raise ConfigurationError(f"{where} lacks {missing}")
        return cls(**data)

    def arguments(self) -> dict[str, Any]:
        """The entry as keyword arguments."""
        return dict(vars(self))


class NamedCallEntry(_Entry):
    """The arguments of `RouterServer.add_named_call`, less the name."""

    obj_name: str
    attr_name: str
    args: list[Any] | None = None
    kwargs: dict[str, Any] | None = None


class PeriodicStreamEntry(_Entry):
    """The arguments of `RouterServer.add_stream`, less the name."""

    frequency_hz: float
    obj_name: str
    attr_name: str
    args: list[Any] | None = None
    kwargs: dict[str, Any] | None = None
    enabled: bool = True
    serializer: Any = "msgpack"
    on_demand: bool = False


class ObservedPropertyEntry(_Entry):
    """The arguments of `RouterServer.observe`, less the property, which is the entry's name: `laser.power`."""

    frequency_hz: float | None = None


class SecurityEntry(_Entry):
    """The arguments of `RouterServer` that say who may come in."""

    keys: Any = None
    clients: Any = None


class ServerConfig(Frozen):
    """Everything that a configuration asks for.

    Attributes:
        named_calls: by name.
        periodic_streams: by name.
        observed_properties: by whole name.
        security: who may come in, where the arguments do not say so.
    """

    named_calls: Mapping[str, NamedCallEntry] = MappingProxyType({})
    periodic_streams: Mapping[str, PeriodicStreamEntry] = MappingProxyType({})
    observed_properties: Mapping[str, ObservedPropertyEntry] = MappingProxyType({})
    security: SecurityEntry = SecurityEntry()

    @classmethod
    def read(cls, data: Mapping[str, Any] | None) -> ServerConfig:
        """Check a configuration as a whole.

        Raises:
            ConfigurationError: naming the first entry that cannot be right.
        """
        if data is None:
            return cls()
        if not isinstance(data, Mapping):
            raise ConfigurationError(f"a configuration is a dict, not {data!r}")
        known = ("named_calls", "periodic_streams", "observed_properties", "security")
        unknown = sorted(str(key) for key in set(data) - set(known))
        if unknown:
            raise ConfigurationError(f"a configuration has no sections {unknown}; there are {list(known)}")
        return cls(
            {str(name): NamedCallEntry.read(where, entry) for name, where, entry in _section(data, known[0])},
            {str(name): PeriodicStreamEntry.read(where, entry) for name, where, entry in _section(data, known[1])},
            {str(name): ObservedPropertyEntry.read(where, entry) for name, where, entry in _section(data, known[2])},
            SecurityEntry.read("security", data.get("security") or {}),
        )


def _section(data: Mapping[str, Any], name: str) -> list[tuple[Any, str, Any]]:
    section = data.get(name)
    if section is None:
        return []
    if not isinstance(section, Mapping):
        raise ConfigurationError(f"{name} has to be a dict of entries by name, not {section!r}")
    return [(key, f"{name}[{key!r}]", entry) for key, entry in section.items()]


def check_interval(what: str, seconds: object) -> float:
    """A positive, finite number of seconds.

    Raises:
        ConfigurationError: it is something else.
    """
    if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not 0 < seconds < float("inf"):
        raise ConfigurationError(f"{what} is a positive number of seconds, not {seconds!r}")
    return float(seconds)


def check_timeout(timeout_s: object) -> float | None:
    """A timeout in seconds, or None.

    Raises:
        ConfigurationError: it is negative or no number.
    """
    if timeout_s is None or (type(timeout_s) is float and timeout_s >= 0):
        return timeout_s
    if isinstance(timeout_s, bool) or not isinstance(timeout_s, int | float) or not timeout_s >= 0:
        raise ConfigurationError(f"a timeout is a number of seconds from 0 on, or None; not {timeout_s!r}")
    try:
        return float(timeout_s)
    except OverflowError:
        return float("inf")


def check_if_busy(if_busy: object) -> str:
    """What is to become of a call that would have to wait for another one.

    Raises:
        ConfigurationError: it is neither "wait" nor "refuse".
    """
    if if_busy not in ("wait", "refuse"):
        raise ConfigurationError(f'if_busy is "wait" or "refuse", not {if_busy!r}')
    return str(if_busy)


def check_arguments(what: str, args: Any, kwargs: Any) -> tuple[list[Any], dict[str, Any]]:
    """Arguments as lists and dicts, from what a user gave.

    Raises:
        ConfigurationError: they are something else.
    """
    if type(args) is list and kwargs is None:
        return list(args), {}  # Nearly all calls: looking at it more closely takes four times as long.
    if args is not None and (isinstance(args, str | bytes) or not isinstance(args, Sequence)):
        raise ConfigurationError(f"args of {what!r} is a list of arguments, not {args!r}")
    if kwargs is not None and (not isinstance(kwargs, Mapping) or not all(isinstance(key, str) for key in kwargs)):
        raise ConfigurationError(f"kwargs of {what!r} is a dict of arguments by name, not {kwargs!r}")
    return list(args or ()), dict(kwargs or {})


def check_instant(timestamp: object) -> None:
    """An instant in seconds.

    Raises:
        ConfigurationError: it is no finite number.
    """
    if type(timestamp) is float and math.isfinite(timestamp):  # To ask for a Real takes ten times as long.
        return
    try:
        finite = isinstance(timestamp, Real) and not isinstance(timestamp, bool) and math.isfinite(timestamp)
    except OverflowError:
        finite = False
    if not finite:
        raise ConfigurationError(f"a timestamp is a number of seconds on time.perf_counter(), not {timestamp!r:.40}")
