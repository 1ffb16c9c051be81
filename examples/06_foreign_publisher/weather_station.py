"""A weather station by somebody else: bare ZeroMQ, its own format, and no idea that one_liner exists."""

from __future__ import annotations

import argparse
import json
import random
import time
from contextlib import suppress

import zmq


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", default="5570", help="0 takes a free port")
    port = parser.parse_args().port

    with zmq.Context() as context, context.socket(zmq.PUB) as publisher:
        publisher.bind(f"tcp://127.0.0.1:{'*' if port == '0' else port}")
        print(f"publishing at {publisher.getsockopt_string(zmq.LAST_ENDPOINT)}", flush=True)
        while True:
            reading = {"temperature_c": round(random.gauss(21, 0.1), 2), "humidity": round(random.gauss(0.45, 0.01), 3)}
            publisher.send_multipart([b"station/7", json.dumps(reading).encode()])
            time.sleep(0.1)


if __name__ == "__main__":
    with suppress(KeyboardInterrupt):
        main()
