"""The shape of the source: imports point one way (docs/design.md, section 10), and habits that a machine can check."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[1] / "src" / "hydromae"

# From the bottom up: a module may import from its own layer and from those before it, never from one after it.
ORDER = (
    "errors",
    "progress",
    "variables",
    "grid",
    "footprints",
    "config",
    "presets",
    "runtime",
    "distributed",
    "io",
    "store",
    "datasets",
    "data",
    "virtual",
    "batching",
    "preprocess",
    "fetch",
    "model",
    "losses",
    "metrics",
    "train",
    "inference",
    "evaluate",
    "report",
    "explore",
    "cli",
    "__main__",
    "__init__",
)
LONGEST_FILE = 320
PICKLERS = {"pickle", "cloudpickle", "dill", "joblib", "shelve", "marshal", "numcodecs"}
RUNNERS = {"subprocess", "pty", "commands"}
RUNNING = {"eval", "exec", "compile", "os.system", "os.popen", "yaml.load", "pd.read_pickle", "pandas.read_pickle"}
SAFELY = {"torch.load": "weights_only=True", "np.load": "allow_pickle=False", "numpy.load": "allow_pickle=False"}
"""Calls that unpickle unless told otherwise, and what tells them."""


def layer_of(file: Path, source: Path) -> str:
    """The layer of a file: the first name of its path inside the package."""
    return file.relative_to(source).with_suffix("").parts[0]


def imported_modules(node: ast.AST, package: tuple[str, ...]) -> Iterator[str]:
    """Full dotted names that one statement or call imports; `package` is where a relative import starts from."""
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
        start = package[: len(package) - node.level + 1] if node.level else ()
        base = ".".join((*start, *([node.module] if node.module else [])))
        yield from (f"{base}.{alias.name}" for alias in node.names)
    elif isinstance(node, ast.Call) and ast.unparse(node.func) in {
        "import_module",
        "importlib.import_module",
        "__import__",
    }:
        yield from (str(word.value) for word in node.args[:1] if isinstance(word, ast.Constant))


def import_faults(tree: ast.AST, file: Path, source: Path) -> Iterator[str]:
    """Imports that point upward, at any depth of the file, so also inside functions."""
    layer = layer_of(file, source)
    if layer not in ORDER:
        yield f"layer '{layer}' has no place in ORDER"
        return
    package = ("hydromae", *file.relative_to(source).parent.parts)
    for node in ast.walk(tree):
        for name in imported_modules(node, package):
            parts = name.split(".")
            if parts[0] != "hydromae" or parts[1:] == ["__version__"]:
                continue
            target = parts[1] if len(parts) > 1 else "__init__"
            if target not in ORDER:
                target = "__init__"
            if ORDER.index(target) > ORDER.index(layer):
                yield f"line {node.lineno}: '{layer}' imports '{name}', which lies above it"  # type: ignore[attr-defined]


def call_fault(node: ast.Call) -> str | None:
    """What is wrong with one call, if anything."""
    name = ast.unparse(node.func)
    if name == "print":
        return "print()"
    if name == "hasattr":
        return "hasattr()"
    if name == "getattr" and len(node.args) > 2:
        return "getattr() with a default"
    if name in RUNNING:
        return f"{name}()"
    words = {f"{word.arg}={ast.unparse(word.value)}" for word in node.keywords}
    if name in SAFELY and SAFELY[name] not in words:
        return f"{name}() without {SAFELY[name]}"
    if "shell=True" in words:
        return "shell=True"
    if any(word.arg == "allow_pickle" and ast.unparse(word.value) != "False" for word in node.keywords):
        return "allow_pickle"
    return None


def habit_faults(tree: ast.AST) -> Iterator[str]:
    """Calls, imports and handlers that this project does without."""
    for node in ast.walk(tree):
        fault = None
        if isinstance(node, ast.Call):
            fault = call_fault(node)
        elif isinstance(node, ast.ExceptHandler) and node.type is None:
            fault = "bare except"
        elif isinstance(node, ast.Import | ast.ImportFrom):
            names = {
                name for name in imported_modules(node, ()) if name != "pickle.UnpicklingError"
            }  # only to catch it
            found = {name.split(".")[0] for name in names} & (PICKLERS | RUNNERS)
            fault = f"import of {min(found)}" if found else None
        if fault:
            yield f"line {node.lineno}: {fault}"  # type: ignore[attr-defined]


def runs_files(tree: ast.AST) -> bool:
    """Whether a file can run another Python file."""
    nodes = (node for node in ast.walk(tree) if isinstance(node, ast.Import | ast.ImportFrom | ast.Call))
    return any(name.split(".")[0] == "runpy" for node in nodes for name in imported_modules(node, ()))


def faults(file: Path, source: Path) -> list[str]:
    """Everything that is wrong with one file."""
    text = file.read_text(encoding="utf-8")
    tree = ast.parse(text)
    found = [*import_faults(tree, file, source), *habit_faults(tree)]
    if runs_files(tree) and layer_of(file, source) != "cli":
        found.append("import of runpy outside the command line")
    lines = len(text.splitlines())
    return found + ([f"{lines} lines, more than {LONGEST_FILE}"] if lines > LONGEST_FILE else [])


@pytest.mark.parametrize("file", sorted(SOURCE.rglob("*.py")), ids=lambda file: str(file.relative_to(SOURCE)))
def test_source_keeps_the_order_and_the_habits(file: Path) -> None:
    assert faults(file, SOURCE) == []


def test_one_place_alone_runs_a_file_of_the_user() -> None:
    assert len([file for file in SOURCE.rglob("*.py") if runs_files(ast.parse(file.read_text(encoding="utf-8")))]) == 1


def test_no_room_holds_more_than_a_sixth_of_the_lines() -> None:
    rooms: dict[str, int] = {}
    for file in SOURCE.rglob("*.py"):
        lines = len(file.read_text(encoding="utf-8").splitlines())
        rooms[layer_of(file, SOURCE)] = rooms.get(layer_of(file, SOURCE), 0) + lines
    assert max(rooms.values()) <= sum(rooms.values()) / 6, max(rooms, key=lambda room: rooms[room])


def test_prediction_imports_nothing_of_training() -> None:
    code = "import sys, hydromae; hydromae.load('gb-rivers'); print(*(m for m in sys.modules if m.startswith('hydromae.')))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=300)
    modules = done.stdout.split()
    assert "hydromae.inference.predictor" in modules and [m for m in modules if m.startswith("hydromae.train")] == []


def test_former_import_paths_give_the_same_objects() -> None:
    from hydromae.config import presets
    from hydromae.data import readers
    from hydromae.datasets import reader
    from hydromae.presets import SEED, TINY

    assert (TINY, SEED) == (presets.TINY, presets.SEED) and readers.load is reader.load_record


PLANTED = {
    "upward": ("store/bad.py", "from hydromae.model.mae import Model\n", "which lies above it"),
    "lazy": ("store/bad.py", "def f():\n    import hydromae.inference.predictor\n", "line 2"),
    "from the package": ("errors.py", "from hydromae import variables\n", "'hydromae.variables'"),
    "of the package's own names": ("train/bad.py", "from hydromae import load\n", "'hydromae.load'"),
    "relative": ("datasets/bad.py", "from ..train.loop import run\n", "'hydromae.train.loop.run'"),
    "by name": ("batching/batch.py", "import importlib\nimportlib.import_module('hydromae.cli')\n", "'hydromae.cli'"),
    "unknown layer": ("helpers.py", "", "no place in ORDER"),
    "print": ("store/bad.py", "print('hello')\n", "print()"),
    "pickle": ("store/bad.py", "from pickle import load\n", "import of pickle"),
    "a codec that pickles": ("store/bad.py", "from numcodecs import Pickle\n", "import of numcodecs"),
    "another program": ("store/bad.py", "import subprocess\n", "import of subprocess"),
    "eval": ("store/bad.py", "eval('1')\n", "eval()"),
    "exec": ("store/bad.py", "exec('a = 1')\n", "exec()"),
    "system": ("store/bad.py", "os.system('ls')\n", "os.system()"),
    "shell": ("store/bad.py", "run('ls', shell=True)\n", "shell=True"),
    "yaml": ("store/bad.py", "yaml.load(text)\n", "yaml.load()"),
    "read_pickle": ("store/bad.py", "pd.read_pickle('a')\n", "pd.read_pickle()"),
    "torch.load": ("store/bad.py", "torch.load('a.pt')\n", "torch.load() without weights_only=True"),
    "torch.load, unsafe": ("store/bad.py", "torch.load('a', weights_only=False)\n", "without weights_only=True"),
    "np.load": ("store/bad.py", "np.load('a.npy')\n", "np.load() without allow_pickle=False"),
    "runpy": ("store/bad.py", "import runpy\n", "import of runpy outside the command line"),
    "allow_pickle": ("store/bad.py", "read('a.npy', allow_pickle=True)\n", "allow_pickle"),
    "hasattr": ("store/bad.py", "hasattr(a, 'b')\n", "hasattr()"),
    "getattr": ("store/bad.py", "getattr(a, 'b', None)\n", "getattr() with a default"),
    "bare except": ("store/bad.py", "try:\n    pass\nexcept:\n    pass\n", "bare except"),
    "long": ("store/bad.py", "a = 1\n" * (LONGEST_FILE + 1), "321 lines"),
}


@pytest.mark.parametrize(("path", "text", "message"), PLANTED.values(), ids=PLANTED.keys())
def test_a_planted_fault_is_found(tmp_path: Path, path: str, text: str, message: str) -> None:
    file = tmp_path / path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)
    found = faults(file, tmp_path)
    assert len(found) == 1 and message in found[0]


def test_downward_imports_and_own_layer_are_allowed(tmp_path: Path) -> None:
    file = tmp_path / "store" / "good.py"
    file.parent.mkdir()
    file.write_text(
        "from hydromae import __version__, variables\nfrom hydromae.store import zarr_store\nfrom . import scaling\n"
        "from pickle import UnpicklingError\nfrom hydromae.errors import InputError\n"
        "import numpy\nvalue = getattr(numpy, 'nan')\n" + "a = 1\n" * (LONGEST_FILE - 7)
    )
    assert faults(file, tmp_path) == []
