"""Listen to all streams of the cryostat at once, and compare the rates asked for with the rates received."""

from __future__ import annotations

import argparse
import time
from collections import Counter

from one_liner import RouterClient


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rpc-port", default="5555")
    parser.add_argument("--seconds", type=float, default=3.0, help="how long to listen")
    arguments = parser.parse_args()

    with RouterClient(rpc_port=arguments.rpc_port, broadcast_port=None) as client:
        streams = client.get_stream_configurations()  # what the server offers, as it is right now
        received: Counter[str] = Counter()
        for name in streams:
            client.on_sample(name, lambda sample: received.update([sample.stream]))
        time.sleep(arguments.seconds)

        print(f"{'stream':<12} {'asked':>9} {'achieved':>9} {'received':>9}")
        for name, stream in client.get_stream_configurations().items():
            rate_hz = received[name] / arguments.seconds
            print(f"{name:<12} {stream.frequency_hz:>6g} Hz {stream.achieved_hz:>6.1f} Hz {rate_hz:>6.1f} Hz")

        if any(received[name] == 0 for name in streams):
            raise SystemExit("a stream stayed silent")


if __name__ == "__main__":
    main()
