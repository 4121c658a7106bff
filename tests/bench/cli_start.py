"""How long commands take that the daemon answers, from start to exit of the whole process.

    python -m tests.bench.cli_start [--rounds N] [--json FILE]

Two daemons on this machine, in homes of their own and without announcing themselves, linked by
address. Beside: the bare interpreter, and hello-commands by argparse and by typer.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from tests.bench import ours
from tests.bench.report import ROOT, Report, Table, Verdict, script
from tests.bench.rivals import Rivals
from tests.bench.workers import Worker, python_module

ABOUT = "Whole commands, from start to exit, interpreter included. Milliseconds."
ARGPARSE = """import argparse
parser = argparse.ArgumentParser()
verbs = parser.add_subparsers(dest="verb")
verbs.add_parser("hello").add_argument("name")
verbs.add_parser("bye").add_argument("name")
print("hi", parser.parse_args().name)
"""
TYPER = """import typer
app = typer.Typer()
@app.command()
def hello(name: str): print("hi", name)
@app.command()
def bye(name: str): print("bye", name)
app()
"""
COMMANDS = {
    "status": ["status"],
    "whoami": ["whoami"],
    "peers": ["peers"],
    "send": ["send", "bob", "hello"],
    "send --wait delivered": ["send", "bob", "hello", "--wait", "delivered"],
    "history": ["history", "bob"],
    "read": ["read", "bob"],
    "inbox": ["inbox"],
    "queue": ["queue"],
    "search": ["search", "hello"],
    "--version": ["--version"],
}
"""`--version` asks no daemon; all others do."""


def script_of(folder: Path) -> list[str]:
    """The console script as pip writes it, for this interpreter."""
    path = folder / "p2pchat"
    path.write_text("import sys\nfrom p2pchat_cli.main import run\nsys.exit(run())\n", encoding="ascii")
    return [sys.executable, str(path)]


def wall_ms(argv: list[str], env: dict[str, str]) -> float:
    """Milliseconds of one run; CalledProcessError if it fails."""
    start = time.perf_counter()
    subprocess.run(argv, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, env=env, timeout=30)
    return (time.perf_counter() - start) * 1e3


def daemons(stack: ExitStack, folder: Path) -> Path:
    """alice and bob on loopback, linked; the home of alice."""
    homes = {name: folder / name for name in ("alice", "bob")}
    for name, home in homes.items():
        options = ["--no-announce", "--interface", "lo", "--foreground"]
        argv = python_module("p2pchat", "--home", home, "--name", name, *options)
        ours.ready(ours.Program(stack.enter_context(Worker(None, argv, folder)), home))
    with ours.connect(ours.profile(homes["bob"])) as client:
        listen = client.call("status", {}, 10.0)["daemon"]["listen"][0]
    port = listen.rpartition(":")[2]
    with ours.connect(ours.profile(homes["alice"])) as client:
        client.call("peers.add", {"address": f"127.0.0.1:{port}"}, 20.0)
        ours.until(lambda: ours.connected(client) == 1, "alice and bob did not meet")
    return homes["alice"]


def measure(chosen: argparse.Namespace, report: Report) -> None:
    table = Table("Wall time", {"ms": ""})
    report.tables.append(table)
    rivals = Rivals(chosen.rivals)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        home = daemons(stack, folder)
        env = {**os.environ, "P2PCHAT_HOME": str(home), "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'cli'}"}
        plain = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
        cases: dict[str, tuple[list[str], dict[str, str]]] = {
            "python, nothing": ([sys.executable, "-c", "pass"], plain),
            "argparse, two commands": (_hello(folder, "argparse", ARGPARSE, sys.executable), plain),
        }
        typer = "typer 0.28, two commands"
        if why := rivals.lacks("typer"):
            report.absent[typer] = why
        else:
            cases[typer] = (_hello(folder, "typer", TYPER, str(rivals.typer_python)), plain)
        start = script_of(folder)
        for name, words in COMMANDS.items():
            cases[f"p2pchat {name}"] = ([*start, *words], env)
        for argv, environment in cases.values():
            wall_ms(argv, environment)  # bytecode is written once
        for _ in range(chosen.rounds):
            for name, (argv, environment) in cases.items():
                table.add(name, ms=wall_ms(argv, environment))
    slowest = max(table.median(f"p2pchat {name}", "ms") or 0.0 for name in COMMANDS)
    report.verdicts.append(Verdict("the slowest command, whole process, ms", slowest, 110, 60))
    bare = table.median("python, nothing", "ms")
    if bare is not None:
        report.remarks.append(
            f"of its own, the bare interpreter's {bare:.0f} ms taken off: {slowest - bare:.0f} ms"
        )


def _hello(folder: Path, name: str, code: str, python: str) -> list[str]:
    """A script of one line that imports the code, so that its bytecode is cached like a package's."""
    (folder / f"hello_{name}.py").write_text(code, encoding="ascii")
    path = folder / f"run_{name}.py"
    path.write_text(f"import hello_{name}\n", encoding="ascii")
    return [python, str(path), "hello", "bob"]


def main(argv: Sequence[str] | None = None) -> Report:
    return script("cli_start", ABOUT, measure, argv, rounds=11)


if __name__ == "__main__":
    main()
    sys.exit(0)
