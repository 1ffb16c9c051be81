"""A call acts once, whatever becomes of its connection, and its caller is told the truth about it.

Two ways to look: a raw DEALER that says what a well-behaved client never would, and real clients behind a relay that is
cut at the worst moment.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from typing import Any

import pytest
import zmq

from one_liner.client import RouterClient
from one_liner.errors import (
    AnswerLostError,
    BusyTimeoutError,
    CallTimeoutError,
    ConfigurationError,
    MalformedError,
    NotReceivedError,
    RemoteError,
    RouterDownError,
    ServerClosedError,
    ServerLostError,
    ServerRestartedError,
    UnknownObjectError,
)
from one_liner.rpc import journal
from one_liner.rpc.journal import MAX_BYTES, MAX_ENTRIES
from one_liner.server import RouterServer
from one_liner.wire.codec import Codec
from one_liner.wire.faults import error_of
from one_liner.wire.messages import Kind, Reply, Request
from tests.conftest import poll_until

CODEC = Codec()
PATIENCE_S = 10.0


class Counter:
    """Counts what was done to it; `slow` takes until it is let go."""

    def __init__(self) -> None:
        self.count = 0
        self.begun = threading.Event()
        self.go = threading.Event()

    def bump(self) -> int:
        self.count += 1
        return self.count

    def slow(self) -> int:
        self.count += 1
        self.begun.set()
        self.go.wait(PATIENCE_S)
        return self.count

    def fail(self) -> None:
        self.count += 1
        raise ValueError(f"failed {self.count}")

    def large(self, size: int) -> bytes:
        self.count += 1
        return bytes(size)


class Raw:
    """A DEALER that says anything."""

    def __init__(self, port: int | str, name: bytes = b"raw", client: int = 7) -> None:
        self._client = client
        self._socket: zmq.Socket[bytes] = zmq.Context.instance().socket(zmq.DEALER)
        self._socket.setsockopt(zmq.LINGER, 0)
        if name:
            self._socket.setsockopt(zmq.ROUTING_ID, name)
        self._socket.connect(f"tcp://127.0.0.1:{port}")

    def say(self, kind: Kind, number: int, path: str = "counter", content: Any = None) -> None:
        body, buffers = CODEC.encode(content)
        self._socket.send_multipart(Request(kind, number, self._client, path, body, buffers).encode())

    def call(self, number: int, method: str, *args: Any, path: str = "counter") -> None:
        self.say(Kind.CALL, number, path, [method, list(args), {}])

    def hear(self, timeout_s: float = PATIENCE_S) -> tuple[int, Any]:
        """The id and the value, or the error, of the next reply."""
        assert self._socket.poll(int(timeout_s * 1000)), "no reply"
        head, *buffers = self._socket.recv_multipart()
        reply = Reply.decode(head, buffers)
        value = CODEC.decode(reply.body, reply.buffers)
        return reply.id, value if reply.kind == Kind.RESULT else error_of(value)

    def hears_nothing_before(self, number: int) -> None:
        """Ask something harmless, and get its answer next."""
        self.say(Kind.CONTROL, number, "", ["version", {}])
        heard, _ = self.hear()
        assert heard == number

    def close(self) -> None:
        self._socket.close()


class Relay:
    """Passes TCP on, until it is cut; and may pass it on to somebody else then."""

    def __init__(self, port: int | str) -> None:
        self.target = int(port)
        self._lock = threading.Lock()
        self._pairs: set[tuple[socket.socket, socket.socket]] = set()
        self._threads: list[threading.Thread] = []
        self._closed = False
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self._start(self._accept)

    def _start(self, duty: Callable[..., None], *args: Any) -> None:
        thread = threading.Thread(target=duty, args=args, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            try:
                far = socket.create_connection(("127.0.0.1", self.target), timeout=2.0)
            except OSError:
                near.close()
                continue
            far.settimeout(None)
            with self._lock:
                self._pairs.add((near, far))
            for end in (near, far):
                end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._start(self._pump, near, far, (near, far))
            self._start(self._pump, far, near, (near, far))

    def _pump(self, source: socket.socket, target: socket.socket, pair: tuple[socket.socket, socket.socket]) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                target.sendall(data)
        with self._lock:
            first = pair in self._pairs
            self._pairs.discard(pair)
        for end in pair:
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            if not first:
                end.close()

    def cut(self) -> None:
        """End every connection; new ones are welcome."""
        with self._lock:
            pairs = list(self._pairs)
        for near, far in pairs:
            for end in (near, far):
                with contextlib.suppress(OSError):
                    end.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.cut()
        for thread in self._threads:
            thread.join(2.0)


def in_background(function: Callable[[], Any]) -> Future[Any]:
    """Do it on another thread."""
    future: Future[Any] = Future()

    def run() -> None:
        try:
            future.set_result(function())
        except BaseException as error:
            future.set_exception(error)

    threading.Thread(target=run, daemon=True).start()
    return future


@pytest.fixture(scope="module", autouse=True)
def _zero_copy() -> None:
    """Have pyzmq start the thread that it keeps for what is sent without a copy, before anybody counts threads."""
    with zmq.Context() as context, context.socket(zmq.PAIR) as near, context.socket(zmq.PAIR) as far:
        near.bind("inproc://zero-copy")
        far.connect("inproc://zero-copy")
        near.send(bytes(1_000_000), copy=False)
        far.recv()


@pytest.fixture
def counter() -> Iterator[Counter]:
    counter = Counter()
    yield counter
    counter.go.set()


@pytest.fixture
def server(counter: Counter) -> Iterator[RouterServer]:
    with RouterServer(rpc_port=0, broadcast_port=0, name="rig", instances={"counter": counter}) as server:
        server.add_instance("other", Counter())
        server.run()
        yield server


@pytest.fixture
def raw(server: RouterServer) -> Iterator[Raw]:
    raw = Raw(server.rpc_port)
    yield raw
    raw.close()


def client_of(port: int | str, **options: Any) -> RouterClient:
    return RouterClient(rpc_port=port, broadcast_port=None, interface="127.0.0.1", **options)


# --- the same request again ------------------------------------------------------------------------------------------


def test_a_request_that_comes_again_after_its_answer_gets_the_same_answer(raw: Raw, counter: Counter) -> None:
    for _ in range(3):
        raw.call(1, "bump")
        assert raw.hear() == (1, 1)
    assert counter.count == 1


def test_a_request_that_comes_again_while_it_runs_is_answered_once(raw: Raw, counter: Counter) -> None:
    raw.call(1, "slow")
    assert counter.begun.wait(PATIENCE_S)
    raw.call(1, "slow")
    raw.call(1, "slow")
    raw.say(Kind.ASK_AGAIN, 1)
    raw.hears_nothing_before(2)
    counter.go.set()
    assert raw.hear() == (1, 1)
    raw.hears_nothing_before(3)
    assert counter.count == 1


def test_a_request_that_comes_again_while_it_waits_runs_once(raw: Raw, server: RouterServer, counter: Counter) -> None:
    other = Raw(server.rpc_port, b"other")
    try:
        other.call(1, "slow")
        assert counter.begun.wait(PATIENCE_S)
        for _ in range(3):
            raw.call(1, "bump")
        raw.hears_nothing_before(2)
        counter.go.set()
        assert raw.hear() == (1, 2)
        raw.hears_nothing_before(3)
        assert counter.count == 2
    finally:
        other.close()


def test_what_the_journal_forgot_is_not_done_again(raw: Raw, counter: Counter) -> None:
    raw.call(1, "bump")
    raw.hear()
    for number in range(2, MAX_ENTRIES + 2):
        raw.call(number, "bump", path="other")
        if number % 200 == 0:
            for _ in range(200 if number > 200 else 199):
                raw.hear()
    while raw.hear()[0] != MAX_ENTRIES + 1:
        pass
    for kind in (Kind.CALL, Kind.ASK_AGAIN):
        raw.say(kind, 1, "counter", ["bump", [], {}] if kind == Kind.CALL else None)
        number, error = raw.hear()
        assert (number, type(error)) == (1, AnswerLostError)
    assert counter.count == 1


def test_lower_ids_after_higher_ones_are_not_carried_out(raw: Raw, counter: Counter) -> None:
    raw.call(10, "bump")
    assert raw.hear() == (10, 1)
    raw.call(9, "bump")
    assert isinstance(raw.hear()[1], AnswerLostError)
    assert counter.count == 1


@pytest.mark.parametrize("wild", [0, 2**48 + 1, 2**63, 2**64 - 1])
@pytest.mark.parametrize("kind", [Kind.CALL, Kind.ASK_AGAIN])
def test_an_id_that_cannot_be_one_is_an_error_and_spoils_nothing(
    raw: Raw, counter: Counter, wild: int, kind: Kind
) -> None:
    content = ["bump", [], {}] if kind == Kind.CALL else None
    for number in (1, 2):
        raw.say(kind, wild, content=content)
        heard, error = raw.hear()
        assert (heard, type(error)) == (wild, MalformedError)
        raw.call(number, "bump")
        assert raw.hear() == (number, number), "small ids are as good as before"
    assert counter.count == 2


def test_a_connection_that_has_counted_for_long_elsewhere_is_welcome(raw: Raw) -> None:
    raw.call(2**48, "bump")
    assert raw.hear() == (2**48, 1)


def test_a_request_that_was_asked_after_before_it_came_never_runs(raw: Raw, counter: Counter) -> None:
    raw.say(Kind.ASK_AGAIN, 1)
    number, error = raw.hear()
    assert (number, type(error)) == (1, NotReceivedError)
    raw.call(1, "bump")
    assert isinstance(raw.hear()[1], AnswerLostError)
    assert counter.count == 0


def test_asking_again_gives_the_answer_again(raw: Raw, counter: Counter) -> None:
    raw.call(1, "bump")
    assert raw.hear() == (1, 1)
    raw.say(Kind.ASK_AGAIN, 1)
    assert raw.hear() == (1, 1)
    assert counter.count == 1


def test_errors_are_remembered_as_answers_are(raw: Raw, counter: Counter) -> None:
    raw.call(1, "fail")
    raw.say(Kind.ASK_AGAIN, 1)
    for _ in range(2):
        _, error = raw.hear()
        assert isinstance(error, RemoteError)
        assert "failed 1" in str(error)
    assert counter.count == 1


def test_refusals_are_remembered_as_answers_are(raw: Raw) -> None:
    raw.call(1, "bump", path="nobody")
    raw.say(Kind.ASK_AGAIN, 1)
    assert [type(raw.hear()[1]) for _ in range(2)] == [UnknownObjectError, UnknownObjectError]


def test_an_answer_that_is_too_large_to_keep_is_lost_and_nothing_is_done_again(raw: Raw, counter: Counter) -> None:
    raw.call(1, "large", MAX_BYTES + 1)
    assert len(raw.hear()[1]) == MAX_BYTES + 1
    for kind in (Kind.ASK_AGAIN, Kind.CALL):
        raw.say(kind, 1, "counter", None if kind == Kind.ASK_AGAIN else ["large", [1], {}])
        assert isinstance(raw.hear()[1], AnswerLostError)
    assert counter.count == 1


def test_a_lost_answer_is_not_answered_with_what_the_driver_did_since(server: RouterServer) -> None:
    class Camera:
        def __init__(self) -> None:
            self.memory = bytearray(b"a" * 100_000)

        def picture(self) -> bytearray:
            return self.memory

        def expose(self) -> None:
            self.memory[:] = b"b" * 100_000

    camera = Camera()
    server.add_instance("camera", camera)
    raw = Raw(server.rpc_port)
    try:
        raw.call(1, "picture", path="camera")
        assert raw.hear()[1] == b"a" * 100_000
        raw.call(2, "expose", path="camera")
        raw.hear()
        raw.say(Kind.ASK_AGAIN, 1)
        assert raw.hear()[1] == b"a" * 100_000
    finally:
        raw.close()


def test_a_connection_without_a_name_cannot_act(server: RouterServer, counter: Counter) -> None:
    # When a connection follows another, libzmq renames the old one: what waits there is not under its sender's name.
    raw = Raw(server.rpc_port, b"")
    try:
        raw.call(1, "bump")
        assert isinstance(raw.hear()[1], MalformedError)
        assert counter.count == 0
    finally:
        raw.close()


def test_threads_of_one_client_do_not_take_each_others_numbers(server: RouterServer, counter: Counter) -> None:
    with client_of(server.rpc_port) as client:
        client.call("counter", "bump")
        take = client._rpc._take
        late, go_on = threading.Event(), threading.Event()

        def hesitating_take() -> Any:
            if threading.current_thread() is not threading.main_thread():
                late.set()
                assert go_on.wait(PATIENCE_S)
            return take()

        client._rpc._take = hesitating_take  # type: ignore[method-assign]
        future = in_background(lambda: client.call("counter", "bump"))
        assert late.wait(PATIENCE_S)
        assert client.call("counter", "bump") == 2
        go_on.set()
        assert future.result(PATIENCE_S) == 3


def test_a_connection_that_rests_while_others_count_on_is_as_good_as_before(
    server: RouterServer, counter: Counter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal, "_MAX_STEP", 5)  # instead of millions of calls
    with client_of(server.rpc_port) as client:

        def two_at_once() -> None:
            slow = in_background(lambda: client.call("counter", "slow"))
            assert counter.begun.wait(PATIENCE_S)
            client.call("other", "bump")
            counter.go.set()
            slow.result(PATIENCE_S)
            counter.begun.clear()
            counter.go.clear()

        two_at_once()
        for _ in range(20):
            client.call("other", "bump")
        two_at_once()


def test_a_client_leaves_a_connection_on_which_the_two_ends_disagree(server: RouterServer, counter: Counter) -> None:
    with client_of(server.rpc_port) as client:
        for _ in range(5):
            client.call("counter", "bump")
        (channel,) = client._rpc._idle
        channel._ids = itertools.count(1)  # as if an id had been damaged on the way
        server._rpc._journal._entries.clear()
        with pytest.raises(AnswerLostError, match="its id is below that of a later one"):
            client.call("counter", "bump")
        assert client.call("counter", "bump") == 6
        assert counter.count == 6


# --- connections that break ------------------------------------------------------------------------------------------


def test_a_connection_cut_during_a_slow_call_costs_nothing(server: RouterServer, counter: Counter) -> None:
    relay = Relay(server.rpc_port)
    try:
        with client_of(relay.port, heartbeat_s=0.3) as client:
            client.wait_until_connected(PATIENCE_S)
            future = in_background(lambda: client.call("counter", "slow"))
            assert counter.begun.wait(PATIENCE_S)
            relay.cut()
            counter.go.set()
            assert future.result(PATIENCE_S) == 1
            assert counter.count == 1
            assert client.stale_replies == 0
    finally:
        relay.close()


@pytest.mark.parametrize("hops", [1, 2, 3])
@pytest.mark.parametrize("which", ["nearest the client", "nearest the instrument"])
def test_an_answer_lost_in_a_cascade_is_found_again(counter: Counter, hops: int, which: str) -> None:
    with contextlib.ExitStack() as stack:
        closing = stack.enter_context
        low = closing(
            RouterServer(rpc_port=0, broadcast_port=0, name="low", instances={"counter": counter}, heartbeat_s=0.3)
        )
        low.run()
        relays = [Relay(low.rpc_port)]
        stack.callback(relays[0].close)
        for number in range(hops):
            hop = closing(RouterServer(rpc_port=0, broadcast_port=0, name=f"hop {number}", heartbeat_s=0.3))
            hop.run()
            hop.add_router("low", interface="127.0.0.1", rpc_port=relays[-1].port)
            relays.append(Relay(hop.rpc_port))
            stack.callback(relays[-1].close)
        path = "low/" * hops + "counter"
        client = closing(client_of(relays[-1].port, heartbeat_s=0.3))
        assert client.call(path, "bump") == 1
        future = in_background(lambda: client.call(path, "slow"))
        assert counter.begun.wait(PATIENCE_S)
        (relays[-1] if which == "nearest the client" else relays[0]).cut()
        counter.go.set()
        assert future.result(PATIENCE_S) == 2
        assert counter.count == 2


def test_a_call_through_a_hop_that_is_connecting_again_waits_for_it(counter: Counter) -> None:
    with RouterServer(rpc_port=0, broadcast_port=0, instances={"counter": counter}) as low:
        low.run()
        relay = Relay(low.rpc_port)
        try:
            with RouterServer(rpc_port=0, broadcast_port=0) as top, client_of(top.rpc_port) as client:
                top.run()
                top.add_router("low", interface="127.0.0.1", rpc_port=relay.port)
                for count in range(1, 6):
                    assert client.call("low/counter", "bump") == count
                    relay.cut()
        finally:
            relay.close()


def test_a_call_through_a_hop_that_never_comes_fails_in_time_however_busy_the_others_are(server: RouterServer) -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        with RouterServer(rpc_port=0, broadcast_port=0, heartbeat_s=0.2) as top:
            top.add_instance("counter", Counter())
            top.run()
            top.add_router("low", interface="127.0.0.1", rpc_port=nobody.getsockname()[1])
            with client_of(top.rpc_port) as client, client_of(top.rpc_port) as other:
                future = in_background(lambda: client.call("low/counter", "bump"))

                def answered() -> bool:
                    other.call("counter", "bump")
                    return future.done()

                poll_until(answered, 5.0, "an error, while others call")
                with pytest.raises(RouterDownError):
                    future.result()


def test_the_same_request_again_through_a_router(counter: Counter) -> None:
    with RouterServer(rpc_port=0, broadcast_port=0, instances={"counter": counter}) as low:
        low.run()
        with RouterServer(rpc_port=0, broadcast_port=0) as top:
            top.run()
            top.add_router("low", interface="127.0.0.1", rpc_port=low.rpc_port)
            raw = Raw(top.rpc_port)
            try:
                raw.call(1, "slow", path="low/counter")
                assert counter.begun.wait(PATIENCE_S)
                raw.call(1, "slow", path="low/counter")
                raw.say(Kind.ASK_AGAIN, 1, "low/counter")
                raw.hears_nothing_before(2)
                counter.go.set()
                assert raw.hear() == (1, 1)
                raw.call(1, "slow", path="low/counter")
                assert raw.hear() == (1, 1)
                raw.say(Kind.ASK_AGAIN, 1, "low/counter")
                assert raw.hear() == (1, 1)
                raw.say(Kind.ASK_AGAIN, 9, "low/counter")
                assert isinstance(raw.hear()[1], NotReceivedError)
                raw.call(9, "bump", path="low/counter")
                assert isinstance(raw.hear()[1], AnswerLostError)
                assert counter.count == 1
            finally:
                raw.close()


# --- servers that restart --------------------------------------------------------------------------------------------


def test_another_server_in_its_place_does_not_say_that_the_call_did_not_run(counter: Counter) -> None:
    """The question what became of a call reaches the new server before the client knows that it is a new one."""
    later = Counter()
    with (
        RouterServer(rpc_port=0, broadcast_port=0, instances={"counter": counter}) as first,
        RouterServer(rpc_port=0, broadcast_port=0, instances={"counter": later}) as second,
    ):
        first.run()
        second.run()
        raw = Raw(second.rpc_port)
        body, _ = CODEC.encode(first._id)
        try:
            raw._socket.send_multipart(Request(Kind.ASK_AGAIN, 1, 7, "counter", body).encode())
            assert isinstance(raw.hear()[1], ServerRestartedError)
        finally:
            raw.close()
        relay = Relay(first.rpc_port)
        try:
            for _ in range(3):
                counter.begun.clear()
                relay.target = int(first.rpc_port)
                with client_of(relay.port, heartbeat_s=0.4) as client:
                    client.wait_until_connected(PATIENCE_S)
                    future = in_background(lambda client=client: client.call("counter", "slow"))  # type: ignore[misc]
                    assert counter.begun.wait(PATIENCE_S)
                    relay.target = int(second.rpc_port)
                    relay.cut()
                    with pytest.raises(ServerLostError, match="may or may not have run"):
                        future.result(PATIENCE_S)
                counter.go.set()
                poll_until(lambda: not first.running_calls())
                counter.go.clear()
            assert (counter.count, later.count) == (3, 0)
        finally:
            relay.close()


CHILD = """
import sys, threading
from one_liner import RouterServer
class Counter:
    def __init__(self): self.count = 0
    def bump(self): self.count += 1; return self.count
    def slow(self): self.count += 1; print("begun", flush=True); threading.Event().wait(30)
