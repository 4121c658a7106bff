"""A folder of many small files from one person to another: p2pchat, and what people use instead.

    python -m tests.bench.file_many [--rounds N] [--files N] [--only TEXT …] [--json FILE]

Root (network namespaces, a tmpfs on /dev/shm). 4 KiB a file, 500 in each folder below the one that is sent.
Clocks as in file_copy; p2pchat has looked through the folder, sent its list, and checked, synced and named
all of it by the end.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path

from tests.bench.file_copy import (
    CP,
    OURS,
    PIPE,
    PLAIN,
    REMARKS,
    SYNCTHING,
    TLS,
    TLS_CHACHA,
    WORMHOLE,
    Cost,
    rival_cases,
    same,
)
from tests.bench.file_ours import MEMORY, copy, people
from tests.bench.file_rivals import Field
from tests.bench.report import Report, Table, Verdict, missed, script
from tests.bench.rivals import Rivals
from tests.kit.netns import Network

ABOUT = "A folder of small files, tmpfs to tmpfs, from the sender's command to the last byte received."
FILE_BYTES = 4096
FILES_A_FOLDER = 500
NAMES = {
    CP: "cp -r, on one machine",
    PIPE: "tar through ssh aes128-gcm",
    TLS: "nginx, curl, TLS 1.3, six at once",
    OURS: OURS,
}
MORE = {
    NAMES[TLS]: "folders and the list of names made before",
    WORMHOLE: "zips first",
}


def random_folder(path: Path, files: int) -> None:
    """So many files below `path`."""
    for number in range(files):
        below = path / f"d{number // FILES_A_FOLDER:03d}"
        below.mkdir(parents=True, exist_ok=True)
        (below / f"f{number:06d}.bin").write_bytes(os.urandom(FILE_BYTES))


def measure(chosen: argparse.Namespace, report: Report) -> None:
    table = Table(f"{chosen.files} files of 4 KiB", {"seconds": "s", "rate": "files/s"})

    def note(row: str, seconds: float) -> None:
        remark = MORE.get(row, REMARKS.get(row, ""))
        table.add(row, remark, seconds=seconds, rate=chosen.files / seconds)

    with ExitStack() as stack:
        net = stack.enter_context(Network(2))
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(dir=MEMORY)))
        source = folder / "source"
        source.mkdir()
        many = source / "many"
        random_folder(many, chosen.files)
        alice, bob = stack.enter_context(people(net.hosts, folder, ("alice", "bob")))
        cost = Cost((alice, bob))
        report.tables += [table, cost.table]
        field = Field(*net.hosts, source, folder / "target", folder, Rivals(chosen.rivals), stack)

        def ours() -> None:
            cost.begin()
            note(OURS, copy(alice, "bob", many, [bob]))
            cost.end(("the giver's", "the receiver's"))
            same(many, bob.inbox / many.name)
            bob.empty()

        def rival(row: str, run: Callable[[Path], float]) -> None:
            field.clean()
            note(NAMES.get(row, row), run(many))
            if row != SYNCTHING:
                same(many, field.target / many.name)
            field.clean()

        cases: dict[str, Callable[[], None]] = {OURS: ours}
        for row, run in rival_cases(field, report).items():
            if row not in (PLAIN, TLS_CHACHA):
                cases[row] = lambda row=row, run=run: rival(row, run)  # type: ignore[misc]
        for _ in range(chosen.rounds):
            for row, case in cases.items():
                if not chosen.only or any(word in NAMES.get(row, row) for word in chosen.only):
                    case()

    report.absent = {NAMES.get(row, row): why for row, why in report.absent.items() if row != TLS_CHACHA}
    for row, must, aim in ((NAMES[PIPE], 0.9, None), (NAMES[CP], None, 1.5)):
        report.verdicts.append(Verdict(f"p2pchat / {row}", table.ratio(OURS, row, "seconds"), must, aim))
    report.verdicts += cost.verdicts()


def options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--files", type=int, default=10_000, metavar="N")
    parser.add_argument("--only", nargs="*", default=[], metavar="TEXT", help="cases with that in their name")


def main(argv: Sequence[str] | None = None) -> Report:
    return script("file_many", ABOUT, measure, argv, options=options)


if __name__ == "__main__":
    sys.exit(missed(main()))
