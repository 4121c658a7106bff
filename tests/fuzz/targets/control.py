"""What a client of the control socket may write: lines, requests and their parameters."""

from __future__ import annotations

import json

from p2pchat.control.framing import ControlProtocolError, LineBuffer, decode_object, decode_request
from p2pchat.control.framing import request as ask
from p2pchat.control.operations import all_operations
from p2pchat.control.operations.table import check
from p2pchat.errors import CommandError

_OPERATIONS = all_operations()
_METHODS = sorted(_OPERATIONS)
_LIMIT = 4096


def seeds() -> list[bytes]:
    found = []
    for number, method in enumerate(_METHODS):
        params = {name: _example(param) for name, param in _parameters(method).items()}
        found.append(bytes((number % 256,)) + ask(1, method, params))
    found += [
        b"\0" + line
        for line in (
            b'{"jsonrpc":"2.0","id":1,"method":"status","params":{}}\n{"id":2}\n',
            b'{"jsonrpc":"2.0","id":"\\ud800","method":"x"}\n',
            b'{"a":1e999}\n[]\nnull\n\xff\n',
            b'{"jsonrpc":"2.0","id":1,"method":"send","params":{"text":"\\ud83d\\ude00","target":[1]}}\n',
            b"[" * 3000 + b"\n",
            b'{"id":' + b"9" * 400 + b"}\n",
        )
    ]
    return found


def _parameters(method: str) -> dict[str, object]:
    operation = _OPERATIONS[method]
    return {param.name: param for param in operation.params}


def _example(param: object) -> object:
    text = str(getattr(param, "type", ""))
    if "bool" in text:
        return True
    if "int" in text:
        return 7
    if "list" in text or "tuple" in text:
        return ["x"]
    return "word"


def one_input(data: bytes) -> None:
    """First byte: an operation to check the parameters of, whatever method is named."""
    if not data:
        return
    lines = LineBuffer(_LIMIT)
    for at in range(1, len(data), 1024):
        lines.receive_data(data[at : at + 1024])
        try:
            while (line := lines.next_line()) is not None:
                _line(line, _METHODS[data[0] % len(_METHODS)])
        except ControlProtocolError:
            break  # too long: the connection ends
    assert len(lines.rest()) <= _LIMIT + 1024


def _line(line: bytes, method: str) -> None:
    try:
        decode_object(line)
        request = decode_request(line)
    except ControlProtocolError as refused:
        _sentence(refused.message)
        return
    for name in dict.fromkeys((request.method, method)):
        operation = _OPERATIONS.get(name)
        if operation is None:
            continue
        try:
            checked = check(operation, request.params)
        except CommandError as refused:
            _sentence(refused.message)
            continue
        json.dumps(checked)
        assert set(checked) == set(_parameters(name))


def _sentence(said: str) -> None:
    """Short, and of characters that can be written."""
    assert len(said.encode()) < 500
