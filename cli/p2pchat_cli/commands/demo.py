"""`demo`: two throwaway people on this machine meet, talk, share a room and a file.

Decides: the little play, and that nothing of it stays. Does not know: how anything is
done; it runs the same commands a person would type, against real daemons.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, Final

from p2pchat.errors import CommandError
from p2pchat_cli.launch import environment
from p2pchat_cli.session import Context
from p2pchat_cli.text import body, field

MEET_S: Final = 10
LOOK_S: Final = 0.1
PLAN: Final = "floor-plan.txt"
STEP_S: Final = 90.0


class Stage:
    """Two homes, and what happened in them."""

    def __init__(self, ctx: Context, folder: Path) -> None:
        self.ctx = ctx
        self.folder = folder
        self.steps: list[dict[str, Any]] = []
        # Other demos may run on this network: a name of its own keeps them apart.
        mark = os.urandom(2).hex()
        self.ann, self.bob = f"Ann-{mark}", f"Bob-{mark}"
        self.up: list[str] = []

    def home(self, who: str) -> Path:
        """The profile folder of one of the two."""
        return self.folder / who.split("-")[0].lower()

    def run(self, who: str, *words: str, fails: bool = False) -> str:
        """One command of one of the two, shown as a session; returns what it printed."""
        shown = " ".join(["p2pchat", *(_quoted(word) for word in words)])
        self.say(f"{who.split('-')[0].lower()}$ {shown}", bold=True)
        done = subprocess.run(  # noqa: S603 - our own interpreter
            [sys.executable, "-m", "p2pchat_cli", "--home", os.fspath(self.home(who)), *words],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            encoding="utf-8",
            errors="replace",
            timeout=STEP_S,
            env={**environment(self._environ()), "PYTHONIOENCODING": "utf-8"},
            check=False,
            cwd=self.folder,
        )
        self.steps.append(
            {
                "who": who,
                "command": shown,
                "exit": done.returncode,
                "stdout": done.stdout,
                "stderr": done.stderr,
            }
        )
        for line in (done.stdout + done.stderr).splitlines():
            self.say("  " + body(line)[0])
        if done.returncode and not fails:
            raise CommandError(
                "failed",
                f"{shown!r} ended with exit code {done.returncode}: {field(done.stderr or done.stdout, 300)}",
                "p2pchat doctor",
            )
        return done.stdout

    def _environ(self) -> dict[str, str]:
        """Without the twins of `up`: the user's own settings are no part of the play."""
        return {key: value for key, value in self.ctx.environ.items() if not key.startswith("P2PCHAT_")}

    def say(self, text: str, *, bold: bool = False) -> None:
        """A line of the play."""
        if not self.ctx.out.json:
            self.ctx.out.line(self.ctx.out.style(text, "bold") if bold else text)
            self.ctx.out.flush()

    def silent(self, who: str, *words: str) -> dict[str, Any]:
        """A command whose JSON we need ourselves."""
        done = subprocess.run(  # noqa: S603 - our own interpreter
            [sys.executable, "-m", "p2pchat_cli", "--home", os.fspath(self.home(who)), "--json", *words],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=STEP_S,
            env=environment(self._environ()),
            check=False,
        )
        try:
            found = json.loads(done.stdout)
        except ValueError:
            found = None
        return found if isinstance(found, dict) else {}

    def until(self, who: str, transfer: str, state: str) -> None:
        """Let the other machine's word come; what is missing after MEET_S is seen in the next command."""
        deadline = time.monotonic() + MEET_S
        while time.monotonic() < deadline:
            found = self.silent(who, "file", "list").get("transfers", [])
            if any(one["id"] == transfer and one["state"] == state for one in found):
                return
            time.sleep(LOOK_S)


