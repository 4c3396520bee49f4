"""Changes to tables: a list of rows, each a mapping from column to cell. Those in `HARMLESS` keep the meaning."""

from __future__ import annotations

import csv
import gzip
import io
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

Rows = list[dict[str, Any]]
Change = Callable[[Rows, Random], Rows]
CELLS: tuple[Any, ...] = (
    "",
    " ",
    "x",
    "nan",
    "NA",
    "inf",
    "-inf",
    "-99999",
    "-9999",
    "1e20",
    "1e400",
    "-1",
    "1e6",
    "0x12",
    "1,5",
    "1 5",
    "1_000",
    "True",
    "é",
    "\x00",
    '"',
    "=1+1",
    "2001-01-01",
    "9" * 400,
    "-0",
    "1e-300",
    "++1",
    "1.2.3",
    "🌊",
)
DAYS: tuple[Any, ...] = (
    "",
    "x",
    "2001-13-01",
    "2001-02-30",
    "20010105",
    "2001-01-05T12:00:00",
    "2001-01-05T12:00:00+05:00",
    "2001-01-05 23:59:59.999999",
    "01/02/2001",
    "1",
    "0",
    "1e9",
    "1500-01-01",
    "2300-01-01",
    "9999-12-31",
    "2001-W02-1",
    "nan",
    "NaT",
    "now",
    "today",
    "2001",
    "2001-01",
)


def column(rows: Rows, rng: Random) -> str:
    """The name of a column that is no key."""
    return rng.choice([name for name in rows[0] if name not in ("date", "catchment", "id")])


def shuffled(rows: Rows, rng: Random) -> Rows:
    return rng.sample(rows, len(rows))


def other_names(rows: Rows, rng: Random) -> Rows:
    names = {"catchment": rng.choice(("id", "ID", "gauge_id")), "date": rng.choice(("time", "date"))}
    names |= {"riverflow": rng.choice(("discharge_spec", "riverflow [mm/d]")), "precipitation": "rainfall"}
    return [{names.get(name, name): cell for name, cell in row.items()} for row in rows]


def more_columns(rows: Rows, rng: Random) -> Rows:
    return [{"remark": "../../x", **row, "other": "é"} for row in rows]


def columns_moved(rows: Rows, rng: Random) -> Rows:
    order = rng.sample(list(rows[0]), len(rows[0]))
    return [{name: row[name] for name in order} for row in rows]


def sentinels(rows: Rows, rng: Random) -> Rows:
    value = rng.choice((-99999, float("inf"), -99999.0))
    return [{**row, "riverflow": value if _missing(row["riverflow"]) else row["riverflow"]} for row in rows]


def in_volume(rows: Rows, rng: Random) -> Rows:
    name = rng.choice(("discharge_vol", "riverflow [m3/s]"))
    return [
        {**{k: v for k, v in row.items() if k != "riverflow"}, name: row["riverflow"] * row["catchment-area"] / 86.4}
        for row in rows
    ]


def with_hours(rows: Rows, rng: Random) -> Rows:
    tail = rng.choice((" 09:00:00", "T00:00:00", "T12:30:00Z", "T01:00:00+05:00"))
    return [{**row, "date": f"{row['date']}{tail}"} for row in rows]


HARMLESS: tuple[Change, ...] = (shuffled, other_names, more_columns, columns_moved, sentinels, in_volume, with_hours)


def a_cell(rows: Rows, rng: Random) -> Rows:
    name = column(rows, rng)
    for _ in range(rng.choice((1, 1, 5))):
        rows[rng.randrange(len(rows))][name] = rng.choice(CELLS)
    return rows


def a_column(rows: Rows, rng: Random) -> Rows:
    name, cell = column(rows, rng), rng.choice(CELLS)
    return [{**row, name: cell} for row in rows]


def a_day(rows: Rows, rng: Random) -> Rows:
    rows[rng.randrange(len(rows))]["date"] = rng.choice(DAYS)
    return rows


def all_days(rows: Rows, rng: Random) -> Rows:
    form = rng.choice(("{0}{1}{2}", "{2}/{1}/{0}", "{0}-{1}-{2}T06:00:00+01:00", "{0}.{1}.{2}", "day {2}", "{0}-{1}"))
    return [{**row, "date": form.format(*str(row["date"]).split("-"))} for row in rows]


def a_site(rows: Rows, rng: Random) -> Rows:
    rows[rng.randrange(len(rows))]["catchment"] = rng.choice(
        ("", "x", "1001.0", "1e3", " 1001", "nan", "../../x", "１００１")
    )
    return rows


def all_sites(rows: Rows, rng: Random) -> Rows:
    form = rng.choice(
        ("../{0}", "/tmp/{0}", "{0}.0", "0{0}", " {0}", "n{0}", "é{0}", "", "{0}\n{0}", "True", "2001-01-01")
    )
    return [{**row, "catchment": form.format(row["catchment"])} for row in rows]


def twice(rows: Rows, rng: Random) -> Rows:
    return [*rows, rows[rng.randrange(len(rows))]]


def fewer(rows: Rows, rng: Random) -> Rows:
    return rng.sample(rows, rng.choice((1, 2, 30, 100)))


def without_column(rows: Rows, rng: Random) -> Rows:
    name = rng.choice(list(rows[0]))
    return [{k: v for k, v in row.items() if k != name} for row in rows]


def renamed_column(rows: Rows, rng: Random) -> Rows:
    name = rng.choice(list(rows[0]))
    new = rng.choice((name.upper(), f" {name}", f"{name} [furlong]", f"{name} []", f"{name} (mm/d)", "", "index", "0"))
    return [{(new if k == name else k): v for k, v in row.items()} for row in rows]


