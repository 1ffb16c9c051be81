"""What may happen in between: each test has one thing happen exactly where another one is under way."""

from __future__ import annotations

import errno
import gc
import weakref
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import suppress
from difflib import SequenceMatcher
from functools import partial
from threading import Event, Thread, current_thread, get_ident
from threading import enumerate as enumerate_threads
from types import SimpleNamespace
from typing import Any, cast

import pytest
import zmq

from one_liner import RouterClient, RouterServer
from one_liner.clock import SYSTEM_CLOCK
from one_liner.errors import ClosedError, JobStateError, ServerLostError, UnknownStreamError
from one_liner.events.emitter import Emitter
from one_liner.events.event import Topic
from one_liner.events.observer import observation_name
from one_liner.limits import DEFAULT_LIMITS
from one_liner.rpc import rules
from one_liner.rpc.crew import Crew
from one_liner.rpc.forwarder import Asker, Forwarder
from one_liner.rpc.home import Home
from one_liner.rpc.link import Link, State
from one_liner.rpc.rules import RuleBook, Rules
from one_liner.rpc.server import RpcServer
from one_liner.streams.bookkeeper import LEDGER
from one_liner.transport import fanout
from one_liner.transport.endpoints import Endpoint
from one_liner.uninterrupted import uninterrupted
from one_liner.wire.messages import Kind, Request
from tests.conftest import busy_for, poll_until


@pytest.fixture
def context() -> Iterator[zmq.Context[Any]]:
    """Of this test alone."""
    made: zmq.Context[Any] = zmq.Context()
    yield made
    made.destroy(linger=0)


# --- a router whose upstream is restarted ---------------------------------------------------------------------------


def test_a_call_that_comes_while_the_upstream_restarts_hides_nothing_of_those_before(
    context: zmq.Context[Any],
) -> None:
    """The link knows of the new server already, and the thread that leads has not been told yet."""
    upstream = context.socket(zmq.ROUTER)
    port = upstream.bind_to_random_port("tcp://127.0.0.1")
    link = SimpleNamespace(
        endpoint=Endpoint.of("tcp", "127.0.0.1", port),
        heartbeat_s=1.0,
        limits=DEFAULT_LIMITS,
        curve=None,
        refusals=0,
        ready=True,
        state=State.CONNECTED,
        session=1,
    )
    forwarder = Forwarder("up", "us", context, cast(Link, link), SYSTEM_CLOCK)
    forwarder.socket.poll(5000, zmq.POLLOUT)
    before, after = Asker(b"client", 1), Asker(b"client", 2)
    forwarder.forward(before, Request(Kind.CALL, 1, 0, "stage", b"\xc0"))
    link.session = 2
    forwarder.forward(after, Request(Kind.CALL, 2, 0, "stage", b"\xc0"))
    ((asker, error),) = forwarder.refresh()
    assert asker == before
    assert isinstance(error, ServerLostError)
    assert "may or may not have run" in str(error)
    assert forwarder.knows(after)
    assert all(upstream.poll(5000) and upstream.recv_multipart() for _ in range(2))
    forwarder.close()
    upstream.close(linger=0)


# --- a publisher on which others send -------------------------------------------------------------------------------


def test_no_socket_is_polled_by_one_thread_while_another_one_sends(monkeypatch: pytest.MonkeyPatch) -> None:
    """libzmq ends the process then, sooner or later: who repeats a last sample sends on the way that it took."""
    polled: dict[Any, set[int]] = {}
    sent: dict[Any, set[int]] = {}
    register, send_frames = zmq.Poller.register, fanout.send_frames

    def registering(poller: zmq.Poller, socket: Any, flags: int = zmq.POLLIN) -> None:
        polled.setdefault(socket, set()).add(get_ident())
        register(poller, socket, flags)

    def sending(socket: Any, frames: Any, flags: int = 0) -> None:
        sent.setdefault(socket, set()).add(get_ident())
        send_frames(socket, frames, flags)

    monkeypatch.setattr(zmq.Poller, "register", registering)
    monkeypatch.setattr(fanout, "send_frames", sending)
    monkeypatch.setattr(fanout.Publisher, "introduce", lambda _: None)  # Polls too, with the lock.
    with RouterServer(rpc_port=0, broadcast_port=0) as source, RouterServer(rpc_port=0, broadcast_port=0) as server:
        source.add_stream_from_callable("ticks", 50, lambda: 1)
        server.add_zmq_stream("ticks", source.broadcast_endpoint)
        source.run()
        server.run()
        for _ in range(2):  # The second one is late, and has the last sample repeated.
            with RouterClient(rpc_port=server.rpc_port, broadcast_port=None) as client:
                for name in ("ticks", LEDGER):
                    client.configure_stream(name, "cache", wait=True, timeout_s=20)
                    client.get_stream(name, timeout_s=20)
    assert any(len(threads) > 1 for threads in sent.values()), "nothing was repeated"
    shared = {socket for socket, threads in sent.items() if len(threads | polled.get(socket, threads)) > 1}
    assert not shared & polled.keys()


