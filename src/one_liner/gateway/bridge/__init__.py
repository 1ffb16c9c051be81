"""A server on NATS: chosen streams and events are published as subjects, and calls are answered there.

A thousand watchers then load the broker and not the instrument. `subjects` has the names, `bridge` does the work; the
command is `one-liner bridge`. Joining gateways over NATS is another thing: `one_liner.gateway.backends`.
"""

from one_liner.gateway.bridge.bridge import Bridge, BridgeStatistics, Keep
from one_liner.gateway.bridge.subjects import Subjects

__all__ = ["Bridge", "BridgeStatistics", "Keep", "Subjects"]
