"""Progress on stderr: bars with the remaining time on a terminal, otherwise a line every 30 seconds."""

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

BAR_DELAY = 1.5
"""Seconds of work before the first bar."""
MIN_TASK_SECONDS = 1.0
"""Seconds before a task has its own bar."""
LINE_INTERVAL = 30.0
"""Seconds between two lines without a terminal."""


class Display:
    """Context in which progress (`progress.ProgressHandler`) and log messages are shown.

    Args:
        name: Name of the command, shown before the first task.
        quiet: Show nothing.
    """

    def __init__(self, name: str, quiet: bool = False) -> None:
        self.name, self.quiet = name, quiet
        self.screen = Screen(stderr=True)
        self.bars = self.screen.is_terminal and not self.screen.is_dumb_terminal
        self.tasks: dict[str, Any] = {}
        self.began: dict[str, float] = {}
        self.lock, self.is_over = threading.RLock(), False
        self.last_line_at = time.monotonic()
        self.log = logging.Handler()
        self.log.emit = self._logged

    def __enter__(self) -> Display:
        LOG.addHandler(self.log)
        self.timer = threading.Timer(BAR_DELAY, self._show)
        self.timer.daemon = True
        if self.bars and not self.quiet:
            from rich.progress import Progress

            self.progress: Progress = bars(self.screen)
            self.progress.add_task(self.name, total=None, note="")
            self.timer.start()
        return self

    def __exit__(self, *exception: object) -> None:
        LOG.removeHandler(self.log)
        self._end()

    def _end(self) -> None:
        self.timer.cancel()
        with self.lock:
            self.is_over = True
            if self.bars and not self.quiet:
                self.progress.stop()

    def _show(self) -> None:
        with self.lock:
            if not self.is_over:
                self.progress.start()

    def print_line(self, console: Console, shown: RenderableType) -> None:
        """Print above the bars if both are on the terminal."""
        is_above_bars = self.bars and not self.quiet and not self.is_over and not console.quiet and console.is_terminal
        target = self.screen if is_above_bars else console
        show(target, shown, soft_wrap=isinstance(shown, str), markup=False, highlight=False)

    def _logged(self, record: logging.LogRecord) -> None:
        with suppress(InputError):  # a log that cannot be written does not end the work
            self.print_line(self.screen, record.getMessage())

    def update(self, what: str, done: float, of: float | None, note: str | None) -> None:
        """Show the progress of a task; a task without a name ends the display."""
        if not what:
            self._end()
        if self.quiet or self.is_over:
            return
        with self.lock:
            if self.bars:
                self._move(what, done, of, note)
            else:
                self._line(what, done, of, note)

    def _move(self, what: str, done: float, of: float | None, note: str | None) -> None:
        if what not in self.tasks:
            self.tasks[what] = self.progress.add_task(what, total=of, note="")
        self.progress.update(self.tasks[what], completed=done, total=of)
        if note is not None:
            self.progress.update(self.tasks[what], note=note)
        if of is not None and done >= of:
            self.progress.remove_task(self.tasks.pop(what))

    def _line(self, what: str, done: float, of: float | None, note: str | None) -> None:
        """Print a line on the oldest task if the last line is `LINE_INTERVAL` old."""
        now = time.monotonic()
        started = self.began.setdefault(what, now)
        if now - self.last_line_at >= LINE_INTERVAL and what == next(iter(self.began)):
            self.last_line_at = now
            time_left = f", {duration((now - started) / done * (of - done))} left" if of and done else ""
            total_text = f" of {of:,.0f}" if of else ""
            text = f"hydromae {self.name}: {what} {done:,.0f}{total_text}{f', {note}' if note else ''}{time_left}"
            with suppress(InputError):  # a log that cannot be written does not end the work
                show(self.screen, text, soft_wrap=True, markup=False, highlight=False)
        if of is not None and done >= of:
            self.began.pop(what, None)


def duration(seconds: float) -> str:
    """Return a duration as text in seconds, minutes or hours."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def bars(screen: Console) -> Any:
    """Return progress bars that disappear at the end and leave stdout as it is; short tasks have no bar."""
    from rich.progress import BarColumn, Progress, Task, TextColumn, TimeElapsedColumn, TimeRemainingColumn
    from rich.text import Text

    class Count(TextColumn):
        def render(self, task: Task) -> Text:
            total_text = "" if task.total is None else f"{task.completed:,.0f} of {task.total:,.0f}"
            return Text(total_text + (f", {task.fields['note']}" if task.fields["note"] else ""))

    class Left(TimeRemainingColumn):
        def render(self, task: Task) -> Text:
            return Text("") if task.total is None else Text.assemble(super().render(task), " left")

    class Parts(Progress):
        def make_tasks_table(self, tasks: Iterable[Task]) -> Any:
            all_tasks = list(tasks)
            long_tasks = [task for task in all_tasks[1:] if (task.elapsed or 0.0) >= MIN_TASK_SECONDS]
            return super().make_tasks_table(long_tasks or all_tasks[:1])

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
