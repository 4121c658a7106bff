"""What a handshake costs: ours on both sides, without I/O and over TCP, beside TLS 1.3.

    python -m tests.bench.handshake [--rounds N] [--handshakes N] [--json FILE]

Root for the part over TCP (a namespace link). Ours is the daemon's own LinkMachine with a
real hello: Noise XXpsk0, the statements of both proven, prekey and profile carried. TLS is
Python's ssl with Ed25519 certificates on both sides, the closest a rival comes.
"""

from __future__ import annotations

import argparse
import os
import ssl
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import trio

from p2pchat.crypto.identity import generate_device, generate_recovery
from p2pchat.engine.accounts import device_id, make_genesis, read_statement
from p2pchat.engine.links import OPEN_OFFICE_KEY, Established, LinkMachine
from p2pchat.wire.codec import encode
from p2pchat.wire.messages.link import Hello
from p2pchat.wire.messages.registers import SignedRegister
from tests.bench.report import Report, Table, percentile, script
from tests.bench.rivals import Rivals
from tests.bench.workers import Worker, python_module, say, workers
from tests.kit.netns import Network

ABOUT = "A handshake, from the first byte until the dialling side has proven the other and been heard."
RUN_S = 60.0
COLUMNS = {"p50": "µs", "p99": "µs"}
OURS, TLS = "p2pchat", "TLS 1.3, Ed25519 certificates both sides"


class Dice:
    """The system's randomness as an engine port."""

    def bytes(self, count: int) -> bytes:
        return os.urandom(count)

    def random(self) -> float:
        return 0.5


