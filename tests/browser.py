"""A real Chromium without a window, driven over the Chrome DevTools protocol."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import shutil
import signal
import subprocess
import tempfile
import threading
from types import TracebackType
from typing import Any, Self

from websockets.sync.client import connect

from tests.conftest import poll_until

START_S = 60.0
_NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
_ANNOUNCED = "DevTools listening on "


def chromium() -> str | None:
    """Where it is; None if this machine has none."""
    return next((found for name in _NAMES if (found := shutil.which(name))), None)


class Browser:
    """A browser with one page; a context manager.

    What it does is told by `evaluate`, in JavaScript: where an element is, is the page's affair.
    """

    def __init__(self, width: int = 1280, height: int = 900) -> None:
        self._number = 0
        self._reader: threading.Thread | None = None
        with contextlib.ExitStack() as stack:
            folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="browser", ignore_cleanup_errors=True))
            self._process = self._start(folder, f"{width},{height}")
            stack.callback(self._end)
            self._socket = stack.enter_context(connect(self._page(), max_size=None, open_timeout=START_S))
            self._stack = stack.pop_all()
        self.tell("Page.enable")
        self.tell("Runtime.enable")
        self.resize(width, height)

    @staticmethod
    def _start(folder: str, size: str) -> subprocess.Popen[str]:
        options = [
            "--headless=new",
            "--no-sandbox",  # It is not meant for users like root, and sees nothing but our own page.
            "--disable-gpu",
            "--disable-dev-shm-usage",
            "--no-first-run",
            "--remote-debugging-port=0",
            f"--user-data-dir={folder}",
            f"--window-size={size}",
            "about:blank",
        ]
        return subprocess.Popen(
            [str(chromium()), *options],
            stderr=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            text=True,
            start_new_session=True,
        )

    def _page(self) -> str:
        """Where its page is told what to do."""
        patience = threading.Timer(START_S, self._kill)
        patience.start()
        assert self._process.stderr is not None
        try:
            address = next(line for line in self._process.stderr if line.startswith(_ANNOUNCED))
        finally:
            patience.cancel()
            patience.join()
        # A full pipe would stop it.
        self._reader = threading.Thread(target=self._process.stderr.read, name="browser's words", daemon=True)
        self._reader.start()
        address = address.removeprefix(_ANNOUNCED).strip()
        with connect(address, max_size=None, open_timeout=START_S) as whole:
            whole.send(json.dumps({"id": 1, "method": "Target.getTargets"}))
            targets = json.loads(whole.recv(START_S))["result"]["targetInfos"]
        page = next(one["targetId"] for one in targets if one["type"] == "page")
        return f"ws://{address.split('/')[2]}/devtools/page/{page}"

    def _kill(self) -> None:
        """Also the processes that it has started."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)

    def _end(self) -> None:
        self._kill()
        self._process.wait()
        if self._reader is not None:
            self._reader.join(START_S)
        if self._process.stderr is not None:
            self._process.stderr.close()

    def tell(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Say something of the protocol, and give the answer."""
        self._number += 1
        self._socket.send(json.dumps({"id": self._number, "method": method, "params": parameters}))
        while True:
            answer = json.loads(self._socket.recv(START_S))
            if answer.get("id") == self._number:
                assert "error" not in answer, answer["error"]
                return dict(answer["result"])

    def resize(self, width: int, height: int, mobile: bool = False) -> None:
        """Have a screen of this size."""
        self.tell("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=mobile)

    def go(self, url: str) -> None:
        """Open a page."""
        self.tell("Page.navigate", url=url)

    def evaluate(self, code: str) -> Any:
        """What this JavaScript gives; waits for a promise."""
        answer = self.tell("Runtime.evaluate", expression=code, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def text(self, selector: str) -> str | None:
        """The text of the first element that fits; None if there is none."""
        found: str | None = self.evaluate(f"document.querySelector({json.dumps(selector)})?.innerText ?? null")
        return found

    def count(self, selector: str) -> int:
        """How many elements fit."""
        return int(self.evaluate(f"document.querySelectorAll({json.dumps(selector)}).length"))

    def wait_for(self, selector: str, containing: str = "", timeout_s: float = START_S) -> str:
        """Wait until there is such an element with this in its text, and give the text."""
        poll_until(lambda: containing in (self.text(selector) or "") and self.count(selector) > 0, timeout_s)
        return self.text(selector) or ""

    def click(self, selector: str) -> None:
        """Press the first element that fits, with the mouse."""
        x, y = self.evaluate(
            f"""(() => {{
                const element = document.querySelector({json.dumps(selector)});
                element.scrollIntoView({{block: "center", behavior: "instant"}});
                const box = element.getBoundingClientRect();
                return [box.x + box.width / 2, box.y + box.height / 2];
            }})()"""
        )
        for kind in ("mousePressed", "mouseReleased"):
            self.tell("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1)

    def enter(self, selector: str, text: str, then_enter: bool = False) -> None:
        """Press a field, and type into it."""
        self.click(selector)
        self.tell("Input.insertText", text=text)
        if then_enter:
            for kind in ("keyDown", "keyUp"):
                self.tell(
                    "Input.dispatchKeyEvent", type=kind, key="Enter", code="Enter", windowsVirtualKeyCode=13, text="\r"
                )

    def screenshot(self) -> bytes:
        """What is seen now, as PNG."""
        return base64.b64decode(self.tell("Page.captureScreenshot", format="png")["data"])

    def close(self) -> None:
        """End it."""
        self._stack.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
