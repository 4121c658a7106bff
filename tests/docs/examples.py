"""Worked examples of docs/protocol.md, computed by the product itself.

Run `python -m tests.docs.examples` to print them; with `--write` they are put into the
page between its markers. A test holds the page against this output.
"""

from __future__ import annotations

import pathlib
import sys

from p2pchat.crypto import codes, epochs, noise, session
from p2pchat.crypto.identity import device_id, safety_number
from p2pchat.crypto.primitives import ed25519_keypair, ed25519_sign, tag_bytes, x25519_public
from p2pchat.engine import log, rooms
from p2pchat.engine.accounts import make_genesis, read_statement
from p2pchat.ids import ZERO_ID, DeviceId, EpochId, RoomId
from p2pchat.wire.codec import encode
from p2pchat.wire.framing import frame
from p2pchat.wire.messages import events, link, registers

PAGE = pathlib.Path(__file__).parents[2] / "docs" / "protocol.md"
START, END = "<!-- examples -->", "<!-- end of examples -->"


def seed(letter: str) -> bytes:
    """A secret key nobody should ever use: one letter, 32 times."""
    return letter.encode() * 32


def examples() -> list[tuple[str, bytes]]:
    """Name and bytes of every example, in the order of the page."""
    public, signing = ed25519_keypair(seed("a"))
    genesis = make_genesis(seed("a"), x25519_public(seed("b")), ed25519_keypair(seed("c"))[0])
    act = read_statement(genesis)
    ann = act.account
    device = device_id(ann, public)
    bob = read_statement(
        make_genesis(seed("d"), x25519_public(seed("e")), ed25519_keypair(seed("f"))[0])
    ).account
    room = rooms.direct_id(ann, bob)
    key = seed("k")
    epoch = epochs.epoch_id(key)
    plain = encode(events.Message(1, "hello bob", b"", b"", (), False, 0, ()))
    header = _header(room, device, epoch, len(plain) + log.SEAL_OVERHEAD, ZERO_ID)
    body = epochs.seal_body(key, room, device, 1, encode(header), plain, b"n" * 24)
    header = _header(room, device, epoch, len(body), log.body_hash(body))
    raw = encode(header)
    signature = ed25519_sign(signing, tag_bytes(events.TAG_EVENT) + raw)
    event = events.Event(raw, signature, body)
    profile = encode(
        registers.Register(1, device, registers.PROFILE, b"", b"", 1, encode(registers.Profile("Ann")))
    )
    preface = encode(link.Preface(1, "chat", "office"))
    members = encode(events.MemberSet(tuple(sorted((ann, bob))), ()))
    return [
        ("signing public key of the seed a…", public),
        ("preface frame", frame(preface)),
        ("noise protocol name", noise.PROTOCOL.encode()),
        ("genesis statement", genesis.statement),
        ("its signature", genesis.signature),
        ("account id", ann),
        ("device id", device),
        ("profile register", profile),
        ("its signature", ed25519_sign(signing, tag_bytes(registers.TAG_REGISTER) + profile)),
        ("direct room id with the account of the seeds d… e… f…", room),
        ("safety number (ASCII)", safety_number(ann, bob).encode()),
        ("epoch id of the key k…", epoch),
        ("member hash", epochs.member_hash(members)),
        ("message body, opened", plain),
        ("message body, as stored (nonce n…)", body),
        ("event header", raw),
        ("its signature", signature),
        ("event id", log.event_id(raw, signature)),
        ("events frame, before padding", link.encode_frame(link.Events((event,)))),
        ("ping frame, padded", session.pad(link.encode_frame(link.Ping(7)))),
        ("receipt frame, before padding", link.encode_frame(link.Receipt(room, device, ((1, 1),), ZERO_ID))),
        ("SAS commitment (initiator, nonce n… 32)", codes.commitment(codes.INITIATOR, b"n" * 32)),
        (
            "SAS digits (hash h… 64, nonces n… and m…, ASCII)",
            codes.sas(b"h" * 64, b"n" * 32, b"m" * 32).encode(),
        ),
    ]


def _header(room: RoomId, device: DeviceId, epoch: EpochId, length: int, hashed: bytes) -> events.Header:
    return events.Header(
        1,
        room,
        device,
        1,
        ZERO_ID,
        (),
        (),
        log.stamp(1_700_000_000_000),
        events.MESSAGE,
        epoch,
        hashed,
        length,
    )


def page_block() -> str:
    """The examples as they stand in the page."""
    lines = [START, "", "```text"]
    for name, value in examples():
        lines.append(f"{name} ({len(value)} bytes)")
        text = value.hex()
        lines += ["  " + text[at : at + 96] for at in range(0, len(text), 96)]
    return "\n".join([*lines, "```", "", END])


def written(page: str) -> str:
    """`page` with its examples replaced by the computed ones."""
    before, _, rest = page.partition(START)
    _, _, after = rest.partition(END)
    return before + page_block() + after


def main() -> None:
    if "--write" in sys.argv:
        PAGE.write_text(written(PAGE.read_text()))
    else:
        sys.stdout.write(page_block() + "\n")


if __name__ == "__main__":
    main()
