"""A peer that hangs up while much of what it said still waits here: it must not take our process with it.

libzmq 4.3.5 aborts, with `Assertion failed: !_io_error`, when one of its own pings is due on such a connection.
"""

from __future__ import annotations

import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
MANY = 5000
VICTIM = """
import subprocess, sys, zmq
from one_liner.transport.sockets import open_socket
kind, other, patience_s = {kind!r}, {other!r}, {patience_s!r}
socket = open_socket(zmq.Context(), getattr(zmq, kind), heartbeat_s=0.05, patience_s=patience_s)
port = socket.bind_to_random_port("tcp://127.0.0.1")
if kind == "SUB":
    socket.subscribe(b"")
monitor = socket.get_monitor_socket(zmq.Event.DISCONNECTED)
peer = subprocess.Popen([sys.executable, "-c", {peer!r}, str(port)])
assert socket.poll(30_000), "the first message"
assert peer.wait() == 0
# Nobody reads, and the peer is gone. Now many pings would have been due.
monitor.poll(500)
for _ in range(20):
    socket.poll(50, 0)
    monitor.poll(50)
received = 0
while socket.poll(500):
    socket.recv_multipart()
    received += 1
assert received > 500, received
monitor.close()
socket.close()
print("alive")
"""
PEER = """
import os, sys, time, zmq
socket = zmq.Context().socket(getattr(zmq, {other!r}))
socket.sndhwm = 0
socket.connect("tcp://127.0.0.1:" + sys.argv[1])
if {other!r} == "XPUB":
    socket.recv()  # the subscription
for _ in range({many}):
    socket.send(b"x" * 20)
time.sleep(0.5)  # until they have left
os._exit(0)
"""


@pytest.mark.parametrize(
    ("kind", "other", "patience_s"),
    [
        ("ROUTER", "DEALER", None),
        ("DEALER", "DEALER", None),
        ("SUB", "XPUB", None),
        ("XPUB", "XSUB", None),
        ("DEALER", "DEALER", 0.5),  # the one connection of a client that is pinged by libzmq
    ],
)
def test_a_full_queue_and_a_broken_connection_end_nobody(kind: str, other: str, patience_s: float | None) -> None:
    peer = textwrap.dedent(PEER.format(other=other, many=MANY))
    victim = VICTIM.format(kind=kind, other=other, patience_s=patience_s, peer=peer)
    ended = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", victim], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert ended.stdout.strip() == "alive", f"{ended.returncode}: {ended.stderr[-2000:]}"
