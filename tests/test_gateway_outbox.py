"""The outbox of one connection: order, bounds, and an account of every message."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("fastapi")

from one_liner.gateway.outbox import Content, Outbox


class Socket:
    """Stands for a WebSocket: takes messages while its gate is open."""

    def __init__(self) -> None:
        self.taken: list[Content] = []
        self.closed_with: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self.gate = asyncio.Event()

    async def send_text(self, text: str) -> None:
        await self.gate.wait()
        self.taken.append(text)

    async def send_bytes(self, data: bytes) -> None:
        await self.gate.wait()
        self.taken.append(data)

    async def close(self, code: int, reason: str) -> None:
        self.closed_with.set_result(code)


def with_outbox(body: Callable[[Outbox, Socket], Coroutine[Any, Any, None]], **bounds: int) -> None:
    async def main() -> None:
        socket = Socket()
        async with Outbox(socket, **bounds) as outbox:
            await body(outbox, socket)
        assert outbox.waiting_bytes == 0
        assert accounted(outbox)

    asyncio.run(main())


def accounted(outbox: Outbox) -> bool:
    counts = outbox.counts
    return counts.put == counts.sent + counts.dropped + counts.left + outbox.waiting


def test_messages_arrive_in_order() -> None:
    async def body(outbox: Outbox, socket: Socket) -> None:
        socket.gate.set()
        for number in range(100):
            outbox.put(str(number), droppable=number % 2 == 0)
        outbox.put(b"bytes")
        await outbox.drained(10)
        assert socket.taken == [*(str(number) for number in range(100)), b"bytes"]
        assert outbox.counts.sent == 101

    with_outbox(body)


def test_a_stalled_connection_costs_the_oldest_and_they_are_counted() -> None:
    async def body(outbox: Outbox, socket: Socket) -> None:
        for number in range(100):
            assert outbox.put(str(number), droppable=True)
        assert outbox.counts.dropped == 90
        socket.gate.set()
        await outbox.drained(10)
        assert socket.taken == [str(number) for number in range(90, 100)]

    with_outbox(body, most=10)


def test_waiting_bytes_are_bounded_but_a_large_message_may_wait_alone() -> None:
    async def body(outbox: Outbox, socket: Socket) -> None:
        for _ in range(100):
            outbox.put(bytes(1000), droppable=True)
            assert outbox.waiting_bytes <= 5000
        assert outbox.put(bytes(6000), droppable=True)
        assert (outbox.waiting, outbox.counts.dropped) == (1, 100)

    with_outbox(body, most_bytes=5000)


def test_the_newest_image_replaces_the_one_that_waits_and_keeps_its_place() -> None:
    async def body(outbox: Outbox, socket: Socket) -> None:
        for number in range(50):
            outbox.put(f"image {number}", key="camera")
            outbox.put(f"other {number}", key=1)
            outbox.put("between") if number == 0 else None
        assert outbox.counts.dropped == 98
        socket.gate.set()
        await outbox.drained(10)
        assert socket.taken == ["image 49", "other 49", "between"]
        outbox.put("image 50", key="camera")
        await outbox.drained(10)
        assert socket.taken[-1] == "image 50"

    with_outbox(body)


def test_answers_are_never_dropped_for_samples() -> None:
    async def body(outbox: Outbox, socket: Socket) -> None:
        for number in range(5):
            outbox.put(f"answer {number}")
        for number in range(100):
            outbox.put(f"sample {number}", droppable=True)
        socket.gate.set()
        await outbox.drained(10)
        assert socket.taken == [f"answer {number}" for number in range(5)] + [f"sample {n}" for n in range(95, 100)]

    with_outbox(body, most=10)


def test_a_sample_that_finds_only_answers_is_dropped_itself() -> None:
    async def body(outbox: Outbox, socket: Socket) -> None:
        for _ in range(3):
            outbox.put("answer")
        assert not outbox.put("sample", droppable=True)
        assert not outbox.closed.is_set()
        assert outbox.counts.dropped == 1

    with_outbox(body, most=3)


def test_who_calls_and_never_reads_is_ended_also_while_something_is_being_sent() -> None:
    async def body(outbox: Outbox, socket: Socket) -> None:
        outbox.put("stuck")
        await asyncio.sleep(0)  # The sender takes it, and waits for somebody who does not read.
        for _ in range(4000):
            assert outbox.put("answer")
        assert not outbox.put("sample", droppable=True)
        assert not outbox.closed.is_set()
        assert not outbox.put("x" * 1001)
        assert outbox.closed.is_set()
        assert outbox.waiting_bytes == 0
        assert await asyncio.wait_for(socket.closed_with, 10) == 1013
        assert not outbox.put("later")
        await outbox.drained(10)

    with_outbox(body, most=10, most_bytes=25_000)


def test_what_was_being_sent_when_the_connection_broke_is_left() -> None:
    async def body(outbox: Outbox, socket: Socket) -> None:
        async def broken(text: str) -> None:
            raise RuntimeError("after the close")

        socket.send_text = broken  # type: ignore[method-assign]
        outbox.put("one")
        outbox.put("two")
        await asyncio.wait_for(outbox.closed.wait(), 10)
        assert outbox.counts.left == 2

    with_outbox(body)


@given(
    steps=st.lists(
        st.tuples(st.integers(1, 30), st.sampled_from([None, "a", 1]), st.booleans(), st.booleans()), max_size=60
    )
)
def test_every_message_is_in_exactly_one_counter(steps: list[tuple[int, str | int | None, bool, bool]]) -> None:
    async def body(outbox: Outbox, socket: Socket) -> None:
        for size, key, droppable, let_through in steps:
            outbox.put("x" * size, key=key, droppable=droppable)
            assert outbox.waiting_bytes <= 100
            if let_through:
                socket.gate.set()
                await asyncio.sleep(0)
                socket.gate.clear()
            assert accounted(outbox)

    with_outbox(body, most=8, most_bytes=100)
