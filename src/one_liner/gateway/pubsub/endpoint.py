"""Publish and subscribe as routes of FastAPI."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable, Iterable, Sequence
from types import TracebackType
from typing import Annotated, Any, Self

from fastapi import APIRouter, Body, FastAPI, HTTPException, params
from starlette.responses import Response
from starlette.websockets import WebSocket

from one_liner.aio import in_background
from one_liner.errors import ConfigurationError, NotExposedError
from one_liner.gateway.backends import Backend, open_backend
from one_liner.gateway.event import Event
from one_liner.gateway.json_values import JsonValueResponse
from one_liner.gateway.pubsub.methods import PubSubMethods
from one_liner.gateway.pubsub.notifier import EventNotifier, Subscription, topics_of
from one_liner.gateway.refusal import add_websocket
from one_liner.gateway.rpc.channel import RpcChannel
from one_liner.gateway.rpc.endpoint import OUTBOX_BYTES, OUTBOX_MESSAGES, Hook, OpenOutbox, WebSocketRpcEndpoint
from one_liner.gateway.rpc.frames import as_json, new_id

Callback = Callable[[Subscription, Any], Awaitable[Any]]

SYNC_TIMEOUT_S = 1.0
"""How long a publisher waits, at the most, for the answers of those who were told."""

_log = logging.getLogger("one_liner.gateway.pubsub")


class PubSubEndpoint:
    """Lets WebSocket clients subscribe to topics and publish, and the application publish to them.

    Belongs to one event loop. With a backend other than "memory" it is joined with other gateways, from the first
    connection or publication on, or from `start` on; `close` leaves them.

    Args:
        backend: "memory", "memory://name", "zmq://…", "redis://…", "nats://…", or a `Backend` of one's own.
        on_connect: as of `WebSocketRpcEndpoint`.
        on_disconnect: as of `WebSocketRpcEndpoint`; the subscriptions have ended by then.
        max_messages: how many messages may wait for one client.
        max_bytes: how large they may be together.
        open_outbox: as of `WebSocketRpcEndpoint`.

    Attributes:
        notifier: who subscribed to what; restrictions are added there.
        endpoint: the RPC underneath.
        backend: what joins it with others.
        id: whom the application's own events come from.

    Raises:
        ConfigurationError: there is no such backend.
        MissingExtraError: the backend needs a library that is not installed.
    """

    def __init__(
        self,
        *,
        backend: str | Backend = "memory",
        on_connect: Iterable[Hook] = (),
        on_disconnect: Iterable[Hook] = (),
        max_messages: int = OUTBOX_MESSAGES,
        max_bytes: int = OUTBOX_BYTES,
        open_outbox: OpenOutbox | None = None,
    ) -> None:
        self.id = new_id()
        self.notifier = EventNotifier()
        self.backend = open_backend(backend) if isinstance(backend, str) else backend
        self.endpoint = WebSocketRpcEndpoint(
            PubSubMethods(self.notifier, self._publish),
            on_connect=on_connect,
            on_disconnect=[self._forget, *on_disconnect],
            max_messages=max_messages,
            max_bytes=max_bytes,
            open_outbox=open_outbox,
        )
        self._subscriber_id = new_id()
        self._starting = asyncio.Lock()
        self._started = False

    # --- life --------------------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Join the other gateways. Returns at once where they cannot be reached; that is tried on and on."""
        async with self._starting:
            if not self._started:
                await self.backend.start(self._deliver)
                self._started = True

    async def close(self) -> None:
        """Leave the other gateways."""
        async with self._starting:
            if self._started:
                await self.backend.close()
                self._started = False

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    # --- routes ------------------------------------------------------------------------------------------------------

    def register_route(
        self,
        router: APIRouter | FastAPI,
        path: str = "/pubsub",
        publish_path: str | None = "/publish",
        dependencies: Sequence[params.Depends] = (),
    ) -> None:
        """Add the WebSocket route, and one to publish by POST.

        Args:
            router: where to.
            path: of the WebSocket.
            publish_path: of the POST with `{"topics": …, "data": …}`; None for none.
            dependencies: of FastAPI, for both; one that raises an `HTTPException` refuses.
        """
        add_websocket(router, path, self._serve, dependencies)
        if publish_path is not None:
            self.register_post(router, publish_path, dependencies)

    def register_post(
        self, router: APIRouter | FastAPI, path: str = "/publish", dependencies: Sequence[params.Depends] = ()
    ) -> None:
        """Add the route to publish by POST, alone. As `register_route`."""
        router.add_api_route(path, self._post, methods=["POST"], dependencies=list(dependencies), name="publish")

    async def main_loop(self, websocket: WebSocket, **context: Any) -> None:
        """Serve one WebSocket until it ends; for a route of one's own. As of `WebSocketRpcEndpoint`."""
        await self.start()
        await self.endpoint.main_loop(websocket, **context)

    async def _serve(self, websocket: WebSocket) -> None:
        await self.main_loop(websocket)

    async def _post(self, topics: Annotated[str | list[str], Body()], data: Annotated[Any, Body()] = None) -> Response:
        """Publish an event for each topic, to the subscribers at this gateway and at all that are joined with it."""
        try:
            self.notifier.check_topics(topics_of(topics))
            await self.publish(topics, data)
        except ConfigurationError as error:
            raise HTTPException(422, str(error)) from None
        except NotExposedError as error:
            raise HTTPException(403, str(error)) from None
        return JsonValueResponse({"status": "success", "topics": topics_of(topics)})

    # --- events ------------------------------------------------------------------------------------------------------

    async def publish(self, topics: str | Iterable[str], data: Any = None) -> None:
        """Publish an event for each topic.

        Returns when it was handed to everybody here and to the backend; nobody's slowness is waited for.

        Args:
            topics: one, or several.
            data: what has JSON, or numpy arrays.

        Raises:
            NotCarriableError: the data have no JSON.
            ConfigurationError: a topic is no text.
        """
        await self._publish(topics_of(topics if isinstance(topics, str) else list(topics)), as_json(data), self.id)

    async def subscribe(self, topics: str | Iterable[str], callback: Callback) -> list[Subscription]:
        """Have a coroutine function called, in a task of its own, with `(subscription, data)` of each event.

        The application's own events are among them.
        """

        def deliver(subscription: Subscription, event: Event, want_answer: bool) -> None:
            in_background(_called(callback, subscription, event), f"one_liner callback {event.topic}")

        await self.start()
        return self.notifier.subscribe(
            self._subscriber_id, topics_of(topics if isinstance(topics, str) else list(topics)), deliver
        )

    async def unsubscribe(self, topics: str | Iterable[str] | None = None) -> None:
        """End subscriptions of the application; None for all."""
        wanted = None if topics is None else topics_of(topics if isinstance(topics, str) else list(topics))
        self.notifier.unsubscribe(self._subscriber_id, wanted)

    def publish_sample(self, topic: str, data: str) -> None:
        """Hand one sample of a stream to the subscribers here, and here only; `data` is JSON. On the event loop."""
        self.notifier.deliver(Event(topic, data, is_sample=True))

    async def _publish(
        self, topics: list[str], data: str, notifier_id: str | None, *, wait_for_answers: bool = False
    ) -> None:
        if not self._started:
            await self.start()
        answers: list[Awaitable[Any]] = []
        for topic in topics:
            event = Event(topic, data, notifier_id)
            self.backend.publish(event)
            answers += self.notifier.deliver(event, want_answers=wait_for_answers)
        if answers:
            await _those_in_time(answers, SYNC_TIMEOUT_S)

    def _deliver(self, event: Event) -> None:
        self.notifier.deliver(event)

    async def _forget(self, channel: RpcChannel) -> None:
        self.notifier.unsubscribe(channel.id)


async def _called(callback: Callback, subscription: Subscription, event: Event) -> None:
    try:
        await callback(subscription, json.loads(event.data))
    except Exception:
        _log.exception("a callback for topic %r raised", event.topic)


async def _those_in_time(answers: Iterable[Awaitable[Any]], timeout_s: float) -> None:
    """Wait for the answers that come in time; whose does not is late from now on."""
    tasks = [asyncio.ensure_future(answer) for answer in answers]
    try:
        await asyncio.wait(tasks, timeout=timeout_s)
    finally:
        for task in tasks:
            task.cancel()
