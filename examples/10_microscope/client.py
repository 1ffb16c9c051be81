"""Take an image, watch the stage travel, then look at the live view."""

from __future__ import annotations

import argparse
from concurrent.futures import ThreadPoolExecutor

from one_liner import RouterClient


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rpc-port", default="5555")
    rpc_port = parser.parse_args().rpc_port

    with RouterClient(rpc_port=rpc_port, broadcast_port=None) as client, ThreadPoolExecutor() as background:
        camera = client.proxy("camera")
        stage = client.proxy("stage")
        client.configure_stream("frames", "queue", wait=True)
        client.configure_stream("position", "cache", wait=True)

        # One image: a trigger by call, the frame by stream, as the numpy array it is.
        camera.set_exposure_time(0.02)
        camera.trigger()
        image = client.get_stream("frames", block=True, timeout_s=5).data
        print(f"image: {image.shape[1]} x {image.shape[0]}, {image.dtype}, mean {image.mean():.0f}")

        # `move_to` returns when the stage has arrived; where it is on its way is a stream.
        move = background.submit(stage.move_to, {"x": 800.0, "y": -400.0})
        while not move.done():
            here = client.get_stream("position", block=True, timeout_s=5).data
            print(f"stage at x = {here['x']:6.1f} µm, y = {here['y']:6.1f} µm")
        move.result()
        print(f"arrived at {stage.position}")

        # Live view: let the server give the triggers.
        client.enable_stream("live")
        for _ in range(10):
            sample = client.get_stream("frames", block=True, timeout_s=5)
            print(f"frame {sample.sequence} at {sample.timestamp:.3f} s, mean {sample.data.mean():.0f}")
        client.disable_stream("live")


if __name__ == "__main__":
    main()
