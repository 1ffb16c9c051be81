"""Streams at the reader: queues and caches, waiting and not waiting, callbacks, late joiners, many threads."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from threading import Event, Thread, current_thread
from typing import Any, Literal

import pytest
import zmq

from one_liner import RouterClient, RouterServer
from one_liner.errors import (
    ClosedError,
    ConfigurationError,
    MalformedError,
    NoDataError,
    NoServerError,
    OneLinerError,
    SourceFailedError,
    StreamTimeoutError,
    UnknownStreamError,
)
from one_liner.limits import Limits
from tests.conftest import poll_until

HEARTBEAT_S = 0.3


@contextmanager
def serving(**options: Any) -> Iterator[RouterServer]:
    options = {"rpc_port": 0, "broadcast_port": 0, **options}
    with RouterServer(heartbeat_s=HEARTBEAT_S, **options) as server:
        server.run()
        yield server


@contextmanager
def watching(server: RouterServer, **options: Any) -> Iterator[RouterClient]:
    options = {"heartbeat_s": HEARTBEAT_S, "broadcast_port": server.broadcast_port, **options}
    with RouterClient(rpc_port=server.rpc_port, **options) as client:
        yield client


@pytest.fixture
def server() -> Iterator[RouterServer]:
    with serving() as running:
        yield running


@pytest.fixture
def client(server: RouterServer) -> Iterator[RouterClient]:
    with watching(server) as connected:
        yield connected


def received(client: RouterClient, name: str, count: int) -> None:
    poll_until(lambda: client.stream_statistics(name).received >= count, what=f"{count} samples of {name}")


def drain(client: RouterClient, name: str) -> list[Any]:
    found = []
    while True:
        try:
            found.append(client.get_stream(name).data)
        except NoDataError:
            return found


# --- queues and caches -----------------------------------------------------------------------------------------------


def test_a_queue_hands_out_every_sample_in_order(server: RouterServer, client: RouterClient) -> None:
    client.configure_stream("x", wait=True)
    push = server.get_stream_fn("x")
    for number in range(500):
        push(number)
    received(client, "x", 500)
    assert drain(client, "x") == list(range(500))


@pytest.mark.parametrize(
    ("drop", "kept"), [("oldest", list(range(7, 10))), ("newest", list(range(3)))], ids=["oldest", "newest"]
)
def test_a_full_queue_drops_and_counts(
    server: RouterServer, client: RouterClient, drop: Literal["oldest", "newest"], kept: list[int]
) -> None:
    client.configure_stream("x", max_samples=3, drop=drop, wait=True)
    push = server.get_stream_fn("x")
    for number in range(10):
        push(number)
    received(client, "x", 10)
    statistics = client.stream_statistics("x")
    assert (statistics.waiting, statistics.dropped) == (3, 7)
    assert drain(client, "x") == kept
    assert client.last_sample("x").data == 9


def test_a_queue_is_bounded_in_bytes(server: RouterServer, client: RouterClient) -> None:
    client.configure_stream("x", max_bytes=350_000, wait=True)
    push = server.get_stream_fn("x", serializer=None)
    for number in range(10):
        push(bytes([number]) * 100_000)
    received(client, "x", 10)
    assert [data[0] for data in drain(client, "x")] == [7, 8, 9]
    push(bytes(1_000_000))
    received(client, "x", 11)
    assert len(client.get_stream("x").data) == 1_000_000  # larger than the bound, and alone


def test_a_queue_keeps_1000_by_default(server: RouterServer, client: RouterClient) -> None:
    client.configure_stream("x", wait=True)
    push = server.get_stream_fn("x")
    for number in range(1200):
        push(number)
        if number % 200 == 199:
            received(client, "x", number + 1)
    assert drain(client, "x") == list(range(200, 1200))
    assert client.stream_statistics("x").dropped == 200


def test_a_cache_hands_out_the_newest_once(server: RouterServer, client: RouterClient) -> None:
    client.configure_stream("x", "cache", wait=True)
    push = server.get_stream_fn("x")
    for number in range(10):
        push(number)
    received(client, "x", 10)
    assert client.get_stream("x").data == 9
    with pytest.raises(NoDataError):
        client.get_stream("x")
    assert client.last_sample("x").data == 9
    statistics = client.stream_statistics("x")
    assert (statistics.delivered, statistics.conflated, statistics.waiting) == (1, 9, 0)


def test_configured_again_and_again(server: RouterServer, client: RouterClient) -> None:
    push = server.get_stream_fn("x")
    push("before")
    kinds: list[Literal["queue", "cache"]] = ["queue", "cache"]
    for number in range(20):
        client.configure_stream("x", kinds[number % 2], last_sample=False, wait=True)
        assert drain(client, "x") == []
        push((number, 1))
        push((number, 2))
        received(client, "x", 2)
        client.configure_stream("x", kinds[number % 2], last_sample=False)  # the same again changes nothing
        assert drain(client, "x") == ([(number, 1), (number, 2)] if number % 2 == 0 else [(number, 2)])
        if number % 5 == 4:
            client.unconfigure_stream("x")


def test_a_queue_that_becomes_a_cache_has_the_last_sample(server: RouterServer, client: RouterClient) -> None:
    push = server.get_stream_fn("x")
    client.configure_stream("x", wait=True)
    push("only")
    assert client.get_stream("x", timeout_s=5).data == "only"
    client.configure_stream("x", "cache")
    assert client.get_stream("x", timeout_s=5).data == "only"
    push("next")
    assert client.get_stream("x", timeout_s=5).data == "next"
    assert client.stream_statistics("x").dropped_upstream == 0


@pytest.mark.parametrize(
    "options",
    [
        {"storage_type": "stack"},
        {"max_samples": 0},
        {"max_samples": 1.5},
        {"max_bytes": -1},
        {"drop": "middle"},
        {"deserializer": 5},
        {"timeout_s": -1},
        {"name": ""},
        {"name": "a\0b"},
        {"name": 5},
    ],
)
def test_what_cannot_be_configured_changes_nothing(client: RouterClient, options: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError):
        client.configure_stream(**{"name": "x", **options})
    with pytest.raises(UnknownStreamError):
        client.get_stream("x")


# --- waiting ---------------------------------------------------------------------------------------------------------


def test_nothing_there_is_again(server: RouterServer, client: RouterClient) -> None:
    client.configure_stream("x", wait=True)
    for caught in (NoDataError, zmq.Again):
        with pytest.raises(caught):
            client.get_stream("x")
    with pytest.raises(StreamTimeoutError) as late:
        client.get_stream("x", timeout_s=0.05)
    assert isinstance(late.value, TimeoutError)
    assert isinstance(late.value, zmq.Again)
    with pytest.raises(NoDataError):
        client.last_sample("x")
    with pytest.raises(KeyError):
        client.get_stream("never configured")
    with pytest.raises(UnknownStreamError):
        client.unconfigure_stream("never configured")
    for wrong in (-1, "1", True):
        with pytest.raises(ConfigurationError):
            client.get_stream("x", timeout_s=wrong)  # type: ignore[arg-type]


def test_waiting_ends_with_the_sample(server: RouterServer, client: RouterClient) -> None:
    client.configure_stream("x", wait=True)
    results: list[Any] = []
    waiters = [Thread(target=lambda: results.append(client.get_stream("x", block=True).data)) for _ in range(5)]
    for waiter in waiters:
        waiter.start()
    push = server.get_stream_fn("x")
    for number in range(5):
        push(number)
    for waiter in waiters:
        waiter.join(10)
    assert sorted(results) == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("end", ["unconfigure", "close"])
def test_waiting_ends_with_an_error(server: RouterServer, client: RouterClient, end: str) -> None:
    client.configure_stream("x", wait=True)
    results: list[Any] = []
    entered = Event()

    def wait() -> None:
        entered.set()
        try:
            client.get_stream("x", block=True)
        except OneLinerError as error:
            results.append(error)

    waiter = Thread(target=wait)
    waiter.start()
    assert entered.wait(5)
    if end == "close":
        client.close()
    else:
        client.unconfigure_stream("x")
    waiter.join(5)
    assert [type(result) for result in results] in ([ClosedError], [UnknownStreamError])


def test_iteration_ends_with_the_client(server: RouterServer, client: RouterClient) -> None:
    seen: list[int] = []

    def read() -> None:
        for _, data in client.stream("x"):
            seen.append(data)

    client.configure_stream("x", wait=True)
    reader = Thread(target=read)
    reader.start()
    push = server.get_stream_fn("x")
    for number in range(10):
        push(number)
    poll_until(lambda: len(seen) == 10)
    client.close()
    reader.join(5)
    assert not reader.is_alive()
    assert seen == list(range(10))


def test_iteration_with_a_timeout(server: RouterServer, client: RouterClient) -> None:
    client.configure_stream("x", wait=True)
    server.get_stream_fn("x")(1)
    samples = client.stream("x", timeout_s=0.2)
    assert next(samples).data == 1
    with pytest.raises(StreamTimeoutError):
        next(samples)


# --- before the server is there --------------------------------------------------------------------------------------


def test_configured_before_the_server_exists() -> None:
    with serving() as probe:
        ports = {"rpc_port": probe.rpc_port, "broadcast_port": probe.broadcast_port}
    with RouterClient(heartbeat_s=HEARTBEAT_S, **ports) as client:
        client.configure_stream("x")
        client.configure_stream("y", "cache")
        with pytest.raises(NoServerError):
            client.configure_stream("x", wait=True)
        with pytest.raises(NoDataError):
            client.get_stream("x")
        with serving(**ports) as server:
            server.get_stream_fn("y")("early")
            client.wait_until_connected(10)
            client.configure_stream("x", wait=True, timeout_s=10)
            server.get_stream_fn("x")(1)
            assert client.get_stream("x", timeout_s=5).data == 1
            assert client.get_stream("y", timeout_s=5).data == "early"


def test_the_broadcast_port_is_learned() -> None:
    with serving() as server, watching(server, broadcast_port=None) as client:
        client.configure_stream("x", wait=True)
        server.get_stream_fn("x")(1)
        assert client.get_stream("x", timeout_s=5).data == 1


# --- samples ---------------------------------------------------------------------------------------------------------


def test_a_sample_is_a_pair_that_knows_more(server: RouterServer, client: RouterClient) -> None:
    client.configure_stream("x", wait=True)
    push = server.get_stream_fn("x")
    before, wall_before = time.perf_counter(), time.time()
    push("first")
    push("second")
    after, wall_after = time.perf_counter(), time.time()
    client.get_stream("x", timeout_s=5)
    sample = client.get_stream("x", timeout_s=5)
    timestamp, data = sample
    assert isinstance(sample, tuple)
    assert (timestamp, data) == (sample.timestamp, sample.data) == (sample[0], "second")
    assert before <= timestamp <= after
    assert wall_before - 0.01 <= sample.wall_time <= wall_after + 0.01
    assert (sample.stream, sample.sequence, sample.timestamp_error_s) == ("x", 1, 0.0)
    assert isinstance(sample.origin, int)
    assert client.last_sample("x") == sample


@pytest.mark.parametrize("storage_type", ["queue", "cache"])
def test_all_that_waits_is_handed_out_in_one_go(
    server: RouterServer, client: RouterClient, storage_type: Literal["queue", "cache"]
) -> None:
    client.configure_stream("x", storage_type, last_sample=False, wait=True)
    push = server.get_stream_fn("x")
    for number in range(5):
        push(number)
    received(client, "x", 5)
    expected = list(range(5)) if storage_type == "queue" else [4]
    assert [sample.data for sample in client.get_samples("x", max_samples=2)] == expected[:2]
    if storage_type == "queue":
        found = client.get_samples("x", timeout_s=5)
        assert [(sample.sequence, sample.data) for sample in found] == [(2, 2), (3, 3), (4, 4)]
    with pytest.raises(NoDataError):
        client.get_samples("x")
    with pytest.raises(StreamTimeoutError):
        client.get_samples("x", timeout_s=0.02)
    statistics = client.stream_statistics("x")
    assert (statistics.delivered, statistics.accounted) == (len(expected), True)


def test_waiting_for_many_ends_with_the_first(server: RouterServer, client: RouterClient) -> None:
    client.configure_stream("x", wait=True)
    push = server.get_stream_fn("x")
    found: list[float] = []
    reader = Thread(target=lambda: found.extend(sample.data for sample in client.get_samples("x", block=True)))
    reader.start()
    push(1.5)
    reader.join(5)
    assert found == [1.5]


def test_a_sample_that_is_an_error_ends_what_is_handed_out_and_is_raised_next(
    server: RouterServer, client: RouterClient
) -> None:
    client.configure_stream("x", wait=True)
    push = server.get_stream_fn("x")
    for value in (1, 2, ValueError("no light"), ValueError("no dark"), 3):
        push(value)
    received(client, "x", 5)
    assert [sample.data for sample in client.get_samples("x")] == [1, 2]
    for message in ("no light", "no dark"):
        with pytest.raises(SourceFailedError, match=message):
            client.get_samples("x")
    assert client.stream_statistics("x").delivered == 4
    assert [sample.data for sample in client.get_samples("x")] == [3]
    statistics = client.stream_statistics("x")
    assert (statistics.delivered, statistics.waiting, statistics.accounted) == (5, 0, True)


def test_who_is_interrupted_takes_nothing(server: RouterServer, client: RouterClient) -> None:
    pressed: list[bytes] = []

    def loads(data: bytes) -> str:
        if data == b"2" and not pressed:
            pressed.append(data)
            raise KeyboardInterrupt
        return data.decode()

    client.configure_stream("x", deserializer=loads, wait=True)
    push = server.get_stream_fn("x", serializer=None)
    for number in range(4):
        push(str(number).encode())
    received(client, "x", 4)
    with pytest.raises(KeyboardInterrupt):
        client.get_samples("x")
    assert [sample.data for sample in client.get_samples("x")] == ["0", "1", "2", "3"]


@pytest.mark.parametrize("most", [0, -1, 1.5, True, "all"])
def test_how_many_are_taken_is_a_number(client: RouterClient, most: Any) -> None:
    client.configure_stream("x")
    with pytest.raises(ConfigurationError, match="max_samples must be a positive whole number"):
        client.get_samples("x", max_samples=most)


def test_names_that_begin_alike_never_mix(server: RouterServer, client: RouterClient) -> None:
    names = ["cam", "cam_2", "cam/2", "ca", "c", "cam "]
    for name in names:
        client.configure_stream(name, wait=True)
    for _ in range(3):
        for name in names:
            server.get_stream_fn(name)(name)
    for name in names:
        received(client, name, 3)
        assert drain(client, name) == [name] * 3


def test_failures_are_of_the_type_that_was_raised(server: RouterServer, client: RouterClient) -> None:
    client.configure_stream("x", wait=True)
    push = server.get_stream_fn("x")
    undecodable = UnicodeDecodeError("utf8", b"a", 0, 1, "r")
    for error in (ValueError("v"), OSError(5, "I/O"), ZeroDivisionError("z"), undecodable):
        push(error)
        with pytest.raises(type(error)) as caught:
            client.get_stream("x", timeout_s=5)
        assert isinstance(caught.value, SourceFailedError)
        assert caught.value.args == error.args
        with pytest.raises(SourceFailedError):
            client.last_sample("x")


# --- callbacks -------------------------------------------------------------------------------------------------------


def test_a_callback_gets_everything_on_its_own_thread(server: RouterServer, client: RouterClient) -> None:
    seen: list[Any] = []
    client.configure_stream("x", wait=True)
    handle = client.on_sample("x", lambda sample: seen.append((sample.data, current_thread())))
    push = server.get_stream_fn("x")
    for number in range(100):
        push(number)
    poll_until(lambda: len(seen) == 100)
    assert [data for data, _ in seen] == list(range(100))
    assert len({thread for _, thread in seen}) == 1
    assert current_thread() not in {thread for _, thread in seen}
    handle.close()
    assert handle.closed
    push(100)
    received(client, "x", 101)
    assert client.get_stream("x").data == 100
    assert len(seen) == 100


def test_a_callback_that_raises_is_called_again(
    server: RouterServer, client: RouterClient, caplog: pytest.LogCaptureFixture
) -> None:
    seen: list[Any] = []
    client.configure_stream("x", wait=True)

    def callback(sample: Any) -> None:
        seen.append(sample.data)
        raise ValueError("in the user's callback")

    client.on_sample("x", callback)
    push = server.get_stream_fn("x")
    for number in range(3):
        push(number)
    poll_until(lambda: len(seen) == 3)
    poll_until(lambda: caplog.text.count("in the user's callback") >= 3)


def test_failures_reach_on_error_and_the_stream_goes_on(server: RouterServer, client: RouterClient) -> None:
    seen: list[Any] = []
    errors: list[OneLinerError] = []
    client.configure_stream("x", wait=True)
    client.on_sample("x", lambda sample: seen.append(sample.data), errors.append)
    push = server.get_stream_fn("x")
    push(1)
    push(ValueError("broken"))
    push(2)
    poll_until(lambda: seen == [1, 2])
    assert [type(error).__name__ for error in errors] == ["ValueError"]


def test_a_deserializer_that_raises_costs_its_sample_only(server: RouterServer, client: RouterClient) -> None:
    def loads(data: bytes) -> str:
        if data == b"bad":
            raise ValueError("cannot be read")
        return data.decode()

    seen: list[str] = []
    errors: list[OneLinerError] = []
    client.configure_stream("x", deserializer=loads, wait=True)
    push = server.get_stream_fn("x", serializer=None)
    push(b"bad")
    with pytest.raises(MalformedError, match="cannot be read"):
        client.get_stream("x", timeout_s=5)
    client.on_sample("x", lambda sample: seen.append(sample.data), errors.append)
    push(b"bad")
    push(b"good")
    poll_until(lambda: seen == ["good"])
    assert [type(error) for error in errors] == [MalformedError]


def test_a_slow_callback_delays_nothing_else(server: RouterServer, client: RouterClient) -> None:
    entered, release = Event(), Event()
    client.configure_stream("slow", max_samples=5, wait=True)
    client.configure_stream("fast", wait=True)

    def callback(sample: Any) -> None:
        entered.set()
        release.wait(20)

    handle = client.on_sample("slow", callback)
    slow, fast = server.get_stream_fn("slow"), server.get_stream_fn("fast")
    slow(0)
    assert entered.wait(5)
    for number in range(50):
        slow(number)
        fast(number)
        assert client.get_stream("fast", timeout_s=5).data == number
    received(client, "slow", 51)
    statistics = client.stream_statistics("slow")
    assert (statistics.waiting, statistics.dropped) == (5, 45)
    assert client.state == "connected"
    release.set()
    handle.close()


def test_a_callback_may_close_its_client(server: RouterServer) -> None:
    done = Event()
    with watching(server) as client:
        client.configure_stream("x", wait=True)

        def callback(sample: Any) -> None:
            client.close()
            done.set()

        client.on_sample("x", callback)
        server.get_stream_fn("x")(1)
        assert done.wait(5)


# --- late joiners and the first sample -------------------------------------------------------------------------------


def test_a_late_cache_has_the_last_sample_and_a_queue_when_asked(server: RouterServer, client: RouterClient) -> None:
    push = server.get_stream_fn("x", set_timestamp=True)
    push(1.0, "old")
    push(2.0, "last")
    client.configure_stream("x", "cache", wait=True)
    sample = client.get_stream("x", timeout_s=5)
    assert (sample.data, sample.sequence) == ("last", 1)
    assert sample.timestamp == pytest.approx(2.0, abs=0.05)  # reckoned back from the answer
    with watching(server) as second:
        second.configure_stream("x", wait=True)
        with pytest.raises(NoDataError):
            second.get_stream("x")
    with watching(server) as third:
        third.configure_stream("x", last_sample=True, wait=True)
        push(3.0, "next")
        assert third.get_stream("x", timeout_s=5).data == "last"
        assert third.get_stream("x", timeout_s=5).data == "next"
        assert third.stream_statistics("x").dropped_upstream == 0
    with watching(server) as fourth:
        fourth.configure_stream("x", "cache", last_sample=False, wait=True)
        with pytest.raises(NoDataError):
            fourth.get_stream("x")


def test_a_late_large_sample_and_a_late_failure(server: RouterServer, client: RouterClient) -> None:
    server.get_stream_fn("large")(b"x" * 3_000_000)
    server.get_stream_fn("bad")(ValueError("then"))
    for name in ("large", "bad"):
        client.configure_stream(name, "cache", wait=True)
    assert client.get_stream("large", timeout_s=5).data == b"x" * 3_000_000
    with pytest.raises(ValueError, match="then"):
        client.get_stream("bad", timeout_s=5)


@contextmanager
def chain(depth: int) -> Iterator[tuple[RouterServer, RouterServer, str]]:
    """The near and the far end of a cascade, and the prefix of the far one's names."""
    with serving() as far:
        if depth == 0:
            yield far, far, ""
            return
        with serving() as near:
            near.add_router("n", rpc_port=far.rpc_port)
            if depth == 1:
                yield near, far, "n/"
                return
            with serving() as nearer:
                nearer.add_router("n", rpc_port=near.rpc_port)
                if depth == 2:
                    yield nearer, far, "n/n/"
                    return
                with serving() as nearest:
                    nearest.add_router("n", rpc_port=nearer.rpc_port)
                    yield nearest, far, "n/n/n/"


