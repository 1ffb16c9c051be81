"""Nobody gets in: keys, roles and limits, with real sockets on both ports."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import zmq
from zmq.auth.thread import ThreadAuthenticator

from one_liner import credentials
from one_liner import keys as key_files
from one_liner.client import RouterClient
from one_liner.errors import (
    ConfigurationError,
    LimitError,
    OneLinerError,
    RefusedError,
    RouterDownError,
    ServerLostError,
)
from one_liner.keys import KeyPair
from one_liner.limits import Limits
from one_liner.rpc import link as link_module
from one_liner.server import RouterServer
from one_liner.streams import intake as intake_module
from one_liner.transport.security import speaks_curve
from one_liner.wire.messages import Kind, Reply, Request
from tests.conftest import poll_until

SERVER, ANNA, BOB, STRANGER = (KeyPair.new() for _ in range(4))
SOON_S, SOON_MS = 3.0, 3000
HEARTBEAT_S = 0.2


class Stage:
    """Moves, on paper."""

    def __init__(self) -> None:
        self.position = 0.0
        self.gate = threading.Event()

    def move(self, position: float) -> float:
        self.position = position
        return position

    def where(self) -> float:
        return self.position

    def wait(self) -> str:
        self.gate.wait(10.0)
        return "done"


@pytest.fixture(autouse=True)
def _knock_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(link_module, "KNOCK_S", 0.2)
    monkeypatch.setattr(intake_module, "KNOCK_S", 0.2)
    for variable in (credentials.KEYS_VARIABLE, credentials.SERVER_KEY_VARIABLE, credentials.CLIENTS_VARIABLE):
        monkeypatch.delenv(variable, raising=False)


@pytest.fixture(params=["tcp", "ipc"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[str, str]:
    """Protocol and interface."""
    return ("tcp", "127.0.0.1") if request.param == "tcp" else ("ipc", str(tmp_path / "s"))


Serve = Callable[..., RouterServer]
Connect = Callable[..., RouterClient]


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Starts servers, and closes them in the end."""
    servers: list[RouterServer] = []

    def start(protocol: str = "tcp", interface: str = "127.0.0.1", **options: Any) -> RouterServer:
        options.setdefault("instances", {"stage": Stage(), "laser": Stage()})
        server = RouterServer(protocol, interface, 0, 0, heartbeat_s=HEARTBEAT_S, **options)
        servers.append(server)
        server.run()
        return server

    yield start
    for server in reversed(servers):
        for obj in server.instances.values():
            obj.gate.set()
        server.close()


@pytest.fixture
def connect() -> Iterator[Connect]:
    """Makes clients of a server, and closes them in the end."""
    clients: list[RouterClient] = []

    def make(server: RouterServer, keys: Any = None, server_key: str | None = None, **options: Any) -> RouterClient:
        protocol, _, rest = server.rpc_endpoint.partition("://")
        if keys is not None and server_key is None:
            server_key = server.public_key
        client = RouterClient(
            protocol,
            rest.rpartition(":")[0],
            server.rpc_port,
            None,
            heartbeat_s=HEARTBEAT_S,
            keys=keys,
            server_key=server_key,
            **options,
        )
        clients.append(client)
        return client

    yield make
    for client in clients:
        client.close()


def _refused(act: Callable[[], Any], match: str) -> RefusedError:
    began = time.monotonic()
    with pytest.raises(RefusedError, match=match) as caught:
        act()
    assert time.monotonic() - began < SOON_S
    return caught.value


def _is(client: RouterClient, state: str) -> None:
    poll_until(lambda: client.state == state, what=f"the client is {state}, it is {client.state}")


# --- getting in ------------------------------------------------------------------------------------------------------


def test_a_client_whose_key_is_allowed_does_everything(place: tuple[str, str], serve: Serve, connect: Connect) -> None:
    server = serve(*place, keys=SERVER, clients={ANNA.public: "admin"})
    assert server.public_key == SERVER.public
    client = connect(server, ANNA)
    assert client.call("stage", "move", [3.0]) == 3.0
    client.set("stage", "position", 4.0)
    assert client.proxy("stage").where() == 4.0
    client.add_stream("where", 100, "stage", "where")
    client.configure_stream("where", wait=True)
    assert client.get_stream("where", timeout_s=SOON_S).data == 4.0
    assert {obj.name for obj in client.describe().objects} == {"laser", "stage"}


