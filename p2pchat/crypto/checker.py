"""The checking process: signatures come in over a pipe, one byte for each goes back.

Decides: the bytes of a job and of its answer, and what a process started with BOOT does with
them: verify, until its input ends. Does not know: whose signatures they are, who asks, or how
the process is started and ended (daemon/checking.py). It holds no secret.

    job      number u32 ‖ length u32 ‖ items of: key (32) ‖ signature (64) ‖ length u32 ‖ message
    answer   number u32 ‖ count u32 ‖ a byte for each item, 1 if its signature holds, else 0

Both ends are this file of one installation, so nothing is versioned. Numbers are big-endian.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator, Sequence
from typing import Final, NamedTuple

from p2pchat.crypto.primitives import KEY_BYTES, SIGNATURE_BYTES, ed25519_verify
from p2pchat.errors import LocalProtocolError

BOOT: Final = (
    "import signal, sys; signal.signal(signal.SIGINT, signal.SIG_IGN); sys.path[:] = sys.argv[1:]; "
    "from p2pchat.crypto.checker import main; main()"
)
"""What the interpreter is told with -c; its arguments are the search path. Ctrl-C is the asker's affair."""
MAX_JOB: Final = 256 * 1024
"""Bytes of a job after its head: several times what the signatures of one frame can come to."""

_HEAD: Final = struct.Struct(">II")
_ITEM: Final = struct.Struct(f">{KEY_BYTES}s{SIGNATURE_BYTES}sI")


class Signed(NamedTuple):
    """A signature to be verified."""

    key: bytes
    signature: bytes
    message: bytes


class Answer(NamedTuple):
    """What came back for the job of that number."""

    number: int
    verdicts: bytes


def holds(one: Signed) -> bool:
    """Whether the signature is by that key over that message."""
    return ed25519_verify(one.key, one.message, one.signature)


def encode_job(number: int, signed: Sequence[Signed]) -> bytes:
    """The bytes of a job; LocalProtocolError for keys or signatures of wrong length, or too many bytes."""
    parts = [b""]
    for key, signature, message in signed:
        if len(key) != KEY_BYTES or len(signature) != SIGNATURE_BYTES:
            raise LocalProtocolError("a key or a signature of wrong length to be checked elsewhere")
        parts += _ITEM.pack(key, signature, len(message)), message
    size = sum(map(len, parts))
    if size > MAX_JOB:
        raise LocalProtocolError(f"{size} bytes to be checked at once, more than {MAX_JOB}")
    parts[0] = _HEAD.pack(number, size)
    return b"".join(parts)


class AnswerReader:
    """Answers out of a stream of bytes."""

    def __init__(self) -> None:
        self._data = bytearray()

    def receive_data(self, data: bytes) -> None:
        """Bytes as they come."""
        self._data += data

    def next_event(self) -> Answer | None:
        """The next whole answer; None if there is none yet. LocalProtocolError if it cannot be one."""
        if len(self._data) < _HEAD.size:
            return None
        number, count = _HEAD.unpack_from(self._data)
        if count * _ITEM.size > MAX_JOB:
            raise LocalProtocolError(f"{count} verdicts, more than a job can ask for")
        end = _HEAD.size + count
        if len(self._data) < end:
            return None
        verdicts = bytes(self._data[_HEAD.size : end])
        if verdicts.strip(b"\0\1"):
            raise LocalProtocolError("a verdict that is neither yes nor no")
        del self._data[:end]
        return Answer(number, verdicts)


# -- inside the process -----------------------------------------------------------------------


def answer(number: int, items: bytes) -> bytes:
    """The answer to a job; LocalProtocolError if its bytes are none."""
    verdicts = bytes(map(holds, _read(items)))
    return _HEAD.pack(number, len(verdicts)) + verdicts


def _read(items: bytes) -> Iterator[Signed]:
    at = 0
    while at < len(items):
        if len(items) - at < _ITEM.size:
            raise LocalProtocolError("a job that ends inside an item")
        key, signature, size = _ITEM.unpack_from(items, at)
        at += _ITEM.size + size
        if at > len(items):
            raise LocalProtocolError("a job that ends inside a message")
        yield Signed(key, signature, items[at - size : at])


def serve(read: Callable[[int], bytes], write: Callable[[bytes], object]) -> None:
    """Answer every job that `read` brings, in order, until the input ends, inside a job or after one.

    `read(n)` gives n bytes, fewer only at the end; LocalProtocolError for what is no job.
    """
    while len(head := read(_HEAD.size)) == _HEAD.size:
        number, size = _HEAD.unpack(head)
        if size > MAX_JOB:
            raise LocalProtocolError(f"a job of {size} bytes, more than {MAX_JOB}")
        items = read(size)
        if len(items) < size:
            return
        write(answer(number, items))


def main() -> None:
    """Serve stdin and stdout. Whoever asked ends it by closing them, or by ending himself."""
    with open(0, "rb", closefd=False) as jobs, open(1, "wb", buffering=0, closefd=False) as answers:

        def write(data: bytes) -> None:
            while data:
                data = data[answers.write(data) :]

        try:
            serve(jobs.read, write)
        except BrokenPipeError:  # nobody wants the answer any more
            return
