"""The frozen set of Ed25519 edge cases that every peer accepts.

Archives part for ever if two machines judge one signature differently, so the set is
written down and not "whatever the library does". `cctv_accepted.json` binds it to the
list by hash; a change of library that moves one case fails here.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from p2pchat.crypto.primitives import ed25519_verify

FROZEN = json.loads(Path(__file__).with_name("cctv_accepted.json").read_text(encoding="utf-8"))


def test_exactly_the_frozen_cases_are_accepted(vectors: Path) -> None:
    raw = (vectors / "ed25519" / "cctv.json").read_bytes()
    assert hashlib.sha256(raw).hexdigest() == FROZEN["sha256"]
    cases = json.loads(raw)
    assert len(cases) == FROZEN["cases"] == 914
    accepted = [
        case["number"]
        for case in cases
        if ed25519_verify(bytes.fromhex(case["key"]), case["msg"].encode(), bytes.fromhex(case["sig"]))
    ]
    assert accepted == FROZEN["accepted"]
    assert len(accepted) == 43


def test_no_accepted_case_has_a_small_order_or_non_canonical_part(vectors: Path) -> None:
    cases = json.loads((vectors / "ed25519" / "cctv.json").read_bytes())
    flags = {flag for number in FROZEN["accepted"] for flag in cases[number]["flags"] or ()}
    assert flags.isdisjoint({"low_order_A", "low_order_R", "non_canonical_A", "non_canonical_R"})