def run(ctx: Context) -> int:
    """Play it; clean up unless --keep, whatever happens."""
    stage = Stage(ctx, Path(tempfile.mkdtemp(prefix="p2pchat-demo-")))
    kept = False
    try:
        _play(stage)
        kept = ctx.flag("keep")
    finally:
        if not kept:
            _clean(stage)
    homes = {who: os.fspath(stage.home(who)) for who in (stage.ann, stage.bob)}
    if ctx.out.json:
        ctx.out.object({"ok": True, "steps": stage.steps, "kept": homes if kept else {}})
        return 0
    if kept:
        stage.say("\nboth are left running; talk through them with --home:")
        for who, home in homes.items():
            stage.say(f"  {who}: p2pchat --home {home} peers")
        stage.say("stop them with `p2pchat --home DIR down` and remove the folders")
    else:
        stage.say("\ncleaned up: both daemons stopped, both folders removed")
    stage.say("\nstart for real, on each machine:  p2pchat up")
    return 0


def _play(stage: Stage) -> None:
    ann, bob = stage.ann, stage.bob
    stage.say("two people on this machine, each with a daemon, keys and an archive of their own\n")
    for who in (ann, bob):
        stage.up.append(who)
        stage.run(who, "up", "--name", who)
    stage.say("\nthey find each other by mDNS, as machines on a network do")
    found = stage.run(ann, "peers", "--wait", bob, "--timeout", str(MEET_S), fails=True)
    if stage.steps[-1]["exit"]:
        stage.say("mDNS does not get through here (`p2pchat doctor` says why): dialled by address instead")
        listen = stage.silent(bob, "status").get("daemon", {}).get("listen", [])
        port = listen[0].rpartition(":")[2] if listen else "26700"
        stage.run(ann, "peers", "add", f"127.0.0.1:{port}")
        found = stage.run(ann, "peers", "--wait", bob, "--timeout", str(MEET_S))
    assert found
    stage.run(bob, "peers", "--wait", ann, "--timeout", str(MEET_S))
    stage.say("\nthey talk, end-to-end encrypted; `--wait delivered` returns when it is stored over there")
    stage.run(ann, "send", bob, "Hello! Shall we look at the plans at three?", "--wait", "delivered")
    stage.run(bob, "read", ann)
    stage.run(bob, "send", ann, "Three is fine. I bring the green folder.", "--wait", "delivered")
    stage.run(ann, "inbox")
    stage.run(ann, "read", bob)
    stage.run(ann, "react", stage.silent(ann, "history", bob)["messages"][-1]["id"], "👍")
    stage.say("\nthey share a room: whoever is in keeps all of it, and needs nobody else to read it")
    stage.run(ann, "room", "create", "plans", "--topic", "the house at the lake")
    stage.run(ann, "room", "invite", "plans", bob)
    stage.run(ann, "send", "plans", "Everything about the plans goes in here.", "--wait", "delivered")
    stage.run(bob, "send", "plans", "Good. The green folder is on my desk.", "--wait", "delivered")
    stage.run(bob, "history", "plans")
    stage.run(ann, "room", "members", "plans")
    stage.say("\nthey share a file: it goes straight from one to the other, when it is taken")
    (stage.folder / PLAN).write_text("ground floor: kitchen, hall, stairs\n" * 20_000, encoding="utf-8")
    offered = stage.run(ann, "file", "send", bob, PLAN).strip()
    stage.until(bob, offered, "offered")
    stage.run(bob, "inbox")
    stage.run(bob, "file", "accept", offered[:8], "--wait", "--timeout", str(MEET_S))
    stage.until(ann, offered, "done")
    stage.run(ann, "file", "list", "--have")
    stage.say("\nevery word stays in the archive of both")
    stage.run(ann, "history", bob)
    stage.run(bob, "search", "green folder")


def _clean(stage: Stage) -> None:
    """Stop both daemons and remove both folders; trouble here is told, not raised over what came before."""
    for who in stage.up:
        done = stage.silent(who, "down", "--now")
        kind = done.get("error", {}).get("kind")
        if kind not in (None, "no_daemon"):
            stage.ctx.out.remark(f"{who} could not be stopped: {field(done['error']['message'])}")
    shutil.rmtree(stage.folder, ignore_errors=True)
    if stage.folder.exists():
        stage.ctx.out.remark(f"could not remove {os.fspath(stage.folder)!r}")


def _quoted(word: str) -> str:
    return f'"{word}"' if " " in word else word
