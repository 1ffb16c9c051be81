"""`/api/streams/…`: the last sample, pictures, MJPEG, and a WebSocket for each watcher."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from functools import partial
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request
from starlette.exceptions import HTTPException
from starlette.responses import Response, StreamingResponse
from starlette.websockets import WebSocket

from one_liner.aio import Sample
from one_liner.errors import OneLinerError, SourceFailedError
from one_liner.gateway.access import Role, admitted, needs
from one_liner.gateway.arrays import npy_bytes
from one_liner.gateway.faults import fault_message
from one_liner.gateway.frames import binary_frame, media_type, picture, sample_content, sample_head, sample_json
from one_liner.gateway.gateway import Gateway, gateway_of
from one_liner.gateway.json_values import JsonValueResponse, dumps
from one_liner.gateway.outbox import Content, wait_for_end
from one_liner.gateway.pieces import PiecesResponse, is_large, json_response
from one_liner.gateway.refusal import short_reason
from one_liner.gateway.rigs import Rig, streams_of

_LAST_SAMPLE_S = 3.0
_BOUNDARY = "frame"
_MOST_WAITING = 100
_RESPONSES: dict[int | str, dict[str, Any]] = {
    404: {"description": "No such stream, or no sample yet"},
    503: {"description": "Its server is away"},
}
_MAY_READ, _MAY_CONTROL = [Depends(needs(Role.READ))], [Depends(needs(Role.CONTROL))]
Rate = Annotated[float, Query(gt=0, le=1000, description="At most so many per second")]


def stream_router() -> APIRouter:
    """The routes. In all of them `name` may have slashes: `rig2/camera`."""
    router = APIRouter(prefix="/api/streams", tags=["streams"], responses=_RESPONSES)
    _add_lists(router)
    _add_last_samples(router)
    _add_mjpeg(router)
    _add_socket(router)
    return router


def _add_lists(router: APIRouter) -> None:
    @router.get("", dependencies=_MAY_READ)
    async def streams(request: Request) -> Response:
        """All streams, by name, and how they go."""
        rigs = gateway_of(request).rigs
        found: dict[str, Any] = {}
        for rig in rigs.all():
            if rig.connected:
                configurations = await rig.client.get_stream_configurations()
                found |= {rigs.full_name(rig, name): one.as_dict() for name, one in dict(configurations).items()}
            elif rig.description is not None:
                found |= {rigs.full_name(rig, name): one for name, one in streams_of(rig.description).items()}
        return JsonValueResponse({"count": len(found), "streams": found})

    @router.post("/{name:path}/enable", dependencies=_MAY_CONTROL)
    async def enable(request: Request, name: str) -> Response:
        """Have the server run it, for everybody."""
        rig, own_name = await gateway_of(request).rigs.locate(name)
        await rig.client.enable_stream(own_name)
        return JsonValueResponse({"status": "success", "stream": name, "enabled": True})

    @router.post("/{name:path}/disable", dependencies=_MAY_CONTROL)
    async def disable(request: Request, name: str) -> Response:
        """Have the server pause it, for everybody."""
        rig, own_name = await gateway_of(request).rigs.locate(name)
        await rig.client.disable_stream(own_name)
        return JsonValueResponse({"status": "success", "stream": name, "enabled": False})


def _add_last_samples(router: APIRouter) -> None:
    @router.get("/{name:path}/last.npy", dependencies=_MAY_READ, response_class=Response)
    async def last_npy(request: Request, name: str) -> Response:
        """The last sample as a `.npy` file."""
        sample = await _last(gateway_of(request), name)
        try:
            content = await asyncio.to_thread(npy_bytes, sample.data)
        except ValueError:
            raise HTTPException(422, f"a sample of {name} is no array: {type(sample.data).__name__}") from None
        return PiecesResponse([content], "application/octet-stream", headers=_head_of(sample))

    @router.get("/{name:path}/last.{extension}", dependencies=_MAY_READ, response_class=Response)
    async def last_image(request: Request, name: str, extension: str) -> Response:
        """The last sample as a picture, `last.png` or `last.jpg`."""
        kind = media_type(extension)
        if kind is None:
            raise HTTPException(404, f"there is no picture of type {extension!r}; there are png and jpg")
        sample = await _last(gateway_of(request), name)
        content = await asyncio.to_thread(picture, sample.data, extension)
        return PiecesResponse([content], kind, headers=_head_of(sample))

    @router.get("/{name:path}/last", dependencies=_MAY_READ)
    async def last(request: Request, name: str) -> Response:
        """The last sample as JSON."""
        sample = await _last(gateway_of(request), name)
        return await json_response(sample_content(name, sample))


def _add_mjpeg(router: APIRouter) -> None:
    @router.get("/{name:path}/mjpeg", dependencies=_MAY_READ, response_class=StreamingResponse)
    async def mjpeg(request: Request, name: str, rate_hz: Rate = 25.0) -> Response:
        """An image stream as MJPEG, for an `<img>` of any page: the newest image, as fast as the reader reads."""
        rig, own_name = await _located(gateway_of(request), name)
        first = await _last(gateway_of(request), name)
        await asyncio.to_thread(picture, first.data, "jpg")  # What is no image is told before it begins.
        return StreamingResponse(
            _parts(rig, own_name, 1 / rate_hz),
            media_type=f"multipart/x-mixed-replace; boundary={_BOUNDARY}",
            headers={"Cache-Control": "no-store"},
        )


def _add_socket(router: APIRouter) -> None:
    @router.websocket("/{name:path}/ws")
    async def watch(websocket: WebSocket, name: str) -> None:
        """Each sample as JSON, or with `?format=binary` as a binary frame; a slow reader loses the oldest."""
        if await admitted(websocket, Role.READ) is None:
            return
        gateway = gateway_of(websocket)
        try:
            rig, own_name = await _located(gateway, name)
        except OneLinerError as error:
            await websocket.send_text(dumps(fault_message(error)).decode())
            await websocket.close(1008, short_reason(str(error)))
            return
        binary = websocket.query_params.get("format") == "binary"
        async with gateway.outbox(websocket) as outbox, rig.watch(own_name, _MOST_WAITING) as samples:

            async def forward() -> None:
                async for item in samples:
                    if isinstance(item, SourceFailedError):
                        outbox.put(dumps(fault_message(item, stream=name)).decode(), droppable=True)
                        continue
                    large = is_large(item.data)
                    if large and samples.waiting:
                        outbox.pass_over()
                        continue
                    write = partial(_content, name, item, binary)
                    content = await samples.written(item, (name, binary), write, aside=large)
                    outbox.put(content, key=name if large else None, droppable=True)

            await wait_for_end(websocket, outbox, forward())


async def _located(gateway: Gateway, name: str) -> tuple[Rig, str]:
    rig, own_name = await gateway.rigs.locate(name)
    await rig.check_stream(own_name)
    return rig, own_name


async def _last(gateway: Gateway, name: str) -> Sample:
    rig, own_name = await _located(gateway, name)
    return await rig.channel(own_name).last(_LAST_SAMPLE_S)


async def _parts(rig: Rig, name: str, period_s: float) -> AsyncIterator[bytes]:
    loop = asyncio.get_running_loop()
    async with rig.watch(name) as samples:
        async for item in samples:
            began = loop.time()
            if isinstance(item, SourceFailedError):
                continue
            image = await asyncio.to_thread(picture, item.data, "jpg")
            yield b"--%s\r\nContent-Type: image/jpeg\r\nContent-Length: %d\r\n\r\n%s\r\n" % (
                _BOUNDARY.encode(),
                len(image),
                image,
            )
            await asyncio.sleep(max(0.0, began + period_s - loop.time()))


def _content(name: str, sample: Sample, binary: bool) -> Content:
    return binary_frame(sample_head(name, sample), sample.data) if binary else sample_json(name, sample)


def _head_of(sample: Sample) -> dict[str, str]:
    return {
        "X-Timestamp": repr(sample.wall_time),
        "X-Sequence": str(sample.sequence),
        "Cache-Control": "no-store",
    }
