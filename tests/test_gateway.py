"""The gateway from outside: real processes, real HTTP, real WebSockets."""

from __future__ import annotations

import asyncio
import io
import json
import re
import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("fastapi", reason="the gateway needs one_liner[gateway]")

import websockets
from PIL import Image
from websockets.sync.client import connect
from websockets.typing import Origin

from one_liner import RouterClient
from one_liner.errors import NoServerError, RefusedError, UnknownObjectError
from one_liner.gateway import NumpyClient
from one_liner.gateway.frames import read_binary_frame
from one_liner.testing import SubprocessServer
from tests.conftest import poll_until
from tests.gateway_process import GatewayProcess, make_lab

PATIENCE_S = 30.0


def npy(array: Any) -> bytes:
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


@pytest.fixture(scope="module")
def lab() -> Iterator[SubprocessServer]:
    with SubprocessServer(make_lab) as lab:
        yield lab


@pytest.fixture(scope="module")
def gateway(lab: SubprocessServer) -> Iterator[GatewayProcess]:
    with GatewayProcess("--server", f"127.0.0.1:{lab.rpc_port}", "--timeout", "5") as gateway:
        gateway.wait_connected()
        yield gateway


# --- calls -----------------------------------------------------------------------------------------------------------


def test_a_command_of_the_one_instrument_and_of_a_named_one(gateway: GatewayProcess) -> None:
    # The only object that has it.
    assert gateway.get("/instrument/wavelength").json == {"message": "wavelength", "value": 532.0}
    assert gateway.get("/instrument/laser/wavelength").json == {"message": "wavelength", "value": 532.0}
    assert gateway.get("/instrument/laser/set_power?power_mw=5&ramp=true").json == {"message": "set_power", "value": 5}
    assert gateway.ask("POST", "/instrument/laser/set_power", {"power_mw": 6}).json["value"] == 6
    assert gateway.ask("POST", "/instrument/laser/set_power", [7]).json["value"] == 7
    assert gateway.get("/instrument/ten").json == {"message": "ten", "value": 10.0}


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/instrument/nobody/power", 404),
        ("/instrument/laser/nothing", 404),
        ("/instrument/nothing", 404),
        ("/instrument/laser/_power", 404),
        ("/instrument/laser/__class__", 404),
        ("/instrument/", 404),
        ("/instrument/laser/set_power", 422),
        ("/instrument/laser/set_power?power=1", 422),
        ("/instrument/laser/set_power?power_mw=abc", 422),
        ("/instrument/laser/set_power?power_mw=NaN", 422),
        ("/instrument/laser/set_power?args=5&args=perhaps", 422),
        ("/instrument/laser/echo?value=1&value=2", 422),
        ("/instrument/%00/power", 404),
        ("/instrument/laser/%E2%80%A8", 404),
        ("/instrument/laser/fail", 500),
        ("/api/nothing", 404),
        ("/api/streams/nothing/last", 404),
        ("/array/99999", 404),
        ("/array/-1", 404),
    ],
)
def test_what_cannot_be_has_its_status(gateway: GatewayProcess, path: str, status: int) -> None:
    answer = gateway.get(path)
    assert answer.status == status, answer.body
    assert answer.json["status"] == "error"
    assert answer.json["message"]


def test_arguments_are_read_as_what_the_method_takes(gateway: GatewayProcess) -> None:
    calls = gateway.get("/instrument/laser/calls").json["value"]
    assert gateway.get("/instrument/laser/set_power?power_mw=high").status == 422
    assert gateway.ask("POST", "/instrument/laser/set_power", ["high"]).status == 422
    assert gateway.ask("POST", "/instrument/laser/set_power", {"power_mw": 1, "ramp": "perhaps"}).status == 422
    assert gateway.get("/instrument/laser/calls").json["value"] == calls
    assert gateway.get("/instrument/laser/set_power?args=8&ramp=True").json["value"] == 8
    # Where anything may be meant it is read as JSON; a number where a text is meant stays a text.
    assert gateway.get("/instrument/laser/echo?value=5").json["value"] == 5
    assert gateway.get("/instrument/laser/echo?value=[5,%22a%22]").json["value"] == [5, "a"]
    assert gateway.get("/instrument/laser/echo?value=%F0%9F%98%80").json["value"] == "\U0001f600"
    assert gateway.get("/instrument/bench/tell?what=5").status == 200
    told = gateway.get("/api/events/last?topic=event&last=1").json["events"][-1]
    assert told["context"] == {"what": "5"}


