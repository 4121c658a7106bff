"""What a line may be, and what is said of one that is not."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from p2pchat.control import framing
from p2pchat.control.framing import ControlProtocolError, LineBuffer, Request
from p2pchat.errors import EXIT_CODES, CommandError

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)
params = st.dictionaries(st.text(), json_values, max_size=4)
ids = st.integers(-framing.MAX_ID, framing.MAX_ID) | st.text(max_size=64)


@given(ids, st.text(min_size=1, max_size=64), params)
def test_a_request_comes_back_as_sent(number: int | str, method: str, given_params: dict[str, Any]) -> None:
    line = framing.request(number, method, given_params)
    assert line.endswith(b"\n")
    assert b"\n" not in line[:-1]
    assert line.isascii()
    assert framing.decode_request(line[:-1]) == Request(number, method, given_params)


@given(st.binary(max_size=200) | json_values.map(lambda value: json.dumps(value).encode()))
@example(b"[" * 100_000)
@example(b'{"a":' * 100_000)
@example(b"1" * 10_000)
@example(b'{"jsonrpc":"2.0","id":1,"method":"a","params":' + b'{"a":' * 900 + b"1" + b"}" * 900 + b"}")
@example(b'{"jsonrpc":"2.0","id":{},"method":[],"params":""}')
def test_any_bytes_give_a_request_or_the_declared_error(line: bytes) -> None:
    try:
        request = framing.decode_request(line)
    except ControlProtocolError as error:
        answer = framing.refusal(error)
        assert framing.decode_object(framing.encode(answer)) == answer
    else:
        assert isinstance(request, Request)


def call(**changes: object) -> bytes:
    message = {"jsonrpc": "2.0", "id": 7, "method": "m", "params": {}} | changes
    return json.dumps({key: value for key, value in message.items() if value is not ...}).encode()


@pytest.mark.parametrize(
    ("line", "code", "request_id", "says"),
    [
        (b"", -32700, None, "not JSON"),
        (b"{", -32700, None, "not JSON"),
        (b"\xff{}", -32700, None, "not UTF-8"),
        (b'"\xed\xa0\x80"', -32700, None, "not UTF-8"),
        (call(params={"text": "\ud800"}), -32700, None, "half a surrogate"),
        (call(params={"\udfff": 1}), -32700, None, "half a surrogate"),
        (b'{"jsonrpc":"2.0","id":1,"method":"m","params":{"n":NaN}}', -32700, None, "not JSON"),
        (b'{"jsonrpc":"2.0","id":1,"method":"m","params":{"n":1e999}}', -32700, None, "not JSON"),
        (b"[" * 50_000 + b"]" * 50_000, -32700, None, "nested too deeply"),
        (b"[]", -32600, None, "no batches"),
        (b"1", -32600, None, "one object"),
        (call(id=...), -32600, None, "'id'"),
        (call(id=None), -32600, None, "'id'"),
        (call(id=True), -32600, None, "'id'"),
        (call(id=1.0), -32600, None, "'id'"),
        (call(id=framing.MAX_ID + 1), -32600, None, "'id'"),
        (call(id="x" * 65), -32600, None, "'id'"),
        (call(jsonrpc="1.0"), -32600, 7, "'jsonrpc'"),
        (call(jsonrpc=...), -32600, 7, "'jsonrpc'"),
        (call(method=...), -32600, 7, "'method'"),
        (call(method=""), -32600, 7, "'method'"),
        (call(method=4), -32600, 7, "'method'"),
        (call(method="m" * 65), -32600, 7, "'method'"),
        (call(param={}), -32600, 7, "unknown member 'param'"),
        (call(params=[1]), -32602, 7, "'params'"),
        (call(params=None), -32602, 7, "'params'"),
    ],
)
def test_what_is_no_request_is_told_exactly(
    line: bytes, code: int, request_id: int | None, says: str
) -> None:
    with pytest.raises(ControlProtocolError) as caught:
        framing.decode_request(line)
    assert caught.value.code == code
    assert caught.value.request_id == request_id
    assert says in caught.value.message
    answer = framing.refusal(caught.value)
    assert answer["error"]["code"] == code
    assert answer["id"] == request_id


def test_params_may_be_left_out_and_pairs_of_surrogates_are_text() -> None:
    assert framing.decode_request(call(params=...)).params == {}
    assert framing.decode_request(call(params={"text": "\U0001f600"})).params == {"text": "\U0001f600"}


@given(st.lists(st.binary(max_size=30).filter(lambda line: b"\n" not in line), max_size=6), st.data())
def test_any_split_of_the_bytes_gives_the_same_lines(lines: list[bytes], data: st.DataObject) -> None:
    stream = b"".join(line + b"\n" for line in lines)
    buffer, seen = LineBuffer(), []
    while stream:
        size = data.draw(st.integers(1, len(stream)))
        buffer.receive_data(stream[:size])
        stream = stream[size:]
        while (line := buffer.next_line()) is not None:
            seen.append(line)
    assert seen == lines
    assert buffer.rest() == b""


@pytest.mark.parametrize("newline", [b"", b"\n"])
def test_a_line_may_have_the_limit_and_no_byte_more(newline: bytes) -> None:
    fits = LineBuffer(limit=10)
    fits.receive_data(b"x" * 10)
    assert fits.next_line() is None
    fits.receive_data(b"\nrest")
    assert fits.next_line() == b"x" * 10
    assert fits.rest() == b"rest"

    too_long = LineBuffer(limit=10)
    too_long.receive_data(b"x" * 11 + newline)
    with pytest.raises(ControlProtocolError, match="longer than 10 bytes"):
        too_long.next_line()


def test_a_call_above_the_limit_is_not_sent() -> None:
    with pytest.raises(CommandError) as caught:
        framing.request(1, "send", {"text": "x" * framing.MAX_REQUEST})
    assert caught.value.kind == "too_long"
    room = framing.MAX_REQUEST - len(framing.request(1, "send", {"text": ""})) + 1
    assert len(framing.request(1, "send", {"text": "x" * room})) == framing.MAX_REQUEST + 1


@pytest.mark.parametrize("kind", sorted(EXIT_CODES))
def test_every_kind_of_failure_crosses_the_wire(kind: str) -> None:
    error = CommandError(kind, "no room 'launch'", "p2pchat room list")
    back = framing.read_error(json.loads(framing.encode(framing.error_object(error))))
    assert (back.kind, back.message, back.hint, back.code) == (kind, error.message, error.hint, error.code)


@pytest.mark.parametrize(
    ("body", "kind", "message"),
    [
        ({"code": 44, "message": "m", "data": {"kind": "from_the_future"}}, "failed", "m"),
        ({"code": 1, "message": "m", "data": {"kind": []}}, "failed", "m"),
        ({"code": 1}, "failed", "the daemon gave no reason"),
        ("junk", "failed", "the daemon gave no reason"),
        ({"code": -32601, "message": "no method 'x'"}, "failed", "no method 'x'"),
    ],
)
def test_what_another_version_says_is_still_one_clear_error(body: object, kind: str, message: str) -> None:
    error = framing.read_error(body)
    assert (error.kind, error.message) == (kind, message)


def test_a_method_the_daemon_does_not_know_comes_with_what_helps() -> None:
    error = ControlProtocolError(framing.METHOD_NOT_FOUND, "no method 'x'").answering(3)
    assert "restart the daemon" in framing.read_error(framing.refusal(error)["error"]).hint


def test_json_from_the_daemon_must_be_an_object() -> None:
    assert framing.decode_object(b'{"a":1}') == {"a": 1}
    for line in (b"[]", b"x"):
        with pytest.raises(ControlProtocolError):
            framing.decode_object(line)
