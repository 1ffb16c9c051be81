"""What may happen in between: each test has one thing happen exactly where another one is under way."""

from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any, cast

import pytest
import zmq

from one_liner.clock import SYSTEM_CLOCK
from one_liner.errors import ServerLostError
from one_liner.limits import DEFAULT_LIMITS
from one_liner.rpc.forwarder import Asker, Forwarder
from one_liner.rpc.link import Link, State
from one_liner.transport.endpoints import Endpoint
from one_liner.wire.messages import Kind, Request


@pytest.fixture
def context() -> Iterator[zmq.Context[Any]]:
    """Of this test alone."""
    made: zmq.Context[Any] = zmq.Context()
    yield made
    made.destroy(linger=0)


# --- a router whose upstream is restarted ---------------------------------------------------------------------------


def test_a_call_that_comes_while_the_upstream_restarts_hides_nothing_of_those_before(
    context: zmq.Context[Any],
) -> None:
    """The link knows of the new server already, and the thread that leads has not been told yet."""
    upstream = context.socket(zmq.ROUTER)
    port = upstream.bind_to_random_port("tcp://127.0.0.1")
    link = SimpleNamespace(
        endpoint=Endpoint.of("tcp", "127.0.0.1", port),
        heartbeat_s=1.0,
        limits=DEFAULT_LIMITS,
        curve=None,
        refusals=0,
        ready=True,
        state=State.CONNECTED,
        session=1,
    )
    forwarder = Forwarder("up", "us", context, cast(Link, link), SYSTEM_CLOCK)
    forwarder.socket.poll(5000, zmq.POLLOUT)
    before, after = Asker(b"client", 1), Asker(b"client", 2)
    forwarder.forward(before, Request(Kind.CALL, 1, 0, "stage", b"\xc0"))
    link.session = 2
    forwarder.forward(after, Request(Kind.CALL, 2, 0, "stage", b"\xc0"))
    ((asker, error),) = forwarder.refresh()
    assert asker == before
    assert isinstance(error, ServerLostError)
    assert "may or may not have run" in str(error)
    assert forwarder.knows(after)
    assert all(upstream.poll(5000) and upstream.recv_multipart() for _ in range(2))
    forwarder.close()
    upstream.close(linger=0)
