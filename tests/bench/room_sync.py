"""A newcomer's machine takes in a whole room: how long, how much memory, and who waits meanwhile.

    python -m tests.bench.room_sync [--rounds N] [--messages N] [--json FILE] [--profile DIR]

Root (network namespaces). The room is written once by the engine into one archive (filling.py), in
which the newcomer has been let in already; every round works on copies. The time runs from the
moment the newcomer's machine is linked to the giver's until it has authenticated and read every
event, and until its full text has every message. Meanwhile its control socket is asked over and
over. Rows differ in how the room was written: 64 messages under one signature, or each with its own.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from pathlib import Path

from p2pchat.control.client import PlainClient, connect
from p2pchat.errors import CommandError
from p2pchat.paths import profile
from tests.bench import filling, ours
from tests.bench.contests import Place, fresh, wait_port
from tests.bench.filling import Filled
from tests.bench.idle import MIB
from tests.bench.report import ROOT, Report, Table, Verdict, percentile, script
from tests.bench.rivals import Rivals
from tests.bench.workers import Worker, WorkerFailed, python_module, workers
from tests.kit.hosts import children
from tests.kit.netns import Network

ABOUT = "A room's whole history to a machine that has nothing of it."
RUNS = "p2pchat, 64 messages under a signature"
EACH = "p2pchat, each message with its own"
RAW = "raw copy of the giver's archive"
GIT = "git clone of as many commits"
RUN = {RUNS: 64, EACH: 1}
REMARKS = {
    RUNS: "verified, decrypted, stored at FULL, indexed",
    EACH: "the same",
    RAW: "the SQLite file through a socket, synced",
    GIT: "message in the commit, bare, unsigned, hashes checked",
}
SYNC_S = 300.0
ASK_EVERY_S = 0.05
ASK_S = 30.0
LOOK_EVERY_S = 0.1
GIT_PORT = 9418
AUTHOR = "alice <alice@lan.test>"


class Sampler(threading.Thread):
    """Asks a control socket in turn who we are and what was said; when and how long each answer took."""

    def __init__(self, home: Path, target: str) -> None:
        super().__init__(daemon=True)
        self._home = home
        self._target = target
        self._over = threading.Event()
        self.took: dict[str, list[tuple[float, float]]] = {"whoami": [], "history": []}
        self.trouble = ""

    def run(self) -> None:
        try:
            with connect(profile(self._home)) as client:
                while not self._over.wait(ASK_EVERY_S):
                    self._ask(client, "whoami", {})
                    self._ask(client, "history", {"target": self._target, "tail": 20})
        except CommandError as error:
            self.trouble = error.message

    def _ask(self, client: PlainClient, what: str, params: dict[str, object]) -> None:
        start = time.monotonic()
        try:
            client.call(what, params, ASK_S)
        except CommandError as error:
            if error.kind != "no_such_target":  # it has not heard of the room yet: an answer, too
                raise
        self.took[what].append((start, time.monotonic() - start))

    def end(self) -> None:
        """WorkerFailed if it could not ask to the end."""
        self._over.set()
        self.join(ASK_S)
        if self.trouble:
            raise WorkerFailed(f"the control socket: {self.trouble}")

    def within(self, what: str, start: float, end: float) -> list[float]:
        """Milliseconds of the answers to questions asked in between; what lasts longer is among them."""
        return [took * 1e3 for at, took in self.took[what] if start <= at <= end] or [0.0]


def peak_mib(pid: int) -> float:
    """The greatest RSS a process has had; 0 if it is gone."""
    try:
        for line in Path(f"/proc/{pid}/status").read_text("ascii").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) / MIB
    except (FileNotFoundError, ProcessLookupError):
        pass
    return 0.0


class Memory(threading.Thread):
    """The greatest RSS of a daemon together with the processes it has at the time.

    Each counts with its own peak so far, and what they share counts for each: too much rather than too
    little. One that lives shorter than LOOK_EVERY_S may be missed.
    """

    def __init__(self, pid: int) -> None:
        super().__init__(daemon=True)
        self._pid = pid
        self._over = threading.Event()
        self._peak = 0.0

    def run(self) -> None:
        while not self._over.wait(LOOK_EVERY_S):
            self._look()

    def _look(self) -> None:
        together = peak_mib(self._pid) + sum(peak_mib(child) for child in children(self._pid))
        self._peak = max(self._peak, together)

    def end(self) -> float:
        """MiB; WorkerFailed if there was nothing to see."""
        self._over.set()
        self.join()
        self._look()
        if not self._peak:
            raise WorkerFailed(f"no VmHWM of {self._pid}")
        return self._peak


def copies(place: Place, filled: Filled) -> Path:
    """The two homes for one round."""
    folder = fresh(place, "sync")
    for name in ("alice", "bob"):
        shutil.copytree(filled.home.parent / name, folder / name)
    return folder


def sync(place: Place, filled: Filled, *, profiled: bool = False) -> tuple[dict[str, float], Path]:
    """One newcomer's sync; cells of the table, and the folder with alice.prof and bob.prof."""
    folder = copies(place, filled)
    with workers() as stack:
        alice = ours.drive(stack, place.alice, folder, "alice", profiled=profiled)
        bob = ours.drive(stack, place.bob, folder, "bob", profiled=profiled, control=True)
        bob.go()
        bob.gone()
        sampler = Sampler(folder / "bob", filled.room.hex())
        sampler.start()
        memories = [Memory(one.worker.process.pid) for one in (bob, alice)]
        for memory in memories:
            memory.start()
        wanted = {"room": filled.room.hex(), "device": filled.device.hex(), "head": filled.head}
        bob.worker.tell(do="await", **wanted)
        alice.go()
        alice.gone()
        linked = bob.worker.hear_all("linked", ours.LINKED_S)["t"]
        authentic = bob.worker.hear("authentic", SYNC_S)
        done = bob.worker.hear_all("searchable", SYNC_S)
        sampler.end()
        taker, giver = (memory.end() for memory in memories)
        if done["messages"] != filled.count:
            raise WorkerFailed(f"{done['messages']} of {filled.count} messages can be found")
        found = {
            "authentic": authentic - linked,
            "searchable": done["searchable"] - linked,
            "rate": filled.head / (done["searchable"] - linked),
            "taker": taker,
            "giver": giver,
        }
        for what in sampler.took:
            took = sampler.within(what, linked, done["searchable"])
            found |= {f"{what}_p99": percentile(took, 99), f"{what}_max": max(took)}
        taking = sampler.within("whoami", linked, authentic)
        indexing = sampler.within("whoami", authentic, done["searchable"])
        found |= {"taking_p99": percentile(taking, 99), "indexing_p99": percentile(indexing, 99)}
        for one in (alice, bob):
            one.worker.tell(do="leave")
        for one in (alice, bob):
            one.worker.process.wait(60)
    return found, folder