class Person:
    """Keys and hello of one machine; the registers are of the size of a prekey and a profile."""

    def __init__(self) -> None:
        keys = generate_device(os.urandom)
        recovery = generate_recovery(os.urandom)
        genesis = make_genesis(keys.signing_seed, keys.noise.public, recovery.public)
        account = read_statement(genesis).account
        device = device_id(account, keys.signing.public)
        registers = tuple(SignedRegister(os.urandom(size), os.urandom(64)) for size in (90, 70))
        self.secret = keys.noise_secret
        self.hello = encode(Hello(1, device, (genesis,), registers, 26700, time.time_ns() // 10**6))

    def machine(self, *, initiator: bool) -> LinkMachine:
        """One side of a new link."""
        return LinkMachine(
            initiator=initiator,
            noise_secret=self.secret,
            hello=self.hello,
            psks={"office": (OPEN_OFFICE_KEY,)},
            entropy=Dice(),
            now=time.monotonic(),
        )


def without_io(alice: Person, bob: Person) -> dict[str, float]:
    """Seconds of one handshake spent by each side."""
    spent = {"initiator": 0.0, "responder": 0.0}
    clock = time.perf_counter

    def at(side: str, work: Callable[[], bytes]) -> bytes:
        start = clock()
        data = work()
        spent[side] += clock() - start
        return data

    def eat(machine: LinkMachine, data: bytes) -> bytes:
        machine.receive_data(data, 0.0)
        return machine.data_to_send()

    started = clock()
    one, two = alice.machine(initiator=True), bob.machine(initiator=False)
    made = clock() - started
    spent = {side: made / 2 for side in spent}

    def begin() -> bytes:
        one.start()
        return one.data_to_send()

    first = at("initiator", begin)
    second = at("responder", lambda: eat(two, first))
    third = at("initiator", lambda: eat(one, second))
    at("responder", lambda: eat(two, third))
    if not (one.is_open and two.is_open):
        raise RuntimeError("the handshake did not complete")
    return spent


# -- over TCP: run as a worker ---------------------------------------------------------------------


async def shake(machine: LinkMachine, stream: trio.SocketStream) -> None:
    """Pump until this side has proven the other."""
    while True:
        if data := machine.data_to_send():
            await stream.send_all(data)
        while (event := machine.next_event()) is not None:
            if not isinstance(event, Established):
                raise RuntimeError(f"instead of a link: {event}")
            return
        machine.receive_data(await stream.receive_some(65536), time.monotonic())


async def answer_ours(stream: trio.SocketStream, me: Person) -> None:
    await shake(me.machine(initiator=False), stream)
    await stream.send_all(b"!")


async def dial_ours(host: str, port: int, me: Person) -> None:
    async with await trio.open_tcp_stream(host, port) as stream:
        machine = me.machine(initiator=True)
        machine.start()
        await shake(machine, stream)
        await stream.send_all(machine.data_to_send())
        await stream.receive_some(1)


def context(server: bool, folder: Path) -> ssl.SSLContext:
    """TLS 1.3 with a certificate on both sides, the other's checked."""
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER if server else ssl.PROTOCOL_TLS_CLIENT)
    made.minimum_version = ssl.TLSVersion.TLSv1_3
    made.check_hostname = False
    made.verify_mode = ssl.CERT_REQUIRED
    made.load_verify_locations(folder / "certificate.pem")
    made.load_cert_chain(folder / "certificate.pem", folder / "key.pem")
    return made


async def serve(kind: str, host: str, folder: Path) -> None:
    listener = (await trio.open_tcp_listeners(0, host=host))[0]
    me = Person()
    tls = context(True, folder) if kind == "tls" else None
    say(port=listener.socket.getsockname()[1])

    async def take(stream: trio.SocketStream) -> None:
        if tls is None:
            await answer_ours(stream, me)
            return
        await trio.SSLStream(stream, tls, server_side=True, https_compatible=True).send_all(b"!")

    await trio.serve_listeners(take, [listener])


async def dial(kind: str, host: str, folder: Path, port: int, count: int) -> None:
    me = Person()
    tls = context(False, folder) if kind == "tls" else None
    took = []
    for _ in range(count):
        start = time.perf_counter()
        if tls is None:
            await dial_ours(host, port, me)
        else:
            inner = await trio.open_tcp_stream(host, port)
            stream = trio.SSLStream(inner, tls, https_compatible=True)
            await stream.receive_some(1)
            await inner.aclose()
        took.append(time.perf_counter() - start)
    say(done_s=took)


# -- the figure ---------------------------------------------------------------------------------------


def over_tcp(net: Network, kind: str, folder: Path, count: int) -> list[float]:
    """Microseconds of each, connect included."""
    alice, bob = net.hosts[:2]
    module = "tests.bench.handshake"
    with workers() as stack:
        there = python_module(module, "serve", kind, bob.ip, folder)
        port = stack.enter_context(Worker(bob, there, folder)).hear("port")
        here = python_module(module, "dial", kind, bob.ip, folder, port, count)
        took = stack.enter_context(Worker(alice, here, folder)).hear("done_s", RUN_S)
    return [seconds * 1e6 for seconds in took[5:]]


def measure(chosen: argparse.Namespace, report: Report) -> None:
    alone = Table("Without I/O, time spent by each side", COLUMNS)
    joined = Table("Over TCP between two namespaces, connect included, both sides on these cores", COLUMNS)
    report.tables += [alone, joined]
    no_tls = Rivals(chosen.rivals).lacks("tool:openssl")
    alice, bob = Person(), Person()
    with Network(2) as net, tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if no_tls:
            report.absent[TLS] = no_tls
        else:
            argv = ["openssl", "req", "-x509", "-newkey", "ed25519", "-nodes", "-subj", "/CN=bench.test"]
            argv += ["-keyout", str(folder / "key.pem"), "-out", str(folder / "certificate.pem")]
            subprocess.run(argv, check=True, capture_output=True)
        for _ in range(chosen.rounds):
            spent = [without_io(alice, bob) for _ in range(chosen.handshakes)]
            for side in ("initiator", "responder"):
                samples = [one[side] * 1e6 for one in spent]
                alone.add(f"p2pchat, {side}", p50=percentile(samples, 50), p99=percentile(samples, 99))
            for kind, row in (("ours", OURS), ("tls", TLS)):
                if kind == "ours" or not no_tls:
                    samples = over_tcp(net, kind, folder, chosen.handshakes + 5)
                    joined.add(row, p50=percentile(samples, 50), p99=percentile(samples, 99))
    ratio = joined.ratio(OURS, TLS, "p50")
    if ratio is not None:
        report.remarks.append(f"p2pchat / TLS 1.3, p50 over TCP: {ratio:.2f}")


def options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--handshakes", type=int, default=100, metavar="N", help="a round")


def main(argv: Sequence[str] | None = None) -> Report:
    return script("handshake", ABOUT, measure, argv, options=options)


if __name__ == "__main__":
    if sys.argv[1:2] == ["serve"]:
        trio.run(serve, sys.argv[2], sys.argv[3], Path(sys.argv[4]))
    elif sys.argv[1:2] == ["dial"]:
        trio.run(dial, sys.argv[2], sys.argv[3], Path(sys.argv[4]), int(sys.argv[5]), int(sys.argv[6]))
    else:
        main()
