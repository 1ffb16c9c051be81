"""How old a sample is when a browser has it: `python -m benchmarks.browser`.

A `RouterServer` makes samples at a fixed rate; `one-liner gateway` brings them to a real Chromium, whose page opens the
WebSockets and compares each sample's wall-clock time with its own clock, which on one machine is the same. In the same
page, at the same time, other WebSockets lead to a bare FastAPI application that does nothing but send the time at the
same rate: what the machine and the browser take, both have. The server, the gateway, the bare application and the
browser are processes of their own.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import time
from multiprocessing.connection import Connection
from typing import Any

import uvicorn
from fastapi import FastAPI, WebSocket, WebSocketDisconnect

from benchmarks.children import Children
from benchmarks.figures import percentile
from benchmarks.gateway import free_port
from tests.browser import Browser, chromium
from tests.conftest import poll_until
from tests.gateway_process import GatewayProcess

RATES_HZ = (20.0, 100.0)
WATCHERS = (1, 20)
START_S = 60.0
_WARM_S = 2.0
_SUBSCRIBE = {"request": {"method": "subscribe", "arguments": {"topics": ["samples"]}, "call_id": "0" * 32}}

WAYS = {
    "stream": "/api/streams/samples/ws",
    "broadcast": "/ws/stream?stream=samples&rate_hz={rate_hz:g}",
    "topic": "/pubsub",
}
"""Where a browser gets samples: a stream's own WebSocket, the one that is switched for all, and as a topic."""

HELLO: dict[str, list[Any]] = {"stream": [], "broadcast": [{"action": "start"}], "topic": [_SUBSCRIBE]}
"""What it says there first."""

PAGE = """(() => {
    const now = () => performance.timeOrigin + performance.now();
    const hello = %(hello)s;
    const ages = {ours: [], bare: []};
    const sockets = [];
    const run = window.run = {ages, sockets, ended: 0, missed: 0};
    function open(url, ages) {
        const socket = new WebSocket(url);
        let last = -1;
        socket.onopen = () => hello.forEach((text) => socket.send(text));
        socket.onclose = () => { run.ended += 1; };
        socket.onmessage = (event) => {
            const arrived = now();
            const message = JSON.parse(event.data);
            const request = message.request;
            const sample = request ? request.arguments.data : message;
            if (request) {
                const response = {result: null, result_type: null, call_id: request.call_id};
                socket.send(JSON.stringify({request: null, response}));
            }
            if (sample.sequence === undefined) return;
            ages.push(arrived - 1000 * sample.timestamp);
            if (last >= 0) run.missed += sample.sequence - last - 1;
            last = sample.sequence;
        };
        sockets.push(socket);
    }
    for (let i = 0; i < %(watchers)d; i++) {
        open("%(ours)s", ages.ours);
        open("%(bare)s", ages.bare);
    }
})()"""

ALL_OPEN = "window.run.sockets.every((socket) => socket.readyState === WebSocket.OPEN)"
CLEAR = "(() => { for (const ages of Object.values(window.run.ages)) ages.length = 0; })()"
TAKE = "(() => { window.run.sockets.forEach((socket) => socket.close()); return window.run.ages; })()"


def serve(rate_hz: float, out: Connection) -> None:
    """An instrument with one stream."""
    from one_liner import RouterServer

    with RouterServer(rpc_port=0, broadcast_port=0) as server:
        server.add_stream_from_callable("samples", rate_hz, time.monotonic)
        server.run()
        out.send(server.rpc_port)
        out.recv()


def run_bare(rate_hz: float, port: int, _: Connection) -> None:
    """An application that sends the time."""

    async def tell_the_time(websocket: WebSocket) -> None:
        await websocket.accept()
        due = asyncio.get_running_loop().time()
        with contextlib.suppress(WebSocketDisconnect, RuntimeError):
            for number in range(10**9):
                await websocket.send_text(json.dumps({"timestamp": time.time(), "sequence": number, "value": 1.0}))
                due += 1 / rate_hz
                await asyncio.sleep(due - asyncio.get_running_loop().time())

    app = FastAPI()
    app.add_api_websocket_route("/bare", tell_the_time)
    uvicorn.run(app, port=port, log_level="warning", ws_per_message_deflate=False)


def ages_ms(browser: Browser, ours: str, bare: str, watchers: int, way: str, seconds: float) -> dict[str, list[float]]:
    """How old samples were on arrival, of all watchers together."""
    texts = json.dumps([json.dumps(one) for one in HELLO[way]])
    browser.evaluate(PAGE % {"hello": texts, "watchers": watchers, "ours": ours, "bare": bare})
    poll_until(lambda: browser.evaluate(ALL_OPEN), START_S, "all sockets to be open")
    time.sleep(_WARM_S)
    browser.evaluate(CLEAR)
    time.sleep(seconds)
    for word in ("ended", "missed"):
        if count := browser.evaluate(f"window.run.{word}"):
            print(f"  {count} {word}")
    found: dict[str, list[float]] = browser.evaluate(TAKE)
    return found


def wait_for_stream(gateway: GatewayProcess, name: str) -> None:
    """Until the gateway has a sample of it."""
    poll_until(lambda: gateway.get(f"/api/streams/{name}/last").status == 200, START_S, f"a sample of {name}")


def measure(browser: Browser, rate_hz: float, watchers: list[int], ways: list[str], seconds: float) -> None:
    """All ways and numbers of watchers at one rate, one after the other."""
    with Children() as children, contextlib.ExitStack() as stack:
        rpc_port, bare_port = children.start(serve, rate_hz).hear(), free_port()
        children.start(run_bare, rate_hz, bare_port)
        gateway = stack.enter_context(GatewayProcess("--server", f"127.0.0.1:{rpc_port}", "--no-ui"))
        wait_for_stream(gateway, "samples")
        browser.go(f"http://127.0.0.1:{gateway.port}/health")
        poll_until(lambda: browser.evaluate("location.pathname") == "/health", START_S)
        for way in ways:
            for count in watchers:
                ours = f"ws://127.0.0.1:{gateway.port}{WAYS[way].format(rate_hz=rate_hz)}"
                ages = ages_ms(browser, ours, f"ws://127.0.0.1:{bare_port}/bare", count, way, seconds)
                children.check()
                report(way, rate_hz, count, ages)


def report(way: str, rate_hz: float, watchers: int, ages: dict[str, list[float]]) -> None:
    """One line."""
    figures: list[Any] = []
    for kind in ("ours", "bare"):
        figures += [percentile(ages[kind], percent) for percent in (50, 99, 100)]
    texts = " ".join(f"{figure:7.1f}" for figure in figures)
    print(f"{way:9} {rate_hz:5.0f} {watchers:8} {len(ages['ours']):8} {texts}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=20)
    parser.add_argument("--rates", type=float, nargs="*", default=RATES_HZ)
    parser.add_argument("--watchers", type=int, nargs="*", default=WATCHERS)
    parser.add_argument("--ways", choices=list(WAYS), nargs="*", default=list(WAYS))
    options = parser.parse_args()
    if chromium() is None:
        raise SystemExit("there is no Chromium: apt-get install chromium")
    print("age of a sample in the browser, ms      |  through the gateway  |  bare FastAPI")
    print(f"{'way':9} {'Hz':>5} {'watchers':>8} {'samples':>8}" + f" {'p50':>7} {'p99':>7} {'worst':>7}" * 2)
    with Browser() as browser:
        for rate_hz in options.rates:
            measure(browser, rate_hz, options.watchers, options.ways, options.seconds)


if __name__ == "__main__":
    main()