def test_a_command_is_not_for_those_who_only_ask_what_they_would_get(gateway: GatewayProcess) -> None:
    calls = gateway.get("/instrument/laser/calls").json["value"]
    for verb in ("HEAD", "OPTIONS", "PUT", "DELETE"):
        answer = gateway.ask(verb, "/instrument/laser/set_power?power_mw=3")
        assert answer.status == 405
        assert "GET" in answer.headers["allow"]
    assert gateway.get("/instrument/laser/calls").json["value"] == calls


def test_an_exception_of_the_instrument_has_type_and_message(gateway: GatewayProcess) -> None:
    answer = gateway.get("/instrument/laser/fail").json
    assert (answer["type"], answer["message"], answer["where"]) == ("ValueError", "no light", "laser.fail")
    answer = gateway.get("/instrument/laser/trip").json
    kind = "tests.gateway_process.InterlockError"
    assert (answer["type"], answer["message"], answer["detail"]) == (kind, "door open", f"{kind}: door open")


def test_what_json_does_not_have_is_written_in_other_ways(gateway: GatewayProcess) -> None:
    value = gateway.get("/instrument/laser/strange").json["value"]
    assert value == {"nan": None, "complex": [1.0, 2.0], "bytes": "AAE=", "array": [1.0, None]}


def test_a_reserved_instrument_is_busy(gateway: GatewayProcess, lab: SubprocessServer) -> None:
    with RouterClient(rpc_port=lab.rpc_port, broadcast_port=None, name="anna") as anna, anna.lease("laser"):
        answer = gateway.get("/instrument/laser/set_power?power_mw=1")
        assert answer.status == 409
        assert "anna" in answer.json["message"]
        assert gateway.get("/instrument/laser/wavelength").status == 200


def test_an_instrument_at_work_is_busy_once_the_time_is_up(gateway: GatewayProcess) -> None:
    with ThreadPoolExecutor(1) as pool:
        slow = pool.submit(gateway.get, "/instrument/laser/slow?seconds=2")
        running = "/instrument/laser/echo?value=1"
        poll_until(
            lambda: gateway.get(running, **{"X-Timeout-S": "0.1"}).status == 409, what="the call to be under way"
        )
        assert slow.result().json["value"] == 2
    assert gateway.get("/instrument/laser/slow?seconds=1", **{"X-Timeout-S": "0.2"}).status == 504
    # It runs on: who does not want to wait for it says so.
    assert gateway.get(running, **{"X-If-Busy": "refuse"}).status == 409
    assert gateway.get(running).json["value"] == 1


@pytest.mark.parametrize("together", [12, 200])
def test_many_at_once_are_not_mixed_up(gateway: GatewayProcess, together: int) -> None:
    start = threading.Barrier(together)

    def ask(number: int) -> Any:
        start.wait()
        return gateway.get(f"/instrument/laser/echo?value={number}").json["value"]

    with ThreadPoolExecutor(together) as pool:
        assert list(pool.map(ask, range(together))) == list(range(together))


# --- typed routes ----------------------------------------------------------------------------------------------------


def test_routes_are_made_from_the_description(gateway: GatewayProcess) -> None:
    assert gateway.get("/api/objects/laser/wavelength").json["value"] == 532.0
    assert gateway.ask("POST", "/api/objects/laser/power", {"value": 3.5}).status == 200
    assert gateway.get("/api/objects/laser/power").json == {"message": "power", "value": 3.5}
    assert gateway.ask("POST", "/api/objects/laser/set_power", {"power_mw": 8}).json["value"] == 8.0
    assert gateway.ask("POST", "/api/objects/laser/set_power", {"power_mw": "much"}).status == 422
    assert gateway.ask("POST", "/api/objects/laser/set_power", {}).status == 422
    assert gateway.get("/api/objects/laser/limits?low=2").json["value"] == [2.0, 100.0]  # Declared to change nothing.
    assert gateway.get("/api/objects/laser/set_power?power_mw=1").status in (404, 405)
    assert gateway.ask("POST", "/api/calls/ten", {}).json["value"] == 10.0
    assert gateway.ask("POST", "/api/objects/laser/wavelength", {"value": 1}).status in (404, 405)


