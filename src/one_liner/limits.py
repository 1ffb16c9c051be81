"""How much of anything one side takes from the other: the numbers, in one place.

Both ends have them, with the same defaults, which nobody at work meets. Beyond one of them the peer that went there
gets a `LimitError`, and everybody else is served as before.
"""

from __future__ import annotations

from one_liner.errors import ConfigurationError
from one_liner.frozen import Frozen


class Limits(Frozen):
    """What protects this side. Give the same object to a server or a client, or one of your own: `limits=Limits(…)`.

    Attributes:
        message_bytes: the largest frame that is received; libzmq drops the connection that brings a larger one.
        depth: how many containers may sit inside each other in a value.
        elements: how many items the containers of a value may have together; the numbers in an array count as nothing.
        calls_per_client: how many calls of one client may run or wait.
        calls: how many calls may run or wait together, those that were passed on to other servers on top.
        jobs_per_client: how many jobs of one client may run or wait.
        jobs: how many jobs may run or wait together.
        clients: how many clients may be connected at a time.
        topics: how many different streams, and beginnings of their names, may be subscribed to at a server before it
            stops to care who listens.
        topic_bytes: how long the name of one may be.
        malformed: after so many messages that cannot be read, all from one connection, it is ignored for a while.
        ignored_s: for how long, in s.
    """

    message_bytes: int = 1 << 30
    depth: int = 100
    elements: int = 10_000_000
    calls_per_client: int = 1000
    calls: int = 10_000
    jobs_per_client: int = 100
    jobs: int = 1000
    clients: int = 1000
    topics: int = 100_000
    topic_bytes: int = 4096
    malformed: int = 20
    ignored_s: float = 10.0

    def __post_init__(self) -> None:
        """Check every number.

        Raises:
            ConfigurationError: naming the first that cannot be.
        """
        for name, value in vars(self).items():
            kinds = int | float if name == "ignored_s" else int
            if isinstance(value, bool) or not isinstance(value, kinds) or not 0 < value < float("inf"):
                raise ConfigurationError(f"limits: {name} is a number above 0, not {value!r}")


DEFAULT_LIMITS = Limits()


def check_limits(limits: object) -> Limits:
    """The limits that a user gave, or the defaults for None.

    Raises:
        ConfigurationError: it is something else.
    """
    if limits is None:
        return DEFAULT_LIMITS
    if not isinstance(limits, Limits):
        raise ConfigurationError(f"limits is a one_liner.limits.Limits, not {limits!r}")
    return limits
