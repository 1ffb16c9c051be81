"""Streams at the server: what makes samples, when, and what becomes of the neighbours when one of them misbehaves."""

from __future__ import annotations

import json
import math
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Barrier, Event, Lock, Thread
from typing import Any

import pytest
import zmq

from one_liner import RouterClient, RouterServer
from one_liner.errors import (
    ConfigurationError,
    MalformedError,
    NoDataError,
    NotCarriableError,
    SourceFailedError,
)
from one_liner.wire.codec import Codec
from one_liner.wire.messages import Encoding
from one_liner.wire.serializers import value_of
from tests.conftest import busy_for, poll_until

HEARTBEAT_S = 0.3


class Laser:
    """A served object with a method, a property and arguments."""

    def __init__(self) -> None:
        self.power = 1.5

    @property
    def temperature(self) -> float:
        return 21.5

    def scaled(self, factor: float, offset: float = 0.0) -> float:
        return self.power * factor + offset


class Counting:
    """A source that counts its calls; every value is new."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self) -> int:
        self.calls += 1
        return self.calls


class Gate:
    """A source that is stuck while the gate is shut."""

    def __init__(self) -> None:
        self.entered = Event()
        self.open = Event()
        self.calls = 0

    def __call__(self) -> int:
        self.calls += 1
        self.entered.set()
        assert self.open.wait(20)
        return self.calls


@contextmanager
def serving(**options: Any) -> Iterator[RouterServer]:
    with RouterServer(rpc_port=0, broadcast_port=0, heartbeat_s=HEARTBEAT_S, **options) as server:
        server.run()
        yield server


@contextmanager
def watching(server: RouterServer, **options: Any) -> Iterator[RouterClient]:
    options = {"heartbeat_s": HEARTBEAT_S, "broadcast_port": server.broadcast_port, **options}
    with RouterClient(rpc_port=server.rpc_port, **options) as client:
        yield client


@pytest.fixture
def server() -> Iterator[RouterServer]:
    with serving(instances={"laser": Laser()}) as running:
        yield running


@pytest.fixture
def client(server: RouterServer) -> Iterator[RouterClient]:
    with watching(server) as connected:
        yield connected


def take(client: RouterClient, name: str, count: int) -> list[Any]:
    return [client.get_stream(name, timeout_s=5) for _ in range(count)]


# --- periodic sources ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("attr_name", "args", "kwargs", "expected"),
    [
        ("scaled", [2], None, 3.0),
        ("scaled", None, {"factor": 2, "offset": 1}, 4.0),
        ("scaled", [2], {"offset": 0.5}, 3.5),
        ("temperature", None, None, 21.5),
        ("power", None, None, 1.5),
    ],
)
def test_stream_of_methods_properties_and_attributes(
    server: RouterServer, client: RouterClient, attr_name: str, args: Any, kwargs: Any, expected: float
) -> None:
    client.configure_stream("x", wait=True)
    server.add_stream("x", 200, "laser", attr_name, args, kwargs)
    samples = take(client, "x", 5)
    assert [sample.data for sample in samples] == [expected] * 5
    assert [sample.sequence for sample in samples] == [0, 1, 2, 3, 4]


def test_stream_from_callable_takes_arguments(server: RouterServer, client: RouterClient) -> None:
    client.configure_stream("x", wait=True)
    server.add_stream_from_callable("x", 100, lambda a, b: (a, b), [1], {"b": 2})
    assert take(client, "x", 1)[0].data == (1, 2)


def test_config_dict_and_its_copy_in_json() -> None:
    config = {
        "named_calls": {"hot": {"obj_name": "laser", "attr_name": "scaled", "args": [10]}},
        "periodic_streams": {
            "power": {
                "frequency_hz": 100,
                "obj_name": "laser",
                "attr_name": "scaled",
                "args": [2],
                "serializer": "json",
            },
            "idle": {"frequency_hz": 10, "obj_name": "laser", "attr_name": "temperature", "enabled": False},
        },
    }
    with serving(instances={"laser": Laser()}, config=json.loads(json.dumps(config))) as server, watching(server) as c:
        c.configure_stream("power", wait=True)
        assert take(c, "power", 1)[0].data == 3.0
        assert c.call_by_name("hot") == 15.0
        told = c.get_stream_configurations()
        assert (told["power"].encoding, told["power"].enabled, told["idle"].enabled) == ("json", True, False)


@pytest.mark.parametrize("frequency_hz", [0, -1, -0.0, math.inf, -math.inf, math.nan, "10", True, None, 1 + 1j, [1]])
def test_impossible_frequencies_add_nothing(server: RouterServer, client: RouterClient, frequency_hz: Any) -> None:
    with pytest.raises(ConfigurationError):
        server.add_stream("x", frequency_hz, "laser", "scaled", [1])
    with pytest.raises(ConfigurationError):
        server.add_stream_from_callable("x", frequency_hz, int)
    with pytest.raises(ConfigurationError):
        client.add_stream("x", frequency_hz, "laser", "scaled", [1])
    assert "x" not in client.get_stream_configurations()
    server.add_stream("x", 100, "laser", "scaled", [1])
    with pytest.raises(ConfigurationError):
        server.add_stream("x", frequency_hz, "laser", "scaled", [1])
    assert server.get_stream_configurations()["x"].frequency_hz == 100


def test_a_source_of_5_ms_keeps_100_hz(server: RouterServer, client: RouterClient) -> None:
    client.configure_stream("x", wait=True)
    server.add_stream_from_callable("x", 100, lambda: busy_for(0.005))
    samples = take(client, "x", 101)
    told = server.get_stream_configurations()["x"]
    assert [sample.sequence for sample in samples] == list(range(101))
    # Every period has its tick or its skip: the grid itself never stretches.
    ticks = told.produced + told.skipped_late + told.skipped_busy
    elapsed_s = samples[-1].timestamp - samples[0].timestamp
    assert elapsed_s * 100 == pytest.approx(100 + told.skipped_late, abs=3)
    assert ticks >= 101
    assert told.duration_mean_s is not None
    assert told.duration_mean_s >= 0.0045


def test_an_overrunning_source_skips_and_counts(server: RouterServer, client: RouterClient) -> None:
    client.configure_stream("x", wait=True)
    server.add_stream_from_callable("x", 200, lambda: busy_for(0.022))
    samples = take(client, "x", 11)
    server.disable_stream("x")
    told = server.get_stream_configurations()["x"]
    assert told.overruns >= 10
    assert told.skipped_late >= 3 * 10
    assert (samples[-1].timestamp - samples[0].timestamp) * 200 <= told.produced + told.skipped_late + 5


def test_configuration_tells_everything(server: RouterServer, client: RouterClient) -> None:
    def measured() -> float:
        return 1.0

    server.add_stream_from_callable("x", 200, measured)
    server.add_stream("t", 50, "laser", "temperature", enabled=False, on_demand=True)
    server.get_stream_fn("m", serializer=None)
    server.add_zmq_stream("z", "tcp://127.0.0.1:9")
    poll_until(lambda: (server.get_stream_configurations()["x"].produced) > 20)  # type: ignore[union-attr]
    for told in (server.get_stream_configurations(), client.get_stream_configurations()):
        x = told["x"]
        assert (x.kind, x.enabled, x.encoding, x.return_type, x.frequency_hz) == (
            "periodic",
            True,
            "msgpack",
            "float",
            200.0,
        )
        assert "measured" in x.source
        for figure in (x.achieved_hz, x.jitter_s, x.lateness_s, x.duration_mean_s, x.duration_max_s):
            assert isinstance(figure, float)
            assert math.isfinite(figure)
        assert x.produced == x.published > 20
        t = told["t"]
        assert (t.kind, t.enabled, t.on_demand, t.frequency_hz, t.return_type) == ("periodic", False, True, 50, "float")
        assert (t.produced, t.achieved_hz) == (0, None)
        assert (told["m"].kind, told["m"].encoding, told["m"].frequency_hz) == ("manual", "raw", None)
        assert (told["z"].kind, told["z"].source) == ("zmq", "tcp://127.0.0.1:9")
    grouped = client.get_stream_configurations(as_dict=True)
    assert {group: set(entries) for group, entries in grouped.items() if entries} == {
        "periodic_streams": {"x", "t"},
        "manual_streams": {"m"},
        "zmq_streams": {"z"},
    }
    assert json.loads(json.dumps(grouped)) == grouped


# --- enable, disable, remove, replace --------------------------------------------------------------------------------


def test_disabled_is_never_called(server: RouterServer) -> None:
    idle, beside = Counting(), Counting()
    server.add_stream_from_callable("idle", 500, idle, enabled=False)
    server.add_stream_from_callable("beside", 500, beside)
    poll_until(lambda: beside.calls > 50)
    assert idle.calls == 0
    server.enable_stream("idle")
    poll_until(lambda: idle.calls > 5)
    server.disable_stream("idle")
    mark = beside.calls
    poll_until(lambda: beside.calls > mark + 2)  # a tick that was under way is over
    calls, mark = idle.calls, beside.calls
    poll_until(lambda: beside.calls > mark + 50)
    assert idle.calls == calls


def test_a_replaced_or_removed_source_behind_a_slow_neighbour_is_not_called_again(server: RouterServer) -> None:
    gate, old, removed, new = Gate(), Counting(), Counting(), Counting()
    gate.open.set()
    server.add_stream_from_callable("slow", 200, gate)
    server.add_stream_from_callable("x", 200, old)
    server.add_stream_from_callable("y", 200, removed)
    poll_until(lambda: old.calls and removed.calls)
    gate.open.clear()
    gate.entered.clear()
    assert gate.entered.wait(5)
    # The ticker is inside its round, before "x" and "y".
    server.add_stream_from_callable("x", 200, new)
    server.remove_stream("y")
    calls = old.calls, removed.calls
    gate.open.set()
    poll_until(lambda: new.calls > 3)
    assert (old.calls, removed.calls) == calls


def test_a_sample_under_way_while_its_stream_is_replaced_does_not_appear(
    server: RouterServer, client: RouterClient
) -> None:
    gate = Gate()
    client.configure_stream("x", wait=True)
    server.add_stream_from_callable("x", 100, gate)
    assert gate.entered.wait(5)
    server.add_stream_from_callable("x", 500, lambda: "new")
    assert take(client, "x", 1)[0].data == "new"
    gate.open.set()
    assert {sample.data for sample in take(client, "x", 20)} == {"new"}


def test_the_first_sample_of_a_stream_added_after_its_reader(server: RouterServer, client: RouterClient) -> None:
    """Each frequency has a publisher of its own, which has to know the readers before its first tick."""
    for index in range(60):
        name = f"s{index}"
        client.configure_stream(name, wait=True)
        server.add_stream_from_callable(name, 100 + index, lambda: 1)
        assert take(client, name, 1)[0].sequence == 0
        server.remove_stream(name)


# --- sources that misbehave ------------------------------------------------------------------------------------------


class Unprintable(Exception):
    """As broken as an exception can be."""

    def __str__(self) -> str:
        raise RuntimeError("no text")


def _raise(error: BaseException) -> Callable[[], Any]:
    def source() -> Any:
        raise error

    return source


@pytest.mark.parametrize(
    ("source", "builtin", "type_name"),
    [
        (_raise(ValueError("too hot")), ValueError, "ValueError"),
        (_raise(KeyError("k")), KeyError, "KeyError"),
        (_raise(TimeoutError("slow")), TimeoutError, "TimeoutError"),
        (_raise(SystemExit(3)), SourceFailedError, "SystemExit"),
        (_raise(KeyboardInterrupt()), SourceFailedError, "KeyboardInterrupt"),
        (_raise(StopIteration(1)), SourceFailedError, "StopIteration"),
        (_raise(Unprintable()), SourceFailedError, "tests.test_streams.Unprintable"),
        (lambda: object(), SourceFailedError, "NotCarriableError"),
        (lambda: {"a": [1, open]}, SourceFailedError, "NotCarriableError"),
        (lambda: (lambda a: a.append(a) or a)([]), SourceFailedError, "NotCarriableError"),
    ],
)
def test_a_failing_source_sends_its_error_and_harms_nobody(
    server: RouterServer, client: RouterClient, source: Callable[[], Any], builtin: type[Exception], type_name: str
) -> None:
    for name in ("bad", "after", "other"):
        client.configure_stream(name, wait=True)
    server.add_stream_from_callable("bad", 100, source)
    server.add_stream_from_callable("after", 100, lambda: "after")
    server.add_stream_from_callable("other", 70, lambda: "other")
    for sequence in range(3):
        with pytest.raises(builtin) as caught:
            client.get_stream("bad", timeout_s=5)
        assert isinstance(caught.value, SourceFailedError)
        assert caught.value.type_name == type_name
        assert client.stream_statistics("bad").delivered == sequence + 1
    assert [sample.data for sample in take(client, "after", 3) + take(client, "other", 3)] == ["after"] * 3 + [
        "other"
    ] * 3
    told = client.get_stream_configurations()
    assert told["bad"].failed == told["bad"].produced > 0
    assert (told["after"].failed, told["other"].failed) == (0, 0)


def test_a_failure_does_not_end_a_for_loop_in_silence(server: RouterServer, client: RouterClient) -> None:
    values = iter([1, 2])
    server.add_stream_from_callable("x", 100, lambda: next(values), enabled=False)
    client.configure_stream("x", wait=True)
    server.enable_stream("x")
    samples = client.stream("x", timeout_s=5)
    assert [next(samples).data, next(samples).data] == [1, 2]
    with pytest.raises(SourceFailedError, match="StopIteration"):
        next(samples, None)  # as itself it would give the default, and end a `for` loop


def test_a_serializer_that_exits_harms_nobody(server: RouterServer, client: RouterClient) -> None:
    client.configure_stream("bad", wait=True)
    client.configure_stream("after", wait=True)
    server.add_stream("bad", 100, "laser", "temperature", serializer=lambda value: sys.exit(3))
    server.add_stream_from_callable("after", 100, lambda: 1)
    take(client, "after", 3)
    with pytest.raises(SourceFailedError, match="SystemExit"):
        client.get_stream("bad", timeout_s=5)
    assert client.call("laser", "scaled", [1], timeout_s=5) == 1.5  # the lane was given up


def test_a_stuck_source_harms_no_other_frequency_and_its_neighbours_only_meanwhile(
    server: RouterServer, client: RouterClient
) -> None:
    gate = Gate()
    for name in ("neighbour", "other"):
        client.configure_stream(name, max_samples=100_000, wait=True)
    server.add_stream_from_callable("stuck", 100, gate)
    server.add_stream_from_callable("neighbour", 100, lambda: 1)
    server.add_stream_from_callable("other", 90, lambda: 1)
    assert gate.entered.wait(5)
    take(client, "other", 20)
    assert gate.calls == 1
    gate.open.set()
    take(client, "neighbour", 5)
    assert server.get_stream_configurations()["neighbour"].skipped_late > 0


def test_a_tick_that_finds_its_object_at_work_is_skipped_with_its_name(client: RouterClient) -> None:
    gate = Gate()

    class Stage:
        def move(self) -> int:
            return gate()

        def position(self) -> int:
            return 7

    stage = Stage()
    with serving(instances={"stage": stage}) as server, watching(server, name="gui") as gui:
        for name in ("p", "q", "free"):
            gui.configure_stream(name, max_samples=100_000, wait=True)
        mover = Thread(target=gui.call, args=("stage", "move"))
        mover.start()
        assert gate.entered.wait(5)
        server.add_stream("p", 200, "stage", "position")
        server.add_stream_from_callable("q", 200, stage.position)
        server.add_stream_from_callable("free", 200, lambda: 1)
        take(gui, "free", 10)
        told = server.get_stream_configurations()
        for name in ("p", "q"):
            assert told[name].produced == 0
            assert told[name].skipped_busy >= 9
            assert "stage.move" in str(told[name].last_holder)
            assert "gui" in str(told[name].last_holder)
        gate.open.set()
        mover.join()
        assert take(gui, "p", 1)[0].data == take(gui, "q", 1)[0].data == 7


# --- pushed by the application ---------------------------------------------------------------------------------------


def test_pushing_from_many_threads_keeps_every_number(server: RouterServer, client: RouterClient) -> None:
    threads, each = 8, 100  # fewer than fit anywhere on the way
    client.configure_stream("x", max_samples=threads * each + 1, wait=True)
    barrier = Barrier(threads)

    def push(number: int) -> None:
        barrier.wait()
        send = server.get_stream_fn("x")  # all of them ask at the same moment, and get the same stream
        for index in range(each):
            assert send((number, index))

    workers = [Thread(target=push, args=(number,)) for number in range(threads)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    samples = take(client, "x", threads * each)
    assert [sample.sequence for sample in samples] == list(range(threads * each))
    for number in range(threads):
        assert [data[1] for _, data in samples if data[0] == number] == list(range(each))
    assert server.get_stream_configurations()["x"].produced == threads * each


def test_own_timestamps(server: RouterServer, client: RouterClient) -> None:
    client.configure_stream("x", wait=True)
    send = server.get_stream_fn("x", set_timestamp=True)
    assert send(12.5, "then")
    timestamp, data = client.get_stream("x", timeout_s=5)
    assert (timestamp, data) == (12.5, "then")


def _dumps(value: Any) -> bytes:
    return str(value).encode()


@pytest.mark.parametrize("serializer", ["msgpack", "json", None, "pickle", (_dumps, bytes.decode), _dumps])
def test_the_same_stream_function_twice_is_the_same_stream(serializer: Any) -> None:
    with serving(allow_pickle=True) as server, watching(server, allow_pickle=True) as client:
        client.configure_stream("x", wait=True)
        first = server.get_stream_fn("x", serializer=serializer)
        second = server.get_stream_fn("x", set_timestamp=True, serializer=serializer)
        value = b"v" if serializer is None else "v"
        assert first(value)
        assert second(1.0, value)
        assert [sample.sequence for sample in take(client, "x", 2)] == [0, 1]


def test_what_cannot_be_pushed_is_an_error_here_and_no_sample(server: RouterServer, client: RouterClient) -> None:
    client.configure_stream("x", wait=True)
    send = server.get_stream_fn("x")
    with pytest.raises(NotCarriableError):
        send({"a": object()})
    assert send(ValueError("sent as a failure"))
    assert send(1)
    with pytest.raises(ValueError, match="sent as a failure"):
        client.get_stream("x", timeout_s=5)
    assert take(client, "x", 1)[0].sequence == 1


def test_a_function_of_a_disabled_removed_or_replaced_stream_says_so(server: RouterServer) -> None:
    send = server.get_stream_fn("x")
    assert send(1)
    server.disable_stream("x")
    assert not send(2)
    server.enable_stream("x")
    assert send(3)
    server.remove_stream("x")
    assert not send(4)
    again = server.get_stream_fn("x")
    assert again(5)
    server.add_stream_from_callable("x", 1, lambda: 1)
    assert not again(6)
    last = server.get_stream_fn("x")
    server.close()
    assert not last(7)


def test_a_large_sample_before_run_is_no_trouble() -> None:
    with RouterServer(rpc_port=0, broadcast_port=0) as server:
        send = server.get_stream_fn("x")
        send(bytes(6_000_000))
        server.run()
        with watching(server) as client:
            client.configure_stream("x", wait=True)
            send(b"after")
            assert take(client, "x", 1)[0].data == b"after"


def test_a_large_sample_before_run_bounds_what_waits() -> None:
    """In a process of its own: what was left to be done before `run` once ended in a segmentation fault."""
    code = (
        "from one_liner import RouterServer\n"
        "server = RouterServer(rpc_port=0, broadcast_port=0)\n"
        "server.get_stream_fn('x')(bytes(6_000_000))\n"
        "server.run()\n"
        "server.close()\n"
    )
    for _ in range(3):
        subprocess.run([sys.executable, "-X", "faulthandler", "-c", code], check=True, timeout=20)


# --- on demand -------------------------------------------------------------------------------------------------------


class Demand:
    """A stream on demand, and a beat beside it at the same frequency to tell the time by."""

    def __init__(self, server: RouterServer) -> None:
        self.source, self.beat = Counting(), Counting()
        server.add_stream_from_callable("d", 200, self.source, on_demand=True)
        server.add_stream_from_callable("d_2", 200, self.beat)

    def runs(self) -> None:
        calls = self.source.calls
        poll_until(lambda: self.source.calls > calls + 3, what="the source to be called")

    def rests(self) -> None:
        def quiet() -> bool:
            calls, mark = self.source.calls, self.beat.calls
            poll_until(lambda: self.beat.calls > mark + 12)
            return self.source.calls == calls

        poll_until(quiet, what="the source to be left alone")


def test_on_demand_follows_its_listeners(server: RouterServer) -> None:
    demand = Demand(server)
    demand.rests()
    assert demand.source.calls == 0
    with watching(server) as first, watching(server) as second:
        first.configure_stream("d_2", wait=True)  # a longer name is no listener
        demand.rests()
        assert demand.source.calls == 0
        first.configure_stream("d", wait=True)
        demand.runs()
        second.configure_stream("d", wait=True)
        first.unconfigure_stream("d")
        demand.runs()
        take(second, "d", 3)
        second.unconfigure_stream("d")
        demand.rests()
        second.configure_stream("d", wait=True)
        demand.runs()
    demand.rests()  # both are closed


def test_on_demand_hears_a_bare_subscriber(server: RouterServer) -> None:
    demand = Demand(server)
    for topic in (b"", b"d\0", b"d"):
        bare = zmq.Context.instance().socket(zmq.SUB)
        bare.connect(server.broadcast_endpoint)
        bare.subscribe(topic)
        try:
            demand.runs()
        finally:
            bare.close(0)
        demand.rests()


def test_on_demand_rests_when_its_listener_is_killed(server: RouterServer) -> None:
    demand = Demand(server)
    code = (
        "import sys\n"
        "from one_liner import RouterClient\n"
        "client = RouterClient(rpc_port=int(sys.argv[1]), broadcast_port=None)\n"
        "client.configure_stream('d', wait=True)\n"
        "client.get_stream('d', timeout_s=10)\n"
        "print('listening', flush=True)\n"
        "sys.stdin.read()\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, str(server.rpc_port)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as listener:
        assert listener.stdout is not None
        assert listener.stdout.readline().strip() == b"listening"
        demand.runs()
        listener.send_signal(signal.SIGKILL)
        listener.wait(10)
    demand.rests()


# --- serializers -----------------------------------------------------------------------------------------------------


def test_serializers_end_to_end() -> None:
    with serving(allow_pickle=True) as server, watching(server, allow_pickle=True) as client, watching(server) as wary:
        for name, serializer, value, expected in [
            ("msgpack", "msgpack", {1: (2, 3)}, {1: (2, 3)}),
            ("json", "json", {"a": [1, None]}, {"a": [1, None]}),
            ("raw", None, bytearray(b"ab"), b"ab"),
            ("pair", (_dumps, bytes.decode), 5, b"5"),
            ("pickle", "pickle", {1, 2}, {1, 2}),
        ]:
            client.configure_stream(name, wait=True)
            server.get_stream_fn(name, serializer=serializer)(value)
            assert take(client, name, 1)[0].data == expected
        client.configure_stream("pair", deserializer=(_dumps, bytes.decode), wait=True)
        wary.configure_stream("pickle", wait=True)
        server.get_stream_fn("pair", serializer=(_dumps, bytes.decode))("text")
        server.get_stream_fn("pickle", serializer="pickle")(1)
        assert take(client, "pair", 1)[0].data == "text"
        with pytest.raises(Exception, match="allow_pickle") as refused:
            wary.get_stream("pickle", timeout_s=5)
        assert not isinstance(refused.value, NoDataError)


def test_json_is_held_to_the_same_depth_at_both_ends(server: RouterServer) -> None:
    deep: list[Any] = []
    for _ in range(150):
        deep = [deep]
    flat = "[{" * 200
    push = server.get_stream_fn("json", serializer="json")
    with pytest.raises(NotCarriableError, match="deeper than 100 levels"):
        push(deep)
    assert push(flat)
    for levels in (150, 100_000):
        text = b"[" * levels + b"]" * levels
        with pytest.raises(MalformedError, match="deeper than 100 levels"):
            value_of(Encoding.JSON, text, (), Codec(), allow_pickle=False, loads=None)
    assert value_of(Encoding.JSON, json.dumps(flat).encode(), (), Codec(), allow_pickle=False, loads=None) == flat


def test_pickle_needs_the_word_at_the_server(server: RouterServer) -> None:
    with pytest.raises(ConfigurationError, match="allow_pickle"):
        server.get_stream_fn("x", serializer="pickle")
    with pytest.raises(ConfigurationError, match="allow_pickle"):
        server.add_stream("x", 1, "laser", "power", serializer="pickle")
    for wrong in ("yaml", 5, (1, 2)):
        with pytest.raises(ConfigurationError):
            server.get_stream_fn("x", serializer=wrong)
    assert "x" not in server.get_stream_configurations()


def test_bytes_of_any_shape_go_as_they_are(server: RouterServer, client: RouterClient) -> None:
    np = pytest.importorskip("numpy")
    client.configure_stream("raw", wait=True)
    send = server.get_stream_fn("raw", serializer=None)
    matrix = np.arange(12, dtype=np.uint8).reshape(3, 4)
    for value, expected in [
        (b"", b""),
        (memoryview(b"abcdef")[::2], b"ace"),
        (np.zeros((0, 3)), b""),
        (np.asfortranarray(matrix), matrix.tobytes()),
        (matrix[:, ::2], matrix[:, ::2].tobytes()),
        (matrix, matrix.tobytes()),
        (np.arange(100_000, dtype=np.uint8), np.arange(100_000, dtype=np.uint8).tobytes()),
    ]:
        send(value)
        assert take(client, "raw", 1)[0].data == expected
    with pytest.raises(NotCarriableError):
        send("text")


def test_a_pushing_thread_and_replacements_at_once(server: RouterServer, client: RouterClient) -> None:
    """While one thread pushes, others replace the stream: no number twice, none missing."""
    client.configure_stream("x", max_samples=100_000, wait=True)
    lock, accepted, stop = Lock(), [0], Event()

    def push() -> None:
        while not stop.is_set():
            # From 1000 on, ZeroMQ would drop what waits for the reader.
            poll_until(lambda: accepted[0] - client.stream_statistics("x").received < 500)
            if server.get_stream_fn("x")(1):
                with lock:
                    accepted[0] += 1

    workers = [Thread(target=push) for _ in range(3)]
    for worker in workers:
        worker.start()
    for _ in range(50):
        server.add_stream_from_callable("x", 10, lambda: 0, enabled=False)
    stop.set()
    for worker in workers:
        worker.join()
    assert accepted[0] > 0
    assert [sample.sequence for sample in take(client, "x", accepted[0])] == list(range(accepted[0]))
