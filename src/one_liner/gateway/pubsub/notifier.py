"""Who subscribed to what. Pure bookkeeping on one event loop: no sockets, no waiting but for restrictions."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any

from one_liner.errors import ConfigurationError, LimitError
from one_liner.gateway.event import ALL_TOPICS, Event
from one_liner.gateway.rpc.channel import RpcChannel
from one_liner.gateway.rpc.frames import new_id

MAX_TOPICS = 10_000
"""How many topics one subscriber may have."""

MAX_TOPIC_CHARACTERS = 1000

Restriction = Callable[[list[str], RpcChannel], Awaitable[Any]]
"""Awaited with topics and the channel that wants to subscribe to them, or to publish; refuses by raising."""

Deliver = Callable[["Subscription", Event, bool], Awaitable[Any] | None]
"""Hands an event to a subscriber; if an answer is wanted, what it gives is done when the subscriber has answered."""


@dataclass(frozen=True, slots=True)
class Subscription:
    """That somebody wants a topic.

    Attributes:
        id: 32 hexadecimal digits.
        subscriber_id: who.
        topic: what; of an event that is delivered, its topic.
        notifier_id: of an event that is delivered, who published it.
    """

    id: str
    subscriber_id: str
    topic: str
    notifier_id: str | None = None


class EventNotifier:
    """Subscriptions by topic. A subscriber gets an event once, also if it wants its topic and all topics."""

    def __init__(self) -> None:
        self._by_topic: dict[str, dict[str, tuple[Subscription, Deliver]]] = {}
        self._topics_of: dict[str, set[str]] = {}
        self._restrictions: list[Restriction] = []
        self._interest: list[Callable[[str, bool], None]] = []
        self._publish_restrictions: list[Restriction] = []
        self._topic_restrictions: list[Callable[[list[str]], None]] = []

    @property
    def topics(self) -> set[str]:
        """What somebody has subscribed to."""
        return set(self._by_topic)

    def add_channel_restriction(self, restriction: Restriction) -> None:
        """Await a function before a channel subscribes or publishes; it refuses by raising."""
        self._restrictions.append(restriction)

    def add_publish_restriction(self, restriction: Restriction) -> None:
        """Await a function before a channel publishes; it refuses by raising."""
        self._publish_restrictions.append(restriction)

    def add_topic_restriction(self, restriction: Callable[[list[str]], None]) -> None:
        """Call a function before anybody publishes from outside, on a channel or by POST; it refuses by raising."""
        self._topic_restrictions.append(restriction)

    def check_topics(self, topics: list[str]) -> None:
        """Ask the restrictions of topics; raises what they raise."""
        for restriction in self._topic_restrictions:
            restriction(topics)

    async def check_subscribing(self, topics: list[str], channel: RpcChannel) -> None:
        """Ask the restrictions; raises what they raise."""
        for restriction in self._restrictions:
            await restriction(topics, channel)

    async def check_publishing(self, topics: list[str], channel: RpcChannel) -> None:
        """Ask the restrictions; raises what they raise."""
        self.check_topics(topics)
        for restriction in (*self._restrictions, *self._publish_restrictions):
            await restriction(topics, channel)

    def listen(self, interest: Callable[[str, bool], None]) -> None:
        """Call a function with a topic, and True when it gets its first subscriber or False when the last one left."""
        self._interest.append(interest)

    def subscribe(self, subscriber_id: str, topics: Iterable[str], deliver: Deliver) -> list[Subscription]:
        """Subscribe; what the subscriber has already stays as it is.

        Raises:
            LimitError: these are more topics than one subscriber may have; nothing was changed.
        """
        topics = list(topics)
        known = self._topics_of.get(subscriber_id, set())
        if len(known | set(topics)) > MAX_TOPICS:
            raise LimitError(f"a subscriber may have {MAX_TOPICS} topics")
        return [self._subscribe_one(subscriber_id, topic, deliver) for topic in topics]

    def unsubscribe(self, subscriber_id: str, topics: Iterable[str] | None = None) -> None:
        """End subscriptions; those that do not exist are ended already.

        Args:
            subscriber_id: whose.
            topics: which; None for all.
        """
        for topic in list(self._topics_of.get(subscriber_id, ())) if topics is None else list(topics):
            self._unsubscribe_one(subscriber_id, topic)

    def deliver(self, event: Event, *, want_answers: bool = False) -> list[Awaitable[Any]]:
        """Hand an event to all who want it, but not to who published it.

        Returns:
            If answers are wanted, what is done when they have answered; each is to be awaited or cancelled.
        """
        answers = [deliver(subscription, event, want_answers) for subscription, deliver in self._subscribers(event)]
        return [answer for answer in answers if answer is not None]

    def wants(self, topic: str) -> bool:
        """Whether anybody gets what is published under a topic."""
        return topic in self._by_topic or ALL_TOPICS in self._by_topic

    def _subscribers(self, event: Event) -> Iterator[tuple[Subscription, Deliver]]:
        exact = self._by_topic.get(event.topic, {})
        to_all = self._by_topic.get(ALL_TOPICS, {})
        # A copy, because whoever is told may unsubscribe; one entry for who wants the topic and all of them.
        for subscriber_id, (subscription, deliver) in {**to_all, **exact}.items():
            if subscriber_id != event.notifier_id:
                yield replace(subscription, topic=event.topic, notifier_id=event.notifier_id), deliver

    def _subscribe_one(self, subscriber_id: str, topic: str, deliver: Deliver) -> Subscription:
        subscribers = self._by_topic.setdefault(topic, {})
        is_first = not subscribers
        if subscriber_id not in subscribers:
            subscribers[subscriber_id] = (Subscription(new_id(), subscriber_id, topic), deliver)
            self._topics_of.setdefault(subscriber_id, set()).add(topic)
        subscription = subscribers[subscriber_id][0]
        if is_first:
            self._tell_interest(topic, True)
        return subscription

    def _unsubscribe_one(self, subscriber_id: str, topic: str) -> None:
        subscribers = self._by_topic.get(topic, {})
        if subscribers.pop(subscriber_id, None) is None:
            return
        topics = self._topics_of[subscriber_id]
        topics.discard(topic)
        if not topics:
            del self._topics_of[subscriber_id]
        if not subscribers:
            del self._by_topic[topic]
            self._tell_interest(topic, False)

    def _tell_interest(self, topic: str, wanted: bool) -> None:
        for interest in self._interest:
            interest(topic, wanted)


def topics_of(given: Any) -> list[str]:
    """One topic, or a list of them, as a list.

    Raises:
        ConfigurationError: it is neither.
    """
    topics = [given] if isinstance(given, str) else given
    if not isinstance(topics, list | tuple | set | frozenset) or not all(isinstance(one, str) for one in topics):
        raise ConfigurationError(f"topics are a text or a list of texts, not {given!r:.100}")
    if any(len(one) > MAX_TOPIC_CHARACTERS for one in topics):
        raise ConfigurationError(f"a topic has at most {MAX_TOPIC_CHARACTERS} characters")
    return list(topics)
