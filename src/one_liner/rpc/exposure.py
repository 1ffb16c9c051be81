"""What may be reached from outside, by name, and how it is then called, read or written.

Everything that is served stands in one `Exposure`. A request names an object (`rig`, or the nested `rig.stage`) and an
attribute; `Exposure.resolve` turns both into a `Target`: what to act on, and in which lane. It runs no code of the
objects, so it may be done by the thread that receives. `call`, `read` and `write` then act, inside the lane.

The rules, in short: no name with an underscore in front; a path leads through objects only, never through functions,
classes, plain values or the interpreter's own machinery; of a module only what it shows as its own.
"""

from __future__ import annotations

import threading
import types
import weakref
from collections import deque
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from typing import Any, Literal, NamedTuple

from one_liner.errors import (
    BadArgumentsError,
    ConfigurationError,
    NotExposedError,
    UnknownAttributeError,
    UnknownObjectError,
)
from one_liner.rpc.calling import command_of, read_instead, run, with_unwatched_job
from one_liner.rpc.carriers import (
    MAX_SEARCHED,
    MAX_UNWRAPPED,
    bound_to,
    carrier_of,
    children,
    is_container,
    name_of,
    unwrapped,
)
from one_liner.rpc.lanes import Lane
from one_liner.rpc.members import (
    MISSING,
    Member,
    bound_callable,
    instance_dict,
    is_class,
    is_function,
    is_module,
    is_opaque,
    is_passable,
    may_make_up,
    member,
)
from one_liner.rpc.naming import check_members, check_name
from one_liner.rpc.target import Target, Touched
from one_liner.rpc.wording import a, hint, kind_of, quoted, shown, unknown_attribute

_MAX_STEPS = 32
_MAX_DEPTH = 6

# The interpreter's own machinery: nobody's instrument, and each of them a way to everything.
_INTERNALS = (
    types.FrameType,
    types.CodeType,
    types.TracebackType,
    types.CellType,
    types.GeneratorType,
    types.CoroutineType,
    types.AsyncGeneratorType,
)


class _ServedLane(Lane):
    """A lane that keeps its object alive: as long as somebody uses the lane, the object's identity leads to it."""

    __slots__ = ("__weakref__", "carrier")

    def __init__(self, name: str, carrier: Any) -> None:
        super().__init__(name)
        self.carrier = carrier


class _Witness(NamedTuple):
    """Why a nested object was found: this stood there under this name."""

    held: Mapping[str, Any]
    step: str
    value: Any


class _Entry:
    """One name under which something is served."""

    __slots__ = ("beside", "lane", "name", "obj")

    def __init__(self, name: str, obj: Any, lane: _ServedLane, beside: frozenset[str] | Literal[True]) -> None:
        self.name = name
        self.obj = obj
        self.lane = lane
        self.beside = beside

    def may_run_beside(self, steps: Sequence[str]) -> bool:
        """Whether the attribute at the end of these steps was declared safe to run beside others."""
        if self.beside is True:
            return True
        return bool(self.beside) and any(".".join(steps[:n]) in self.beside for n in range(1, len(steps) + 1))


