"""One run of one command: what was said to it, its profile, and the way to the daemon.

Decides: how a command finds the daemon and the user's answers to questions. Does not
know: any command, or how a failure is shown.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from p2pchat import paths
from p2pchat.errors import CommandError
from p2pchat_cli.output import Output

if TYPE_CHECKING:
    from p2pchat.control.client import PlainClient
    from p2pchat_cli.parser import Parsed, Raw

ANSWER_S: Final = 60.0
"""A daemon that says nothing for this long is stuck; its own waits are added on top."""

MAX_STDIN: Final = 1 << 20
"""Bytes read of a text on standard input before giving up: far more than a message may hold."""


class Context:
    """Everything a command works on. `values` are those of its row in the table."""

    def __init__(self, parsed: Parsed, environ: Mapping[str, str], out: Output) -> None:
        self._parsed = parsed
        self.values = parsed.values
        self.twins = parsed.twins
        self.no_input = parsed.no_input
        self.home = parsed.home
        self.environ = environ
        self.out = out
        self.profile = paths.profile(parsed.home)
        self._client: PlainClient | None = None

    # -- what was said -------------------------------------------------------------------

    def text(self, name: str) -> str | None:
        """A string that was given, or None."""
        value = self.values[name]
        assert value is None or isinstance(value, str)
        return value

    def word(self, name: str) -> str:
        """A string that the parser made sure of."""
        value = self.values[name]
        assert isinstance(value, str)
        return value

    def flag(self, name: str) -> bool:
        """Whether a flag was given."""
        return self.values[name] is True

    def number(self, name: str) -> float | None:
        """A number of seconds, or None."""
        value = self.values[name]
        assert value is None or isinstance(value, float)
        return value

    def count(self, name: str, low: int, default: int | None = None) -> int | None:
        """A whole number of at least `low`; CommandError `usage` below it."""
        value = self.values[name]
        if value is None:
            return default
        assert isinstance(value, int)
        if value < low:
            raise CommandError("usage", f"--{name.replace('_', '-')} cannot be '{value}'", f"at least {low}")
        return value

    def words(self, name: str) -> list[str]:
        """A list, empty if nothing was given."""
        value: Raw = self.values[name]
        assert isinstance(value, list)
        return value

    def identifier(self, name: str) -> str:
        """An ID; refuses here what cannot be one, so that the sentence names the argument."""
        value = self.word(name)
        if not value.strip():
            raise CommandError("usage", f"{value!r} is no id", "ids stand in `p2pchat history TARGET`")
        return value

    # -- the daemon ----------------------------------------------------------------------

    def client(self) -> PlainClient:
        """The connection, made on first use; CommandError `no_daemon` at once if none runs."""
        if self._client is None:
            from p2pchat.control.client import connect

            self._client = connect(self.profile)
        return self._client

    def call(self, method: str, wait_s: float = 0.0, **params: Any) -> dict[str, Any]:
        """Ask the daemon. `wait_s` is how long the operation itself may take."""
        answer = self.client().call(method, params, ANSWER_S + wait_s)
        if not isinstance(answer, dict):
            raise CommandError("internal", f"the daemon's answer to {method!r} is no object", "p2pchat logs")
        return answer

    def running(self) -> bool:
        """Whether a daemon answers."""
        try:
            self.client()
        except CommandError as error:
            if error.kind == "no_daemon":
                return False
            raise
        return True

    def close(self) -> None:
        """End the connection, if there is one; the next call makes another."""
        if self._client is not None:
            self._client.close()
            self._client = None

    def another(self) -> Context:
        """The same command with a connection of its own, for another thread."""
        return Context(self._parsed, self.environ, self.out)

    # -- the user ------------------------------------------------------------------------

    def interactive(self) -> bool:
        """Whether a question can be asked."""
        return (
            not self.no_input
            and not self.out.json
            and sys.stdin is not None
            and sys.stdin.isatty()
            and self.out.err.isatty()
        )

    def ask(self, question: str, flag: str) -> str:
        """The user's answer; CommandError `usage` naming `flag` where nobody can be asked."""
        if not self.interactive():
            raise CommandError("usage", f"cannot ask here: {question.rstrip(': ')}", f"answer with {flag}")
        self.out.err.write(f"{question} ")
        self.out.err.flush()
        return sys.stdin.readline().strip()

    def secret(self, given: str) -> str:
        """`given`, or one line of standard input for `-`."""
        return sys.stdin.readline().strip() if given == "-" else given


def message_text(given: str | None) -> str:
    """The text of a message: the argument, or standard input for `-` and where none was given.

    One trailing newline is dropped. CommandError `usage` for nothing on a terminal and
    for bytes that are no UTF-8, `too_long` above `MAX_STDIN`.
    """
    if given is not None and given != "-":
        try:
            given.encode()
        except UnicodeEncodeError:
            raise _not_utf8() from None
        return given
    if sys.stdin is None or (given is None and sys.stdin.isatty()):
        raise CommandError("usage", "there is no text", "give it as an argument, or on standard input")
    data = sys.stdin.buffer.read(MAX_STDIN + 1)
    if len(data) > MAX_STDIN:
        raise too_long(len(data))
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError:
        raise _not_utf8() from None
    return text[:-2] if text.endswith("\r\n") else text.removesuffix("\n")


MAX_TEXT: Final = 16 * 1024
"""Bytes of one message. Equal to wire.limits.MAX_TEXT (a test looks), which is too heavy to import here."""


def check_text(text: str, *, empty: bool = False) -> str:
    """`text` if it fits one message; CommandError otherwise, before the daemon is asked. `empty`: it
    may be, for files go with it."""
    length = len(text.encode())
    if length > MAX_TEXT:
        raise too_long(length)
    if not text.strip() and not empty:
        raise CommandError("usage", "there is no text in it", "give it as an argument, or on standard input")
    return text


def too_long(length: int) -> CommandError:
    """The failure for a text that does not fit one event."""
    more = "more than " if length > MAX_STDIN else ""
    return CommandError(
        "too_long",
        f"{more}{min(length, MAX_STDIN)} bytes are too long for one message of {MAX_TEXT}",
        f"split it, and send it in parts of at most {MAX_TEXT} bytes",
    )


def _not_utf8() -> CommandError:
    return CommandError("usage", "the text is not UTF-8", "convert it to UTF-8 first")
