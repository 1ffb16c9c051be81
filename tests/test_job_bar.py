"""A job as it is shown: a bar in a notebook, a bar in a terminal, and what is said where neither can be."""

from __future__ import annotations

import io
import sys
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from one_liner.client import RouterClient
from one_liner.commands import bar
from one_liner.commands.info import Progress
from one_liner.commands.job import Job
from one_liner.commands.state import JobState
from one_liner.errors import MissingExtraError
from one_liner.server import RouterServer
from tests.conftest import poll_until

PATIENCE_S = 20.0


def scan(job: Job, points: int) -> int:
    job.log("lamp [on]")
    for index in range(points):
        job.progress((index + 1) / points, f"point <{index}>")
        job.sleep(0.06)
    return points


def fails(job: Job) -> None:
    raise ValueError("a < b")


@pytest.fixture
def client() -> Iterator[RouterClient]:
    with RouterServer(rpc_port=0, broadcast_port=0, instances={"scan": scan, "fails": fails}) as server:
        server.run()
        with RouterClient(rpc_port=server.rpc_port, broadcast_port=None, interface="127.0.0.1") as client:
            yield client


class Shown:
    """What a notebook's `display` gives."""

    def __init__(self) -> None:
        self.drawn: list[str] = []

    def display(self, job: Any, display_id: bool) -> Any:
        assert display_id
        self.drawn.append(job._repr_html_())
        return SimpleNamespace(update=lambda again: self.drawn.append(again._repr_html_()))


def test_in_a_notebook(client: RouterClient, monkeypatch: pytest.MonkeyPatch) -> None:
    shown = Shown()
    module = SimpleNamespace(get_ipython=lambda: SimpleNamespace(kernel=object()))
    monkeypatch.setitem(sys.modules, "IPython", module)  # type: ignore[arg-type]
    monkeypatch.setitem(sys.modules, "IPython.display", SimpleNamespace(display=shown.display))  # type: ignore[arg-type]
    assert client.submit("scan", args=[3]).show() is JobState.SUCCEEDED
    assert len(shown.drawn) >= 3
    assert 'value="1.0000"' in shown.drawn[-1]
    assert "succeeded" in shown.drawn[-1]
    assert "point &lt;2&gt;" in shown.drawn[-1], "what a job says is no markup"


def test_a_terminal_is_no_notebook(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "IPython", raising=False)
    assert bar._notebook_display() is None
    monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace(get_ipython=lambda: None))  # type: ignore[arg-type]
    assert bar._notebook_display() is None


def test_as_html_when_it_has_failed_and_before_it_says_anything(client: RouterClient) -> None:
    job = client.submit("fails")
    job.wait(PATIENCE_S)
    assert "ValueError: a &lt; b" in job._repr_html_()
    assert 'value="0.0000"' in job._repr_html_()
    waiting = client.submit("scan", args=[0])
    assert waiting._info.progress == Progress()
    if not waiting.done:
        assert "<progress max" in waiting._repr_html_()


def test_in_a_terminal(client: RouterClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "IPython", raising=False)
    screen = io.StringIO()
    monkeypatch.setattr(sys, "stderr", screen)
    bar.show_in_terminal(client.submit("scan", args=[2]), on_stderr=True)
    assert "lamp [on]" in screen.getvalue()
    assert "succeeded 100 %" in screen.getvalue()


def test_ctrl_c_ends_the_bar_and_not_the_job(client: RouterClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "IPython", raising=False)
    job = client.submit("scan", args=[5])

    def interrupted(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(bar, "show_in_terminal", interrupted)
    assert not job.show().ended or job.done
    assert job.result(PATIENCE_S) == 5


def test_without_rich_it_says_what_to_install(client: RouterClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "IPython", raising=False)
    for name in ("rich.console", "rich.progress"):
        monkeypatch.setitem(sys.modules, name, None)  # type: ignore[arg-type]
    job = client.submit("scan", args=[1])
    with pytest.raises(MissingExtraError, match=r'pip install "one_liner\[cli\]"'):
        job.show()
    poll_until(lambda: job.done)
