"""HTTP client with a minimum interval between requests, retries and resumed downloads."""

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
from hydromae.progress import report_progress

RETRY_STATUSES = (429, 500, 502, 503, 504)
"""Status codes that are retried."""
MAX_WAIT = 120.0
"""Maximum wait requested by a server [s]."""
Answer = TypeVar("Answer")
REMEDY = "try again later: what was fetched is kept"


class BrokenTransfer(Exception):
    """An incomplete transfer."""


@dataclass
class Client:
    """HTTP client with retries.

    Attributes:
        pause: Minimum time between requests [s].
        tries: Number of attempts.
        patience: Wait after the first error [s]; it doubles with each further one.
        timeout: Maximum wait for a response or its next part [s].
    """

    pause: float = 1.0
    tries: int = 5
    patience: float = 2.0
    timeout: float = 60.0
    last: float = field(default=-1e9, init=False)
    has_answered: bool = field(default=False, init=False)
    http: httpx.Client = field(init=False)

    def __post_init__(self) -> None:
        agent = {"User-Agent": f"hydromae/{__version__}"}
        self.http = httpx.Client(timeout=self.timeout, follow_redirects=True, headers=agent)

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.http.close()

    def text(self, url: str, parameters: Mapping[str, str] | None = None) -> str:
        """Return a response as text.

        Raises:
            InputError: No response after all attempts, or the server refuses.
        """
        return self._with_retries(url, lambda: self._text(url, parameters))

    def file(self, url: str, target: Path, checksum: str | None = None, size: int | None = None) -> Path:
        """Download a file atomically, resuming an earlier attempt.

        Args:
            checksum: Such as `md5:0cc1…` or `sha256:…`.
            size: Size [bytes].

        Raises:
            InputError: As `text`; or a wrong checksum, after which the file is removed.
        """
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary = target.with_name(f"{target.name}.partial")
        self._with_retries(url, lambda: self._resume(url, temporary, size))
        if checksum is not None and _checksum(temporary, checksum.partition(":")[0], url) != checksum.partition(":")[2]:
            temporary.unlink()
            raise InputError(f"{url}: the file did not have the checksum {checksum} and was removed; fetch it again")
        temporary.replace(target)
        return target

    def _with_retries(self, url: str, request: Callable[[], Answer]) -> Answer:
        fault, wait, number = "", self.patience, 0
        for number in range(self.tries):
            if number:
                time.sleep(wait)
            time.sleep(max(0.0, self.last + self.pause - time.monotonic()))
            self.last = time.monotonic()
            wait = self.patience * 2**number
            try:
                answer = request()
                self.has_answered = True
                return answer
            except httpx.HTTPStatusError as error:
                self.has_answered = True
                code = error.response.status_code
                if code not in RETRY_STATUSES:
                    raise InputError(f"{url}: the server answers {code}; check the request") from error
                fault, wait = f"the server answers {code}", max(wait, _retry_after(error.response))
            except (httpx.TransportError, BrokenTransfer) as error:
                fault = first_line(error) or type(error).__name__
                if isinstance(error, httpx.ConnectError) and number and not self.has_answered:
                    fault += "; is this machine online?"
                    break  # no connection at all: further attempts are useless
            except (httpx.HTTPError, httpx.InvalidURL, ValueError) as error:
                raise InputError(f"{url}: cannot be requested ({first_line(error)}); check the address") from error
        raise InputError(f"{url}: no answer after {number + 1} tries ({fault}); {REMEDY}")

    def _text(self, url: str, parameters: Mapping[str, str] | None) -> str:
        answer = self.http.get(url, params=parameters)
        answer.raise_for_status()
        return answer.text

    def _resume(self, url: str, temporary: Path, size: int | None) -> None:
        """Download the rest of a file."""
        received_size = temporary.stat().st_size if temporary.exists() else 0
        if size is not None and received_size == size:
            return
        if size is not None and received_size > size:
            temporary.unlink()
            received_size = 0
        with self._stream(url, received_size, temporary) as answer:
            is_resumed = answer.status_code == 206 and answer.headers.get("content-range", "").startswith(
                f"bytes {received_size}-"
            )
            total_size = size if size is not None else _content_length(answer, received_size if is_resumed else 0)
            with temporary.open("ab" if is_resumed else "wb") as out:
                for chunk in answer.iter_bytes():
                    out.write(chunk)
                    report_progress(
                        f"MB of {temporary.stem}", out.tell() / 1e6, None if total_size is None else total_size / 1e6
                    )
        final_size = temporary.stat().st_size
        if total_size is not None and final_size < total_size:
            raise BrokenTransfer(f"{final_size} of {total_size} bytes received")

    @contextmanager
    def _stream(self, url: str, received_size: int, temporary: Path) -> Iterator[httpx.Response]:
        headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={received_size}-"} if received_size else {})
        with self.http.stream("GET", url, headers=headers) as answer:
            if answer.status_code == 416:  # the file on the server is shorter than the partial file
                temporary.unlink()
                raise BrokenTransfer("the server has no more of it")
            answer.raise_for_status()
            yield answer


def _retry_after(answer: httpx.Response) -> float:
    """Return the wait requested by a server [s]."""
    header = answer.headers.get("retry-after", "")
    return min(float(header), MAX_WAIT) if header.isdecimal() else 0.0


def _content_length(answer: httpx.Response, received_size: int) -> int | None:
    header = answer.headers.get("content-length", "")
    return received_size + int(header) if header.isdecimal() else None


def _checksum(file: Path, kind: str, url: str) -> str:
    if kind not in ("md5", "sha256"):
        raise InputError(f"{url}: its checksum is of the kind {kind[:20]!r}, which is not known; report this")
    return digest(file, kind)
