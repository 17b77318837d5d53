"""Reads the data in a pickle without unpickling it: nothing is imported, and nothing is called.

AndroidWorld's runner checkpoints its episodes as pickles, and a pickle is a program. This walks its opcodes, builds
containers, texts and numbers, and puts an ``Opaque`` where the program would import a name or call it.
"""

from __future__ import annotations

import pickletools
import struct
from dataclasses import dataclass, field
from typing import IO, Any

LARGEST = 2**16
"""Bytes of a bytes object that are kept; screenshots are not what is looked for."""


class InertPickleError(ValueError):
    """Bytes that are no pickle, or one that needs more than data."""


@dataclass(slots=True)
class Opaque:
    """What a pickle would import or call, never imported and never called."""

    name: str
    arguments: Any = None
    state: Any = None


@dataclass(slots=True)
class _Machine:
    stack: list[Any] = field(default_factory=list)
    marks: list[int] = field(default_factory=list)
    memo: dict[int, Any] = field(default_factory=dict)

    def since_mark(self) -> list[Any]:
        start = self.marks.pop()
        taken = self.stack[start:]
        del self.stack[start:]
        return taken


NUMBERS = ("BININT", "BININT1", "BININT2", "INT", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT")
TEXTS = ("UNICODE", "SHORT_BINUNICODE", "BINUNICODE", "BINUNICODE8")
BYTES = ("STRING", "SHORT_BINSTRING", "BINSTRING", "SHORT_BINBYTES", "BINBYTES", "BINBYTES8", "BYTEARRAY8")
PUSH = frozenset((*NUMBERS, *TEXTS, *BYTES))
CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}
IGNORED = frozenset(("PROTO", "FRAME"))
TUPLES = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}


def load(file: IO[bytes]) -> Any:
    """The data of the pickle in a binary file; raises ``InertPickleError``."""
    machine = _Machine()
    try:
        for opcode, argument, _ in pickletools.genops(file):
            if opcode.name == "STOP":
                return machine.stack.pop()
            _step(machine, opcode.name, argument)
    except (ValueError, IndexError, KeyError, TypeError, AttributeError, struct.error, EOFError) as error:
        raise InertPickleError(f"no readable pickle: {error!r}") from error
    raise InertPickleError("the pickle has no end")


def _step(machine: _Machine, name: str, argument: Any) -> None:
    stack, memo = machine.stack, machine.memo
    if name in IGNORED:
        return
    if name in PUSH:
        large = isinstance(argument, bytes | bytearray) and len(argument) > LARGEST
        stack.append(Opaque("bytes", len(argument)) if large else argument)
    elif name in CONSTANTS:
        stack.append(CONSTANTS[name])
    elif name in ("MEMOIZE", "PUT", "BINPUT", "LONG_BINPUT"):
        memo[len(memo) if name == "MEMOIZE" else int(argument)] = stack[-1]
    elif name in ("GET", "BINGET", "LONG_BINGET"):
        stack.append(memo[int(argument)])
    elif name == "MARK":
        machine.marks.append(len(stack))
    elif name in ("POP", "DUP"):
        stack.append(stack[-1]) if name == "DUP" else stack.pop()
    elif name == "POP_MARK":
        machine.since_mark()
    else:
        _build(machine, name, argument)


def _build(machine: _Machine, name: str, argument: Any) -> None:
    stack = machine.stack
    if name in ("EMPTY_LIST", "EMPTY_DICT", "EMPTY_TUPLE", "EMPTY_SET"):
        stack.append({"EMPTY_LIST": list, "EMPTY_DICT": dict, "EMPTY_TUPLE": tuple, "EMPTY_SET": list}[name]())
    elif name in ("LIST", "TUPLE", "FROZENSET"):
        taken = machine.since_mark()
        stack.append(tuple(taken) if name == "TUPLE" else taken)
    elif name in TUPLES:
        taken = stack[-TUPLES[name] :]
        del stack[-TUPLES[name] :]
        stack.append(tuple(taken))
    elif name == "DICT":
        taken = machine.since_mark()
        stack.append(_pairs({}, taken))
    elif name == "APPEND":
        last = stack.pop()
        _extend(stack[-1], [last])
    elif name in ("APPENDS", "ADDITEMS"):
        taken = machine.since_mark()
        _extend(stack[-1], taken)
    elif name in ("SETITEM", "SETITEMS"):
        taken = machine.since_mark() if name == "SETITEMS" else [stack.pop(-2), stack.pop()]
        if isinstance(stack[-1], dict):
            _pairs(stack[-1], taken)
    elif name == "GLOBAL":
        stack.append(Opaque(str(argument).replace(" ", ".")))
    elif name == "STACK_GLOBAL":
        attribute, module = stack.pop(), stack.pop()
        stack.append(Opaque(f"{module}.{attribute}"))
    elif name in ("REDUCE", "NEWOBJ"):
        arguments, made = stack.pop(), stack.pop()
        stack.append(_number(Opaque(getattr(made, "name", "?"), arguments)))
    elif name == "NEWOBJ_EX":
        keywords, arguments, made = stack.pop(), stack.pop(), stack.pop()
        stack.append(Opaque(getattr(made, "name", "?"), (arguments, keywords)))
    elif name == "BUILD":
        state = stack.pop()
        if isinstance(stack[-1], Opaque):
            stack[-1].state = state
    else:
        raise InertPickleError(f"the opcode {name} asks for more than data")


def _extend(target: Any, values: list[Any]) -> None:
    if isinstance(target, list):  # a list subclass is an Opaque, whose content is not data we look at
        target.extend(values)


def _pairs(target: dict[Any, Any], flat: list[Any]) -> dict[Any, Any]:
    for key, value in zip(flat[::2], flat[1::2], strict=True):
        if isinstance(key, str | int | float | bool | None):
            target[key] = value
    return target


def _number(made: Opaque) -> Any:
    """The value of a pickled numpy float or bool scalar, which is eight or one little-endian bytes; else the Opaque."""
    scalar = made.name.startswith("numpy") and made.name.endswith(".scalar") and isinstance(made.arguments, tuple)
    if not scalar or len(made.arguments) != 2 or not isinstance(made.arguments[1], bytes):
        return made
    kind = made.arguments[0].arguments[0] if isinstance(made.arguments[0], Opaque) else None
    layout = {"f8": "<d", "f4": "<f", "b1": "<?", "i8": "<q", "i4": "<i"}.get(str(kind))
    return struct.unpack(layout, made.arguments[1])[0] if layout else made
