"""The books: every sample that was made is delivered, waits, or is counted under the cause of its loss."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Event, Thread
from typing import Any, Literal

import psutil
import pytest

from one_liner import RouterClient, RouterServer
from one_liner.errors import NoDataError
from one_liner.streams.ledger import ReaderStatistics
from tests.conftest import poll_until

HEARTBEAT_S = 0.3


@contextmanager
def serving(**options: Any) -> Iterator[RouterServer]:
    options = {"rpc_port": 0, "broadcast_port": 0, "heartbeat_s": HEARTBEAT_S, **options}
    with RouterServer(**options) as server:
        server.run()
        yield server


@contextmanager
def watching(server: RouterServer) -> Iterator[RouterClient]:
    ports = {"rpc_port": server.rpc_port, "broadcast_port": server.broadcast_port}
    with RouterClient(heartbeat_s=HEARTBEAT_S, **ports) as client:
        yield client


def balance(statistics: ReaderStatistics) -> int:
    return (
        statistics.delivered
        + statistics.waiting
        + statistics.dropped
        + statistics.conflated
        + statistics.dropped_upstream
        + statistics.lost_on_the_way
    )


def drain(client: RouterClient, name: str) -> list[int]:
    found = []
    while True:
        try:
            found.append(client.get_stream(name).sequence)
        except NoDataError:
            return found


def close_the_books(server: RouterServer, clients: dict[str, RouterClient], name: str, push: Any) -> None:
    """Push until each reader has seen the newest sample: what was lost before it is known from then on."""

    def current() -> bool:
        push(b"end")
        produced = server.get_stream_configurations()[name].produced  # type: ignore[union-attr]
        return all(client.stream_statistics(name).expected >= produced - 1 for client in clients.values())

    poll_until(current, timeout_s=20, what="every reader to be up to date")


@pytest.mark.parametrize("storage", ["queue", "cache"])
@pytest.mark.parametrize("size", [10, 300_000])
def test_the_books_balance_under_overload(storage: Literal["queue", "cache"], size: int) -> None:
    """Publishers outrun two readers, one of whom reads meanwhile; what each knows adds up to what was made."""
    with serving() as server, watching(server) as first, watching(server) as second:
        clients = {"reads": first, "stalls": second}
        for client in clients.values():
            client.configure_stream("x", storage, max_samples=20, wait=True)
        push = server.get_stream_fn("x", serializer=None)
        stop, seen = Event(), []

        def read() -> None:
            while not stop.is_set():
                try:
                    seen.append(first.get_stream("x", timeout_s=0.05).sequence)
                except NoDataError:
                    continue

        reader = Thread(target=read)
        reader.start()
        payload = bytes(size)
        pushers = [Thread(target=lambda: [push(payload) for _ in range(3000 if size < 100 else 200)]) for _ in range(3)]
        for pusher in pushers:
            pusher.start()
        for pusher in pushers:
            pusher.join()
        close_the_books(server, clients, "x", push)
        stop.set()
        reader.join()
        seen += drain(first, "x")
        drain(second, "x")
        # One more, which is the last that was made, and nothing is under way behind it.
        push(b"last")
        produced = server.get_stream_configurations()["x"].produced  # type: ignore[union-attr]
        poll_until(lambda: all(client.stream_statistics("x").expected == produced for client in clients.values()))
        for client in clients.values():
            statistics = client.stream_statistics("x")
            assert balance(statistics) == statistics.expected == produced
            assert statistics.accounted
            assert statistics.lost_on_the_way == 0
        assert seen == sorted(set(seen))
        assert first.stream_statistics("x").delivered == len(seen)


def test_a_large_sample_after_many_small_ones_reaches_everybody() -> None:
    """And so does everything after it: a bound that is lowered under a standing connection can silence it for ever."""
    with serving() as server, watching(server) as client:
        for name in ("small", "large"):
            client.configure_stream(name, max_samples=10_000, wait=True)
        small, large = server.get_stream_fn("small"), server.get_stream_fn("large")
        for number in range(6000):
            small(number)
            assert client.get_stream("small", timeout_s=5).data == number
            if number in (10, 100, 600, 1000, 5000):
                large(bytes(10_000 * number))
                assert len(client.get_stream("large", timeout_s=5).data) == 10_000 * number
        assert balance(client.stream_statistics("small")) == client.stream_statistics("small").delivered == 6000


def test_ticks_are_made_or_skipped() -> None:
    with serving() as server, watching(server) as client:
        gate = Event()
        client.configure_stream("x", max_samples=100_000, wait=True)
        server.add_stream_from_callable("x", 500, lambda: gate.wait(0.011))
        poll_until(lambda: client.stream_statistics("x").received >= 20)
        server.disable_stream("x")
        poll_until(
            lambda: (
                server.get_stream_configurations()["x"].produced  # type: ignore[union-attr]
                == client.stream_statistics("x").received
            )
        )
        told: Any = server.get_stream_configurations()["x"]
        samples = [client.get_stream("x") for _ in range(told.produced)]
        periods = (samples[-1].timestamp - samples[0].timestamp) * 500
        assert told.produced + told.skipped_late == pytest.approx(periods, abs=15)


def test_a_restarted_server_is_lost_on_the_way() -> None:
    with serving() as first:
        ports: dict[str, Any] = {"rpc_port": first.rpc_port, "broadcast_port": first.broadcast_port}
        with RouterClient(heartbeat_s=HEARTBEAT_S, **ports) as client:
            client.configure_stream("x", wait=True)
            push = first.get_stream_fn("x")
            for number in range(10):
                push(number)
            poll_until(lambda: client.stream_statistics("x").received == 10)
            first.close()
            with RouterServer(heartbeat_s=HEARTBEAT_S, **ports) as second:
                push = second.get_stream_fn("x")
                for _ in range(7):
                    push("nobody hears this: the server does not run yet")
                second.run()
                poll_until(lambda: push("again") and client.stream_statistics("x").received > 10, timeout_s=20)
                push("last")
                produced = second.get_stream_configurations()["x"].produced  # type: ignore[union-attr]
                poll_until(lambda: client.stream_statistics("x").expected == 10 + produced)
                statistics = client.stream_statistics("x")
                assert balance(statistics) == statistics.expected
                assert statistics.lost_on_the_way >= 7
                assert (statistics.dropped_upstream, statistics.restarts) == (0, 1)
                assert statistics.unknown_tail


def test_books_through_a_cascade_that_restarts_in_the_middle() -> None:
    with serving() as far, serving() as near, watching(near) as client:
        with serving() as middle:
            ports: dict[str, Any] = {"rpc_port": middle.rpc_port, "broadcast_port": middle.broadcast_port}
            middle.add_router("far", rpc_port=far.rpc_port)
            near.add_router("middle", rpc_port=middle.rpc_port)
            client.configure_stream("middle/far/x", max_samples=100_000, wait=True, timeout_s=10)
            push = far.get_stream_fn("x")
            for number in range(100):
                push(number)
            poll_until(lambda: client.stream_statistics("middle/far/x").received == 100)
        for number in range(50):
            push(number)
        with serving(**ports) as middle:
            middle.add_router("far", rpc_port=far.rpc_port)
            poll_until(lambda: push(0) and client.stream_statistics("middle/far/x").received > 100, timeout_s=20)
            push("last")
            produced = far.get_stream_configurations()["x"].produced  # type: ignore[union-attr]
            poll_until(lambda: client.stream_statistics("middle/far/x").expected == produced)
            statistics = client.stream_statistics("middle/far/x")
            assert balance(statistics) == statistics.expected
            assert statistics.dropped_upstream + statistics.lost_on_the_way >= 50


READER = """
import sys
from one_liner import RouterClient
client = RouterClient(rpc_port=int(sys.argv[1]), broadcast_port=None, heartbeat_s=1.0)
client.configure_stream("cam", max_samples=10, wait=True)
print("ready", flush=True)
for line in sys.stdin:
    print(client.stream_statistics("cam").as_dict(), flush=True)
