"""Draws the pictures of this folder: `python assets/draw.py` writes them anew, the same bytes each time.

Only the standard library. A text that would not fit its box is an error, not an ugly picture.
"""

from __future__ import annotations

from html import escape
from pathlib import Path

INK = "#1f2a37"
QUIET = "#5b6776"
CALLS = "#1d5fbf"
SAMPLES = "#b4540a"
FILLS = {
    "card": ("#ffffff", "#d5dbe3"),
    "process": ("#f4f6f9", "#aeb8c5"),
    "router": ("#e6eefa", "#7ea3d8"),
    "object": ("#fdf3d8", "#d6b656"),
    "stranger": ("#f1e9f7", "#a98bc4"),
    "calls": ("#ffffff", CALLS),
    "samples": ("#ffffff", SAMPLES),
}
SANS = "Helvetica, Arial, 'DejaVu Sans', sans-serif"
MONO = "Menlo, Consolas, 'DejaVu Sans Mono', monospace"
EM = {SANS: 0.56, MONO: 0.605}  # width of a typical character, on the safe side


class Picture:
    """An SVG on a white card, so that it reads the same on a light and on a dark page."""

    def __init__(self, width: int, height: int, title: str) -> None:
        """An empty card of this size in pixels."""
        self._width, self._height, self._title = width, height, title
        self._shapes: list[str] = []
        self.box(0.5, 0.5, width - 1, height - 1, kind="card", radius=14)

    def text(
        self,
        x: float,
        y: float,
        words: str,
        *,
        size: int = 14,
        mono: bool = False,
        bold: bool = False,
        colour: str = INK,
        anchor: str = "middle",
        room: float | None = None,
    ) -> None:
        """One line of text; `room` is the width that it must fit into."""
        font = MONO if mono else SANS
        width = len(words) * size * EM[font] * (1.06 if bold else 1)
        if room is not None and width > room:
            raise ValueError(f"{self._title}: {words!r} needs {width:.0f} of {room:.0f}")
        weight = ' font-weight="600"' if bold else ""
        self._shapes.append(
            f'<text x="{x:g}" y="{y:g}" font-family="{font}" font-size="{size}"{weight} '
            f'fill="{colour}" text-anchor="{anchor}">{escape(words)}</text>'
        )

    def box(
        self,
        x: float,
        y: float,
        width: float,
        height: float,
        heading: str = "",
        *lines: str,
        kind: str = "process",
        mono: bool = False,
        radius: int = 8,
    ) -> None:
        """A box with its heading at the top, and quieter lines below."""
        fill, stroke = FILLS[kind]
        self._shapes.append(
            f'<rect x="{x:g}" y="{y:g}" width="{width:g}" height="{height:g}" rx="{radius}" '
            f'fill="{fill}" stroke="{stroke}"/>'
        )
        room = width - 12
        if heading:
            self.text(x + width / 2, y + 21, heading, bold=not mono, mono=mono, room=room)
        for number, line in enumerate(lines):
            self.text(x + width / 2, y + 40 + 17 * number, line, size=12, colour=QUIET, room=room)

    def socket(self, x: float, y: float, name: str, kind: str, width: float = 74) -> None:
        """A ZeroMQ socket: a pill centred at (x, y), in the colour of what passes through it."""
        fill, stroke = FILLS[kind]
        self._shapes.append(
            f'<rect x="{x - width / 2:g}" y="{y - 13:g}" width="{width:g}" height="26" rx="13" '
            f'fill="{fill}" stroke="{stroke}" stroke-width="1.6"/>'
        )
        self.text(x, y + 4.5, name, size=12, mono=True, colour=stroke, room=width - 8)

    def arrow(self, *points: tuple[float, float], kind: str, both: bool = False, dashed: bool = False) -> None:
        """A line through the points, with a head at its end, or at both ends."""
        colour = {"calls": CALLS, "samples": SAMPLES}[kind]
        path = "M" + " L".join(f"{x:g} {y:g}" for x, y in points)
        start = f' marker-start="url(#{kind})"' if both else ""
        dash = ' stroke-dasharray="5 4"' if dashed else ""
        self._shapes.append(
            f'<path d="{path}" fill="none" stroke="{colour}" stroke-width="1.8" stroke-linejoin="round"{dash}'
            f'{start} marker-end="url(#{kind})"/>'
        )

    def legend(self, x: float, y: float) -> None:
        """What the two colours mean."""
        self.arrow((x, y), (x + 34, y), kind="calls", both=True)
        self.text(x + 44, y + 4, "calls: request and reply", size=12, colour=QUIET, anchor="start")
        self.arrow((x + 210, y), (x + 244, y), kind="samples")
        self.text(x + 254, y + 4, "streams: samples", size=12, colour=QUIET, anchor="start")

    def svg(self) -> str:
        """The whole file."""
        heads = "".join(
            f'<marker id="{kind}" viewBox="0 0 10 10" refX="9" refY="5" markerWidth="7" markerHeight="7" '
            f'orient="auto-start-reverse"><path d="M0 0.8 L10 5 L0 9.2 z" fill="{colour}"/></marker>'
            for kind, colour in (("calls", CALLS), ("samples", SAMPLES))
        )
        return "\n".join(
            [
                f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {self._width} {self._height}" '
                f'width="{self._width}" height="{self._height}" role="img">',
                f"<title>{escape(self._title)}</title>",
                f"<defs>{heads}</defs>",
                *self._shapes,
                "</svg>\n",
            ]
        )


