"""Drive the laser from another process, and watch its power."""

from __future__ import annotations

import argparse

from one_liner import RouterClient


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rpc-port", default="5555")
    rpc_port = parser.parse_args().rpc_port

    # One address is enough: the client asks the server where it broadcasts.
    with RouterClient(rpc_port=rpc_port, broadcast_port=None) as client:
        laser = client.proxy("laser")
        print(f"wavelength: {laser.wavelength_nm} nm")
        print(f"power set to {laser.set_power(25)} mW")

        client.configure_stream("laser_power", "queue")
        for _ in range(5):
            timestamp, power_mw = client.get_stream("laser_power", block=True, timeout_s=5)
            print(f"{timestamp:.3f} s: {power_mw:.2f} mW")

        laser.set_power(0)


if __name__ == "__main__":
    main()
