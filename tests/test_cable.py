"""A cable that is pulled, and a line that is slow or bad: two real network stacks, and a real server at the far end."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from one_liner import RouterClient
from one_liner.errors import LeaseLostError, OneLinerError, ServerLostError
from one_liner.testing import SubprocessServer
from tests.conftest import poll_until
from tests.instrument import Traces
from tests.namespaces import Line, make_line
from tests.test_at_most_once import in_background

HEARTBEAT_S = 0.3
PATIENCE_S = 20.0
# Three intervals are promised; the rest is for two shared cores.
NOTICED_S = 3 * HEARTBEAT_S + 2.0
LARGE = 40_000_000
SHIFT_S = 12_345.0


@pytest.fixture
def traces(tmp_path: Path) -> Iterator[Traces]:
    traces = Traces(tmp_path)
    yield traces
    traces.let_go()


@contextmanager
def rig(folder: Path, heartbeat_s: float = HEARTBEAT_S, shift_s: float = 0.0, **line: Any) -> Iterator[Rig]:
    """A line, a server at its far end and a client at the near one."""
    with ExitStack() as stack:
        made = stack.enter_context(make_line(**line))
        place = {"folder": str(folder), "interface": made.far.address}
        arguments = {**place, "heartbeat_s": heartbeat_s, "shift_s": shift_s}
        with made.far.entered():
            server = stack.enter_context(SubprocessServer("tests.instrument:serve", arguments))
        context = made.near.context()
        stack.callback(context.term)
        client = stack.enter_context(
            RouterClient(
                interface=made.far.address,
                rpc_port=server.rpc_port,
                broadcast_port=None,
                context=context,
                heartbeat_s=heartbeat_s,
            )
        )
        client.wait_until_connected(PATIENCE_S)
        yield Rig(made, server, client)


class Rig:
    """What a test has to do with. `states` are those of the client, each change once."""

    def __init__(self, line: Line, server: SubprocessServer, client: RouterClient) -> None:
        self.line, self.server, self.client = line, server, client
        self.states: list[str] = []
        client.on_state(lambda state: self.states.append(str(state)))
        poll_until(lambda: self.states)


def noticed(futures: list[Future[Any]], began: float) -> list[OneLinerError]:
    """What the waiters raise, all of them in time."""
    errors = [future.exception(PATIENCE_S) for future in futures]
    assert time.monotonic() - began < NOTICED_S
    assert all(isinstance(error, ServerLostError) for error in errors), errors
    return [error for error in errors if isinstance(error, OneLinerError)]


CUTS: dict[str, tuple[Callable[[Line], None], Callable[[Line], None]]] = {
    "the cable is pulled": (Line.pull, Line.plug),
    "the far interface is switched off": (
        lambda line: line.far.ip("link set line0 down"),
        lambda line: line.far.ip("link set line0 up"),
    ),
    "the near interface is switched off": (
        lambda line: line.near.ip("link set line0 down"),
        lambda line: line.near.ip("link set line0 up"),
    ),
}


@pytest.mark.parametrize("cut", CUTS)
def test_whoever_waits_is_told_since_when_and_all_is_well_again_when_it_is_plugged_in(
    cut: str, tmp_path: Path, traces: Traces
) -> None:
    pull, plug = CUTS[cut]
    with rig(tmp_path) as has:
        client = has.client
        client.configure_stream("silent", wait=True, timeout_s=PATIENCE_S)
        proxy = client.proxy("second")
        waiting = [
            in_background(lambda: client.call("instrument", "slow")),
            in_background(lambda: client.get_stream("silent", block=True)),
            in_background(lambda: next(client.stream("silent"))),
            in_background(lambda: proxy.slow()),
        ]
        poll_until(lambda: traces["slow began"] == 2)
        poll_until(lambda: client._reception.subscriptions["silent"]._waiters == 2)
        pull(has.line)
        errors = noticed(waiting, time.monotonic())
        assert all("has not answered since" in str(error) for error in errors)
        assert "may or may not have run" in str(errors[0])
        assert "may or may not have run" in str(errors[3])
        assert client.state == "lost"
        with pytest.raises(ServerLostError):
            client.call("instrument", "act")
        traces.let_go()
        poll_until(lambda: traces["slow ended"] == 2, what="the instrument, which knows nothing of it, to finish")
        plug(has.line)
        client.wait_until_connected(PATIENCE_S)
        assert client.call("instrument", "act") == 1
        assert traces["slow began"] == 2, "nothing was done again"
        poll_until(lambda: has.states == ["connected", "lost", "connected"])


def test_an_answer_made_while_the_cable_was_out_is_fetched_and_nothing_acts_again(
    tmp_path: Path, traces: Traces
) -> None:
    with rig(tmp_path, heartbeat_s=2.0) as has:
        waiting = in_background(lambda: has.client.call("instrument", "slow"))
        poll_until(lambda: traces["slow began"])
        has.line.pull()
        traces.let_go()
        poll_until(lambda: traces["slow ended"])
        has.line.plug()
        assert waiting.result(PATIENCE_S) == "done"
        assert traces["slow began"] == 1
        assert has.states == ["connected"]


def test_the_books_of_a_stream_balance_over_a_cut(tmp_path: Path) -> None:
    with rig(tmp_path) as has:
        client = has.client
        client.configure_stream("ticks", wait=True, timeout_s=PATIENCE_S)
        first = client.get_stream("ticks", timeout_s=PATIENCE_S)
        has.line.pull()
        sequences = [first.sequence]
        reading = in_background(lambda: sequences.extend(sample.sequence for sample in client.stream("ticks")))
        noticed([reading], time.monotonic())
        has.line.plug()
        client.wait_until_connected(PATIENCE_S)
        sequences += [client.get_stream("ticks", timeout_s=PATIENCE_S).sequence for _ in range(20)]
        client.disable_stream("ticks")
        produced = client.get_stream_configurations()["ticks"].produced
        poll_until(lambda: first.sequence + client.stream_statistics("ticks").expected == produced)
        statistics = client.stream_statistics("ticks")
        assert statistics.accounted
        assert statistics.restarts == 0
        assert sequences == sorted(set(sequences))


@pytest.mark.parametrize("long", [True, False], ids=["for long", "for a moment"])
def test_a_cable_pulled_in_the_middle_of_a_large_answer(long: bool, tmp_path: Path, traces: Traces) -> None:
    with rig(tmp_path, heartbeat_s=HEARTBEAT_S if long else 2.0) as has:
        has.line.pull_after(LARGE // 4)
        waiting = in_background(lambda: has.client.call("instrument", "picture", [LARGE]))
        poll_until(lambda: not has.line.plugged)
        if long:
            noticed([waiting], time.monotonic())
        has.line.plug()
        if long:
            has.client.wait_until_connected(PATIENCE_S)
        else:
            assert len(waiting.result(PATIENCE_S)) == LARGE
        assert traces["picture"] == 1
        picture = has.client.call("instrument", "picture", [LARGE])
        assert picture == bytes(range(256)) * (LARGE // 256)
        assert traces["picture"] == 2
        assert has.states.count("lost") == long


def test_a_cable_pulled_in_the_middle_of_a_large_sample(tmp_path: Path) -> None:
    with rig(tmp_path) as has:
        client = has.client
        client.configure_stream("pictures", wait=True, timeout_s=PATIENCE_S)
        client.get_stream("pictures", timeout_s=PATIENCE_S)
        has.line.pull_after(2_000_000)
        poll_until(lambda: not has.line.plugged)
        reading = in_background(lambda: list(client.stream("pictures")))
        noticed([reading], time.monotonic())
        has.line.plug()
        client.wait_until_connected(PATIENCE_S)
        for _ in range(3):
            assert client.get_stream("pictures", timeout_s=PATIENCE_S).data == bytes(4_000_000)
        assert client.stream_statistics("pictures").accounted


def test_what_a_client_controlled_is_made_safe_when_its_cable_is_pulled(tmp_path: Path, traces: Traces) -> None:
    with rig(tmp_path) as has:
        told: list[OneLinerError] = []
        has.client.lease("instrument", on_lost=told.append)
        has.line.pull()
        poll_until(lambda: traces["park"] == 1, what="the server to make it safe, alone")
        has.line.plug()
        has.client.wait_until_connected(PATIENCE_S)
        poll_until(lambda: told)
        assert isinstance(told[0], ServerLostError | LeaseLostError)
        assert has.client.leases() == []
        assert traces["park"] == 1


def test_a_cable_pulled_between_two_servers_of_a_cascade_is_named(tmp_path: Path, traces: Traces) -> None:
    with rig(tmp_path) as has:
        upstream = {"interface": has.line.far.address, "rpc_port": has.server.rpc_port}
        arguments = {"folder": str(tmp_path), "name": "desk", "upstream": upstream}
        with has.line.near.entered():
            middle = SubprocessServer("tests.instrument:serve", arguments)
        with middle, ExitStack() as stack:
            context = has.line.near.context()
            stack.callback(context.term)
            client = stack.enter_context(
                RouterClient(rpc_port=middle.rpc_port, broadcast_port=None, context=context, heartbeat_s=HEARTBEAT_S)
            )
            client.configure_stream("up/ticks", wait=True, timeout_s=PATIENCE_S)
            first = client.get_stream("up/ticks", timeout_s=PATIENCE_S)
            waiting = in_background(lambda: client.call("up/instrument", "slow"))
            poll_until(lambda: traces["slow began"])
            has.line.pull()
            (error,) = noticed([waiting], time.monotonic())
            assert "router 'up' of 'desk'" in str(error)
            assert has.line.far.address in str(error)
            assert "may or may not have run" in str(error)
            with pytest.raises(ConnectionError, match="router 'up' of 'desk'"):
                client.call("up/instrument", "act")
            assert client.call("instrument", "act") == 1, "the middle itself is well"
            assert client.state == "connected"
            traces.let_go()
            has.line.plug()
            assert poll_until(lambda: _answer(client, "up/instrument")) == 2
            client.disable_stream("up/ticks")
            produced = client.get_stream_configurations()["up/ticks"].produced
            poll_until(lambda: first.sequence + client.stream_statistics("up/ticks").expected == produced)
            assert client.stream_statistics("up/ticks").accounted
            assert traces["slow began"] == 1


def _answer(client: RouterClient, path: str) -> Any:
    try:
        return client.call(path, "act")
    except ConnectionError:
        return None


# --- slow lines and bad ones -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("delay_s", [(0.15, 0.15), (0.1, 0.0), (0.0, 0.1)], ids=["both ways", "there", "back"])
def test_the_offset_of_two_clocks_and_its_bound_are_true_on_a_slow_line(
    delay_s: tuple[float, float], tmp_path: Path
) -> None:
    """A delay in one direction only is the worst that there is: the offset is off by half of it, and must say so."""
    with rig(tmp_path, heartbeat_s=1.0, shift_s=SHIFT_S, delay_s=delay_s) as has:
        offset_s, error_s = has.client.clock_offset
        assert error_s >= sum(delay_s) / 2, "no bound can be tighter than half a round trip"
        assert abs(offset_s + SHIFT_S) <= error_s
        assert abs(offset_s + SHIFT_S) >= abs(delay_s[0] - delay_s[1]) / 2 - 0.05, "the delay is really there"
        before = time.perf_counter()
        timestamp, _ = has.client.call("instrument", "act", get_timestamp=True)
        after = time.perf_counter()
        assert after - before >= sum(delay_s)
        assert before + delay_s[0] - error_s <= timestamp <= after - delay_s[1] + error_s
        has.client.configure_stream("now", wait=True, timeout_s=PATIENCE_S)
        for _ in range(5):
            sample = has.client.get_stream("now", timeout_s=PATIENCE_S)
            # On one machine `perf_counter` is one clock: what the sample carries is the true instant.
            bound_s = sample.timestamp_error_s
            assert sample.data - bound_s <= sample.timestamp <= time.perf_counter() - delay_s[1] + bound_s
        assert has.states == ["connected"]


def test_a_line_that_loses_every_tenth_packet_costs_time_and_nothing_else(tmp_path: Path, traces: Traces) -> None:
    with rig(tmp_path, heartbeat_s=5.0, loss=0.1, seed=1) as has:
        client = has.client
        client.configure_stream("ticks", wait=True, timeout_s=PATIENCE_S)
        first = client.get_stream("ticks", timeout_s=PATIENCE_S)
        assert [client.call("instrument", "act") for _ in range(30)] == list(range(1, 31))
        assert client.call("instrument", "picture", [1_000_000]) == bytes(range(256)) * (1_000_000 // 256)
        client.disable_stream("ticks")
        produced = client.get_stream_configurations()["ticks"].produced
        poll_until(lambda: first.sequence + client.stream_statistics("ticks").expected == produced)
        statistics = client.stream_statistics("ticks")
        assert statistics.accounted
        assert (statistics.lost_on_the_way, statistics.dropped_upstream) == (0, 0)
        assert traces["act"] == 30
        assert has.line.lost > 0
        assert has.states == ["connected"]
