"""Have a scan run, watch it, cancel a second one, and hear what happens meanwhile, emergencies first."""

from __future__ import annotations

import argparse

from one_liner import RouterClient
from one_liner.errors import JobCancelledError


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rpc-port", default="5555", help="the server's RPC port")
    rpc_port = parser.parse_args().rpc_port

    with RouterClient(rpc_port=rpc_port, broadcast_port=None) as client:
        client.on_event(lambda event: print(f"  {event.topic}: {event.kind} {event.context}"), ["event", "emergency"])

        job = client.submit("stage", "scan", [10])
        print(f"accepted: {job.id}")
        for info in job.updates():
            print(f"{info.state}: {info.progress}")
        position_mm, signal = max(job.result(), key=lambda point: point[1])
        print(f"best at {position_mm:.1f} mm, where the signal is {signal:.2f}")
        print(f"log: {job.log()}")

        second = client.submit("stage", "scan", [10], {"points": 1000})
        for info in second.updates():
            if info.progress.fraction:
                break
        client.call("stage", "touch", [25.0])  # urgent: it does not wait for the scan
        second.cancel()
        try:
            second.result(timeout_s=5)
        except JobCancelledError as error:
            print(error)

        # Whoever comes later can ask what happened.
        print(f"kept: {client.events('emergency', last=1)[0]}")
        for info in client.jobs():
            print(f"{info.id} {info.command} {info.state}")


if __name__ == "__main__":
    main()