def two_flows(rows: Rows, rng: Random) -> Rows:
    return [{**row, "flow": 7.0} for row in rows]


READ_ERRORS: tuple[Change, ...] = (
    a_cell,
    a_cell,
    a_cell,
    a_column,
    a_day,
    a_day,
    all_days,
    a_site,
    all_sites,
    twice,
    fewer,
    without_column,
    renamed_column,
    two_flows,
)


def _missing(cell: Any) -> bool:
    return isinstance(cell, float) and cell != cell


def write_csv(rows: Rows, file: Path) -> None:
    """As CSV, compressed where the name says so."""
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows([{k: "" if _missing(v) else v for k, v in row.items()} for row in rows])
    data = text.getvalue().encode("utf-8", "surrogateescape")
    file.write_bytes(gzip.compress(data, mtime=0) if file.suffix == ".gz" else data)


def csv_form(file: Path, rng: Random) -> str:
    """Change how a CSV is laid out; what was done is returned."""
    text = file.read_text("utf-8")
    lines = text.splitlines()
    forms: dict[str, Callable[[], bytes]] = {
        "semicolons": lambda: text.replace(",", ";").encode(),
        "tabs": lambda: text.replace(",", "\t").encode(),
        "byte order mark": lambda: b"\xef\xbb\xbf" + text.encode(),
        "utf-16": lambda: text.encode("utf-16"),
        "latin-1": lambda: text.replace("date", "daté").encode("latin-1"),
        "header twice": lambda: f"{lines[0]}\n{text}".encode(),
        "no header": lambda: "\n".join(lines[1:]).encode(),
        "header alone": lambda: lines[0].encode(),
        "a name twice": lambda: (f"{lines[0]},riverflow\n" + "".join(f"{line},1.0\n" for line in lines[1:])).encode(),
        "ragged rows": lambda: "\n".join(
            f"{line},1,2" if i % 7 == 3 else line for i, line in enumerate(lines)
        ).encode(),
        "short rows": lambda: "\n".join(
            line[: len(line) // 2] if i % 9 == 4 else line for i, line in enumerate(lines)
        ).encode(),
        "one more cell everywhere": lambda: "\n".join([lines[0], *(f"9,{line}" for line in lines[1:])]).encode(),
        "an open quote": lambda: text.replace("\n2001", '\n"2001', 1).encode(),
        "windows ends": lambda: text.replace("\n", "\r\n").encode(),
        "zero bytes": lambda: text.replace("\n", "\x00\n", 3).encode(),
        "comments": lambda: f"# made by hand\n{text}".encode(),
        "blank lines": lambda: text.replace("\n", "\n\n").encode(),
        "a million commas": lambda: (text + "," * 1_000_000).encode(),
    }
    name = rng.choice(sorted(forms))
    file.write_bytes(forms[name]())
    return f"form: {name}"


def gzip_bomb(file: Path, rng: Random) -> str:
    """300 MB of rows in 300 kB."""
    file.write_bytes(gzip.compress(b"date,catchment,riverflow\n" + b"2001-01-01,1,\n" * 20_000_000, 9))
    return "bomb: gzip"


def write_parquet(frame: pd.DataFrame, file: Path, rng: Random) -> str:
    """As parquet, in a type of column that may be odd; what was done is returned."""
    table = pa.Table.from_pandas(frame, preserve_index=False)
    name = rng.choice(["riverflow", "precipitation", "date", "catchment"])
    index = table.schema.get_field_index(name)
    held = table.column(index).to_pylist()
    odd: dict[str, Callable[[], pa.Array]] = {
        "text": lambda: pa.array([None if v is None else str(v) for v in held]),
        "bytes": lambda: pa.array([None if v is None else str(v).encode() for v in held], pa.binary()),
        "lists": lambda: pa.array([[v] for v in held]),
        "structs": lambda: pa.array([{"a": v} for v in held]),
        "dictionary": lambda: pa.array([None if v is None else str(v) for v in held]).dictionary_encode(),
        "booleans": lambda: pa.array([bool(v) for v in held]),
        "nulls": lambda: pa.nulls(len(held)),
        "zoned": lambda: pa.array(pd.date_range("2001-01-01", periods=len(held), tz="Asia/Tokyo")),
        "decimals": lambda: pa.array(np.arange(len(held))).cast(pa.decimal128(30, 2)),
        "dates": lambda: pa.array(pd.date_range("2001-01-01", periods=len(held)).date),
        "durations": lambda: pa.array(np.arange(len(held)), pa.duration("s")),
        "times": lambda: pa.array(np.arange(len(held), dtype=np.int32)).cast(pa.time32("s")),
        "extension": lambda: pa.array(np.arange(len(held))),
        "integers": lambda: pa.array(np.arange(len(held)) % 50),
        "half": lambda: pa.array(np.arange(len(held), dtype=np.float16)),
    }
    kind = rng.choice(sorted(odd))
    made = odd[kind]()
    column_ = pa.field(name, made.type)
    if kind == "extension":
        column_ = column_.with_metadata(
            {"ARROW:extension:name": "arrow.py_extension_type", "ARROW:extension:metadata": b"\x80\x04N."}
        )
    table = table.set_column(index, column_, made)
    if rng.random() < 0.3:
        table = table.replace_schema_metadata(
            {b"pandas": rng.choice((b"{", b"{}", b'{"index_columns":["a"]}', b"\xff", b"[]"))}
        )
    pq.write_table(table, file)
    return f"parquet: {name} as {kind}"
