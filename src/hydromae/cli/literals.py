"""Plain values in the text of a Python file: literals, arithmetic of numbers, constants by name; nothing runs."""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

FACTORIES = {"dict", "SimpleNamespace", "Namespace", "EasyDict", "edict", "ConfigDict"}
"""Calls whose keywords are the fields."""
LARGEST = 1024
"""Largest exponent that is worked out."""
OPERATORS: dict[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Pow: operator.pow,
}


@dataclass(frozen=True)
class Unread:
    """A value that only running the file would give."""

    text: str
    line: int


def name(node: ast.expr) -> str:
    """The last name of `a.b.c`, or nothing."""
    return node.id if isinstance(node, ast.Name) else node.attr if isinstance(node, ast.Attribute) else ""


def keywords(call: ast.Call, values: Mapping[str, Any]) -> dict[str, Any]:
    return {word.arg or "**": value_of(word.value, values) for word in call.keywords}


def value_of(node: ast.expr, values: Mapping[str, Any]) -> Any:
    """A literal, arithmetic of numbers, or a name that has a plain value; else `Unread`."""
    try:
        return _worked_out(node, values)
    except (ValueError, TypeError, KeyError, ArithmeticError, RecursionError):
        return Unread(ast.unparse(node), node.lineno)


def _worked_out(node: ast.expr, values: Mapping[str, Any]) -> Any:
    def inner(part: ast.expr) -> Any:
        held = _worked_out(part, values)
        if isinstance(held, Unread):
            raise ValueError(held.text)
        return held

    match node:
        case ast.Name(id=one):
            return values[one]
        case ast.Attribute(value=ast.Name(id="self"), attr=one):
            return values[f"self.{one}"]
        case ast.List(elts=parts) | ast.Tuple(elts=parts):
            return tuple(inner(part) for part in parts)
        case ast.Dict(keys=keys, values=parts) if None not in keys:
            return {ast.literal_eval(key): value_of(part, values) for key, part in zip(keys, parts, strict=True) if key}
        case ast.BinOp(left=left, op=sign, right=right):
            one, other = inner(left), inner(right)
            if isinstance(sign, ast.Pow) and abs(other) > LARGEST:
                raise ValueError("too large")
            if not all(isinstance(side, int | float) for side in (one, other)):
                raise TypeError("not numbers")
            return OPERATORS[type(sign)](one, other)
        case ast.Call():
            return _called(node, values)
    return ast.literal_eval(node)


def _called(call: ast.Call, values: Mapping[str, Any]) -> Any:
    """`field(default=...)` of dataclasses, `dict(...)` and its like, `Path("...")` and `os.path.join(...)`."""
    words, called = {word.arg: word.value for word in call.keywords}, name(call.func)
    if called in ("field", "Field"):
        if "default" in words:
            return value_of(words["default"], values)
        made = words["default_factory"]
        return value_of(made.body, values) if isinstance(made, ast.Lambda) else {"dict": {}, "list": ()}[name(made)]
    if called in FACTORIES and len(call.args) <= 1:
        first = value_of(call.args[0], values) if call.args else {}
        return {**first, **keywords(call, values)}
    if called in ("Path", "join") and not words:
        return "/".join(ast.literal_eval(part) for part in call.args)
    raise ValueError(called)
