"""What a subscriber may call, and how it is told: `subscribe`, `unsubscribe`, `publish`, `ping`, and our `notify`."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Awaitable
from typing import Any, Protocol, Self

from one_liner.errors import ClosedError, OneLinerError
from one_liner.gateway.event import Event
from one_liner.gateway.pubsub.notifier import EventNotifier, Restriction, Subscription, topics_of
from one_liner.gateway.rpc.channel import RpcChannel
from one_liner.gateway.rpc.frames import Response, as_json
from one_liner.gateway.rpc.methods import Caller, RpcMethods

_LARGE = 64 << 10
"""From this many characters on, a sample that waits is replaced by the next one of its stream."""

_log = logging.getLogger("one_liner.gateway.pubsub")


class Publish(Protocol):
    """Hands events to everybody, here and at the gateways that are joined."""

    def __call__(
        self, topics: list[str], data: str, notifier_id: str | None, *, wait_for_answers: bool = False
    ) -> Awaitable[None]:
        """One event for each topic; `data` is JSON."""


class PubSubMethods(RpcMethods):
    """The methods of one subscriber. Each connection has a copy.

    Args:
        notifier: who subscribed to what.
        publish: what hands events to everybody.
    """

    _subscriber: RpcChannel

    def __init__(self, notifier: EventNotifier, publish: Publish) -> None:
        self._notifier = notifier
        self._publish = publish
        self._late_since: int | None = None

    def _bound_(self, channel: Caller) -> Self:
        assert isinstance(channel, RpcChannel)
        bound = super()._bound_(channel)
        bound._subscriber = channel
        bound._late_since = None
        return bound

    async def subscribe(self, topics: Any = ()) -> bool:
        """From now on, `notify` is called with the events of these topics. False: a restriction refuses."""
        wanted = topics_of(topics)
        if not await self._may(self._notifier.check_subscribing, wanted):
            return False
        if not self._subscriber.closed:
            self._notifier.subscribe(self._subscriber.id, wanted, self._notify)
        return True

    async def unsubscribe(self, topics: Any = ()) -> bool:
        """Not any more. True also where there was nothing to end."""
        self._notifier.unsubscribe(self._subscriber.id, topics_of(topics))
        return True

    async def publish(self, topics: Any, data: Any = None, sync: bool = True, notifier_id: str | None = None) -> bool:
        """Publish an event for each topic.

        Args:
            topics: one, or a list.
            data: anything.
            sync: answer when the subscribers of this gateway have answered, or after a second.
            notifier_id: whom it comes from, and who gets no echo; this channel if None.

        Returns:
            False when a restriction refuses.
        """
        wanted = topics_of(topics)
        if not await self._may(self._notifier.check_publishing, wanted):
            return False
        sender = self._subscriber.id if notifier_id is None else notifier_id
        await self._publish(wanted, as_json(data), sender, wait_for_answers=bool(sync))
        return True

    async def ping(self) -> str:
        """As `_ping_`."""
        return "pong"

    async def _may(self, check: Restriction, topics: list[str]) -> bool:
        try:
            await check(topics, self._subscriber)
        except Exception as error:
            level = logging.INFO if isinstance(error, OneLinerError | PermissionError) else logging.WARNING
            _log.log(level, "channel %s is refused %.200r: %r", self._subscriber.id, topics, error)
            return False
        return True

    def _notify(self, subscription: Subscription, event: Event, want_answer: bool) -> Awaitable[None] | None:
        channel = self._subscriber
        arguments = f'{{"subscription":{_subscription_text(subscription)},"data":{event.data}}}'
        if not want_answer or self._is_late() or channel.closed:
            channel.tell("notify", arguments, event.topic if event.is_sample and len(arguments) > _LARGE else None)
            return None
        call_id, answer = channel.ask("notify", arguments, droppable=True)
        return self._answered(call_id, answer)

    def _is_late(self) -> bool:
        """Whether it once did not answer in time, and has not answered anything since: nobody waits for it again."""
        return self._late_since is not None and self._late_since == self._subscriber.answers_seen

    async def _answered(self, call_id: str, answer: asyncio.Future[Response]) -> None:
        try:
            await answer
        except asyncio.CancelledError:
            self._late_since = self._subscriber.answers_seen
            raise
        except ClosedError:
            pass  # It has gone; nobody has to wait for it.
        finally:
            self._subscriber.forget(call_id)


def _subscription_text(subscription: Subscription) -> str:
    notifier = "null" if subscription.notifier_id is None else json.dumps(subscription.notifier_id)
    return (
        f'{{"id":"{subscription.id}","subscriber_id":"{subscription.subscriber_id}",'
        f'"topic":{json.dumps(subscription.topic)},"notifier_id":{notifier}}}'
    )
