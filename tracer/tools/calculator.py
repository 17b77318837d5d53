"""The calculator: arithmetic, read with ``ast`` and worked out node by node."""

from __future__ import annotations

import ast
import math
import operator
from collections.abc import Callable
from typing import Any

from pydantic import BaseModel, Field

from tracer.tools.toolbox import Tool

BITS = 4096
"""Of the largest power; what it would be is known before it is worked out."""
DIGITS = 12
"""Of an answer that is not whole: ways of working it out differ behind them."""
OPERATORS: dict[type[ast.operator | ast.unaryop], Callable[..., Any]] = {
    ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul, ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv, ast.Mod: operator.mod, ast.UAdd: operator.pos, ast.USub: operator.neg,
}  # fmt: skip
NAMES = {"pi": math.pi, "e": math.e}


def rounded(value: float, digits: int = 0) -> int | float:
    """As ``round``, which would work out a power of ten with as many digits as it is asked for, however many."""
    if abs(digits) > BITS:
        raise ValueError(f"the number would be rounded to over {BITS} digits")
    return round(value, digits)


FUNCTIONS: dict[str, Callable[..., Any]] = {
    "abs": abs, "round": rounded, "min": min, "max": max,
    **{name: getattr(math, name) for name in ("sqrt", "exp", "log", "log10", "log2", "sin", "cos", "tan", "atan",
                                              "floor", "ceil", "gcd", "radians", "degrees")},
}  # fmt: skip


class Expression(BaseModel):
    """What is worked out."""

    expression: str = Field(max_length=500, description="Arithmetic as Python writes it: 2 * (3 + sqrt(16)) ** 2")


class Calculator(Tool[Expression]):
    """Works out one expression."""

    name = "calculator"
    about = "Works out an arithmetic expression."
    arguments = Expression

    def run(self, arguments: Expression) -> str:
        """The number; whole ones exactly. Raises ``ValueError`` for what is no arithmetic, or too large."""
        try:
            value = compute(ast.parse(arguments.expression.strip(), mode="eval").body)
            if isinstance(value, float) and not value.is_integer():
                return f"{value:.{DIGITS}g}"
            return str(int(value))
        except (ArithmeticError, SyntaxError, TypeError, RecursionError, MemoryError) as error:
            raise ValueError(f"{type(error).__name__}: {error}") from error


def compute(node: ast.expr) -> int | float:
    """The value of an expression. Raises ``ValueError``, or what the arithmetic raises."""
    match node:
        case ast.Constant(value=int() | float() as value) if not isinstance(value, bool):
            return value
        case ast.Name(id=name) if name in NAMES:
            return NAMES[name]
        case ast.UnaryOp(op=op, operand=operand) if type(op) in OPERATORS:
            return _real(OPERATORS[type(op)](compute(operand)))
        case ast.BinOp(left=left, op=ast.Pow(), right=right):
            return _power(compute(left), compute(right))
        case ast.BinOp(left=left, op=op, right=right) if type(op) in OPERATORS:
            return _real(OPERATORS[type(op)](compute(left), compute(right)))
        case ast.Call(func=ast.Name(id=name), args=args, keywords=[]) if name in FUNCTIONS:
            return _real(FUNCTIONS[name](*map(compute, args)))
    raise ValueError(f"{ast.unparse(node)[:80]!r} is no arithmetic; there are {', '.join((*NAMES, *FUNCTIONS))}")


def _power(base: float, exponent: float) -> int | float:
    if isinstance(base, int) and base.bit_length() * abs(exponent) > BITS:
        raise ValueError(f"the power would have over {BITS} bits")
    return _real(base**exponent)


def _real(value: Any) -> int | float:
    if not isinstance(value, int | float) or not math.isfinite(value):
        raise ValueError(f"{value} is no finite real number")
    return value
