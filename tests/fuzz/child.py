"""The process that is fuzzed: `python -m tests.fuzz.child MODULE [libFuzzer arguments]`.

Decides: what counts as a finding: every exception but RemoteProtocolError; whose memory the limit
of memory is about. Does not know: for how long, from which corpus (run).
"""

from __future__ import annotations

import importlib
import os
import sys

import atheris


def forget_whoever_started_it() -> None:
    """Go on in a process whose greatest size is its own; this one waits and ends as that one did.

    `execve` hands on the greatest size of the process that called it (getrusage(2), kept in
    `signal_struct.maxrss`), and libFuzzer's limit looks at that figure: a test run of 513 MiB would
    be told that every decoder takes too much. `fork` starts it anew.
    """
    child = os.fork()
    if child:
        _, status = os.waitpid(child, 0)
        code = os.waitstatus_to_exitcode(status)
        sys.exit(code if code >= 0 else 128 - code)


def main() -> None:
    forget_whoever_started_it()
    name, *arguments = sys.argv[1:]
    with atheris.instrument_imports(include=["p2pchat"]):
        target = importlib.import_module(name)
        from p2pchat.errors import RemoteProtocolError

    def one_input(data: bytes) -> None:
        try:
            target.one_input(data)
        except RemoteProtocolError:
            return

    atheris.Setup([name, *arguments], one_input)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