@pytest.mark.parametrize(
    ("client_keys", "server_key", "reason"),
    [
        (STRANGER, SERVER.public, "this client's key .* is not among those that .* allows"),
        (ANNA, STRANGER.public, "wrong server key"),
        (None, None, "lets in clients with keys only; give this one keys=… and server_key=…"),
    ],
    ids=["not allowed", "wrong server key", "no key"],
)
def test_whoever_may_not_come_in_is_told_so_at_once(
    place: tuple[str, str],
    serve: Serve,
    connect: Connect,
    client_keys: KeyPair | None,
    server_key: str | None,
    reason: str,
) -> None:
    server = serve(*place, keys=SERVER, clients={ANNA.public: "admin"})
    server.add_stream("where", 100, "stage", "where")
    client = connect(server, client_keys, server_key)
    client.configure_stream("where")
    _refused(lambda: client.get_stream("where", block=True), reason)
    _refused(lambda: client.call("stage", "move", [1.0]), reason)
    _refused(lambda: client.proxy("stage").where(), reason)
    _refused(lambda: client.describe(), reason)
    _refused(lambda: client.wait_until_connected(SOON_S), reason)
    assert client.state == "refused"
    assert server.instances["stage"].position == 0.0


def test_a_client_that_was_told_to_expect_keys_does_not_talk_to_an_open_server(
    place: tuple[str, str], serve: Serve, connect: Connect
) -> None:
    server = serve(*place)
    assert server.public_key is None
    client = connect(server, ANNA, SERVER.public)
    _refused(lambda: client.call("stage", "move", [1.0]), "has no keys, and this client was told")
    assert connect(server).call("stage", "move", [2.0]) == 2.0


@pytest.mark.parametrize("curve", [None, STRANGER])
def test_no_byte_gets_through_a_bare_socket(place: tuple[str, str], serve: Serve, curve: KeyPair | None) -> None:
    server = serve(*place, keys=SERVER, clients={ANNA.public: "admin"})
    push = server.get_stream_fn("values")
    heartbeat = Request(Kind.HEARTBEAT, 1, 2, "", b"\xa1x").encode()
    with zmq.Context() as context, context.socket(zmq.DEALER) as asking, context.socket(zmq.SUB) as reading:
        for socket in (asking, reading):
            socket.linger = 0
            if curve is not None:
                socket.curve_publickey, socket.curve_secretkey = curve.public.encode(), curve.secret.encode()
                socket.curve_serverkey = SERVER.public.encode()
        reading.subscribe(b"")
        monitors = [socket.get_monitor_socket(zmq.Event.DISCONNECTED) for socket in (asking, reading)]
        asking.connect(server.rpc_endpoint)
        reading.connect(server.broadcast_endpoint)
        asking.send_multipart([bytes(frame) for frame in heartbeat])
        for socket, monitor in zip((asking, reading), monitors, strict=True):
            assert monitor.poll(SOON_MS), "the server did not hang up"
            push(1)
            assert not socket.poll(50)
            socket.disable_monitor()
            monitor.close()


def test_a_server_with_keys_and_no_clients_lets_nobody_in(
    serve: Serve, connect: Connect, caplog: pytest.LogCaptureFixture
) -> None:
    server = serve(keys=SERVER)
    assert "lets nobody in" in caplog.text
    client = connect(server, ANNA)
    _refused(lambda: client.call("stage", "where"), "not among those")
    server.allow(ANNA.public)
    _is(client, "connected")
    assert client.call("stage", "where") == 0.0


def test_one_who_may_not_come_in_is_logged_once(
    serve: Serve, connect: Connect, caplog: pytest.LogCaptureFixture
) -> None:
    server = serve(keys=SERVER)
    client = connect(server, STRANGER)
    _is(client, "refused")
    refusals = client._link.refusals
    poll_until(lambda: client._link.refusals > refusals + 1)
    said = [r for r in caplog.records if r.name == "one_liner.transport.guard"]
    assert len(said) == 1
    assert STRANGER.public in said[0].getMessage()


# --- changes at run time ---------------------------------------------------------------------------------------------


