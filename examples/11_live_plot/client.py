"""Plot a stream while it comes in. Without a screen, the plot goes to a file instead."""

from __future__ import annotations

import argparse
import time

import matplotlib.pyplot as plt

from one_liner import RouterClient
from one_liner.errors import NoDataError


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rpc-port", default="5555")
    parser.add_argument("--seconds", type=float, default=10.0, help="how long to watch")
    parser.add_argument("--save", default="ringdown.png", help="the file, when there is no screen")
    arguments = parser.parse_args()

    figure, axes = plt.subplots()
    axes.set(xlabel="time / s", ylabel="displacement / µm", title="ring-down")
    (line,) = axes.plot([], [])
    on_screen = plt.get_backend().lower() != "agg"  # matplotlib falls back to it when there is no screen

    times_s: list[float] = []
    displacements_um: list[float] = []
    with RouterClient(rpc_port=arguments.rpc_port, broadcast_port=None) as client:
        client.configure_stream("displacement", "queue", wait=True)
        client.call("resonator", "kick")
        start = time.perf_counter()
        while time.perf_counter() < start + arguments.seconds and plt.fignum_exists(figure.number):
            try:
                while True:  # all that came since the last look; never waits
                    timestamp, displacement_um = client.get_stream("displacement")
                    times_s.append(timestamp - start)  # both are of this computer's time.perf_counter()
                    displacements_um.append(displacement_um)
            except NoDataError:
                pass
            line.set_data(times_s, displacements_um)
            axes.relim()
            axes.autoscale_view()
            (plt.pause if on_screen else time.sleep)(0.05)

    if not times_s:
        raise SystemExit("not a single sample came")
    print(f"{len(times_s)} samples in {arguments.seconds:g} s")
    if not on_screen:
        figure.savefig(arguments.save)
        print(f"saved {arguments.save}")


if __name__ == "__main__":
    main()
