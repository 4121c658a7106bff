"""`chat`: type a line, it is sent; what arrives is printed.

Decides: how two streams, the keyboard and the network, share one screen. Does not know:
how messages travel. Off a terminal it sends the lines of its input and ends.
"""

from __future__ import annotations

import sys
import threading
from typing import Any, Final

from p2pchat.errors import CommandError
from p2pchat_cli import lines
from p2pchat_cli.commands import listen
from p2pchat_cli.commands.send import say
from p2pchat_cli.happened import change, look, room_name
from p2pchat_cli.session import Context, check_text
from p2pchat_cli.text import field

BACKLOG: Final = 10
"""Messages shown at the start: enough to remember what it was about."""

CONFIRM_S = 2.0


class Conversation:
    """One running chat. Each thread has a connection of its own; the lock guards what both use."""

    def __init__(self, ctx: Context, listening: Context) -> None:
        self.ctx = ctx
        self.listening = listening
        self.target = ctx.word("target")
        self.sent: set[str] = set()
        self.lock = threading.Lock()
        self.ready = threading.Event()
        self.begun = threading.Event()  # what was said before is on the screen
        self.over = threading.Event()
        self.confirming = threading.Lock()  # while what was just shown is not confirmed yet
        self.failure: CommandError | None = None

    def listen(self) -> None:
        """Print and confirm what arrives, until the daemon is gone for good."""
        types = ["message", "room", "typing", "presence", "warning"]
        params = {"targets": [self.target], "since": None, "types": types, "mentions": False}
        stream = listen.Stream(self.listening, params, None)
        try:
            while (line := stream.next()) is not None and not self.over.is_set():
                if line["type"] == "ready":
                    self.ready.set()
                    self.begun.wait()
                elif line["type"] == "warning":
                    self.ctx.out.remark(f"warning: {field(self.ctx.out.hint(line['warning']['message']))}")
                elif line["type"] == "room":
                    self.happened(line["room"])
                elif line["type"] in ("typing", "presence"):
                    self.there(line)
                else:
                    self.arrived(line["message"])
        except CommandError as error:
            self.failure = error
        except (BrokenPipeError, OSError):
            self.over.set()  # nobody reads what we print any more
        finally:
            self.ready.set()

    def arrived(self, message: dict[str, Any]) -> None:
        """One message from the stream, which may tell it twice."""
        with self.confirming:
            with self.lock:
                if message["id"] in self.sent:
                    return
                self.sent.add(message["id"])
                self.show([message])
            if not message["mine"]:
                self.listening.call("read.confirm", room=message["room"], ids=[message["id"]])

    def happened(self, room: dict[str, Any]) -> None:
        """Something about the room itself: who came, who went, what was changed."""
        with self.lock:
            if self.ctx.out.json:
                self.ctx.out.object({"type": "room", "room": room})
            else:
                lines.aside(self.ctx.out, change(room, self.ctx.out.hint(look(room))))
            self.ctx.out.flush()

    def there(self, line: dict[str, Any]) -> None:
        """Somebody types, or is there otherwise than before: told once, and not when he stops typing."""
        subject = line[line["type"]]
        with self.lock:
            if self.ctx.out.json:
                self.ctx.out.object({"type": line["type"], line["type"]: subject})
            elif line["type"] == "presence" or subject["typing"]:
                lines.aside(self.ctx.out, listen.remark(line))
            self.ctx.out.flush()

    def show(self, messages: list[dict[str, Any]]) -> None:
        """Print; with JSON one object a line, as `listen` has it."""
        for message in messages:
            if self.ctx.out.json:
                self.ctx.out.object({"type": "message", "message": message})
            else:
                for text in lines.single(self.ctx.out, message):
                    self.ctx.out.line(text)
        self.ctx.out.flush()

    def begin(self) -> None:
        """What was said last, and what is unread."""
        page = self.ctx.call("history", target=self.target, tail=BACKLOG)
        unread = self.ctx.call("read.open", target=self.target)
        with self.lock:
            recent = {message["id"]: message for message in [*page["messages"], *unread["messages"]]}
            fresh = [message for key, message in recent.items() if key not in self.sent]
            self.sent.update(recent)
            self.show(fresh)
        shown = [message["id"] for message in recent.values() if not message["mine"]]
        if shown:
            self.ctx.call("read.confirm", room=page["room"]["id"], ids=shown)
        self.begun.set()
        self.at_work()
        if self.ctx.out.tty and not self.ctx.out.json:
            where = "with" if page["room"]["kind"] == "direct" else "in"
            self.ctx.out.remark(f"chatting {where} {room_name(page['room'])}; ctrl-d ends")

    def at_work(self) -> None:
        """Somebody sits here: he is available, and ten minutes after his last line away."""
        if sys.stdin is not None and sys.stdin.isatty():
            self.ctx.call("presence.active")

    def type(self, text: str) -> None:
        """One typed line. On a terminal it stands there already, so the stream's echo is dropped."""
        with self.lock:
            answer = say(self.ctx, self.target, check_text(text))
            if self.ctx.out.tty and sys.stdin.isatty():
                self.sent.add(answer["id"])
            elif answer["id"] not in self.sent:
                self.sent.add(answer["id"])
                if self.ctx.out.json:
                    self.ctx.out.object(answer)
        if answer.get("warning"):
            self.ctx.out.remark(f"warning: {field(self.ctx.out.hint(answer['warning']))}")


def run(ctx: Context) -> int:
    """Until end of input, Ctrl-C, or a daemon that is gone for good."""
    ctx.call("history", target=ctx.word("target"), tail=1)  # an unknown name fails before anything starts
    listening = ctx.another()
    chat = Conversation(ctx, listening)
    thread = threading.Thread(target=chat.listen, name="listen", daemon=True)
    thread.start()
    chat.ready.wait()
    failed = 0
    try:
        if chat.failure is None:
            chat.begin()
            failed = _read_lines(ctx, chat)
    except KeyboardInterrupt:
        failed = 0
    finally:
        chat.over.set()
        chat.begun.set()
        chat.confirming.acquire(timeout=CONFIRM_S)  # what was shown was read, whoever leaves now
    if chat.failure is not None:
        raise chat.failure
    return failed


def _read_lines(ctx: Context, chat: Conversation) -> int:
    """Send every line of the input; a line that cannot be sent is told and the chat goes on."""
    failed = 0
    if sys.stdin is None:
        return 0
    for raw in sys.stdin.buffer:
        if chat.failure is not None or chat.over.is_set():
            break
        try:
            text = raw.decode("utf-8").rstrip("\r\n")
            chat.at_work()
            if text.strip():
                chat.type(text)
        except UnicodeDecodeError:
            failed = ctx.out.failure(CommandError("usage", "the line is not UTF-8", "it was not sent"))
        except CommandError as error:
            if error.kind not in ("usage", "too_long"):
                raise
            failed = ctx.out.failure(error)
    return failed
