"""How exactly the threads of streams sleep."""

from __future__ import annotations

import sys
from pathlib import Path
from threading import get_native_id

import pytest

from one_liner import RouterServer
from tests.conftest import poll_until


def slack_ns(thread_id: int) -> int:
    return int(Path(f"/proc/{thread_id}/timerslack_ns").read_text())


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has a timer slack to be read")
def test_a_ticker_is_woken_as_exactly_as_the_system_can() -> None:
    before = slack_ns(get_native_id())
    with RouterServer(rpc_port=0, broadcast_port=0) as server:
        ticked: list[int] = []
        server.add_stream_from_callable("x", 100, lambda: ticked.append(get_native_id()))
        server.run()
        poll_until(lambda: ticked)
        assert slack_ns(ticked[0]) == 1
    assert slack_ns(get_native_id()) == before, "the application's threads sleep as they did"
