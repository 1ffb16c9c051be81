"""The same stream read twice: a queue hands out every sample, a cache the newest one.

Both readers come by only five times a second, twenty times slower than the stream.
"""

from __future__ import annotations

import argparse
import time
from itertools import pairwise

from one_liner import RouterClient
from one_liner.errors import NoDataError


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rpc-port", default="5555")
    rpc_port = parser.parse_args().rpc_port

    with (
        RouterClient(rpc_port=rpc_port, broadcast_port=None, name="log") as log,
        RouterClient(rpc_port=rpc_port, broadcast_port=None, name="display") as display,
    ):
        log.configure_stream("angle", "queue", wait=True)
        display.configure_stream("angle", "cache", wait=True)

        logged: list[int] = []
        shown: list[int] = []
        for _ in range(10):
            time.sleep(0.2)

            # The log empties its queue: nothing was lost while it was away.
            new = 0
            while True:
                try:
                    logged.append(log.get_stream("angle").sequence)
                except NoDataError:
                    break
                new += 1

            # The display takes the one that is worth showing.
            sample = display.get_stream("angle")
            shown.append(sample.sequence)
            age_ms = 1000 * (time.perf_counter() - sample.timestamp)
            print(f"log: {new:3d} new samples | display: {sample.data:5.1f} deg, {age_ms:4.1f} ms old")

        gaps = sum(after - before - 1 for before, after in pairwise(logged))
        print(f"queue: {len(logged)} samples, {gaps} missing")
        print(f"cache: {len(shown)} samples out of {shown[-1] - shown[0] + 1}")
        print(f"the cache's own account: {display.stream_statistics('angle')}")
        if gaps:
            raise SystemExit("the queue lost samples")


if __name__ == "__main__":
    main()
