"""A cascade of three real processes, whose members die, freeze and come back while calls, samples and answers pass.

The same three go through all of it: whoever does not recover by itself fails the next test.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from one_liner import RouterClient
from one_liner.errors import ClosedError, NoDataError, OneLinerError, RouterDownError, ServerLostError
from one_liner.testing import SubprocessServer
from tests.conftest import poll_until
from tests.instrument import Traces, serve
from tests.test_at_most_once import in_background

# A process of a loaded machine may stand still for half a second; whoever beats faster than that takes it for gone.
HEARTBEAT_S = 1.0
PATIENCE_S = 30.0
# Three where it happens, and one more for each hop that passes it on; the rest is for two shared cores.
NOTICED_S = (3 + 2) * HEARTBEAT_S + 2.0
FAR = "up/up/"

posix = pytest.mark.skipif(sys.platform == "win32", reason="kills and stops as POSIX does")
pytestmark = posix


class Chain(NamedTuple):
    """Three processes: the client talks to `near`, that to `middle`, and that to `far`."""

    near: SubprocessServer
    middle: SubprocessServer
    far: SubprocessServer
    traces: Traces

    def member(self, name: str) -> SubprocessServer:
        return getattr(self, name)  # type: ignore[no-any-return]


@pytest.fixture(scope="module")
def processes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chain]:
    folder = tmp_path_factory.mktemp("chain")
    with ExitStack() as stack:

        def start(name: str, upstream: Any = None) -> SubprocessServer:
            up = None if upstream is None else {"interface": "127.0.0.1", "rpc_port": upstream.rpc_port}
            arguments = {"folder": str(folder), "name": name, "upstream": up, "heartbeat_s": HEARTBEAT_S}
            return stack.enter_context(SubprocessServer("tests.instrument:serve", arguments))

        far = start("far")
        middle = start("middle", far)
        yield Chain(start("near", middle), middle, far, Traces(folder))


@pytest.fixture
def chain(processes: Chain) -> Iterator[Chain]:
    processes.traces.clear()
    yield processes
    processes.traces.let_go()


@pytest.fixture
def heartbeat_s() -> float:
    """Of the client."""
    return HEARTBEAT_S


@pytest.fixture
def client(chain: Chain, heartbeat_s: float) -> Iterator[RouterClient]:
    with RouterClient(
        interface="127.0.0.1", rpc_port=chain.near.rpc_port, broadcast_port=None, heartbeat_s=heartbeat_s
    ) as made:
        poll_until(lambda: answer(made, "instrument"), PATIENCE_S, "all three to be there")
        poll_until(lambda: not made._link.hello.down, PATIENCE_S, "it to know that")  # type: ignore[union-attr]
        yield made


def answer(client: RouterClient, name: str) -> Any:
    try:
        return client.call(f"{FAR}{name}", "act", timeout_s=2.0)
    except OneLinerError:
        return None


def fail(chain: Chain, who: str, fault: str) -> None:
    if fault == "killed":
        chain.member(who).kill()
    else:
        chain.member(who).stop()


def mend(chain: Chain, who: str, fault: str) -> None:
    if fault == "killed":
        chain.member(who).restart()
    else:
        chain.member(who).resume()


def told(future: Any, began: float, by: str) -> str:
    """What a waiter is told: in time, that the call may have run, and which hop it was."""
    error = future.exception(PATIENCE_S)
    assert time.monotonic() - began < NOTICED_S
    assert isinstance(error, ServerLostError | RouterDownError)
    assert f"router 'up' of '{by}'" in str(error)
    return str(error)


# Who tells that somebody is gone.
NEXT = {"far": "middle", "middle": "near"}


@pytest.mark.parametrize("fault", ["killed", "stopped"])
@pytest.mark.parametrize("who", ["far", "middle"])
def test_in_mid_call_and_mid_stream(chain: Chain, client: RouterClient, who: str, fault: str) -> None:
    traces = chain.traces
    client.configure_stream(f"{FAR}ticks", wait=True, timeout_s=PATIENCE_S)
    first = client.get_stream(f"{FAR}ticks", timeout_s=PATIENCE_S)
    running = in_background(lambda: client.call(f"{FAR}instrument", "slow"))
    poll_until(lambda: traces["slow began"])
    waiting = in_background(lambda: client.proxy(f"{FAR}instrument").act())
    client.configure_stream(f"{FAR}silent", wait=True, timeout_s=PATIENCE_S)
    reading = in_background(lambda: client.get_stream(f"{FAR}silent", block=True))
    troubles: list[OneLinerError] = []
    client.on_sample(f"{FAR}silent", print, troubles.append)
    poll_until(lambda: client._reception.subscriptions[f"{FAR}silent"]._waiters == 2)
    fail(chain, who, fault)
    try:
        began = time.monotonic()
        assert "may or may not have run" in told(running, began, NEXT[who])
        told(waiting, began, NEXT[who])
        told(reading, began, NEXT[who])
        poll_until(lambda: troubles)
        with pytest.raises(ConnectionError, match=f"router 'up' of '{NEXT[who]}'"):
            client.call(f"{FAR}instrument", "act")
        assert client.state == "connected"
        assert client.call("instrument", "tick"), "whoever is not behind it is served"
    finally:
        acted = traces["act"]
        mend(chain, who, fault)
        traces.let_go()
    poll_until(lambda: answer(client, "second"), PATIENCE_S, "the cascade to mend itself")
    assert traces["slow began"] == 1, "nothing was done again"
    assert traces["act"] <= acted + 2, "at most what waited and what was asked just now"

    assert [type(trouble) for trouble in troubles] == [RouterDownError], "told once, and not without end"

    # The books: every sample that its producer made since the first, and of the new one since its first, is counted.
    restarted = who == "far" and fault == "killed"

    def recent() -> bool:
        try:
            sample = client.get_stream(f"{FAR}ticks", timeout_s=0.1)
        except (NoDataError, RouterDownError):
            return False
        return sample.origin != first.origin if restarted else sample.wall_time > mended

    mended = time.time()
    poll_until(recent, PATIENCE_S, "samples")
    client.disable_stream(f"{FAR}ticks")
    produced = client.get_stream_configurations()[f"{FAR}ticks"].produced

    def complete() -> bool:
        statistics = client.stream_statistics(f"{FAR}ticks")
        newest = client.last_sample(f"{FAR}ticks")
        return statistics.accounted and newest.sequence == produced - 1

    poll_until(complete, PATIENCE_S, "the last sample, and balanced books")
    statistics = client.stream_statistics(f"{FAR}ticks")
    assert statistics.restarts == restarted
    if not restarted:
        assert first.sequence + statistics.expected == produced
    client.enable_stream(f"{FAR}ticks")


def waits_to_be_sent(port: int) -> int:
    """How many bytes the kernel holds that went out at a port and that nobody takes."""
    lines = [line.split() for line in Path("/proc/net/tcp").read_text(encoding="ascii").splitlines()[1:]]
    return sum(int(words[4].partition(":")[0], 16) for words in lines if int(words[1].partition(":")[2], 16) == port)


@pytest.mark.skipif(sys.platform != "linux", reason="looks into the sockets as Linux tells it")
@pytest.mark.parametrize("heartbeat_s", [10.0])  # So patient that `near` may stand still until the line is full.
@pytest.mark.parametrize("fault", ["killed", "stopped"])
@pytest.mark.parametrize("who", ["far", "middle"])
def test_in_the_middle_of_a_large_answer(chain: Chain, client: RouterClient, who: str, fault: str) -> None:
    """Whoever receives stands still for a moment: so the answer fills the line, and is cut in its middle."""
    size = 40_000_000
    dam = chain.member(NEXT[who])
    port = chain.member(who).rpc_port
    passing = in_background(lambda: client.call(f"{FAR}instrument", "slow_picture", [size]))
    poll_until(lambda: chain.traces["slow began"])
    dam.stop()
    try:
        chain.traces.let_go()
        poll_until(lambda: waits_to_be_sent(port) > 100_000, PATIENCE_S, "the line to be full")
        fail(chain, who, fault)
    finally:
        dam.resume()
    try:
        error = passing.exception(PATIENCE_S)
        assert isinstance(error, ServerLostError | RouterDownError)
        assert "router 'up' of" in str(error)
    finally:
        mend(chain, who, fault)
    poll_until(lambda: answer(client, "second"), PATIENCE_S, "the cascade to mend itself")
    assert chain.traces["slow began"] == chain.traces["picture"] == 1
    assert client.call(f"{FAR}instrument", "picture", [size]) == bytes(range(256)) * (size // 256)
    assert chain.traces["picture"] == 2


def test_a_driver_that_holds_its_interpreter_makes_nothing_fail_however_far_away(
    chain: Chain, client: RouterClient
) -> None:
    states: list[str] = []
    client.on_state(lambda state: states.append(str(state)))
    client.configure_stream(f"{FAR}silent", wait=True, timeout_s=PATIENCE_S)
    reading = in_background(lambda: client.get_stream(f"{FAR}silent", timeout_s=PATIENCE_S))
    holding = in_background(lambda: client.call(f"{FAR}instrument", "hold", [6 * HEARTBEAT_S]))
    poll_until(lambda: chain.traces["hold"])
    waiting = in_background(lambda: client.call(f"{FAR}second", "act"))

    def shown() -> Any:
        return "unresponsive" in str(client.describe())

    poll_until(shown, what="it to be shown as what it is")
    assert holding.result(PATIENCE_S) == "held"
    assert waiting.result(PATIENCE_S)
    assert not reading.done(), "nor was whoever waits for a sample told anything"
    client.unconfigure_stream(f"{FAR}silent")
    assert isinstance(reading.exception(PATIENCE_S), ClosedError)
    assert states == ["connected"]
    assert chain.traces["hold"] == 1


def test_a_call_that_takes_twenty_heartbeats_is_not_disturbed(tmp_path: Path) -> None:
    heartbeat_s = 0.15
    states: list[str] = []
    with ExitStack() as stack:
        near, path = serve(0, 0, str(tmp_path), heartbeat_s=heartbeat_s), ""
        stack.enter_context(near).run()
        far = near
        for _ in range(2):
            near = stack.enter_context(
                serve(0, 0, str(tmp_path), heartbeat_s=heartbeat_s, upstream={"rpc_port": near.rpc_port})
            )
            near.run()
            path += "up/"
        clients = [
            stack.enter_context(
                RouterClient(interface="127.0.0.1", rpc_port=port, broadcast_port=None, heartbeat_s=heartbeat_s)
            )
            for port in (far.rpc_port, near.rpc_port)
        ]
        clients[1].on_state(lambda state: states.append(str(state)))
        calls = [
            in_background(lambda: clients[0].call("instrument", "pause", [20 * heartbeat_s])),
            in_background(lambda: clients[1].call(f"{path}second", "pause", [20 * heartbeat_s])),
        ]
        assert [call.result(PATIENCE_S) for call in calls] == [20 * heartbeat_s] * 2
        assert Traces(tmp_path)["pause"] == 2
        assert "lost" not in states
