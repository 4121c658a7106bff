"""The shape of an operation, and the strict check of what a client sends.

Decides: which parameter types exist on the control socket and what is refused there.
Does not know: any particular operation, the socket, or who carries an operation out.

Imports nothing outside the standard library and the error tree, so that a command may
read the tables without paying for the daemon's imports.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from p2pchat.errors import CommandError

Value = str | int | float | bool | None | list[str]
"""What a parameter may hold after the check."""

REQUIRED: Final = "\0required"
"""Default of a parameter that has none."""

MAX_STRING: Final = 64 * 1024
"""Longest string parameter: no operation takes more than one event's text (32 KiB)."""

MAX_LIST: Final = 1024
"""Most entries of a list parameter: one screenful of ids to confirm, generously."""


class Param(NamedTuple):
    """One parameter of an operation.

    `type` is one of `str int number bool list` (`list` holds strings; `number` takes
    whole and broken numbers, seconds mostly). A parameter whose default is None may be
    null or absent. `choices` closes the set of values of a `str`.
    """

    name: str
    type: str
    doc: str
    default: Value = REQUIRED
    choices: tuple[str, ...] = ()


class Operation(NamedTuple):
    """One method of the control socket: its name, what it takes, what it answers.

    `result` describes the answer in the words of docs/control.md. `stream` marks the
    subscription, whose answer is a sequence of objects.
    """

    method: str
    doc: str
    params: tuple[Param, ...]
    result: str
    stream: bool = False


def check(operation: Operation, given: object) -> dict[str, Value]:
    """`given` as a full set of parameters, defaults filled in.

    Raises CommandError `usage` for an unknown, missing or ill-typed parameter; the
    sentence quotes the parameter and the value.
    """
    if not isinstance(given, dict):
        raise CommandError("usage", f"parameters of {operation.method!r} must be an object", _hint(operation))
    known = {param.name: param for param in operation.params}
    for name in given:
        if name not in known:
            raise CommandError(
                "usage", f"{operation.method!r} knows no parameter {_brief(name)}", _hint(operation)
            )
    return {name: _value(operation, param, given) for name, param in known.items()}


def _value(operation: Operation, param: Param, given: dict[str, object]) -> Value:
    value = given.get(param.name, param.default)
    if value is REQUIRED:
        raise CommandError("usage", f"{operation.method!r} needs {param.name!r}", _hint(operation))
    if value is None and param.default is None:
        return None
    checked = _typed(param, value)
    if checked is None:
        raise CommandError(
            "usage", f"{param.name!r} must be {_expected(param)}, not {_brief(value)}", _hint(operation)
        )
    return checked


def _typed(param: Param, value: object) -> Value:
    """`value` if it has the type of `param`, else None."""
    match param.type:
        case "bool" if isinstance(value, bool):
            return value
        case "int" if isinstance(value, int) and not isinstance(value, bool):
            return value if -(2**63) <= value < 2**63 else None
        case "number" if isinstance(value, int | float) and not isinstance(value, bool):
            # NaN and infinities survive json.loads; no deadline can be made of them.
            return float(value) if -1e12 < value < 1e12 else None
        case "str" if isinstance(value, str):
            return value if _fits(value) and (not param.choices or value in param.choices) else None
        case "list" if isinstance(value, list) and len(value) <= MAX_LIST:
            strings = [item for item in value if isinstance(item, str) and _fits(item)]
            return strings if len(strings) == len(value) else None
    return None


def _fits(text: str) -> bool:
    # A lone surrogate can be written in JSON but not in UTF-8, hence neither stored nor sent.
    if len(text) > MAX_STRING:
        return False
    return text.isascii() or not any("\ud800" <= c <= "\udfff" for c in text)


def _expected(param: Param) -> str:
    if param.choices:
        return "one of " + " ".join(repr(choice) for choice in param.choices)
    return {
        "str": "a string",
        "int": "a whole number",
        "number": "a number",
        "bool": "true or false",
        "list": "a list of strings",
    }[param.type]


def _hint(operation: Operation) -> str:
    names = " ".join(param.name for param in operation.params) or "none"
    return f"parameters of {operation.method}: {names}"


def _brief(value: object) -> str:
    shown = ascii(value)
    return shown if len(shown) <= 60 else shown[:57] + "..."
