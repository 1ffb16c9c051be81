"""What is sent to many at once: when it is sent, and how often it is written."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

pytest.importorskip("fastapi", reason="the gateway needs one_liner[gateway]")

from one_liner.aio import Sample
from one_liner.errors import NoDataError
from one_liner.gateway.broadcast import Group, Wish
from one_liner.gateway.watch import Channel, Watch
from one_liner.streams.sample import made
from tests.web import run, until


def sample(number: int) -> Sample:
    return made(0.0, float(number), ("power", number, 1.0, 0.0, 1))


class Source:
    """Stands for a server, its client, and their only stream."""

    def __init__(self) -> None:
        self.samples: asyncio.Queue[Sample] = asyncio.Queue()
        self.channel = Channel(self, "power")  # type: ignore[arg-type]

    async def locate(self, name: str) -> tuple[Source, str]:
        return self, name

    async def check_stream(self, name: str) -> None:
        """There is no other."""

    def watch(self, name: str, most: int = 1, filled: asyncio.Event | None = None) -> Watch:
        return Watch(self.channel, most, filled)

    async def configure_stream(self, name: str, storage_type: str, last_sample: bool) -> None:
        """Nothing to do."""

    def unconfigure_stream(self, name: str) -> None:
        raise NoDataError("it was never there")

    async def get_samples(self, name: str, *, block: bool, max_samples: int) -> list[Sample]:
        batch = [await self.samples.get()]
        while not self.samples.empty():
            batch.append(self.samples.get_nowait())
        return batch


class Member:
    """Stands for an outbox."""

    def __init__(self) -> None:
        self.taken: asyncio.Queue[Any] = asyncio.Queue()

    def put(self, content: Any, *, key: Any, droppable: bool) -> None:
        self.taken.put_nowait(content)


@pytest.mark.parametrize("binary", [False, True])
def test_a_sample_is_sent_when_it_comes_and_not_at_the_next_tick(binary: bool) -> None:
    async def body() -> None:
        source, member = Source(), Member()
        group = Group(source, Wish(("power",), 1e-3, binary))  # type: ignore[arg-type]
        group.members.add(member)  # type: ignore[arg-type]
        group.start()
        await until(lambda: source.channel.watchers)
        await asyncio.sleep(0.01)  # Time for a first tick, which would find nothing.
        source.samples.put_nowait(sample(1))
        content = await member.taken.get()
        assert (b'"sequence":1' if binary else '"sequence":1') in content
        # From now on it would have to wait.
        source.samples.put_nowait(sample(2))
        await until(lambda: source.channel.received == 2)
        assert member.taken.empty()
        await group.stop()
        await source.channel.close()

    run(body())


def test_a_sample_is_written_once_for_all_who_want_it_alike() -> None:
    async def body() -> None:
        source = Source()
        written: list[str] = []

        def write() -> str:
            written.append("once more")
            return f"text {len(written)}"

        async with source.watch("power", 10) as first, source.watch("power", 10) as second:
            source.samples.put_nowait(sample(1))
            item, same = await first.next(), await second.next()
            assert first.written(item, "json", write) is second.written(same, "json", write)
            assert second.written(item, "other", write) == "text 2"
            source.samples.put_nowait(sample(2))
            source.samples.put_nowait(sample(3))
            newer, newest = await first.next(), await first.next()
            assert first.written(newer, "json", write) == "text 3"
            assert second.written(newest, "json", write) == "text 4"
            assert second.written(newer, "json", write) == "text 3"
            assert second.written(item, "json", write) == "text 5"
        await source.channel.close()

    run(body())
