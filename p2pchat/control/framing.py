"""Bytes of the control connection <-> requests, replies and events.

Decides: what a line may be, and what is answered to one that is not. Does not know:
sockets, tasks, or which methods there are. Plain functions, standard library only:
both clients and the server share them, and a command loads nothing heavy.

Every line is one JSON-RPC 2.0 object, strict UTF-8, ended by a newline; what we write
is pure ASCII. Narrower than JSON-RPC 2.0 on purpose: no batches, params are always an
object, and every request has an id, for a call that is never answered could only
hide its failure.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any, Final, NamedTuple, TypeGuard

from p2pchat.errors import EXIT_CODES, CommandError, P2pchatError

CONTROL_VERSION: Final = 1
"""Number in the hello line; a client of another number explains itself instead of guessing."""

MAX_REQUEST: Final = 1 << 20
"""Bytes of a line to the daemon, newline excluded. A message is ≤ 32 KiB; this is room for
its worst JSON escaping and lists of paths, and bounds what one client can make us buffer."""

MAX_REPLY: Final = 16 << 20
"""Bytes of a line from the daemon. A page of 50 messages of 32 KiB may need 5 MiB escaped."""

MAX_ID: Final = 1 << 53
"""Integers beyond it change when a JSON reader keeps numbers as doubles."""

PARSE_ERROR: Final = -32700
INVALID_REQUEST: Final = -32600
METHOD_NOT_FOUND: Final = -32601
INVALID_PARAMS: Final = -32602

RequestId = int | str


class ControlProtocolError(P2pchatError):
    """A line that is no proper request. `code` is one of JSON-RPC 2.0's (section 5.1)."""

    def __init__(self, code: int, message: str, request_id: RequestId | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.request_id = request_id

    def answering(self, request_id: RequestId) -> ControlProtocolError:
        """The same, as the answer to that request."""
        return ControlProtocolError(self.code, self.message, request_id)


class Request(NamedTuple):
    """One call: answered exactly once, under the same id."""

    id: RequestId
    method: str
    params: dict[str, Any]


class LineBuffer:
    """Bytes in, whole lines out; never holds more than one line's limit plus one read."""

    def __init__(self, limit: int = MAX_REQUEST) -> None:
        self._limit = limit
        self._data = bytearray()
        self._searched = 0

    def receive_data(self, data: bytes | bytearray) -> None:
        """Take in what was read."""
        self._data += data

    def next_line(self) -> bytes | None:
        """The next line without its newline; None if more bytes are needed.

        ControlProtocolError if it exceeds the limit: the place of the next line is
        then unknown, so the connection must end.
        """
        end = self._data.find(b"\n", self._searched)
        length = len(self._data) if end < 0 else end
        if length > self._limit:
            raise ControlProtocolError(INVALID_REQUEST, f"a line is longer than {self._limit} bytes")
        if end < 0:
            self._searched = length
            return None
        line = bytes(self._data[:end])
        del self._data[: end + 1]
        self._searched = 0
        return line

    def rest(self) -> bytes:
        """What was read beyond the last line, for whoever reads on."""
        return bytes(self._data)


def decode_request(line: bytes) -> Request:
    """One line from a client as a request; raises ControlProtocolError and nothing else."""
    value = _parse(line)
    if not isinstance(value, dict):
        raise ControlProtocolError(INVALID_REQUEST, "a request is one object per line; there are no batches")
    request_id = value.get("id")
    if not _is_id(request_id):
        raise ControlProtocolError(
            INVALID_REQUEST, "'id' is missing or neither a short string nor an integer"
        )
    if value.get("jsonrpc") != "2.0":
        raise ControlProtocolError(INVALID_REQUEST, "'jsonrpc' is not \"2.0\"", request_id)
    unknown = sorted(set(value) - {"jsonrpc", "id", "method", "params"})
    if unknown:
        raise ControlProtocolError(INVALID_REQUEST, f"unknown member {_quote(unknown[0])}", request_id)
    method = value.get("method")
    if not isinstance(method, str) or not method or len(method) > 64:
        raise ControlProtocolError(INVALID_REQUEST, "'method' is missing or no short string", request_id)
    params = value.get("params", {})
    if not isinstance(params, dict):
        raise ControlProtocolError(INVALID_PARAMS, "'params' is no object", request_id)
    return Request(request_id, method, params)


def decode_object(line: bytes) -> dict[str, Any]:
    """One line from the daemon; ControlProtocolError if it is no JSON object."""
    value = _parse(line)
    if not isinstance(value, dict):
        raise ControlProtocolError(INVALID_REQUEST, "not an object")
    return value


def encode(value: Mapping[str, Any], limit: int = MAX_REPLY) -> bytes:
    """`value` as one line, newline included.

    CommandError `too_long` if it exceeds `limit` bytes; TypeError, ValueError or
    RecursionError for what JSON cannot say (a bug of the caller).
    """
    line = json.dumps(value, separators=(",", ":"), allow_nan=False).encode("ascii")
    if len(line) > limit:
        raise CommandError("too_long", f"{len(line)} bytes are too many for one line", "ask for less at once")
    return line + b"\n"


def hello(pid: int, version: str) -> dict[str, Any]:
    """The first object a daemon sends."""
    return {"p2pchat": CONTROL_VERSION, "pid": pid, "version": version}


def request(request_id: RequestId, method: str, params: Mapping[str, Any]) -> bytes:
    """A call as a line; CommandError `too_long` above 1 MiB."""
    message = {"jsonrpc": "2.0", "id": request_id, "method": method, "params": params}
    return encode(message, MAX_REQUEST)


def result(request_id: RequestId, value: object) -> dict[str, Any]:
    """The answer to a call that went well."""
    return {"jsonrpc": "2.0", "id": request_id, "result": value}


def failure(request_id: RequestId | None, error: CommandError) -> dict[str, Any]:
    """The answer to a call that could not be done: the exit code is the error code."""
    return {"jsonrpc": "2.0", "id": request_id, "error": error_object(error)}


def error_object(error: CommandError) -> dict[str, Any]:
    """`{"code", "message", "data": {"kind", "hint"}}`, and `result` where part of the work was done."""
    data: dict[str, Any] = {"kind": error.kind, "hint": error.hint}
    if error.result is not None:
        data["result"] = error.result
    return {"code": error.code, "message": error.message, "data": data}


def refusal(error: ControlProtocolError) -> dict[str, Any]:
    """The answer to a line that was no proper request; its id is null if it could not be read."""
    body = {"code": error.code, "message": error.message, "data": {"kind": "usage", "hint": ""}}
    return {"jsonrpc": "2.0", "id": error.request_id, "error": body}


def event(subscription: int, item: Mapping[str, Any]) -> dict[str, Any]:
    """One item of a subscription."""
    return {"jsonrpc": "2.0", "method": "event", "params": {"subscription": subscription, "event": item}}


def end(subscription: int, error: CommandError | None = None) -> dict[str, Any]:
    """The last word on a subscription: it ended by itself, or why it could not go on."""
    params: dict[str, Any] = {"subscription": subscription}
    if error is not None:
        params["error"] = error_object(error)
    return {"jsonrpc": "2.0", "method": "end", "params": params}


def subscription_of(message: Mapping[str, Any]) -> tuple[int, Mapping[str, Any]] | None:
    """Number and params of what the daemon says about a subscription; None for anything else."""
    params = message.get("params")
    if not isinstance(params, dict) or type(params.get("subscription")) is not int:
        return None
    return params["subscription"], params


def read_error(error: object) -> CommandError:
    """An error object of the daemon as the exception a command shows.

    A kind this version does not know (a newer daemon) becomes `failed`; a method the
    daemon does not know (an older one) says what helps.
    """
    body = error if isinstance(error, dict) else {}
    data = body.get("data") if isinstance(body.get("data"), dict) else {}
    assert isinstance(data, dict)
    message = str(body.get("message", "the daemon gave no reason"))
    if body.get("code") == METHOD_NOT_FOUND:
        return CommandError("failed", message, "restart the daemon: p2pchat down, then p2pchat up")
    kind = data.get("kind")
    known = kind if isinstance(kind, str) and kind in EXIT_CODES else "failed"
    return CommandError(known, message, str(data.get("hint", "")), data.get("result"))


def _parse(line: bytes) -> Any:
    """JSON as RFC 8259 has it: no NaN, no infinity by overflow, no lone surrogates."""
    try:
        text = line.decode("utf-8")
        value = json.loads(text, parse_float=_finite, parse_constant=_no_constant)
        if "\\ud" in text or "\\uD" in text:
            # an escape may smuggle in half a character that no later encoding takes
            json.dumps(value, ensure_ascii=False).encode("utf-8")
    except UnicodeDecodeError:
        raise ControlProtocolError(PARSE_ERROR, "the line is not UTF-8") from None
    except UnicodeEncodeError:
        raise ControlProtocolError(PARSE_ERROR, "the line holds half a surrogate pair") from None
    except RecursionError:
        raise ControlProtocolError(PARSE_ERROR, "the line is nested too deeply") from None
    except ValueError:
        raise ControlProtocolError(PARSE_ERROR, "the line is not JSON") from None
    return value


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError("out of range")
    return number


def _no_constant(text: str) -> float:
    raise ValueError(text)


def _is_id(value: object) -> TypeGuard[RequestId]:
    if isinstance(value, bool):
        return False
    return (isinstance(value, int) and abs(value) <= MAX_ID) or (isinstance(value, str) and len(value) <= 64)


def _quote(text: str) -> str:
    """A foreign name short and printable enough for an error message."""
    return ascii(text if len(text) <= 40 else text[:40] + "…")