def link() -> Picture:
    """One server, one client."""
    picture = Picture(820, 300, "One link: a RouterServer beside the instrument, a RouterClient beside the GUI")
    picture.box(24, 24, 330, 216, "instrument script")
    picture.box(44, 66, 112, 66, "laser", "your object", kind="object")
    picture.box(44, 150, 112, 66, "stage", "your object", kind="object")
    picture.box(182, 58, 152, 166, "RouterServer", kind="router")
    picture.arrow((182, 99), (157, 99), kind="calls")
    picture.arrow((182, 183), (157, 183), kind="calls")

    picture.box(536, 24, 260, 216, "GUI, notebook, another PC")
    picture.box(556, 58, 140, 166, "RouterClient", kind="router")
    picture.text(746, 118, "call", size=13, mono=True)
    picture.text(746, 136, "proxy", size=13, mono=True)
    picture.text(744, 186, "get_stream", size=13, mono=True, room=96)

    for x, call_socket, stream_socket in ((334, "ROUTER", "XPUB"), (556, "DEALER", "SUB")):
        picture.socket(x, 120, call_socket, "calls")
        picture.socket(x, 182, stream_socket, "samples")
    picture.arrow((372, 120), (518, 120), kind="calls", both=True)
    picture.text(445, 110, "tcp :5555", size=12, mono=True, colour=QUIET)
    picture.arrow((372, 182), (518, 182), kind="samples")
    picture.text(445, 172, "tcp :5556", size=12, mono=True, colour=QUIET)
    picture.legend(230, 270)
    return picture


def many_clients() -> Picture:
    """One server, several clients."""
    picture = Picture(820, 400, "Many clients of one server")
    picture.box(24, 92, 300, 190, "instrument script")
    picture.box(44, 130, 104, 56, "laser", "one lane", kind="object")
    picture.box(44, 204, 104, 56, "camera", "one lane", kind="object")
    picture.box(172, 126, 132, 138, "RouterServer", kind="router")
    picture.arrow((172, 158), (149, 158), kind="calls")
    picture.arrow((172, 232), (149, 232), kind="calls")
    picture.socket(304, 176, "ROUTER", "calls")
    picture.socket(304, 232, "XPUB", "samples")

    users = (
        ("GUI", "newest image: cache"),
        ("logger", "every sample: queue"),
        ("script on another PC", "calls alone"),
    )
    for number, (user, wants) in enumerate(users):
        top = 24 + 112 * number
        streams = wants != "calls alone"
        calls_y = top + (28 if streams else 46)
        picture.box(560, top, 236, 92, kind="process")
        picture.text(604, top + 40, user, bold=True, anchor="start", room=186)
        picture.text(604, top + 60, wants, size=12, colour=QUIET, anchor="start", room=186)
        picture.arrow((342, 176), (400, 176), (400, calls_y), (522, calls_y), kind="calls", both=True)
        picture.socket(560, calls_y, "DEALER", "calls")
        if streams:
            picture.arrow((342, 232), (440, 232), (440, top + 66), (522, top + 66), kind="samples")
            picture.socket(560, top + 66, "SUB", "samples")
    picture.legend(230, 374)
    return picture


def streamer() -> Picture:
    """Where samples come from inside a server."""
    picture = Picture(900, 470, "The streamer: one ticker per frequency, one proxy, one address")
    picture.box(24, 24, 690, 398, "RouterServer", kind="router")
    rows = (
        ("ticker 2 Hz", "temperature, level", "cryostat"),
        ("ticker 200 Hz", "vibration", "accelerometer"),
        ("your threads", "get_stream_fn", ""),
        ("relay", "add_zmq_stream", ""),
    )
    for number, (heading, line, source) in enumerate(rows):
        y = 62 + 88 * number
        picture.box(216, y, 190, 64, kind="process")
        picture.text(248, y + 28, heading, bold=True, anchor="start", room=120)
        picture.text(248, y + 47, line, size=12, colour=QUIET, anchor="start", room=130)
        picture.socket(406, y + 32, "PUB", "samples", width=52)
        picture.arrow((433, y + 32), (474, y + 32), (474, 222), (513, 222), kind="samples")
        if source:
            picture.box(48, y, 128, 64, source, "one at a time", kind="object")
            picture.arrow((216, y + 32), (177, y + 32), kind="calls")
    picture.text(112, 266, "whenever the", size=12, colour=QUIET)
    picture.text(112, 283, "application likes", size=12, colour=QUIET)
    picture.arrow((172, 270), (215, 270), kind="samples")
    picture.socket(216, 358, "SUB", "samples", width=52)
    picture.arrow((112, 449), (112, 358), (189, 358), kind="samples")
    picture.text(124, 452, "somebody else's PUB", size=12, colour=QUIET, anchor="start")
    picture.text(474, 70, "inproc", size=12, mono=True, colour=QUIET, room=60)

    picture.box(546, 150, 116, 144, "proxy", kind="process")
    picture.text(604, 262, "in C, outside", size=12, colour=QUIET, room=104)
    picture.text(604, 279, "Python's GIL", size=12, colour=QUIET, room=104)
    picture.socket(546, 222, "XSUB", "samples", width=64)
    picture.arrow((579, 222), (681, 222), kind="samples")
    picture.socket(714, 222, "XPUB", "samples", width=64)
    for number, y in enumerate((132, 222, 312)):
        picture.arrow((747, 222), (780, 222), (780, y), (817, y), kind="samples", dashed=number == 2)
        picture.socket(846, y, "SUB", "samples", width=56)
    picture.text(806, 364, "who does not ask", size=12, colour=QUIET)
    picture.text(806, 381, "gets nothing", size=12, colour=QUIET)
    return picture


