"""The server: what it hands out, and that no request breaks it, gets past it or reads a file of the machine."""

from __future__ import annotations

import json
import socket
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from starlette.testclient import TestClient

from explored import serving
from hydromae.errors import InputError
from hydromae.explore import page, server
from hydromae.explore.server import HOST, application, listening
from hydromae.explore.session import Session

GAP = {"river": "1001", "start": "2001-01-01", "end": "2001-07-19", "hide": [["2001-04-11", "2001-04-20"]]}
AHEAD = {"river": "1001", "issue": "2001-05-31", "days": 5}


@pytest.fixture(scope="module")
def client(small: Session) -> TestClient:
    return TestClient(application(small), base_url=f"http://{HOST}:4000", raise_server_exceptions=False)


def line(answer: Any) -> str:
    """The one line of a refusal."""
    (word,) = answer.json().values()
    assert "\n" not in word and 0 < len(word) < 400
    return word


def test_the_page_and_all_it_loads(client: TestClient) -> None:
    text = client.get("/").text
    loaded = [part.split('"')[0] for mark in ('href="assets/', 'src="assets/') for part in text.split(mark)[1:]]
    assert set(loaded) == set(page.static_files()) and "{{" not in text
    for name in loaded:
        answer = client.get(f"/assets/{name}")
        assert answer.status_code == 200 and answer.headers["content-type"].startswith(("text/css", "text/javascript"))


def test_every_answer_lets_the_browser_load_nothing_from_elsewhere(client: TestClient) -> None:
    for answer in (client.get("/"), client.get("/api/record"), client.get("/nothing"), client.post("/api/answer")):
        policy = answer.headers["content-security-policy"]
        assert "default-src 'none'" in policy and "unsafe" not in policy and "http" not in policy
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert "access-control-allow-origin" not in answer.headers


def test_the_record_a_river_an_answer_and_a_forecast(client: TestClient) -> None:
    record = client.get("/api/record").json()
    assert record["opening"]["river"] in record["river"] and len(record["opening"]["hide"]) == 1
    assert record["river"][0] == "1001" and len(record["easting"]) == 6 and record["maps"] == []
    assert len(client.get("/api/river/1001").json()["flow"]) == 200
    days = {"start": "2001-02-01", "end": "2001-02-10"}
    assert len(client.get("/api/river/1001", params=days).json()["flow"]) == 10
    station = client.get("/api/station/1001").json()
    assert len(station["whole"]["high"]) == 200 and len(station["attributes"]) == 11
    answer = client.post("/api/answer", json=GAP)
    assert answer.json()["score"]["days"] == 10
    assert client.post("/api/answer", json=GAP).content == answer.content, "kept: even its seconds are the same"
    assert client.post("/api/forecast", json=AHEAD).json()["score"]["days"] == 5


def test_maps_are_answered_where_there_are_some(mapped: Session, client: TestClient) -> None:
    asked = {"variable": "temperature", "day": "2001-01-20"}
    with_maps = TestClient(application(mapped), base_url=f"http://{HOST}")
    assert with_maps.get("/api/record").json()["maps"] == ["precipitation", "soil_moisture", "temperature"]
    assert with_maps.get("/api/map", params=asked).json()["error"] > 0
    assert "none" in line(client.get("/api/map", params=asked))


BAD = {
    "unknown river": ("/api/answer", {**GAP, "river": "9999"}, "9999"),
    "day before the record": ("/api/answer", {**GAP, "start": "1999-01-01"}, "1999-01-01"),
    "too many days": ("/api/answer", {**GAP, "start": "1998-01-01"}, "more than"),
    "issue day outside": ("/api/forecast", {**AHEAD, "issue": "2031-01-01"}, "2031-01-01"),
    "too far ahead": ("/api/forecast", {**AHEAD, "days": 400}, "days"),
    "end of time": ("/api/forecast", {**AHEAD, "issue": "9999-12-31"}, "9999-12-31"),
    "hide outside the view": ("/api/answer", {**GAP, "hide": [["2005-01-01", "2005-01-02"]]}, "not inside"),
    "too many gaps": ("/api/answer", {**GAP, "hide": [["2001-04-11", "2001-04-12"]] * 21}, "hide"),
    "a list": ("/api/answer", [1, 2], "request"),
    "no river": ("/api/answer", {"start": "2001-01-01", "end": "2001-01-02"}, "river"),
    "a river of another type": ("/api/forecast", {**AHEAD, "river": {"$ne": 1}}, "river"),
    "half a pair": ("/api/answer", {**GAP, "hide": [["2001-04-11"]]}, "hide"),
}


@pytest.mark.parametrize(("path", "asked", "named"), BAD.values(), ids=BAD.keys())
def test_what_cannot_be_answered_is_refused_in_one_line(client: TestClient, path: str, asked: Any, named: str) -> None:
    answer = client.post(path, json=asked)
    assert answer.status_code == 422 and named in line(answer)


@pytest.mark.parametrize("path", ["/api/station/9999", "/api/station/1001?days=3", "/api/river/1001?start=2001-02-01"])
def test_a_river_is_asked_for_by_name_alone(client: TestClient, path: str) -> None:
    answer = client.get(path)
    assert answer.status_code == 422 and line(answer)


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"null", b"\xff\xfe", b"NaN", b"[" * 5000, b'{"river":' + b"9" * 5000 + b"}", b'{"a":"\\ud800"}'],
)
def test_bodies_that_are_no_question(client: TestClient, body: bytes) -> None:
    answer = client.post("/api/answer", content=body, headers={"content-type": "application/json"})
    assert answer.status_code == 422 and line(answer)


