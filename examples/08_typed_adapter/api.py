"""What our instruments want from the building, in our words and units. Both sides import this file and nothing else.

The Protocol is the contract: an editor completes it, a type checker checks it, a test can fake it.
"""

from __future__ import annotations

from typing import Protocol

from pydantic import BaseModel, Field

from one_liner import register_type


class CoolingWater(BaseModel):
    """The state of a cooling loop."""

    temperature_c: float
    flow_l_min: float = Field(ge=0)


class CoolingRequest(BaseModel):
    """What an instrument asks the building for."""

    flow_l_min: float = Field(ge=0, le=20)
    on_behalf_of: str


class InfrastructureAPI(Protocol):
    """The building, as an instrument sees it."""

    def cooling_water(self) -> CoolingWater:
        """The cooling loop, as it is now."""

    def request_cooling(self, request: CoolingRequest) -> CoolingWater:
        """Ask for more or less flow, and return what came of it."""


# Once per type, on both ends: then its objects travel as what they are.
register_type(CoolingWater)
register_type(CoolingRequest)
