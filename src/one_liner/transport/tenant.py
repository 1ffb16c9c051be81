"""Who has an address of this machine, for the one who finds it taken.

Linux tells by `/proc`, of processes that we may look into: our own user's, or all of them for root. Elsewhere psutil is
asked, if it is installed. Where nobody tells, nothing is said.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from ipaddress import IPv4Address, IPv6Address, ip_address
from pathlib import Path
from textwrap import shorten
from typing import Final, NamedTuple

from one_liner.errors import ConfigurationError, PortInUseError
from one_liner.transport.endpoints import Endpoint

_PROC: Final = Path("/proc")
_TCP_LISTEN: Final = "0A"
_UNIX_LISTENS: Final = 1 << 16
_SHOWN: Final = 80

Address = IPv4Address | IPv6Address


class Tenant(NamedTuple):
    """A process that has an address.

    Attributes:
        pid: its number.
        program: what runs in it: `python rig.py`.
    """

    pid: int
    program: str

    def __str__(self) -> str:
        return "another server in this process" if self.pid == os.getpid() else f"{self.program} (pid {self.pid})"


def port_in_use(endpoint: Endpoint) -> PortInUseError:
    """The error of an address that is taken; it says by whom where the system tells.

    Its `details` have the `endpoint`, and `pid` and `program` where they are known.
    """
    tenant = tenant_of(endpoint)
    if tenant is None:
        return PortInUseError(f"{endpoint} is in use by another program or server", endpoint=str(endpoint))
    return PortInUseError(
        f"{endpoint} is in use by {tenant}", endpoint=str(endpoint), pid=tenant.pid, program=tenant.program
    )


def tenant_of(endpoint: Endpoint) -> Tenant | None:
    """Who listens at an address, or at one that is in its way; None where that cannot be found out."""
    if endpoint.protocol == "inproc":
        return Tenant(os.getpid(), _program(sys.orig_argv))
    if sys.platform == "linux":
        return _by_proc(endpoint)
    return None if endpoint.protocol == "ipc" else by_psutil(endpoint)


def by_psutil(endpoint: Endpoint) -> Tenant | None:
    """Who listens at a tcp address, as psutil tells of those processes that it may look into."""
    try:
        import psutil
    except ImportError:
        return None
    wanted = _wanted(endpoint)
    for process in psutil.process_iter():
        try:
            listens = any(
                one.status == psutil.CONN_LISTEN
                and one.laddr.port == endpoint.port
                and _collide(ip_address(one.laddr.ip.partition("%")[0]), wanted)
                for one in process.net_connections("tcp")
            )
            if listens:
                return Tenant(process.pid, _program(process.cmdline()) or process.name())
        except (psutil.Error, OSError):  # It is somebody else's, or has ended meanwhile.
            continue
    return None


def _by_proc(endpoint: Endpoint) -> Tenant | None:
    try:
        listening = set(_tcp_inodes(endpoint) if endpoint.protocol == "tcp" else _unix_inodes(str(endpoint)))
        sockets = {f"socket:[{inode}]" for inode in listening}
        pids = sorted(int(entry.name) for entry in _PROC.iterdir() if entry.name.isdecimal())
    except OSError:  # A system that hides it.
        return None
    for pid in pids if sockets else ():
        try:
            process = _PROC / str(pid)
            if any(_target(entry) in sockets for entry in (process / "fd").iterdir()):
                words = (process / "cmdline").read_bytes().decode(errors="replace").split("\0")
                return Tenant(pid, _program(words) or (process / "comm").read_text().strip())
        except OSError:  # It is somebody else's, or has ended meanwhile.
            continue
    return None


def _target(link: Path) -> str:
    try:
        return os.readlink(link)
    except FileNotFoundError:  # A descriptor that was closed meanwhile, such as that of the listing.
        return ""


def _tcp_inodes(endpoint: Endpoint) -> Iterator[str]:
    wanted = _wanted(endpoint)
    for table in (_PROC / "net" / "tcp", _PROC / "net" / "tcp6"):
        if not table.exists():  # A system without IPv6.
            continue
        for line in table.read_text().splitlines()[1:]:
            _, local, _, state, *rest = line.split()
            host, _, port = local.partition(":")
            if state == _TCP_LISTEN and int(port, 16) == endpoint.port and _collide(_address(host), wanted):
                yield rest[5]


def _unix_inodes(text: str) -> Iterator[str]:
    path = text.removeprefix("ipc://")
    for line in (_PROC / "net" / "unix").read_text().splitlines()[1:]:
        _, _, _, flags, _, _, inode, *name = line.split(maxsplit=7)
        if name == [path] and int(flags, 16) & _UNIX_LISTENS:
            yield inode


def _address(digits: str) -> Address:
    """An address as the kernel writes it: words of 32 bits, each in the byte order of the machine."""
    words = (int(digits[at : at + 8], 16).to_bytes(4, sys.byteorder) for at in range(0, len(digits), 8))
    return ip_address(b"".join(words))


def _wanted(endpoint: Endpoint) -> Address | None:
    """The address that was to be bound; None for the name of an interface, which may have several, and for all."""
    try:
        return ip_address(endpoint.to_bind().removeprefix("tcp://").rpartition(":")[0].strip("[]"))
    except (ValueError, ConfigurationError):
        return None


def _collide(held: Address, wanted: Address | None) -> bool:
    """Whether two addresses cannot be bound at once with the same port."""
    if isinstance(held, IPv6Address) and held.ipv4_mapped is not None:
        held = held.ipv4_mapped
    return wanted is None or held.is_unspecified or wanted.is_unspecified or held == wanted


def _program(words: list[str]) -> str:
    """The words by which people know a program, `python rig.py` or `python -m rig`, and none of its arguments."""
    shown = words[: 3 if words[1:2] == ["-m"] else 2]
    return shorten(" ".join([os.path.basename(shown[0]), *shown[1:]]), _SHOWN) if shown and shown[0] else ""
