"""HTTP server of the explorer on the loopback address.

It serves the files of `page.static_files` and responses on one record, but no other file.
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
from hydromae.explore.maps import map_response
from hydromae.explore.opening import opening
from hydromae.explore.requests import ForecastRequest, HideRequest, MapRequest, StationRequest, ViewRequest, parsed
from hydromae.explore.responses import forecast_response, hidden_response, view_response
from hydromae.explore.session import Session
from hydromae.explore.station import station_response

HOST = "127.0.0.1"
ALLOWED_HOSTS = [HOST, "localhost"]
"""Allowed host names, against DNS rebinding."""
MAX_BODY_BYTES = 16_384
"""Maximum size of a request [bytes]; twenty hidden periods take a thousand."""
CACHE_SIZE = 256
"""Number of cached responses."""
MAX_QUEUED = 8
"""Maximum number of waiting requests to the model."""
CLIENT_CLOSED_REQUEST = 499
"""Status of a request whose client has disconnected."""
HEADERS = {
    "content-security-policy": page.LIVE_POLICY,
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-resource-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "cache-control": "no-store",
}


def to_json(answer: dict[str, Any]) -> bytes:
    """Encode a response as JSON."""
    return json.dumps(answer, allow_nan=False, separators=(",", ":")).encode()


class RequestHandler:
    """Handler of requests on one session: one model request at a time, with a cache."""

    def __init__(self, session: Session, title: str) -> None:
        self.session = session
        self.page = page.render_live(title)
        self.files = page.static_files()
        self.overview = to_json({**session.overview(), "opening": opening(session)})
        self.model_lock = asyncio.Lock()
        self.waiting = 0
        self.hidden_cache = lru_cache(CACHE_SIZE)(lambda request_data: to_json(hidden_response(session, request_data)))
        self.forecast_cache = lru_cache(CACHE_SIZE)(
            lambda request_data: to_json(forecast_response(session, request_data))
        )
        self.map_cache = lru_cache(CACHE_SIZE)(lambda request_data: to_json(map_response(session, request_data)))

    async def index_page(self, request: Request) -> Response:
        """Return the page."""
        return HTMLResponse(self.page)

    async def file(self, request: Request) -> Response:
        """Return a style sheet or a script."""
        name = request.path_params["name"]
        if name not in self.files:
            raise HTTPException(404, "no such file")
        kind, text = self.files[name]
        return Response(text, media_type=kind)

    async def record(self, request: Request) -> Response:
        """Return the overview."""
        return _json(self.overview)

    async def river(self, request: Request) -> Response:
        """Return days of a river."""
        request_data = parsed(ViewRequest, {**request.query_params, "river": request.path_params["river"]})
        return _json(to_json(await run_in_threadpool(view_response, self.session, request_data)))

    async def station(self, request: Request) -> Response:
        """Return attributes, thresholds and the whole record of a river."""
        request_data = parsed(StationRequest, {**request.query_params, "river": request.path_params["river"]})
        return _json(to_json(await run_in_threadpool(station_response, self.session, request_data)))

    async def answer(self, request: Request) -> Response:
        """Predict hidden days."""
        return await self._run_exclusive(request, self.hidden_cache, parsed(HideRequest, await _body(request)))

    async def forecast(self, request: Request) -> Response:
        """Return a forecast."""
        return await self._run_exclusive(request, self.forecast_cache, parsed(ForecastRequest, await _body(request)))

    async def day(self, request: Request) -> Response:
        """Return a daily map."""
        return await self._run_exclusive(request, self.map_cache, parsed(MapRequest, dict(request.query_params)))

    async def _run_exclusive(self, request: Request, respond: Callable[[Any], bytes], request_data: Any) -> Response:
        """Run a model request exclusively, unless the queue is full or the client has disconnected."""
        if self.waiting >= MAX_QUEUED:
            raise HTTPException(503, "too many requests wait for the model; try again in a moment")
        self.waiting += 1
        try:
            async with self.model_lock:
                if await request.is_disconnected():
                    return Response(status_code=CLIENT_CLOSED_REQUEST)
                return _json(await run_in_threadpool(respond, request_data))
        finally:
            self.waiting -= 1


class SameOriginMiddleware:
    """Middleware that refuses cross-origin requests and sets the headers of all responses."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle a request."""

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(HEADERS)
            await send(message)

        is_foreign = scope["type"] == "http" and scope["path"].startswith("/api/") and _is_foreign(Headers(scope=scope))
        refusal = _fault(403, "the request is from another origin; open the page of the explorer")
        await (refusal if is_foreign else self.app)(scope, receive, with_headers)


