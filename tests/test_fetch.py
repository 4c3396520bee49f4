"""Fetching, against a server on this machine that answers with the NRFA's samples, breaks off, and refuses."""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from hydromae.cli import main
from hydromae.datasets.reader import open_record
from hydromae.errors import InputError
from hydromae.fetch import archives, nrfa
from hydromae.fetch.transfer import Client
from local_server import Server, running_server

CAMELS = "data/timeseries/CAMELS_GB_hydromet_timeseries_1001_19701001-20150930.csv"
CARAVAN = "Caravan/timeseries/csv"


@pytest.fixture
def server() -> Iterator[Server]:
    with running_server() as server:
        yield server


def client(**settings: float) -> Client:
    return Client(**{"pause": 0.0, "patience": 0.01, "timeout": 5.0, **settings})  # type: ignore[arg-type]


def packed(files: dict[str, str]) -> bytes:
    held = io.BytesIO()
    with zipfile.ZipFile(held, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in files.items():
            archive.writestr(name, text)
    return held.getvalue()


def test_stations_of_the_nrfa_become_a_record_and_are_fetched_once(server: Server, tmp_path: Path) -> None:
    command = ["fetch", "nrfa", "--stations", "1001,39001", "--period", "1990", "2020", "--out", str(tmp_path / "n")]
    command += ["--pause", "0", "--url", f"{server.url}/ws"]
    assert main(command) == 0
    assert len(server.asked) == 5 and sum("start-date=1990-01-01" in path for path, _ in server.asked) == 4
    record = open_record(tmp_path / "n")
    assert record["catchment"].values.tolist() == [1001, 39001]
    assert float(record["riverflow"].values[0, 0]) == pytest.approx(2.5 * 86.4 / 161.9)
    assert main(command) == 0 and len(server.asked) == 5, "nothing is asked for twice"
    command[command.index("1990")] = "1991-02-03"
    assert main(command) == 0 and len(server.asked) == 9, "other days are; the catalogue is not"
    assert str(open_record(tmp_path / "n")["time"].values[0])[:10] == "1991-02-03"


def test_stations_fetched_later_join_those_that_are_there(
    server: Server, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    place = tmp_path / "my rivers"
    for station in ("1001", "39001", "1001"):
        rest = ["--out", str(place), "--pause", "0", "--url", f"{server.url}/ws"]
        assert main(["fetch", "nrfa", "--stations", station, *rest]) == 0
    assert len(server.asked) == 6, "the catalogue, once more for the second, and four series"
    record = open_record(place)
    assert record["catchment"].values.tolist() == [1001, 39001] and record["catchment-area"].notnull().all()
    assert f"hydromae predict '{place}' --model gb-rivers" in capsys.readouterr().out.replace("\n", "")


def test_an_update_asks_for_the_days_after_the_last_one(server: Server, tmp_path: Path) -> None:
    command = [
        "fetch",
        "nrfa",
        "--stations",
        "1001",
        "--out",
        str(tmp_path),
        "--pause",
        "0",
        "--url",
        f"{server.url}/ws",
    ]
    assert main(command) == 0 and len(server.asked) == 3
    for morning in range(1, 3):
        assert main([*command, "--update"]) == 0
        asked = [path for path, _ in server.asked[-2:]]
        assert all(f"start-date=1970-01-0{1 + morning}" in path for path in asked), "the catalogue is not asked for"
        flow = open_record(tmp_path)["riverflow"]
        assert flow.shape == (1 + morning, 1) and flow.notnull().all()
    assert len(server.asked) == 7
    file = tmp_path / "1001_gdf.json"
    file.write_text(file.read_text().replace("m3/s", "l/s"))
    assert main([*command, "--update"]) == 2 and "l/s" in file.read_text(), "units never change within a series"


def test_a_busy_server_is_asked_again_and_a_wrong_question_is_not(server: Server, tmp_path: Path) -> None:
    server.faults = [503, 429]
    with client() as one:
        assert json.loads(one.text(f"{server.url}/ws/station-info", {"station": "7"}))["data"][0]["id"] == 7
        assert len(server.asked) == 3
        with pytest.raises(InputError, match="the server answers 404"):
            one.text(f"{server.url}/nothing")
        assert len(server.asked) == 4
        server.faults = [503] * 9
        with pytest.raises(InputError, match=r"no answer after 5 tries \(the server answers 503\)"):
            one.text(f"{server.url}/ws/station-info", {"station": "7"})
        assert len(server.asked) == 9


def test_requests_keep_their_distance(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    slept: list[float] = []
    monkeypatch.setattr("hydromae.fetch.transfer.time.sleep", slept.append)
    with client(pause=7.0) as one:
        for _ in range(2):
            one.text(f"{server.url}/ws/station-info", {"station": "7"})
    assert slept[0] == 0 and 6 < slept[1] <= 7


def test_nobody_there(tmp_path: Path) -> None:
    with client(tries=2) as one, pytest.raises(InputError, match="no answer after 2 tries"):
        one.text("http://127.0.0.1:9/")
    with client(tries=9) as one, pytest.raises(InputError, match=r"after 2 tries .*is this machine online"):
        one.text("http://127.0.0.1:9/")
    with client() as one, pytest.raises(InputError, match=r"cannot be requested|no answer"):
        one.text("nothing://here")


def test_a_broken_transfer_goes_on_where_it_broke_off(server: Server, tmp_path: Path) -> None:
    body = bytes(range(256)) * 4000
    server.files["/file.bin"], server.faults = body, [300_000, 200_000]
    told = f"md5:{hashlib.md5(body).hexdigest()}"
    with client() as one:
        one.file(f"{server.url}/file.bin", tmp_path / "file.bin", told, len(body))
    assert (tmp_path / "file.bin").read_bytes() == body and not (tmp_path / "file.bin.partial").exists()
    begins = [int(begin.removeprefix("bytes=").removesuffix("-") or 0) for _, begin in server.asked]
    assert begins == [0, 300_000, 500_000]


def test_wrong_bytes_are_removed(server: Server, tmp_path: Path) -> None:
    server.files["/file.bin"] = b"abc"
    with client() as one:
        with pytest.raises(InputError, match="did not have the checksum"):
            one.file(f"{server.url}/file.bin", tmp_path / "file.bin", "md5:00", 3)
        assert list(tmp_path.iterdir()) == []
        with pytest.raises(InputError, match="which is not known"):
            one.file(f"{server.url}/file.bin", tmp_path / "file.bin", "crc:00", 3)
        (tmp_path / "file.bin.partial").write_bytes(b"of another file")
        one.file(f"{server.url}/file.bin", tmp_path / "file.bin", f"sha256:{hashlib.sha256(b'abc').hexdigest()}", 3)
    assert (tmp_path / "file.bin").read_bytes() == b"abc"


def test_caravan_by_its_record_on_zenodo(server: Server, tmp_path: Path) -> None:
    gauges = {
        f"{CARAVAN}/{source}/{source}_1.csv": "date,streamflow\n2010-01-01,1.5\n" for source in ("camelsgb", "lamah")
    }
    other = "gauge_id,gauge_lat,gauge_lon,area\ncamelsgb_1,58.4,-3.2,161.9\n"
    body = packed(gauges | {"Caravan/attributes/camelsgb/attributes_other_camelsgb.csv": other})
    server.files["/f/Caravan.zip"] = body
    link, told = f"{server.url}/f/Caravan.zip", f"md5:{hashlib.md5(body).hexdigest()}"
    files = [{"key": "Caravan.zip", "size": len(body), "checksum": told, "links": {"self": link}}]
    server.files["/api/records/1"] = json.dumps({"files": files}).encode()
    command = ["fetch", "caravan", "--out", str(tmp_path / "c"), "--pause", "0", "--url", f"{server.url}/api/records/1"]
    assert main(command) == 0
    assert not list((tmp_path / "c").rglob("lamah*"))
    assert float(open_record(tmp_path / "c")["riverflow"].values[0, 0]) == 1.5
    assert main(command) == 0 and len(server.asked) == 3, "the archive is fetched once"
    files[0]["key"] = "../Caravan.zip"
    server.files["/api/records/1"] = json.dumps({"files": files}).encode()
    assert main(command) == 2


def test_camels_gb_is_unpacked(server: Server, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    frame = "date,precipitation,discharge_spec\n2010-01-01,1,2\n"
    server.files["/c.zip"] = packed(
        {CAMELS: frame, "data/CAMELS_GB_topographic_attributes.csv": "gauge_id,area\n1001,5\n"}
    )
    command = ["fetch", "camels-gb-1", "--out", str(tmp_path), "--pause", "0", "--url", f"{server.url}/c.zip"]
    assert main(command) == 0 and (tmp_path / CAMELS).read_text() == frame
    assert "doi:10.5285/8344e4f3" in capsys.readouterr().out


def test_no_file_of_the_users_is_replaced(server: Server, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A series that came by hand; a table of an archive that was mended by hand. What was fetched is fetched again."""
    place = tmp_path / "n"
    place.mkdir()
    (place / "1001_gdf.json").write_text("by hand")
    command = ["fetch", "nrfa", "--stations", "1001", "--out", str(place), "--pause", "0", "--url", f"{server.url}/ws"]
    assert main(command) == 2 and not server.asked
    assert "1001_gdf.json: exists and was not fetched by hydromae; move it" in capsys.readouterr().err
    assert [file.name for file in place.iterdir()] == ["1001_gdf.json"]
    (place / "1001_gdf.json").unlink()
    assert main(command) == 0
    (place / "1001_gdf.json").unlink()
    assert main(command) == 0 and (place / "1001_gdf.json").is_file()
    (tmp_path / "a.zip").write_bytes(packed({"a.csv": "1234"}))
    (tmp_path / "a.csv").write_text("mended")
    with pytest.raises(InputError, match=r"a\.csv: differs from the file in a\.zip; move it"):
        archives.unpack(tmp_path / "a.zip", tmp_path)
    assert (tmp_path / "a.csv").read_text() == "mended"


def test_an_archive_behind_an_account_is_put_there_by_hand(
    server: Server, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    server.files["/c.zip"] = b"\n<!DOCTYPE html>\n<html><body>Log in</body></html>"
    command = ["fetch", "camels-gb-1", "--out", str(tmp_path), "--pause", "0", "--url", f"{server.url}/c.zip"]
    for fault, said in ((0, "the response is a web page, not an archive"), (401, "the server answers 401")):
        server.faults = [fault]
        assert main(command) == 2
        told = " ".join(capsys.readouterr().err.split())
        assert said in told and "needs a free account" in told and "https://doi.org/10.5285/8344e4f3" in told
        assert not (tmp_path / "camels-gb-1.zip").exists()
    (tmp_path / "camels-gb-1.zip").write_bytes(packed({CAMELS: "date\n"}))
    assert main(command) == 0 and (tmp_path / CAMELS).is_file()


@pytest.mark.parametrize("name", ["../outside.csv", "/etc/outside.csv", "a/../../outside.csv", "C:/outside.csv"])
def test_an_archive_writes_nowhere_else(tmp_path: Path, name: str) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "bad.zip").write_bytes(packed({"fine.csv": "1", name: "2"}))
    with pytest.raises(InputError, match="outside its folder"):
        archives.unpack(tmp_path / "in" / "bad.zip", tmp_path / "in")
    assert {file.name for file in tmp_path.rglob("*") if file.is_file()} <= {"bad.zip", "fine.csv"}


def test_damaged_and_empty_archives_and_bombs(tmp_path: Path) -> None:
    file = tmp_path / "a.zip"
    file.write_bytes(b"no zip")
    with pytest.raises(InputError, match="cannot be unpacked"):
        archives.unpack(file, tmp_path)
    file.write_bytes(packed({"a.csv": "1"}))
    with pytest.raises(InputError, match="has no camelsgb"):
        archives.unpack(file, tmp_path, "camelsgb")
    file.write_bytes(packed({"a.csv": "0" * (LARGE := 220 * 2**20)}))
    with pytest.raises(InputError, match="compression ratio of more than 200"):
        archives.unpack(file, tmp_path)
    assert LARGE > 0 and not (tmp_path / "a.csv").exists()


def test_mistakes_are_one_line(server: Server, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = ["--out", str(tmp_path / "n"), "--pause", "0", "--url", f"{server.url}/ws"]
    mistakes = {
        "--stations: is missing": ["nrfa", *out],
        "'abc': is not a number": ["nrfa", "--stations", "abc", *out],
        "199x/2000: is not two dates": ["nrfa", "--stations", "1", "--period", "199x", "2000", *out],
        "station 9: the NRFA has none": ["nrfa", "--stations", "1,9", *out],
        "omit them": ["caravan", "--stations", "1", *out],
        "404": ["caravan", *out],
        "last day is before the first": ["nrfa", "--stations", "1", "--period", "2000", "1990", *out],
        "is a file; name a folder": ["nrfa", "--stations", "1", *out[2:], "--out", __file__],
    }
    for words, command in mistakes.items():
        assert main(["fetch", *command]) == 2
        lines = capsys.readouterr().err.strip().splitlines()
        assert len(lines) == 1 and words in lines[0], lines
    server.files["/odd/station-info"] = b"<html>"
    with client() as one, pytest.raises(InputError, match="is invalid; try again later"):
        nrfa.fetch_nrfa(["1"], tmp_path, one, url=f"{server.url}/odd")
