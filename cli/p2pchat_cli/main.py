"""The script `p2pchat`: find the command, load its module and nothing else, run it.

Decides: what is loaded when, and what an exception becomes. Does not know: any command.
"""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Sequence
from importlib import import_module
from typing import Final

from p2pchat.errors import CommandError, SettingsError
from p2pchat_cli.output import Output
from p2pchat_cli.parser import Wanted, parse, wants_json

INTERRUPTED: Final = 130
"""Exit code after Ctrl-C, as shells have it: 128 + SIGINT."""

COMPLETION: Final = ("--install-completion", "--show-completion")


def run() -> int:
    """Entry point of the console script: the process exit code."""
    for stream in (sys.stdout, sys.stderr):
        # A locale without UTF-8 must not turn a message into a traceback.
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
    try:
        code = main(sys.argv[1:])
        sys.stdout.flush()
    except BrokenPipeError:
        # `p2pchat history bob | head`: nobody reads any more. Python would complain again at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except OSError as error:
        sys.stderr.write(f"error: the answer could not be written: {error.strerror}\n")
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 9
    return code


def main(argv: Sequence[str]) -> int:
    """Run what `argv` asks for and tell failures; returns the exit code."""
    out = Output(json=wants_json(argv, os.environ))
    try:
        return _run(argv, out)
    except CommandError as error:
        return out.failure(error)
    except SettingsError as error:
        return out.failure(CommandError("usage", str(error), "p2pchat config show"))
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        raise
    except OSError as error:
        kind = "disk_full" if error.errno in (errno.ENOSPC, getattr(errno, "EDQUOT", None)) else "archive"
        where = f"{error.filename!r}: " if error.filename else ""
        return out.failure(
            CommandError(kind, f"{where}{(error.strerror or str(error)).lower()}", "p2pchat doctor")
        )
    except Exception as error:
        # The last net: a bug of ours is told like any failure, in JSON where JSON is expected.
        if os.environ.get("P2PCHAT_DEBUG"):
            raise
        what = f"{type(error).__name__}: {error}"
        return out.failure(CommandError("internal", what, "set P2PCHAT_DEBUG=1 to see where"))


def _run(argv: Sequence[str], out: Output) -> int:
    if "_P2PCHAT_COMPLETE" in os.environ or (argv and argv[0] in COMPLETION):
        return _completion(argv)
    try:
        parsed = parse(argv, os.environ)
    except Wanted as wanted:
        return _version(out) if wanted.what == "version" else _help(wanted.words)
    out.json = parsed.json
    out.home = "" if "home" in parsed.twins else parsed.home or ""
    from p2pchat_cli.session import Context

    ctx = Context(parsed, os.environ, out)
    module = import_module(f"p2pchat_cli.commands.{parsed.command.module}")
    try:
        return int(getattr(module, parsed.command.function)(ctx))
    finally:
        ctx.close()


def _version(out: Output) -> int:
    from p2pchat import __version__

    if out.json:
        out.object({"version": __version__})
    else:
        out.line(f"p2pchat {__version__}")
    return 0


def _help(words: Sequence[str]) -> int:
    from p2pchat_cli import full  # typer: loaded for help and completion alone

    full.show_help(words)
    return 0


def _completion(argv: Sequence[str]) -> int:
    from p2pchat_cli import full

    full.complete(argv)
    return 0


if __name__ == "__main__":
    sys.exit(run())
