"""HTML of the explorer: for a server with separate assets, and as one self-contained file."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from html import escape
from importlib.resources import files
from typing import Any

from hydromae import __version__
from hydromae.report.gb_map import FRAME, coast_path, map_legend

SHEETS = ("report/style.css", "explore/assets/vendor/uPlot.min.css", "explore/assets/explorer.css")
SCRIPTS = tuple(
    f"explore/assets/{name}.js"
    for name in (
        *("vendor/uPlot.iife.min", "days", "source", "display", "search", "map", "axes", "chart", "whole", "panels"),
        *("beside", "download", "explorer"),
    )
)
PLACEHOLDER = r"\{\{(\w+)\}\}"
LIVE_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'"
)
"""Content security policy of the live page: only files of the same server."""


def text_of(name: str) -> str:
    """Read a file of the package."""
    return files("hydromae").joinpath(*name.split("/")).read_text(encoding="utf-8")


def static_files() -> dict[str, tuple[str, str]]:
    """Return all static files of the server: name -> (media type, text)."""
    sheets = {name.rsplit("/", 1)[1]: ("text/css", text_of(name)) for name in SHEETS}
    return sheets | {name.rsplit("/", 1)[1]: ("text/javascript", text_of(name)) for name in SCRIPTS}


def render_live(title: str) -> str:
    """Render the page of a server."""
    sheets = "\n".join(f'<link rel="stylesheet" href="assets/{name.rsplit("/", 1)[1]}">' for name in SHEETS)
    scripts = "\n".join(f'<script src="assets/{name.rsplit("/", 1)[1]}"></script>' for name in SCRIPTS)
    return _fill_template(title, "", sheets, scripts)


def render_export(title: str, book: dict[str, Any]) -> str:
    """Render the page as one file with the data of `book`; its policy allows no other resources."""
    sheets = [text_of(name) for name in SHEETS]
    scripts = [text_of(name).replace("</script", "<\\/script") for name in SCRIPTS]
    json_text = json.dumps(book, ensure_ascii=True, allow_nan=False, separators=(",", ":")).replace("<", "\\u003c")
    policy = (
        f"default-src 'none'; script-src {_hashes(scripts)}; style-src {_hashes(sheets)}; img-src data:; "
        "base-uri 'none'; form-action 'none'"
    )
    data = f'<script type="application/json" id="book">{json_text}</script>\n'
    licence = text_of("explore/assets/vendor/uPlot.LICENSE")
    return _fill_template(
        title,
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">',
        "\n".join(f"<style>{sheet}</style>" for sheet in sheets),
        f"<!-- uPlot:\n{licence}-->\n" + data + "\n".join(f"<script>{script}</script>" for script in scripts),
    )


def _fill_template(title: str, policy: str, sheets: str, scripts: str) -> str:
    """Fill the template; each placeholder occurs once."""
    west, east, south, north = FRAME
    text = text_of("explore/assets/index.html")
    parts = {
        "policy": policy,
        "title": escape(title),
        "sheets": sheets,
        "frame": f"{west:.0f} {-north:.0f} {east - west:.0f} {north - south:.0f}",
        "land": coast_path(),
        "legend": map_legend(),
        "version": escape(__version__),
        "scripts": scripts,
    }
    placeholders = re.findall(PLACEHOLDER, text)
    if sorted(placeholders) != sorted(parts):
        raise ValueError(f"index.html has the placeholders {placeholders}, not for {list(parts)}")
    return re.sub(PLACEHOLDER, lambda match: parts[match[1]], text)


def _hashes(texts: list[str]) -> str:
    """Return the SHA-256 sources of a content security policy for inline texts."""
    digests = (hashlib.sha256(text.encode()).digest() for text in texts)
    return " ".join(f"'sha256-{base64.b64encode(digest).decode()}'" for digest in digests)
