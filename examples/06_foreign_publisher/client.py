"""Read the weather: what arrives are the stranger's bytes, and only we know that they are JSON."""

from __future__ import annotations

import argparse
import json

from one_liner import RouterClient


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rpc-port", default="5555")
    rpc_port = parser.parse_args().rpc_port

    with RouterClient(rpc_port=rpc_port, broadcast_port=None) as client:
        client.configure_stream("weather", "queue")
        for _ in range(5):
            timestamp, payload = client.get_stream("weather", block=True, timeout_s=5)
            reading = json.loads(payload)
            print(f"{timestamp:.3f} s: {reading['temperature_c']} °C, {reading['humidity']:.1%} humidity")


if __name__ == "__main__":
    main()
