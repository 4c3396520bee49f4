"""Plain values in Python source: literals, arithmetic of numbers and named constants, evaluated without execution."""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

FACTORIES = {"dict", "SimpleNamespace", "Namespace", "EasyDict", "edict", "ConfigDict"}
"""Calls whose keywords are fields."""
MAX_EXPONENT = 1024
"""Largest exponent that is evaluated."""
OPERATORS: dict[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Pow: operator.pow,
}


@dataclass(frozen=True)
class Unevaluated:
    """A value that only execution gives."""

    text: str
    line: int


def name(node: ast.expr) -> str:
    """Return the last name of `a.b.c`, or an empty text."""
    return node.id if isinstance(node, ast.Name) else node.attr if isinstance(node, ast.Attribute) else ""


def keywords(call: ast.Call, values: Mapping[str, Any]) -> dict[str, Any]:
    return {word.arg or "**": value_of(word.value, values) for word in call.keywords}


def value_of(node: ast.expr, values: Mapping[str, Any]) -> Any:
    """Evaluate a literal, arithmetic of numbers or a named value; otherwise return `Unevaluated`."""
    try:
        return _evaluate(node, values)
    except (ValueError, TypeError, KeyError, ArithmeticError, RecursionError):
        return Unevaluated(ast.unparse(node), node.lineno)


def _evaluate(node: ast.expr, values: Mapping[str, Any]) -> Any:
    def inner(part: ast.expr) -> Any:
        literal = _evaluate(part, values)
        if isinstance(literal, Unevaluated):
            raise ValueError(literal.text)
        return literal

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
            if isinstance(sign, ast.Pow) and abs(other) > MAX_EXPONENT:
                raise ValueError("too large")
            if not all(isinstance(side, int | float) for side in (one, other)):
                raise TypeError("not numbers")
            return OPERATORS[type(sign)](one, other)
        case ast.Call():
            return _evaluate_call(node, values)
    return ast.literal_eval(node)


def _evaluate_call(call: ast.Call, values: Mapping[str, Any]) -> Any:
    """Evaluate `field(default=...)`, `dict(...)` and similar calls, `Path("...")` and `os.path.join(...)`."""
    keyword_values, call_name = {word.arg: word.value for word in call.keywords}, name(call.func)
    if call_name in ("field", "Field"):
        if "default" in keyword_values:
            return value_of(keyword_values["default"], values)
        factory = keyword_values["default_factory"]
        return (
            value_of(factory.body, values)
            if isinstance(factory, ast.Lambda)
            else {"dict": {}, "list": ()}[name(factory)]
        )
    if call_name in FACTORIES and len(call.args) <= 1:
        first = value_of(call.args[0], values) if call.args else {}
        return {**first, **keywords(call, values)}
    if call_name in ("Path", "join") and not keyword_values:
        return "/".join(ast.literal_eval(part) for part in call.args)
    raise ValueError(call_name)
