"""`listen`: a stream of what happens, resumable across restarts of either side.

Decides: when to come back after the daemon vanished, and when to end. Does not know:
what happens.
"""

from __future__ import annotations

import time
from typing import Any, Final

from p2pchat.control.operations.history import LISTEN_TYPES
from p2pchat.errors import CommandError
from p2pchat_cli import lines
from p2pchat_cli.happened import change, coming, look, room_name
from p2pchat_cli.session import Context
from p2pchat_cli.text import field
from p2pchat_cli.transfers import named, other

PATIENCE_S: Final = 60.0
"""How long a daemon may be away before the stream ends with exit 3."""

RETRY_S: Final = 0.25
MESSAGES: Final = ("message", "edit", "delete", "reaction", "pin")


class Stream:
    """Lines from the daemon, across its restarts, each after the cursor of the one before."""

    def __init__(self, ctx: Context, params: dict[str, Any], deadline: float | None) -> None:
        self._ctx = ctx
        self._params = params
        self._deadline = deadline
        self._feed: Any = None
        self._ready = False

    def next(self) -> dict[str, Any] | None:
        """The next line, `ready` first and once; None when the time is over."""
        while True:
            try:
                line = self._take()
            except TimeoutError:
                return None
            except CommandError as error:
                if error.kind != "no_daemon" or not self._ready:
                    raise
                line = None
            if line is None:
                if not self._come_back():
                    return None
                continue
            self._params["since"] = int(line["cursor"])
            if line["type"] != "ready":
                return line
            if not self._ready:
                self._ready = True
                return line

    def _take(self) -> dict[str, Any] | None:
        """One line; None if the daemon ended the stream in good order, because it stops."""
        if self._feed is None:
            self._feed = self._ctx.client().subscribe(self._params, 60.0)
        line: dict[str, Any] | None = self._feed.next_event(self._left())
        return line

    def _left(self) -> float | None:
        if self._deadline is None:
            return None
        left = self._deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError
        return left

    def _come_back(self) -> bool:
        """Wait for a daemon; False when the time is over, CommandError `no_daemon` after a minute."""
        self._feed = None
        self._ctx.close()
        lost = time.monotonic()
        while not self._ctx.running():
            if self._deadline is not None and time.monotonic() >= self._deadline:
                return False
            if time.monotonic() - lost > PATIENCE_S:
                self._ctx.client()  # raises no_daemon with its hint
            time.sleep(RETRY_S)
        return True


def run(ctx: Context) -> int:
    """Print lines until enough came, the time is over, or the user ends it."""
    count, timeout = ctx.count("count", 1), ctx.number("timeout")
    deadline = None if timeout is None else time.monotonic() + timeout
    stream = Stream(ctx, parameters(ctx), deadline)
    seen = 0
    states: dict[str, str] = {}  # of files: people are told of changes, programs of every step
    while count is None or seen < count:
        line = stream.next()
        if line is None:
            if count is None:
                return 0
            raise CommandError(
                "timeout", f"{seen} of {count} events within {timeout:g} s", "give more time: --timeout S"
            )
        seen += line["type"] != "ready"
        if ctx.out.json:
            ctx.out.object(line)
        elif line["type"] != "file" or states.get(line["file"]["id"]) != line["file"]["state"]:
            _show(ctx, line)
            ctx.out.flush()
        if line["type"] == "file":
            states[line["file"]["id"]] = line["file"]["state"]
    return 0


def parameters(ctx: Context) -> dict[str, Any]:
    """What to subscribe to."""
    since, types = ctx.text("since"), ctx.text("types")
    if since is not None and not (since.isascii() and since.isdigit() and len(since) < 19):
        raise CommandError("usage", f"--since cannot be {since!r}", "a cursor of an earlier line, or 0")
    chosen = [word.strip() for word in (types or "").split(",") if word.strip()]
    for word in chosen:
        if word not in LISTEN_TYPES:
            raise CommandError("usage", f"--types cannot be {word!r}", "of: " + " ".join(LISTEN_TYPES))
    return {
        "targets": ctx.words("targets"),
        "since": None if since is None else int(since),
        "types": chosen,
        "mentions": ctx.flag("mentions"),
    }


def _show(ctx: Context, line: dict[str, Any]) -> None:
    if line["type"] == "ready":
        ctx.out.remark(f"listening from cursor {line['cursor']}; ctrl-c ends")
        return
    if line["type"] in MESSAGES:
        for text in lines.single(ctx.out, line[line["type"]], rooms=True):
            ctx.out.line(text)
        return
    ctx.out.line(ctx.out.style(f"· {ctx.out.hint(remark(line))}", "dim"))


def _stands(transfer: dict[str, Any]) -> str:
    """`done, in /home/ann/inbox/plan.pdf`; `failed: no space left`."""
    where = f", in {field(transfer['path'])}" if transfer["path"] and transfer["direction"] == "in" else ""
    why = f": {field(transfer['error']['message'])}" if transfer["error"] else ""
    return f"{transfer['state']}{where}{why}"


def _came(receipt: dict[str, Any]) -> str:
    """How far a message has come: `held by carol`, `delivered (bob)`; of a room also who has it by now."""
    state, person = receipt["state"], receipt["person"]
    who = field(person.get("machine") or person["name"]) if person else "you"
    if state == "queued":
        return f"has reached {who}" if person else "is held by nobody any more: it waits here"
    return f"held by {who}" if state == "held" and person else f"{state} ({who})"


def remark(line: dict[str, Any]) -> str:
    """One line about anything but a message."""
    subject = line.get(line["type"]) or {}
    match line["type"]:
        case "receipt":
            return f"{subject['id'][:12]} {_came(subject)}"
        case "ack":
            noted, asked = len(subject["acked"]), len(subject["acked"]) + len(subject["missing"])
            return f"{subject['id'][:12]} noted by {field(subject['person']['name'])} ({noted} of {asked})"
        case "peer":
            name = field(subject["name"])
            return (
                f"{name} is here ({field(subject['address'] or '')})"
                if subject["connected"]
                else f"{name} is gone"
            )
        case "presence":
            said = f": {field(subject['status_message'])}" if subject["status_message"] else ""
            return f"{field(subject['name'])} is {subject['presence']}{said}"
        case "typing":
            return f"{field(subject['person']['name'])} {'is' if subject['typing'] else 'has stopped'} typing"
        case "history":
            return f"{room_name(subject)}: {coming(subject['coming'])}"
        case "file":
            return f"{named(subject)} {other(subject)}: {_stands(subject)} {subject['id'][:12]}"
        case "room":
            return f"{room_name(subject)}: {change(subject, look(subject))}"
        case "warning":
            return f"warning: {field(subject['message'])}"
    return field(f"{line['type']} {subject}")
