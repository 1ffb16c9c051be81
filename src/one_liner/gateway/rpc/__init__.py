"""JSON RPC over a WebSocket, on the wire of `fastapi_websocket_rpc`: both sides may call, any number at once.

Frames, the channel that matches answers to calls, the methods that may be called, and the endpoint for FastAPI.
Topics are not here: `one_liner.gateway.pubsub` is built on this.
"""

from one_liner.gateway.rpc.channel import RpcChannel
from one_liner.gateway.rpc.endpoint import WebSocketRpcEndpoint
from one_liner.gateway.rpc.frames import RPC_ERROR, Response
from one_liner.gateway.rpc.methods import RpcMethods

__all__ = ["RPC_ERROR", "Response", "RpcChannel", "RpcMethods", "WebSocketRpcEndpoint"]