def test_openapi_says_what_each_route_takes(gateway: GatewayProcess) -> None:
    openapi = gateway.get("/openapi.json").json
    route = openapi["paths"]["/api/objects/laser/set_power"]["post"]
    assert route["summary"] == "Set the power, in mW."
    schema = openapi["components"]["schemas"][
        route["requestBody"]["content"]["application/json"]["schema"]["$ref"][21:]
    ]
    assert schema["required"] == ["power_mw"]
    assert schema["properties"]["power_mw"]["type"] == "number"
    assert schema["properties"]["ramp"]["default"] is False
    assert set(openapi["paths"]["/api/objects/laser/power"]) == {"get", "post"}
    assert set(openapi["paths"]["/api/objects/laser/limits"]) == {"get"}


def test_another_schema_is_noticed_and_a_dead_server_is_told_and_found_again() -> None:
    with SubprocessServer(make_lab) as lab:
        address = f"127.0.0.1:{lab.rpc_port}"
        with GatewayProcess("--server", address) as gateway:
            gateway.wait_connected()
            assert gateway.get("/api/objects/stage/where").status == 404
            lab.kill()
            poll_until(lambda: gateway.get("/instrument/laser/wavelength").status == 503, PATIENCE_S, "503")
            assert gateway.get("/api/objects/laser/wavelength").status == 503
            assert gateway.get("/health").json["status"] == "healthy"
            again = SubprocessServer(make_lab, {"more": True}, rpc_port=lab.rpc_port, broadcast_port=lab.broadcast_port)
            with again:
                poll_until(
                    lambda: gateway.ask("POST", "/api/objects/stage/where", {}).status == 200,
                    PATIENCE_S,
                    "the new object",
                )
                assert gateway.get("/api/objects/laser/wavelength").status == 200
                assert "/api/objects/stage/where" in gateway.get("/openapi.json").json["paths"]
                # And the other way round: the gateway dies, and comes back.
                gateway.kill()
                gateway.start()
                poll_until(lambda: gateway.get("/instrument/laser/wavelength").status == 200, PATIENCE_S, "to be back")


def test_a_gateway_that_was_there_first(lab: SubprocessServer) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    with GatewayProcess("--server", f"here=127.0.0.1:{lab.rpc_port}", "--server", f"gone=127.0.0.1:{port}") as gateway:
        poll_until(lambda: gateway.get("/instrument/here/laser/wavelength").status == 200, PATIENCE_S, "the server")
        assert gateway.get("/api/objects/here/laser/wavelength").json["value"] == 532.0
        assert gateway.get("/instrument/gone/laser/wavelength").status == 503
        assert gateway.get("/api/streams/here/power/last").json["stream"] == "here/power"
        assert gateway.get("/health").json["servers"]["here"] == "connected"
        with SubprocessServer(make_lab, rpc_port=port):
            poll_until(
                lambda: gateway.get("/instrument/gone/laser/wavelength").status == 200, PATIENCE_S, "the late server"
            )


# --- jobs and events -------------------------------------------------------------------------------------------------


def test_what_takes_long_is_a_job(gateway: GatewayProcess) -> None:
    begun = gateway.ask("POST", "/api/objects/bench/scan", {"points": 4})
    assert begun.status == 202
    place = begun.headers["location"]
    assert place == f"/api/jobs/{begun.json['id']}"
    poll_until(lambda: gateway.get(place).json["progress"]["fraction"] == 1.0, what="the last point")
    assert gateway.get(place).json["state"] == "running"
    assert gateway.get(f"{place}/result").status == 202
    assert begun.json["id"] in [job["id"] for job in gateway.get("/api/jobs").json["jobs"]]
    cancelled = gateway.ask("DELETE", place)
    assert (cancelled.status, cancelled.json["cancelled"]) == (200, True)
    poll_until(lambda: gateway.get(place).json["state"] == "cancelled", what="its end")
    assert gateway.get(f"{place}/result").status == 409
    assert gateway.ask("DELETE", place).json["cancelled"] is False

    begun = gateway.ask("POST", "/api/jobs", {"object": "bench", "method": "scan", "args": [3]})
    gateway.ask("POST", "/api/objects/bench/go_on")
    result = f"{begun.headers['location']}/result"
    poll_until(lambda: gateway.get(result).status == 200, what="the result")
    assert gateway.get(result).json == {"message": "bench.scan", "value": [0, 1, 2]}
    assert "3 points measured" in gateway.get(f"{begun.headers['location']}/log").json["lines"][0]

    assert gateway.get("/api/jobs/nothing").status == 404
    assert gateway.ask("POST", "/api/jobs", {"object": "bench", "method": "nothing"}).status == 404
    assert gateway.ask("POST", "/api/objects/bench/scan", {"points": "many"}).status == 422
    asked = gateway.ask("POST", "/api/objects/laser/set_power", {"power_mw": 1}, {"Prefer": "respond-async"})
    poll_until(lambda: gateway.get(f"{asked.headers['location']}/result").status == 200, what="any method as a job")


