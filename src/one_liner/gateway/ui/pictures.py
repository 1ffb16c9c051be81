"""Arrays as images: the newest, no larger than it is shown."""

from __future__ import annotations

import asyncio
import base64
from typing import Any

import numpy as np
from nicegui import ui

from one_liner.aio import Sample
from one_liner.gateway.frames import picture

_WIDEST = 640


class Picture:
    """An image, in the element that is being filled."""

    most_waiting = 1

    def __init__(self) -> None:
        self._image = ui.element("img").classes("ol-picture").props("data-picture alt=")

    async def show(self, samples: list[Sample]) -> None:
        """Show the newest."""
        content = await asyncio.to_thread(_small, samples[-1].data)
        self._image.props["src"] = f"data:image/jpeg;base64,{base64.b64encode(content).decode()}"


def is_picture(data: Any) -> bool:
    """Whether it can be shown as an image."""
    if not isinstance(data, np.ndarray) or data.dtype.kind not in "biuf" or not data.size:
        return False
    return data.ndim == 2 or (data.ndim == 3 and data.shape[2] in (3, 4))


def _small(data: Any) -> bytes:
    step = max(1, -(-max(data.shape[:2]) // _WIDEST))
    return picture(data[::step, ::step], "jpg")
