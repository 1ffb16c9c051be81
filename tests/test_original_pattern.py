"""Scripts written for the pattern as it was first published run as they are."""

from __future__ import annotations

import inspect
import socket
import time
from collections.abc import Iterator
from typing import Any

import pytest
import zmq

from one_liner.client import RouterClient
from one_liner.server import RouterServer
from tests.conftest import default_ports, poll_until

pytestmark = default_ports
PATIENCE_S = 20.0


class Sensor:
    """As in the scripts of the time."""

    def __init__(self) -> None:
        self.gain = 1

    def get_value(self) -> int:
        return 5

    def add(self, a: int, b: int = 0, c: int = 0) -> tuple[int, int, int]:
        return (a, b, c)


def wait_for(client: RouterClient, name: str) -> Any:
    """How scripts waited for a sample without blocking: by catching `zmq.Again`."""

    def try_once() -> Any:
        try:
            return client.get_stream(name)
        except zmq.Again:
            return None

    return poll_until(try_once, PATIENCE_S, f"a sample of {name}")


@pytest.fixture
def ports() -> tuple[str, str]:
    """The default ports; two free ones where somebody has those."""
    with socket.socket() as one, socket.socket() as two:
        for probe, port in ((one, 5555), (two, 5556)):
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                break
        else:
            return "5555", "5556"
    with RouterServer(rpc_port=0, broadcast_port=0) as server:
        return str(server.rpc_port), str(server.broadcast_port)


@pytest.fixture
def pair(ports: tuple[str, str]) -> Iterator[tuple[RouterServer, RouterClient]]:
    server = RouterServer("tcp", "127.0.0.1", *ports, instances={"sensor": Sensor()})
    client = RouterClient("tcp", "localhost", *ports)
    yield server, client
    client.close()
    server.close()


def test_signatures_are_those_of_the_design() -> None:
    server = list(inspect.signature(RouterServer).parameters.values())
    assert [(p.name, p.default) for p in server[:7]] == [
        ("protocol", "tcp"),
        ("interface", "127.0.0.1"),
        ("rpc_port", "5555"),
        ("broadcast_port", "5556"),
        ("context", None),
        ("instances", None),
        ("config", None),
    ]
    client = list(inspect.signature(RouterClient).parameters.values())
    assert [(p.name, p.default) for p in client[:5]] == [
        ("protocol", "tcp"),
        ("interface", "localhost"),
        ("rpc_port", "5555"),
        ("broadcast_port", "5556"),
        ("context", None),
    ]
    for parameters, fixed in ((server, 7), (client, 5)):
        assert all(p.kind is p.POSITIONAL_OR_KEYWORD for p in parameters[:fixed])
        assert all(p.kind is p.KEYWORD_ONLY for p in parameters[fixed:])


@pytest.mark.parametrize(
    ("method", "names"),
    [
        (RouterServer.run, ["block"]),
        (RouterServer.add_named_call, ["call_name", "obj_name", "attr_name", "args", "kwargs"]),
        (
            RouterServer.add_stream,
            ["stream_name", "frequency_hz", "obj_name", "attr_name", "args", "kwargs", "enabled", "serializer"],
        ),
        (
            RouterServer.add_stream_from_callable,
            ["stream_name", "frequency_hz", "func", "args", "kwargs", "enabled", "serializer"],
        ),
        (RouterServer.get_stream_fn, ["name", "set_timestamp", "serializer"]),
        (RouterServer.add_zmq_stream, ["name", "address", "enabled", "log_chatter"]),
        (RouterServer.add_router, ["name"]),
        (RouterClient.call, ["obj_name", "attr_name", "args", "kwargs", "get_timestamp"]),
        (RouterClient.call_by_name, ["call_name", "args", "kwargs", "get_timestamp"]),
        (RouterClient.configure_stream, ["name", "storage_type"]),
        (RouterClient.get_stream, ["name", "block"]),
        (RouterClient.get_stream_configurations, ["as_dict"]),
    ],
    ids=lambda value: getattr(value, "__qualname__", None),
)
def test_the_methods_take_what_they_took(method: Any, names: list[str]) -> None:
    parameters = list(inspect.signature(method).parameters.values())[1:]
    assert [p.name for p in parameters[: len(names)]] == names
    assert all(p.kind is p.POSITIONAL_OR_KEYWORD for p in parameters[: len(names)])


def test_a_script_with_calls(pair: tuple[RouterServer, RouterClient]) -> None:
    server, client = pair
    server.add_named_call("add_defaults", "sensor", "add", args=[1, 2], kwargs={"c": 3})
    server.run()
    assert client.call("sensor", "get_value") == 5
    assert client.call("sensor", "add", [1], {"b": 2}) == (1, 2, 0)
    assert client.call(obj_name="sensor", attr_name="add", args=[1], kwargs={"c": 2}) == (1, 0, 2)
    timestamp, value = client.call("sensor", "get_value", get_timestamp=True)
    assert value == 5
    assert timestamp <= time.perf_counter()
    assert client.call_by_name("add_defaults") == (1, 2, 3)
    assert client.call_by_name("add_defaults", args=[9]) == (9, 2, 3)
    assert client.call_by_name("add_defaults", kwargs={"c": 9}) == (1, 2, 9)
    timestamp, value = client.call_by_name("add_defaults", get_timestamp=True)
    assert value == (1, 2, 3)
    assert timestamp <= time.perf_counter()
    assert client.server_version == server.version == server.get_version() == client.version


