"""From a request to a task: what it means, and whether this client may have it done now.

No sockets here: a request comes in decoded, a `Task` or an error goes out. Whoever runs the tasks is `rpc.server`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from one_liner.clock import Clock
from one_liner.errors import BadArgumentsError, MalformedError, RefusedError, UnknownObjectError
from one_liner.rpc.exposure import Exposure
from one_liner.rpc.lanes import Lane
from one_liner.rpc.lease import Leases
from one_liner.rpc.named import NamedCalls
from one_liner.rpc.permission import JOB_WORDS, Permission, Role
from one_liner.rpc.rules import RuleBook
from one_liner.rpc.sessions import Sessions
from one_liner.rpc.target import Target
from one_liner.rpc.task import Task
from one_liner.wire.codec import Codec
from one_liner.wire.messages import Kind, Request

Control = Callable[..., Any]
WasSet = Callable[[Target, Any, str], None]


class Dispatcher:
    """Knows what is served, and to whom.

    Args:
        server: random number of this server.
        exposure: what may be reached.
        named_calls: what may be called by name.
        rules: what is urgent, what only reads.
        leases: who has exclusive control of what.
        sessions: who the clients are.
        controls: what the server itself can be asked, by word; each takes the path, the trail of servers that the
            request has passed, the client, and keyword arguments.
        was_set: is told of every property that was set, in its lane: the value, and by whom.
        object_of_job: the object that a job of this server is about; None for one that is not known.
        codec: reads the bodies of requests.
        clock: the server's clock.

    Attributes:
        kinds: the requests that ask for something to be done.
    """

    def __init__(
        self,
        *,
        server: int,
        exposure: Exposure,
        named_calls: NamedCalls,
        rules: RuleBook,
        leases: Leases,
        sessions: Sessions,
        controls: Mapping[str, Control],
        was_set: WasSet,
        object_of_job: Callable[[str], str | None],
        codec: Codec,
        clock: Clock,
    ) -> None:
        self._clock = clock
        self._server = server
        self._exposure = exposure
        self._named_calls = named_calls
        self._rules = rules
        self._leases = leases
        self._sessions = sessions
        self._controls = controls
        self._was_set, self._object_of_job = was_set, object_of_job
        self._codec = codec
        self._readers: dict[int, Callable[[Request, bytes, float], Task]] = {
            Kind.CALL: self._call,
            Kind.GET: self._get,
            Kind.SET: self._set,
            Kind.CALL_NAMED: self._call_named,
            Kind.CONTROL: self._control,
        }
        self.kinds: Final = frozenset(int(kind) for kind in self._readers)

    def task(self, request: Request, peer: bytes, now: float) -> Task:
        """What a request asks for.

        Args:
            request: of a kind that is understood.
            peer: the connection to answer.
            now: on the server's timeline.

        Raises:
            MalformedError: its body is not what its kind needs.
            UnknownObjectError, UnknownAttributeError, NotExposedError: there is no such thing to reach.
            LeasedError: somebody else has exclusive control.
        """
        return self._readers[request.kind](request, peer, now)

    def permit(self, request: Request, permission: Permission | None) -> None:
        """Let a request of a client with a key through, also one that is for another server.

        Args:
            request: of any kind.
            permission: what the client may do; None when its key is not allowed (any more).

        Raises:
            RefusedError: it may not.
            MalformedError: its body is not what its kind needs.
        """
        if permission is None:
            raise RefusedError("refused: this client's key is not among those allowed (any more)")
        kind, path, word, read_only = request.kind, request.path, "", False
        obj_name: str | None = None
        if kind == Kind.CONTROL:
            word, arguments = self._parts(request, 2)
            _expect(type(word) is str and type(arguments) is dict)
            if word == "take_lease" and arguments.get("force"):
                word = "take_lease_by_force"
            elif word == "submit":
                kind, read_only = Kind.CALL, self._rules.only_reads(f"{path}.{arguments.get('attr_name', '')}")
            elif word in JOB_WORDS:
                path = self._object_of_job(path) or path
            if isinstance(arguments.get("obj_name"), str):
                obj_name = arguments["obj_name"]
        elif kind == Kind.CALL_NAMED:
            named = self._named_calls.all().get(path)
            if named is not None:
                obj_name = named.obj_name
                read_only = self._rules.only_reads(f"{named.obj_name}.{named.attr_name}")
        elif kind == Kind.CALL and permission.role is Role.READ:
            attr_name, args, kwargs = self._parts(request, 3)
            _expect(type(attr_name) is str and type(args) is list and type(kwargs) is dict)
            read_only = self._rules.only_reads(f"{path}.{attr_name}")
        permission.check(kind, path, word, obj_name=obj_name, read_only=read_only)

    def _call(self, request: Request, peer: bytes, now: float) -> Task:
        attr_name, args, kwargs = self._parts(request, 3)
        _expect(type(attr_name) is str and type(args) is list and type(kwargs) is dict)
        return self._calling(request, peer, now, request.path, attr_name, args, kwargs)

    def _call_named(self, request: Request, peer: bytes, now: float) -> Task:
        args, kwargs = self._parts(request, 2)
        _expect(type(args) is list and type(kwargs) is dict)
        named = self._named_calls.get(request.path)
        args, kwargs = named.with_arguments(args, kwargs)
        return self._calling(request, peer, now, named.obj_name, named.attr_name, args, kwargs)

    def _calling(
        self,
        request: Request,
        peer: bytes,
        now: float,
        path: str,
        attr_name: str,
        args: list[Any],
        kwargs: dict[str, Any],
    ) -> Task:
        if kwargs and not all(type(key) is str for key in kwargs):
            raise MalformedError("arguments by name need names that are text")
        target = self._exposure.resolve(path, attr_name)
        exposure, client = self._exposure, request.client
        reads = target.is_property and not args and not kwargs
        if self._leases and not reads:
            self.check_call(target, client, now)

        def act() -> Any:
            if self._leases:
                # Again, because somebody may have taken control while this call waited for the object.
                if reads:
                    return exposure.read(target)
                self.check_call(target, client, self._clock.now())
            return exposure.call(target, args, kwargs)

        return self._task(request, peer, target.where, target.lane, act)

    def check_call(self, target: Target, client: int, now: float) -> None:
        """Refuse a call that somebody else's lease forbids.

        Raises:
            LeasedError: naming the holder.
        """
        if self._leases and not any(self._rules.frees(touched.names, touched.rest) for touched in target.touches):
            self._check_lease(target, client, now)

    def _get(self, request: Request, peer: bytes, now: float) -> Task:
        (attr_name,) = self._parts(request, 1)
        _expect(type(attr_name) is str)
        exposure = self._exposure
        target = exposure.resolve(request.path, attr_name)
        return self._task(request, peer, target.where, target.lane, lambda: exposure.read(target))

    def _set(self, request: Request, peer: bytes, now: float) -> Task:
        attr_name, value = self._parts(request, 2)
        _expect(type(attr_name) is str)
        target = self._exposure.resolve(request.path, attr_name)
        self._check_lease(target, request.client, now)

        def act() -> None:
            self._check_lease(target, request.client, self._clock.now())
            self._exposure.write(target, value)
            self._was_set(target, value, self._sessions.name_of(request.client))

        return self._task(request, peer, target.where, target.lane, act)

    def _control(self, request: Request, peer: bytes, now: float) -> Task:
        word, arguments = self._parts(request, 2)
        _expect(type(word) is str and type(arguments) is dict)
        control = self._controls.get(word)
        if control is None:
            raise UnknownObjectError(f"a server cannot be asked to {word!r}")
        trail, path, client = (*request.trail, self._server), request.path, request.client

        def act() -> Any:
            try:
                return control(path, trail=trail, client=client, **arguments)
            except TypeError as error:
                if error.__traceback__ is not None and error.__traceback__.tb_next is None:
                    raise BadArgumentsError(f"{word}: {error}") from None
                raise

        return self._task(request, peer, f"server.{word}", None, act)

    def _task(self, request: Request, peer: bytes, where: str, lane: Lane | None, act: Callable[[], Any]) -> Task:
        who = self._sessions.name_of(request.client)
        return Task(peer, request.id, where, who, lane, act, request.client, request.refuse_if_busy)

    def _check_lease(self, target: Target, client: int, now: float) -> None:
        if self._leases:
            for touched in target.touches:
                self._leases.check(touched.key, client, target.where, now)

    def _parts(self, request: Request, count: int) -> Any:
        """What the body of a request holds, which has to be a list of so many parts."""
        parts = self._codec.decode(request.body, request.buffers)
        _expect(type(parts) is list and len(parts) == count)
        return parts


def _expect(sound: bool) -> None:
    if not sound:
        raise MalformedError("the parts of this request are not what its kind needs")
