"""What is sent to many at once: when it is sent, and how often it is written."""

from __future__ import annotations

import asyncio
import json
import threading
from typing import Any

import pytest

pytest.importorskip("fastapi", reason="the gateway needs one_liner[gateway]")

import numpy as np

from one_liner.aio import Sample
from one_liner.errors import NoDataError
from one_liner.gateway import broadcast
from one_liner.gateway.broadcast import Group, Wish
from one_liner.gateway.pieces import json_text
from one_liner.gateway.watch import Channel, Watch
from one_liner.streams.sample import made
from tests.web import PATIENCE_S, run, until


def sample(number: int) -> Sample:
    return made(0.0, float(number), ("power", number, 1.0, 0.0, 1))


class Source:
    """Stands for a server, its client, and their only stream."""

    def __init__(self) -> None:
        self.samples: asyncio.Queue[Sample] = asyncio.Queue()
        self.channel = Channel(self, "power")  # type: ignore[arg-type]

    async def locate(self, name: str) -> tuple[Source, str]:
        return self, name

    def watch(self, name: str, most: int = 1, filled: asyncio.Event | None = None) -> Watch:
        return Watch(self.channel, most, filled)

    async def check_stream(self, name: str) -> None:
        """It is there."""

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
            assert await first.written(item, "json", write, False) is await second.written(same, "json", write, False)
            assert await second.written(item, "other", write, False) == "text 2"
            source.samples.put_nowait(sample(2))
            source.samples.put_nowait(sample(3))
            newer, newest = await first.next(), await first.next()
            assert await first.written(newer, "json", write, False) == "text 3"
            assert await second.written(newest, "json", write, False) == "text 4"
            assert await second.written(newer, "json", write, False) == "text 3"
            assert await second.written(item, "json", write, False) == "text 5"
        await source.channel.close()

    run(body())


def test_what_is_large_is_written_once_on_a_thread_and_whoever_leaves_meanwhile_leaves_it_to_the_others() -> None:
    async def body() -> None:
        source = Source()
        begun, go_on = threading.Event(), threading.Event()
        written: list[threading.Thread] = []

        def write() -> str:
            written.append(threading.current_thread())
            begun.set()
            go_on.wait(PATIENCE_S)
            return "text"

        async with source.watch("power", 10) as first, source.watch("power", 10) as second:
            source.samples.put_nowait(sample(1))
            item, same = await first.next(), await second.next()
            leaves = asyncio.ensure_future(first.written(item, "json", write, True))
            await until(begun.is_set)
            stays = asyncio.ensure_future(second.written(same, "json", write, True))
            await asyncio.sleep(0)
            leaves.cancel()
            await asyncio.wait([leaves])
            go_on.set()
            assert await stays == "text"
            assert len(written) == 1
            assert written[0] is not threading.current_thread()
        await source.channel.close()

    run(body())


@pytest.mark.parametrize("size", [1000, 100_000])
def test_only_what_is_large_leaves_the_event_loop_to_be_written(size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    in_loop: list[bool] = []

    def json_text_watched(content: Any) -> str:
        in_loop.append(threading.current_thread() is threading.main_thread())
        return json_text(content)

    monkeypatch.setattr(broadcast, "json_text", json_text_watched)

    async def body() -> None:
        source, member = Source(), Member()
        group = Group(source, Wish(("power",), 1000.0))  # type: ignore[arg-type]
        group.members.add(member)  # type: ignore[arg-type]
        group.start()
        await until(lambda: source.channel.watchers)
        source.samples.put_nowait(made(0.0, np.zeros(size, np.uint8), ("power", 1, 1.0, 0.0, 1)))
        assert len(json.loads(await member.taken.get())["y"]) == size
        await group.stop()
        await source.channel.close()

    run(body())
    assert in_loop == [size == 1000]