def test_a_key_that_is_allowed_later_works_without_a_new_client(
    place: tuple[str, str], serve: Serve, connect: Connect
) -> None:
    server = serve(*place, keys=SERVER, clients={})
    server.add_stream("where", 100, "stage", "where")
    client = connect(server, ANNA)
    states: list[str] = []
    client.on_state(states.append)
    client.configure_stream("where")
    _refused(lambda: client.call("stage", "where"), "not among those")
    server.allow(ANNA.public, "control", name="Anna")
    _is(client, "connected")
    assert client.call("stage", "move", [5.0]) == 5.0
    assert client.get_stream("where", timeout_s=SOON_S).stream == "where"
    poll_until(lambda: states[-1:] == ["connected"])


def test_a_key_that_is_disallowed_is_cut_off_and_others_go_on(
    place: tuple[str, str], serve: Serve, connect: Connect
) -> None:
    server = serve(*place, keys=SERVER, clients={ANNA.public: "control", BOB.public: "control"})
    server.add_stream("where", 200, "stage", "where")
    anna, bob = connect(server, ANNA), connect(server, BOB)
    for client in (anna, bob):
        client.configure_stream("where", wait=True)
        client.get_stream("where", timeout_s=SOON_S)
        client.call("stage", "move", [1.0])
    server.disallow(ANNA.public)
    _refused(lambda: anna.call("stage", "move", [2.0]), "not among those allowed")
    assert server.instances["stage"].position == 1.0
    _is(anna, "refused")

    intake = anna._reception.receiver._intake  # type: ignore[union-attr]
    poll_until(lambda: intake is not None and intake.refusal, what="the streams of the one are cut")
    _refused(lambda: [anna.get_stream("where", timeout_s=SOON_S) for _ in range(100_000)], "not among those")
    expected = anna.stream_statistics("where").expected

    newest = bob.last_sample("where").sequence
    poll_until(lambda: bob.last_sample("where").sequence > newest + 50, what="those of the other go on")
    assert bob.call("stage", "move", [3.0]) == 3.0
    statistics = bob.stream_statistics("where")
    assert statistics.accounted
    assert statistics.restarts == 0
    assert anna.stream_statistics("where").expected == expected

    server.allow(ANNA.public)
    _is(anna, "connected")
    assert anna.call("stage", "move", [4.0]) == 4.0
    poll_until(lambda: anna.stream_statistics("where").expected > expected, what="it receives again")


def test_calls_that_were_idle_while_refused_use_new_connections(serve: Serve, connect: Connect) -> None:
    server = serve(keys=SERVER, clients={ANNA.public: "control"})
    client = connect(server, ANNA)
    for turn in range(3):
        assert client.call("stage", "move", [turn]) == turn
        server.disallow(ANNA.public)
        _is(client, "refused")
        server.allow(ANNA.public)
        _is(client, "connected")
    assert client.call("stage", "where", timeout_s=SOON_S) == 2


def test_only_a_server_with_keys_has_a_list(serve: Serve) -> None:
    server = serve()
    for change in (server.allow, server.disallow):
        with pytest.raises(ConfigurationError, match="has no keys"):
            change(ANNA.public)
    secured = serve(keys=SERVER)
    with pytest.raises(ConfigurationError, match="a role is read, control, admin"):
        secured.allow(ANNA.public, "owner")
    with pytest.raises(ConfigurationError, match="was not allowed before"):
        secured.disallow(ANNA.public)
    with pytest.raises(ConfigurationError, match="neither a key"):
        secured.allow("abc")


# --- roles -----------------------------------------------------------------------------------------------------------


def test_roles_are_kept(serve: Serve, connect: Connect) -> None:
    server = serve(keys=SERVER, clients={ANNA.public: {"role": "read", "name": "Anna"}, BOB.public: "control"})
    server.add_instance("meter", Stage(), read_only=["where"])
    server.add_named_call("look", "meter", "where")
    server.add_named_call("home", "stage", "move", [0.0])
    server.add_stream("where", 50, "stage", "where")
    anna, bob = connect(server, ANNA), connect(server, BOB)

    assert anna.get("stage", "position") == 0.0
    assert anna.call("meter", "where") == 0.0
    assert anna.call_by_name("look") == 0.0
    assert len(anna.get_stream_configurations()) == 1
    anna.configure_stream("where", "cache", wait=True)
    assert anna.get_stream("where", timeout_s=SOON_S).data == 0.0
    needs_control = "needs the role control, and 'Anna' has the role read"
    for act in (
        lambda: anna.call("stage", "move", [1.0]),
        lambda: anna.call("stage", "where"),
        lambda: anna.call("meter", "move", [1.0]),
        lambda: anna.call_by_name("home"),
        lambda: anna.set("stage", "position", 1.0),
        lambda: anna.disable_stream("where"),
        lambda: anna.lease("stage"),
    ):
        assert _refused(act, needs_control).details["needed"] == "control"
    assert server.instances["stage"].position == 0.0
    assert anna.state == "connected"

    bob.call("stage", "move", [1.0])
    bob.disable_stream("where")
    bob.enable_stream("where")
    with bob.lease("stage"):
        pass
    for act in (
        lambda: bob.add_stream("more", 1, "stage", "where"),
        lambda: bob.remove_stream("where"),
        lambda: bob.lease("stage", force=True),
    ):
        _refused(act, "needs the role admin")
    server.allow(BOB.public, "admin")
    bob.add_stream("more", 1, "stage", "where")
    bob.remove_stream("more")


