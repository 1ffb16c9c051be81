"""The window on a `RouterServer` for asyncio.

`AsyncRouterClient`, and what it hands out: jobs, leases, proxies, events, and functions that are called in the loop.
On any event loop. Calls go through one connection, however many are in flight; the loop attends to it itself, or where
it cannot, as Windows' Proactor, a thread. Samples and events come to the threads of the client that is inside, and
wake the loop. What is said to the server is not here: that is the core, in `rpc/`, `streams/` and `events/`.
"""

from one_liner.aio.background import anew, in_background, stopped
from one_liner.aio.callback import AsyncCallback
from one_liner.aio.client import AsyncRouterClient
from one_liner.aio.events import AsyncEventStream
from one_liner.aio.job import AsyncJob
from one_liner.aio.lease import AsyncLease
from one_liner.aio.proxy import AsyncProxy
from one_liner.commands.info import JobInfo
from one_liner.commands.state import JobState
from one_liner.events.event import Event, Topic
from one_liner.rpc.description import (
    MethodDescription,
    NamedCallDescription,
    ObjectDescription,
    ParameterDescription,
    PropertyDescription,
    ServerDescription,
)
from one_liner.rpc.link import State
from one_liner.rpc.plain import DefaultRepr
from one_liner.streams.configuration import StreamConfigurations
from one_liner.streams.sample import Sample

__all__ = [
    "AsyncCallback",
    "AsyncEventStream",
    "AsyncJob",
    "AsyncLease",
    "AsyncProxy",
    "AsyncRouterClient",
    "DefaultRepr",
    "Event",
    "JobInfo",
    "JobState",
    "MethodDescription",
    "NamedCallDescription",
    "ObjectDescription",
    "ParameterDescription",
    "PropertyDescription",
    "Sample",
    "ServerDescription",
    "State",
    "StreamConfigurations",
    "Topic",
    "anew",
    "in_background",
    "stopped",
]