def test_too_large_wrong_type_and_wrong_method(client: TestClient) -> None:
    json_type = {"content-type": "application/json"}
    assert client.post("/api/answer", content=b" " * 20_000, headers=json_type).status_code == 413
    assert (
        client.post("/api/answer", content=json.dumps(GAP), headers={"content-type": "text/plain"}).status_code == 415
    )
    assert client.get("/api/answer").status_code == 405 and client.delete("/").status_code == 405


@pytest.mark.parametrize(
    "path",
    [
        "/assets/../server.py",
        "/assets/..%2f..%2fserver.py",
        "/assets/%2e%2e/%2e%2e/etc/passwd",
        "/assets//etc/passwd",
        "/..%5c..%5cwindows",
        "/assets/uPlot.min.css%00.js",
        "/small.zarr/zarr.json",
        "/.git/config",
        "/api/",
    ],
)
def test_no_address_leads_to_another_file(client: TestClient, path: str) -> None:
    answer = client.get(path)
    assert answer.status_code == 404 and line(answer)


def test_other_names_and_other_pages_are_turned_away(client: TestClient) -> None:
    for host in ("evil.example", "evil.example:4000", "127.0.0.1.evil.example", ""):
        assert client.get("/api/record", headers={"host": host}).status_code == 400, host
    assert client.get("/api/record", headers={"host": "localhost:4000"}).status_code == 200
    for origin in ("http://evil.example", "null", "http://127.0.0.1:5000"):
        assert client.post("/api/answer", json=GAP, headers={"origin": origin}).status_code == 403, origin
    assert client.get("/api/record", headers={"sec-fetch-site": "cross-site"}).status_code == 403
    assert client.post("/api/answer", json=GAP, headers={"origin": f"http://{HOST}:4000"}).status_code == 200


def test_a_fault_of_ours_is_one_line_and_the_server_goes_on(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(country: Session, asked: object) -> dict[str, Any]:
        raise ArithmeticError("secret of line 3")

    monkeypatch.setattr(server, "hidden_response", broken)
    answer = client.post("/api/answer", json={**GAP, "hide": [["2001-04-12", "2001-04-13"]]})
    assert answer.status_code == 500 and "ArithmeticError" in line(answer) and "secret" not in answer.text
    assert "default-src 'none'" in answer.headers["content-security-policy"]
    monkeypatch.undo()
    assert client.post("/api/answer", json={**GAP, "hide": [["2001-04-12", "2001-04-13"]]}).status_code == 200


def test_a_queue_that_is_full_says_so(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "MAX_QUEUED", 0)
    answer = client.post("/api/forecast", json=AHEAD)
    assert answer.status_code == 503 and "again" in line(answer)


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=8,
)
FIELD = st.sampled_from(["river", "start", "end", "hide", "issue", "days", "future_weather"])
ALMOST = st.tuples(st.sampled_from([GAP, AHEAD]), st.dictionaries(FIELD, ANYTHING, max_size=2)).map(
    lambda two: two[0] | two[1]
)


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.sampled_from(["/api/answer", "/api/forecast"]), ANYTHING | ALMOST)
def test_whatever_is_asked_is_answered_or_refused(client: TestClient, path: str, asked: Any) -> None:
    answer = client.post(path, content=json.dumps(asked).encode(), headers={"content-type": "application/json"})
    assert answer.status_code == 200 or (answer.status_code == 422 and line(answer))


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.text(max_size=30), st.dictionaries(st.text(max_size=6), st.text(max_size=12), max_size=3))
def test_whatever_the_address_is(client: TestClient, name: str, words: dict[str, str]) -> None:
    from urllib.parse import quote

    for path in ("/api/river/", "/assets/", "/"):
        answer = client.get(path + quote(name, safe=""), params=words)
        assert answer.status_code in (200, 404, 422)


def test_a_real_socket_survives_what_is_not_http(small: Session) -> None:
    with serving(small) as address:
        port = int(address.rsplit(":", 1)[1])
        for sent in (
            b"\x16\x03\x01\x02\x00",
            b"GET / HTTP/9.9\r\n\r\n",
            b"POST /api/answer HTTP/1.1\r\nhost: x\r\n\r\n",
            b"\0" * 70_000,
        ):
            with socket.create_connection((HOST, port), timeout=5) as wire:
                wire.sendall(sent)
                wire.shutdown(socket.SHUT_WR)
                wire.settimeout(5)
                assert b"HTTP/1.1 2" not in wire.recv(4096)
        with socket.create_connection((HOST, port), timeout=5) as wire:
            wire.sendall(b"GET /api/record HTTP/1.1\r\nhost: 127.0.0.1\r\nconnection: close\r\n\r\n")
            assert wire.recv(4096).startswith(b"HTTP/1.1 200")


def test_it_listens_on_the_loopback_address_alone() -> None:
    with listening(0) as taken:
        host, port = taken.getsockname()
        assert host == "127.0.0.1"
        with pytest.raises(InputError, match=f"--port {port}"):
            listening(port)
    with pytest.raises(InputError, match="--port 70000"):
        listening(70000)
