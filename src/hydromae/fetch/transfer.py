"""Downloads that are polite: one at a time, not too fast, again after a fault, on from where one broke off."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import httpx

from hydromae import __version__
from hydromae.errors import InputError, first_line
from hydromae.io.atomic import digest
from hydromae.progress import tell

BUSY = (429, 500, 502, 503, 504)
"""Answers after which one asks again."""
LONGEST_WAIT = 120.0
"""Seconds that a server may ask for before another try."""
Answer = TypeVar("Answer")
REMEDY = "try again later: what was fetched is kept"


class Broken(Exception):
    """A transfer that ended before its end."""


@dataclass
class Client:
    """Asks one server after another, with a pause between.

    Attributes:
        pause: Least time from one request to the next [s].
        tries: How often a request is made before it is given up.
        patience: Wait after the first fault [s]; it doubles with every other.
        timeout: Longest wait for an answer, or its next piece [s].
    """

    pause: float = 1.0
    tries: int = 5
    patience: float = 2.0
    timeout: float = 60.0
    last: float = field(default=-1e9, init=False)
    answered: bool = field(default=False, init=False)
    http: httpx.Client = field(init=False)

    def __post_init__(self) -> None:
        agent = {"User-Agent": f"hydromae/{__version__}"}
        self.http = httpx.Client(timeout=self.timeout, follow_redirects=True, headers=agent)

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.http.close()

    def text(self, url: str, parameters: Mapping[str, str] | None = None) -> str:
        """An answer as text.

        Raises:
            InputError: No answer after all tries, or the server refuses.
        """
        return self._tried(url, lambda: self._text(url, parameters))

    def file(self, url: str, target: Path, checksum: str | None = None, size: int | None = None) -> Path:
        """A file, whole or not at all; what came of it before is gone on from.

        Args:
            checksum: Such as `md5:0cc1…` or `sha256:…`.
            size: Bytes.

        Raises:
            InputError: As `text`; and where the bytes are not those of the checksum, which are then removed.
        """
        target.parent.mkdir(parents=True, exist_ok=True)
        aside = target.with_name(f"{target.name}.partial")
        self._tried(url, lambda: self._rest(url, aside, size))
        if checksum is not None and _sum(aside, checksum.partition(":")[0], url) != checksum.partition(":")[2]:
            aside.unlink()
            raise InputError(f"{url}: what came has not the checksum {checksum}, and was removed; fetch it again")
        aside.replace(target)
        return target

    def _tried(self, url: str, ask: Callable[[], Answer]) -> Answer:
        fault, wait, number = "", self.patience, 0
        for number in range(self.tries):
            if number:
                time.sleep(wait)
            time.sleep(max(0.0, self.last + self.pause - time.monotonic()))
            self.last = time.monotonic()
            wait = self.patience * 2**number
            try:
                answer = ask()
                self.answered = True
                return answer
            except httpx.HTTPStatusError as error:
                self.answered = True
                code = error.response.status_code
                if code not in BUSY:
                    raise InputError(f"{url}: the server answers {code}; check what was asked for") from error
                fault, wait = f"the server answers {code}", max(wait, _asked(error.response))
            except (httpx.TransportError, Broken) as error:
                fault = first_line(error) or type(error).__name__
                if isinstance(error, httpx.ConnectError) and number and not self.answered:
                    fault += "; is this machine online?"
                    break  # nothing was ever reached: more patience would only keep the user waiting
            except (httpx.HTTPError, httpx.InvalidURL, ValueError) as error:
                raise InputError(f"{url}: cannot be asked for ({first_line(error)}); check the address") from error
        raise InputError(f"{url}: no answer after {number + 1} tries ({fault}); {REMEDY}")

    def _text(self, url: str, parameters: Mapping[str, str] | None) -> str:
        answer = self.http.get(url, params=parameters)
        answer.raise_for_status()
        return answer.text

    def _rest(self, url: str, aside: Path, size: int | None) -> None:
        """What is still to come of a file, added to what lies there."""
        there = aside.stat().st_size if aside.exists() else 0
        if size is not None and there == size:
            return
        if size is not None and there > size:
            aside.unlink()
            there = 0
        with self._stream(url, there, aside) as answer:
            goes_on = answer.status_code == 206 and answer.headers.get("content-range", "").startswith(
                f"bytes {there}-"
            )
            whole = size if size is not None else _whole(answer, there if goes_on else 0)
            with aside.open("ab" if goes_on else "wb") as out:
                for piece in answer.iter_bytes():
                    out.write(piece)
                    tell(f"MB of {aside.stem}", out.tell() / 1e6, None if whole is None else whole / 1e6)
        came = aside.stat().st_size
        if whole is not None and came < whole:
            raise Broken(f"{came} of {whole} bytes came")

    @contextmanager
    def _stream(self, url: str, there: int, aside: Path) -> Iterator[httpx.Response]:
        headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={there}-"} if there else {})
        with self.http.stream("GET", url, headers=headers) as answer:
            if answer.status_code == 416:  # it is another file now, shorter than what lies there
                aside.unlink()
                raise Broken("the server has no more of it")
            answer.raise_for_status()
            yield answer


def _asked(answer: httpx.Response) -> float:
    """Seconds that a server asks to wait."""
    told = answer.headers.get("retry-after", "")
    return min(float(told), LONGEST_WAIT) if told.isdecimal() else 0.0


def _whole(answer: httpx.Response, there: int) -> int | None:
    told = answer.headers.get("content-length", "")
    return there + int(told) if told.isdecimal() else None


def _sum(file: Path, kind: str, url: str) -> str:
    if kind not in ("md5", "sha256"):
        raise InputError(f"{url}: its checksum is of the kind {kind[:20]!r}, which is not known; report this")
    return digest(file, kind)