with RouterServer(rpc_port=sys.argv[1], broadcast_port=0, instances={"counter": Counter()}) as server:
    server.run()
    print(server.rpc_port, flush=True)
    sys.stdin.read()
"""


def start_child(port: int | str = 0) -> tuple[subprocess.Popen[str], int]:
    child = subprocess.Popen(
        [sys.executable, "-c", CHILD, str(port)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert child.stdout is not None
    return child, int(child.stdout.readline())


def end_child(child: subprocess.Popen[str]) -> None:
    child.kill()
    child.communicate(timeout=5)


@pytest.mark.skipif(sys.platform == "win32", reason="kills as POSIX does")
def test_a_server_that_is_killed_and_restarted_does_not_run_the_call_again() -> None:
    child, port = start_child()
    try:
        with client_of(port, heartbeat_s=0.3) as client:
            future = in_background(lambda: client.call("counter", "slow"))
            assert child.stdout is not None
            assert child.stdout.readline() == "begun\n"
            os.kill(child.pid, signal.SIGKILL)
            end_child(child)
            child, _ = start_child(port)
            with pytest.raises(ServerLostError, match="may or may not have run"):
                future.result(PATIENCE_S)
            assert poll_until(lambda: ready_count(client)) == 1, "only this very call has run at the new one"
    finally:
        end_child(child)


def ready_count(client: RouterClient) -> int | None:
    try:
        return int(client.call("counter", "bump"))
    except ConnectionError:
        return None


# --- time that is up -------------------------------------------------------------------------------------------------


def test_a_call_that_waited_too_long_is_told_for_whom_and_never_runs(server: RouterServer, counter: Counter) -> None:
    with client_of(server.rpc_port, name="ann") as ann, client_of(server.rpc_port, name="bob") as bob:
        future = in_background(lambda: ann.call("counter", "slow"))
        assert counter.begun.wait(PATIENCE_S)
        with pytest.raises(BusyTimeoutError, match=r"did not run.*counter\.slow for ann since \d+\.\d s") as caught:
            bob.call("counter", "bump", timeout_s=0.2)
        assert caught.value.details["running"] == "counter.slow"
        assert caught.value.details["who"] == "ann"
        assert caught.value.details["for_s"] >= 0.2
        assert [call["where"] for call in server.running_calls()] == ["counter.slow"]
        counter.go.set()
        assert future.result(PATIENCE_S) == 1
        assert bob.call("counter", "bump") == 2
        assert bob.stale_replies == 0


def test_a_call_that_runs_too_long_runs_on_and_its_late_answer_is_counted_once(
    server: RouterServer, counter: Counter
) -> None:
    with client_of(server.rpc_port, heartbeat_s=0.1) as client:
        with pytest.raises(CallTimeoutError, match="still runs") as caught:
            client.call("counter", "slow", timeout_s=0.35)
        assert not isinstance(caught.value, BusyTimeoutError)
        assert client.stale_replies == 0
        counter.go.set()
        poll_until(lambda: client.call("other", "bump") and client.stale_replies)
        for _ in range(20):
            client.call("other", "bump")
        assert client.stale_replies == 1
        assert counter.count == 1


def test_an_answer_that_comes_twice_is_not_a_late_one(server: RouterServer, counter: Counter) -> None:
    with client_of(server.rpc_port) as client:
        client.call("counter", "bump")
        (channel,) = client._rpc._idle
        channel._follow_up(Request(Kind.ASK_AGAIN, 1, client._rpc._client, "counter", b"\xc0"), Kind.ASK_AGAIN)
        for _ in range(5):
            client.call("counter", "bump")
        assert client.stale_replies == 0


def test_no_time_at_all_is_a_timeout_and_not_a_hang(server: RouterServer, counter: Counter) -> None:
    with client_of(server.rpc_port) as client:
        client.wait_until_connected(PATIENCE_S)
        with pytest.raises(CallTimeoutError):
            client.call("counter", "slow", timeout_s=0)
        counter.go.set()
        assert poll_until(lambda: client.call("other", "bump"))


@pytest.mark.parametrize("nonsense", [-1, -0.001, float("nan"), "5", b"5", True, [1], 1j])
def test_a_timeout_that_cannot_be_is_refused_and_nothing_runs(
    server: RouterServer, counter: Counter, nonsense: Any
) -> None:
    with client_of(server.rpc_port) as client:
        with pytest.raises(ConfigurationError, match="timeout"):
            client.call("counter", "bump", timeout_s=nonsense)
        with pytest.raises(ConfigurationError, match="timeout"):
            client_of(server.rpc_port, timeout_s=nonsense)
        assert client.call("counter", "bump") == 1


@pytest.mark.parametrize("endless", [float("inf"), 1e308, 10**400])
def test_a_timeout_may_be_as_long_as_one_likes(server: RouterServer, endless: Any) -> None:
    with client_of(server.rpc_port) as client:
        assert client.call("counter", "bump", timeout_s=endless) == 1


INTERRUPTED = """
import signal, sys, threading
from one_liner import RouterClient
with RouterClient(interface="127.0.0.1", rpc_port=int(sys.argv[1]), broadcast_port=None) as client:
    client.wait_until_connected(10)
    print("calling", flush=True)
    try:
        client.call("counter", sys.argv[2])
    except KeyboardInterrupt:
        print("interrupted", flush=True)
    print(client.call("other", "bump"), flush=True)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="sends a signal as POSIX does")
