"""The ledger as a stream: exact, made only while somebody listens, and visible through routers."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from threading import Event
from typing import Any

import pytest
import zmq

from one_liner import RouterClient, RouterServer
from one_liner.errors import ConfigurationError, MalformedError, UnknownStreamError
from one_liner.streams.ledger import ReaderStatistics
from tests.conftest import poll_until

HEARTBEAT_S = 0.3
LEDGER = ":ledger"


@contextmanager
def serving(**options: Any) -> Iterator[RouterServer]:
    options = {"rpc_port": 0, "broadcast_port": 0, "heartbeat_s": HEARTBEAT_S, **options}
    with RouterServer(**options) as server:
        server.run()
        yield server


@contextmanager
def watching(server: RouterServer) -> Iterator[RouterClient]:
    with RouterClient(rpc_port=server.rpc_port, broadcast_port=None, heartbeat_s=HEARTBEAT_S) as client:
        yield client


class Stage:
    """Busy for as long as it is told to be."""

    def __init__(self) -> None:
        self.entered, self.release = Event(), Event()

    def read(self) -> float:
        return 1.5

    def fail(self) -> float:
        raise RuntimeError("no reference")

    def stuck(self) -> None:
        self.entered.set()
        assert self.release.wait(30)


def next_ledger(client: RouterClient, name: str = LEDGER) -> dict[str, Any]:
    """A ledger that was made after this was called: the one behind the newest."""
    client.get_stream(name, timeout_s=20)
    ledger: dict[str, Any] = client.get_stream(name, timeout_s=20).data
    return ledger


def of_server(server: RouterServer, name: str) -> dict[str, Any]:
    known: Any = server.get_stream_configurations()
    counters = ("produced", "published", "failed", "skipped_late", "skipped_busy", "last_holder", "overruns")
    return {counter: getattr(known[name], counter) for counter in counters}


def test_every_counter_is_exact() -> None:
    stage = Stage()
    with serving(instances={"stage": stage}) as server, watching(server) as client:
        push = server.get_stream_fn("pushed")
        server.add_stream("reads", 50, "stage", "read")
        server.add_stream("fails", 50, "stage", "fail")
        client.configure_stream(LEDGER, wait=True)
        client.configure_stream("pushed", "queue", max_samples=10, wait=True)
        for number in range(37):
            push(number)
        poll_until(lambda: client.stream_statistics("pushed").received == 37)
        with watching(server) as other:
            other.configure_stream("reads", wait=True)
            other.get_stream("reads", timeout_s=20)
            with pytest.raises(TimeoutError):
                other.call("stage", "stuck", timeout_s=0.3)
            poll_until(lambda: of_server(server, "reads")["skipped_busy"] > 0)
            stage.release.set()
        poll_until(lambda: of_server(server, "fails")["failed"] > 3)
        server.disable_stream("reads")
        server.disable_stream("fails")
        streams: dict[str, Any] = {}

        def agree() -> bool:  # A tick may still have been under way when its stream was disabled.
            streams.update(next_ledger(client)["streams"])
            return streams == {
                name: {**of_server(server, name), "listened": name == "pushed"} for name in ("pushed", "reads", "fails")
            }

        poll_until(agree, timeout_s=30, what="the ledger to say what the server says")
        assert streams["pushed"]["produced"] == streams["pushed"]["published"] == 37
        reader: ReaderStatistics = client.stream_statistics("pushed")
        assert reader.expected == 37
        assert (reader.waiting, reader.dropped) == (10, 27)
        assert streams["fails"]["failed"] == streams["fails"]["produced"] > 3
        assert streams["reads"]["last_holder"].startswith("stage.stuck for ")


def test_it_is_made_only_while_somebody_listens() -> None:
    with serving() as server, watching(server) as client:
        made = server._bookkeeper.stream.ledger
        push = server.get_stream_fn("pushed")
        push(1)
        assert made.summary()["produced"] == 0
        client.configure_stream(LEDGER, wait=True)
        assert next_ledger(client)["streams"]["pushed"]["produced"] == 1
        client.unconfigure_stream(LEDGER)
        stream = server._bookkeeper.stream
        poll_until(lambda: stream._last is None, what="the last ledger to be forgotten")
        before = made.summary()["produced"]
        for number in range(5):
            push(number)
        assert made.summary()["produced"] == before
        # Whoever comes next begins with how things are now, not with the last ledger of the one before.
        client.configure_stream(LEDGER, "cache", wait=True)
        assert client.get_stream(LEDGER, timeout_s=20).data["streams"]["pushed"]["produced"] == 6


def test_a_second_listener_begins_with_the_last_ledger() -> None:
    with serving() as server, watching(server) as first, watching(server) as second:
        first.configure_stream(LEDGER, wait=True)
        first.get_stream(LEDGER, timeout_s=20)
        second.configure_stream(LEDGER, "cache", wait=True)
        assert second.get_stream(LEDGER, timeout_s=20).data == {"streams": {}, "readers": {}}


@pytest.mark.parametrize("depth", [1, 3])
def test_it_goes_through_routers_under_their_prefix(depth: int) -> None:
    with ExitStack() as stack:
        servers = [stack.enter_context(serving())]
        push = servers[0].get_stream_fn("pushed")
        for _ in range(depth):
            server = stack.enter_context(serving())
            server.add_router("up", rpc_port=servers[0].rpc_port)
            servers.insert(0, server)
        client = stack.enter_context(watching(servers[0]))
        name = f"{'up/' * depth}{LEDGER}"
        client.configure_stream(name, wait=True)
        client.configure_stream(LEDGER, wait=True)
        push(1)
        push(2)
        assert next_ledger(client, name)["streams"]["pushed"]["produced"] == 2
        assert next_ledger(client)["streams"] == {}


def test_a_bare_subscriber_has_it_by_its_topic_alone() -> None:
    with serving() as server:
        server.get_stream_fn("pushed")(1)
        socket = zmq.Context.instance().socket(zmq.SUB)
        try:
            socket.connect(server.broadcast_endpoint)
            socket.subscribe(LEDGER.encode() + b"\0")
            assert socket.poll(20_000)
            assert socket.recv().startswith(LEDGER.encode() + b"\0")
        finally:
            socket.close(0)


def readers(client: RouterClient, name: str, ledger: str = LEDGER) -> dict[str, dict[str, Any]]:
    """Those of one stream by what they call themselves, in the next ledger."""
    entries = next_ledger(client, ledger)["readers"].get(name, [])
    return {entry.pop("who"): entry for entry in entries}


def test_every_reader_is_in_it_exactly() -> None:
    with serving() as server, watching(server) as operator, ExitStack() as stack:
        push = server.get_stream_fn("pushed")
        ports = {"rpc_port": server.rpc_port, "broadcast_port": None, "heartbeat_s": HEARTBEAT_S}
        anna = stack.enter_context(RouterClient(**ports, name="anna"))  # type: ignore[arg-type]
        ben = stack.enter_context(RouterClient(**ports, name="ben"))  # type: ignore[arg-type]
        anna.configure_stream("pushed", "queue", max_samples=10, wait=True)
        ben.configure_stream("pushed", "cache", last_sample=False, wait=True)
        assert ben._link.hello is not None
        assert not ben._link.hello.reports, "nobody wants to know yet"
        for number in range(37):
            push(number)
        poll_until(lambda: all(client.stream_statistics("pushed").received == 37 for client in (anna, ben)))
        for _ in range(4):
            anna.get_stream("pushed")
        ben.get_stream("pushed")
        operator.configure_stream(LEDGER, wait=True)
        found: dict[str, dict[str, Any]] = {}

        def both_have_reported() -> bool:
            found.update(readers(operator, "pushed"))
            return len(found) == 2

        poll_until(both_have_reported, timeout_s=30)
        for client, name in ((anna, "anna"), (ben, "ben")):
            assert 0 <= found[name].pop("age_s") < 30
            assert found[name] == client.stream_statistics("pushed").as_dict()
        assert (found["anna"]["delivered"], found["anna"]["waiting"], found["anna"]["dropped"]) == (4, 6, 27)
        assert (found["ben"]["delivered"], found["ben"]["conflated"]) == (1, 36)
        assert found["anna"]["expected"] == next_ledger(operator)["streams"]["pushed"]["produced"]
        assert LEDGER not in next_ledger(operator)["readers"]
        ben.close()
        poll_until(lambda: set(readers(operator, "pushed")) == {"anna"}, timeout_s=30, what="ben to be forgotten")
        operator.unconfigure_stream(LEDGER)
        poll_until(lambda: server._bookkeeper.readers.by_stream(0.0) == {}, timeout_s=20)
        poll_until(lambda: anna._link.hello is not None and not anna._link.hello.reports, timeout_s=20)


def test_readers_of_what_comes_through_a_router_are_in_the_ledger_of_the_server_they_ask() -> None:
    with serving() as far, serving() as near, watching(near) as client:
        push = far.get_stream_fn("pushed")
        near.add_router("north", rpc_port=far.rpc_port)
        client.configure_stream("north/pushed", wait=True)
        client.configure_stream(LEDGER, wait=True)
        push(1)
        poll_until(lambda: client.stream_statistics("north/pushed").waiting == 1)

        def reported() -> bool:
            return [one["waiting"] for one in readers(client, "north/pushed").values()] == [1]

        poll_until(reported, timeout_s=30)


def test_a_report_that_cannot_be_is_an_error_to_its_client() -> None:
    with serving() as server, watching(server) as client:
        client.configure_stream(LEDGER, wait=True)
        next_ledger(client)
        for wrong in None, 5, [], {"x": 5}, {"x": {}}, {5: {}}, {"x": {"received": 1}}, {"x" * 2000: {}}:
            with pytest.raises(MalformedError, match=r"report|name of a stream"):
                client._control("", "report_ledger", streams=wrong)
        assert next_ledger(client)["readers"] == {}


def test_nobody_else_may_have_such_a_name() -> None:
    with serving(instances={"stage": Stage()}) as server, watching(server) as client:
        adders = (
            lambda: server.add_stream(LEDGER, 1, "stage", "read"),
            lambda: server.add_stream_from_callable(":mine", 1, float),
            lambda: server.get_stream_fn(LEDGER),
            lambda: server.add_zmq_stream(LEDGER, "tcp://127.0.0.1:5999"),
            lambda: client.add_stream(LEDGER, 1, "stage", "read"),
        )
        for add in adders:
            with pytest.raises(ConfigurationError, match="server's own"):
                add()
        assert server.get_stream_configurations(as_dict=True) == {
            "periodic_streams": {},
            "manual_streams": {},
            "zmq_streams": {},
        }
    with pytest.raises(ConfigurationError, match="server's own"):
        RouterServer(
            rpc_port=0,
            broadcast_port=0,
            instances={"stage": Stage()},
            config={"periodic_streams": {LEDGER: {"frequency_hz": 1, "obj_name": "stage", "attr_name": "read"}}},
        )


def test_it_cannot_be_switched_or_removed() -> None:
    with serving() as server, watching(server) as client:
        for act in (client.disable_stream, client.enable_stream, client.remove_stream, server.remove_stream):
            with pytest.raises(UnknownStreamError, match="runs while somebody listens"):
                act(LEDGER)


def test_a_server_that_never_ran_closes() -> None:
    RouterServer(rpc_port=0, broadcast_port=0).close()
