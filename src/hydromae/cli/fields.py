"""Fields of a configuration in a Python file of another program, parsed without running it."""

from __future__ import annotations

import ast
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hydromae.cli.literals import FACTORIES, Unevaluated, keywords, name, value_of
from hydromae.errors import InputError

Fields = dict[str, Any]
PLAIN_BASES = {"object", "BaseModel", "BaseSettings", "NamedTuple", "ABC", "TypedDict", *FACTORIES}
"""Base classes without fields of their own."""
SETTERS = ("__init__", "__post_init__")
BRANCHES = (ast.FunctionDef, ast.If, ast.For, ast.While, ast.With, ast.Try)


@dataclass
class SourceFile:
    """Classes, plain values and imported names of a file."""

    file: Path
    classes: dict[str, ast.ClassDef] = field(default_factory=dict)
    values: Fields = field(default_factory=dict)
    imported: dict[str, str] = field(default_factory=dict)
    instances: dict[str, Fields] = field(default_factory=dict)
    """Instances and dictionaries of fields, by name."""
    instantiated: set[str] = field(default_factory=set)
    """Classes with instances."""
    parents: tuple[Path, ...] = ()
    """Files that import this one, for cycles."""


def parse(file: Path) -> ast.Module:
    """Parse a Python file.

    Raises:
        InputError: It is not a Python file.
    """
    try:
        return ast.parse(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"{file}: cannot be read ({error.strerror}); name a Python file") from None
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise InputError(f"{file}: is not Python ({type(error).__name__}); correct the file") from None


def imports(tree: ast.Module) -> dict[str, str]:
    """Return the module of each imported name."""
    collected = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            collected |= {alias.asname or alias.name: node.module or "" for alias in node.names}
        elif isinstance(node, ast.Import):
            collected |= {alias.asname or alias.name: alias.name for alias in node.names}
    return collected


def containers(file: Path) -> dict[str, Fields]:
    """Return the containers of fields by name: instances, dictionaries, and classes that no other class or instance uses.

    Raises:
        InputError: Fields are set in a way that only execution resolves.
    """
    source = read_source_file(file)
    bases = {name(base) for own, one in source.classes.items() for base in one.bases if name(base) != own}
    used = bases | source.instantiated
    return source.instances | {one: class_fields(source, one) for one in source.classes if one not in used}


def read_source_file(file: Path, parents: tuple[Path, ...] = ()) -> SourceFile:
    """Parse the statements of a file."""
    tree = parse(file)
    source = SourceFile(file, imported=imports(tree), parents=parents)
    for node in tree.body:
        if isinstance(node, ast.ClassDef):
            source.classes[node.name] = node
        elif isinstance(node, BRANCHES):
            _check_no_fields_in(node, source)
        else:
            _check_no_call_on_instance(node, source)
            for target, value in _assigned(node):
                _read_assignment(source, target, value)
    return source


def _read_assignment(source: SourceFile, target: ast.expr, value: ast.expr | None) -> None:
    """Record an assignment of a module: a constant, a dictionary, an instance, or a field of an instance."""
    if isinstance(target, ast.Attribute | ast.Subscript) and name(target.value) in source.instances:
        key = target.attr if isinstance(target, ast.Attribute) else str(value_of(target.slice, source.values))
        literal = Unevaluated("no plain value", target.lineno) if value is None else value_of(value, source.values)
        source.instances[name(target.value)][key] = literal
    if not isinstance(target, ast.Name) or value is None:
        return
    class_name = name(value.func) if isinstance(value, ast.Call) else ""
    if isinstance(value, ast.Call) and (
        class_name in source.classes or _neighbour_file(source, class_name) is not None
    ):
        source.instantiated.add(class_name)
        given = keywords(value, source.values)
        if value.args or (given and _has_init(source, class_name)):
            raise InputError(
                f"{source.file}: line {value.lineno}: {class_name} takes arguments; assign its fields in the class"
            )
        source.instances[target.id] = class_fields(source, class_name) | given
        return
    literal = value_of(value, source.values)
    if isinstance(literal, dict) and (class_name in FACTORIES or isinstance(value, ast.Dict)):
        source.instances[target.id] = {str(key): one for key, one in literal.items()}
    source.values[target.id] = literal


def class_fields(source: SourceFile, class_name: str, of: frozenset[str] = frozenset()) -> Fields:
    """Return the fields of a class from its bases, body, `__init__` and `__post_init__`; `of` are its subclasses."""
    if class_name in PLAIN_BASES:
        return {}
    source_file, node = _class(source, class_name, class_name in of)
    fields: Fields = {}
    for base in node.bases:
        fields |= class_fields(source_file, name(base), of | {class_name})
    for statement in node.body:
        if isinstance(statement, ast.ClassDef):
            inner = SourceFile(source_file.file, {statement.name: statement}, source_file.values, source_file.imported)
            fields[statement.name] = class_fields(inner, statement.name)
        elif not isinstance(statement, ast.FunctionDef):
            _statement(source_file, statement, fields, source_file.values)
        elif statement.name in SETTERS:
            _body(source_file, statement, fields)
        elif any(_field(target, "self") for one in ast.walk(statement) for target, _ in _assigned(one)):
            raise InputError(
                f"{source_file.file}: line {statement.lineno}: a method sets fields; assign them in the class"
            )
    return fields


def _class(source: SourceFile, class_name: str, imported: bool = False) -> tuple[SourceFile, ast.ClassDef]:
    """Return a class of this file, or of the imported file in the same folder."""
    if class_name in source.classes and not imported:
        return source, source.classes[class_name]
    file = _neighbour_file(source, class_name)
    other = (
        None
        if file is None or file in (*source.parents, source.file)
        else read_source_file(file, (*source.parents, source.file))
    )
    if other is None or class_name not in other.classes:
        raise InputError(
            f"{source.file}: class {class_name} is neither in this file nor in one beside it; add its fields to this file"
        )
    return other, other.classes[class_name]


