"""The server: a page and its answers on the loopback address, nothing from disk but what the package brings.

It hands out the files that `page.served` names and answers about one record; no address leads to another file.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import socket
from collections.abc import Callable
from functools import lru_cache
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from hydromae.errors import InputError
from hydromae.explore import page
from hydromae.explore.maps import map_day
from hydromae.explore.requests import Ahead, Hide, MapDay, View, parsed
from hydromae.explore.responses import ahead, hidden, view
from hydromae.explore.session import Country

HOST = "127.0.0.1"
NAMES = [HOST, "localhost"]
"""Names under which a browser may ask; others are refused: no foreign page reaches the server by a name of its own."""
LARGEST_BODY = 16_384
"""Bytes of a request; twenty hidden stretches take a thousand."""
KEPT = 256
"""Answers that are kept."""
MOST_WAITING = 8
"""Questions to the model that may wait for their turn."""
GONE = 499
"""Status of an answer that nobody waits for any more."""
HEADERS = {
    "content-security-policy": page.LIVE_POLICY,
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-resource-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "cache-control": "no-store",
}


def told(answer: dict[str, Any]) -> bytes:
    """JSON."""
    return json.dumps(answer, allow_nan=False, separators=(",", ":")).encode()


class Desk:
    """Takes requests about one country, one question to the model at a time, and keeps the answers."""

    def __init__(self, country: Country, title: str) -> None:
        self.country = country
        self.page = page.live(title)
        self.files = page.served()
        self.overview = told(country.overview())
        self.turn = asyncio.Lock()
        self.waiting = 0
        self.hidden = lru_cache(KEPT)(lambda asked: told(hidden(country, asked)))
        self.ahead = lru_cache(KEPT)(lambda asked: told(ahead(country, asked)))
        self.map = lru_cache(KEPT)(lambda asked: told(map_day(country, asked)))

    async def front(self, request: Request) -> Response:
        """The page."""
        return HTMLResponse(self.page)

    async def file(self, request: Request) -> Response:
        """A style sheet or a script of the page."""
        name = request.path_params["name"]
        if name not in self.files:
            raise HTTPException(404, "no such file")
        kind, text = self.files[name]
        return Response(text, media_type=kind)

    async def record(self, request: Request) -> Response:
        """What there is to explore."""
        return _json(self.overview)

    async def river(self, request: Request) -> Response:
        """Days of a river."""
        asked = parsed(View, {**request.query_params, "river": request.path_params["river"]})
        return _json(told(await run_in_threadpool(view, self.country, asked)))

    async def answer(self, request: Request) -> Response:
        """The model's answer for hidden days."""
        return await self._in_turn(request, self.hidden, parsed(Hide, await _body(request)))

    async def forecast(self, request: Request) -> Response:
        """A forecast."""
        return await self._in_turn(request, self.ahead, parsed(Ahead, await _body(request)))

    async def day(self, request: Request) -> Response:
        """A map of a day."""
        return await self._in_turn(request, self.map, parsed(MapDay, dict(request.query_params)))

    async def _in_turn(self, request: Request, work: Callable[[Any], bytes], asked: Any) -> Response:
        """Ask the model when its turn comes, unless too many wait or the one who asked has gone."""
        if self.waiting >= MOST_WAITING:
            raise HTTPException(503, "too many questions wait for the model; ask again in a moment")
        self.waiting += 1
        try:
            async with self.turn:
                if await request.is_disconnected():
                    return Response(status_code=GONE)
                return _json(await run_in_threadpool(work, asked))
        finally:
            self.waiting -= 1


class Guard:
    """Refuses what a foreign page sends, and puts the headers on every answer."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or refuse it."""

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(HEADERS)
            await send(message)

        foreign = scope["type"] == "http" and scope["path"].startswith("/api/") and _is_foreign(Headers(scope=scope))
        refusal = _fault(403, "this page came from elsewhere; open the explorer's own")
        await (refusal if foreign else self.app)(scope, receive, with_headers)


def _is_foreign(sent: Headers) -> bool:
    """Whether a browser says that another page asks: by `Origin`, or where it sends none by `Sec-Fetch-Site`."""
    own = f"http://{sent.get('host', '')}"
    return sent.get("origin", own) != own or sent.get("sec-fetch-site", "none") not in ("none", "same-origin")


def application(country: Country) -> ASGIApp:
    """The server's application."""
    desk = Desk(country, f"{country.name}, explored")
    get = {
        "/": desk.front,
        "/assets/{name}": desk.file,
        "/api/record": desk.record,
        "/api/river/{river}": desk.river,
        "/api/map": desk.day,
    }
    post = {"/api/answer": desk.answer, "/api/forecast": desk.forecast}
    app = Starlette(
        routes=[
            *(Route(path, work, methods=["GET"]) for path, work in get.items()),
            *(Route(path, work, methods=["POST"]) for path, work in post.items()),
        ],
        middleware=[Middleware(TrustedHostMiddleware, allowed_hosts=NAMES, www_redirect=False)],
        exception_handlers={
            InputError: _refused,
            HTTPException: _refused,
            ClientDisconnect: _refused,
            Exception: _failed,
        },
    )
    return Guard(app)  # around everything, so that a fault of ours has the headers, too


async def _body(request: Request) -> bytes:
    """A body of JSON that is not too large."""
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
        raise HTTPException(415, "send JSON, as content-type application/json")
    held = bytearray()
    async for chunk in request.stream():
        held += chunk
        if len(held) > LARGEST_BODY:
            raise HTTPException(413, f"the request is larger than {LARGEST_BODY} bytes")
    return bytes(held)


def _json(text: bytes) -> Response:
    return Response(text, media_type="application/json")


def _fault(status: int, words: str) -> Response:
    return Response(told({"error": words}), status, media_type="application/json")


async def _refused(request: Request, error: Exception) -> Response:
    """One line for what was asked wrongly."""
    if isinstance(error, HTTPException):
        return _fault(error.status_code, str(error.detail))
    return _fault(422 if isinstance(error, InputError) else 400, str(error) or "the request broke off")


async def _failed(request: Request, error: Exception) -> Response:
    """One line for a fault of ours; where it happened is in the log."""
    return _fault(500, f"the answer failed ({type(error).__name__}); the terminal says where")


def listening(port: int) -> socket.socket:
    """A socket on the loopback address; a free port where `port` is 0.

    Raises:
        InputError: The port is taken, or there is no such port.
    """
    if not 0 <= port <= 65535:
        raise InputError(f"--port {port}: is no port; choose one up to 65535, or 0 for a free one")
    try:
        return socket.create_server((HOST, port))
    except OSError as error:
        raise InputError(
            f"--port {port}: cannot be listened on ({error}); choose another, or 0 for a free one"
        ) from error


def server_of(country: Country) -> uvicorn.Server:
    """A server that is ready to run on a socket."""
    config = uvicorn.Config(
        application(country),
        log_level=logging.WARNING,
        access_log=False,
        server_header=False,
        lifespan="off",
        ws="none",
        limit_concurrency=64,
        timeout_graceful_shutdown=2,
    )
    return uvicorn.Server(config)


def serve(country: Country, taken: socket.socket, ready: Callable[[str], None]) -> None:
    """Serve until the user ends it."""
    ready(f"http://{HOST}:{taken.getsockname()[1]}/")
    with contextlib.suppress(KeyboardInterrupt):
        server_of(country).run(sockets=[taken])
