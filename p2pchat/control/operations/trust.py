"""Operations about trust in people, and about my own machines.

Decides: their names, parameters and answers. Does not know: who carries them out.
"""

from __future__ import annotations

from typing import Final

from p2pchat.control.operations.table import Operation, Param

TRUST: Final = (
    '`{"account","name","trust":"unverified|verified|roster|changed|blocked","fingerprint",'
    '"safety_number","devices":[{"device","name","this","last_seen","revoked"}]}`'
)

DEVICE: Final = '`{"device","name","this","last_seen","revoked"}`'

_MINE = Param("device", "str", "one of my machines: its id, 6 or more digits of it, or its name")
_WHO = Param("target", "str", "a person")

OPERATIONS: Final = (
    Operation("trust.show", "How far a person is trusted and what to compare.", (_WHO,), TRUST),
    Operation(
        "trust.verify",
        "Mark a person as verified if the proof matches, else the failure `key_mismatch`.",
        (
            _WHO,
            Param("kind", "str", "what `proof` is", choices=("fingerprint", "safety-number")),
            Param("proof", "str", "the digits as the other side shows them"),
        ),
        TRUST,
    ),
    Operation(
        "trust.accept", "Take the successor of an account whose key was replaced, unverified.", (_WHO,), TRUST
    ),
    Operation("trust.block", "Neither hear nor reach this person.", (_WHO,), TRUST),
    Operation("trust.unblock", "Take a block back.", (_WHO,), TRUST),
    Operation(
        "trust.sas",
        "Compare six digits live: both sides run it within 2 minutes.",
        (_WHO, Param("timeout_s", "number", "how long to wait for the other side, in seconds", 120.0)),
        '`{"sas"}`: six digits; then `trust.sas_confirm`',
    ),
    Operation(
        "trust.sas_confirm",
        "Say which digits the other side shows; others than ours: the failure `key_mismatch`.",
        (_WHO, Param("digits", "str", "six digits")),
        TRUST,
    ),
    Operation(
        "device.list",
        "My own machines.",
        (),
        '`{"devices":[{"device","name","this","last_seen","revoked"}]}`',
    ),
    Operation(
        "device.link",
        "Show a code by which another machine becomes mine; one that is shown already ends.",
        (),
        '`{"code","expires"}`; then `device.link_wait`',
    ),
    Operation(
        "device.link_wait",
        "Wait until the code that is shown was used; who stops waiting takes it back.",
        (Param("code", "str", "as `device.link` gave it"),),
        '`{"device"}`',
    ),
    Operation("device.revoke", "Cut one of my machines off, everywhere and for good.", (_MINE,), DEVICE),
    Operation(
        "device.rename",
        "Call one of my machines otherwise; only my own machines know its name.",
        (_MINE, Param("name", "str", "1 to 64 characters")),
        DEVICE,
    ),
    Operation(
        "device.recovery_key",
        "The recovery key, as long as it lies on this machine; the failure `failed` after it was erased.",
        (),
        '`{"recovery_key"}`',
    ),
    Operation(
        "device.recovery_erase",
        "Erase the recovery key here, once it is written down elsewhere.",
        (),
        '`{"erased"}`',
    ),
)
