"""SPAKE2 against arithmetic written down a second time, and the RFC's points against their seeds.

The RFC has vectors for P-256 only. So here stand the formulas of RFC 8032 and RFC 9382 in plain
integers, that share no line with libsodium, and the search that RFC 9382, appendix B, says
M and N came from.
"""

from __future__ import annotations

import hashlib
import random

import pytest

from p2pchat.crypto import pake
from p2pchat.errors import CommandError, LocalProtocolError, RemoteProtocolError

P = 2**255 - 19
L = 2**252 + 27742317777372353535851937790883648493
D = -121665 * pow(121666, P - 2, P) % P
Point = tuple[int, int]
BASE_Y = 4 * pow(5, P - 2, P) % P


def _x_of(y: int, sign: int) -> int | None:
    square = (y * y - 1) * pow(D * y * y + 1, P - 2, P) % P
    x = pow(square, (P + 3) // 8, P)
    if (x * x - square) % P:
        x = x * pow(2, (P - 1) // 4, P) % P
    if (x * x - square) % P:
        return None
    return P - x if x % 2 != sign else x


def _decode(raw: bytes) -> Point | None:
    value = int.from_bytes(raw, "little")
    y, sign = value % 2**255, value >> 255
    x = _x_of(y, sign) if y < P else None
    return None if x is None else (x % P, y)


def _encode(point: Point) -> bytes:
    return (point[1] | (point[0] & 1) << 255).to_bytes(32, "little")


def _add(one: Point, other: Point) -> Point:
    (x1, y1), (x2, y2) = one, other
    k = D * x1 * x2 * y1 * y2 % P
    x = (x1 * y2 + x2 * y1) * pow(1 + k, P - 2, P) % P
    return x, (y1 * y2 + x1 * x2) * pow(1 - k, P - 2, P) % P


def _times(scalar: int, point: Point) -> Point:
    result: Point = (0, 1)
    while scalar:
        if scalar & 1:
            result = _add(result, point)
        point, scalar = _add(point, point), scalar >> 1
    return result


def _base() -> Point:
    x = _x_of(BASE_Y, 0)
    assert x is not None
    return x, BASE_Y


def _from_seed(seed: bytes) -> bytes:
    """RFC 9382, appendix B: hash on until the hash is a point of the prime-order group."""
    digest = seed
    while True:
        digest = hashlib.sha256(digest).digest()
        point = _decode(digest)
        if point is not None and _times(L, point) == (0, 1) and point != (0, 1):
            return _encode(point)


@pytest.mark.parametrize(("name", "point"), [(b"M", pake.M), (b"N", pake.N)])
def test_points_come_from_their_seeds(name: bytes, point: bytes) -> None:
    assert _from_seed(b"edwards25519 point generation seed (" + name + b")") == point


def _run(first: pake.Code, second: pake.Code, seed: int) -> tuple[bytes, bytes]:
    rng = random.Random(seed)
    one = pake.Spake2(first, initiator=True, chance=rng.randbytes(64))
    other = pake.Spake2(second, initiator=False, chance=rng.randbytes(64))
    return one.finish(other.message), other.finish(one.message)


def test_the_same_code_gives_the_same_key_and_another_does_not() -> None:
    code = pake.make_code(random.Random(1).randbytes)
    mine, theirs = _run(code, pake.parse_code(code.text.lower()), 2)
    assert mine == theirs
    near = pake.Code(code.slot, code.secret[:-1] + ("Z" if code.secret[-1] != "Z" else "Y"))
    left, right = _run(code, near, 2)
    assert len({mine, left, right}) == 3


@pytest.mark.parametrize("seed", range(3))
def test_every_step_agrees_with_plain_integers(seed: int) -> None:
    rng = random.Random(seed)
    code, chances = pake.make_code(rng.randbytes), (rng.randbytes(64), rng.randbytes(64))
    one = pake.Spake2(code, initiator=True, chance=chances[0])
    other = pake.Spake2(code, initiator=False, chance=chances[1])
    digest = hashlib.blake2b(b"p2pchat/pake-code/1" + code.text.replace("-", "").encode()).digest()
    w = int.from_bytes(digest, "little") % L
    x, y = (int.from_bytes(chance, "little") % L for chance in chances)
    m, n = _decode(pake.M), _decode(pake.N)
    assert m is not None
    assert n is not None
    first = _encode(_add(_times(w, m), _times(x, _base())))
    second = _encode(_add(_times(w, n), _times(y, _base())))
    assert (one.message, other.message) == (first, second)
    shared = _encode(_times(8 * x * y, _base()))
    parts = (b"p2pchat device join", b"p2pchat device link", first, second, shared, w.to_bytes(32, "big"))
    transcript = b"".join(len(part).to_bytes(8, "little") + part for part in parts)
    assert one.finish(second) == other.finish(first) == hashlib.sha512(transcript).digest()[:32]


def test_what_is_no_point_of_the_group_is_refused() -> None:
    code = pake.make_code(random.Random(3).randbytes)
    side = pake.Spake2(code, initiator=True, chance=random.Random(4).randbytes(64))
    neutral = (1).to_bytes(32, "little")
    order_two = (P - 1).to_bytes(32, "little")
    too_large = (P + 3).to_bytes(32, "little")
    off_curve = next(raw for raw in (n.to_bytes(32, "little") for n in range(2, 50)) if _decode(raw) is None)
    torsion = _decode(side.message)
    assert torsion is not None
    mixed = _encode(_add(torsion, (0, P - 1)))
    for bad in (neutral, order_two, too_large, off_curve, mixed, b"", bytes(31), bytes(33)):
        with pytest.raises(RemoteProtocolError):
            side.finish(bad)
    masked = _times(int.from_bytes(pake.scalar_of(code), "little"), _decode(pake.N) or (0, 1))
    with pytest.raises(RemoteProtocolError):  # a masked nothing: the key would be known to everybody
        side.finish(_encode(masked))


def test_codes_are_read_as_people_type_them() -> None:
    code = pake.parse_code("k7qm-3xfd")
    assert (code.text, code.slot, code.secret) == ("K7QM-3XFD", "K7", "QM3XFD")
    assert pake.parse_code(" K7Q M3 x-fd ") == code
    assert pake.parse_code("ILO0-0000").text == "1100-0000"
    assert "QM3XFD" not in repr(code)
    for text in ("", "K7QM", "K7QM-3XFDD", "K7QM-3XF!", "K7QM-3XFU"):
        with pytest.raises(CommandError) as caught:
            pake.parse_code(text)
        assert caught.value.kind == "usage"
    with pytest.raises(LocalProtocolError):
        pake.Spake2(code, initiator=True, chance=b"short")


def test_codes_use_all_letters_evenly() -> None:
    rng = random.Random(5)
    letters = "".join(pake.make_code(rng.randbytes).text.replace("-", "") for _ in range(2000))
    counts = [letters.count(letter) for letter in pake.ALPHABET]
    assert min(counts) > 400  # 500 expected of each; 400 is more than four deviations away
    assert set(letters) <= set(pake.ALPHABET)
