"""The page, in a real browser: what somebody who sits there sees and does."""

from __future__ import annotations

import asyncio
import importlib.util
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("fastapi", reason="the gateway needs one_liner[gateway]")


import httpx
import numpy as np

from one_liner import RouterClient
from one_liner.errors import NoServerError
from one_liner.gateway import Settings, create_app
from one_liner.gateway.ui.downsampling import downsampled
from one_liner.gateway.ui.polls import Polls
from one_liner.testing import SubprocessServer
from tests.browser import Browser, chromium
from tests.conftest import poll_until
from tests.gateway_process import GatewayProcess, make_lab

PATIENCE_S = 60.0
LASER = '[data-object="laser"]'

pytestmark = pytest.mark.timeout(300)


@pytest.fixture(scope="module")
def lab() -> Iterator[SubprocessServer]:
    with SubprocessServer(make_lab) as lab:
        yield lab


@pytest.fixture(scope="module")
def gateway(lab: SubprocessServer) -> Iterator[GatewayProcess]:
    pytest.importorskip("nicegui", reason="the page needs one_liner[ui]")
    with GatewayProcess("--server", f"127.0.0.1:{lab.rpc_port}") as gateway:
        gateway.wait_connected()
        yield gateway


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    if chromium() is None:
        pytest.skip("NO BROWSER: the page was not tested; install chromium")
    with Browser() as browser:
        yield browser


@pytest.fixture
def page(gateway: GatewayProcess, browser: Browser) -> Browser:
    browser.go(f"http://127.0.0.1:{gateway.port}/ui/")
    browser.wait_for("[data-server][data-state=connected]")
    browser.wait_for(f"{LASER} [data-property=wavelength] [data-value]", "532")
    return browser


def ask(gateway: GatewayProcess, path: str) -> Any:
    return gateway.get(f"/instrument/{path}").json["value"]


# --- what there is ---------------------------------------------------------------------------------------------------


def test_a_method_is_called_by_its_form(page: Browser, gateway: GatewayProcess) -> None:
    form = f"{LASER} [data-method=set_power]"
    page.enter(f"{form} input[data-field=power_mw], {form} [data-field=power_mw] input", "7.5")
    page.click(f"{form} [data-call]")
    page.wait_for(f"{form} [data-result]", "→ 7.5")
    assert ask(gateway, "laser/power") == 7.5


def test_what_an_instrument_raises_and_what_does_not_fit_is_said(page: Browser) -> None:
    page.click(f"{LASER} [data-method=fail] [data-call]")
    page.wait_for(f"{LASER} [data-method=fail] [data-result]", "ValueError: no light")
    page.click(f"{LASER} [data-method=set_power] [data-call]")
    page.wait_for(f"{LASER} [data-method=set_power] [data-result]", "power_mw: Field required")


def test_a_property_is_live_and_can_be_set(page: Browser, gateway: GatewayProcess) -> None:
    row = f"{LASER} [data-property=power]"
    ask(gateway, "laser/set_power?power_mw=3.25")
    page.wait_for(f"{row} [data-value]", "3.25")
    page.enter(f"{row} input", "4.5", then_enter=True)
    page.wait_for(f"{row} [data-value]", "4.5")
    assert ask(gateway, "laser/power") == 4.5


# --- streams ---------------------------------------------------------------------------------------------------------

POINTS = """(() => {
    const chart = document.querySelector('[data-stream="power"] [data-plot]');
    const data = chart && getElement(Number(chart.id.slice(1)))?.chart?.getOption().series[0]?.data;
    return data ? data[data.length - 1] : null;
})()"""


def test_a_stream_is_plotted_until_it_is_paused(page: Browser, gateway: GatewayProcess) -> None:
    ask(gateway, "laser/set_power?power_mw=12")
    poll_until(lambda: (page.evaluate(POINTS) or [0, 0])[1] == 12, PATIENCE_S)
    page.wait_for('[data-stream="power"] [data-ledger]', "of 50 Hz")
    page.click('[data-stream="power"] [data-pause]')
    poll_until(lambda: _is_still(page, POINTS), PATIENCE_S)
    last = page.evaluate(POINTS)
    page.click('[data-stream="power"] [data-pause]')
    poll_until(lambda: page.evaluate(POINTS) != last, PATIENCE_S)


def _is_still(page: Browser, code: str) -> bool:
    """Whether nothing changes while the images of another stream go on."""
    before, image = page.evaluate(code), page.evaluate(IMAGE)
    for _ in range(3):
        _wait_for_another(page, image)
        image = page.evaluate(IMAGE)
    return bool(page.evaluate(code) == before)


def _wait_for_another(page: Browser, image: str) -> None:
    poll_until(lambda: page.evaluate(IMAGE) != image, PATIENCE_S)