def _is_foreign(sent: Headers) -> bool:
    """Return whether a request is cross-origin, from `Origin` or `Sec-Fetch-Site`."""
    own_origin = f"http://{sent.get('host', '')}"
    return sent.get("origin", own_origin) != own_origin or sent.get("sec-fetch-site", "none") not in (
        "none",
        "same-origin",
    )


def application(session: Session) -> ASGIApp:
    """Return the ASGI application."""
    handler = RequestHandler(session, f"{session.name}: explorer")
    get = {
        "/": handler.index_page,
        "/assets/{name}": handler.file,
        "/api/record": handler.record,
        "/api/river/{river}": handler.river,
        "/api/station/{river}": handler.station,
        "/api/map": handler.day,
    }
    post = {"/api/answer": handler.answer, "/api/forecast": handler.forecast}
    app = Starlette(
        routes=[
            *(Route(path, respond, methods=["GET"]) for path, respond in get.items()),
            *(Route(path, respond, methods=["POST"]) for path, respond in post.items()),
        ],
        middleware=[Middleware(TrustedHostMiddleware, allowed_hosts=ALLOWED_HOSTS, www_redirect=False)],
        exception_handlers={
            InputError: _request_error,
            HTTPException: _request_error,
            ClientDisconnect: _request_error,
            Exception: _server_error,
        },
    )
    return SameOriginMiddleware(app)  # outermost, so that server errors have the headers


async def _body(request: Request) -> bytes:
    """Read a JSON body of limited size."""
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
        raise HTTPException(415, "send JSON, as content-type application/json")
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > MAX_BODY_BYTES:
            raise HTTPException(413, f"the request is larger than {MAX_BODY_BYTES} bytes")
    return bytes(body)


def _json(text: bytes) -> Response:
    return Response(text, media_type="application/json")


def _fault(status: int, words: str) -> Response:
    return Response(to_json({"error": words}), status, media_type="application/json")


async def _request_error(request: Request, error: Exception) -> Response:
    """Return the message for an invalid request."""
    if isinstance(error, HTTPException):
        return _fault(error.status_code, str(error.detail))
    return _fault(422 if isinstance(error, InputError) else 400, str(error) or "the request was interrupted")


async def _server_error(request: Request, error: Exception) -> Response:
    """Return the message for a server error; the log has the traceback."""
    return _fault(500, f"the request failed ({type(error).__name__}); see the terminal")


def listening(port: int) -> socket.socket:
    """Open a socket on the loopback address; port 0 selects a free port.

    Raises:
        InputError: The port is in use or invalid.
    """
    if not 0 <= port <= 65535:
        raise InputError(f"--port {port}: is not a port; choose one up to 65535, or 0 for a free one")
    try:
        return socket.create_server((HOST, port))
    except OSError as error:
        raise InputError(f"--port {port}: is not available ({error}); choose another, or 0 for a free one") from error


def server_of(session: Session) -> uvicorn.Server:
    """Return a server for a socket."""
    config = uvicorn.Config(
        application(session),
        log_level=logging.WARNING,
        access_log=False,
        server_header=False,
        lifespan="off",
        ws="none",
        limit_concurrency=64,
        timeout_graceful_shutdown=2,
    )
    return uvicorn.Server(config)


def serve(session: Session, taken: socket.socket, ready: Callable[[str], None]) -> None:
    """Serve until Ctrl+C."""
    ready(f"http://{HOST}:{taken.getsockname()[1]}/")
    with contextlib.suppress(KeyboardInterrupt):
        server_of(session).run(sockets=[taken])