# --- closed in this very moment -------------------------------------------------------------------------------------


@pytest.fixture
def server() -> Iterator[RouterServer]:
    with RouterServer(rpc_port=0, broadcast_port=0, instances={"f": lambda: 1}) as made:
        made.run()
        yield made


@pytest.fixture
def client(server: RouterServer) -> Iterator[RouterClient]:
    with RouterClient(rpc_port=server.rpc_port, broadcast_port=None) as made:
        made.wait_until_connected(10)
        yield made


def first(method: Callable[..., Any], happens: Callable[[], object]) -> Callable[..., Any]:
    """The same method, with something that happens just before it, once."""
    left = [happens]

    def called(*args: Any, **kwargs: Any) -> Any:
        if left:
            left.pop()()
        return method(*args, **kwargs)

    return called


def test_a_callback_that_is_made_while_the_client_closes_ends_too(
    client: RouterClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client, "_keep", first(client._keep, client.close))
    called: list[State] = []
    assert client.on_state(called.append).closed


def test_the_ports_are_free_when_close_returns_although_the_leader_was_kept_from_its_processor(
    server: RouterServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(RpcServer, "_say_goodbye", first(RpcServer._say_goodbye, lambda: busy_for(1.5)))
    server.close()
    with RouterServer(rpc_port=server.rpc_port, broadcast_port=server.broadcast_port) as again:
        again.run()


def test_who_begins_to_listen_while_the_server_closes_is_told(
    server: RouterServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Emitter, "listen", first(Emitter.listen, server.close))
    with pytest.raises(ClosedError):
        server.on_event(lambda _: None)


def test_a_call_that_is_answered_while_the_client_closes_has_its_answer(
    client: RouterClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The closer and the caller both find the caller's connection, and one of them is faster."""

    class Idle(deque[Any]):
        def __bool__(self) -> bool:
            found = len(self) > 0
            while len(self):
                deque.pop(self).close()
            return found

        def append(self, channel: Any) -> None:
            super().append(channel)
            client._rpc._closed = True

    client._rpc._idle = Idle()
    assert client.call("f") == 1


def test_a_client_that_is_interrupted_before_it_closes_anything_is_closed(
    client: RouterClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Interrupting:
        def __enter__(self) -> None:
            """As a lock."""

        def __exit__(self, *_: object) -> None:
            monkeypatch.undo()
            raise KeyboardInterrupt

    monkeypatch.setattr(client, "_lock", Interrupting())
    with pytest.raises(KeyboardInterrupt):
        client.close()
    assert client.state is State.CLOSED


def test_a_server_that_is_interrupted_before_it_closes_anything_is_closed(
    server: RouterServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt() -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr("one_liner.server.current_thread", interrupt)
        with pytest.raises(KeyboardInterrupt):
            server.close()
    with pytest.raises(ClosedError):
        server.get_stream_fn("late")
    with RouterServer(rpc_port=server.rpc_port, broadcast_port=server.broadcast_port):
        pass  # Its ports are free.


def test_a_listener_that_goes_takes_nothing_from_one_that_comes(
    client: RouterClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both listen to the same topic, and the second one comes when the first one's has just been let go."""
    going = client.iter_events(topic=Topic.EVENT)
    coming: list[Any] = []
    later = first(client._event_hub()._unsubscribe, lambda: coming.append(client.iter_events(topic=Topic.EVENT)))
    monkeypatch.setattr(client._event_hub(), "_unsubscribe", later)
    going.close()
    assert {feed.event_topic for feed in client._reception.feeds.values()} == {Topic.EVENT, Topic.EMERGENCY}
    coming[0].close()
    assert not client._reception.feeds


def test_a_router_that_is_added_while_the_server_closes_is_closed_too(
    server: RouterServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    closed, added = Event(), RpcServer.add_forwarder

    def late(rpc: RpcServer, forwarder: Forwarder) -> None:
        closing.start()
        closed.wait(2.0)  # Cannot be before, where both are done under one lock.
        added(rpc, forwarder)

    def close() -> None:
        server.close()
        closed.set()

    closing = Thread(target=close)
    monkeypatch.setattr(RpcServer, "add_forwarder", late)
    with suppress(ClosedError):
        server.add_router("up", rpc_port=1)
    closing.join()


def test_a_relay_that_is_closed_while_its_thread_begins_is_closed(
    server: RouterServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A thread has its number a moment before anybody may wait for its end."""
    start = Thread.start

    def slow_start(thread: Thread) -> None:
        if "relay" in thread.name:
            thread._ident = 1  # type: ignore[attr-defined]
            server.close()
        start(thread)

    monkeypatch.setattr(Thread, "start", slow_start)
    server.add_zmq_stream("far", "tcp://127.0.0.1:1")
    assert server.get_stream_configurations()


def test_a_job_that_is_submitted_while_the_server_closes_is_refused(
    server: RouterServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    ran, record = Event(), server._desk._record

    def late(*args: Any, **kwargs: Any) -> Any:
        made = record(*args, **kwargs)
        server._desk.close(0.0)
        return made

    monkeypatch.setattr(server._desk, "_record", late)
    with pytest.raises(JobStateError):
        server.submit_function("late", ran.set)
    assert not server.jobs()
    assert not ran.is_set()


def test_a_crew_that_stops_while_it_gets_a_new_worker_waits_for_that_one(monkeypatch: pytest.MonkeyPatch) -> None:
    crew, start = Crew("test", lambda term: None), Thread.start
    stopped: list[bool] = []
    stopping = Thread(target=lambda: stopped.append(crew.stop(10.0)))

    def slow_start(thread: Thread) -> None:
        monkeypatch.undo()
        stopping.start()
        stopping.join(0.3)  # It would be over by now, if it did not wait.
        start(thread)

    monkeypatch.setattr(Thread, "start", slow_start)
    crew.employ(lambda: None)
    stopping.join()
    assert stopped == [True]


# --- added and removed at the same time -----------------------------------------------------------------------------


def beside(act: Callable[[], object]) -> Thread:
    """Something that another thread does now; it is over, unless it has to wait for this one."""
    thread = Thread(target=act)
    thread.start()
    thread.join(0.3)
    return thread


def test_what_is_declared_at_the_same_time_is_all_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of each object which method makes it safe, say."""
    book = RuleBook()
    others: list[Thread] = []

    def declare(*args: Any) -> Rules:
        monkeypatch.undo()
        others.append(beside(lambda: book.add("laser", (), (), "park")))
        return Rules(*args)

    monkeypatch.setattr(rules, "Rules", declare)
    book.add("stage", (), (), "stop")
    others[0].join()
    assert book.safe_calls() == {"stage": "stop", "laser": "park"}


def test_who_observes_again_while_another_one_ceases_to_does_observe(
    server: RouterServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.add_instance("number", 1j)
    server.observe("number", "imag", frequency_hz=1)
    others: list[Thread] = []

    def again() -> None:
        others.append(beside(lambda: server.observe("number", "imag", frequency_hz=2)))

    monkeypatch.setattr(server._broadcast, "remove_own", first(server._broadcast.remove_own, again))
    server.unobserve("number", "imag")
    others[0].join()
    assert server._registry.find(observation_name("number", "imag")) is not None


def test_a_slow_stream_that_is_removed_and_added_again_keeps_its_grid(
    server: RouterServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    called: list[int] = []
    add = partial(server.add_stream_from_callable, "slow", 0.001, lambda: called.append(1))
    at, name = server._registry.at, "one_liner ticker 0.001 Hz"
    left = [add]

    def at_last(frequency_hz: float) -> Any:
        streams = at(frequency_hz)
        if not streams and left and current_thread().name == name:
            left.pop()()  # It has seen that there is none, and is about to ask whether it may go.
        return streams

    monkeypatch.setattr(server._registry, "at", at_last)
    add()
    poll_until(lambda: called)
    server.remove_stream("slow")
    poll_until(lambda: not left)
    server.remove_stream("slow")
    poll_until(lambda: name not in {thread.name for thread in enumerate_threads()})
    assert len(called) == 1


def test_a_stream_that_is_added_while_another_one_is_looked_for_disturbs_nobody(
    server: RouterServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("ticks", "ticker"):
        server.get_stream_fn(name)
    look = SequenceMatcher.set_seq1

    def look_beside(matcher: Any, name: str) -> None:
        if name:
            server.get_stream_fn("new")
        look(matcher, name)

    monkeypatch.setattr(SequenceMatcher, "set_seq1", look_beside)
    with pytest.raises(UnknownStreamError, match="did you mean 'ticks'"):
        server.enable_stream("tiks")


def test_samples_that_are_put_back_after_the_stream_was_configured_anew_are_forgotten(
    server: RouterServer, client: RouterClient
) -> None:
    def loads(_: bytes) -> None:
        client.configure_stream("raw", "cache")
        raise KeyboardInterrupt

    push = server.get_stream_fn("raw", serializer=(bytes, loads))
    client.configure_stream("raw", deserializer=loads, wait=True, timeout_s=20)
    for _ in range(2):
        push(b"sample")
    poll_until(lambda: client.stream_statistics("raw").waiting == 2)
    with pytest.raises(KeyboardInterrupt):
        client.get_samples("raw")
    statistics = client.stream_statistics("raw")
    assert (statistics.delivered, statistics.waiting) == (0, 0)


# --- what would grow ------------------------------------------------------------------------------------------------


def test_nothing_is_kept_of_a_home_that_was_given_up(server: RouterServer, client: RouterClient) -> None:
    """An instrument that is slow now and then has a new one each time."""
    server.add_instance("wait", Event().wait)
    homes = weakref.WeakSet[Home]()
    lane = server._exposure.resolve("wait", "").lane
    assert lane is not None
    for _ in range(3):
        client.call("wait", args=[0.1])
        poll_until(lambda: lane.home)
        homes.add(cast(Home, lane.home))
        while lane.home is not None:
            client.call("wait", args=[0])
    poll_until(lambda: gc.collect() is not None and not homes)


# --- when there is nothing more to be had ---------------------------------------------------------------------------


def test_what_is_done_as_a_whole_is_done_also_where_no_thread_can_be_had(monkeypatch: pytest.MonkeyPatch) -> None:
    """As at the end of an interpreter."""

    def refuse(_: Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(Thread, "start", refuse)
    assert uninterrupted(lambda: 1)() == 1


def test_what_a_whole_has_raised_keeps_nothing_alive() -> None:
    class Large:
        """What somebody would like to have gone."""

    def fail(_: Large) -> None:
        raise ValueError

    gc.disable()
    try:
        large = Large()
        known = weakref.ref(large)
        with suppress(ValueError):
            uninterrupted(fail)(large)
        del large
        assert known() is None
    finally:
        gc.enable()


def test_a_router_that_cannot_be_connected_anew_costs_nobody_else_their_server(
    server: RouterServer, client: RouterClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    with RouterServer(rpc_port=0, broadcast_port=0, instances={"f": lambda: 2}) as far:
        far.run()
        server.add_router("up", interface="127.0.0.1", rpc_port=far.rpc_port)
        assert client.call("up/f", timeout_s=20) == 2
        forwarder, failed = server._cascade["up"].forwarder, Event()

        def fail() -> None:
            failed.set()
            raise zmq.ZMQError(errno.EMFILE)

        monkeypatch.setattr(forwarder, "_connect", first(forwarder._connect, fail))
        forwarder._refusals -= 1  # As if the other one had refused us, and now does not any more.
        assert failed.wait(10.0)
        assert client.call("f", timeout_s=20) == 1
        assert client.call("up/f", timeout_s=20) == 2
