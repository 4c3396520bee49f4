"""The fields that a Python file gives a configuration of another program, read from its text: nothing in it runs."""

from __future__ import annotations

import ast
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hydromae.cli.literals import FACTORIES, Unread, keywords, name, value_of
from hydromae.errors import InputError

Fields = dict[str, Any]
PLAIN_BASES = {"object", "BaseModel", "BaseSettings", "NamedTuple", "ABC", "TypedDict", *FACTORIES}
"""Base classes without fields of their own."""
SETTERS = ("__init__", "__post_init__")
BRANCHES = (ast.FunctionDef, ast.If, ast.For, ast.While, ast.With, ast.Try)


@dataclass
class Source:
    """A file's classes, plain values, and the names that it imports from other files."""

    file: Path
    classes: dict[str, ast.ClassDef] = field(default_factory=dict)
    values: Fields = field(default_factory=dict)
    imported: dict[str, str] = field(default_factory=dict)
    made: dict[str, Fields] = field(default_factory=dict)
    """Instances and dictionaries of fields, by name."""
    used: set[str] = field(default_factory=set)
    """Classes that instances are made of."""
    before: tuple[Path, ...] = ()
    """Files that were read on the way to this one."""


def parse(file: Path) -> ast.Module:
    """The syntax of a Python file.

    Raises:
        InputError: If it is no Python file.
    """
    try:
        return ast.parse(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"{file}: cannot be read ({error.strerror}); name a Python file") from None
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise InputError(f"{file}: is not Python ({type(error).__name__}); mend the file") from None


def imports(tree: ast.Module) -> dict[str, str]:
    """Imported name -> module, of a whole file."""
    found = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            found |= {alias.asname or alias.name: node.module or "" for alias in node.names}
        elif isinstance(node, ast.Import):
            found |= {alias.asname or alias.name: alias.name for alias in node.names}
    return found


def containers(file: Path) -> dict[str, Fields]:
    """What a file holds fields in, by name: instances, dictionaries, and classes of which nothing else is made.

    Raises:
        InputError: Where fields are set in a way that only running the file would follow.
    """
    source = read(file)
    bases = {name(base) for own, one in source.classes.items() for base in one.bases if name(base) != own}
    used = bases | source.used
    return source.made | {one: class_fields(source, one) for one in source.classes if one not in used}


def read(file: Path, before: tuple[Path, ...] = ()) -> Source:
    """A file statement by statement."""
    tree = parse(file)
    source = Source(file, imported=imports(tree), before=before)
    for node in tree.body:
        if isinstance(node, ast.ClassDef):
            source.classes[node.name] = node
        elif isinstance(node, BRANCHES):
            _refuse_fields_in(node, source)
        else:
            _refuse_call_on_made(node, source)
            for target, value in _assigned(node):
                _take(source, target, value)
    return source


def _take(source: Source, target: ast.expr, value: ast.expr | None) -> None:
    """One assignment at the top of a file: a constant, a dictionary, an instance, or a field of one."""
    if isinstance(target, ast.Attribute | ast.Subscript) and name(target.value) in source.made:
        key = target.attr if isinstance(target, ast.Attribute) else str(value_of(target.slice, source.values))
        held = Unread("no plain value", target.lineno) if value is None else value_of(value, source.values)
        source.made[name(target.value)][key] = held
    if not isinstance(target, ast.Name) or value is None:
        return
    called = name(value.func) if isinstance(value, ast.Call) else ""
    if isinstance(value, ast.Call) and (called in source.classes or _beside(source, called) is not None):
        source.used.add(called)
        given = keywords(value, source.values)
        if value.args or (given and _has_init(source, called)):
            raise InputError(
                f"{source.file}: line {value.lineno}: {called} takes arguments; assign its fields in the class"
            )
        source.made[target.id] = class_fields(source, called) | given
        return
    held = value_of(value, source.values)
    if isinstance(held, dict) and (called in FACTORIES or isinstance(value, ast.Dict)):
        source.made[target.id] = {str(key): one for key, one in held.items()}
    source.values[target.id] = held


def class_fields(source: Source, called: str, of: frozenset[str] = frozenset()) -> Fields:
    """The fields of a class: of its bases, of its body, of `__init__` and `__post_init__`; `of` are the classes above it."""
    if called in PLAIN_BASES:
        return {}
    home, node = _class(source, called, called in of)
    fields: Fields = {}
    for base in node.bases:
        fields |= class_fields(home, name(base), of | {called})
    for statement in node.body:
        if isinstance(statement, ast.ClassDef):
            inner = Source(home.file, {statement.name: statement}, home.values, home.imported)
            fields[statement.name] = class_fields(inner, statement.name)
        elif not isinstance(statement, ast.FunctionDef):
            _statement(home, statement, fields, home.values)
        elif statement.name in SETTERS:
            _body(home, statement, fields)
        elif any(_field(target, "self") for one in ast.walk(statement) for target, _ in _assigned(one)):
            raise InputError(f"{home.file}: line {statement.lineno}: a method sets fields; assign them in the class")
    return fields


def _class(source: Source, called: str, imported: bool = False) -> tuple[Source, ast.ClassDef]:
    """A class of this file, or of the one beside it from which it is imported."""
    if called in source.classes and not imported:
        return source, source.classes[called]
    file = _beside(source, called)
    other = None if file is None or file in (*source.before, source.file) else read(file, (*source.before, source.file))
    if other is None or called not in other.classes:
        raise InputError(
            f"{source.file}: class {called} is neither in this file nor in one beside it; put its fields into this file"
        )
    return other, other.classes[called]