# -- the rulers ------------------------------------------------------------------------------


def raw_copy(place: Place, filled: Filled) -> float:
    """Seconds until the giver's archive is a synced file on the other machine."""
    folder = fresh(place, "raw")
    module = "tests.bench.raw_copy"
    with workers() as stack:
        argv = python_module(module, "give", filled.home / "archive.db", place.alice.ip)
        giver = stack.enter_context(Worker(place.alice, argv, folder))
        argv = python_module(module, "take", folder / "copy.db", place.alice.ip, giver.hear("port"))
        taker = stack.enter_context(Worker(place.bob, argv, folder))
        seconds: float = taker.hear("seconds", SYNC_S)
    shutil.rmtree(folder)
    return seconds


def repository(folder: Path, count: int) -> Path:
    """A repository whose history says what the room says, packed as a server's would be."""
    where = folder / "room.git"
    _git("init", "-q", "--bare", "-b", "main", where)
    parts = []
    for number, text in enumerate(filling.texts(count)):
        raw = text.encode()
        head = f"commit refs/heads/main\ncommitter {AUTHOR} {1_700_000_000 + number * 150} +0000\n"
        parts.append(head.encode() + b"data %d\n" % len(raw) + raw + b"\n")
    _git("-C", where, "fast-import", "--quiet", data=b"".join(parts))
    _git("-C", where, "gc", "-q")
    return where


def clone(place: Place, where: Path) -> float:
    """Seconds of a bare clone over the link."""
    folder = fresh(place, "git")
    argv = ["git", "daemon", "--export-all", f"--base-path={where.parent}", "--reuseaddr"]
    argv += [f"--listen={place.alice.ip}", f"--port={GIT_PORT}"]
    with workers() as stack:
        stack.enter_context(Worker(place.alice, argv, folder, env=_quiet()))
        wait_port(place.bob, place.alice.ip, GIT_PORT)
        words = ("git", "clone", "-q", "--bare", f"git://{place.alice.ip}/{where.name}", str(folder / "copy"))
        start = time.perf_counter()
        done = place.bob.run(*words, env={**os.environ, **_quiet()}, timeout=SYNC_S)
        seconds = time.perf_counter() - start
    if done.returncode:
        raise WorkerFailed(f"git clone: {done.stderr}")
    shutil.rmtree(folder)
    return seconds


