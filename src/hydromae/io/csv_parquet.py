"""Tables as CSV and parquet; an answer keeps the dialect of its CSV file."""

from __future__ import annotations

import codecs
import gzip
import io
import re
import warnings
import zlib
from dataclasses import dataclass, replace
from pathlib import Path

import pandas as pd
import pyarrow.parquet as pq

from hydromae.errors import InputError, first_line
from hydromae.io.safety import READ_ERRORS, check_size
from hydromae.io.table_keys import CATCHMENTS, as_numbers, plain_label

UNREADABLE = (
    pd.errors.ParserError,
    pd.errors.EmptyDataError,
    pd.errors.ParserWarning,
    ValueError,
    OSError,
    EOFError,
    OverflowError,
    zlib.error,
)
"""Errors of pandas and gzip on invalid CSV files."""
MAX_COMPRESSION, MIN_UNPACKED_LIMIT = 200, 2**26
CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")
"""Characters that are invalid in names; quoted names may have tabs and line breaks."""
MAX_HEADER_BYTES = 2**20
"""Maximum size of a header [bytes]."""
BYTE_ORDER_MARKS = {b"\xef\xbb\xbf": "utf-8-sig", b"\xff\xfe": "utf-16", b"\xfe\xff": "utf-16"}
WINDOWS = "cp1252"
"""Encoding of a file that is not UTF-8, as spreadsheets in western Europe write it."""


@dataclass(frozen=True)
class Dialect:
    """Format of a CSV file.

    Attributes:
        separator: A comma, a semicolon or a tab.
        decimal: Decimal separator: a point or a comma.
        encoding: Name in Python.
        header: Names of the columns; "" for a column without a name.
    """

    separator: str = ","
    decimal: str = "."
    encoding: str = "utf-8"
    line_end: str = "\n"
    header: tuple[str, ...] = ()


def read_csv(path: str | Path) -> pd.DataFrame:
    """Read a CSV (or .csv.gz) file as a table of numbers and text.

    Names of catchments are whole numbers if all are written as such; "01013500" is text and keeps its zero.

    Raises:
        InputError: No such file, or not a CSV.
    """
    return _read_checked(path, detect_dialect(path), as_text=False)


def read_csv_as_text(path: str | Path, dialect: Dialect) -> pd.DataFrame:
    """Read a CSV file with every cell as text."""
    return _read_checked(path, dialect, as_text=True)


def read_parquet(path: str | Path) -> pd.DataFrame:
    """Read a parquet file; raise InputError if it is invalid."""
    if not Path(path).is_file():
        raise InputError(f"{path}: not a parquet file; name one file")
    try:
        with pq.ParquetFile(path) as file:
            metadata = file.metadata
            rows, columns = metadata.num_rows, metadata.num_columns
    except READ_ERRORS as error:
        raise InputError(f"{path}: not a readable parquet file ({first_line(error)}); write it again") from error
    check_size(str(path), "the table", (rows * max(1, columns),), Path(path).stat().st_size)
    try:
        return pd.read_parquet(path, partitioning=None)
    except READ_ERRORS as error:
        raise InputError(f"{path}: not a readable parquet file ({first_line(error)}); write it again") from error


def write_csv(frame: pd.DataFrame, path: Path, dialect: Dialect) -> None:
    """Write a table in a dialect; columns after those of `dialect.header` have their own names."""
    has_index = frame.index.names != [None] or not isinstance(frame.index, pd.RangeIndex)
    header = [*dialect.header, *frame.columns[len(dialect.header) :]] if dialect.header else True
    frame.to_csv(
        path,
        index=has_index and not dialect.header,
        header=header,
        sep=dialect.separator,
        decimal=dialect.decimal,
        encoding=dialect.encoding,
        lineterminator=dialect.line_end,
    )


