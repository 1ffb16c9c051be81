"""What one client receives: its subscriptions, the topics of its events, and the one receiver of them all."""

from __future__ import annotations

from threading import Lock
from typing import Final

from one_liner.clock import Clock
from one_liner.errors import ClosedError, OneLinerError, RouterDownError, StreamTimeoutError, UnknownStreamError
from one_liner.events.hub import Feed
from one_liner.rpc.hello import Hello
from one_liner.rpc.link import HEARTBEATS_TO_LOSS, Link
from one_liner.streams.ledger import ReaderStatistics
from one_liner.streams.names import is_own
from one_liner.streams.readers import report_of
from one_liner.streams.receiver import Receiver
from one_liner.streams.subscription import Storage, Subscription
from one_liner.transport.sockets import Context
from one_liner.uninterrupted import uninterrupted
from one_liner.wire.codec import Codec
from one_liner.wire.messages import ROUTE_SEPARATOR, Kind

_SETTLE_S: Final = 0.005
"""libzmq's publishers look at new subscriptions every 3 million processor ticks at the latest, about 1 ms."""


class Reception:
    """May be used from any thread. Its receiver, and the thread of that, begin with the first subscription.

    Args:
        context: the client's.
        link: knows whether the server lives.
        broadcast_port: of the server; None to learn it from there.
        codec: for values.
        clock: the client's clock.
        allow_pickle: whether streams may be pickled.

    Attributes:
        subscriptions: what was configured, by name.
        feeds: the topics of events that somebody listens to, by the names of their streams.
        receiver: None as long as nothing is received.
    """

    def __init__(
        self,
        context: Context,
        link: Link,
        broadcast_port: int | str | None,
        *,
        codec: Codec,
        clock: Clock,
        allow_pickle: bool,
    ) -> None:
        self._context, self._link, self._broadcast_port = context, link, broadcast_port
        self._codec, self._clock, self._allow_pickle = codec, clock, allow_pickle
        self._lock = Lock()
        self._closed = False
        self.subscriptions: dict[str, Subscription] = {}
        self.feeds: dict[str, Feed] = {}
        self.receiver: Receiver | None = None

    @uninterrupted
    def subscribe(self, name: str, storage: Storage) -> Subscription:
        """Receive a stream from now on, or in another way than before."""
        with self._lock:
            if self._closed:
                raise ClosedError("this client is closed")
            subscription = self.subscriptions.get(name)
            if subscription is not None:
                if subscription.reconfigure(storage) and self.receiver is not None:
                    self.receiver.add(subscription)
                return subscription
            receiver = self._have_receiver()
            subscription = self.subscriptions[name] = Subscription(
                name,
                storage,
                self._codec,
                allow_pickle=self._allow_pickle,
                clock=self._clock,
                trouble=lambda: self._trouble_of(name),
                why_nothing=receiver.why_nothing,
            )
            receiver.add(subscription)
            return subscription

    @uninterrupted
    def unsubscribe(self, name: str) -> None:
        """Receive a stream no longer.

        Raises:
            UnknownStreamError: it was not configured.
        """
        with self._lock:
            subscription = self.subscriptions.pop(name, None)
        if subscription is None:
            raise self._not_configured(name)
        subscription.close()
        if self.receiver is not None:
            self.receiver.remove(subscription)

    def subscription(self, name: str) -> Subscription:
        """The stream of this name. Raises `UnknownStreamError` if it was not configured."""
        subscription = self.subscriptions.get(name)
        if subscription is None:
            raise self._not_configured(name)
        return subscription

    def statistics(self, name: str) -> ReaderStatistics:
        """Where the samples of a stream went. Raises as `subscription`."""
        feed = self.feeds.get(name)
        return self.subscription(name).statistics() if feed is None else feed.statistics()

    @uninterrupted
    def add_feed(self, feed: Feed) -> None:
        """Receive the events of a topic."""
        with self._lock:
            if not self._closed:
                self.feeds[feed.name] = feed
                self._have_receiver().add(feed)

    @uninterrupted
    def remove_feed(self, feed: Feed) -> None:
        """Receive them no longer."""
        with self._lock:
            if not self._closed and self.receiver is not None:
                if self.feeds.get(feed.name) is feed:  # Somebody else may listen to this topic meanwhile.
                    del self.feeds[feed.name]
                self.receiver.remove(feed)

    def wait_synchronised(self, subscription: Subscription, limit_s: float | None) -> None:
        """Wait until the server is known to send every sample from now on.

        Args:
            subscription: of the stream.
            limit_s: how long, in s; None gives the server three heartbeats.

        Raises:
            StreamTimeoutError, NoServerError, ClosedError: while waiting.
        """
        patience_s = HEARTBEATS_TO_LOSS * self._link.heartbeat_s if limit_s is None else limit_s
        began = self._clock.now()
        self._link.wait_ready(began + patience_s)
        while not subscription.synchronised.wait(0.05):
            trouble = self._link.trouble(sent=False)
            if trouble is not None:
                raise trouble
            if self._clock.now() - began >= patience_s:
                raise StreamTimeoutError(
                    f"stream {subscription.name!r} could not be subscribed within {patience_s:g} s; "
                    "is the broadcast port right, and every router on the way up?"
                )
        if self._closed:
            raise ClosedError("the client was closed while a stream was configured")
        self._link.pause(_SETTLE_S)

    def report(self, hello: Hello) -> None:
        """Tell the server what became of its samples here, if somebody wants to know; on the link's thread."""
        if not hello.reports:
            return
        with self._lock:
            counted = {name: one.statistics for name, one in self.subscriptions.items() if not is_own(name)}
        body, _ = self._codec.encode(["report_ledger", {"streams": report_of(counted)}])
        self._link.submit(Kind.CONTROL, "", bytes(body), lambda _: None)

    def end(self) -> None:
        """Hand nothing out any more: whoever waits gets a `ClosedError`. May be interrupted, and done again."""
        with self._lock:
            self._closed = True
            received = [*self.subscriptions.values(), *self.feeds.values()]
        for one in received:
            one.close()

    def close(self) -> None:
        """End the receiver. Any number of times."""
        if self.receiver is not None:
            self.receiver.close()

    def _have_receiver(self) -> Receiver:
        if self.receiver is None:
            self.receiver = Receiver(self._context, self._link, self._broadcast_port, self._codec, self._clock)
        return self.receiver

    def _not_configured(self, name: str) -> UnknownStreamError:
        known = ", ".join(sorted(self.subscriptions)) or "none"
        return UnknownStreamError(f"stream {name!r} was not configured at this client; configured are: {known}")

    def _trouble_of(self, name: str) -> OneLinerError | None:
        """Why nobody will send a sample of a stream; None while somebody may."""
        trouble = self._link.trouble(sent=False) or self._link.absence()
        hello = self._link.hello
        if trouble is not None or hello is None:
            return trouble
        return next(
            (
                RouterDownError(f"stream {name!r}: {why}", router=path)
                for path, why in hello.down.items()
                if name.startswith(path + ROUTE_SEPARATOR)
            ),
            None,
        )