def relay() -> Picture:
    """A stranger's publisher, under our roof."""
    picture = Picture(860, 300, "A relay: a foreign publisher on our broadcast address")
    picture.box(24, 66, 176, 130, "weather station", "bare ZeroMQ,", "knows nothing of us", kind="stranger")
    picture.socket(200, 150, "PUB", "samples", width=56)
    picture.box(322, 30, 234, 208, "RouterServer", kind="router")
    picture.text(439, 78, 'add_zmq_stream("weather",', size=12, mono=True, room=222)
    picture.text(439, 96, 'address, topic="station/7")', size=12, mono=True, room=222)
    picture.text(439, 200, "stamps it on arrival, renames", size=12, colour=QUIET, room=214)
    picture.text(439, 217, "it, passes its payload on", size=12, colour=QUIET, room=214)
    picture.arrow((229, 150), (293, 150), kind="samples")
    picture.text(261, 140, "station/7", size=12, mono=True, colour=QUIET, room=80)
    picture.socket(322, 150, "SUB", "samples", width=56)
    picture.arrow((351, 150), (523, 150), kind="samples", dashed=True)
    picture.socket(556, 150, "XPUB", "samples", width=64)
    for top, user in ((30, "GUI"), (152, "logger")):
        picture.box(714, top, 122, 86, kind="process")
        picture.text(786, top + 48, user, bold=True, room=80)
        picture.arrow((589, 150), (632, 150), (632, top + 43), (685, top + 43), kind="samples")
        picture.socket(714, top + 43, "SUB", "samples", width=56)
    picture.text(640, 154, "weather", size=12, mono=True, colour=QUIET, anchor="start", room=66)
    picture.text(430, 272, "The payload stays as it is: who reads it knows what the bytes mean.", size=13, colour=QUIET)
    return picture


def cascade() -> Picture:
    """Three servers in a row."""
    picture = Picture(960, 300, "A cascade: one address shows every server behind it")
    stations = (
        ("instrument PC", "", "laser", "power"),
        ("lab PC", 'add_router("table")', "table/laser", "table/power"),
        ("institute", 'add_router("lab")', "lab/table/laser", "lab/table/power"),
    )
    for number, (place, made_by, name, stream) in enumerate(stations):
        x = 24 + 240 * number
        picture.box(x, 24, 176, 200, place, kind="router")
        if made_by:
            picture.text(x + 88, 68, made_by, size=12, mono=True, room=164)
        else:
            picture.box(x + 40, 52, 96, 30, "laser", kind="object")
        picture.text(x + 88, 124, name, size=13, mono=True, colour=CALLS, room=128)
        picture.text(x + 88, 184, stream, size=13, mono=True, colour=SAMPLES, room=128)
    picture.box(744, 24, 192, 200, "your script", kind="process")
    picture.text(840, 124, "call, proxy", size=13, mono=True, room=150)
    picture.text(840, 184, "get_stream", size=13, mono=True, room=150)
    for number in range(3):
        left, right = 200 + 240 * number, 264 + 240 * number
        picture.arrow((left + 2, 120), (right - 2, 120), kind="calls", both=True)
        picture.arrow((left + 2, 180), (right - 2, 180), kind="samples")
    picture.legend(290, 262)
    return picture


def logo() -> Picture:
    """Two ends, and the one line between them."""
    picture = Picture(420, 110, "one_liner")
    picture.arrow((56, 40), (150, 40), (164, 22), (184, 62), (204, 14), (222, 52), (232, 40), (361, 40), kind="calls")
    picture.socket(43, 40, "", "calls", width=26)
    picture.socket(377, 40, "", "samples", width=26)
    picture.text(210, 92, "one_liner", size=26, mono=True, bold=True)
    return picture


def main() -> None:
    """Write every picture beside this script."""
    for draw in (link, many_clients, streamer, relay, cascade, logo):
        Path(__file__).with_name(f"{draw.__name__}.svg").write_text(draw().svg(), encoding="utf-8", newline="\n")


if __name__ == "__main__":
    main()
