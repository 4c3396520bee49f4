"""The file to share: it holds all it shows, loads nothing, and is written whole or not at all; and the command itself."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from datetime import date
from pathlib import Path

import numpy as np
import pytest

from explored import small_country
from hydromae.cli import explore, main
from hydromae.errors import InputError
from hydromae.explore.export import export, gaps_of, issue_days
from hydromae.explore.session import Session
from hydromae.store.zarr_store import open_store
from hydromae.virtual import virtual_catchments
from synthetic import rivers


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> str:
    record = rivers(6, 200, seed=5).assign_coords(name=("catchment", ["</script><script>alert(1)</script>", *"bcdef"]))
    out = tmp_path_factory.mktemp("export") / "page.html"
    assert export(small_country(record), out, ["1002", "1005"]) == out
    return out.read_text(encoding="utf-8")


def book(text: str) -> dict:
    """What is written into the page."""
    (held,) = re.findall(r'<script type="application/json" id="book">(.*?)</script>', text, re.DOTALL)
    return json.loads(held)


def test_it_loads_nothing_and_says_so(text: str) -> None:
    assert not re.search(r"""(?:src|href)=["'](?!data:,|#)""", text) and "@import" not in text and "url(" not in text
    (policy,) = re.findall(r'http-equiv="Content-Security-Policy" content="([^"]*)"', text)
    assert policy.startswith("default-src 'none'") and "unsafe" not in policy and "connect-src" not in policy
    for tag, kind in (("script", "script-src"), ("style", "style-src")):
        parts = re.findall(rf"<{tag}>(.*?)</{tag}>", text, re.DOTALL)
        sums = [base64.b64encode(hashlib.sha256(part.encode()).digest()).decode() for part in parts]
        allowed = re.search(rf"{kind} ([^;]*)", policy)
        assert allowed and allowed[1].split() == [f"'sha256-{one}'" for one in sums] and parts


def test_names_from_data_stay_data(text: str) -> None:
    assert "<script>alert" not in text
    assert book(text)["record"]["name"][0] == "</script><script>alert(1)</script>"


def test_it_holds_the_rivers_their_gaps_and_forecasts(text: str, small: Session) -> None:
    held = book(text)
    assert [part["view"]["river"] for part in held["rivers"]] == ["1002", "1005"] and len(held["record"]["river"]) == 6
    part = held["rivers"][0]
    np.testing.assert_allclose(part["view"]["flow"], small.record["riverflow"].values[:, 1], atol=5e-5)
    assert [len(one["hidden"]) for one in part["answers"]] == [0, 1, 1, 1]
    for one in part["answers"][1:]:
        (first, last), score = one["hidden"][0], one["score"]
        assert score["days"] == (date.fromisoformat(last) - date.fromisoformat(first)).days + 1
    highest = int(np.argmax(part["view"]["flow"]))
    assert part["answers"][1]["mean"][highest] is not None, "the first gap lies on the highest flow"
    issues = [one["issue"] for one in part["forecasts"]]
    assert (
        len(issues) == 12 and issues == sorted(issues) and all(one["score"]["days"] == 10 for one in part["forecasts"])
    )


def test_gaps_and_issue_days_stay_inside_short_views() -> None:
    assert gaps_of([None] * 100) == [] and gaps_of([1.0] * 5) == []
    for low, high in gaps_of([float(k) for k in range(70)]):
        assert 0 <= low <= high < 70
    assert issue_days(1) == [0] and issue_days(15) == [1, 2, 3, 4] and max(issue_days(365)) == 354


def test_without_names_it_holds_the_most_measured_rivers(tmp_path: Path) -> None:
    record = rivers(6, 60, seed=5)
    record["riverflow"][:30, :3] = np.nan
    record["catchment-area"][:] = [1.0, 2.0, 3.0, 50.0, 70.0, 60.0]
    text = export(small_country(record), tmp_path / "page.html").read_text(encoding="utf-8")
    assert [part["view"]["river"] for part in book(text)["rivers"]] == ["1005", "1006", "1004"]


def test_wrong_rivers_and_days_leave_what_was_there(tmp_path: Path, small: Session) -> None:
    out = tmp_path / "page.html"
    out.write_text("as it was")
    for words, named in (
        ({"rivers": ["77"]}, "77"),
        ({"period": (date(2001, 3, 1), date(2001, 1, 1))}, "period 2001-03-01/2001-01-01"),
        ({"period": (date(1990, 1, 1), date(1990, 2, 1))}, "1990-01-01 lies outside"),
    ):
        with pytest.raises(InputError, match=named):
            export(small, out, **words)
    assert out.read_text() == "as it was" and list(tmp_path.iterdir()) == [out]
    with pytest.raises(InputError, match="cannot be written"):
        export(small, out / "below" / "page.html", ["1001"])


def test_the_command_writes_a_file_with_the_shipped_model(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    virtual_catchments(420, 3, "2009-01-01", 12).to_netcdf(tmp_path / "virtual.nc", engine="h5netcdf")
    store, out = str(tmp_path / "rivers.zarr"), tmp_path / "page.html"
    assert main(["prepare", str(tmp_path / "virtual.nc"), store, "--training-period", "2009-01-01", "2009-12-31"]) == 0
    command, capsys_of = ["explore", store, "--model", "gb-rivers"], capsys.readouterr
    capsys_of()
    first = open_store(store)["catchment"].values[0]
    days = ["--rivers", str(first), "--period", "2009-06-01", "2009-08-31"]
    assert main([*command, "--export", str(out), *days, "--json"]) == 0
    assert json.loads(capsys_of().out) == {"path": str(out)}
    held = book(out.read_text(encoding="utf-8"))
    assert [part["view"]["river"] for part in held["rivers"]] == [str(first)] and held["record"]["model"] == "gb-rivers"
    mistakes = {
        "2009-13-01": ["--export", str(out), "--period", "2009-13-01", "2009-08-31"],
        "--rivers": ["--rivers", "101"],
        "nowhere": ["--export", str(out), "--scores", str(tmp_path / "nowhere")],
        "--port 99999": ["--port", "99999"],
    }
    for named, more in mistakes.items():
        assert main([*command, *more]) == 2 and named in capsys_of().err, named
    monkeypatch.setattr(explore, "find_spec", lambda name: None)
    assert main(command) == 2 and "pip install 'hydromae[explore]'" in capsys_of().err


def test_the_command_serves_until_it_is_ended(
    small: Session, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    import webbrowser

    from hydromae.explore import server, session

    opened: list[str] = []
    monkeypatch.setattr(webbrowser, "open", opened.append)
    monkeypatch.setattr(session, "open_session", lambda *_: small)
    monkeypatch.setattr(server.uvicorn.Server, "run", lambda self, sockets: (_ for _ in ()).throw(KeyboardInterrupt))
    assert main(["explore", "small.zarr", "--model", "drawn"]) == 0
    said = capsys.readouterr().out
    assert opened and opened[0].startswith("http://127.0.0.1:") and opened[0] in said and "Ctrl+C" in said
    assert main(["explore", "small.zarr", "--model", "drawn", "--no-browser"]) == 0 and len(opened) == 1
