"""`/`, `/health` and `/metrics`: how the gateway is, for people, for whoever restarts it, and for Prometheus."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

from fastapi import APIRouter, Depends, Request
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from starlette.responses import Response

from one_liner.gateway.access import Role, needs
from one_liner.gateway.gateway import Gateway, gateway_of
from one_liner.gateway.json_values import JsonValueResponse
from one_liner.version import __version__


def overview_router() -> APIRouter:
    """The routes."""
    router = APIRouter(tags=["gateway"])

    @router.get("/")
    async def root(request: Request) -> Response:
        """What this is, and where to go on."""
        gateway = gateway_of(request)
        return JsonValueResponse(
            {
                "message": "one_liner gateway",
                "version": __version__,
                "docs": "/docs",
                "openapi": "/openapi.json",
                "health": "/health",
                "endpoints": [
                    "/instrument",
                    "/api",
                    "/upload",
                    "/arrays",
                    "/control/start",
                    "/control/stop",
                    "/publish",
                    "/ws/stream",
                    "/ws",
                    "/pubsub",
                    *(["/ui"] if gateway.settings.ui else []),
                ],
                "servers": [rig.name or str(rig.address) for rig in gateway.rigs.all()],
            }
        )

    @router.get("/health")
    async def health(request: Request) -> Response:
        """Whether the gateway works. It does while servers are away; `servers` says which are."""
        return JsonValueResponse(health_of(gateway_of(request)))

    @router.get("/metrics", dependencies=[Depends(needs(Role.READ))], response_class=Response)
    async def metrics(request: Request) -> Response:
        """The same and more, in the words of Prometheus."""
        registry = CollectorRegistry(auto_describe=False)
        registry.register(_Collector(gateway_of(request)))
        return Response(generate_latest(registry), media_type=CONTENT_TYPE_LATEST)

    return router


def health_of(gateway: Gateway) -> dict[str, Any]:
    """What `/health` says."""
    rigs = gateway.rigs.all()
    return {
        "status": "healthy",
        "streaming": gateway.broadcast.streaming,
        "connections": gateway.sockets,
        "arrays_stored": len(gateway.arrays),
        "servers": {rig.name or str(rig.address): str(rig.client.state) for rig in rigs},
        "uptime_s": round(time.monotonic() - gateway.began, 3),
        "version": __version__,
    }


class _Collector:
    """Reads the gateway when Prometheus asks."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway

    def collect(self) -> Iterator[Metric]:
        gateway = self._gateway
        yield _gauge("uptime_seconds", "Since the gateway began", time.monotonic() - gateway.began)
        yield _gauge("streaming", "Whether /ws/stream sends", float(gateway.broadcast.streaming))
        yield _gauge("websockets", "WebSockets that are open", gateway.sockets)
        yield _gauge("arrays", "Arrays that are stored", len(gateway.arrays))
        yield _gauge("arrays_bytes", "Size of the arrays together", gateway.arrays.stored_bytes)
        yield _counter("calls", "Calls that were made for HTTP", gateway.calls)
        yield _counter("calls_failed", "Those that ended with an error", gateway.failed_calls)
        yield _counter("messages_sent", "Messages sent by WebSocket", gateway.counts.sent)
        yield _counter("messages_dropped", "Messages that a watcher was too slow for", gateway.counts.dropped)
        yield _gauge("messages_waiting", "Messages that wait for their watchers", gateway.counts.waiting)
        connected = GaugeMetricFamily(
            "one_liner_gateway_server_connected", "Whether a server answers", labels=["server"]
        )
        watchers = GaugeMetricFamily("one_liner_gateway_watchers", "Who watches a stream", labels=["stream"])
        received = CounterMetricFamily("one_liner_gateway_samples", "Samples received", labels=["stream"])
        for rig in gateway.rigs.all():
            connected.add_metric([rig.name or str(rig.address)], float(rig.connected))
            for channel in rig.watched():
                name = gateway.rigs.full_name(rig, channel.name)
                watchers.add_metric([name], channel.watchers)
                received.add_metric([name], channel.received)
        yield from (connected, watchers, received)


def _gauge(name: str, text: str, value: float) -> GaugeMetricFamily:
    return GaugeMetricFamily(f"one_liner_gateway_{name}", text, value)


def _counter(name: str, text: str, value: float) -> CounterMetricFamily:
    return CounterMetricFamily(f"one_liner_gateway_{name}", text, value)
