"""Whatever schemathesis makes of the OpenAPI page, right or wrong, the gateway answers, and never with a 5xx."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

pytest.importorskip("fastapi", reason="the gateway needs one_liner[gateway]")
pytest.importorskip("schemathesis", reason="pip install schemathesis")

import schemathesis
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from schemathesis import Case, GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.schemas import APIOperation

from tests.gateway_process import GatewayProcess

PATIENCE_S = 30.0
WITHOUT_END = "^/api/events$|/mjpeg$"
REAL_NAMES = {"name": ["laser_power", "camera"], "path": ["laser/set_power", "wavelength_nm", "stage/limits", "home"]}
"""Of the demo: a random one is hardly ever one that there is."""
few_and_the_same = settings(max_examples=4, derandomize=True, database=None, phases=[Phase.generate])


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with GatewayProcess("--demo") as gateway:
        gateway.wait_connected()
        yield f"http://127.0.0.1:{gateway.port}"


def modes_of(operation: APIOperation) -> list[GenerationMode]:
    """Right requests, and wrong ones too where there is something to be wrong."""
    return list(GenerationMode) if operation.body or operation.query else [GenerationMode.POSITIVE]


def statuses(operation: APIOperation, mode: GenerationMode, url: str) -> set[int]:
    """Those of the answers to a few requests, with names as they come and then with real ones."""
    named = [one.name for one in operation.path_parameters if one.name in REAL_NAMES]
    real_names = st.fixed_dictionaries({name: st.sampled_from(REAL_NAMES[name]) for name in named})
    seen = set()

    @few_and_the_same
    @given(operation.as_strategy(generation_mode=mode), real_names)
    def ask(case: Case, real: dict[str, str]) -> None:
        for names in ({}, real) if real else ({},):
            case.path_parameters = {**case.path_parameters, **names}
            # A scan takes the stage for long, and nobody needs to wait for it.
            answer = case.call(base_url=url, headers={"X-If-Busy": "refuse"}, timeout=PATIENCE_S)
            case.validate_response(answer, checks=[not_a_server_error])
            seen.add(answer.status_code)

    ask()
    return seen


@pytest.mark.timeout(180)
def test_no_request_is_answered_with_a_5xx(url: str) -> None:
    schema = schemathesis.openapi.from_url(f"{url}/openapi.json").exclude(path_regex=WITHOUT_END)
    operations = [operation.ok() for operation in schema.get_all_operations()]
    answered = {
        (operation.label, mode): statuses(operation, mode, url)
        for operation in operations
        for mode in modes_of(operation)
    }
    # Right requests were right, wrong ones were wrong, and there was what was asked for.
    assert answered["POST /api/objects/laser/set_power", GenerationMode.POSITIVE] == {200}
    assert answered["POST /api/objects/laser/set_power", GenerationMode.NEGATIVE] <= {400, 422}
    assert 200 in answered["GET /api/streams/{name}/last", GenerationMode.POSITIVE]
