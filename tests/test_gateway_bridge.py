"""A server on NATS: streams as subjects, calls answered, a broker that is killed, and what JetStream keeps."""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("fastapi")
pytest.importorskip("nats", reason="pip install 'one_liner[gateway]'")

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from nats.aio.client import Client
from nats.errors import NoRespondersError
from nats.js.api import ConsumerConfig, DeliverPolicy

from one_liner.aio import AsyncRouterClient
from one_liner.errors import ConfigurationError
from one_liner.gateway.bridge import Bridge, Keep, Subjects
from one_liner.gateway.bridge import bridge as bridge_module
from one_liner.gateway.pieces import json_pieces
from one_liner.server import RouterServer
from tests.brokers import Broker, broker
from tests.web import PATIENCE_S, run, until


class Laser:
    def __init__(self) -> None:
        self.calls = 0
        self.gate = threading.Event()

    def set_power(self, power_mw: float, ramp: bool = False) -> dict[str, Any]:
        self.calls += 1
        return {"power_mw": power_mw, "ramp": ramp}

    def power(self) -> float:
        return 1.5

    def fail(self) -> None:
        raise ValueError("interlock open")

    def stuck(self) -> str:
        self.gate.wait()
        return "done"


@pytest.fixture
def laser() -> Iterator[Laser]:
    one = Laser()
    yield one
    one.gate.set()


@pytest.fixture
def rig(laser: Laser) -> Iterator[RouterServer]:
    with RouterServer(rpc_port=0, broadcast_port=0, instances={"laser": laser, "other": Laser()}) as server:
        server.add_stream("power", 50, "laser", "power")
        server.run()
        yield server


@asynccontextmanager
async def bridged(rig: RouterServer, one: Broker, **options: Any) -> AsyncIterator[Bridge]:
    async with (
        AsyncRouterClient(rpc_port=rig.rpc_port, broadcast_port=None) as client,
        Bridge(one.url, client, **options) as bridge,
    ):
        await asyncio.wait_for(bridge.wait_connected(), PATIENCE_S)
        yield bridge


@asynccontextmanager
async def connected(one: Broker) -> AsyncIterator[Client]:
    client = Client()
    await client.connect(one.url, max_reconnect_attempts=-1, reconnect_time_wait=1, error_cb=_ignore)
    try:
        yield client
    finally:
        await client.close()


async def _ignore(error: Exception) -> None:
    """The broker is killed on purpose."""


async def asked(client: Client, subject: str, arguments: Any = None) -> dict[str, Any]:
    payload = b"" if arguments is None else json.dumps(arguments).encode()
    return json.loads((await client.request(subject, payload, timeout=PATIENCE_S)).data)


# --- names -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "subject"),
    [
        ("power", "lab.stream.power"),
        ("north/power", "lab.stream.north/power"),
        ("a.b", "lab.stream.a.b"),
        (":emergency", "lab.event.emergency"),
        ("north/:emergency", "lab.event.north/emergency"),
        ("two words", "lab.stream.two%20words"),
        ("*>%", "lab.stream.%2A%3E%25"),
        (".a..b.", "lab.stream.%2Ea.%2Eb%2E"),
        ("ü", "lab.stream.%C3%BC"),
    ],
)
def test_subjects_of_streams(name: str, subject: str) -> None:
    assert Subjects("lab").of_stream(name) == subject


@given(
    obj_name=st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=20),
    attr_name=st.text(st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="."), min_size=1, max_size=20),
)
def test_subjects_of_calls_come_back(obj_name: str, attr_name: str) -> None:
    subjects = Subjects("lab.north")
    subject = subjects.of_call(obj_name, attr_name)
    assert subjects.called(subject) == (obj_name, attr_name)
    assert not set(subject) & set(" *>\t\r\n")
    assert all(subject.split("."))


@pytest.mark.parametrize("prefix", ["", "a b", "a..b", ".a", "a.", "*", "a.>", "$JS", "a%"])
def test_a_prefix_that_cannot_be(prefix: str) -> None:
    with pytest.raises(ConfigurationError):
        Subjects(prefix)


