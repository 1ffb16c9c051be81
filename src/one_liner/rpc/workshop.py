"""Where a task is carried out: in place on the thread that leads, at its object's home, or on a worker.

In place when the object's lane is free and the object has no home; and then the rest of the crew watches the clock.
"""

from __future__ import annotations

from collections.abc import Callable
from threading import Lock
from weakref import WeakSet

from one_liner.clock import Clock
from one_liner.rpc.crew import PATIENCE_S, Crew
from one_liner.rpc.home import Home
from one_liner.rpc.lanes import Lane, Occupant, TickInLine
from one_liner.rpc.task import Task
from one_liner.wire.codec import Codec
from one_liner.wire.extensions import Buffer


class Workshop:
    """The threads that act on the objects of a server.

    Args:
        name: of the threads.
        lead: serves the socket, as `Crew` wants it.
        hand_in: takes an answer that was not made on the leading thread.
        codec: writes answers.
        clock: the server's clock.
    """

    def __init__(
        self,
        name: str,
        lead: Callable[[int], None],
        hand_in: Callable[[Task, list[Buffer]], None],
        codec: Codec,
        clock: Clock,
    ) -> None:
        self._crew = Crew(name, lead)
        self._hand_in = hand_in
        self._codec, self._clock = codec, clock
        self._lock = Lock()
        self._homes: WeakSet[Home] = WeakSet()
        self._stopping = False

    def start(self) -> None:
        """Begin to serve."""
        self._crew.start()

    def stop(self, timeout_s: float) -> bool:
        """Send everybody home. False when some are stuck in somebody's driver."""
        with self._lock:
            self._stopping = True
            homes = list(self._homes)
        for home in homes:
            home.leave()
        return self._crew.stop(timeout_s)

    def carry_out(self, task: Task, term: int) -> list[Buffer] | None:
        """Have a task carried out, now or when its lane is free. For the thread that leads.

        Returns:
            The answer, when it was made in place; otherwise None, and it will be handed in. After None, the caller has
            to look whether it still leads.

        Raises:
            BusyError: a call is at work there, and this one is not to wait for it.
        """
        lane = task.lane
        if lane is not None:
            enter = lane.enter_unless_called if task.refuse_if_busy else lane.enter
            if not enter(task, task.since):
                return None
            if lane.home is not None or lane.own_thread:
                self.resume(lane, task)
                return None
        self._crew.begin()
        frames = task.perform(self._codec, self._clock)
        if not self._crew.end(term):
            self._overtaken(task, frames)
            return None
        self._leave(lane)
        return frames

    def leads(self, term: int) -> bool:
        """Whether the thread of this term still leads."""
        return self._crew.leads(term)

    def resume(self, lane: Lane, occupant: Occupant) -> None:
        """Carry out what was just given its lane. From any thread, which does not wait."""
        if isinstance(occupant, Task):
            self._post(lane, lambda: self._work(occupant))
        elif isinstance(occupant, TickInLine):
            self._post(lane, occupant.act)

    def perform(self, task: Task) -> None:
        """Carry out a task that is not the leading thread's business. From any thread, which does not wait."""
        lane = task.lane
        if lane is None:
            self._crew.employ(lambda: self._work(task))
        elif lane.enter(task, self._clock.now()):
            self.resume(lane, task)

    def at_home(self, lane: Lane, duty: Callable[[], None]) -> None:
        """Do something on the thread that an object has to be used on, for whoever has its lane."""
        home = lane.home
        if home is None:
            home = lane.home = self._settle(lane, permanent=lane.own_thread)
            self._crew.employ(home.live)
        home.post(duty)

    def _post(self, lane: Lane, duty: Callable[[], None]) -> None:
        """Have something that has its lane carried out elsewhere: at home, or by any worker."""
        if lane.home is None and not lane.own_thread:
            self._crew.employ(duty)
        else:
            self.at_home(lane, duty)

    def _settle(self, lane: Lane, *, permanent: bool) -> Home:
        home = Home(permanent)
        home.end_with(lane)
        with self._lock:
            if self._stopping:
                home.leave()
            else:
                self._homes.add(home)
        return home

    def _overtaken(self, task: Task, frames: list[Buffer]) -> None:
        """The lead was taken over meanwhile: this thread goes on as the home of the object that was so slow."""
        lane = task.lane
        if lane is None:
            self._hand_in(task, frames)
            return
        home = lane.home = self._settle(lane, permanent=False)
        self._leave(lane)  # First: whoever has the answer finds the object free.
        self._hand_in(task, frames)
        del task, lane
        home.live()

    def _work(self, task: Task) -> None:
        """Carry out a task that has its lane. On a worker, or at home."""
        began = self._clock.now()
        frames = task.perform(self._codec, self._clock)
        lane = task.lane
        if lane is not None:
            self._consider(lane, self._clock.now() - began)
            self._leave(lane)
        self._hand_in(task, frames)

    def _consider(self, lane: Lane, took_s: float) -> None:
        """Give the home of an object up that has been quick for a while. For whoever has the lane."""
        home = lane.home
        if home is not None and home.outlived(took_s < PATIENCE_S):
            lane.home = None
            with self._lock:
                self._homes.discard(home)
            home.leave()

    def _leave(self, lane: Lane | None) -> None:
        following = None if lane is None else lane.leave(self._clock.now())
        if lane is not None and following is not None:
            self.resume(lane, following)