def test_a_script_with_streams(pair: tuple[RouterServer, RouterClient]) -> None:
    server, client = pair  # the client was there before the server ran
    client.configure_stream("value", storage_type="queue")
    client.configure_stream("latest", storage_type="cache")
    client.configure_stream("manual")
    with pytest.raises(zmq.Again):
        client.get_stream("value")
    server.add_stream("value", 100, "sensor", "get_value")
    server.add_stream_from_callable("latest", 50, lambda: time.perf_counter())
    push = server.get_stream_fn("manual")
    server.run()
    timestamp, data = client.get_stream("value", block=True)
    assert data == 5
    assert isinstance(timestamp, float)
    assert wait_for(client, "value")[1] == 5
    timestamp, newest = client.get_stream("latest", block=True)
    assert abs(timestamp - newest) < 1.0
    client.configure_stream("manual", wait=True, timeout_s=20)
    push({"frame": 1})
    assert client.get_stream("manual", block=True)[1] == {"frame": 1}
    server.disable_stream("value")
    server.enable_stream("value")
    client.disable_stream("latest")
    client.enable_stream("latest")
    server.remove_stream("latest")


def test_a_cached_reader_that_is_slow_sees_the_newest(pair: tuple[RouterServer, RouterClient]) -> None:
    server, client = pair
    push = server.get_stream_fn("frames", set_timestamp=True)
    server.run()
    client.configure_stream("frames", "cache", wait=True, timeout_s=20)
    for index in range(100):
        push(float(index), index)
    poll_until(lambda: client.stream_statistics("frames").expected == 100, what="all samples to arrive")
    assert client.get_stream("frames") == (99.0, 99)
    with pytest.raises(zmq.Again):
        client.get_stream("frames")


def test_a_script_with_a_config(ports: tuple[str, str]) -> None:
    config = {
        "named_calls": {"value": {"obj_name": "sensor", "attr_name": "add", "args": [1], "kwargs": {"b": 2}}},
        "periodic_streams": {
            "fast": {"frequency_hz": 100, "obj_name": "sensor", "attr_name": "get_value"},
            "off": {
                "frequency_hz": 10,
                "obj_name": "sensor",
                "attr_name": "add",
                "args": [1],
                "kwargs": {},
                "enabled": False,
            },
        },
    }
    with (
        RouterServer(
            rpc_port=ports[0], broadcast_port=ports[1], instances={"sensor": Sensor()}, config=config
        ) as server,
        RouterClient(rpc_port=ports[0], broadcast_port=ports[1]) as client,
    ):
        server.run()
        client.configure_stream("fast")
        assert client.call_by_name("value") == (1, 2, 0)
        assert client.get_stream("fast", block=True)[1] == 5
        described: Any = client.get_stream_configurations(as_dict=True)
        assert set(described["periodic_streams"]) == {"fast", "off"}
        assert described["periodic_streams"]["fast"]["enabled"] is True
        assert described["periodic_streams"]["off"]["enabled"] is False
        configurations = client.get_stream_configurations()
        assert configurations["fast"].frequency_hz == 100
        assert not configurations["off"].enabled


def test_servers_within_one_process_share_a_context() -> None:
    context: zmq.Context[Any] = zmq.Context()
    video = RouterServer("inproc", "video", rpc_port="", context=context, instances={"camera": Sensor()})
    motion = RouterServer(
        protocol="inproc", interface="motion", rpc_port="", context=context, instances={"s": Sensor()}
    )
    video.add_stream("frames", 100, "camera", "get_value")
    video.run()
    motion.run()
    client = RouterClient("inproc", "video", "", context=context)
    other = RouterClient(protocol="inproc", interface="motion", rpc_port="", context=context)
    client.configure_stream("frames")
    assert client.call("camera", "get_value") == 5
    assert other.call("s", "get_value") == 5
    assert client.get_stream("frames", block=True)[1] == 5
    for closable in (client, other, video, motion):
        closable.close()
    context.term()


@pytest.mark.parametrize(("server_port", "client_port"), [("0", int), (0, str)])
def test_ports_are_text_or_numbers(server_port: Any, client_port: Any) -> None:
    with RouterServer(rpc_port=server_port, broadcast_port=server_port, instances={"sensor": Sensor()}) as server:
        server.run()
        with RouterClient(
            rpc_port=client_port(server.rpc_port), broadcast_port=client_port(server.broadcast_port)
        ) as client:
            assert client.call("sensor", "get_value") == 5


def test_both_packages_give_the_same_classes() -> None:
    import one_liner

    assert one_liner.RouterServer is RouterServer
    assert one_liner.RouterClient is RouterClient
