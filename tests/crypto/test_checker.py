"""The checking process: its bytes, its verdicts, and how it ends."""

from __future__ import annotations

import io
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from p2pchat.crypto import checker
from p2pchat.crypto.checker import MAX_JOB, Answer, AnswerReader, Signed, encode_job, serve
from p2pchat.crypto.primitives import ed25519_keypair, ed25519_sign
from p2pchat.errors import LocalProtocolError

HEAD = 8
END_S = 20.0


def signed(text: bytes, seed: int = 1) -> Signed:
    public, key = ed25519_keypair(bytes([seed]) * 32)
    return Signed(public, ed25519_sign(key, text), text)


GOOD = signed(b"one")
FORGED = GOOD._replace(message=b"two")
OTHERS = GOOD._replace(key=signed(b"", 2).key)
EMPTY = signed(b"")


def said(data: bytes) -> bytes:
    """What the process would write for this input."""
    jobs, answers = io.BytesIO(data), io.BytesIO()
    serve(jobs.read, answers.write)
    return answers.getvalue()


def answers(data: bytes) -> list[Answer]:
    reader = AnswerReader()
    reader.receive_data(data)
    return list(iter(reader.next_event, None))


def test_each_signature_has_its_verdict_and_each_job_its_answer() -> None:
    jobs = encode_job(7, [GOOD, FORGED, EMPTY]) + encode_job(8, []) + encode_job(2**32 - 1, [OTHERS])
    assert answers(said(jobs)) == [Answer(7, b"\1\0\1"), Answer(8, b""), Answer(2**32 - 1, b"\0")]


def test_a_job_byte_by_byte() -> None:
    raw = encode_job(258, [GOOD])
    assert raw[:8] == bytes.fromhex("00000102 00000067")
    assert raw[8:] == GOOD.key + GOOD.signature + bytes.fromhex("00000003") + b"one"
    assert said(raw) == bytes.fromhex("00000102 00000001 01")


def test_an_input_that_ends_inside_a_job_is_an_end_and_no_answer() -> None:
    whole = encode_job(1, [GOOD])
    for cut in range(len(whole)):
        assert said(whole + whole[:cut]) == said(whole)


@pytest.mark.parametrize(
    "raw",
    [
        bytes.fromhex("00000001 7fffffff"),
        bytes.fromhex("00000001 00000001 00"),
        encode_job(1, [GOOD])[:4] + bytes.fromhex("00000065") + encode_job(1, [GOOD])[8:],
        encode_job(1, [GOOD])[:4] + bytes.fromhex("000000ca") + encode_job(1, [GOOD])[8:] + bytes(99),
    ],
    ids=["too long", "no item", "cut in a message", "cut in the next item"],
)
def test_what_is_no_job_ends_the_process(raw: bytes) -> None:
    with pytest.raises(LocalProtocolError):
        said(raw)


@pytest.mark.parametrize(
    "one",
    [
        GOOD._replace(key=bytes(31)),
        GOOD._replace(signature=bytes(65)),
        GOOD._replace(signature=b""),
        GOOD._replace(message=bytes(MAX_JOB)),
    ],
)
def test_what_does_not_fit_a_job_is_refused_by_who_asks(one: Signed) -> None:
    with pytest.raises(LocalProtocolError):
        encode_job(1, [GOOD, one])


def test_answers_come_in_any_pieces() -> None:
    raw = said(encode_job(1, [GOOD, FORGED]) + encode_job(2, [GOOD]))
    reader, found = AnswerReader(), []
    for byte in raw:
        reader.receive_data(bytes([byte]))
        found += list(iter(reader.next_event, None))
    assert found == [Answer(1, b"\1\0"), Answer(2, b"\1")]


@pytest.mark.parametrize("raw", ["00000001 00000001 02", "00000001 00000002 01ff", "00000001 00010000"])
def test_what_is_no_answer_is_not_taken_for_one(raw: str) -> None:
    with pytest.raises(LocalProtocolError):
        answers(bytes.fromhex(raw))


# -- as a process ----------------------------------------------------------------------------------


@contextmanager
def process() -> Iterator[subprocess.Popen[bytes]]:
    words = [sys.executable, "-I", "-S", "-c", checker.BOOT, *(path for path in sys.path if path)]
    pipe = subprocess.PIPE
    with subprocess.Popen(words, stdin=pipe, stdout=pipe, stderr=pipe) as child:
        try:
            yield child
        finally:
            child.kill()


def test_the_process_answers_and_ends_with_its_input() -> None:
    with process() as child:
        out, trouble = child.communicate(encode_job(1, [GOOD, FORGED]), END_S)
    assert (answers(out), trouble, child.returncode) == ([Answer(1, b"\1\0")], b"", 0)


def test_a_signal_from_the_keyboard_is_not_for_it() -> None:
    with process() as child:
        assert child.stdin is not None
        assert child.stdout is not None
        child.stdin.write(encode_job(1, [GOOD]))
        child.stdin.flush()
        first = child.stdout.read(HEAD + 1)
        child.send_signal(signal.SIGINT)
        out, trouble = child.communicate(encode_job(2, [FORGED]), END_S)
    assert answers(first + out) == [Answer(1, b"\1"), Answer(2, b"\0")]
    assert (trouble, child.returncode) == (b"", 0)


def test_it_ends_without_a_word_if_nobody_listens_any_more() -> None:
    with process() as child:
        assert child.stdout is not None
        child.stdout.close()
        assert child.stdin is not None
        child.stdin.write(encode_job(1, [GOOD]))
        child.stdin.close()
        assert child.stderr is not None
        trouble = child.stderr.read()
        assert child.wait(END_S) == 0
    assert trouble == b""


def test_it_loads_no_more_than_it_needs() -> None:
    code = "import sys, p2pchat.crypto.checker; print(*sorted({name.split('.')[0] for name in sys.modules}))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = done.stdout.split()
    assert "nacl" in loaded
    assert not {"trio", "msgspec", "sqlite3", "asyncio", "logging"} & set(loaded)