def test_events_come_as_server_sent_events(gateway: GatewayProcess) -> None:
    with socket.create_connection(("127.0.0.1", gateway.port), timeout=PATIENCE_S) as browser:
        browser.sendall(b"GET /api/events?topic=event HTTP/1.1\r\nHost: localhost\r\n\r\n")
        received = b""
        told = 0
        # The subscription takes its way to the server; what was told before that is not for us.
        browser.settimeout(0.2)
        while b"event: event" not in received:
            assert told < 200, received
            gateway.ask("POST", "/api/objects/bench/tell", {"what": f"number {told}"})
            told += 1
            try:
                received += browser.recv(65536)
            except TimeoutError:
                continue
    assert b"text/event-stream" in received
    line = next(line for line in received.decode().splitlines() if line.startswith("data: "))
    event = json.loads(line[6:])
    assert (event["topic"], event["kind"], event["server"]) == ("event", "told", "")
    assert event["context"]["what"].startswith("number ")
    last = gateway.get("/api/events/last?topic=event&last=2").json
    assert last["events"][-1]["context"] == {"what": f"number {told - 1}"}
    assert gateway.get("/api/events/last?topic=nothing").status == 422
    assert gateway.get("/api/events?server=nobody").status == 404


# --- arrays ----------------------------------------------------------------------------------------------------------


ARRAYS = [
    np.arange(6, dtype=np.int16).reshape(2, 3),
    np.array([1.5, 2.5], np.float16),
    np.array([True, False]),
    np.array([1 + 2j, 3]),
    np.array(["2026-01-02", "NaT"], "datetime64[D]"),
    np.array([b"ab", b"\xff"]),
    np.array(["Ångström", ""]),
    np.array([(1, 2.5), (3, 4.5)], dtype=[("a", "i4"), ("b", "f8")]),
    np.zeros((0, 3)),
    np.array(3.25),
    np.asfortranarray(np.arange(12.0).reshape(3, 4)),
    np.arange(4, dtype=">u4"),
    np.array(["2026-01-02T03:04:05"], "datetime64[s]").astype(">M8[s]"),
    np.array([(True, "Å", 1j)], dtype=[("a", "?"), ("b", ">U2"), ("c", ">c8")]),
    np.arange(3).astype(np.longdouble),
]


@pytest.mark.parametrize("array", ARRAYS, ids=lambda array: f"{array.dtype}{list(array.shape)}")
def test_every_kind_of_array_comes_back(gateway: GatewayProcess, array: np.ndarray[Any, Any]) -> None:
    stored = gateway.upload(npy(array)).json
    assert stored == {
        "status": "success",
        "shape": list(array.shape),
        "dtype": str(array.dtype),
        "index": stored["index"],
    }
    back = np.load(io.BytesIO(gateway.get(f"/array/{stored['index']}.npy").body))
    assert back.dtype == array.dtype
    np.testing.assert_array_equal(back, array)
    written = gateway.get(f"/array/{stored['index']}").json
    assert (written["shape"], written["dtype"]) == (list(array.shape), str(array.dtype))
    if array.dtype.kind in "iufb" and array.dtype != np.longdouble:
        assert written["data"] == array.tolist()
    listed = gateway.get("/arrays").json
    assert listed["count"] == len(listed["arrays"])
    assert {"index": stored["index"], "shape": list(array.shape), "dtype": str(array.dtype)} in listed["arrays"]


