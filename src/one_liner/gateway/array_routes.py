"""`/upload`, `/arrays`, `/array/{index}`: numbers that somebody brings, and others fetch or hand to an instrument."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path, Request
from starlette.datastructures import UploadFile
from starlette.responses import Response

from one_liner.gateway.access import Role, needs
from one_liner.gateway.arrays import ArrayProblem, index_of, npy_bytes, read_npy
from one_liner.gateway.gateway import Gateway, gateway_of
from one_liner.gateway.json_values import JsonValueResponse, dumps
from one_liner.gateway.pieces import PiecesResponse, array_pieces

_PROBLEM: dict[int | str, dict[str, Any]] = {404: {"description": "There is no such array"}}
_PROBLEMS: dict[int | str, dict[str, Any]] = {
    400: {"description": "This is no array"},
    413: {"description": "It is too large"},
    507: {"description": "There is no room for it"},
}
_LONGEST_HEAD = 10_000
_NPY = "application/octet-stream"
_FILE = {"type": "object", "required": ["file"], "properties": {"file": {"type": "string", "format": "binary"}}}
_BODY = {"requestBody": {"required": True, "content": {"multipart/form-data": {"schema": _FILE}}}}
"""Told here and read by hand: FastAPI would read it before it asks who sends it, and answers text in its own way."""
Index = Annotated[str, Path(description="Of the array", json_schema_extra={"type": "integer", "minimum": 0})]
"""Read by hand, too: an index that is no number is one that there is no array of."""


def array_router() -> APIRouter:
    """The routes."""
    router = APIRouter(tags=["arrays"])

    @router.post("/upload", dependencies=[Depends(needs(Role.CONTROL))], responses=_PROBLEMS, openapi_extra=_BODY)
    async def upload(request: Request) -> Response:
        """Store an array: multipart, its field `file` the content of a `.npy` file."""
        async with request.form() as form:
            files = form.getlist("file")
            file = files[0] if len(files) == 1 else None
            if not isinstance(file, UploadFile):
                raise ArrayProblem(400, "an array is uploaded as multipart, as one file in a field named 'file'")
            return await _stored(gateway_of(request), file)

    @router.get("/arrays", dependencies=[Depends(needs(Role.READ))])
    async def list_arrays(request: Request) -> Response:
        """What is stored."""
        infos = gateway_of(request).arrays.infos()
        return JsonValueResponse({"count": len(infos), "arrays": [info.as_dict() for info in infos]})

    @router.get(
        "/array/{index}.npy",
        dependencies=[Depends(needs(Role.READ))],
        responses={**_PROBLEM, 200: {"content": {_NPY: {}}, "description": "A `.npy` file"}},
        response_class=Response,
    )
    async def get_npy(request: Request, index: Index) -> Response:
        """An array as a `.npy` file."""
        arrays, number = gateway_of(request).arrays, index_of(index)
        content = await asyncio.to_thread(lambda: npy_bytes(arrays.get(number)))
        return PiecesResponse([content], _NPY, headers={"Content-Disposition": f'attachment; filename="{number}.npy"'})

    @router.get("/array/{index}", dependencies=[Depends(needs(Role.READ))], responses=_PROBLEM)
    async def get_array(request: Request, index: Index) -> Response:
        """An array as nested lists; numbers that are not finite are null, and `has_null` says that there are some."""
        arrays, number = gateway_of(request).arrays, index_of(index)

        def written() -> list[bytes]:
            array = arrays.get(number)
            head = dumps({"shape": list(array.shape), "dtype": str(array.dtype)})
            nulls: list[bool] = []
            data = list(array_pieces(array, nulls.append))
            return [head[:-1], b',"data":', *data, b',"has_null":true}' if any(nulls) else b"}"]

        return PiecesResponse(await asyncio.to_thread(written), "application/json")

    @router.delete("/array/{index}", dependencies=[Depends(needs(Role.CONTROL))], responses=_PROBLEM)
    async def delete_array(request: Request, index: Index) -> Response:
        """Forget an array; its index is not given again."""
        number = index_of(index)
        await asyncio.to_thread(gateway_of(request).arrays.remove, number)
        return JsonValueResponse({"status": "success", "index": number})

    return router


async def _stored(gateway: Gateway, file: UploadFile) -> Response:
    size, most = file.size or 0, gateway.settings.array_bytes
    if size > most + _LONGEST_HEAD:
        raise ArrayProblem(413, f"the file has {size} bytes; at most {most}")
    info = await asyncio.to_thread(lambda: gateway.arrays.add(read_npy(file.file, size)))
    return JsonValueResponse(
        {"status": "success", "shape": list(info.shape), "dtype": info.dtype, "index": info.number}
    )
