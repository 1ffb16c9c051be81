"""The test kit: what lives here is for tests, ours and those of whoever builds on one_liner.

Clocks to be moved by hand, faults and the proxy that injects them into real connections, servers in processes of their
own, and a way to wait. Nothing in the library imports it. Fixtures for pytest are in `one_liner.testing.fixtures`,
which alone needs pytest.
"""

from one_liner.testing.clock import FakeClock, ShiftedClock
from one_liner.testing.conditions import poll_until
from one_liner.testing.faults import (
    Corrupt,
    Cut,
    Delay,
    Drop,
    Duplicate,
    Fault,
    Freeze,
    MessageFault,
    Reorder,
    Sever,
    Throttle,
    TimedFault,
    Truncate,
)
from one_liner.testing.process import SubprocessServer
from one_liner.testing.proxy import FaultProxy, Injected
from one_liner.testing.script import parse, write
from one_liner.testing.way import Struck

__all__ = [
    "Corrupt",
    "Cut",
    "Delay",
    "Drop",
    "Duplicate",
    "FakeClock",
    "Fault",
    "FaultProxy",
    "Freeze",
    "Injected",
    "MessageFault",
    "Reorder",
    "Sever",
    "ShiftedClock",
    "Struck",
    "SubprocessServer",
    "Throttle",
    "TimedFault",
    "Truncate",
    "parse",
    "poll_until",
    "write",
]
