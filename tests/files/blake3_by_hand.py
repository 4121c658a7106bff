"""BLAKE3 written from its paper (section 2), so that the hash of a piece is not only what a package says.

Slow, one chunk after the other, 32 bytes out.
"""

from __future__ import annotations

import struct

_IV = (0x6A09E667, 0xBB67AE85, 0x3C6EF372, 0xA54FF53A, 0x510E527F, 0x9B05688C, 0x1F83D9AB, 0x5BE0CD19)
_ORDER = (2, 6, 3, 10, 7, 0, 4, 13, 1, 11, 12, 5, 9, 14, 15, 8)
_START, _END, _PARENT, _ROOT, _KEYED, _CONTEXT, _MATERIAL = 1, 2, 4, 8, 16, 32, 64
_MASK = 0xFFFFFFFF


def keyed(key: bytes, data: bytes) -> bytes:
    """keyed_hash(key, data)."""
    return _hash(struct.unpack("<8I", key), data, _KEYED)


def derive_key(context: str, material: bytes) -> bytes:
    """derive_key(context, material)."""
    key = _hash(_IV, context.encode(), _CONTEXT)
    return _hash(struct.unpack("<8I", key), material, _MATERIAL)


def _compress(
    cv: tuple[int, ...], words: tuple[int, ...], counter: int, length: int, flags: int
) -> list[int]:
    state = [*cv, *_IV[:4], counter & _MASK, counter >> 32, length, flags]
    for _ in range(7):
        for half, columns in ((0, (0, 1, 2, 3)), (8, (0, 1, 2, 3))):
            shift = 1 if half else 0
            for at in columns:
                a, b, c, d = (4 * row + (at + shift * row) % 4 for row in range(4))
                for turn, word in ((16, words[half + 2 * at]), (8, words[half + 2 * at + 1])):
                    state[a] = (state[a] + state[b] + word) & _MASK
                    state[d] = _right(state[d] ^ state[a], turn)
                    state[c] = (state[c] + state[d]) & _MASK
                    state[b] = _right(state[b] ^ state[c], 12 if turn == 16 else 7)
        words = tuple(words[at] for at in _ORDER)
    return [state[at] ^ state[at + 8] for at in range(8)]


def _right(word: int, by: int) -> int:
    return (word >> by | word << 32 - by) & _MASK


def _hash(key: tuple[int, ...], data: bytes, flags: int) -> bytes:
    chunks = [data[at : at + 1024] for at in range(0, len(data), 1024)] or [b""]

    def leaf(number: int, root: int) -> list[int]:
        chunk = chunks[number]
        blocks = [chunk[at : at + 64] for at in range(0, len(chunk), 64)] or [b""]
        value = list(key)
        for at, block in enumerate(blocks):
            extra = (_START if at == 0 else 0) | ((_END | root) if at == len(blocks) - 1 else 0)
            words = struct.unpack("<16I", block.ljust(64, b"\0"))
            value = _compress(tuple(value), words, number, len(block), flags | extra)
        return value

    def node(first: int, count: int, root: int) -> list[int]:
        if count == 1:
            return leaf(first, root)
        left = 1 << (count - 1).bit_length() - 1
        words = (*node(first, left, 0), *node(first + left, count - left, 0))
        return _compress(key, words, 0, 64, flags | _PARENT | root)

    return struct.pack("<8I", *node(0, len(chunks), _ROOT))
