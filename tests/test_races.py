"""What may happen in between: each test has one thing happen exactly where another one is under way."""

from __future__ import annotations

from collections.abc import Iterator
from threading import get_ident
from types import SimpleNamespace
from typing import Any, cast

import pytest
import zmq

from one_liner import RouterClient, RouterServer
from one_liner.clock import SYSTEM_CLOCK
from one_liner.errors import ServerLostError
from one_liner.limits import DEFAULT_LIMITS
from one_liner.rpc.forwarder import Asker, Forwarder
from one_liner.rpc.link import Link, State
from one_liner.streams.bookkeeper import LEDGER
from one_liner.transport import fanout
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


# --- a publisher on which others send -------------------------------------------------------------------------------


def test_no_socket_is_polled_by_one_thread_while_another_one_sends(monkeypatch: pytest.MonkeyPatch) -> None:
    """libzmq ends the process then, sooner or later: who repeats a last sample sends on the way that it took."""
    polled: dict[Any, set[int]] = {}
    sent: dict[Any, set[int]] = {}
    register, send_frames = zmq.Poller.register, fanout.send_frames

    def registering(poller: zmq.Poller, socket: Any, flags: int = zmq.POLLIN) -> None:
        polled.setdefault(socket, set()).add(get_ident())
        register(poller, socket, flags)

    def sending(socket: Any, frames: Any, flags: int = 0) -> None:
        sent.setdefault(socket, set()).add(get_ident())
        send_frames(socket, frames, flags)

    monkeypatch.setattr(zmq.Poller, "register", registering)
    monkeypatch.setattr(fanout, "send_frames", sending)
    monkeypatch.setattr(fanout.Publisher, "introduce", lambda _: None)  # Polls too, with the lock.
    with RouterServer(rpc_port=0, broadcast_port=0) as source, RouterServer(rpc_port=0, broadcast_port=0) as server:
        source.add_stream_from_callable("ticks", 50, lambda: 1)
        server.add_zmq_stream("ticks", source.broadcast_endpoint)
        source.run()
        server.run()
        for _ in range(2):  # The second one is late, and has the last sample repeated.
            with RouterClient(rpc_port=server.rpc_port, broadcast_port=None) as client:
                for name in ("ticks", LEDGER):
                    client.configure_stream(name, "cache", wait=True, timeout_s=20)
                    client.get_stream(name, timeout_s=20)
    assert any(len(threads) > 1 for threads in sent.values()), "nothing was repeated"
    shared = {socket for socket, threads in sent.items() if len(threads | polled.get(socket, threads)) > 1}
    assert not shared & polled.keys()