# --- streams ---------------------------------------------------------------------------------------------------------


def test_streams_are_subjects(rig: RouterServer, tmp_path: Path) -> None:
    push = rig.get_stream_fn("north wing")

    async def body(one: Broker) -> None:
        async with connected(one) as watcher, bridged(rig, one, prefix="lab", streams=["*"]) as bridge:
            power = await watcher.subscribe("lab.stream.power")
            everything = await watcher.subscribe("lab.stream.>")
            await watcher.flush()
            told = [json.loads((await power.next_msg(PATIENCE_S)).data) for _ in range(5)]
            assert [set(one) for one in told] == [{"timestamp", "sequence", "data"}] * 5
            assert [one["sequence"] for one in told] == list(range(told[0]["sequence"], told[0]["sequence"] + 5))
            assert {one["data"] for one in told} == {1.5}
            push({"counts": [1, 2], "bad": float("nan")})
            while (message := await everything.next_msg(PATIENCE_S)).subject == "lab.stream.power":
                push({"counts": [1, 2], "bad": float("nan")})
            assert message.subject == "lab.stream.north%20wing"
            assert json.loads(message.data)["data"] == {"counts": [1, 2], "bad": None}
            assert bridge.statistics.published > 5
            assert bridge.statistics.unsent == 0

    with broker("nats", tmp_path) as one:
        run(body(one))


def test_only_chosen_streams_are_published_and_one_may_come_later(rig: RouterServer, tmp_path: Path) -> None:
    async def body(one: Broker) -> None:
        async with connected(one) as watcher, bridged(rig, one, streams=["later"]):
            everything = await watcher.subscribe("one_liner.>")
            await watcher.flush()
            rig.add_stream("later", 50, "laser", "power")
            for _ in range(5):
                assert (await everything.next_msg(PATIENCE_S)).subject == "one_liner.stream.later"

    with broker("nats", tmp_path) as one:
        run(body(one))


def test_a_sample_that_is_an_error_or_too_large(rig: RouterServer, tmp_path: Path) -> None:
    rig.add_stream("failing", 50, "laser", "fail")
    push = rig.get_stream_fn("large")

    async def body(one: Broker) -> None:
        async with connected(one) as watcher, bridged(rig, one, streams=["failing", "large"]) as bridge:
            failing = await watcher.subscribe("one_liner.stream.failing")
            large = await watcher.subscribe("one_liner.stream.large")
            await watcher.flush()
            told = json.loads((await failing.next_msg(PATIENCE_S)).data)
            assert told["data"] is None
            assert (told["error"]["type"], told["error"]["message"]) == ("ValueError", "interlock open")
            while not bridge.statistics.unsent:
                push("x" * (2 << 20))
                await asyncio.sleep(0.01)
            push("small")
            while True:
                if json.loads((await large.next_msg(PATIENCE_S)).data)["data"] == "small":
                    break

    with broker("nats", tmp_path) as one:
        run(body(one))


