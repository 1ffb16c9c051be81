"""Takes the picture of the page for the documentation: `python -m assets.screenshot`, at the top of the tree.

Needs chromium, `one_liner[ui]` and Pillow. The instruments are those of `one-liner gateway --demo`.
"""

from __future__ import annotations

import io
from pathlib import Path

from PIL import Image

from tests.browser import Browser
from tests.conftest import poll_until
from tests.gateway_process import GatewayProcess

PICTURE = Path(__file__).parent.parent / "docs" / "how-to" / "page.png"
WIDTH, HEIGHT = 1400, 1000
COLOURS = 128


def main() -> None:
    """Have something happen on the page, and take its picture."""
    with GatewayProcess("--demo") as gateway, Browser(WIDTH, HEIGHT) as browser:
        gateway.wait_connected()
        browser.go(f"http://127.0.0.1:{gateway.port}/ui/")
        browser.wait_for('[data-object="laser"] [data-property=wavelength_nm] [data-value]', "532")
        browser.enter('[data-object="camera"] [data-property=exposure_ms] input', "19", then_enter=True)
        power = '[data-object="laser"] [data-method=set_power]'
        browser.enter(f"{power} input", "12.5")
        browser.click(f"{power} [data-call]")
        browser.wait_for(f"{power} [data-result]", "→")
        browser.click('[data-object="stage"] [data-method=scan] [data-call]')
        poll_until(lambda: "60 %" in (browser.text("[data-job] [data-line]") or ""), 60, "the scan")
        browser.evaluate("document.activeElement.blur(), scrollTo(0, 0)")
        browser.tell("Input.dispatchMouseEvent", type="mouseMoved", x=WIDTH - 30, y=HEIGHT - 10)
        poll_until(lambda: browser.count(".q-tooltip") == 0, 60, "the hints to be gone")
        shown = Image.open(io.BytesIO(browser.screenshot()))
        shown.convert("RGB").quantize(COLOURS, dither=Image.Dither.NONE).save(PICTURE, optimize=True)
    print(f"{PICTURE}: {PICTURE.stat().st_size} bytes")


if __name__ == "__main__":
    main()