@pytest.mark.parametrize("depth", [0, 1, 3])
def test_the_first_sample_after_configuring_is_never_missed(depth: int) -> None:
    with chain(depth) as (near, far, prefix), watching(near) as client:
        push = far.get_stream_fn("x")
        for number in range(120):
            client.configure_stream(prefix + "x", wait=True, timeout_s=10)
            push(number)
            assert client.get_stream(prefix + "x", timeout_s=5).data == number
            client.unconfigure_stream(prefix + "x")


@pytest.mark.parametrize("depth", [0, 2])
def test_the_first_tick_after_configuring_is_never_missed(depth: int) -> None:
    calls = [0]

    def tick() -> int:
        calls[0] += 1
        return calls[0]

    with chain(depth) as (near, far, prefix), watching(near) as client:
        far.add_stream_from_callable("x", 1000, tick)
        for _ in range(60):
            client.configure_stream(prefix + "x", wait=True, timeout_s=10)
            made = calls[0]
            assert client.get_stream(prefix + "x", timeout_s=5).data <= made + 1
            client.unconfigure_stream(prefix + "x")


def test_the_last_sample_overtakes_none() -> None:
    """It comes by another way than the live ones: none of those may be lost to it, or be called lost."""
    stop = Event()
    with chain(2) as (near, far, prefix), watching(near) as keeper:
        # Somebody else listens all the time: no subscription is taken down and built up again on the way.
        keeper.configure_stream(prefix + "x", "cache", wait=True, timeout_s=10)
        push = far.get_stream_fn("x")

        def pump() -> None:
            while not stop.wait(0.002):
                for _ in range(20):
                    push(1)

        worker = Thread(target=pump)
        worker.start()
        try:
            for _ in range(25):
                with watching(near) as client:
                    client.configure_stream(
                        prefix + "x", last_sample=True, max_samples=100_000, wait=True, timeout_s=10
                    )
                    received(client, prefix + "x", 25)
                    statistics = client.stream_statistics(prefix + "x")
                    assert (statistics.dropped_upstream, statistics.lost_on_the_way) == (0, 0)
        finally:
            stop.set()
            worker.join()