def test_a_key_may_be_restricted_to_some_objects(serve: Serve, connect: Connect) -> None:
    server = serve(keys=SERVER, clients={ANNA.public: {"role": "control", "objects": ["stage"], "name": "Anna"}})
    server.add_stream("beam", 50, "laser", "where")
    server.add_named_call("home", "stage", "move", [0.0])
    server.add_named_call("fire", "laser", "move", [9.0])
    anna = connect(server, ANNA)
    anna.call("stage", "move", [1.0])
    anna.call_by_name("home")
    for act in (
        lambda: anna.call("laser", "move", [1.0]),
        lambda: anna.get("laser", "position"),
        lambda: anna.set("laser", "position", 1.0),
        lambda: anna.call_by_name("fire"),
        lambda: anna.disable_stream("beam"),
        lambda: anna.lease("laser"),
        lambda: anna.lease(),
    ):
        _refused(act, "'Anna' may not reach .*; the key is restricted to stage")
    assert server.instances["laser"].position == 0.0
    anna.configure_stream("beam", wait=True)
    assert anna.get_stream("beam", timeout_s=SOON_S).data == 0.0


# --- cascades --------------------------------------------------------------------------------------------------------


def _position(client: RouterClient) -> float | None:
    try:
        return float(client.get_stream("north/where", timeout_s=SOON_S).data)
    except RouterDownError:
        return None


def test_each_hop_acts_with_its_own_key_and_role(place: tuple[str, str], serve: Serve, connect: Connect) -> None:
    upstream_keys, hop_keys = KeyPair.new(), KeyPair.new()
    protocol, interface = place
    upstream = serve(protocol, interface + ("" if protocol == "tcp" else "u"), keys=upstream_keys, clients={})
    upstream.add_stream("where", 100, "stage", "where")
    middle = serve(
        *place,
        keys=SERVER,
        clients={ANNA.public: "control", BOB.public: {"role": "control", "objects": ["north/stage"]}},
    )
    middle.add_router(
        "north",
        protocol,
        upstream.rpc_endpoint.partition("://")[2].rpartition(":")[0],
        upstream.rpc_port,
        keys=hop_keys,
        server_key=upstream_keys.public,
    )
    anna, bob = connect(middle, ANNA), connect(middle, BOB)
    with pytest.raises(RouterDownError, match=r"router 'north'.*is down: refused: this client's key"):
        anna.call("north/stage", "move", [1.0])
    anna.configure_stream("north/where")

    upstream.allow(hop_keys.public, "read", name="middle")
    poll_until(lambda: middle._cascade["north"].link.state == "connected")
    _refused(lambda: anna.call("north/stage", "move", [1.0]), "'middle' has the role read")
    assert anna.get("north/stage", "position") == 0.0
    poll_until(lambda: _position(anna) == 0.0, what="the stream, of which the server still says that the way is closed")

    upstream.allow(hop_keys.public, "control", name="middle")
    assert anna.call("north/stage", "move", [2.0]) == 2.0
    assert bob.call("north/stage", "where") == 2.0
    _refused(lambda: bob.call("north/laser", "where"), "may not reach 'north/laser'")
    _refused(lambda: bob.disable_stream("north/where"), "may not reach 'north/where'")
    middle.allow(ANNA.public, "read")
    _refused(
        lambda: anna.call("north/stage", "move", [3.0]), "needs the role control, and this client has the role read"
    )
    assert upstream.instances["stage"].position == 2.0