def detect_dialect(path: str | Path) -> Dialect:
    """Return the dialect of a file from its bytes and its header.

    Raises:
        InputError: No such file, no header, duplicate names, a name with control characters, or decimal points and decimal
            commas in one file.
    """
    file = Path(path)
    if not file.is_file():
        raise InputError(f"{path}: no such file; check the path")
    try:
        with _open_decompressed(file) as stream:
            encoding = _encoding(stream)
            stream.seek(0)
            first = _first_line(stream, encoding)
    except UNREADABLE as error:
        raise InputError(f"{path}: not a readable CSV file ({first_line(error)}); give a CSV with a header") from error
    unquoted = re.sub(r'"[^"]*"', "", first)
    separator = max(",;\t", key=unquoted.count)
    decimal = "." if separator == "," else _decimal(file, encoding, separator)
    dialect = Dialect(separator, decimal, encoding, "\r\n" if first.endswith("\r\n") else "\n")
    header = _parsed(path, dialect, header=None, nrows=1, dtype=str, keep_default_na=False).iloc[0]
    names = header[header != ""]
    if names.duplicated().any():
        raise InputError(f"{path}: two columns are named {names[names.duplicated()].iloc[0]!r}; keep one")
    with_control = [name for name in names if CONTROL.search(name)]
    if with_control:
        raise InputError(f"{path}: the name of a column, {with_control[0]!r}, holds a control character; rename it")
    return replace(dialect, header=tuple(header))


def _read_checked(path: str | Path, dialect: Dialect, as_text: bool) -> pd.DataFrame:
    if as_text:
        return _parsed(path, dialect, dtype=str, na_filter=False)
    keys = [name for name in dialect.header if plain_label(name) in CATCHMENTS]
    table = _parsed(path, dialect, dtype=dict.fromkeys(keys, str), low_memory=False)
    return table.assign(**{name: as_numbers(pd.Series(table[name])) for name in keys})


def _parsed(path: str | Path, dialect: Dialect, **options: object) -> pd.DataFrame:
    read_options = {
        "sep": dialect.separator,
        "decimal": dialect.decimal,
        "encoding": dialect.encoding,
        "index_col": False,
    }
    try:
        with (
            _open_decompressed(Path(path)) as stream,
            warnings.catch_warnings(action="error", category=pd.errors.ParserWarning),
        ):
            return pd.read_csv(stream, **read_options, **options)  # type: ignore[call-overload]
    except UNREADABLE as error:
        raise InputError(f"{path}: not a readable CSV file ({first_line(error)}); give a CSV with a header") from error


def _encoding(stream: io.BufferedIOBase) -> str:
    """Return UTF-8, UTF-16 from its byte order mark, or `WINDOWS` if the bytes are not UTF-8."""
    start = stream.read(4)
    for mark, name in BYTE_ORDER_MARKS.items():
        if start.startswith(mark):
            return name
    stream.seek(0)
    decoder = codecs.getincrementaldecoder("utf-8")()
    try:
        while part := stream.read(2**20):
            decoder.decode(part)
        decoder.decode(b"", final=True)
    except UnicodeDecodeError:
        return WINDOWS
    return "utf-8"


def _first_line(stream: io.BufferedIOBase, encoding: str) -> str:
    """Return the first line with its line end, within `MAX_HEADER_BYTES`."""
    text = codecs.getincrementaldecoder(encoding)("replace").decode(stream.read(MAX_HEADER_BYTES))
    return text.splitlines(keepends=True)[0] if text else ""


def _decimal(path: Path, encoding: str, separator: str) -> str:
    """Return the decimal separator of a file with another column separator than the comma."""
    with _open_decompressed(path) as stream:
        text = stream.read().decode(encoding, errors="replace")
    signs = {
        sign
        for sign in ".,"
        if re.search(rf'(?:^|{separator}|\n)\s*"?[+-]?\d+\{sign}\d+(?:[eE][+-]?\d+)?"?\s*(?={separator}|\r|\n|$)', text)
    }
    if len(signs) > 1:
        raise InputError(f"{path}: holds numbers with decimal points and with decimal commas; write one kind")
    return signs.pop() if signs else "."


def _open_decompressed(path: Path) -> io.BufferedIOBase:
    """Open a file, decompressed if its name ends in .gz; refuse an extreme compression ratio."""
    if path.suffix != ".gz":
        return path.open("rb")
    limit = max(MIN_UNPACKED_LIMIT, MAX_COMPRESSION * path.stat().st_size)
    with gzip.open(path) as stream:
        data = stream.read(limit + 1)
    if len(data) > limit:
        raise InputError(
            f"{path}: unpacks to more than {limit} bytes, {MAX_COMPRESSION} times its size; write it again"
        )
    return io.BytesIO(data)
