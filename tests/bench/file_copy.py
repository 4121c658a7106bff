"""One large file from one person to another: p2pchat, and what people use instead.

    python -m tests.bench.file_copy [--rounds N] [--mib N] [--only TEXT …] [--json FILE]

Root (network namespaces, a tmpfs on /dev/shm). Two machines on one switch of full speed, so that the
processors are the limit; both ends, and every server, share them. From the start of the sender's command
(of the only command, where one side just serves) until the receiver has all of it; p2pchat has checked and
synced it by then and given it its name. Then the same with both people talking to each other meanwhile.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path

from tests.bench.file_ours import MEMORY, Chatting, Person, copy, people, talk_for
from tests.bench.file_rivals import NEEDS, Field
from tests.bench.report import Report, Table, Verdict, missed, percentile, script
from tests.bench.rivals import Rivals
from tests.bench.workers import WorkerFailed
from tests.kit.netns import Network

ABOUT = "One large file, random bytes, tmpfs to tmpfs, from the sender's command to the last byte received."
OURS = "p2pchat: file send"
TALKING = "p2pchat: file send, both talk meanwhile"
CP = "cp, on one machine"
PLAIN = "plain TCP, one socket"
PIPE = "cat through ssh aes128-gcm"
SCP = "scp aes128-gcm"
RSYNC = "rsync -W over ssh aes128-gcm"
TLS = "nginx, curl, TLS 1.3 aes128-gcm"
TLS_CHACHA = "nginx, curl, TLS 1.3 chacha20"
WORMHOLE = "magic-wormhole"
SYNCTHING = "syncthing"
REMARKS = {
    OURS: "sealed, hashed on both sides, checked, synced, named",
    TALKING: "the same",
    CP: "nothing sent",
    PLAIN: "nothing sealed or checked; from connect on",
    TLS: "from the receiver's command on",
    TLS_CHACHA: "from the receiver's command on",
    WORMHOLE: "direct, mailbox of its own",
    SYNCTHING: "hashes and indexes first; from its scan on",
}
PEAK_MIB = 150
CHAT_MS = 50
QUIET = "nothing else going on"


def random_file(path: Path, mib: int) -> None:
    """Bytes that neither repeat nor compress within a piece."""
    block = os.urandom(1 << 20)
    with path.open("wb") as file:
        for number in range(mib):
            file.write(number.to_bytes(8, "little") + block[8:])


def warm(field: Field, what: Path) -> None:
    """Touch as much memory as one copy needs at most, and let it go: what a virtual machine has never used,
    or has given back to its host (which it does after seconds), costs it several times as much. Done before
    every copy, so that all find the same."""
    field.clean()
    for number in range(2):
        shutil.copyfile(what, field.target / str(number))
    field.clean()


def same(one: Path, other: Path) -> None:
    """WorkerFailed unless both hold the same."""
    done = subprocess.run(["diff", "-rq", one, other], capture_output=True, text=True, check=False)
    if done.returncode:
        raise WorkerFailed(f"{other} is not what was sent: {done.stdout[:300]}{done.stderr[:300]}")


def rival_cases(field: Field, report: Report) -> dict[str, Callable[[Path], float]]:
    """One copy by each that is there; the others are named in the report."""
    cases: dict[str, Callable[[Path], float]] = {CP: field.local, PLAIN: field.plain}
    for need, row, run in (
        ("ssh", PIPE, field.pipe),
        ("ssh", SCP, field.scp),
        ("rsync", RSYNC, field.rsync),
        ("nginx", TLS, lambda what: field.https(what, 8443)),
        ("nginx", TLS_CHACHA, lambda what: field.https(what, 8444)),
        ("wormhole", WORMHOLE, field.wormhole),
        ("syncthing", SYNCTHING, field.syncthing),
    ):
        if why := field.rivals.lacks(*NEEDS[need]):
            report.absent[row] = why
        else:
            cases[row] = run
    report.absent["croc"] = "in no registry these rivals come from"
    return cases


class Cost:
    """What daemons have used up while something was copied."""

    def __init__(self, who: Sequence[Person]) -> None:
        self.table = Table("What the daemons cost", {"cpu": "s of CPU", "peak": "MiB, VmHWM"})
        self._who = who
        self._before = [0.0] * len(who)

    def begin(self) -> None:
        self._before = [one.cpu_s() for one in self._who]

    def end(self, roles: Sequence[str]) -> None:
        for one, role, before in zip(self._who, roles, self._before, strict=True):
            self.table.add(role, cpu=one.cpu_s() - before, peak=one.peak_mib())

    def verdicts(self) -> list[Verdict]:
        return [
            Verdict(f"peak memory, {role}, MiB", self.table.median(role, "peak"), PEAK_MIB, None)
            for role in self.table.rows
        ]


def measure(chosen: argparse.Namespace, report: Report) -> None:
    table = Table(f"{chosen.mib} MiB", {"rate": "MiB/s", "seconds": "s"})
    chat = Table("A message meanwhile, until delivered", {"p50": "ms", "p95": "ms", "most": "ms"})

    def note(row: str, seconds: float) -> None:
        table.add(row, REMARKS.get(row, ""), rate=chosen.mib / seconds, seconds=seconds)

    def note_chat(row: str, took: Sequence[float]) -> None:
        ms = [seconds * 1e3 for seconds in took]
        chat.add(row, p50=percentile(ms, 50), p95=percentile(ms, 95), most=max(ms))

    with ExitStack() as stack:
        net = stack.enter_context(Network(2))
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(dir=MEMORY)))
        source = folder / "source"
        source.mkdir()
        big = source / "big.bin"
        random_file(big, chosen.mib)
        alice, bob = stack.enter_context(people(net.hosts, folder, ("alice", "bob")))
        cost = Cost((alice, bob))
        report.tables += [table, cost.table, chat]
        field = Field(*net.hosts, source, folder / "target", folder, Rivals(chosen.rivals), stack)

        def ours() -> None:
            cost.begin()
            note(OURS, copy(alice, "bob", big, [bob]))
            cost.end(("the giver's", "the receiver's"))
            same(big, bob.inbox / big.name)
            bob.empty()

        def talking() -> None:
            chats = {
                "who gives it talks": Chatting(alice, "bob"),
                "who gets it talks": Chatting(bob, "alice"),
            }
            with ExitStack() as both:
                for one in chats.values():
                    both.enter_context(one.on())
                note(TALKING, copy(alice, "bob", big, [bob]))
            for row, one in chats.items():
                note_chat(row, one.took)
            bob.empty()
            quiet = Chatting(alice, "bob")
            talk_for(0.5, quiet)
            note_chat(QUIET, quiet.took)

        def rival(row: str, run: Callable[[Path], float]) -> None:
            field.clean()
            note(row, run(big))
            if row != SYNCTHING:  # which takes its own copies away
                same(big, field.target / big.name)
            field.clean()

        cases: dict[str, Callable[[], None]] = {OURS: ours, TALKING: talking}
        for row, run in rival_cases(field, report).items():
            cases[row] = lambda row=row, run=run: rival(row, run)  # type: ignore[misc]
        for _ in range(chosen.rounds):
            for row, case in cases.items():
                if not chosen.only or any(word in row for word in chosen.only):
                    warm(field, big)
                    case()

    for row, must in ((PIPE, 1.3), (SCP, 2), (RSYNC, 2), (WORMHOLE, 2)):
        report.verdicts.append(
            Verdict(f"p2pchat / {row}", table.ratio(OURS, row, "rate"), must, None, at_most=False)
        )
    tls = max((TLS, TLS_CHACHA), key=lambda row: table.median(row, "rate") or 0)
    report.verdicts.append(Verdict(f"p2pchat / {tls}", table.ratio(OURS, tls, "rate"), None, 1.05, False))
    for row in chat.rows:
        if row != QUIET:
            report.verdicts.append(Verdict(f"p95, {row}, ms", chat.median(row, "p95"), CHAT_MS, None))
    report.verdicts += cost.verdicts()


def options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--mib", type=int, default=1024, metavar="N")
    parser.add_argument("--only", nargs="*", default=[], metavar="TEXT", help="cases with that in their name")


def main(argv: Sequence[str] | None = None) -> Report:
    return script("file_copy", ABOUT, measure, argv, options=options)


if __name__ == "__main__":
    sys.exit(missed(main()))
