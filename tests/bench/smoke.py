"""The gate's slice: every figure with tiny numbers. Proves that the scripts run, not that anything is fast.

    python -m tests.bench.smoke

Rivals are left out (they are not installed where the gate runs), which is itself tried: each must be
named as not available.
"""

from __future__ import annotations

import importlib
import json
import math
import sys
import tempfile
from pathlib import Path
from typing import Any

TINY = {
    "message_rtt": ["--trips", "5"],
    "message_rate": ["--messages", "100", "--daemons", "3"],
    "room_message": ["--messages", "3", "--daemons", "3"],
    "room_sync": ["--messages", "600"],
    "room_repair": ["--messages", "300", "--lacking", "3"],
    "room_crowd": ["--daemons", "4", "--messages", "2"],
    "room_rotation": ["--devices", "8"],
    "handshake": ["--handshakes", "3"],
    "discovery": ["--hosts", "3"],
    "cable": ["--quick"],
    "cold_start": ["--daemons", "3"],
    "traffic": ["--offices", "2", "--seconds", "1"],
    "file_copy": ["--mib", "3"],
    "file_many": ["--files", "40"],
    "file_room": ["--mib", "2", "--receivers", "2"],
    "idle": ["--peers", "2", "--seconds", "1"],
    "cli_start": [],
}
RIVALS = {
    "message_rtt": 3,
    "message_rate": 4,
    "cli_start": 1,
    "file_copy": 2,
    "file_many": 2,
}
"""How many rivals a script has that the gate lacks."""


def run(name: str, folder: Path) -> dict[str, Any]:
    """One script with tiny numbers; what it wrote as JSON."""
    out = folder / f"{name}.json"
    argv = ["--rounds", "1", "--rivals", str(folder / "no-rivals"), "--json", str(out), *TINY[name]]
    importlib.import_module(f"tests.bench.{name}").main(argv)
    found: dict[str, Any] = json.loads(out.read_text("utf-8"))
    return found


def troubles(name: str, found: dict[str, Any]) -> list[str]:
    """What is not sane about a script's JSON; empty if all is well."""
    said = []
    if found["figure"] != name or found["schema"] != 1 or not found["machine"]["cores"]:
        said.append("its head is not that of this figure")
    rows = [row for table in found["tables"] for row in table["rows"]]
    if not rows or any(not row["samples"] for row in rows):
        said.append("a table or a row is empty")
    for row in rows:
        for column, samples in row["samples"].items():
            if not all(isinstance(one, int | float) and math.isfinite(one) and one >= 0 for one in samples):
                said.append(f"{row['name']!r} {column}: {samples}")
    for verdict in found["verdicts"]:
        measured = verdict["value"] is not None
        if measured == (verdict["word"] == "not measured"):
            said.append(f"a verdict contradicts itself: {verdict}")
    if len(found["not_available"]) < RIVALS.get(name, 0):
        said.append(f"rivals are missing and not named: {found['not_available']}")
    return said


def main() -> int:
    trouble = 0
    with tempfile.TemporaryDirectory() as folder:
        for name in TINY:
            for what in troubles(name, run(name, Path(folder))):
                print(f"{name}: {what}", file=sys.stderr)
                trouble = 1
    return trouble


if __name__ == "__main__":
    sys.exit(main())