def test_waiting_for_a_subscription_at_the_wrong_port_ends() -> None:
    with serving() as server, serving() as other, watching(server, broadcast_port=other.broadcast_port) as client:  # noqa: SIM117
        with pytest.raises(StreamTimeoutError, match="broadcast port"):
            client.configure_stream("x", wait=True, timeout_s=0.5)


# --- many threads ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("hops", [0, 1])
def test_a_connection_that_libzmq_gave_up_is_made_again(
    server: RouterServer, hops: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It connects again by itself where a connection broke, and never where it found a mistake: a frame too large."""
    monkeypatch.setattr("one_liner.streams.intake.KNOCK_S", 0.2)
    limits = Limits(message_bytes=1_000_000)
    push, push_other = server.get_stream_fn("x"), server.get_stream_fn("other")
    with ExitStack() as stack:
        near, prefix = server, ""
        if hops:
            near, prefix = stack.enter_context(serving(limits=limits)), "up/"
            near.add_router("up", rpc_port=server.rpc_port)
        client = stack.enter_context(watching(near, **({} if hops else {"limits": limits})))
        for name in ("x", "other"):
            client.configure_stream(prefix + name, wait=True, timeout_s=10)
        push("before")
        assert client.get_stream(prefix + "x", timeout_s=10).data == "before"
        for times in range(1, 3):
            push(bytes(2_000_000))

            def arrives(word: str = f"after {times}") -> bool:
                push(word)
                push_other(word)
                return all(word in drain(client, prefix + name) for name in ("x", "other"))

            poll_until(arrives, what="samples, on a connection that is another one")
        statistics = client.stream_statistics(prefix + "x")
        assert statistics.lost_on_the_way + statistics.dropped_upstream >= 2
        assert statistics.accounted


def test_one_client_in_many_threads(server: RouterServer, client: RouterClient) -> None:
    class Adder:
        def add(self, a: int, b: int) -> int:
            return a + b

    server.add_instance("adder", Adder(), concurrent=True)
    failures: list[BaseException] = []

    def use(number: int) -> None:
        try:
            name = f"s{number}"
            push = server.get_stream_fn(name)
            for round_ in range(10):
                client.configure_stream(name, wait=True, timeout_s=20)
                push((number, round_))
                assert client.call("adder", "add", [number, round_]) == number + round_
                assert client.get_stream(name, timeout_s=10).data == (number, round_)
                assert name in client.get_stream_configurations()
                client.unconfigure_stream(name)
        except BaseException as error:
            failures.append(error)

    workers = [Thread(target=use, args=(number,)) for number in range(8)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(50)
    assert failures == []


def test_readers_of_one_stream_share_it(server: RouterServer, client: RouterClient) -> None:
    client.configure_stream("x", max_samples=1000, wait=True)
    found: list[list[int]] = [[] for _ in range(4)]

    def read(mine: list[int]) -> None:
        while True:
            data = client.get_stream("x", timeout_s=10).data
            if data is None:
                return
            mine.append(data)

    readers = [Thread(target=read, args=(mine,)) for mine in found]
    for reader in readers:
        reader.start()
    push = server.get_stream_fn("x")
    # Fewer than fit anywhere on the way: nothing may be dropped, however late the readers are.
    for number in range(900):
        push(number)
    for _ in readers:
        push(None)
    for reader in readers:
        reader.join(20)
    assert sorted(number for mine in found for number in mine) == list(range(900))
    assert all(mine == sorted(mine) for mine in found)
