"""Drive the laser two servers away: the names grow longer, nothing else changes."""

from __future__ import annotations

import argparse

from one_liner import RouterClient


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rpc-port", default="5575", help="the RPC port of institute.py")
    rpc_port = parser.parse_args().rpc_port

    with RouterClient(rpc_port=rpc_port, broadcast_port=None) as client:
        print(f"the lab is at {client.call('lab/thermometer'):.1f} °C")

        laser = client.proxy("lab/table/laser")
        print(f"power set to {laser.set_power(30)} mW")
        try:
            laser.set_power(500)
        except ValueError as error:  # raised on the first server, caught behind the third
            print(f"refused: {error}")

        # The samples cross the wire between the servers only while somebody listens.
        client.configure_stream("lab/table/power", "queue")
        for _ in range(5):
            sample = client.get_stream("lab/table/power", block=True, timeout_s=5)
            print(f"{sample.timestamp:.3f} s: {sample.data:.2f} mW, sample {sample.sequence} of the instrument")

        client.call_by_name("lab/table/laser_off")
        print(f"power is {laser.power_mw} mW")


if __name__ == "__main__":
    main()
