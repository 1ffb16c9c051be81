"""One method: a field for each of its parameters, a button, and what came of it."""

from __future__ import annotations

from typing import Any

from nicegui import ui
from pydantic import ValidationError

from one_liner.aio import MethodDescription, ParameterDescription
from one_liner.gateway.access import Role
from one_liner.gateway.arguments import Arguments, identifier
from one_liner.gateway.rigs import Rig
from one_liner.gateway.ui.field import Field
from one_liner.gateway.ui.hint import hint
from one_liner.gateway.ui.values import text_of
from one_liner.gateway.ui.visit import Visit

_REST = ParameterDescription("args", annotation="list", default=[], has_default=True)


class MethodForm:
    """The form of one method, in the element that is being filled.

    Arguments are checked against the annotations, as those of the HTTP routes are, before anything is called. A method
    that is made for it is submitted as a job; its bar is with the other jobs.

    Args:
        visit: whose page this is.
        rig: whose method.
        obj_name: its object.
        described: the method.
        attr_name: how it is called there.
    """

    def __init__(self, visit: Visit, rig: Rig, obj_name: str, described: MethodDescription, attr_name: str) -> None:
        self._visit, self._rig = visit, rig
        self._obj_name, self._attr_name = obj_name, attr_name
        self._is_command = described.is_command
        self._needed = Role.READ if described.read_only else Role.CONTROL
        self._arguments = Arguments(described, identifier(visit.full_name(rig, obj_name), attr_name))
        self._model = None if self._arguments.none else self._arguments.model()
        known = [one for one in described.parameters or () if not one.kind.startswith("var_")]
        takes_more = described.parameters is None or any(one.kind == "var_positional" for one in described.parameters)
        bare = "" if known or takes_more else " ol-bare"
        with ui.element("div").classes(f"ol-method{bare}").props(f'data-method="{attr_name}"'):
            with ui.row().classes("ol-form"):
                self._button = ui.button(attr_name, on_click=self._submit).props(
                    f"dense no-caps unelevated {'icon=play_arrow ' if self._is_command else ''}data-call"
                )
                if described.doc:
                    hint(self._button, described.doc)
                self._fields = [Field(one) for one in (*known, *([_REST] if takes_more else []))]
                for field in self._fields:
                    field.element.on("keydown.enter", self._submit)
            self._result = ui.label().classes("ol-result").props("data-result")
        self._result.set_visibility(False)
        if not visit.may(self._needed):
            self._button.disable()

    async def _submit(self) -> None:
        try:
            args, kwargs = self._given()
        except ValidationError as error:
            problems = (f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in error.errors())
            self._show("; ".join(problems), failed=True)
            return
        self._button.props("loading")
        result, trouble = await self._visit.attempt(lambda: self._call(args, kwargs), self._needed)
        self._button.props(remove="loading")
        self._show(trouble or f"→ {result}", failed=bool(trouble))

    async def _call(self, args: list[Any], kwargs: dict[str, Any]) -> str:
        client = self._rig.client
        if self._is_command:
            job = await client.submit(self._obj_name, self._attr_name, args, kwargs)
            return f"job {job.id}"
        return text_of(await client.call(self._obj_name, self._attr_name, args, kwargs))

    def _given(self) -> tuple[list[Any], dict[str, Any]]:
        if self._model is None:
            return [], {}
        entered = {field.name: field.value for field in self._fields if field.given}
        return self._arguments.from_model(self._model.model_validate(entered))

    def _show(self, text: str, failed: bool) -> None:
        self._result.set_text(text)
        self._result.classes(add="ol-bad" if failed else "ol-good", remove="ol-good" if failed else "ol-bad")
        self._result.set_visibility(True)