def test_what_is_not_finite_is_null_and_flagged(gateway: GatewayProcess) -> None:
    index = gateway.upload(npy(np.array([1.0, np.nan, np.inf]))).json["index"]
    assert gateway.get(f"/array/{index}").json == {
        "shape": [3],
        "dtype": "float64",
        "data": [1.0, None, None],
        "has_null": True,
    }


def _lying_header() -> bytes:
    header = b"{'descr': '<f8', 'fortran_order': False, 'shape': (1000000000000,), }"
    header += b" " * (118 - len(header) - 1) + b"\n"
    return b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header


@pytest.mark.parametrize(
    "content",
    [b"", b"hello", npy(np.array([{}, 1], object)), npy(np.arange(9))[:-1], npy(np.arange(9)) + b"x", _lying_header()],
    ids=["empty", "text", "pickled", "cut", "longer", "lying"],
)
def test_what_is_no_array_is_refused(gateway: GatewayProcess, content: bytes) -> None:
    answer = gateway.upload(content)
    assert answer.status == 400
    assert answer.json == {"status": "error", "message": answer.json["message"]}


def test_instants_are_written_whatever_their_byte_order(gateway: GatewayProcess) -> None:
    for order in "<>":
        array = np.array(["2026-01-02T03:04:05", "NaT"], "datetime64[s]").astype(f"{order}M8[s]")
        index = gateway.upload(npy(array)).json["index"]
        assert gateway.get(f"/array/{index}").json["data"] == ["2026-01-02T03:04:05", None]


def test_an_upload_without_a_file_is_refused(gateway: GatewayProcess) -> None:
    text = b'--x\r\nContent-Disposition: form-data; name="file"\r\n\r\nhello\r\n--x--\r\n'
    answer = gateway.ask("POST", "/upload", text, {"Content-Type": "multipart/form-data; boundary=x"})
    assert (answer.status, set(answer.json)) == (400, {"status", "message"})
    assert gateway.ask("POST", "/upload").status == 400
    assert gateway.upload(npy(np.arange(2)), name="other").status == 400


def test_instruments_take_and_give_arrays_by_index(gateway: GatewayProcess) -> None:
    index = gateway.upload(npy(np.full((3, 3), 4.0))).json["index"]
    assert gateway.ask("POST", "/api/objects/laser/mean", {"image": {"$array": index}}).json["value"] == 4.0
    assert gateway.get(f"/instrument/laser/mean?image=$array:{index}").json["value"] == 4.0
    given = gateway.ask("POST", "/api/objects/laser/image?$store=1").json["value"]
    assert np.load(io.BytesIO(gateway.get(f"/array/{given['$array']}.npy").body)).shape == (48, 64)
    assert gateway.ask("POST", "/api/objects/laser/mean", {"image": {"$array": 10**6}}).status == 404
    assert gateway.ask("POST", "/instrument/laser/echo", [{"$array": True}]).json["value"] == {"$array": True}


def test_quotas_and_a_folder_that_outlives_the_gateway(lab: SubprocessServer, tmp_path: Path) -> None:
    folder = tmp_path / "arrays"
    options = ("--server", f"127.0.0.1:{lab.rpc_port}", "--array-dir", str(folder), "--arrays-mib", "0.02")
    with GatewayProcess(*options, "--body-mib", "0.015") as gateway:
        assert gateway.upload(npy(np.zeros(1000))).json["index"] == 0
        assert gateway.upload(npy(np.ones(1000))).json["index"] == 1
        assert gateway.upload(npy(np.zeros(1000))).status == 507
        assert gateway.upload(npy(np.zeros(4000))).status == 413
        assert gateway.ask("DELETE", "/array/0").status == 200
        assert gateway.get("/array/0").status == 404
        gateway.kill()
        gateway.start()
        assert gateway.get("/arrays").json["arrays"] == [{"index": 1, "shape": [1000], "dtype": "float64"}]
        assert gateway.upload(npy(np.zeros(1000))).json["index"] == 2
        # An index that somebody may still know is not given to another array.
        assert gateway.ask("DELETE", "/array/2").status == 200
        gateway.kill()
        gateway.start()
        assert gateway.upload(npy(np.zeros(1000))).json["index"] == 3


# --- streams ---------------------------------------------------------------------------------------------------------


