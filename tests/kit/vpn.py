"""A tunnel between two machines of a Network: WireGuard in userspace, as Debian has it.

Decides: how it is started, keyed and ended. Does not know: what travels. Needs wireguard-go,
wireguard-tools and /dev/net/tun (`needs_tool("wireguard-go")`, `needs_tool("wg")`).

    with WireGuard(a, "10.99.0.1", "203.0.113.1", b, "10.99.0.2", "203.0.113.2") as tunnel:
        tunnel.route(a, "10.78.0.0/16")     # what a sends to that network goes through it
"""

from __future__ import annotations

import itertools
import os
import subprocess
import time
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Final

from tests.kit.netns import Host, ip

SOCKETS: Final = Path("/var/run/wireguard")
"""Shared by all namespaces, so names of interfaces are too."""
UP_S: Final = 10.0
PORT: Final = 51820

_serial = itertools.count()


class WireGuard:
    """A tunnel between `one` and `other`, whose outer addresses are `at` and `to`."""

    def __init__(
        self, one: Host, inner: str, at: str, other: Host, inner_other: str, to: str, port: int = PORT
    ) -> None:
        self._ends = ((one, inner, at), (other, inner_other, to))
        self._allowed: dict[str, list[str]] = {one.namespace: [], other.namespace: []}
        self._keys: dict[str, tuple[str, str]] = {}
        self._port = str(port)
        self._stack = ExitStack()
        self.name = f"wg{os.getpid()}x{next(_serial)}"[:12]

    def __enter__(self) -> WireGuard:
        try:
            for number, (host, inner, _) in enumerate(self._ends):
                self._start(host, self._interface(number), inner)
            self._introduce()
        except BaseException:
            self._stack.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def _interface(self, number: int) -> str:
        return f"{self.name}{'ab'[number]}"

    def _start(self, host: Host, interface: str, inner: str) -> None:
        environment = {**os.environ, "LOG_LEVEL": "error"}
        process = host.popen("wireguard-go", "-f", interface, env=environment)
        self._stack.callback(_end, process)
        deadline = time.monotonic() + UP_S
        while not (SOCKETS / f"{interface}.sock").exists():
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"wireguard-go does not start on {interface}")
            time.sleep(0.02)
        secret = _words("wg", "genkey")
        self._keys[host.namespace] = (secret, _words("wg", "pubkey", said=secret))
        host.run(
            "wg", "set", interface, "listen-port", self._port, "private-key", "/dev/stdin",
            input=secret, check=True,
        )  # fmt: skip
        host.run("ip", "address", "add", f"{inner}/24", "dev", interface, check=True)
        host.run("ip", "link", "set", interface, "mtu", "1420", "up", check=True)

    def _introduce(self) -> None:
        for number, (host, _, _) in enumerate(self._ends):
            far, inner, outer = self._ends[1 - number]
            allowed = ",".join((f"{inner}/32", *self._allowed[host.namespace]))
            host.run(
                "wg", "set", self._interface(number), "peer", self._keys[far.namespace][1],
                "endpoint", f"{outer}:{self._port}", "allowed-ips", allowed, "persistent-keepalive", "25",
                check=True,
            )  # fmt: skip

    def route(self, host: Host, network: str) -> None:
        """What `host` has for `network` goes through the tunnel, and may come from there."""
        number = 0 if host is self._ends[0][0] else 1
        self._allowed[host.namespace].append(network)
        self._introduce()
        ip("-n", host.namespace, "route", "replace", network, "dev", self._interface(number))

    def cut(self) -> None:
        """The line between the sites is down."""
        for number, (host, _, _) in enumerate(self._ends):
            host.run("ip", "link", "set", self._interface(number), "down", check=True)


def _words(*argv: str, said: str = "") -> str:
    done = subprocess.run(argv, input=said, capture_output=True, text=True, check=True, timeout=10)
    return done.stdout.strip()


def _end(process: subprocess.Popen[str]) -> None:
    process.terminate()
    try:
        process.wait(5)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait(5)
