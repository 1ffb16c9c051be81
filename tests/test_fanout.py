"""The broadcast address by itself: what several publishers say, in which order."""

from __future__ import annotations

from collections.abc import Iterator
from threading import Event, Thread

import pytest
import zmq

from one_liner.testing import poll_until
from one_liner.transport.endpoints import Endpoint
from one_liner.transport.fanout import Fanout, Publisher


class Halting(Fanout):
    """One that carries nothing while it is halted, so that all that is sent waits inside."""

    def __init__(self, context: zmq.Context[zmq.Socket[bytes]]) -> None:
        super().__init__(context, Endpoint("inproc", "one_liner-test-fanout", "streams"), heartbeat_s=1.0)
        self.halted, self.go_on = Event(), Event()

    def halt(self) -> None:
        self.halted.clear()
        self.go_on.clear()
        self.cut()
        assert self.halted.wait(5)

    def _cut(self) -> None:
        self.halted.set()
        self.go_on.wait(5)


@pytest.fixture
def context() -> Iterator[zmq.Context[zmq.Socket[bytes]]]:
    with zmq.Context() as context:
        yield context


@pytest.fixture
def fanout(context: zmq.Context[zmq.Socket[bytes]]) -> Iterator[Halting]:
    fanout = Halting(context)
    fanout.run()
    yield fanout
    fanout.go_on.set()
    fanout.close()


@pytest.fixture
def subscriber(context: zmq.Context[zmq.Socket[bytes]], fanout: Halting) -> Iterator[zmq.Socket[bytes]]:
    with context.socket(zmq.SUB) as subscriber:
        subscriber.connect(str(fanout.endpoint))
        subscriber.subscribe(b"t\0")
        yield subscriber


def publisher_of(fanout: Fanout) -> Publisher:
    publisher = fanout.publisher(hears_subscriptions=True)
    poll_until(lambda: publisher.listens(b"t\0"))
    return publisher


def received(subscriber: zmq.Socket[bytes], count: int) -> list[bytes]:
    numbers = []
    while len(numbers) < count:
        assert subscriber.poll(5000), f"only {numbers} came"
        numbers.append(subscriber.recv().removeprefix(b"t\0"))
    return numbers


def test_publishers_take_turns_unless_they_settle(fanout: Halting, subscriber: zmq.Socket[bytes]) -> None:
    first, second = publisher_of(fanout), publisher_of(fanout)
    fanout.halt()
    for number in range(5):
        first.send([b"t\0%d" % number])
    second.send([b"t\0second"])
    fanout.go_on.set()
    assert received(subscriber, 6)[-1] != b"second"
    first.close()
    second.close()


def test_who_settles_is_not_overtaken(fanout: Halting, subscriber: zmq.Socket[bytes]) -> None:
    first, second = publisher_of(fanout), publisher_of(fanout)
    fanout.halt()
    for number in range(5):
        first.send([b"t\0%d" % number])

    def succeed() -> None:
        fanout.settle(first.send)
        second.send([b"t\0second"])

    successor = Thread(target=succeed)
    successor.start()
    assert not subscriber.poll(100)
    assert successor.is_alive()
    fanout.go_on.set()
    assert received(subscriber, 6) == [b"0", b"1", b"2", b"3", b"4", b"second"]
    successor.join(5)
    first.close()
    second.close()


def test_a_way_that_is_full_or_closed_is_not_waited_for_long(fanout: Halting, subscriber: zmq.Socket[bytes]) -> None:
    publisher = publisher_of(fanout)
    fanout.halt()
    for number in range(3000):
        publisher.send([b"t\0%d" % number])
    fanout.settle(publisher.send)
    publisher.close()
    fanout.settle(publisher.send)
    fanout.go_on.set()
    assert received(subscriber, 1) == [b"0"]


def test_before_it_runs_and_after_it_was_closed_there_is_nothing_to_wait_for(
    context: zmq.Context[zmq.Socket[bytes]],
) -> None:
    fanout = Halting(context)
    publisher = fanout.publisher()
    fanout.settle(publisher.send)
    fanout.close()
    fanout.settle(publisher.send)
    publisher.close()
