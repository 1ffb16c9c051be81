"""A hundred peers at one control service: some send garbage, some die in mid-request, and nobody else notices."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from threading import Event, Thread
from typing import Any

import pytest
import zmq

from one_liner.control import Command, CommandRequest, ControlService
from tests.conftest import poll_until

PEERS, ROUNDS = 100, 10
PATIENCE_MS = 30_000
GARBAGE = [b"garbage", b"", b"\xff\xfe\x00", b"[" * 10_000, b'{"command": "x"}', b'{"nonce": 1}', b"null"]

DYING_PEERS = """\
import sys, zmq
context = zmq.Context()
peers = [context.socket(zmq.REQ) for _ in range(20)]
for number, peer in enumerate(peers):
    peer.connect(sys.argv[1])
    peer.send(b'{"command": 100, "nonce": %d}' % (number + 1))
print("sent", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def service() -> Iterator[ControlService]:
    # However loaded the machine is, nobody is told that what takes no time goes on.
    with ControlService(broadcast_port=0, command_port=0, patience_s=PATIENCE_MS / 1000) as made:
        made.add_handler(Command.GET_STATUS, lambda request: request.data)
        made.start()
        yield made


def _good(context: zmq.Context[Any], address: str, number: int, wrong: list[Any]) -> None:
    with context.socket(zmq.REQ) as req:
        req.linger = 0
        req.connect(address)
        for nonce in range(1, ROUNDS + 1):
            told = {"peer": number, "round": nonce}
            req.send_json({"command": 400, "nonce": nonce, "data": told})
            answer = req.recv_json() if req.poll(PATIENCE_MS) else None
            if answer is None or (answer["nonce"], answer["result"], answer["data"]) != (nonce, 100, told):
                wrong.append((number, answer))
                return


def _bad(context: zmq.Context[Any], address: str, number: int, wrong: list[Any]) -> None:
    with context.socket(zmq.REQ) as req:
        req.linger = 0
        req.connect(address)
        for turn in range(ROUNDS):
            req.send(GARBAGE[(number + turn) % len(GARBAGE)])
            answer = req.recv_json() if req.poll(PATIENCE_MS) else None
            if answer is None or (answer["nonce"], answer["result"]) != (0, 0):
                wrong.append((number, answer))
                return


def test_a_hundred_peers_of_whom_some_send_garbage_and_some_die(service: ControlService) -> None:
    begun: list[int] = []
    gate = Event()

    def start(request: CommandRequest) -> None:
        begun.append(request.nonce)
        gate.wait(30)

    service.add_handler(Command.START_ACQUISITION, start, lane=None)
    dying = [
        subprocess.Popen(
            [sys.executable, "-c", DYING_PEERS, service.command_endpoint], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        for _ in range(2)
    ]
    wrong: list[Any] = []
    context: zmq.Context[Any] = zmq.Context()
    try:
        poll_until(lambda: len(begun) >= 40, what="the commands of those who will die")
        peers = [
            Thread(target=_bad if number % 5 == 0 else _good, args=(context, service.command_endpoint, number, wrong))
            for number in range(PEERS)
        ]
        for peer in peers:
            peer.start()
        for process in dying:  # In mid-request, and in the middle of everybody else's.
            process.send_signal(signal.SIGKILL if hasattr(signal, "SIGKILL") else signal.SIGTERM)
        for peer in peers:
            peer.join()
    finally:
        gate.set()
        for process in dying:
            process.kill()
            process.communicate()
        context.destroy(0)
    assert not wrong
    assert sorted(begun) == sorted([*range(1, 21)] * 2)  # Each of theirs ran, once.


def test_those_who_do_not_read_their_answers_delay_nobody(service: ControlService) -> None:
    large = "x" * 100_000
    service.add_handler(Command.GET_CONFIGURATION, lambda request: large, lane=None)
    context: zmq.Context[Any] = zmq.Context()
    deaf = context.socket(zmq.DEALER)
    deaf.set_hwm(1)
    deaf.connect(service.command_endpoint)
    wrong: list[Any] = []
    for nonce in range(1, 500):
        deaf.send(json.dumps({"command": 300, "nonce": nonce}).encode())
    _good(context, service.command_endpoint, 1, wrong)
    context.destroy(0)
    assert not wrong


def test_a_command_takes_no_tick_of_a_clock(service: ControlService) -> None:
    """Nothing polls: commands one after the other wait for nothing but themselves."""
    with zmq.Context() as context, context.socket(zmq.REQ) as req:
        req.connect(service.command_endpoint)
        took = []
        for nonce in range(1, 301):
            begun = time.perf_counter()
            req.send_json({"command": 400, "nonce": nonce})
            assert req.poll(PATIENCE_MS)
            req.recv()
            took.append(time.perf_counter() - begun)
    assert sorted(took)[len(took) // 10] < 0.02  # Of a loaded machine the quick ones tell.
