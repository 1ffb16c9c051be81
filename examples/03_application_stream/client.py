"""Start a scan and draw its points as they come in."""

from __future__ import annotations

import argparse

from one_liner import RouterClient

POINTS = 101


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rpc-port", default="5555")
    rpc_port = parser.parse_args().rpc_port

    with RouterClient(rpc_port=rpc_port, broadcast_port=None) as client:
        # A queue, because every point counts; `wait`, because the first one does too: it returns when we are listening.
        client.configure_stream("spectrum", "queue", wait=True)
        client.call("spectrometer", "start_scan", [530.0, 590.0, POINTS])

        spectrum: list[tuple[float, int]] = []
        while len(spectrum) < POINTS:
            sample = client.get_stream("spectrum", block=True, timeout_s=5)
            wavelength_nm, counts = sample.data
            spectrum.append((wavelength_nm, counts))
            print(f"#{sample.sequence:<4} {wavelength_nm:6.1f} nm {counts:5d} {'*' * (counts // 100)}")

        strongest_nm, _ = max(spectrum, key=lambda point: point[1])
        print(f"{len(spectrum)} points, the strongest line is near {strongest_nm:.1f} nm")


if __name__ == "__main__":
    main()