client.close()
"""


def test_a_stopped_reader_costs_bounded_memory_and_the_books_balance() -> None:
    """SIGSTOP: its connection stands, and nothing leaves the server's queue for it."""
    frame = bytes(6_000_000)
    with serving(heartbeat_s=1.0) as server:
        push = server.get_stream_fn("cam", serializer=None)
        reader = subprocess.Popen(
            [sys.executable, "-c", READER, str(server.rpc_port)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=dict(os.environ),
        )

        def ask() -> dict[str, Any]:
            assert reader.stdin is not None
            assert reader.stdout is not None
            reader.stdin.write("?\n")
            reader.stdin.flush()
            return dict(eval(reader.stdout.readline()))  # noqa: S307  # our own child's words

        try:
            assert reader.stdout is not None
            assert reader.stdout.readline() == "ready\n"
            for _ in range(50):
                push(b"small")
            push(frame)
            poll_until(lambda: ask()["received"] == 51)
            process = psutil.Process()
            before = process.memory_info().rss
            reader.send_signal(signal.SIGSTOP)
            peak = before
            # New memory for every frame, as a camera gives it.
            for number in range(150):
                push(bytes([number]) * 6_000_000)
                peak = max(peak, process.memory_info().rss)
            reader.send_signal(signal.SIGCONT)

            def current() -> bool:
                push(b"end")
                produced = server.get_stream_configurations()["cam"].produced  # type: ignore[union-attr]
                return bool(ask()["expected"] >= produced - 3)

            poll_until(current, timeout_s=20)
            push(b"last")
            produced = server.get_stream_configurations()["cam"].produced  # type: ignore[union-attr]
            poll_until(lambda: ask()["expected"] == produced)
            told = ask()
            parts = ("delivered", "waiting", "dropped", "conflated", "dropped_upstream", "lost_on_the_way")
            assert sum(told[part] for part in parts) == told["expected"] == produced
            assert told["accounted"]
            assert (peak - before) / 2**20 < 400
        finally:
            reader.send_signal(signal.SIGCONT)
            reader.communicate(timeout=10)