def test_the_last_sample_in_every_form(gateway: GatewayProcess) -> None:
    last = gateway.get("/api/streams/power/last").json
    assert last["stream"] == "power"
    assert isinstance(last["value"], float)
    assert np.load(io.BytesIO(gateway.get("/api/streams/image/last.npy").body)).shape == (48, 64)
    for name, kind in (("last.png", "PNG"), ("last.jpg", "JPEG")):
        answer = gateway.get(f"/api/streams/image/{name}")
        image = Image.open(io.BytesIO(answer.body))
        assert (image.format, image.size) == (kind, (64, 48))
    assert gateway.get("/api/streams/power/last.png").status == 422
    assert gateway.get("/api/streams/image/last.exe").status == 404
    assert set(gateway.get("/api/streams").json["streams"]) == {"power", "image"}


def test_images_as_mjpeg(gateway: GatewayProcess) -> None:
    with socket.create_connection(("127.0.0.1", gateway.port), timeout=PATIENCE_S) as browser:
        browser.sendall(b"GET /api/streams/image/mjpeg HTTP/1.1\r\nHost: localhost\r\n\r\n")
        received = b""
        while received.count(b"Content-Type: image/jpeg") < 4:
            part = browser.recv(65536)
            assert part
            received += part
    assert b"multipart/x-mixed-replace; boundary=frame" in received


@pytest.mark.parametrize("form", ["json", "binary"])
def test_each_sample_over_a_websocket(gateway: GatewayProcess, form: str) -> None:
    with connect(f"ws://127.0.0.1:{gateway.port}/api/streams/image/ws?format={form}") as socket:
        numbers = []
        for _ in range(5):
            content = socket.recv(PATIENCE_S)
            if isinstance(content, bytes):
                head, value = read_binary_frame(content)
                assert (value.shape, str(value.dtype)) == ((48, 64), "uint8")
            else:
                head = json.loads(content)
                assert (len(head["value"]), head["shape"]) == (48, [48, 64])
            numbers.append(head["sequence"])
        assert numbers == sorted(set(numbers))


def test_a_websocket_of_no_stream_is_told_and_closed(gateway: GatewayProcess) -> None:
    with connect(f"ws://127.0.0.1:{gateway.port}/api/streams/nothing/ws") as socket:
        assert json.loads(socket.recv(PATIENCE_S))["error"] == "unknown_stream"
        with pytest.raises(websockets.ConnectionClosed):
            socket.recv(PATIENCE_S)


# --- /ws/stream ------------------------------------------------------------------------------------------------------


def test_sockets_and_http_steer_the_same_stream(gateway: GatewayProcess) -> None:
    url = f"ws://127.0.0.1:{gateway.port}/ws/stream"
    with connect(url) as one, connect(url) as two:

        def hear(socket: Any, kind: str) -> Any:
            while True:
                message = json.loads(socket.recv(PATIENCE_S))
                if message["type"] == kind:
                    return message

        assert [json.loads(socket.recv(PATIENCE_S)) for socket in (one, two)] == [
            {"type": "status", "streaming": False}
        ] * 2
        one.send('{"action": "ping"}')
        assert json.loads(one.recv(PATIENCE_S)) == {"type": "pong"}
        one.send('{"action": "start"}')
        for socket in (one, two):
            assert json.loads(socket.recv(PATIENCE_S)) == {"type": "status", "streaming": True}
            data = json.loads(socket.recv(PATIENCE_S))
            assert set(data) == {"type", "timestamp", "shape", "dtype", "x", "y"}
            assert (data["type"], data["shape"], data["dtype"]) == ("data", [len(data["y"])], "float64")
            assert len(data["x"]) == len(data["y"])
        assert gateway.get("/health").json["streaming"] is True
        assert gateway.get("/health").json["connections"] == 2
        assert gateway.ask("POST", "/control/stop").json["streaming"] is False
        assert hear(two, "status")["streaming"] is False
        two.send("no json")
        assert hear(two, "error")
        two.send('{"action": "jump"}')
        assert hear(two, "error")
        assert gateway.ask("POST", "/control/start").json["streaming"] is True
        hear(two, "data")
    poll_until(lambda: gateway.get("/health").json["connections"] == 0, what="the sockets to be gone")
    assert gateway.get("/health").json["streaming"] is False


