"""A stream of which nothing comes says why, as far as anybody knows: a mistyped name, a wrong port, a server away."""

from __future__ import annotations

import logging
import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import pytest
import zmq

from one_liner import RouterClient, RouterServer
from one_liner.errors import NoDataError, StreamTimeoutError, UnknownStreamError
from one_liner.streams import receiver as receiver_module
from tests.conftest import poll_until

HEARTBEAT_S = 0.3
TYPO = "the server has no stream 'cma'; did you mean 'cam'?"


@contextmanager
def serving(**options: Any) -> Iterator[RouterServer]:
    options = {"rpc_port": 0, "broadcast_port": 0, "heartbeat_s": HEARTBEAT_S, **options}
    with RouterServer(**options) as server:
        server.run()
        yield server


@contextmanager
def client_of(server: RouterServer, broadcast_port: int | str | None = None, **options: Any) -> Iterator[RouterClient]:
    options = {"rpc_port": server.rpc_port, "broadcast_port": broadcast_port, "heartbeat_s": HEARTBEAT_S, **options}
    with RouterClient(**options) as client:
        yield client


def why(client: RouterClient, name: str = "cam") -> str:
    """What is said at present."""
    with pytest.raises(NoDataError) as caught:
        client.get_stream(name)
    assert type(caught.value) is NoDataError
    assert isinstance(caught.value, zmq.Again)
    return str(caught.value)


@pytest.mark.parametrize("protocol", ["tcp", "inproc"])
def test_a_mistyped_name(protocol: str, caplog: pytest.LogCaptureFixture) -> None:
    with serving(protocol=protocol) as server, client_of(server, protocol=protocol) as client:
        server.get_stream_fn("cam")
        for name in ("cam", "cma", "weather"):
            client.configure_stream(name, wait=True, timeout_s=20)
        poll_until(lambda: TYPO in why(client, "cma"))
        assert why(client, "cma") == f"nothing new from stream 'cma': {TYPO}"
        poll_until(lambda: "the server has no stream 'weather'; there are: cam" in why(client, "weather"))
        assert why(client) == "nothing new from stream 'cam'"
        with pytest.raises(StreamTimeoutError, match=r"nothing new from stream 'cma' within .* s: the server has no"):
            client.get_stream("cma", timeout_s=0.01)
        with pytest.raises(NoDataError, match="has had no sample yet: the server has no stream 'cma'"):
            client.last_sample("cma")
        # In the log once, and not at once: a stream may be configured before it exists.
        poll_until(lambda: "stream cma" in caplog.text, timeout_s=20)
        records = [one for one in caplog.records if one.name == "one_liner.streams.receiver"]
        assert all(one.levelno == logging.WARNING for one in records)
        assert sum("stream cma" in one.getMessage() for one in records) == 1


def test_a_server_is_asked_again_when_its_answer_came_before_its_marker(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    held: list[threading.Timer] = []
    with serving() as server, client_of(server) as client:
        mark = server._broadcast.mark

        def mark_late(*arguments: Any) -> None:
            held.append(threading.Timer(0.1, mark, arguments))
            held[-1].start()

        monkeypatch.setattr(server._broadcast, "mark", mark_late)
        for pause in "_RETRY_S", "_RETRY_MAX_S":
            monkeypatch.setattr(receiver_module, pause, 5.0)  # Not asked a second time for want of the first marker.
        client.configure_stream("cam")
        poll_until(lambda: "stream cam: the server has no stream" in caplog.text, timeout_s=20)
        for timer in held:
            timer.join()


def test_a_stream_that_comes_later_is_found(caplog: pytest.LogCaptureFixture) -> None:
    with serving() as server, client_of(server) as client:
        client.configure_stream("cam", wait=True, timeout_s=20)
        poll_until(lambda: "the server has no stream 'cam'; there are: none" in why(client))
        push = server.get_stream_fn("cam")
        push(7)
        assert client.get_stream("cam", timeout_s=20).data == 7
        poll_until(lambda: why(client) == "nothing new from stream 'cam'", timeout_s=20)


def test_a_mistyped_name_behind_routers() -> None:
    with ExitStack() as stack:
        far = stack.enter_context(serving())
        far.get_stream_fn("cam")
        near = stack.enter_context(serving())
        near.add_router("north", rpc_port=far.rpc_port)
        client = stack.enter_context(client_of(near))
        for name in ("north/cma", "nrth/cam"):
            client.configure_stream(name)
        poll_until(lambda: TYPO in why(client, "north/cma"), timeout_s=20)
        poll_until(lambda: "the server has no stream 'nrth/cam'" in why(client, "nrth/cam"), timeout_s=20)


def test_a_router_that_is_down_is_named() -> None:
    with socket.socket() as nobody, serving() as near:
        nobody.bind(("127.0.0.1", 0))
        near.add_router("north", rpc_port=nobody.getsockname()[1])
        with client_of(near) as client:
            client.configure_stream("north/cam")
            poll_until(lambda: "router 'north'" in why(client, "north/cam"), timeout_s=20)


@pytest.mark.parametrize("wrong", ["nobody's", "of calls"])
def test_a_port_where_no_streams_are(wrong: str) -> None:
    with socket.socket() as nobody, serving() as server:
        nobody.bind(("127.0.0.1", 0))
        port = nobody.getsockname()[1] if wrong == "nobody's" else server.rpc_port
        with client_of(server, port) as client:
            client.configure_stream("cam")
            expected = (
                f"the server answers, but there is no connection to its streams: tcp://localhost:{port}; "
                f"is that its broadcast port? It says {server.broadcast_port}"
            )
            poll_until(lambda: expected in why(client), timeout_s=20)


def test_the_port_of_another_server() -> None:
    with serving() as server, serving() as other, client_of(server, other.broadcast_port) as client:
        server.get_stream_fn("cam")
        client.configure_stream("cam")
        expected = f"does not come from tcp://localhost:{other.broadcast_port}; is that its broadcast port? It says"
        poll_until(lambda: expected in why(client), timeout_s=20)


def test_a_server_that_is_not_there_yet_and_one_that_went() -> None:
    with serving() as server:
        ports = {"rpc_port": server.rpc_port, "broadcast_port": server.broadcast_port}
    with RouterClient(**ports, heartbeat_s=HEARTBEAT_S) as client:
        client.configure_stream("cam")
        assert "has not answered yet" in why(client)
        receiver = client._reception.receiver
        assert receiver is not None
        poll_until(lambda: receiver._markers, what="the subscription to be taken up")
        assert receiver._patience_ms() is None, "it does not spin while there is nobody to ask"
        with serving(**ports) as server:
            push = server.get_stream_fn("cam")
            client.wait_until_connected(20)
            poll_until(lambda: push(1) and client.stream_statistics("cam").waiting)
        poll_until(lambda: client.state == "lost", timeout_s=20)
        while client.stream_statistics("cam").waiting:
            client.get_stream("cam")
        assert why(client) == "nothing new from stream 'cam': the server is lost"


def test_a_stream_that_cannot_be_switched_is_named_with_what_may_be_meant() -> None:
    with serving() as server, client_of(server) as client:
        server.get_stream_fn("cam")
        with pytest.raises(UnknownStreamError, match="no stream 'cma'; did you mean 'cam'"):
            client.enable_stream("cma")