def _quiet() -> dict[str, str]:
    """Nobody's own settings of git."""
    return {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_SYSTEM": os.devnull}


def _git(*words: object, data: bytes | None = None) -> None:
    argv = ["git", *(str(word) for word in words)]
    env = {**os.environ, **_quiet()}
    done = subprocess.run(
        argv, input=data, capture_output=True, timeout=SYNC_S, cwd=ROOT, env=env, check=False
    )
    if done.returncode:
        raise WorkerFailed(f"{' '.join(argv)[:120]}: {done.stderr.decode('utf-8', 'replace')}")


# -- the figure ------------------------------------------------------------------------------


def filled_once(folder: Path, row: str, count: int) -> Filled:
    """The two homes all rounds of a row begin with."""
    inside = folder / f"filled-{RUN[row]}"
    inside.mkdir()
    return filling.history(inside / "alice", count, RUN[row], inside / "bob")


def measure(chosen: argparse.Namespace, report: Report) -> None:
    table = Table(
        f"{chosen.messages} messages",
        {"authentic": "s", "searchable": "s", "rate": "events/s"},
    )
    memory = Table(
        "Peak RSS of the daemons with their processes", {"taker": "MiB, who takes", "giver": "MiB, who gives"}
    )
    answers = Table(
        "Answers of the taker's control socket meanwhile",
        {
            "whoami_p99": "ms",
            "whoami_max": "ms",
            "history_p99": "ms",
            "history_max": "ms",
            "taking_p99": "ms, whoami until authentic",
            "indexing_p99": "ms, whoami after",
        },
    )
    report.tables += [table, memory, answers]
    rows = [RUNS] if chosen.runs_only else [RUNS, EACH]
    rivals = Rivals(chosen.rivals)
    with Network(3) as net, tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        place = Place.of(net, folder, rivals)
        filled = {row: filled_once(folder, row, chosen.messages) for row in rows}
        git = None
        if why := rivals.lacks("tool:git"):
            report.absent[GIT] = why
        else:
            git = repository(folder, chosen.messages)
        for _ in range(chosen.rounds):
            for row in rows:
                found, used = sync(place, filled[row])
                shutil.rmtree(used)
                for part in (table, memory, answers):
                    part.add(row, REMARKS[row], **{key: found[key] for key in part.columns})
            table.add(RAW, REMARKS[RAW], searchable=raw_copy(place, filled[RUNS]))
            if git is not None:
                table.add(GIT, REMARKS[GIT], searchable=clone(place, git))
        if chosen.profile is not None:
            chosen.profile.mkdir(exist_ok=True)
            _, used = sync(place, filled[rows[0]], profiled=True)
            for one in ("alice", "bob"):
                shutil.copy(used / f"{one}.prof", chosen.profile)
        size = (filled[RUNS].home / "archive.db").stat().st_size / 2**20
    report.remarks.append(f"the giver's archive: {size:.0f} MiB, {filled[RUNS].head} events")
    for row in rows:
        seconds = table.median(row, "searchable")
        report.verdicts.append(Verdict(f"{row}: searchable, s", seconds, 12, 3))
        for side, what in (("taker", "who takes"), ("giver", "who gives")):
            report.verdicts.append(
                Verdict(f"{row}: peak RSS, {what}, MiB", memory.median(row, side), 150, None)
            )
        for what in ("whoami", "history"):
            p99 = answers.median(row, f"{what}_p99")
            report.verdicts.append(Verdict(f"{row}: {what} answered, p99, ms", p99, 50, None))
    for other in (RAW, GIT):
        ratio = table.ratio(RUNS, other, "searchable")
        if ratio is not None:
            report.remarks.append(f"{RUNS} / {other}: {ratio:.1f}")


def options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--messages", type=int, default=100_000, metavar="N")
    parser.add_argument("--runs-only", action="store_true", help="not the room of single signatures")
    parser.add_argument(
        "--profile",
        type=Path,
        metavar="DIR",
        help="one run more, with cProfile: alice.prof gives, bob.prof takes",
    )


def main(argv: Sequence[str] | None = None) -> Report:
    return script("room_sync", ABOUT, measure, argv, rounds=3, options=options)


if __name__ == "__main__":
    main()
    sys.exit(0)