def test_a_large_sample_is_written_aside_and_not_at_all_if_nobody_could_get_it(
    rig: RouterServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    push = rig.get_stream_fn("camera")
    written: list[tuple[int, bool]] = []

    def pieces_watched(content: Any) -> Iterator[bytes]:
        written.append((content["data"].size, threading.current_thread() is threading.main_thread()))
        return json_pieces(content)

    monkeypatch.setattr(bridge_module, "json_pieces", pieces_watched)

    async def body(one: Broker) -> None:
        async with connected(one) as watcher, bridged(rig, one, streams=["camera"]) as bridge:
            camera = await watcher.subscribe("one_liner.stream.camera")
            await watcher.flush()
            while not bridge.statistics.unsent:
                push(np.zeros(1 << 20, np.uint8))
                await asyncio.sleep(0.01)
            push(np.zeros(100_000, np.uint8))
            assert len(json.loads((await camera.next_msg(PATIENCE_S)).data)["data"]) == 100_000
            assert written == [(100_000, False)]
            one.kill()
            await until(lambda: not bridge.statistics.connected, "the broker to be missed")
            unsent = bridge.statistics.unsent
            push(np.zeros(100_000, np.uint8))
            await until(lambda: bridge.statistics.unsent > unsent, "the sample to be counted")
            assert len(written) == 1

    with broker("nats", tmp_path) as one:
        run(body(one))


# --- calls -----------------------------------------------------------------------------------------------------------


def test_calls_are_answered(rig: RouterServer, laser: Laser, tmp_path: Path) -> None:
    async def body(one: Broker) -> None:
        async with connected(one) as client, bridged(rig, one, calls=["laser"]) as bridge:
            subject = "one_liner.call.laser.set_power"
            expected = {"result": {"power_mw": 5, "ramp": True}, "result_type": "dict"}
            assert await asked(client, subject, {"power_mw": 5, "ramp": True}) == expected
            assert await asked(client, subject, [5, True]) == expected
            assert await asked(client, "one_liner.call.laser.power") == {"result": 1.5, "result_type": "float"}
            for wrong, arguments, code in [
                (subject, None, "bad_arguments"),
                (subject, "text", "bad_arguments"),
                ("one_liner.call.laser.nothing", None, "unknown_attribute"),
                ("one_liner.call.laser.__init__", None, "not_exposed"),
                ("one_liner.call.other.set_power", [1], "not_exposed"),
                ("one_liner.call.laser", None, "not_exposed"),
            ]:
                assert (await asked(client, wrong, arguments))["error"]["error"] == code, (wrong, arguments)
            answer = await client.request(subject, b"{no json", timeout=PATIENCE_S)
            assert json.loads(answer.data)["error"]["error"] == "bad_arguments"
            fault = (await asked(client, "one_liner.call.laser.fail"))["error"]
            assert (fault["error"], fault["type"], fault["message"]) == ("remote", "ValueError", "interlock open")
            description = (await asked(client, "one_liner.describe"))["result"]
            assert "set_power" in json.dumps(description)
            # A call that nobody awaits the answer of does not run.
            before = laser.calls
            await client.publish(subject, b"[1]")
            await asked(client, subject, [2])
            assert laser.calls == before + 1
            assert bridge.statistics.answered >= 12

    with broker("nats", tmp_path) as one:
        run(body(one))


def test_a_stuck_call_delays_no_other(rig: RouterServer, laser: Laser, tmp_path: Path) -> None:
    async def body(one: Broker) -> None:
        async with connected(one) as client, bridged(rig, one, calls=["*"]):
            stuck = asyncio.create_task(asked(client, "one_liner.call.laser.stuck"))
            answers = await asyncio.gather(
                *(asked(client, "one_liner.call.other.set_power", [number]) for number in range(200))
            )
            assert [answer["result"]["power_mw"] for answer in answers] == list(range(200))
            assert not stuck.done()
            laser.gate.set()
            assert (await stuck)["result"] == "done"

    with broker("nats", tmp_path) as one:
        run(body(one))


def test_two_bridges_make_each_call_once_and_without_leave_nothing_may_be_called(
    rig: RouterServer, laser: Laser, tmp_path: Path
) -> None:
    async def body(one: Broker) -> None:
        async with connected(one) as client:
            async with bridged(rig, one, streams=["power"]):
                with pytest.raises(NoRespondersError):
                    await asked(client, "one_liner.call.laser.power")
            async with bridged(rig, one, calls=["laser"]), bridged(rig, one, calls=["laser"]):
                for number in range(50):
                    await asked(client, "one_liner.call.laser.set_power", [number])
        assert laser.calls == 50

    with broker("nats", tmp_path) as one:
        run(body(one))


# --- what dies and returns -------------------------------------------------------------------------------------------


def test_a_broker_that_is_killed_comes_back_to_streams_and_calls(rig: RouterServer, tmp_path: Path) -> None:
    async def body(one: Broker) -> None:
        async with connected(one) as client, bridged(rig, one, streams=["power"], calls=["laser"]) as bridge:
            power = await client.subscribe("one_liner.stream.power")
            before = json.loads((await power.next_msg(PATIENCE_S)).data)["sequence"]
            await asyncio.to_thread(one.kill)
            await until(lambda: bridge.statistics.unsent > 3)
            await asyncio.to_thread(one.start)
            await until(lambda: bridge.statistics.connected and client.is_connected)
            published = bridge.statistics.published
            await until(lambda: bridge.statistics.published > published)
            while json.loads((await power.next_msg(PATIENCE_S)).data)["sequence"] <= before + 3:
                pass
            assert (await asked(client, "one_liner.call.laser.power"))["result"] == 1.5
            assert bridge.statistics.reconnections == 1

    with broker("nats", tmp_path) as one:
        run(body(one))


def test_a_bridge_waits_for_broker_and_server(laser: Laser, tmp_path: Path) -> None:
    with RouterServer(rpc_port=0, broadcast_port=0) as gone:
        port = gone.rpc_port

    async def body(one: Broker) -> None:
        async with (
            AsyncRouterClient(rpc_port=port, broadcast_port=None) as client,
            Bridge(one.url, client, streams=["*"]) as bridge,
        ):
            await asyncio.to_thread(one.start)
            await asyncio.wait_for(bridge.wait_connected(), PATIENCE_S)
            async with connected(one) as watcher:
                power = await watcher.subscribe("one_liner.stream.power")
                for _ in range(2):
                    with RouterServer(rpc_port=port, broadcast_port=0, instances={"laser": laser}) as server:
                        server.add_stream("power", 50, "laser", "power")
                        await asyncio.to_thread(server.run)
                        while power.pending_msgs:
                            await power.next_msg(PATIENCE_S)
                        await power.next_msg(PATIENCE_S)

    one = Broker("nats", tmp_path)
    try:
        run(body(one))
    finally:
        one.kill()


def test_what_jetstream_kept_is_read_again_after_the_broker_was_killed(rig: RouterServer, tmp_path: Path) -> None:
    push = rig.get_stream_fn("run")

    async def body(one: Broker) -> None:
        async with bridged(rig, one, prefix="lab", streams=["run", "power"], keep=Keep(max_bytes=1 << 20)) as bridge:
            push(-1)
            while bridge.statistics.published < 20:
                push(-1)
                await asyncio.sleep(0.01)
            for number in range(100):
                push(number)
            async with connected(one) as client:
                stream = client.jetstream()

                async def kept() -> list[int]:
                    found = []
                    config = ConsumerConfig(deliver_policy=DeliverPolicy.ALL)
                    reader = await stream.subscribe("lab.stream.run", ordered_consumer=True, config=config)
                    while not found or found[-1] != 99:
                        message = await reader.next_msg(PATIENCE_S)
                        found.append(json.loads(message.data)["data"])
                    await reader.unsubscribe()
                    return [number for number in found if number >= 0]

                assert await kept() == list(range(100))
                await asyncio.to_thread(one.kill)
                await asyncio.to_thread(one.start)
                await until(lambda: client.is_connected)
                assert await kept() == list(range(100))

    with broker("nats", tmp_path, "-js", "-sd", str(tmp_path / "store")) as one:
        run(body(one))


# --- the command -----------------------------------------------------------------------------------------------------


def test_the_command_bridges_and_says_what_it_did(rig: RouterServer, tmp_path: Path) -> None:
    async def body(one: Broker) -> None:
        async with connected(one) as client:
            power = await client.subscribe("lab.stream.power")
            await power.next_msg(PATIENCE_S)
            answer = await asked(client, "lab.call.laser.set_power", [3])
            assert answer["result"]["power_mw"] == 3

    with broker("nats", tmp_path) as one:
        command = [sys.executable, "-m", "one_liner.cli", "bridge", one.url, "--server", f"localhost:{rig.rpc_port}"]
        command += ["--stream", "power", "--call", "laser", "--prefix", "lab"]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        try:
            run(body(one))
        finally:
            process.send_signal(signal.SIGTERM if sys.platform == "win32" else signal.SIGINT)
            out, _ = process.communicate(timeout=PATIENCE_S)
        assert "lab.>" in out
        if sys.platform != "win32":
            assert "published, 0 not; 1 calls answered" in out