IMAGE = """document.querySelector('[data-stream="image"] [data-picture]')?.src ?? ''"""


def test_an_image_stream_is_seen(page: Browser) -> None:
    poll_until(lambda: page.evaluate(IMAGE).startswith("data:image/jpeg;base64,"), PATIENCE_S)
    first = page.evaluate(IMAGE)
    poll_until(lambda: page.evaluate(IMAGE) != first, PATIENCE_S)
    size = "document.querySelector('[data-picture]').naturalWidth"
    assert page.evaluate(size) == 64


# --- jobs, events, leases --------------------------------------------------------------------------------------------

JOB = '[data-job="bench.scan"]'


def test_a_job_is_started_progresses_and_is_cancelled(page: Browser) -> None:
    form = '[data-object="bench"] [data-method=scan]'
    page.enter(f"{form} input[data-field=points], {form} [data-field=points] input", "1000")
    page.click(f"{form} [data-call]")
    page.wait_for(f"{JOB}[data-state=running] [data-line]", "point")
    page.click(f"{JOB}[data-state=running] [data-cancel]")
    page.wait_for(f"{JOB}[data-state=cancelled]")
    page.wait_for("[data-event='bench.scan']", "cancelled")


def test_who_holds_a_lease_is_said(page: Browser, lab: SubprocessServer) -> None:
    page.wait_for("[data-leases]", "Nobody has a lease")
    with RouterClient("tcp", "127.0.0.1", lab.rpc_port, None, name="anna") as anna, anna.lease("laser"):
        page.wait_for("[data-leases]", "laser is reserved by anna")
        page.click(f"{LASER} [data-method=set_power] [data-call]")
    page.wait_for("[data-leases]", "Nobody has a lease")


# --- life and access -------------------------------------------------------------------------------------------------


def test_red_while_the_instruments_are_gone_and_green_again(
    page: Browser, gateway: GatewayProcess, lab: SubprocessServer
) -> None:
    lab.kill()
    poll_until(lambda: page.count("[data-server].ol-gone") == 1, PATIENCE_S)
    assert page.count(f"{LASER}.ol-away") == 1
    lab.restart()
    poll_until(lambda: page.count("[data-server][data-state=connected].ol-good") == 1, PATIENCE_S)
    ask(gateway, "laser/set_power?power_mw=21")
    poll_until(lambda: (page.evaluate(POINTS) or [0, 0])[1] == 21, PATIENCE_S)


def test_fits_a_phone(page: Browser) -> None:
    page.resize(390, 844, mobile=True)
    try:
        poll_until(lambda: page.evaluate("document.documentElement.scrollWidth") <= 390, PATIENCE_S)
        assert page.evaluate("document.querySelector('[data-panel=Streams]').getBoundingClientRect().width") <= 390
    finally:
        page.resize(1280, 900)


def test_a_token_is_asked_for_and_decides(lab: SubprocessServer, browser: Browser, tmp_path: Path) -> None:
    pytest.importorskip("nicegui", reason="the page needs one_liner[ui]")
    tokens = tmp_path / "tokens.toml"
    tokens.write_text('[screen]\ntoken = "for the corridor"\nrole = "read"\n')
    with GatewayProcess("--server", f"127.0.0.1:{lab.rpc_port}", "--tokens", str(tokens)) as gateway:
        assert gateway.get("/ui/").status == 401
        assert gateway.get("/ui/_nicegui_ws/socket.io/?EIO=4&transport=polling").status == 401
        browser.go(f"http://127.0.0.1:{gateway.port}/ui/")
        browser.wait_for("form", "A token is needed")
        browser.enter("input", "a wrong one")
        browser.click("button")
        browser.wait_for("form", "Nobody has this token")
        browser.enter("input", "for the corridor")
        browser.click("button")
        browser.wait_for(f"{LASER} [data-property=wavelength] [data-value]", "532")
        assert browser.count(f"{LASER} [data-method=set_power] [data-call][disabled]") == 1
        assert browser.count(f"{LASER} [data-method=limits] [data-call][disabled]") == 0
        form = f"{LASER} [data-method=set_power]"
        browser.enter(f"{form} input[data-field=power_mw], {form} [data-field=power_mw] input", "9", then_enter=True)
        browser.wait_for(f"{form} [data-result]", "this needs the role control")
        assert "corridor" not in browser.evaluate("document.cookie + location.href")
        browser.go("about:blank")


def test_the_page_can_be_left_out(lab: SubprocessServer) -> None:
    with GatewayProcess("--server", f"127.0.0.1:{lab.rpc_port}", "--no-ui") as gateway:
        assert gateway.get("/ui").status == 404


# --- a stalled browser -----------------------------------------------------------------------------------------------


