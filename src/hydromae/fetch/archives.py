"""Download archives: CAMELS-GB from the Environmental Information Data Centre, Caravan from Zenodo.

The interfaces follow their documentation and are tested with a local server.
"""

from __future__ import annotations

import json
import shutil
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import httpx

from hydromae.errors import InputError, first_line
from hydromae.fetch.transfer import Client
from hydromae.io.credits import OGL
from hydromae.progress import track

MAX_COMPRESSION_RATIO = 200
"""Maximum compression ratio of a file in an archive."""


@dataclass(frozen=True)
class Archive:
    """Location of an archive.

    Attributes:
        url: URL of the archive, or of its record on Zenodo.
        subfolder: Only unpack files with this folder in their path; empty unpacks all.
    """

    doi: str
    licence: str
    url: str
    subfolder: str = ""


ARCHIVES = {
    "camels-gb-1": Archive(
        "10.5285/8344e4f3-d2ea-44f5-8afa-86d2987543a9",
        OGL,
        "https://data-package.ceh.ac.uk/data/8344e4f3-d2ea-44f5-8afa-86d2987543a9.zip",
    ),
    "camels-gb-2": Archive(
        "10.5285/9a46d428-958f-4ac1-86eb-94eee70c0955",
        OGL,
        "https://data-package.ceh.ac.uk/data/9a46d428-958f-4ac1-86eb-94eee70c0955.zip",
    ),
    "caravan": Archive(
        "10.5281/zenodo.15530021", "CC-BY 4.0", "https://zenodo.org/api/records/15530021", subfolder="camelsgb"
    ),
}


def fetch_archive(
    name: str, out: Path, client: Client, url: str | None = None, progress: Callable[[str], None] = lambda line: None
) -> Path:
    """Download and unpack an archive without replacing files; of Caravan, only British catchments.

    Raises:
        InputError: No response, a login page, a wrong checksum, or a damaged or unsafe archive.
    """
    archive = ARCHIVES[name]
    address = url or archive.url
    files = _zenodo_files(address, client) if "/api/records/" in address else [(f"{name}.zip", address, None, None)]
    for file, link, checksum, size in files:
        target = out / file
        if not target.is_file():
            _download(client, link, target, checksum, size, archive)
            progress(f"{target}: fetched")
        if target.suffix == ".zip":
            count = unpack(target, out, archive.subfolder)
            progress(f"{target}: {count} files unpacked")
    return out


def _download(
    client: Client, link: str, target: Path, checksum: str | None, size: int | None, archive: Archive
) -> None:
    """Download a file; explain a manual download if the server requires a login."""
    try:
        client.file(link, target, checksum, size)
    except InputError as error:
        cause = error.__cause__
        if isinstance(cause, httpx.HTTPStatusError) and cause.response.status_code in (401, 403):
            raise InputError(
                _manual_download(link, f"the server answers {cause.response.status_code}", target, archive)
            ) from error
        raise
    with target.open("rb") as downloaded:
        begin = downloaded.read(1024).removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    if begin.startswith((b"<!doctype html", b"<html")):
        target.unlink()
        raise InputError(_manual_download(link, "the response is a web page, not an archive", target, archive))


def _manual_download(link: str, reason: str, target: Path, archive: Archive) -> str:
    return (
        f"{link}: {reason}; it needs a free account: log in at https://doi.org/{archive.doi}, download the file by hand, put "
        f"it at {target}, and run this again"
    )


def _zenodo_files(url: str, client: Client) -> list[tuple[str, str, str | None, int | None]]:
    """Return name, URL, checksum and size of the files of a record."""
    try:
        records = json.loads(client.text(url))["files"]
        files: list[tuple[str, str, str | None, int | None]] = [
            (str(one["key"]), str(one["links"]["self"]), str(one["checksum"]), int(one["size"])) for one in records
        ]
    except InputError:
        raise
    except (ValueError, LookupError, TypeError, RecursionError) as error:
        raise InputError(f"{url}: the answer is not a record of Zenodo; try again later") from error
    for name, *_ in files:
        if PurePosixPath(name).name != name or name in ("", ".", ".."):
            raise InputError(f"{url}: names the file {name[:40]!r}, which is not a plain name; it is not fetched")
    return files


def unpack(file: Path, out: Path, subfolder: str = "") -> int:
    """Unpack a ZIP archive into a folder and return the number of files; complete files are kept."""
    try:
        with zipfile.ZipFile(file) as archive:
            members = [one for one in archive.infolist() if not one.is_dir() and _is_kept(one.filename, subfolder)]
            for member in track(members, "files unpacked", len(members)):
                _check(member, file)
                target = out / PurePosixPath(member.filename)
                if target.is_file() and target.stat().st_size == member.file_size:
                    continue
                if target.exists():
                    raise InputError(f"{target}: differs from the file in {file.name}; move it, or name another folder")
                target.parent.mkdir(parents=True, exist_ok=True)
                temporary = target.with_name(f"{target.name}.partial")
                with archive.open(member) as packed, temporary.open("wb") as unpacked:
                    shutil.copyfileobj(packed, unpacked)
                temporary.replace(target)
    except (zipfile.BadZipFile, OSError, EOFError, NotImplementedError, RuntimeError) as error:
        raise InputError(f"{file}: cannot be unpacked ({first_line(error)}); remove it, and fetch it again") from error
    if not members:
        raise InputError(f"{file}: has no {subfolder or 'file'}; the name of the archive does not fit its content")
    return len(members)


def _is_kept(name: str, subfolder: str) -> bool:
    return not subfolder or subfolder in PurePosixPath(name).parts


def _check(member: zipfile.ZipInfo, file: Path) -> None:
    """Refuse a path outside the folder and an excessive compression ratio."""
    path = PurePosixPath(member.filename.replace("\\", "/"))
    if path.is_absolute() or ".." in path.parts or ":" in member.filename:
        raise InputError(f"{file}: would write {member.filename[:60]!r}, outside its folder; it is not unpacked")
    if member.file_size > MAX_COMPRESSION_RATIO * max(member.compress_size, 2**20):
        raise InputError(
            f"{file}: {member.filename[:60]!r} has a compression ratio of more than {MAX_COMPRESSION_RATIO}; not unpacked"
        )
