"""The command line: one frozen dataclass per command.

A new command is a class with `outputs` and `run`, listed in `COMMANDS`. `run` imports its own modules, which keeps
`hydromae --help` fast; it returns what `--json` prints and prints for people with `Echo`. An `InputError` becomes one line
on stderr and exit code 2.
"""

from __future__ import annotations

import contextlib
import io
import logging
import signal
import sys
from collections.abc import Callable, Sequence

import tyro
from rich.json import JSON

from hydromae import __version__
from hydromae.cli.common import COMMAND_LINE, Command, is_main_process, reserve_command_outputs
from hydromae.cli.configuration import base_config
from hydromae.cli.convert import ConvertConfig
from hydromae.cli.demo import Demo
from hydromae.cli.display import Display
from hydromae.cli.doctor import Doctor
from hydromae.cli.explore import Explore
from hydromae.cli.fetching import Fetch
from hydromae.cli.finetune import Finetune
from hydromae.cli.models import Forecast, Predict
from hydromae.cli.pretraining import Pretrain
from hydromae.cli.records import Inspect, Prepare, Virtual
from hydromae.cli.scores import Evaluate, Report
from hydromae.cli.streams import Screen, flush_streams, reopen_closed_streams, show
from hydromae.cli.sweep import Sweep
from hydromae.cli.utilities import Merge, Missing, Patches
from hydromae.cli.verify import Verify
from hydromae.errors import SIGNALS, InputError, first_line, signal_of
from hydromae.progress import show_progress_with

TABLE_WIDTH = 160
"""Width of tables in a file or a pipe."""
INTERRUPTED_CODE = 130
"""Exit code after Ctrl+C: 128 plus the number of the signal, so 143 after SIGTERM."""
COMMANDS: dict[str, Callable[..., Command]] = {
    "demo": Demo,
    "virtual": Virtual,
    "fetch": Fetch,
    "prepare": Prepare,
    "inspect": Inspect,
    "merge": Merge,
    "patches": Patches,
    "missing": Missing,
    "convert-config": ConvertConfig,
    "pretrain": Pretrain,
    "finetune": Finetune,
    "sweep": Sweep,
    "predict": Predict,
    "forecast": Forecast,
    "verify": Verify,
    "evaluate": Evaluate,
    "report": Report,
    "explore": Explore,
    "doctor": Doctor,
}


def parse(arguments: Sequence[str] | None) -> Command:
    """Return the command of the arguments; wrong ones end the program with a message and code 2."""
    base_config(sys.argv[1:] if arguments is None else arguments)
    return tyro.extras.subcommand_cli_from_dict(
        COMMANDS,
        prog="hydromae",
        description="Predict the missing values (NaN) of river flow and weather records, each as a distribution.",
        args=arguments,
        config=(tyro.conf.FlagCreatePairsOff,),
    )


def print_completion(arguments: Sequence[str]) -> int:
    """Print the shell completions of tyro with each description on one line, because shells offer every line as a choice."""
    script = io.StringIO()
    with contextlib.redirect_stdout(script), contextlib.suppress(SystemExit):
        parse(arguments)
    lines = script.getvalue().splitlines(keepends=True)
    for line in lines:
        sys.stdout.write(line.replace(r"\n", " ") if line.startswith("COMPLETION_SPEC") else line)
    return 0 if lines else 2


def _print_error(line: str) -> None:
    with contextlib.suppress(InputError):  # stderr is closed or full
        show(Screen(stderr=True), f"hydromae: {line}", style="red", soft_wrap=True, markup=False, highlight=False)


def _report_interrupt(command: Command | None, error: KeyboardInterrupt) -> int:
    """Print the state after a signal and return the exit code."""
    if isinstance(command, Pretrain | Finetune):
        from hydromae.model.serialization import NEW_RUN_PATTERN
        from hydromae.train.interrupts import interruption_message

        new = isinstance(command, Pretrain) and command.new_run
        line = interruption_message(
            error, max(command.out.glob(NEW_RUN_PATTERN), default=command.out) if new else command.out
        )
    else:
        line = f"stopped by {SIGNALS[signal_of(error)]}"
        if isinstance(command, Sweep):
            line += "; the same command continues the current trial"
    if is_main_process():
        _print_error(line)
    return INTERRUPTED_CODE - signal.SIGINT + signal_of(error)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; return 0 or the exit code of the result, 2 after wrong input, 130 after Ctrl+C, 143 after SIGTERM."""
    reopen_closed_streams()
    try:
        return _run(arguments)
    finally:
        flush_streams()


def _run(arguments: Sequence[str] | None) -> int:
    argv = sys.argv[1:] if arguments is None else list(arguments)
    # zarr reads chunks concurrently: of several damaged ones, only the first is reported
    logging.getLogger("asyncio").setLevel(logging.CRITICAL)
    COMMAND_LINE.set(tuple(argv))
    command = None
    try:
        if argv[:1] == ["--tyro-print-completion"]:
            return print_completion(argv)
        if argv == ["--version"]:
            show(Screen(), f"hydromae {__version__}", highlight=False)
            return 0
        command = parse(arguments)
        console = Screen(
            quiet=command.json or not is_main_process(), width=None if sys.stdout.isatty() else TABLE_WIDTH
        )
        name = type(command).__name__.lower()
        with (
            Display(name, quiet=not is_main_process()) as display,
            show_progress_with(display.update),
            reserve_command_outputs(command),
        ):
            result = command.run(lambda renderable: display.print_line(console, renderable))
        if command.json and is_main_process():
            line = JSON.from_data(dict(result), indent=None, allow_nan=False, highlight=sys.stdout.isatty())
            show(Screen(), line, soft_wrap=True)
    except InputError as error:
        _print_error(str(error))
        return 2
    except OSError as error:
        if command is None and isinstance(error, BrokenPipeError):  # help or completions into a closed pipe
            return 0
        _print_error(_system_error_line(error, command))
        return 2
    except KeyboardInterrupt as error:
        return _report_interrupt(command, error)
    return int(result.get("exit_code", 0))


def _system_error_line(error: OSError, command: Command | None) -> str:
    """Return a line on a file that could not be read or written."""
    output_paths = [] if command is None else [str(output.path) for output in command.outputs().values()]
    name = error.filename or ", ".join(output_paths) or "a file"
    reason = error.strerror or first_line(error)
    return f"{name}: cannot be read or written ({reason}); make room there, or check who may read and write it"