def test_a_browser_that_does_not_draw_is_sent_nothing(page: Browser, gateway: GatewayProcess) -> None:
    poll_until(lambda: page.evaluate(IMAGE), PATIENCE_S)
    page.evaluate("window.requestAnimationFrame = () => 0")
    poll_until(lambda: _is_still_at_all(page), PATIENCE_S)


def test_who_has_left_is_received_and_asked_nothing_for(page: Browser, gateway: GatewayProcess) -> None:
    poll_until(lambda: _watchers(gateway, "power") == 1, PATIENCE_S)
    page.go("about:blank")
    poll_until(lambda: _watchers(gateway, "power") == 0, PATIENCE_S)


def _watchers(gateway: GatewayProcess, stream: str) -> float:
    lines = gateway.get("/metrics").body.decode().splitlines()
    head = f'one_liner_gateway_watchers{{stream="{stream}"}} '
    return next((float(line.removeprefix(head)) for line in lines if line.startswith(head)), 0.0)


def _is_still_at_all(page: Browser) -> bool:
    before = page.evaluate(IMAGE), page.evaluate(POINTS)
    page.evaluate("new Promise(done => setTimeout(done, 1500))")
    return (page.evaluate(IMAGE), page.evaluate(POINTS)) == before


# --- parts, without a browser ----------------------------------------------------------------------------------------


def test_no_peak_is_lost_by_downsampling() -> None:
    x = np.arange(10_000.0)
    y = np.zeros(10_000)
    y[1234], y[8765] = 5.0, -7.0
    less_x, less_y = downsampled(x, y, 100)
    assert len(less_x) == len(less_y) <= 100
    assert (less_y.max(), less_y.min()) == (5.0, -7.0)
    assert less_x[less_y.argmax()] == 1234
    assert (np.diff(less_x) >= 0).all()


def test_downsampling_leaves_few_points_and_gaps_alone() -> None:
    x = np.arange(50.0)
    assert downsampled(x, x, 100)[1] is x
    gaps = np.full(1000, np.nan)
    gaps[500:] = 1.0
    less = downsampled(np.arange(1000.0), gaps, 100)[1]
    assert np.isnan(less[0])
    assert less[-1] == 1.0


async def until(predicate: Callable[[], bool]) -> None:
    for _ in range(10_000):
        if predicate():
            return
        await asyncio.sleep(0)
    raise AssertionError("it did not come to that")


def test_a_question_is_asked_once_for_all_and_only_while_somebody_looks() -> None:
    asked = 0

    async def ask() -> int:
        nonlocal asked
        asked += 1
        return asked

    async def look() -> None:
        polls = Polls()
        first, second = polls.join("a", ask, 3600), polls.join("a", ask, 3600)
        assert first is second
        await until(lambda: first.answered)
        assert (asked, first.answer) == (1, 1)
        first.hurry()
        await until(lambda: first.answer != 1)
        polls.leave("a")
        polls.leave("a")
        assert polls.join("a", ask, 3600) is not first
        await polls.close()

    asyncio.run(look())
    assert asked == 2


def test_a_question_that_cannot_be_answered_is_asked_again() -> None:
    answers: list[int | NoServerError] = [NoServerError("away"), 5]

    async def ask() -> int:
        answer = answers.pop(0)
        if isinstance(answer, NoServerError):
            raise answer
        return answer

    async def look() -> None:
        polls = Polls()
        poll = polls.join("a", ask, 3600)
        await until(lambda: poll.error is not None)
        assert not poll.answered
        poll.hurry()
        await until(lambda: poll.answered)
        assert (poll.answer, poll.error) == (5, None)
        await polls.close()

    asyncio.run(look())


@pytest.mark.parametrize(
    ("annotation", "kind"),
    [
        ("float", ("float", (), False)),
        ("int", ("int", (), False)),
        ("bool", ("bool", (), False)),
        ("str | None", ("str", (), True)),
        ("Optional[int]", ("int", (), True)),
        ("bool | None", ("any", (), True)),
        ("Literal['a', 'b']", ("choice", ("a", "b"), False)),
        ("list[float]", ("any", (), False)),
        ("numpy.ndarray", ("any", (), False)),
        (None, ("any", (), False)),
    ],
)
def test_what_is_typed_for_an_argument_follows_its_annotation(annotation: str | None, kind: Any) -> None:
    pytest.importorskip("nicegui", reason="the page needs one_liner[ui]")
    from one_liner.gateway.ui.field import kind_of

    assert kind_of(annotation) == kind


def test_without_nicegui_the_page_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)

    async def get() -> httpx.Response:
        transport = httpx.ASGITransport(create_app("127.0.0.1:1", Settings(ui=True)))
        async with httpx.AsyncClient(transport=transport, base_url="http://gateway") as client:
            return await client.get("/ui")

    answer = asyncio.run(get())
    assert answer.status_code == 501
    assert "pip install 'one_liner[ui]'" in answer.text
