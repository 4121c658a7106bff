"""Fuzz every decoder: `python -m tests.fuzz.run --seconds N [--seed S] [TARGET …]`.

Decides: which targets there are, how long and from where each runs, what is printed.
Does not know: what a target does with its input (targets), or how inputs are made
(libFuzzer through atheris, in a process of its own per target).

A finding is kept in a file and printed with the command that repeats it:
`python -m tests.fuzz.run --replay FILE TARGET`. Exit code 0: no finding.
"""

from __future__ import annotations

import argparse
import importlib
import pkgutil
import random
import re
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from p2pchat.errors import RemoteProtocolError
from tests.fuzz import targets

ROOT = Path(__file__).resolve().parents[2]
MAX_INPUT = 70_000  # a little more than the greatest frame
INPUT_TIMEOUT_S = 10  # one input that takes longer is a finding
RSS_LIMIT_MB = 512
GRACE_S = 60  # for start, last input and writing

_EXECUTED = re.compile(r"stat::number_of_executed_units:\s*(\d+)")


@dataclass(frozen=True)
class Result:
    """`executions` inputs were tried; `finding` says what went wrong, empty if nothing did."""

    target: str
    executions: int
    finding: str


def names() -> list[str]:
    """All targets."""
    return sorted(found.name for found in pkgutil.iter_modules(targets.__path__))


def module_of(target: str) -> str:
    """A target's module; a name with a dot is one already."""
    return target if "." in target else f"{targets.__name__}.{target}"


def fuzz(target: str, seconds: int, seed: int) -> Result:
    """Run one target from its seeds for that long, in a process of its own."""
    with tempfile.TemporaryDirectory(prefix="p2pchat-fuzz-") as folder:
        corpus, found = Path(folder, "corpus"), Path(folder, "found")
        corpus.mkdir()
        found.mkdir()
        for number, data in enumerate(importlib.import_module(module_of(target)).seeds()):
            (corpus / f"seed-{number}").write_bytes(data)
        command = [
            *(sys.executable, "-m", "tests.fuzz.child", module_of(target), str(corpus)),
            *(f"-max_total_time={seconds}", f"-seed={seed}", f"-max_len={MAX_INPUT}"),
            *(f"-timeout={INPUT_TIMEOUT_S}", f"-rss_limit_mb={RSS_LIMIT_MB}"),
            *(f"-artifact_prefix={found}/", "-print_final_stats=1"),
        ]
        try:
            done = subprocess.run(
                command,
                cwd=ROOT,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                errors="replace",
                timeout=seconds + GRACE_S,
                check=False,
            )
        except subprocess.TimeoutExpired:
            return Result(target, 0, f"did not end {GRACE_S} s after its {seconds} s")
        counted = _EXECUTED.search(done.stdout)
        executions = int(counted[1]) if counted else 0
        kept = [_keep(target, path) for path in sorted(found.iterdir())]
    if done.returncode == 0 and executions and not kept:
        return Result(target, executions, "")
    lines = done.stdout.splitlines()[-40:]
    again = [f"again: python -m tests.fuzz.run --replay {path} {target}" for path in kept]
    said = "\n".join([f"exit {done.returncode} after {executions} inputs", *lines, *again])
    return Result(target, executions, said)


def _keep(target: str, path: Path) -> Path:
    """Move an input that failed out of the folder that is about to go."""
    kept = Path(tempfile.gettempdir(), f"p2pchat-fuzz-{target}-{path.name}")
    kept.write_bytes(path.read_bytes())
    return kept


def replay(target: str, path: Path) -> None:
    """Give one kept input to `target` in this process; the finding is raised."""
    try:
        importlib.import_module(module_of(target)).one_input(path.read_bytes())
    except RemoteProtocolError as refused:
        print(f"{target}: refused as it should be: {refused.reason}")
    else:
        print(f"{target}: accepted")


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz.run", description="fuzz the decoders")
    parser.add_argument("targets", nargs="*", metavar="TARGET", help=f"of {', '.join(names())}; default all")
    parser.add_argument("--seconds", type=int, default=10, help="per target (default 10)")
    parser.add_argument(
        "--seed", type=int, default=None, help="of the mutations (default: a new one, printed)"
    )
    parser.add_argument("--replay", type=Path, metavar="FILE", help="one input that failed, no fuzzing")
    chosen = parser.parse_args()
    for name in chosen.targets:
        if "." not in name and name not in names():
            parser.error(f"no target {name!r}; there are {', '.join(names())}")
    if chosen.replay is not None:
        for name in chosen.targets:
            replay(name, chosen.replay)
        return 0
    seed = chosen.seed if chosen.seed is not None else random.SystemRandom().randrange(1, 2**31)
    failed = False
    for name in chosen.targets or names():
        result = fuzz(name, chosen.seconds, seed)
        print(f"{name}: {result.executions} executions in {chosen.seconds} s, seed {seed}", flush=True)
        if result.finding:
            failed = True
            print(result.finding, flush=True)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