def test_parameters_choose_streams_rate_and_form(gateway: GatewayProcess) -> None:
    url = f"ws://127.0.0.1:{gateway.port}/ws/stream?stream=power&stream=image&rate_hz=50&format=binary"
    with connect(url) as socket:
        assert json.loads(socket.recv(PATIENCE_S))["type"] == "status"
        socket.send('{"action": "start"}')
        seen: dict[str, Any] = {}
        while len(seen) < 2:
            content = socket.recv(PATIENCE_S)
            if isinstance(content, bytes):
                head, value = read_binary_frame(content)
                seen[head["stream"]] = value
        assert isinstance(seen["power"], float)
        assert seen["image"].shape == (48, 64)
    with connect(f"ws://127.0.0.1:{gateway.port}/ws/stream?rate_hz=0") as refused:
        assert json.loads(refused.recv(PATIENCE_S))["type"] == "error"


def test_a_browser_that_never_reads_delays_nobody(gateway: GatewayProcess) -> None:
    url = f"ws://127.0.0.1:{gateway.port}/api/streams/image/ws?format=binary"

    async def main() -> None:
        async with websockets.connect(url, max_queue=1) as stalled, websockets.connect(url) as quick:
            stalled.transport.pause_reading()
            numbers = [read_binary_frame(bytes(await quick.recv()))[0]["sequence"] for _ in range(100)]
            # Nothing is left out for the one that reads.
            assert numbers == list(range(numbers[0], numbers[0] + 100))
            stalled.transport.abort()

    asyncio.run(asyncio.wait_for(main(), 50))


# --- the rest --------------------------------------------------------------------------------------------------------


def test_overview_health_and_metrics(gateway: GatewayProcess) -> None:
    assert gateway.get("/").json["version"]
    health = gateway.get("/health").json
    assert health["status"] == "healthy"
    assert {"streaming", "connections", "arrays_stored"} <= set(health)
    metrics = gateway.get("/metrics")
    assert metrics.headers["content-type"].startswith("text/plain")
    assert b"one_liner_gateway_calls_total" in metrics.body
    assert gateway.get("/docs").status == 200


def test_pages_of_other_sites_are_refused(gateway: GatewayProcess) -> None:
    assert gateway.get("/instrument/wavelength", Origin="http://evil.example").status == 403
    assert gateway.get("/instrument/wavelength", Origin=f"http://127.0.0.1:{gateway.port}").status == 200
    hidden = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors"}
    assert gateway.get("/instrument/wavelength", **hidden).status == 403
    link = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"}
    assert gateway.get("/instrument/laser/wavelength", **link).status == 200
    assert gateway.get("/instrument/laser/set_power?power_mw=1", **link).status == 403
    with connect(f"ws://127.0.0.1:{gateway.port}/ws/stream", origin=Origin("http://evil.example")) as socket:
        with pytest.raises(websockets.ConnectionClosed) as closed:
            socket.recv(PATIENCE_S)
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 1008


def test_tokens_have_roles(lab: SubprocessServer, tmp_path: Path) -> None:
    file = tmp_path / "tokens.toml"
    file.write_text('[anna]\ntoken = "anna-secret"\nrole = "control"\n[ben]\ntoken = "ben-secret"\nrole = "read"\n')
    options = ("--server", f"127.0.0.1:{lab.rpc_port}", "--tokens", str(file))
    with GatewayProcess(*options) as gateway:
        anna, ben = {"Authorization": "Bearer anna-secret"}, {"X-Token": "ben-secret"}
        poll_until(lambda: gateway.get("/instrument/laser/wavelength", **ben).status == 200, PATIENCE_S, "the server")
        assert gateway.get("/instrument/laser/wavelength").status == 401
        assert gateway.get("/instrument/laser/wavelength", **{"X-Token": "wrong-secret"}).status == 401
        assert gateway.get("/instrument/laser/wavelength?token=ben-secret").status == 200
        assert gateway.get("/instrument/laser/limits", **ben).status == 200
        assert gateway.get("/instrument/laser/set_power?power_mw=1", **ben).status == 403
        assert gateway.get("/instrument/laser/set_power?power_mw=1", **anna).status == 200
        assert gateway.get("/instrument/laser/set_power?power_mw=1&token=anna-secret").status == 200
        assert gateway.ask("POST", "/control/start", headers=ben).status == 403
        assert gateway.ask("POST", "/control/start").status == 401
        assert gateway.get("/health").status == 200  # For whoever restarts it.
        with connect(f"ws://127.0.0.1:{gateway.port}/ws/stream") as socket, pytest.raises(websockets.ConnectionClosed):
            socket.recv(PATIENCE_S)
        with connect(f"ws://127.0.0.1:{gateway.port}/ws/stream?token=ben-secret") as socket:
            assert json.loads(socket.recv(PATIENCE_S))["type"] == "status"
        with NumpyClient(f"http://127.0.0.1:{gateway.port}") as nobody, pytest.raises(RefusedError):
            nobody.list_arrays()


