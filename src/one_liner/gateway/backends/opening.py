"""From what a user writes to a backend: `memory`, `memory://name`, `zmq://…`, `redis://…`, `nats://…`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from one_liner.errors import ConfigurationError, MissingExtraError
from one_liner.gateway.backends.backend import Alone, Backend
from one_liner.gateway.backends.carrier import Carrier
from one_liner.gateway.backends.exchange import Exchange


def open_backend(url: str) -> Backend:
    """The backend that a URL names; it is not started yet.

    Raises:
        ConfigurationError: there is none.
        MissingExtraError: it needs a library that is not installed.
    """
    scheme, separator, rest = url.partition("://")
    if url == "memory":
        return Alone()
    maker = _CARRIERS.get(scheme)
    if not separator or not rest or maker is None:
        known = ", ".join(f"{one}://…" for one in _CARRIERS)
        raise ConfigurationError(f"a backend is memory, {known}, not {url!r}")
    try:
        return Exchange(maker(url))
    except ImportError as error:
        if error.name is None or error.name.partition(".")[0] not in ("redis", "nats"):
            raise
        raise MissingExtraError(f"{scheme}:// needs: pip install 'one_liner[gateway]'") from None


def _memory(url: str) -> Carrier:
    from one_liner.gateway.backends.memory import MemoryCarrier

    return MemoryCarrier(url.removeprefix("memory://"))


def _zmq(url: str) -> Carrier:
    from one_liner.gateway.backends.zmq import ZmqCarrier

    return ZmqCarrier(url)


def _redis(url: str) -> Carrier:
    from one_liner.gateway.backends.redis import RedisCarrier

    return RedisCarrier(url)


def _nats(url: str) -> Carrier:
    from one_liner.gateway.backends.nats import NatsCarrier

    return NatsCarrier(url)


_CARRIERS: Final[dict[str, Callable[[str], Carrier]]] = {
    "memory": _memory,
    "zmq": _zmq,
    "redis": _redis,
    "rediss": _redis,
    "nats": _nats,
    "tls": _nats,
}
