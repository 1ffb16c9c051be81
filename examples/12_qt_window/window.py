"""A window on the oven that never freezes: stop the server and it turns red, start it again and it turns green.

The rule is simple: the GUI's thread looks at what has already arrived, and whatever may take time runs elsewhere.
"""

from __future__ import annotations

import argparse
import signal
from concurrent.futures import Future, ThreadPoolExecutor

from PySide6.QtCore import Qt, QTimer
from PySide6.QtGui import QCloseEvent
from PySide6.QtWidgets import QApplication, QLabel, QPushButton, QVBoxLayout, QWidget

from one_liner import RouterClient
from one_liner.errors import NoDataError, OneLinerError, StreamError


class OvenWindow(QWidget):
    """The oven's temperature, a button for its heater, and a light for the connection."""

    def __init__(self, client: RouterClient) -> None:
        super().__init__()
        self.samples = 0
        self._client = client
        self._client.configure_stream("oven_temperature", "cache")
        self._calls = ThreadPoolExecutor(max_workers=1)
        self._call: Future[str] | None = None

        self.setWindowTitle("Oven")
        self.connection = QLabel()
        self.temperature = QLabel("-- °C")
        self.temperature.setStyleSheet("font-size: 48px")
        self.heater = QPushButton("Heater")
        self.heater.setCheckable(True)
        self.heater.clicked.connect(self._switch_heater)
        self.message = QLabel()
        layout = QVBoxLayout(self)
        for widget in (self.connection, self.temperature, self.heater, self.message):
            layout.addWidget(widget)
            if isinstance(widget, QLabel):
                widget.setAlignment(Qt.AlignmentFlag.AlignCenter)

        self._timer = QTimer(self)
        self._timer.timeout.connect(self._look)
        self._timer.start(50)

    def _look(self) -> None:
        """Twenty times a second: show what has arrived. Nothing in here waits."""
        colour = "seagreen" if self._client.state == "connected" else "firebrick"
        self.connection.setText(self._client.state)
        self.connection.setStyleSheet(f"background: {colour}; color: white; padding: 6px; border-radius: 6px")
        try:
            _, celsius = self._client.get_stream("oven_temperature")
            self.temperature.setText(f"{celsius:.2f} °C")
            self.samples += 1
        except NoDataError:
            pass
        except StreamError as error:  # the thermometer itself failed; the next sample may be fine
            self.message.setText(str(error))
        if self._call is not None and self._call.done():
            try:
                self.message.setText(self._call.result())
            except OneLinerError as error:
                self.message.setText(str(error))
            self._call = None
            self.heater.setEnabled(True)

    def _switch_heater(self, on: bool) -> None:
        self.heater.setEnabled(False)  # one call at a time; `_look` enables it again
        self._call = self._calls.submit(self._client.call, "oven", "switch_heater", [on])

    def closeEvent(self, event: QCloseEvent) -> None:
        """Leave no thread behind."""
        self._timer.stop()
        self._client.close()  # also ends a call that is still waiting
        self._calls.shutdown()
        super().closeEvent(event)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rpc-port", default="5555")
    parser.add_argument("--seconds", type=float, help="close after this time; without it, stay until closed")
    parser.add_argument("--screenshot", help="save a picture of the window to this file before it closes")
    arguments = parser.parse_args()

    signal.signal(signal.SIGINT, signal.SIG_DFL)  # Ctrl-C ends it too: Qt's loop would not notice Python's
    application = QApplication([])
    window = OvenWindow(RouterClient(rpc_port=arguments.rpc_port, broadcast_port=None))
    window.resize(320, 220)
    window.show()

    def finish() -> None:
        if arguments.screenshot:
            window.grab().save(arguments.screenshot)
        window.close()

    if arguments.seconds is not None:
        QTimer.singleShot(round(1000 * arguments.seconds), finish)
    application.exec()
    print(f"{window.samples} temperatures shown")
    raise SystemExit(0 if window.samples else "no temperature came")


if __name__ == "__main__":
    main()
