"""Topics over WebSockets, on the wire of `fastapi_websocket_pubsub`: who wants what, and who is told.

Subscriptions, the endpoint for FastAPI, and the streams and events of servers as topics. The calls underneath are in
`one_liner.gateway.rpc`, what joins several gateways in `one_liner.gateway.backends`.
"""

from one_liner.gateway.event import ALL_TOPICS, Event
from one_liner.gateway.pubsub.endpoint import PubSubEndpoint
from one_liner.gateway.pubsub.notifier import EventNotifier, Subscription

__all__ = ["ALL_TOPICS", "Event", "EventNotifier", "PubSubEndpoint", "Subscription"]