def test_limits_on_rate_and_bodies(lab: SubprocessServer) -> None:
    options = (
        "--server",
        f"127.0.0.1:{lab.rpc_port}",
        "--rate-hz",
        "5",
        "--body-mib",
        "0.01",
        "--cors",
        "http://a.example",
    )
    with GatewayProcess(*options) as gateway:
        statuses = [gateway.get("/health", Origin="http://a.example").status for _ in range(40)]
        assert statuses[0] == 200
        assert 429 in statuses
        poll_until(lambda: gateway.get("/health").status == 200, what="another second to begin")
    with GatewayProcess(
        "--server", f"127.0.0.1:{lab.rpc_port}", "--body-mib", "0.01", "--cors", "http://a.example"
    ) as gateway:
        assert gateway.ask("POST", "/instrument/laser/echo", b"1" * 20_000).status == 413
        # Also where nobody says beforehand how long it is.
        chunked = [b"1" * 5000] * 4
        connection = socket.create_connection(("127.0.0.1", gateway.port), timeout=PATIENCE_S)
        with connection:
            connection.sendall(
                b"POST /instrument/laser/echo HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"
            )
            for part in chunked:
                connection.sendall(b"%x\r\n%s\r\n" % (len(part), part))
            connection.sendall(b"0\r\n\r\n")
            assert b" 413 " in connection.recv(4096).split(b"\r\n")[0] + b" "
        allowed = gateway.get("/health", Origin="http://a.example")
        assert allowed.headers["access-control-allow-origin"] == "http://a.example"


def test_the_files_of_the_page_do_not_count_for_the_rate(lab: SubprocessServer, tmp_path: Path) -> None:
    pytest.importorskip("nicegui")
    tokens = tmp_path / "tokens.toml"
    tokens.write_text('[anna]\ntoken = "anna-secret"\nrole = "read"\n', encoding="utf-8")
    options = ("--server", f"127.0.0.1:{lab.rpc_port}", "--rate-hz", "2", "--tokens", str(tokens))
    with GatewayProcess(*options) as gateway:
        anna = {"X-Token": "anna-secret"}
        page = gateway.get("/ui/", **anna).body.decode()
        path = re.search(r"/ui/_nicegui/[^/]+/static/nicegui\.js", page)
        assert path is not None
        assert {gateway.get(path[0], **anna).status for _ in range(50)} == {200}
        statuses = [gateway.get("/health").status for _ in range(50)]
        assert 429 in statuses
        assert gateway.get(path[0], **anna).status == 200
        # Whoever is refused there is not let try on and on.
        tried = [gateway.get(path[0], **{"X-Token": f"guess-{one}"}).status for one in range(50)]
        assert (tried[0], set(tried)) == (401, {401, 429})


def test_numpy_client(gateway: GatewayProcess) -> None:
    with NumpyClient(f"http://127.0.0.1:{gateway.port}") as client:
        assert client.health()["status"] == "healthy"
        array = np.linspace(0, 1, 7)
        index = client.upload_numpy_array(array)["index"]
        np.testing.assert_array_equal(client.get_array(index), array)
        assert index in [one["index"] for one in client.list_arrays()["arrays"]]
        with pytest.raises(UnknownObjectError):
            client.get_array(10**6)
        came: list[Any] = []
        with client.connect_streaming(came.append) as stream:
            poll_until(lambda: len(came) > 3, what="data")
            assert stream.received >= len(came) - 1
            assert client.stop_streaming()["streaming"] is False
            assert client.start_streaming()["streaming"] is True
        assert stream.closed
        assert set(came[0]) >= {"timestamp", "shape", "dtype", "x", "y"}
    with NumpyClient("http://127.0.0.1:1") as nobody, pytest.raises(NoServerError):
        nobody.health()
