"""The command explore: an interactive page for a store and a model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from tyro.conf import Positional, arg

from hydromae.cli.common import Echo, Result
from hydromae.config import Precision
from hydromae.errors import InputError
from hydromae.io.outputs import PAGES, Output, replaceable_file
from hydromae.progress import finish_progress, progress_callback, warn_once

if TYPE_CHECKING:
    from hydromae.explore.session import Session


@dataclass(frozen=True)
class Explore:
    """Open an interactive page: hide days of a river, compare predictions, move a forecast; or write the page to a file."""

    store: Annotated[Positional[Path], arg(metavar="STORE")]
    """A store that hydromae prepare wrote, with flow."""
    model: Path
    """A shipped name, a run, a checkpoint, or a model folder."""
    scores: Path | None = None
    """Folder that hydromae evaluate wrote; its scores colour the map."""
    port: int = 0
    """Port on this machine (127.0.0.1); 0 selects a free one."""
    browser: bool = True
    """Open the page in the browser; --no-browser only prints its address."""
    export: Annotated[Path | None, arg(metavar="PAGE.html")] = None
    """Write one HTML file that needs no server, without serving."""
    rivers: tuple[str, ...] = ()
    """Rivers of the file; default the three rivers with the most observations."""
    period: Annotated[tuple[str, str] | None, arg(metavar="FIRST LAST")] = None
    """First and last day of the file; default the last observed year of each river."""
    device: str = "auto"
    """auto, cpu, cuda or mps."""
    precision: Precision = "auto"
    """fp32, bf16 or fp16; auto is the training precision if the device supports it natively, else fp32."""
    json: bool = False
    """Print the result as JSON."""

    def outputs(self) -> Mapping[str, Output]:
        """Return the outputs."""
        return {} if self.export is None else {"export": replaceable_file(self.export, PAGES)}

    def run(self, echo: Echo) -> Result:
        """Open store and model, then serve or write the page."""
        if self.export is None and self._file_options():
            raise InputError(
                f"--{self._file_options()[0]}: is an option of --export; select rivers and days on the page"
            )
        if self.export is None and not (find_spec("starlette") and find_spec("uvicorn")):
            raise InputError("the explorer needs starlette and uvicorn: pip install 'hydromae[explore]'")
        from hydromae.explore.session import open_session
        from hydromae.io.parse import parse_period

        first_last = None if self.period is None else parse_period(self.period)
        period = first_last and (first_last[0].date(), first_last[1].date())

        session = open_session(self.store, self.model, self.scores, self.device, self.precision)
        with warn_once():
            return (
                self._serve(session, echo) if self.export is None else self._write(session, self.export, period, echo)
            )

    def _file_options(self) -> list[str]:
        options_given = {"rivers": self.rivers, "period": self.period}
        return [name for name, value in options_given.items() if value]

    def _serve(self, session: Session, echo: Echo) -> Result:
        import webbrowser

        from hydromae.explore.server import listening, serve

        listener = listening(self.port)

        def ready(address: str) -> None:
            finish_progress()
            echo(f"{address}: {len(session.names)} rivers of {self.store}, predicted by {self.model}; Ctrl+C ends it")
            if self.browser:
                webbrowser.open(address)

        port = listener.getsockname()[1]
        with listener:
            serve(session, listener, ready)
        return {"port": port}

    def _write(self, session: Session, out: Path, period: tuple[date, date] | None, echo: Echo) -> Result:
        from hydromae.explore.export import export

        page = export(session, out, self.rivers, period, progress_callback("rivers"))
        echo(f"{page}: open it in a browser; it needs no other file")
        return {"path": str(page)}
