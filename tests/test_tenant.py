"""A port that is taken: by whom, where the system tells, and that nothing stays bound."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from one_liner import RouterServer
from one_liner.errors import PortInUseError
from one_liner.testing import FaultProxy
from one_liner.transport import tenant
from one_liner.transport.endpoints import Endpoint
from one_liner.transport.tenant import Tenant, by_psutil, port_in_use

linux = pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells by /proc")

HOLDER = """\
import socket, sys
family, address = sys.argv[1:]
held = socket.socket(getattr(socket, family))
held.bind(address if family == "AF_UNIX" else (address, 0))
held.listen()
print(0 if family == "AF_UNIX" else held.getsockname()[1], flush=True)
sys.stdin.read()
"""


@contextmanager
def held_elsewhere(folder: Path, address: str, family: str = "AF_INET") -> Iterator[tuple[int, int]]:
    """Another program, named `rig.py`, listens: its pid and port."""
    (folder / "rig.py").write_text(HOLDER)
    command = [sys.executable, "rig.py", family, address]
    with subprocess.Popen(command, cwd=folder, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield process.pid, int(process.stdout.readline())
        finally:
            process.communicate()


def assert_names(error: PortInUseError, pid: int) -> None:
    assert f"rig.py (pid {pid})" in str(error)
    assert error.details["pid"] == pid
    assert error.details["program"].endswith("rig.py")


@linux
@pytest.mark.parametrize("busy", ["rpc_port", "broadcast_port"])
def test_who_has_the_port_is_named_and_the_other_port_is_free_again(tmp_path: Path, busy: str) -> None:
    free = {"rpc_port": "broadcast_port", "broadcast_port": "rpc_port"}[busy]
    with RouterServer(rpc_port=0, broadcast_port=0) as probe:
        ports: dict[str, Any] = {free: getattr(probe, free)}
    with held_elsewhere(tmp_path, "127.0.0.1") as (pid, port):
        with pytest.raises(PortInUseError, match=f"tcp://127.0.0.1:{port} is in use by ") as caught:
            RouterServer(**ports, **{busy: port})
        assert_names(caught.value, pid)
        with socket.socket() as plain:  # without SO_REUSEADDR: nobody may have it in any way
            plain.bind(("127.0.0.1", ports[free]))
    with RouterServer(**ports, **{busy: port}) as server:
        assert getattr(server, busy) == port


@linux
@pytest.mark.parametrize(
    ("held", "family", "wanted"),
    [
        ("0.0.0.0", "AF_INET", "127.0.0.1"),
        ("127.0.0.1", "AF_INET", "*"),
        ("::1", "AF_INET6", "::1"),
        ("127.0.0.1", "AF_INET", "lo"),
        ("127.0.0.1", "AF_INET", "localhost"),
    ],
)
def test_addresses_that_are_in_each_others_way(tmp_path: Path, held: str, family: str, wanted: str) -> None:
    if family == "AF_INET6" and not Path("/proc/net/if_inet6").exists():
        pytest.skip("this system has no IPv6")
    with held_elsewhere(tmp_path, held, family) as (pid, port):
        with pytest.raises(PortInUseError) as caught:
            RouterServer(interface=wanted, rpc_port=0, broadcast_port=port)
        assert_names(caught.value, pid)


@linux
def test_a_neighbour_at_another_address_is_not_accused(tmp_path: Path) -> None:
    with held_elsewhere(tmp_path, "127.0.0.1") as (_, port):
        assert tenant.tenant_of(Endpoint.of("tcp", "127.0.0.2", port)) is None
        with RouterServer(interface="127.0.0.2", rpc_port=port, broadcast_port=0) as server:
            assert server.rpc_port == port


@linux
def test_who_has_an_ipc_path_is_named(tmp_path: Path) -> None:
    with held_elsewhere(tmp_path, f"{tmp_path}/rig:77", "AF_UNIX") as (pid, _):
        with pytest.raises(PortInUseError) as caught:
            RouterServer("ipc", f"{tmp_path}/rig", rpc_port=77, broadcast_port=78)
        assert_names(caught.value, pid)


@linux
def test_the_fault_proxy_says_it_too(tmp_path: Path) -> None:
    with held_elsewhere(tmp_path, "127.0.0.1") as (pid, port):
        with pytest.raises(PortInUseError) as caught:
            FaultProxy(1, 2, listen_ports=(port, 0))
        assert_names(caught.value, pid)


@pytest.mark.parametrize("protocol", ["tcp", "inproc"])
@linux
def test_another_server_of_this_process(protocol: str) -> None:
    with (
        RouterServer(protocol, rpc_port=0, broadcast_port=0) as server,
        pytest.raises(PortInUseError, match="another server in this process"),
    ):
        RouterServer(protocol, rpc_port=server.rpc_port, broadcast_port=0)


def test_psutil_tells_where_proc_does_not(tmp_path: Path) -> None:
    pytest.importorskip("psutil")
    with held_elsewhere(tmp_path, "127.0.0.1") as (pid, port):
        found = by_psutil(Endpoint.of("tcp", "127.0.0.1", port))
        assert found is not None
        assert found.pid == pid
        assert found.program.endswith("rig.py")
    assert by_psutil(Endpoint.of("tcp", "127.0.0.1", port)) is None


def test_without_psutil_nothing_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "psutil", None)
    monkeypatch.setattr(tenant.sys, "platform", "darwin")
    endpoint = Endpoint.of("tcp", "127.0.0.1", 5555)
    error = port_in_use(endpoint)
    assert str(error) == "tcp://127.0.0.1:5555 is in use by another program or server"
    assert error.details == {"endpoint": "tcp://127.0.0.1:5555"}


@linux
@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root can become somebody else")
def test_a_process_of_somebody_else_is_not_named() -> None:
    script = (
        "import os, sys; sys.path.insert(0, sys.argv[1])\n"
        "from one_liner.transport.endpoints import Endpoint\n"
        "from one_liner.transport.tenant import port_in_use\n"
        "os.setgid(65534); os.setuid(65534)\n"
        "print(port_in_use(Endpoint.of('tcp', '127.0.0.1', int(sys.argv[2]))))"
    )
    with socket.socket() as ours:
        ours.bind(("127.0.0.1", 0))
        ours.listen()
        port = ours.getsockname()[1]
        command = [sys.executable, "-c", script, str(Path(tenant.__file__).parents[2]), str(port)]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout == f"tcp://127.0.0.1:{port} is in use by another program or server\n"


@pytest.mark.parametrize(
    ("words", "shown"),
    [
        (["/usr/bin/python3", "/home/anna/rig.py", "--password=secret"], "python3 /home/anna/rig.py"),
        (["python", "-m", "lab.rig", "secret"], "python -m lab.rig"),
        (["nginx: master process"], "nginx: master process"),
        ([""], ""),
        ([], ""),
    ],
)
def test_a_program_is_named_without_its_arguments(words: list[str], shown: str) -> None:
    assert tenant._program(words) == shown


def test_a_tenant_in_words() -> None:
    assert str(Tenant(1, "init")) == "init (pid 1)"
