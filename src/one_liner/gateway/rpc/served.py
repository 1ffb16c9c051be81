"""What servers serve, as methods: `laser.set_power`, `rig2/laser.set_power`, the bare names of the one object."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from fastapi import APIRouter
from starlette.websockets import WebSocket

from one_liner.errors import BadArgumentsError, RefusedError
from one_liner.gateway.access import Role, admitted
from one_liner.gateway.gateway import Gateway
from one_liner.gateway.rigs import Rig, Rigs
from one_liner.gateway.rpc.endpoint import WebSocketRpcEndpoint
from one_liner.gateway.rpc.methods import Call, Result, RpcMethods


class ServedMethods(RpcMethods):
    """What the servers behind a gateway serve.

    A method is called with the arguments; a property is read without any, and set with one of the name `value`. Who has
    the role `read` may read properties and call what is declared to only read. A bare name may be a named call.

    Args:
        rigs: the servers.
    """

    def __init__(self, rigs: Rigs) -> None:
        self._rigs = rigs

    def _find_(self, name: str) -> Call:
        async def call(args: Sequence[Any], kwargs: dict[str, Any]) -> Result:
            rig, obj_name, attr_name = await self._locate(name)
            result = await self._call(rig, obj_name, attr_name, args, kwargs)
            return result, type(result).__name__

        return call

    async def _locate(self, name: str) -> tuple[Rig, str, str]:
        """The server, the object, and what of it; of a named call no object."""
        path, dot, attr_name = name.rpartition(".")
        rig_of_call = None if dot else self._rigs.with_named_call(name)
        if rig_of_call is not None:
            return rig_of_call, "", name
        rig, obj_name = await self._rigs.locate(path) if dot else await self._rigs.sole_object(attr_name)
        return rig, obj_name, attr_name

    async def _call(self, rig: Rig, obj_name: str, attr_name: str, args: Sequence[Any], kwargs: dict[str, Any]) -> Any:
        found = (await rig.object(obj_name)).find(attr_name) if obj_name else None
        is_property = found is not None and hasattr(found, "writable")
        if is_property and not args and not kwargs:
            return await rig.client.get(obj_name, attr_name)
        reads = getattr(found, "read_only", False)
        if not reads and self.channel.context.get("role", Role.ADMIN) < Role.CONTROL:
            name = f"{obj_name}.{attr_name}" if obj_name else attr_name
            raise RefusedError(f"{name} needs the role control, and yours is read")
        if not obj_name:
            return await rig.client.call_by_name(attr_name, list(args), kwargs)
        if not is_property:
            return await rig.client.call(obj_name, attr_name, list(args), kwargs)
        if args or set(kwargs) != {"value"}:
            raise BadArgumentsError(f'{obj_name}.{attr_name} is a property: none, or {{"value": …}} to set it')
        await rig.client.set(obj_name, attr_name, kwargs["value"])
        return None


def rpc_router(gateway: Gateway, path: str = "/ws") -> APIRouter:
    """The route of JSON RPC for one gateway.

    Args:
        gateway: whose servers' objects are called.
        path: of the WebSocket.
    """
    router = APIRouter()
    endpoint = WebSocketRpcEndpoint(ServedMethods(gateway.rigs), open_outbox=gateway.outbox)

    @router.websocket(path)
    async def rpc(websocket: WebSocket) -> None:
        role = await admitted(websocket, Role.READ)
        if role is not None:
            await endpoint.main_loop(websocket, role=role)

    return router