def test_a_hop_that_was_refused_in_between_is_used_again(serve: Serve, connect: Connect) -> None:
    upstream = serve(keys=STRANGER, clients={SERVER.public: "control"})
    middle = serve(keys=SERVER, clients={ANNA.public: "control"})
    middle.add_router("north", rpc_port=upstream.rpc_port, server_key=STRANGER.public)
    anna = connect(middle, ANNA)
    assert anna.call("north/stage", "move", [1.0]) == 1.0
    hop = middle._cascade["north"].link
    upstream.disallow(SERVER.public)
    poll_until(lambda: hop.state == "refused")
    with pytest.raises(RouterDownError, match="refused"):
        anna.call("north/stage", "where")
    upstream.allow(SERVER.public)
    poll_until(lambda: hop.state == "connected")
    assert anna.call("north/stage", "where", timeout_s=SOON_S) == 1.0


def test_a_hop_whose_refusal_only_its_own_connection_met_is_used_all_the_same(serve: Serve, connect: Connect) -> None:
    upstream = serve(keys=STRANGER, clients={SERVER.public: "control"})
    middle = serve(keys=SERVER, clients={ANNA.public: "control"})
    middle.add_router("north", rpc_port=upstream.rpc_port, server_key=STRANGER.public)
    anna = connect(middle, ANNA)
    assert anna.call("north/stage", "move", [1.0]) == 1.0
    forwarder = middle._cascade["north"].forwarder
    forwarder.socket.disconnect(str(forwarder.link.endpoint))  # libzmq does this to a socket that was refused
    assert anna.call("north/stage", "where", timeout_s=SOON_S) == 1.0


def test_a_secured_publisher_can_be_relayed(place: tuple[str, str], serve: Serve, connect: Connect) -> None:
    protocol, interface = place
    publisher = serve(protocol, interface + ("" if protocol == "tcp" else "p"), keys=STRANGER, clients={})
    publisher.add_stream("where", 100, "stage", "where")
    relay = serve(*place, keys=SERVER, clients={ANNA.public: "read"})
    relay.add_zmq_stream("where", publisher.broadcast_endpoint, server_key=STRANGER.public)
    anna = connect(relay, ANNA)
    anna.configure_stream("where", wait=True)
    intake = relay._registry.get("where").feeder._intake  # type: ignore[union-attr]
    poll_until(lambda: intake.refusal)
    assert "not among those" in intake.refusal
    publisher.allow(SERVER.public, "read")
    assert anna.get_stream("where", timeout_s=SOON_S).data == 0.0


def test_a_relay_told_the_wrong_key_of_its_publisher_says_so(serve: Serve, caplog: pytest.LogCaptureFixture) -> None:
    publisher = serve(keys=STRANGER, clients={SERVER.public: "read"})
    relay = serve(keys=SERVER, clients={})
    relay.add_zmq_stream("where", publisher.broadcast_endpoint, server_key=ANNA.public)
    intake = relay._registry.get("where").feeder._intake  # type: ignore[union-attr]
    poll_until(lambda: intake.refusal)
    assert "wrong server key" in caplog.text


def test_half_of_what_a_hop_needs_is_an_error(serve: Serve) -> None:
    server = serve()
    for add in (
        lambda **told: server.add_router("north", **told),
        lambda **told: server.add_zmq_stream("cam", "tcp://127.0.0.1:1", **told),
    ):
        with pytest.raises(ConfigurationError, match="needs keys of our own"):
            add(server_key=STRANGER.public)
        with pytest.raises(ConfigurationError, match="need the public key of the server"):
            add(keys=ANNA)
    assert server.get_stream_configurations(as_dict=True)["zmq_streams"] == {}


# --- the doorkeeper --------------------------------------------------------------------------------------------------


def _doorkeepers() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "one_liner doorkeeper"]


def test_servers_in_one_context_are_told_apart_and_share_a_doorkeeper(serve: Serve, connect: Connect) -> None:
    one = serve(keys=SERVER, clients={ANNA.public: "control"})
    two = serve(keys=SERVER, clients={BOB.public: "control"})
    assert len(_doorkeepers()) == 1
    assert connect(one, ANNA).call("stage", "where") == 0.0
    assert connect(two, BOB).call("stage", "where") == 0.0
    _refused(lambda: connect(one, BOB).call("stage", "where"), "not among those")
    _refused(lambda: connect(two, ANNA).call("stage", "where"), "not among those")
    one.close()
    assert len(_doorkeepers()) == 1
    assert connect(two, BOB).call("stage", "where") == 0.0
    two.close()
    assert not _doorkeepers()