def _has_init(source: SourceFile, class_name: str, of: frozenset[str] = frozenset()) -> bool:
    """Return whether a class or one of its bases defines `__init__`."""
    if class_name in PLAIN_BASES:
        return False
    source_file, node = _class(source, class_name, class_name in of)
    own = any(isinstance(statement, ast.FunctionDef) and statement.name == "__init__" for statement in node.body)
    return own or any(_has_init(source_file, name(base), of | {class_name}) for base in node.bases)


def _body(source: SourceFile, function: ast.FunctionDef, fields: Fields) -> None:
    """Add the fields that a method assigns to `self`."""
    arguments = function.args
    given = [*arguments.posonlyargs, *arguments.args][::-1]
    defaults = {one.arg: value for one, value in zip(given, arguments.defaults[::-1], strict=False)}
    defaults |= {
        one.arg: value for one, value in zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True) if value
    }
    local = source.values | {one: value_of(value, source.values) for one, value in defaults.items()}
    for statement in function.body:
        _statement(source, statement, fields, local, "self")


def _statement(source: SourceFile, node: ast.stmt, fields: Fields, values: Fields, owner: str = "") -> None:
    """Add the fields of a statement; `if self.x is None:` is evaluated, other branches that set fields are refused."""
    if isinstance(node, ast.If) and not node.orelse and _is_none_test(node.test):
        assert isinstance(node.test, ast.Compare)
        tested_value = value_of(node.test.left, values | {f"self.{one}": literal for one, literal in fields.items()})
        for one in node.body if tested_value is None else []:
            _statement(source, one, fields, values, owner)
        if not isinstance(tested_value, Unevaluated):
            return
    if _passes_to_super(node):
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
            known_values = values | fields | {f"self.{one}": literal for one, literal in fields.items()}
            is_bare = isinstance(node, ast.AnnAssign) and own in fields  # an annotation keeps an earlier value
            if value is not None or not is_bare:
                fields[own] = Unevaluated("no value", node.lineno) if value is None else value_of(value, known_values)


def _field(target: ast.expr, owner: str) -> str:
    """Return the field that an assignment sets, or an empty text."""
    if owner:
        return target.attr if isinstance(target, ast.Attribute) and name(target.value) == owner else ""
    return target.id if isinstance(target, ast.Name) else ""


def _check_no_fields_in(branch: ast.stmt, source: SourceFile) -> None:
    """Refuse a function or branch that sets fields, because only execution decides whether it runs."""
    for node in ast.walk(branch):
        sets = any(isinstance(target, ast.Attribute) for target, _ in _assigned(node))
        if sets or (isinstance(node, ast.Call) and name(node.func) in source.classes and node.keywords):
            raise InputError(
                f"{source.file}: line {branch.lineno}: fields are set in a branch; assign them in the class"
            )


def _check_no_call_on_instance(node: ast.stmt, source: SourceFile) -> None:
    """Refuse calls such as `config.update(...)` and `setattr(config, ...)`, whose fields only execution shows."""
    call = node.value if isinstance(node, ast.Expr) and isinstance(node.value, ast.Call) else None
    if call is not None and name(call.func) != "print":
        owners = [call.func.value] if isinstance(call.func, ast.Attribute) else []
        if any(name(one) in source.instances for one in (*owners, *call.args)):
            raise InputError(f"{source.file}: line {node.lineno}: fields are set by a call; assign them one by one")


def _passes_to_super(node: ast.stmt) -> bool:
    """Return whether a statement is `super().__init__(...)` with arguments."""
    if not (isinstance(node, ast.Expr) and isinstance(node.value, ast.Call)):
        return False
    call = node.value
    instance = call.func.value if isinstance(call.func, ast.Attribute) else None
    return isinstance(instance, ast.Call) and name(instance.func) == "super" and bool(call.args or call.keywords)


def _assigned(node: ast.AST) -> Sequence[tuple[ast.expr, ast.expr | None]]:
    """Return targets and values of an assignment; None for an annotation without a value or an unpacked call."""
    if isinstance(node, ast.AugAssign):
        added = ast.BinOp(node.target, node.op, node.value)
        return [(node.target, ast.copy_location(added, node))]
    if isinstance(node, ast.AnnAssign):
        return [(node.target, node.value)]
    collected: list[tuple[ast.expr, ast.expr | None]] = []
    for target in node.targets if isinstance(node, ast.Assign) else ():
        assert isinstance(node, ast.Assign)
        if not isinstance(target, ast.Tuple | ast.List):
            collected.append((target, node.value))
            continue
        parts = node.value.elts if isinstance(node.value, ast.Tuple | ast.List) else []
        collected += zip(
            target.elts, parts if len(parts) == len(target.elts) else [None] * len(target.elts), strict=True
        )
    return collected


def _is_none_test(test: ast.expr) -> bool:
    none = isinstance(test, ast.Compare) and isinstance(test.comparators[0], ast.Constant)
    return none and isinstance(test.ops[0], ast.Is) and test.comparators[0].value is None  # type: ignore[union-attr]


def _neighbour_file(source: SourceFile, imported: str) -> Path | None:
    """Return the file in the same folder from which a name is imported, or None."""
    module = source.imported.get(imported, "").rsplit(".", 1)[-1]
    file = source.file.parent / f"{module}.py"
    return file if module and file.is_file() else None
