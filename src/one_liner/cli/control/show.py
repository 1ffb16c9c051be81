"""What came, for people: answers, events, heartbeats."""

from __future__ import annotations

import time
from typing import Any

from rich.console import Console
from rich.text import Text

from one_liner.cli.values import to_json
from one_liner.control import CommandResponse, Published, Result, Topic
from one_liner.control.numbers import Catalogue

_STYLES = {Result.SUCCESS: "green", Result.PENDING: "yellow", Result.PENDING_WITH_NOTIFICATION: "yellow"}
_ENVELOPE = {"kind", "when", "index", "context", "name"}


def response_text(response: CommandResponse, name: str, took_s: float) -> Text:
    """An answer: `#5 GET_STATUS SUCCESS (0.4 ms)` and its data."""
    text = Text(f"#{response.nonce} {name} ")
    text.append(response.result.name, _STYLES.get(response.result, "red"))
    text.append(f" ({_duration(took_s)})", "dim")
    if response.error_code:
        text.append(f" code {response.error_code}", "red")
    if response.error_message:
        text.append(f" {response.error_message}", "red" if response.result is not Result.SUCCESS else "yellow")
    if response.data is not None:
        text.append(f"\n{to_json(response.data, indent=2)}")
    return text


def published_text(published: Published, kinds: Catalogue) -> Text:
    """An event in one line: `16:41:02 EVENT sessionStarted {"trial":3}`."""
    topic, content = published
    told = content if isinstance(content, dict) else {"content": content}
    when = told.get("when", told.get("timestamp"))
    text = Text(_clock_time(when if isinstance(when, int | float) else time.time()), "dim")
    name = topic.name if isinstance(topic, Topic) else f"topic {topic}"
    text.append(f" {name}", "bold red" if topic == Topic.EMERGENCY else "cyan")
    if topic in (Topic.EVENT, Topic.EMERGENCY):
        text.append(f" {_kind_name(told, kinds)}", "bold")
        rest: Any = told.get("context")
        if extra := {key: value for key, value in told.items() if key not in _ENVELOPE}:
            rest = {"context": rest, **extra}
    else:
        rest = {key: value for key, value in told.items() if key not in ("when", "index", "timestamp")}
    if rest is not None:
        text.append(f" {to_json(rest)}")
    return text


def say(console: Console, text: Text) -> None:
    """Print as it is: nothing in it is markup, and no line is broken."""
    console.print(text, soft_wrap=True, highlight=False)


def _kind_name(told: dict[str, Any], kinds: Catalogue) -> str:
    kind = told.get("kind")
    if isinstance(told.get("name"), str):
        return str(told["name"])
    return kinds.name_of(kind) if isinstance(kind, int) else str(kind)


def _clock_time(when: float) -> str:
    try:
        return time.strftime("%H:%M:%S", time.localtime(when))
    except (ValueError, OverflowError, OSError):
        return "--:--:--"


def _duration(seconds: float) -> str:
    return f"{seconds * 1000:.1f} ms" if seconds < 1 else f"{seconds:.1f} s"
