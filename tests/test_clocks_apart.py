"""Timestamps across machines, with clocks that really differ."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from one_liner import RouterClient, RouterServer
from one_liner.testing.clock import ShiftedClock
from tests.conftest import poll_until

SHIFT_S = 12_345.0


@pytest.fixture
def far() -> Iterator[RouterServer]:
    """A server whose clock is hours ahead, as if its machine had been started earlier."""
    with RouterServer(rpc_port=0, broadcast_port=0, clock=ShiftedClock(SHIFT_S), instances={"time": time}) as server:
        server.run()
        yield server


@pytest.fixture(params=[0, 1, 2], ids=["direct", "one hop", "two hops"])
def reached(request: pytest.FixtureRequest, far: RouterServer) -> Iterator[tuple[RouterClient, str]]:
    """A client of it, through so many routers whose clocks are other ones again."""
    with ExitStack() as stack:
        near, prefix = far, ""
        for hop in range(request.param):
            clock = ShiftedClock(-1000.0 * (hop + 1))
            router = stack.enter_context(RouterServer(rpc_port=0, broadcast_port=0, clock=clock))
            router.run()
            router.add_router("up", rpc_port=near.rpc_port)
            near, prefix = router, prefix + "up/"
        client = stack.enter_context(RouterClient(rpc_port=near.rpc_port, broadcast_port=None))
        client.wait_until_connected(10)
        yield client, prefix


def test_a_call_is_timed_on_the_readers_clock(reached: tuple[RouterClient, str]) -> None:
    client, prefix = reached
    before = time.perf_counter()
    timestamp, _ = client.call(prefix + "time", "time", get_timestamp=True)
    after = time.perf_counter()
    # Each hop measured its own offset, and each may be off by what it says: a heartbeat on loopback, well below 1 s.
    assert before - 1 < timestamp < after + 1


def test_a_sample_says_how_far_off_it_may_be_and_is_not_further_off(
    far: RouterServer, reached: tuple[RouterClient, str]
) -> None:
    client, prefix = reached
    push = far.get_stream_fn("x")
    client.configure_stream(prefix + "x", wait=True, timeout_s=10)
    for _ in range(20):
        before = time.perf_counter()
        push("now")
        after = time.perf_counter()
        sample = client.get_stream(prefix + "x", timeout_s=10)
        assert 0 < sample.timestamp_error_s < 1
        assert before - sample.timestamp_error_s <= sample.timestamp <= after + sample.timestamp_error_s
        assert abs(sample.wall_time - (time.time() + SHIFT_S)) < 10  # the wall clock is the one over there


def test_the_offset_and_its_bound_can_be_read(far: RouterServer) -> None:
    with RouterClient(rpc_port=far.rpc_port, broadcast_port=None, heartbeat_s=0.1) as client:
        client.wait_until_connected(10)
        offset_s, error_s = client.clock_offset
        assert abs(offset_s + SHIFT_S) <= error_s < 1
        # More heartbeats, a tighter bound: the best of those remembered counts.
        poll_until(lambda: client.clock_offset[1] < 0.01)
        assert abs(client.clock_offset[0] + SHIFT_S) < 0.01


def test_on_one_machine_the_clock_is_shared_exactly() -> None:
    with RouterServer(rpc_port=0, broadcast_port=0) as server:
        server.run()
        with RouterClient(rpc_port=server.rpc_port, broadcast_port=None) as client:
            client.wait_until_connected(10)
            assert client.clock_offset == (0.0, 0.0)
