"""What long work looks like: bars with the time left on a terminal, a plain line now and then anywhere else; on stderr."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterable
from contextlib import suppress
from typing import Any

from rich.console import Console, RenderableType

from hydromae.cli.streams import Screen, show
from hydromae.errors import InputError
from hydromae.progress import LOG

SILENCE = 1.5
"""Seconds of work that need no bar."""
BRIEF = 1.0
"""Seconds that a part of the work takes before it has a bar of its own."""
BETWEEN_LINES = 30.0
"""Seconds between two lines where there is no terminal."""


class Display:
    """Hears how far work is (`progress.Hear`) and what is logged while it is entered, and shows it.

    Args:
        name: Of the whole, shown while no part of it says more.
        quiet: Show nothing.
    """

    def __init__(self, name: str, quiet: bool = False) -> None:
        self.name, self.quiet = name, quiet
        self.screen = Screen(stderr=True)
        self.bars = self.screen.is_terminal and not self.screen.is_dumb_terminal
        self.tasks: dict[str, Any] = {}
        self.began: dict[str, float] = {}
        self.lock, self.over = threading.RLock(), False
        self.spoken = time.monotonic()
        self.log = logging.Handler()
        self.log.emit = self._logged

    def __enter__(self) -> Display:
        LOG.addHandler(self.log)
        self.timer = threading.Timer(SILENCE, self._show)
        self.timer.daemon = True
        if self.bars and not self.quiet:
            from rich.progress import Progress

            self.progress: Progress = bars(self.screen)
            self.progress.add_task(self.name, total=None, said="")
            self.timer.start()
        return self

    def __exit__(self, *exception: object) -> None:
        LOG.removeHandler(self.log)
        self._end()

    def _end(self) -> None:
        self.timer.cancel()
        with self.lock:
            self.over = True
            if self.bars and not self.quiet:
                self.progress.stop()

    def _show(self) -> None:
        with self.lock:
            if not self.over:
                self.progress.start()

    def say(self, console: Console, shown: RenderableType) -> None:
        """Print, above the bars where both are on the terminal."""
        above = self.bars and not self.quiet and not self.over and not console.quiet and console.is_terminal
        target = self.screen if above else console
        show(target, shown, soft_wrap=isinstance(shown, str), markup=False, highlight=False)

    def _logged(self, record: logging.LogRecord) -> None:
        with suppress(InputError):  # a log that cannot be written does not end the work
            self.say(self.screen, record.getMessage())

    def hear(self, what: str, done: float, of: float | None, said: str | None) -> None:
        """Show how far a part of the work is; where it has no name, all is done and nothing more is shown."""
        if not what:
            self._end()
        if self.quiet or self.over:
            return
        with self.lock:
            if self.bars:
                self._move(what, done, of, said)
            else:
                self._line(what, done, of, said)

    def _move(self, what: str, done: float, of: float | None, said: str | None) -> None:
        if what not in self.tasks:
            self.tasks[what] = self.progress.add_task(what, total=of, said="")
        self.progress.update(self.tasks[what], completed=done, total=of)
        if said is not None:
            self.progress.update(self.tasks[what], said=said)
        if of is not None and done >= of:
            self.progress.remove_task(self.tasks.pop(what))

    def _line(self, what: str, done: float, of: float | None, said: str | None) -> None:
        """The part that began first, if nothing was said for a while."""
        now = time.monotonic()
        began = self.began.setdefault(what, now)
        if now - self.spoken >= BETWEEN_LINES and what == next(iter(self.began)):
            self.spoken = now
            left = f", {duration((now - began) / done * (of - done))} left" if of and done else ""
            known = f" of {of:,.0f}" if of else ""
            text = f"hydromae {self.name}: {what} {done:,.0f}{known}{f', {said}' if said else ''}{left}"
            with suppress(InputError):  # a log that cannot be written does not end the work
                show(self.screen, text, soft_wrap=True, markup=False, highlight=False)
        if of is not None and done >= of:
            self.began.pop(what, None)


def duration(seconds: float) -> str:
    """A time in the unit that a reader would choose."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def bars(screen: Console) -> Any:
    """Bars with how much is done, of how much, and the time left; a part that is over soon has none.

    Gone at the end. Nothing is caught of what others print: results on stdout stay as they are.
    """
    from rich.progress import BarColumn, Progress, Task, TextColumn, TimeElapsedColumn, TimeRemainingColumn
    from rich.text import Text

    class Count(TextColumn):
        def render(self, task: Task) -> Text:
            known = "" if task.total is None else f"{task.completed:,.0f} of {task.total:,.0f}"
            return Text(known + (f", {task.fields['said']}" if task.fields["said"] else ""))

    class Left(TimeRemainingColumn):
        def render(self, task: Task) -> Text:
            return Text("") if task.total is None else Text.assemble(super().render(task), " left")

    class Parts(Progress):
        def make_tasks_table(self, tasks: Iterable[Task]) -> Any:
            every = list(tasks)
            long = [task for task in every[1:] if (task.elapsed or 0.0) >= BRIEF]
            return super().make_tasks_table(long or every[:1])

    return Parts(
        TextColumn("{task.description}"),
        BarColumn(bar_width=20),
        Count(""),
        TimeElapsedColumn(),
        Left(),
        console=screen,
        transient=True,
        redirect_stdout=False,
        redirect_stderr=False,
        refresh_per_second=4,
        speed_estimate_period=600,
    )