def _has_init(source: Source, called: str, of: frozenset[str] = frozenset()) -> bool:
    """Whether a class or one of its bases has an `__init__` of its own."""
    if called in PLAIN_BASES:
        return False
    home, node = _class(source, called, called in of)
    own = any(isinstance(statement, ast.FunctionDef) and statement.name == "__init__" for statement in node.body)
    return own or any(_has_init(home, name(base), of | {called}) for base in node.bases)


def _body(source: Source, function: ast.FunctionDef, fields: Fields) -> None:
    """What a method assigns to `self`."""
    arguments = function.args
    given = [*arguments.posonlyargs, *arguments.args][::-1]
    defaults = {one.arg: value for one, value in zip(given, arguments.defaults[::-1], strict=False)}
    defaults |= {
        one.arg: value for one, value in zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True) if value
    }
    local = source.values | {one: value_of(value, source.values) for one, value in defaults.items()}
    for statement in function.body:
        _statement(source, statement, fields, local, "self")


def _statement(source: Source, node: ast.stmt, fields: Fields, values: Fields, owner: str = "") -> None:
    """One statement of a class or method; `if self.x is None:` is followed, other branches that set fields are refused."""
    if isinstance(node, ast.If) and not node.orelse and _asks_for_none(node.test):
        assert isinstance(node.test, ast.Compare)
        asked = value_of(node.test.left, values | {f"self.{one}": held for one, held in fields.items()})
        for one in node.body if asked is None else []:
            _statement(source, one, fields, values, owner)
        if not isinstance(asked, Unread):
            return
    if _gives_super(node):
        raise InputError(
            f"{source.file}: line {node.lineno}: super().__init__ takes arguments; assign the fields plainly"
        )
    if isinstance(node, BRANCHES) and any(
        _field(target, owner) for one in ast.walk(node) for target, _ in _assigned(one)
    ):
        raise InputError(f"{source.file}: line {node.lineno}: fields are set in a branch; assign them plainly")
    for target, value in _assigned(node):
        own = _field(target, owner)
        if own:
            seen = values | fields | {f"self.{one}": held for one, held in fields.items()}
            bare = isinstance(node, ast.AnnAssign) and own in fields  # an annotation leaves what was assigned before
            if value is not None or not bare:
                fields[own] = Unread("no value", node.lineno) if value is None else value_of(value, seen)


def _field(target: ast.expr, owner: str) -> str:
    """The field that an assignment sets, or nothing."""
    if owner:
        return target.attr if isinstance(target, ast.Attribute) and name(target.value) == owner else ""
    return target.id if isinstance(target, ast.Name) else ""


def _refuse_fields_in(branch: ast.stmt, source: Source) -> None:
    """A function or branch of the file must set no fields: whether it is taken, only running it would say."""
    for node in ast.walk(branch):
        sets = any(isinstance(target, ast.Attribute) for target, _ in _assigned(node))
        if sets or (isinstance(node, ast.Call) and name(node.func) in source.classes and node.keywords):
            raise InputError(
                f"{source.file}: line {branch.lineno}: fields are set in a branch; assign them in the class"
            )


def _refuse_call_on_made(node: ast.stmt, source: Source) -> None:
    """`config.update(...)` and `setattr(config, ...)` set fields that only running them would show."""
    call = node.value if isinstance(node, ast.Expr) and isinstance(node.value, ast.Call) else None
    if call is not None and name(call.func) != "print":
        owners = [call.func.value] if isinstance(call.func, ast.Attribute) else []
        if any(name(one) in source.made for one in (*owners, *call.args)):
            raise InputError(f"{source.file}: line {node.lineno}: fields are set by a call; assign them one by one")


def _gives_super(node: ast.stmt) -> bool:
    """Whether a statement is `super().__init__(...)` with arguments."""
    if not (isinstance(node, ast.Expr) and isinstance(node.value, ast.Call)):
        return False
    call = node.value
    made = call.func.value if isinstance(call.func, ast.Attribute) else None
    return isinstance(made, ast.Call) and name(made.func) == "super" and bool(call.args or call.keywords)


def _assigned(node: ast.AST) -> Sequence[tuple[ast.expr, ast.expr | None]]:
    """Targets and values of an assignment; None where an annotation has no value, or a pair's parts cannot be told apart."""
    if isinstance(node, ast.AugAssign):
        added = ast.BinOp(node.target, node.op, node.value)
        return [(node.target, ast.copy_location(added, node))]
    if isinstance(node, ast.AnnAssign):
        return [(node.target, node.value)]
    found: list[tuple[ast.expr, ast.expr | None]] = []
    for target in node.targets if isinstance(node, ast.Assign) else ():
        assert isinstance(node, ast.Assign)
        if not isinstance(target, ast.Tuple | ast.List):
            found.append((target, node.value))
            continue
        parts = node.value.elts if isinstance(node.value, ast.Tuple | ast.List) else []
        found += zip(target.elts, parts if len(parts) == len(target.elts) else [None] * len(target.elts), strict=True)
    return found


def _asks_for_none(test: ast.expr) -> bool:
    none = isinstance(test, ast.Compare) and isinstance(test.comparators[0], ast.Constant)
    return none and isinstance(test.ops[0], ast.Is) and test.comparators[0].value is None  # type: ignore[union-attr]


def _beside(source: Source, imported: str) -> Path | None:
    """The file beside this one from which a name is imported, where there is one."""
    module = source.imported.get(imported, "").rsplit(".", 1)[-1]
    file = source.file.parent / f"{module}.py"
    return file if module and file.is_file() else None