class Exposure:
    """The objects that are served, and the way to their attributes.

    `add` and `remove` may be called from any thread at any time. `resolve` and `lane_of` take no lock and run none of
    the objects' code. `call`, `read` and `write` run it, and belong into the lane of their target.

    Each object has one lane, whatever the number of its names, and keeps it while anybody uses it, even through
    `remove` and `add`. A method served under a name of its own has the lane of the object that it belongs to.
    """

    def __init__(self) -> None:
        self._changing = threading.Lock()
        # These two are replaced, never changed: readers need no lock.
        self._entries: dict[str, _Entry] = {}
        self._by_carrier: dict[int, tuple[_Entry, ...]] = {}
        self._generation = 0
        self._lanes: weakref.WeakValueDictionary[int, _ServedLane] = weakref.WeakValueDictionary()
        # Answers known already. They are dropped with whatever is added or removed; a late one goes into the old dict.
        self._known: dict[tuple[str, str], Target] = {}
        self._known_nested: dict[tuple[str, str], tuple[tuple[_Witness, ...], Target]] = {}

    def add(self, name: str, obj: Any, concurrent: bool | Iterable[str] = (), own_thread: bool = False) -> None:
        """Serve `obj` as `name`.

        Args:
            name: what it is called outside: no underscore in front, no `/`, no `.`, no control characters.
            obj: any object, module, function or class.
            concurrent: True when everything of it may run beside everything else; or the names of those methods and
                properties that may. A nested one is written `stage.position`; naming `stage` frees all below it.
            own_thread: everything else of it has to be used on one and the same thread.

        Raises:
            ConfigurationError: the name cannot be or is taken, `obj` cannot be served, or `concurrent` names
                something that it does not have. Nothing was changed.
        """
        check_name(name)
        if obj is None or issubclass(type(obj), _INTERNALS):
            raise ConfigurationError(f"{name!r} cannot be served: it is {a(type(obj).__name__)}")
        beside: frozenset[str] | Literal[True] = True
        if concurrent is not True:
            beside = check_members("concurrent", name, obj, concurrent or ())
        carrier = carrier_of(obj)
        with self._changing:
            if name in self._entries:
                raise ConfigurationError(f"the name {name!r} is taken by {a(type(self._entries[name].obj).__name__)}")
            lane = self._lanes.get(id(carrier))
            if lane is None:
                lane = self._lanes[id(carrier)] = _ServedLane(name, carrier)
            lane.own_thread = lane.own_thread or own_thread
            self._replace({**self._entries, name: _Entry(name, obj, lane, beside)})

    def remove(self, name: str) -> None:
        """Serve `name` no longer; what runs, and what was resolved before, is not disturbed.

        Raises:
            UnknownObjectError: nothing is served under this name.
        """
        with self._changing:
            if name not in self._entries:
                raise self._unknown(name)
            self._replace({key: entry for key, entry in self._entries.items() if key != name})

    def _replace(self, entries: dict[str, _Entry]) -> None:
        by_carrier: dict[int, tuple[_Entry, ...]] = {}
        for entry in entries.values():
            by_carrier[id(entry.lane.carrier)] = (*by_carrier.get(id(entry.lane.carrier), ()), entry)
        self._entries = entries
        self._by_carrier = by_carrier
        self._generation += 1
        self._known = {}
        self._known_nested = {}

    @property
    def generation(self) -> int:
        """Grows with whatever is added or removed; what was found out before may have changed then."""
        return self._generation

    def names(self) -> list[str]:
        """The names served now, in the order they were added."""
        return list(self._entries)

    def __contains__(self, name: object) -> bool:
        return name in self._entries

    def get(self, name: str) -> Any:
        """The object served as `name`.

        Raises:
            UnknownObjectError: nothing is.
        """
        entry = self._entries.get(name)
        if entry is None:
            raise self._unknown(name)
        return entry.obj

    def object_key(self, name: str) -> Hashable:
        """What all names of one object have in common, and no other object has.

        Raises:
            UnknownObjectError: nothing is served under this name.
        """
        entry = self._entries.get(name)
        if entry is None:
            raise self._unknown(name)
        return entry.lane

    # -- finding --

    def resolve(self, path: str, attr_name: str) -> Target:
        """Find what a request means; no code of the objects runs.

        Args:
            path: a served name, or one with the names of nested objects behind it: `rig.stage`.
            attr_name: the attribute; empty or `__call__` for the object itself.

        Raises:
            UnknownObjectError: nothing is served under the first name.
            UnknownAttributeError: a name on the way does not exist, or may not be reached.
            NotExposedError: a name is private, or something on the way is no object to walk into.
        """
        try:
            return self._known[path, attr_name]
        except (KeyError, TypeError):
            pass
        return self._resolve(path, attr_name)

    def _resolve(self, path: str, attr_name: str) -> Target:
        if type(path) is not str or type(attr_name) is not str:
            raise UnknownObjectError("an object and an attribute are named by text")
        known, known_nested = self._known, self._known_nested
        witnesses, target = known_nested.get((path, attr_name), ((), None))
        if target is not None and all(held.get(step) is value for held, step, value in witnesses):
            return target
        whole = path if attr_name in ("", "__call__") else f"{path}.{attr_name}"
        root, *steps = whole.split(".")
        entry = self._entries.get(root)
        if entry is None:
            raise self._unknown(root)
        _check_steps(whole, steps)
        if not steps:
            lane = None if entry.beside is True else entry.lane
            touches = (Touched(entry.lane, (root,), ""),)
            target = Target(entry.obj, "", lane, whole, direct=True, touches=touches, command=command_of(entry.obj))
            return known.setdefault((path, attr_name), target)
        target, seen = self._walk(entry, whole, steps)
        if seen is not None and len(seen) == len(steps) - 1:
            if seen:
                known_nested[path, attr_name] = seen, target
            else:
                known[path, attr_name] = target
        return target

    def _walk(self, entry: _Entry, whole: str, steps: list[str]) -> tuple[Target, tuple[_Witness, ...] | None]:
        """Walk as far as no code has to run; second, what the answer rests on, unless it has to be found anew."""
        owner = entry.obj
        home: tuple[_Entry, ...] = (entry,)
        since_home = 0
        seen: list[_Witness] = []
        touches = [_touched(home, steps)]
        for index, step in enumerate(steps[:-1]):
            found = self._member(owner, step, whole, index)
            if found is None or found.value is MISSING or is_opaque(owner):
                lane = _lane(home, steps[since_home:])
                return Target(owner, steps[-1], lane, whole, tuple(steps[index:-1]), touches=tuple(touches)), None
            held = vars(owner) if is_module(owner) else instance_dict(owner)
            if held.get(step) is found.value:
                seen.append(_Witness(held, step, found.value))
            owner = found.value
            _check_passable(owner, found, whole, step)
            if id(owner) in self._by_carrier:
                home, since_home = self._by_carrier[id(owner)], index + 1
                touches.append(_touched(home, steps[since_home:]))
        target, lasting = self._last_step(owner, home, steps[since_home:], whole, tuple(touches))
        return target, tuple(seen) if lasting else None

    def _last_step(
        self, owner: Any, home: tuple[_Entry, ...], steps: Sequence[str], whole: str, touches: tuple[Touched, ...]
    ) -> tuple[Target, bool]:
        name = steps[-1]
        found = self._member(owner, name, whole, -1)
        if found is None or is_opaque(owner):
            return Target(owner, name, _lane(home, steps), whole, touches=touches), False
        carrier = carrier_of(found.value)
        served = self._by_carrier.get(id(carrier))
        if served is not None and callable(found.value):
            # The attribute is, or belongs to, an object that is served itself: what is called is that one.
            touches = (*touches, _touched(served, ()))
            return Target(owner, name, _lane(served, ()), whole, touches=touches), False
        own = found.value is MISSING or (is_module(owner) and is_function(carrier))
        direct = own and found.kind == "method"
        reads = found.kind == "property"
        command = command_of(bound_callable(owner, found)) if direct else None
        return Target(owner, name, _lane(home, steps), whole, (), direct, touches, reads, command), direct or reads

    def _member(self, owner: Any, step: str, whole: str, index: int) -> Member | None:
        """The member, or None where only the object itself can tell whether it has one."""
        if is_function(owner):
            raise NotExposedError(f"{shown(whole)}: a function can be called, its attributes cannot be reached")
        found = member(owner, step)
        if found is None and not may_make_up(owner, step):
            raise unknown_attribute(owner, whole, index)
        return found

    def lane_of(self, func: Callable[..., Any]) -> tuple[Lane | None, str]:
        """The lane that a callable has to take, for streams made from callables.

        It is found for a method of a served object or of one nested in it (a bounded search through instance
        attributes and containers), for a served function, for a function of a served module, and for any of these in
        a `functools.partial` or behind `__wrapped__`.

        Returns:
            The lane, and what the callable is called (`rig.stage.read`). No lane when it belongs to nobody, or was
            declared to run beside others.
        """
        inner: Any = func
        for _ in range(MAX_UNWRAPPED):
            found = self._lane_of_one(inner)
            if found is not None:
                return found
            following = unwrapped(inner)
            if following is MISSING:
                break
            inner = following
        return None, name_of(func)

    def _lane_of_one(self, func: Any) -> tuple[Lane | None, str] | None:
        for entry in self._entries.values():
            if entry.obj is func or (type(func) is type(entry.obj) is types.MethodType and entry.obj == func):
                return (None if entry.beside is True else entry.lane), entry.name
        owner, name = bound_to(func)
        served = self._by_carrier.get(id(owner))
        if served is None:
            return self._lane_of_nested(owner, name)
        names = [entry.name for entry in served if entry.obj is owner] or [type(owner).__name__]
        return _lane(served, (name,)), f"{names[0]}.{name}"

    def _lane_of_nested(self, wanted: Any, name: str) -> tuple[Lane | None, str] | None:
        """Look for an object in what the served ones hold; the nearest one that holds it counts."""
        waiting: deque[tuple[_Entry, Any, tuple[str, ...]]] = deque()
        waiting.extend((entry, entry.obj, ()) for entry in self._entries.values())
        seen = {id(entry.obj) for entry in self._entries.values()}
        for _ in range(MAX_SEARCHED):
            if not waiting:
                break
            entry, obj, steps = waiting.popleft()
            for step, child in children(obj):
                path = (*steps, step) if step else steps
                if child is wanted:
                    path = (*path, name) if name else path
                    return _lane((entry,), path), ".".join([entry.name, *path])
                if id(child) not in seen and len(path) < _MAX_DEPTH and (is_container(child) or is_passable(child)):
                    seen.add(id(child))
                    waiting.append((entry, child, path))
        return None

    # -- acting --

    def call(self, target: Target, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
        """Call what the target names; read it, when it is a property and there are no arguments.

        The result of a coroutine function is awaited, by `asyncio.run` in the calling thread: each such call has an
        event loop of its own, so what it awaits must not belong to another loop.

        Raises:
            BadArgumentsError: the arguments do not fit the signature; the function did not run.
            UnknownAttributeError: there is no such attribute (any more).
            Exception: whatever the function raised, untouched.
        """
        if target.command is not None:
            args, kwargs = with_unwatched_job(target.command, target, args, kwargs)
        if not target.direct:
            func = self._func(target)
        elif target.name:
            func = self._attribute(target.owner, target)
        else:
            func = target.owner
        if not callable(func):
            return read_instead(target, func, args, kwargs)
        try:
            result = func(*args, **kwargs)
        except TypeError as error:
            from one_liner.rpc.misfit import misfit  # For this message only.

            reason = misfit(func, args, kwargs, error)
            if reason is None:
                raise
            shape = command_of(func)
            if shape is None or target.direct:
                raise BadArgumentsError(f"{shown(target.where)}{reason}") from error
            given, given_by_name = with_unwatched_job(shape, target, args, kwargs)
            result = func(*given, **given_by_name)
        return run(result) if hasattr(type(result), "__await__") else result

    def visible_function(self, target: Target) -> Any:
        """What a call of the target would call, as far as that can be seen without running any of the object's code.

        Returns:
            A function; whatever else stands there; or None where only the object's own code can tell.
        """
        if not target.name:
            return target.owner
        found = None if target.steps else member(target.owner, target.name)
        if found is None or found.kind == "property":
            return None
        return bound_callable(target.owner, found) if found.value is MISSING else found.value

    def function(self, target: Target) -> Any:
        """What a call of the target calls. Runs the object's code, and belongs into its lane.

        Raises:
            UnknownAttributeError: there is no such attribute (any more).
        """
        if not target.direct:
            return self._func(target)
        return self._attribute(target.owner, target) if target.name else target.owner

    def _func(self, target: Target) -> Any:
        """What is to be called, where it may turn out to belong to another object than its name says."""
        owner = self._owner(target)
        value = self._attribute(owner, target)
        carrier = carrier_of(value)
        if callable(value) and carrier is not owner:
            self._check_lane(carrier, target, target.name)
        return value

    def read(self, target: Target) -> Any:
        """The value of an attribute; that of the object itself when the target names no attribute.

        Raises:
            NotExposedError: it is a method or a class, which are there to be called.
            UnknownAttributeError: there is no such attribute (any more).
            Exception: whatever a property raised, untouched.
        """
        owner = self._owner(target)
        value = self._attribute(owner, target) if target.name else owner
        if callable(value) and (is_function(value) or is_class(value)):
            raise NotExposedError(f"{shown(target.where)} is {kind_of(value)}: it can be called, not read")
        return value

    def write(self, target: Target, value: Any) -> None:
        """Set a property or an attribute that exists.

        Raises:
            UnknownAttributeError: there is no such attribute, or it is read-only.
            NotExposedError: it is a method or a nested object, or the target is an object itself.
            Exception: whatever the setter raised, untouched.
        """
        where = shown(target.where)
        if not target.name:
            raise NotExposedError(f"{where} is what is served: its attributes can be set, it cannot be replaced")
        owner = self._owner(target)
        found = member(owner, target.name)
        if found is None:
            if not may_make_up(owner, target.name):
                raise unknown_attribute(owner, target.where, -1)
            self._attribute(owner, target)
        elif found.kind == "method":
            raise NotExposedError(f"{where} is a method: it can be called, not set")
        elif found.kind != "property":
            what = a(type(found.value).__name__)
            raise NotExposedError(f"{where} is {what} and cannot be replaced from outside")
        elif not found.writable:
            raise UnknownAttributeError(f"{where} is read-only")
        setattr(owner, target.name, value)

    def _attribute(self, owner: Any, target: Target) -> Any:
        try:
            return getattr(owner, target.name)
        except AttributeError as error:
            if member(owner, target.name) is not None:
                # It is there: this is its own error, not ours.
                raise
            raise unknown_attribute(owner, target.where, -1) from error

    def _owner(self, target: Target) -> Any:
        """Walk what `resolve` had to leave, now that the object's own code may run."""
        if not target.steps:
            return target.owner
        owner = target.owner
        for index, step in enumerate(target.steps, -1 - len(target.steps)):
            found = self._member(owner, step, target.where, index)
            try:
                value = getattr(owner, step)
            except AttributeError as error:
                if found is not None:
                    raise
                raise unknown_attribute(owner, target.where, index) from error
            _check_passable(value, found, target.where, step)
            self._check_lane(value, target, step)
            owner = value
        self._member(owner, target.name, target.where, -1)
        return owner

    def _check_lane(self, carrier: Any, target: Target, step: str) -> None:
        """Refuse to act, from within one lane, on an object that has another."""
        served = self._by_carrier.get(id(carrier))
        if served is None or target.lane is served[0].lane or any(entry.beside is True for entry in served):
            return
        raise NotExposedError(
            f"{shown(target.where)}: {shown(step)} leads to what is served as {served[0].name!r}; "
            f"only under that name is it certain that nobody else is at it"
        )

    def _unknown(self, name: str) -> UnknownObjectError:
        return UnknownObjectError(f"no object {quoted(name)}; {hint(name, list(self._entries), 'served')}")


def _lane(home: tuple[_Entry, ...], steps: Sequence[str]) -> Lane | None:
    """The lane of an object that is served, unless these steps from it were declared to run beside others."""
    # A method served under a name of its own says nothing about the rest of its object.
    if any(entry.may_run_beside(steps) for entry in home if entry.obj is entry.lane.carrier):
        return None
    return home[0].lane


def _touched(home: tuple[_Entry, ...], steps: Sequence[str]) -> Touched:
    return Touched(home[0].lane, tuple(entry.name for entry in home), ".".join(steps))


def _check_steps(whole: str, steps: list[str]) -> None:
    if len(steps) > _MAX_STEPS:
        raise NotExposedError(f"{shown(whole)} is a path of {len(steps)} steps; {_MAX_STEPS} are the most")
    for step in steps:
        if not step:
            raise UnknownAttributeError(f"{shown(whole)} has an empty name in it")
        if step[0] == "_":
            raise NotExposedError(f"{shown(whole)}: {quoted(step)} is private")


def _check_passable(value: Any, found: Member | None, whole: str, step: str) -> None:
    """Refuse to walk into what is no object; a module only into its own submodules, which `member` has found out."""
    own_module = found is not None and found.kind == "object" and found.value is value
    if not own_module and not is_passable(value):
        raise NotExposedError(f"{shown(whole)}: {quoted(step)} is {kind_of(value)}, not an object to walk into")
