"""The command line: one frozen dataclass a command.

To add a command, write a class with a `run` like the others and name it in `COMMANDS`. `run` imports what it needs
itself, so that `hydromae --help` answers at once; it returns what `--json` prints, and says the same to people on
`Echo`. An `InputError` becomes one line on stderr and exit code 2.
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
from hydromae.cli.models import Forecast, Predict, Pretrain
from hydromae.cli.records import Inspect, Prepare, Virtual
from hydromae.cli.scores import Evaluate, Report
from hydromae.cli.streams import Screen, flush_streams, reopen_closed_streams, show
from hydromae.cli.sweep import Sweep
from hydromae.cli.utilities import Merge, Missing, Patches
from hydromae.errors import SIGNALS, InputError, first_line, signal_of
from hydromae.progress import show_progress_with

TABLE_WIDTH = 160
"""Columns of a table that goes to a file or another program, where nothing tells how wide it may be."""
INTERRUPTED_CODE = 130
"""Exit code after Ctrl+C, as shells have it: 128 and the number of the signal, so 143 after SIGTERM."""
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
    "evaluate": Evaluate,
    "report": Report,
    "explore": Explore,
    "doctor": Doctor,
}


def parse(arguments: Sequence[str] | None) -> Command:
    """The command that the arguments ask for; wrong ones end the program with code 2 and say why."""
    base_config(sys.argv[1:] if arguments is None else arguments)
    return tyro.extras.subcommand_cli_from_dict(
        COMMANDS,
        prog="hydromae",
        description="Hand over a water record with NaN where you do not know; get a distribution back there.",
        args=arguments,
        config=(tyro.conf.FlagCreatePairsOff,),
    )


def print_completion(arguments: Sequence[str]) -> int:
    """The shell's completions, as tyro writes them, each description on one line: shells offer every line as a choice."""
    script = io.StringIO()
    with contextlib.redirect_stdout(script), contextlib.suppress(SystemExit):
        parse(arguments)
    lines = script.getvalue().splitlines(keepends=True)
    for line in lines:
        sys.stdout.write(line.replace(r"\n", " ") if line.startswith("COMPLETION_SPEC") else line)
    return 0 if lines else 2


def _print_error(line: str) -> None:
    with contextlib.suppress(InputError):  # nobody listens
        show(Screen(stderr=True), f"hydromae: {line}", style="red", soft_wrap=True, markup=False, highlight=False)


def _report_interrupt(command: Command | None, error: KeyboardInterrupt) -> int:
    """Say what a signal left, and give the exit code."""
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
            line += "; the same command goes on with the trial under way"
    if is_main_process():
        _print_error(line)
    return INTERRUPTED_CODE - signal.SIGINT + signal_of(error)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and give the exit code.

    It is 0, or the result's `exit_code`; 2 after an error of the user's, 130 after Ctrl+C, 143 after SIGTERM, and all say
    one line.
    """
    reopen_closed_streams()
    try:
        return _run(arguments)
    finally:
        flush_streams()


def _run(arguments: Sequence[str] | None) -> int:
    argv = sys.argv[1:] if arguments is None else list(arguments)
    # of several damaged chunks, read at once by zarr, the first is reported; asyncio would tell of the others
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
        if command is None and isinstance(error, BrokenPipeError):  # of help or completions, whose reader has gone
            return 0
        _print_error(_system_error_line(error, command))
        return 2
    except KeyboardInterrupt as error:
        return _report_interrupt(command, error)
    return int(result.get("exit_code", 0))


def _system_error_line(error: OSError, command: Command | None) -> str:
    """One line on a file that could be neither read nor written, where no part of the program has said it better."""
    output_paths = [] if command is None else [str(output.path) for output in command.outputs().values()]
    name = error.filename or ", ".join(output_paths) or "a file"
    reason = error.strerror or first_line(error)
    return f"{name}: cannot be read or written ({reason}); make room there, or check who may read and write it"