@pytest.mark.parametrize("method", ["bump", "slow"])
def test_ctrl_c_ends_the_wait_at_once_and_withdraws_what_has_not_begun(
    server: RouterServer, counter: Counter, method: str
) -> None:
    with client_of(server.rpc_port) as client:
        if method == "bump":
            future = in_background(lambda: client.call("counter", "slow"))
            assert counter.begun.wait(PATIENCE_S)
        child = subprocess.Popen(
            [sys.executable, "-c", INTERRUPTED, str(server.rpc_port), method], stdout=subprocess.PIPE, text=True
        )
        assert child.stdout is not None
        try:
            assert child.stdout.readline() == "calling\n"
            poll_until(lambda: f"counter.{method}" in [call["where"] for call in server.running_calls()])
            child.send_signal(signal.SIGINT)
            assert child.stdout.readline() == "interrupted\n"
            assert child.stdout.readline() == "1\n"
            if method == "bump":
                poll_until(lambda: [call["where"] for call in server.running_calls()] == ["counter.slow"])
                counter.go.set()
                future.result(PATIENCE_S)
            assert counter.count == 1
        finally:
            child.kill()
            child.communicate(timeout=5)


# --- the end of a server ---------------------------------------------------------------------------------------------


def test_a_server_that_closes_tells_each_caller_what_became_of_its_call(
    server: RouterServer, raw: Raw, counter: Counter, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What libzmq has received for a caller is forgotten when the connection ends: so it must not end at once."""
    monkeypatch.setattr("one_liner.rpc.server._LAST_WORDS_S", 0.9)
    raw.call(1, "slow")
    assert counter.begun.wait(PATIENCE_S)
    raw.call(2, "bump")
    poll_until(lambda: len(server.running_calls()) == 2)
    closing = in_background(server.close)
    poll_until(lambda: server._rpc._leaving)
    raw.call(3, "bump")
    told = dict(raw.hear() for _ in range(3))
    closing.result(PATIENCE_S)
    assert all(isinstance(error, ServerClosedError) for error in told.values())
    assert "may or may not have run" in str(told[1])
    assert "did not run" in str(told[2])
    assert "did not run" in str(told[3])
    assert counter.count == 1


# --- floods ----------------------------------------------------------------------------------------------------------


def resident_mb() -> float:
    with open("/proc/self/statm") as statm:
        return int(statm.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6


@pytest.mark.skipif(not os.path.exists("/proc/self/statm"), reason="reads the memory as Linux tells it")
def test_memory_stays_bounded_with_many_calls_and_large_answers(raw: Raw) -> None:
    number = 0

    def call(count: int, *args: Any) -> None:
        nonlocal number
        for _ in range(count):
            number += 1
            raw.call(number, *args)
            raw.hear()

    call(2000, "bump")
    before = resident_mb()
    call(10_000, "bump")
    assert resident_mb() - before < 30
    call(12, "large", 8_000_000)
    before = resident_mb()
    call(25, "large", 8_000_000)
    assert resident_mb() - before < 60


@pytest.mark.skipif(not os.path.exists("/proc/self/statm"), reason="reads the memory as Linux tells it")
def test_memory_stays_bounded_with_small_parts_of_large_pictures(server: RouterServer) -> None:
    class Camera:
        def line(self) -> memoryview:
            return memoryview(bytearray(b"x" * 8_000_000))[:100_000]

    server.add_instance("camera", Camera())
    with client_of(server.rpc_port) as client:
        client.call("camera", "line")
        before = resident_mb()
        for _ in range(40):
            client.call("camera", "line")
        assert resident_mb() - before < 60