def test_somebody_elses_authenticator_is_a_clear_error(serve: Serve, connect: Connect) -> None:
    with zmq.Context() as context:
        other = ThreadAuthenticator(context)
        other.start()
        try:
            with pytest.raises(ConfigurationError, match=r"another authenticator.*context=zmq\.Context\(\)"):
                RouterServer(rpc_port=0, broadcast_port=0, context=context, keys=SERVER)
        finally:
            other.stop()
        server = poll_until(lambda: _served_at_last(serve, context))
        client = connect(server, ANNA, context=context)
        assert client.call("stage", "where") == 0.0
        client.close()
        server.close()


def _served_at_last(serve: Serve, context: zmq.Context[Any]) -> RouterServer | None:
    try:
        return serve(context=context, keys=SERVER, clients={ANNA.public: "control"})
    except ConfigurationError:  # pyzmq's authenticator gives its address back some time after it was stopped
        return None


def test_a_secured_socket_of_somebody_else_goes_on_as_before(serve: Serve) -> None:
    serve(keys=SERVER)
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context.instance()
    with context.socket(zmq.REP) as theirs, context.socket(zmq.REQ) as mine:
        theirs.curve_server, mine.linger = True, 0
        theirs.curve_publickey, theirs.curve_secretkey = STRANGER.public.encode(), STRANGER.secret.encode()
        mine.curve_publickey, mine.curve_secretkey = ANNA.public.encode(), ANNA.secret.encode()
        mine.curve_serverkey = STRANGER.public.encode()
        port = theirs.bind_to_random_port("tcp://127.0.0.1")
        mine.connect(f"tcp://127.0.0.1:{port}")
        mine.send(b"hello")
        assert theirs.poll(SOON_MS)
        assert theirs.recv() == b"hello"


def test_a_context_that_is_terminated_ends_the_doorkeeper() -> None:
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    server = RouterServer(rpc_port=0, broadcast_port=0, context=context, keys=SERVER)
    server.run()
    ending = threading.Thread(target=context.term)
    ending.start()
    poll_until(lambda: not _doorkeepers())
    server.close()
    ending.join(SOON_S)
    assert not ending.is_alive()
    with RouterServer(rpc_port=0, broadcast_port=0, keys=SERVER):
        assert len(_doorkeepers()) == 1


def test_what_fails_leaves_no_doorkeeper(serve: Serve) -> None:
    taken = serve()
    for ports in ((taken.rpc_port, 0), (0, taken.broadcast_port)):
        with pytest.raises(ConfigurationError):
            RouterServer("tcp", "127.0.0.1", *ports, keys=SERVER)
    with pytest.raises(ConfigurationError):
        RouterServer(
            rpc_port=0, broadcast_port=0, keys=SERVER, config={"named_calls": {"a": {"obj_name": "", "attr_name": ""}}}
        )
    assert not _doorkeepers()


def test_what_listens_can_be_asked_whether_it_speaks_curve(place: tuple[str, str], serve: Serve) -> None:
    secured, protocol = serve(*place, keys=SERVER), place[0]
    assert speaks_curve(secured.rpc_endpoint)
    assert speaks_curve(secured.broadcast_endpoint)
    is_open = serve(protocol, place[1] + ("" if protocol == "tcp" else "o"))
    assert not speaks_curve(is_open.rpc_endpoint)
    gone = secured.rpc_endpoint
    secured.close()
    assert not speaks_curve(gone)


# --- what is said elsewhere than in the arguments --------------------------------------------------------------------


