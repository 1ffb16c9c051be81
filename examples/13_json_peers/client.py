"""The other end in plain ZeroMQ and JSON. Nothing here knows one_liner: this could be C, MATLAB or LabVIEW."""

from __future__ import annotations

import argparse
import json
import struct

import zmq

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--command-port", default="5557")
parser.add_argument("--broadcast-port", default="5556")
ports = parser.parse_args()

context = zmq.Context()
commands = context.socket(zmq.REQ)
commands.connect(f"tcp://127.0.0.1:{ports.command_port}")
events = context.socket(zmq.SUB)
events.connect(f"tcp://127.0.0.1:{ports.broadcast_port}")
for topic in (1001, 2001, 4001, 6001):  # heartbeats, emergencies, events, results of commands
    events.subscribe(struct.pack("<I", topic))


def command(number: int, nonce: int, **data: float) -> dict:
    commands.send_json({"command": number, "nonce": nonce, "data": data})
    return commands.recv_json()


def next_event() -> tuple[int, dict]:
    topic, content = events.recv_multipart()
    return struct.unpack("<I", topic)[0], json.loads(content)


while next_event()[0] != 1001:  # With the first heartbeat we are subscribed.
    pass
print("status:", command(400, nonce=1)["data"])
answer = command(1000, nonce=2, targetCelsius=100)
print("heating:", "goes on" if answer["result"] == 201 else answer)
while True:
    topic, content = next_event()
    if topic == 4001:
        print("event", content["kind"], content["context"])
    elif topic == 6001 and content["nonce"] == 2:
        print("heating ended:", content["result"], content["data"])
        break
print("nobody knows 4711:", command(4711, nonce=3)["errorMessage"])
context.destroy(linger=0)
