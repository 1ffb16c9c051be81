"""The routes of one gateway: `/pubsub`, and `POST /publish`."""

from __future__ import annotations

from fastapi import APIRouter, Depends
from starlette.websockets import WebSocket

from one_liner.errors import RefusedError
from one_liner.gateway.access import Role, admitted, needs
from one_liner.gateway.gateway import Gateway
from one_liner.gateway.pubsub.endpoint import PubSubEndpoint
from one_liner.gateway.pubsub.streams import StreamTopics
from one_liner.gateway.rpc.channel import RpcChannel


def pubsub_router(
    gateway: Gateway, endpoint: PubSubEndpoint, path: str = "/pubsub", publish_path: str = "/publish"
) -> APIRouter:
    """The routes of topics for one gateway; they begin and end with it.

    Args:
        gateway: whose servers' streams are topics.
        endpoint: what tells the subscribers.
        path: of the WebSocket.
        publish_path: of the POST.
    """
    router = APIRouter()
    endpoint.notifier.add_publish_restriction(_needs_control)
    streams = StreamTopics(gateway.rigs, endpoint)
    gateway.on_start(endpoint.start)
    gateway.on_start(streams.start)
    gateway.on_stop(endpoint.close)
    gateway.on_stop(streams.close)

    @router.websocket(path)
    async def pubsub(websocket: WebSocket) -> None:
        role = await admitted(websocket, Role.READ)
        if role is not None:
            await endpoint.main_loop(websocket, role=role)

    endpoint.register_post(router, publish_path, [Depends(needs(Role.CONTROL))])
    return router


async def _needs_control(topics: list[str], channel: RpcChannel) -> None:
    if channel.context["role"] < Role.CONTROL:
        raise RefusedError("to publish needs the role control")