def test_keys_come_from_files_configuration_and_environment(
    tmp_path: Path, serve: Serve, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    server_file, server_public = key_files.make("server", tmp_path)
    anna_file, anna_public = key_files.make("anna", tmp_path)
    clients = tmp_path / "clients.toml"
    key_files.allow(clients, anna_public, "read", name="Anna")
    configured = serve(config={"security": {"keys": str(server_file), "clients": str(clients)}})
    assert connect(configured, anna_file, str(server_public)).get("stage", "position") == 0.0

    monkeypatch.setenv(credentials.KEYS_VARIABLE, str(server_file))
    monkeypatch.setenv(credentials.CLIENTS_VARIABLE, str(clients))
    server = serve()
    monkeypatch.setenv(credentials.KEYS_VARIABLE, str(anna_file))
    monkeypatch.setenv(credentials.SERVER_KEY_VARIABLE, str(server_public))
    assert connect(server).get("stage", "position") == 0.0


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"clients": {}}, "give it keys"),
        ({"keys": "/no/such.key"}, "/no/such.key does not exist"),
        ({"keys": SERVER, "clients": "/no/such.toml"}, "/no/such.toml does not exist"),
        ({"keys": SERVER, "clients": {"abc": "read"}}, "neither a key"),
        ({"keys": SERVER, "clients": {ANNA.public: "owner"}}, "no role 'owner'"),
        ({"keys": SERVER, "protocol": "inproc"}, "inproc cannot be secured"),
        ({"config": {"security": {"key": "x"}}}, r"security has unknown keys \['key'\]"),
        ({"limits": {"clients": 1}}, "limits is a"),
    ],
)
def test_what_cannot_be_is_said_and_leaves_nothing(options: dict[str, Any], reason: str) -> None:
    with pytest.raises(ConfigurationError, match=reason):
        RouterServer(rpc_port=0, broadcast_port=0, **options)
    assert not _doorkeepers()


def test_an_open_server_that_others_can_reach_says_so_once(caplog: pytest.LogCaptureFixture) -> None:
    def warnings(**options: Any) -> list[str]:
        caplog.clear()
        with RouterServer(rpc_port=0, broadcast_port=0, **options) as server:
            server.run()
        return [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]

    assert warnings() == []
    (warning,) = warnings(interface="*")
    assert "every machine on its network" in warning
    assert "docs/how-to/keys.md" in warning
    assert warnings(interface="*", keys=SERVER, clients={ANNA.public: "read"}) == []


# --- limits ----------------------------------------------------------------------------------------------------------


def test_one_client_too_many_is_told_so_and_comes_in_when_there_is_room(serve: Serve, connect: Connect) -> None:
    server = serve(limits=Limits(clients=2))
    first, second = connect(server), connect(server)
    assert first.call("stage", "where") == second.call("stage", "where") == 0.0
    third = connect(server)
    with pytest.raises(LimitError, match="2 clients"):
        third.call("stage", "where")
    assert first.call("stage", "where") == 0.0
    second.close()
    _is(third, "connected")
    assert third.call("stage", "where") == 0.0


def test_calls_that_wait_are_bounded_per_client(serve: Serve, connect: Connect) -> None:
    server = serve(limits=Limits(calls_per_client=3))
    stage = server.instances["stage"]
    greedy, other = connect(server), connect(server)
    results: list[Any] = []

    def wait() -> None:
        try:
            results.append(greedy.call("stage", "wait"))
        except OneLinerError as error:
            results.append(error)

    threads = [threading.Thread(target=wait) for _ in range(5)]
    for thread in threads:
        thread.start()
    poll_until(lambda: len(results) == 2)
    assert all(isinstance(error, LimitError) and "3 calls that run or wait" in str(error) for error in results)
    assert other.call("laser", "move", [1.0]) == 1.0
    stage.gate.set()
    for thread in threads:
        thread.join()
    assert results.count("done") == 3
    assert greedy.call("stage", "wait") == "done"


def test_calls_that_wait_are_bounded_together(serve: Serve, connect: Connect) -> None:
    server = serve(limits=Limits(calls_per_client=1, calls=2))
    clients = [connect(server) for _ in range(3)]
    threads = [threading.Thread(target=client.call, args=("stage", "wait")) for client in clients[:2]]
    for thread in threads:
        thread.start()
    poll_until(lambda: len(server.running_calls()) == 2)
    with pytest.raises(LimitError, match="2 calls that run or wait"):
        clients[2].call("laser", "where")
    server.instances["stage"].gate.set()
    for thread in threads:
        thread.join()
    assert clients[2].call("laser", "where") == 0.0


def test_a_message_that_is_too_large_costs_its_connection_only(serve: Serve, connect: Connect) -> None:
    server = serve(limits=Limits(message_bytes=100_000))
    client, other = connect(server), connect(server)
    with pytest.raises(OneLinerError, match="lost on the way; it did not run"):
        client.call("stage", "move", [b"x" * 200_000])
    assert server.instances["stage"].position == 0.0
    assert other.call("stage", "move", [1.0]) == 1.0
    _is(client, "connected")
    assert client.call("stage", "where", timeout_s=SOON_S) == 1.0


