"""Call a `RouterServer` and read a stream with nothing but ZeroMQ and msgpack, as a client in any language would.

    python bare_client.py HOST RPC_PORT OBJECT METHOD STREAM [ARGUMENT]...

The layouts are those of `protocol.md`. Values that msgpack does not know arrive as `ExtType`.
"""

# ruff: noqa: T201
from __future__ import annotations

import itertools
import json
import os
import secrets
import struct
import sys
from typing import Any

import msgpack
import zmq

PREFIX = struct.Struct("<2sBBQ")  # magic, version, kind, id
REQUEST = struct.Struct("<2sBBQQHBH")  # prefix; client, buffers, hops, length of the path
REPLY = struct.Struct("<2sBBQHdf")  # prefix; buffers, timestamp, its error
SAMPLE = struct.Struct("<2sBBQHQBdfd")  # prefix; buffers, origin, encoding, timestamp, its error, wall time
CALL, HEARTBEAT, RESULT, ERROR, SAMPLED, FAILURE = 1, 6, 64, 65, 128, 129
CLIENT = secrets.randbits(63)
IDS = itertools.count(1)  # they have to grow


def ask(socket: Any, kind: int, path: str, content: Any) -> Any:
    """Send one request and wait for its reply."""
    request_id, name = next(IDS), path.encode()
    head = REQUEST.pack(b"1L", 1, kind, request_id, CLIENT, 0, 0, len(name))
    socket.send(head + name + msgpack.packb(content))
    while True:
        head, *buffers = socket.recv_multipart()
        _, version, kind, reply_id = PREFIX.unpack_from(head)
        if version != 1 or kind == 66:
            raise SystemExit(head[PREFIX.size :].decode(errors="replace"))
        if reply_id in (request_id, 0) and kind in (RESULT, ERROR):
            break
    body = head[REPLY.size :] or buffers[0]
    value = msgpack.unpackb(body, strict_map_key=False)
    if kind == ERROR:
        raise SystemExit(f"{value['code']}: {value['type']}: {value['message']}\n{value['traceback']}")
    return value


def main() -> None:
    """Say hello, call once, read three samples."""
    host, port, obj_name, attr_name, stream, *arguments = sys.argv[1:]
    with zmq.Context() as context, context.socket(zmq.DEALER) as rpc, context.socket(zmq.SUB) as streams:
        rpc.setsockopt(zmq.ROUTING_ID, b"b" + os.urandom(12))  # who is nobody cannot act
        rpc.connect(f"tcp://{host}:{port}")
        hello = ask(rpc, HEARTBEAT, "", ["bare client", 1.0, {}])
        print(f"{hello['name']} runs one_liner {hello['version']}")
        print(ask(rpc, CALL, obj_name, [attr_name, [json.loads(word) for word in arguments], {}]))

        topic = stream.encode() + b"\0"
        streams.subscribe(topic)
        streams.connect(f"tcp://{host}:{hello['broadcast_port']}")
        missing = 3
        while missing:
            head, *buffers = streams.recv_multipart()
            if PREFIX.unpack_from(head, len(topic))[2] not in (SAMPLED, FAILURE):
                continue  # ballast, behind a large sample
            missing -= 1
            fields = SAMPLE.unpack_from(head, len(topic))
            kind, sequence, encoding = fields[2], fields[3], fields[6]
            body = head[len(topic) + SAMPLE.size :] or (buffers[0] if buffers else b"")
            readable = kind == FAILURE or encoding == 1
            value = msgpack.unpackb(body, strict_map_key=False) if readable else body
            print(f"{stream} #{sequence} ({'failed' if kind == FAILURE else 'made'} at {fields[9]:.3f}): {value}")


if __name__ == "__main__":
    main()
