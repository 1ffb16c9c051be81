"""What cannot be right is a clear error, and what was there before is there after it."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from one_liner import RouterClient, RouterServer, keys
from one_liner.errors import ConfigurationError, OneLinerError, UnknownObjectError
from one_liner.limits import Limits
from one_liner.testing import FaultProxy, SubprocessServer, poll_until

HEARTBEAT_S = 0.3
NO_TIMEOUTS = [-1, -0.001, float("nan"), float("-inf"), "5", b"5", True, [1], 1j, object]


class Stage:
    def __init__(self) -> None:
        self.moves: list[float] = []
        self.position = 0.0

    def move(self, to: float) -> float:
        self.moves.append(to)
        return to


@pytest.fixture
def stage() -> Stage:
    return Stage()


@pytest.fixture
def server(stage: Stage) -> Iterator[RouterServer]:
    with RouterServer(rpc_port=0, broadcast_port=0, heartbeat_s=HEARTBEAT_S, instances={"stage": stage}) as server:
        server.add_named_call("home", "stage", "move", [0.0])
        server.run()
        yield server


@pytest.fixture
def client(server: RouterServer) -> Iterator[RouterClient]:
    with RouterClient(rpc_port=server.rpc_port, broadcast_port=None, heartbeat_s=HEARTBEAT_S) as client:
        client.wait_until_connected(20)
        client.configure_stream("pushed", wait=True, timeout_s=20)
        server.get_stream_fn("pushed")(1)
        poll_until(lambda: client.stream_statistics("pushed").waiting == 1)
        yield client


def nothing_was_lost(client: RouterClient, stage: Stage) -> None:
    assert stage.moves == []
    assert client.stream_statistics("pushed").waiting == 1
    assert client.leases() == []
    assert client.call("stage", "move", [1.0]) == 1.0
    assert client.get_stream("pushed").data == 1


# --- timeouts --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("wrong", NO_TIMEOUTS, ids=repr)
def test_a_timeout_that_cannot_be(client: RouterClient, stage: Stage, wrong: Any) -> None:
    waits: list[Callable[[], Any]] = [
        lambda: client.call("stage", "move", [5], timeout_s=wrong),
        lambda: client.call_by_name("home", timeout_s=wrong),
        lambda: client.get("stage", "position", timeout_s=wrong),
        lambda: client.set("stage", "position", 5.0, timeout_s=wrong),
        lambda: client.get_stream("pushed", timeout_s=wrong),
        lambda: client.get_stream("pushed", block=True, timeout_s=wrong),
        lambda: client.stream("pushed", timeout_s=wrong),
        lambda: client.configure_stream("pushed", "cache", timeout_s=wrong),
        lambda: client.configure_stream("other", wait=True, timeout_s=wrong),
        lambda: client.wait_until_connected(wrong),
        lambda: RouterClient(timeout_s=wrong),
        lambda: poll_until(lambda: False, wrong),
        lambda: SubprocessServer("one_liner:RouterServer", timeout_s=wrong),
    ]
    for wait in waits:
        with pytest.raises(ConfigurationError, match="a timeout is a number of seconds from 0 on, or None; not "):
            wait()
    assert stage.position == 0.0
    nothing_was_lost(client, stage)


@pytest.mark.parametrize("wrong", [0, -1.0, float("nan"), float("inf"), None, "1", True], ids=repr)
def test_an_interval_that_cannot_be(client: RouterClient, stage: Stage, wrong: Any) -> None:
    with pytest.raises(ConfigurationError, match="heartbeat_s is a positive number of seconds"):
        RouterClient(heartbeat_s=wrong)
    with pytest.raises(ConfigurationError, match="heartbeat_s is a positive number of seconds"):
        RouterServer(rpc_port=0, broadcast_port=0, heartbeat_s=wrong)
    nothing_was_lost(client, stage)


# --- leases ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "error", "message"),
    [
        ("stag", UnknownObjectError, "no object 'stag'; did you mean 'stage'?"),
        ("stage.nothing", OneLinerError, "stage"),
        ("north/stage", UnknownObjectError, "north/stage"),
        (5, ConfigurationError, "a name is text, not 5"),
        (None, ConfigurationError, "a name is text, not None"),
    ],
)
def test_a_lease_on_what_is_not_there(
    client: RouterClient, stage: Stage, name: Any, error: type[OneLinerError], message: str
) -> None:
    with pytest.raises(error, match=message.replace("?", r"\?")):
        client.lease(name)
    nothing_was_lost(client, stage)


# --- keys and roles --------------------------------------------------------------------------------------------------


@pytest.fixture
def pair(tmp_path: Path) -> tuple[Path, Path]:
    return keys.make("rig", tmp_path)


def written(path: Path, text: str) -> Path:
    path.write_text(text)
    path.chmod(0o600)
    return path


def test_a_bad_key_file_at_either_end(tmp_path: Path, pair: tuple[Path, Path]) -> None:
    secret, public = pair
    text = secret.read_text()
    one, other = keys.read_pair(secret).public, keys.read_pair(secret).secret
    exchanged = text.replace(one, "\0").replace(other, one).replace("\0", other)
    bad: list[tuple[Any, str]] = [
        (written(tmp_path / "empty.key", ""), "empty.key is empty"),
        (
            written(tmp_path / "short.key", text.replace(other, other[:-1])),
            "the secret key has 39 characters, a key has 40",
        ),
        (written(tmp_path / "long.key", text.replace(other, other + "0")), "the secret key has 41 characters"),
        (written(tmp_path / "swapped.key", exchanged), "swapped.key: the public and the secret key are swapped"),
        (public, "rig.pub holds a public key only; what is needed is the file with the secret one"),
        (tmp_path / "missing.key", "missing.key does not exist"),
        (tmp_path, "cannot be read"),
        (5, "keys is the path of a key file"),
    ]
    for source, message in bad:
        with pytest.raises(ConfigurationError, match=message):
            RouterServer(rpc_port=0, broadcast_port=0, keys=source, clients={str(public): "control"})
        with pytest.raises(ConfigurationError, match=message):
            RouterClient(rpc_port=5555, keys=source, server_key=public)


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has other permissions")
def test_a_key_that_others_can_read(pair: tuple[Path, Path]) -> None:
    secret, public = pair
    secret.chmod(0o644)
    with pytest.raises(ConfigurationError, match=r"can be read by others .* chmod 600"):
        RouterServer(rpc_port=0, broadcast_port=0, keys=secret, clients={str(public): "control"})
    with pytest.raises(ConfigurationError, match=r"can be read by others .* chmod 600"):
        RouterClient(keys=secret, server_key=public)


def test_a_role_that_does_not_exist(pair: tuple[Path, Path], tmp_path: Path) -> None:
    secret, public = pair
    clients = written(tmp_path / "clients.toml", f'[[client]]\nkey = "{keys.read_public(public)}"\nrole = "owner"\n')
    for told in ({str(public): "owner"}, {str(public): {"role": "owner"}}, clients):
        with pytest.raises(ConfigurationError, match=r"there is no role 'owner'; a role is read, control, admin"):
            RouterServer(rpc_port=0, broadcast_port=0, keys=secret, clients=told)
    with RouterServer(rpc_port=0, broadcast_port=0, keys=secret, clients={str(public): "read"}) as server:
        key = keys.read_public(public)
        before = server._guarded().clients.find(key)
        with pytest.raises(ConfigurationError, match=r"there is no role 'owner'; a role is read, control, admin"):
            server.allow(public, "owner")
        assert before is not None
        assert server._guarded().clients.find(key) == before


# --- limits, fault scripts -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("wrong", [{"depth": 5}, 5, "depth=5", Limits], ids=repr)
def test_limits_that_are_none(client: RouterClient, stage: Stage, wrong: Any) -> None:
    with pytest.raises(ConfigurationError, match=r"limits is a one_liner\.limits\.Limits, not "):
        RouterServer(rpc_port=0, broadcast_port=0, limits=wrong)
    with pytest.raises(ConfigurationError, match=r"limits is a one_liner\.limits\.Limits, not "):
        RouterClient(limits=wrong)
    nothing_was_lost(client, stage)


def test_a_fault_script_with_a_typo_starts_nothing(server: RouterServer, client: RouterClient, stage: Stage) -> None:
    with pytest.raises(ConfigurationError, match=r"line 1.*delai"):
        FaultProxy(server.rpc_port, server.broadcast_port, faults="delai rpc 0.1 s")
    nothing_was_lost(client, stage)