def test_an_answer_that_is_too_large_is_an_error_and_no_wait_without_end(serve: Serve, connect: Connect) -> None:
    server = serve()
    server.instances["stage"].position = b"x" * 200_000
    client, other = connect(server, limits=Limits(message_bytes=100_000)), connect(server)
    with pytest.raises(ServerLostError, match="more than 100000 bytes, the limit of this client"):
        client.call("stage", "where")
    assert client.call("laser", "where", timeout_s=SOON_S) == 0.0
    assert len(other.call("stage", "where")) == 200_000


def test_an_answer_that_is_too_large_for_a_hop_harms_nobody_else(serve: Serve, connect: Connect) -> None:
    upstream, middle = serve(), serve(limits=Limits(message_bytes=100_000))
    upstream.instances["stage"].position = b"x" * 200_000
    middle.add_router("north", rpc_port=upstream.rpc_port)
    client = connect(middle)
    with pytest.raises(ServerLostError, match=r"router 'north'.* was lost during the call"):
        client.call("north/stage", "where")
    assert client.call("north/laser", "where", timeout_s=SOON_S) == 0.0


def test_a_value_with_too_many_items_or_levels_is_an_error_to_its_sender(serve: Serve, connect: Connect) -> None:
    server = serve(limits=Limits(elements=1000, depth=20))
    client = connect(server)
    with pytest.raises(LimitError, match="more than 1000 items"):
        client.call("stage", "move", [[0.0] * 2000])
    deep: Any = 1.0
    for _ in range(30):
        deep = [deep]
    with pytest.raises(OneLinerError, match="nested deeper than 20"):
        client.call("stage", "move", [deep])
    assert client.call("stage", "move", [1.0]) == 1.0


def test_one_that_sends_garbage_without_end_is_ignored_while_others_are_served(
    serve: Serve, connect: Connect, caplog: pytest.LogCaptureFixture
) -> None:
    server = serve(limits=Limits(malformed=5, ignored_s=0.5))
    client = connect(server)
    client.call("stage", "where")
    with zmq.Context() as context, context.socket(zmq.DEALER) as bad:
        bad.linger = 0
        bad.connect(server.rpc_endpoint)
        for number in range(2000):
            bad.send(b"garbage %d" % number)
        slowest = 0.0
        for position in range(200):
            began = time.monotonic()
            assert client.call("stage", "move", [position]) == position
            slowest = max(slowest, time.monotonic() - began)
        assert slowest < 1.0
        answers = 0
        while bad.poll(200):
            assert Reply.decode(bad.recv(), []).kind == Kind.ERROR
            answers += 1
        assert answers == 5
        said = [record.getMessage() for record in caplog.records if "cannot be read" in record.getMessage()]
        assert len(said) == 1
        poll_until(lambda: _answered(bad), what="it is listened to again")


def _answered(bad: zmq.Socket[bytes]) -> bool:
    bad.send(b"garbage")
    return bool(bad.poll(50))


def test_topics_are_bounded_in_length_and_number(serve: Serve, connect: Connect) -> None:
    server = serve(limits=Limits(topic_bytes=100, topics=50))
    push = server.get_stream_fn("values")
    client = connect(server)
    client.configure_stream("values", wait=True)
    with zmq.Context() as context, context.socket(zmq.SUB) as bad:
        bad.linger = 0
        monitor = bad.get_monitor_socket(zmq.Event.DISCONNECTED)
        bad.connect(server.broadcast_endpoint)
        bad.subscribe(b"x" * 100_000)
        assert monitor.poll(SOON_MS), "the server did not hang up"
        bad.disable_monitor()
        monitor.close()
    publisher = server._fanout.publisher(hears_subscriptions=True)
    with zmq.Context() as context, context.socket(zmq.SUB) as bad:
        bad.linger = 0
        for number in range(200):
            bad.subscribe(b"topic %d" % number)
        bad.connect(server.broadcast_endpoint)
        # The library's own subscriptions are among them.
        poll_until(lambda: len(publisher.subscriptions()) >= 45)
        push(5)
        assert client.get_stream("values", timeout_s=SOON_S).data == 5
        assert len(publisher.subscriptions()) <= 50
    publisher.close()
