"""Calls read out of foreign Python source with ``ast``. Nothing is run, and only literal arguments are values."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

from tracer.sources.source import Refused

MAX_CODE = 100_000  # characters; the parser's memory grows with the text
MAX_TOTAL = 2 * MAX_CODE  # of one record
MAX_BRACES = 2_000  # of one code; Python 3.11 parses an f-string in time quadratic in its fields
MAX_CALLS = 1_000  # of one code

# A line such as ``pyautogui.moveTo(x=0.5, y=0.25)``: names and plain numbers or texts, which mean the same to Python.
# Reading it takes a tenth of the time that a syntax tree takes; whatever looks different gets one.
PLAIN_CALL = re.compile(r"((?:pyautogui|computer)\.[A-Za-z]\w*)\(([^\n]*)\)", re.ASCII)
PLAIN_ARGUMENT = re.compile(
    r"(?:([A-Za-z]\w*)=)?(?:(-?(?:0|[1-9]\d*)(\.\d+)?)|'([^'\\\x00-\x1f]*)'|\"([^\"\\\x00-\x1f]*)\")(, *|$)", re.ASCII
)


class Call(NamedTuple):
    """One call in foreign code, with its literal arguments."""

    name: str
    """The dotted name, ``pyautogui.click``."""
    positional: tuple[Any, ...]
    named: dict[str, Any]

    def bound(self, parameters: tuple[str, ...]) -> dict[str, Any]:
        """The arguments by parameter name; raises ``Refused``."""
        if len(self.positional) > len(parameters):
            detail = f"{self.name} has {len(self.positional)} arguments in a row"
            raise Refused("broken action", detail, f"it takes {list(parameters)}")
        found = dict(zip(parameters, self.positional, strict=False))
        twice = [name for name in self.named if name in found]
        if twice:
            raise Refused("broken action", f"{self.name} has {twice} twice", f"it takes {list(parameters)}")
        return found | self.named


def check_total(codes: Iterable[str]) -> None:
    """Raise ``Refused`` for a record whose codes together are too long to parse."""
    total = sum(map(len, codes))
    if total > MAX_TOTAL:
        raise Refused("code too long", f"{total} characters in one record, over {MAX_TOTAL}", "divide the record")


def parse(code: str) -> ast.Module:
    """The syntax tree; raises ``Refused`` for what is not valid Python."""
    fix = "correct the code, or drop the trajectory"
    if len(code) > MAX_CODE:
        raise Refused("code too long", f"{len(code)} characters, over {MAX_CODE}", fix)
    if code.count("{") > MAX_BRACES:
        raise Refused("code too long", f"it has {code.count('{')} braces, over {MAX_BRACES}", fix)
    try:
        return ast.parse(code)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:  # what the parser raises for foreign text
        raise Refused("code is not valid Python", f"{code[:80]!r}: {error}", fix) from error


def calls(code: str) -> Iterator[Call]:
    """The calls of a code that consists of nothing else, in order; raises ``Refused``."""
    lines = code.split("\n") if len(code) < MAX_CODE else []
    plain = [_plain(line) for line in lines] if len(lines) <= MAX_CALLS else []
    if plain and None not in plain:
        yield from (call for call in plain if call)
        return
    yield from parsed(code)


def _plain(line: str) -> Call | None:
    """The call of one plain line, or None."""
    found = PLAIN_CALL.fullmatch(line)
    if found is None:
        return None
    text, at = found[2], 0
    positional: list[Any] = []
    named: dict[str, Any] = {}
    while at < len(text):
        argument = PLAIN_ARGUMENT.match(text, at)
        if argument is None:
            return None
        name, number, fraction, single, double, separator = argument.groups()
        value = (float(number) if fraction else int(number)) if number else double if single is None else single
        if name in named or (named and name is None):
            return None  # Python has an error to report
        if name is None:
            positional.append(value)
        else:
            named[name] = value
        at = argument.end()
        if separator and at == len(text):
            return None
    return Call(found[1], tuple(positional), named)


def parsed(code: str) -> Iterator[Call]:
    """The same calls by way of the syntax tree; raises ``Refused``."""
    statements = parse(code).body
    if not statements:
        raise Refused("code is not a call", "it is empty", "drop the step, or the trajectory")
    if len(statements) > MAX_CALLS:
        detail = f"{len(statements)} calls, over {MAX_CALLS}"
        raise Refused("too many calls", detail, "divide the step, or drop the trajectory")
    for statement in statements:
        if not isinstance(statement, ast.Expr) or not isinstance(statement.value, ast.Call):
            text = ast.unparse(statement)[:80]
            raise Refused("code is not a call", f"{text!r} is a {type(statement).__name__}", "only calls are actions")
        yield read(statement.value)


def read(node: ast.Call) -> Call:
    """A call whose arguments are all literals; raises ``Refused``."""
    name = dotted(node.func)
    if name is None or any(keyword.arg is None for keyword in node.keywords):
        raise Refused("code is not a call", f"{ast.unparse(node)[:80]!r} is not plain", "write out the arguments")
    positional = tuple(_literal(value, name) for value in node.args)
    return Call(name, positional, {str(keyword.arg): _literal(keyword.value, name) for keyword in node.keywords})


def dotted(node: ast.expr) -> str | None:
    """``a.b.c`` of a name or attributes of one, else None."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute):
        before = dotted(node.value)
        return f"{before}.{node.attr}" if before else None
    return None


def _literal(node: ast.expr, name: str) -> Any:
    try:
        return ast.literal_eval(node)
    except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError) as error:
        text = ast.unparse(node)[:80]
        raise Refused("argument is not a literal", f"{name} is called with {text!r}", "write the value out") from error
