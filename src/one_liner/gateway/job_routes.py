"""`/api/jobs/…`: what takes long. A request begins it and returns at once; others ask after it, pause and cancel it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import Response

from one_liner.aio import AsyncJob, JobInfo
from one_liner.errors import OneLinerError
from one_liner.gateway.access import Role, needs
from one_liner.gateway.calls import RESPONSES, Target, check_call, with_arrays
from one_liner.gateway.gateway import Gateway, gateway_of
from one_liner.gateway.json_values import JsonValueResponse
from one_liner.gateway.pieces import json_response
from one_liner.gateway.rigs import Rig

_MAY_READ, _MAY_CONTROL = [Depends(needs(Role.READ))], [Depends(needs(Role.CONTROL))]
Timeout = Annotated[float | None, Query(gt=0, description="How long it may take, in s")]


class Submission(BaseModel):
    """What is to be done."""

    model_config = ConfigDict(extra="forbid")

    object: str = Field(min_length=1)
    method: str
    args: list[Any] = []
    kwargs: dict[str, Any] = {}
    timeout_s: float | None = Field(None, gt=0, allow_inf_nan=False)


def job_router() -> APIRouter:
    """The routes. An `id` may have slashes: `rig2/5f3a9c01-12`."""
    router = APIRouter(prefix="/api/jobs", tags=["jobs"], responses=RESPONSES)

    @router.get("", dependencies=_MAY_READ)
    async def jobs(request: Request) -> Response:
        """All jobs that run, wait, or have ended not long ago, of all servers that answer."""
        gateway = gateway_of(request)
        found: list[dict[str, Any]] = []
        for rig in gateway.rigs.all():
            if rig.connected:
                found += [job_json(gateway, rig, info) for info in await rig.client.jobs()]
        return JsonValueResponse({"count": len(found), "jobs": found})

    @router.post("", dependencies=_MAY_CONTROL, status_code=202)
    async def submit(request: Request, body: Submission) -> Response:
        """Begin anything as a job: 202, and its place in `Location`."""
        rig, name = await gateway_of(request).rigs.locate(body.object)
        target = Target(rig, name, body.method)
        return await submit_job(gateway_of(request), request, target, body.args, body.kwargs, body.timeout_s)

    _add_steering(router)
    _add_looks(router)
    return router


def _add_looks(router: APIRouter) -> None:
    @router.get("/{id:path}/result", dependencies=_MAY_READ)
    async def result(request: Request, id: str) -> Response:
        """What it gave: 200 with `value`, 202 while it goes on, or the error that it ended with."""
        gateway = gateway_of(request)
        rig, job = await _job(gateway, id)
        if not job.done:
            return JsonValueResponse(job_json(gateway, rig, job.info), 202)
        return await json_response({"message": job.info.command, "value": await job.result()})

    @router.get("/{id:path}/log", dependencies=_MAY_READ)
    async def log(request: Request, id: str) -> Response:
        """What it has logged so far."""
        _, job = await _job(gateway_of(request), id)
        return await json_response({"id": id, "lines": await job.log()})

    @router.get("/{id:path}", dependencies=_MAY_READ)
    async def look(request: Request, id: str) -> Response:
        """How it is: its state, and how far it has come."""
        gateway = gateway_of(request)
        rig, job = await _job(gateway, id)
        return JsonValueResponse(job_json(gateway, rig, job.info))


def _add_steering(router: APIRouter) -> None:
    @router.post("/{id:path}/pause", dependencies=_MAY_CONTROL)
    async def pause(request: Request, id: str) -> Response:
        """Have it wait at its next check point."""
        rig, job = await _job(gateway_of(request), id)
        await job.pause()
        return JsonValueResponse(job_json(gateway_of(request), rig, await job.refresh()))

    @router.post("/{id:path}/resume", dependencies=_MAY_CONTROL)
    async def resume(request: Request, id: str) -> Response:
        """Have it go on."""
        rig, job = await _job(gateway_of(request), id)
        await job.resume()
        return JsonValueResponse(job_json(gateway_of(request), rig, await job.refresh()))

    @router.delete("/{id:path}", dependencies=_MAY_CONTROL)
    async def cancel(request: Request, id: str) -> Response:
        """Have it end; `cancelled` is false when it had ended before. It ends at its next check point."""
        gateway = gateway_of(request)
        rig, job = await _job(gateway, id)
        cancelled = await job.cancel()
        return JsonValueResponse({**job_json(gateway, rig, await job.refresh()), "cancelled": cancelled})


async def submit_job(
    gateway: Gateway,
    request: Request,
    target: Target,
    args: Sequence[Any],
    kwargs: Mapping[str, Any],
    timeout_s: float | None = None,
) -> Response:
    """Begin a job: 202 with its place."""
    await check_call(gateway, request, target, acts=True)
    gateway.calls += 1
    try:
        given = await with_arrays([list(args), dict(kwargs)], gateway.arrays)
        job = await target.rig.client.submit(target.obj_name, target.attr_name, *given, timeout_s=timeout_s)
    except OneLinerError:
        gateway.failed_calls += 1
        raise
    content = job_json(gateway, target.rig, job.info)
    return JsonValueResponse(content, 202, {"Location": content["location"]})


def job_json(gateway: Gateway, rig: Rig, info: JobInfo) -> dict[str, Any]:
    """A job as data, by the name that it has at the gateway."""
    full_id = gateway.rigs.full_name(rig, info.id)
    return {**info.as_dict(), "id": full_id, "location": f"/api/jobs/{full_id}"}


async def _job(gateway: Gateway, full_id: str) -> tuple[Rig, AsyncJob]:
    rig, own_id = await gateway.rigs.locate_job(full_id)
    return rig, await rig.client.job(own_id)
