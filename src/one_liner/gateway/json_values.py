"""What instruments return, as the JSON of an answer, and how fast: the forms are those of `one_liner.json_forms`."""

from __future__ import annotations

import json
from typing import Any

import orjson
from starlette.responses import JSONResponse

from one_liner.json_forms.values import to_plain

# orjson has its own form for these; ours is `to_plain`.
_OPTIONS = orjson.OPT_PASSTHROUGH_DATACLASS | orjson.OPT_PASSTHROUGH_DATETIME


class JsonValueResponse(JSONResponse):
    """An answer whose content may be anything that an instrument returns."""

    def render(self, content: Any) -> bytes:
        """The content as JSON."""
        return dumps(content)


def dumps(value: Any) -> bytes:
    """A value as JSON in UTF-8."""
    try:
        return orjson.dumps(value, to_plain, _OPTIONS)
    except orjson.JSONEncodeError:  # A number of more than 64 bits, a key that is no text, a lone surrogate.
        plain = to_plain(value)
        return json.dumps(plain, ensure_ascii=True, allow_nan=False, separators=(",", ":")).encode()
