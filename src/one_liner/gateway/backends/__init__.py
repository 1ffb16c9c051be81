"""What joins gateways, so that it does not matter to which of them a client is connected.

A *backend* is what a `PubSubEndpoint` hands its events to; an *exchange* is the one that numbers, buffers and counts
them, over a *carrier* that takes bytes from each gateway to all others: memory, ZeroMQ, Redis or NATS.
"""

from one_liner.gateway.backends.backend import Backend, BackendStatistics
from one_liner.gateway.backends.opening import open_backend

__all__ = ["Backend", "BackendStatistics", "open_backend"]
