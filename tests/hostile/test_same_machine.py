"""Others on the same machine: another user, a careless umask, and whoever reads argv and logs."""

from __future__ import annotations

import base64
import os
import shutil
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from p2pchat.daemon.identity import IdentityFile
from p2pchat.wire.codec import decode
from tests.kit.hosts import Machine, environment, meet, office, until
from tests.kit.needs import needs_netns, needs_tool
from tests.kit.netns import Network

pytestmark = needs_netns

NOBODY = "65534"
TALK = """
import socket, sys
s = socket.socket(socket.AF_UNIX)
s.settimeout(5)
s.connect(sys.argv[1])
s.sendall(b'{"jsonrpc":"2.0","id":1,"method":"status","params":{}}\\n')
print("heard", s.recv(65536))
"""


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder every user may walk into."""
    folder = Path(tempfile.mkdtemp(prefix="p2pchat-open-"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


def as_nobody(*argv: str) -> subprocess.CompletedProcess[str]:
    """Run as another user, with no rights but everybody's."""
    words = ["setpriv", "--reuid", NOBODY, "--regid", NOBODY, "--clear-groups", *argv]
    return subprocess.run(words, capture_output=True, text=True, check=False, timeout=30)


def everything_in(home: Path) -> list[Path]:
    """The home and what lies in it."""
    return [home, *sorted(home.rglob("*"))]


@needs_tool("setpriv")
def test_another_user_sees_nothing_and_is_told_nothing(open_folder: Path) -> None:
    with Network(1) as net, Machine(net.hosts[0], open_folder / "home", "ann") as ann:
        ann.up()
        for path in everything_in(ann.home)[1:]:
            read = as_nobody("cat", os.fspath(path))
            assert read.returncode != 0
            assert "denied" in read.stderr
        assert as_nobody("ls", os.fspath(ann.home)).returncode != 0
        socket = os.fspath(ann.profile.socket)
        refused = as_nobody(sys.executable, "-c", TALK, socket)
        assert refused.returncode != 0
        assert "heard" not in refused.stdout
        # The second wall: were the folder and the socket open to all, the kernel still tells who comes.
        ann.home.chmod(0o755)
        ann.profile.socket.chmod(0o666)
        refused = as_nobody(sys.executable, "-c", TALK, socket)
        assert "heard b''" in refused.stdout or refused.returncode != 0
        assert "jsonrpc" not in refused.stdout
        assert "p2pchat" not in refused.stdout.replace(socket, "")
        for signal in "TERM", "KILL":
            assert as_nobody("kill", f"-{signal}", str(ann.pid)).returncode != 0
        assert as_nobody("cat", f"/proc/{ann.pid}/mem").returncode != 0
        assert as_nobody("cat", f"/proc/{ann.pid}/environ").returncode != 0
        ann.home.chmod(0o700)
        assert ann.me()["name"] == "ann"


@pytest.mark.parametrize("umask", ["000", "077"])
def test_a_home_is_its_owners_whatever_the_umask(umask: str, tmp_path: Path) -> None:
    with Network(1) as net, Machine(net.hosts[0], tmp_path / "home", "ann") as ann:
        start = ["sh", "-c", f'umask {umask}; exec "$@"', "sh", *ann.argv("up", "--name", "ann")]
        up = subprocess.run(
            start, capture_output=True, text=True, env=environment(ann.home), check=False, timeout=60
        )
        assert up.returncode == 0, up
        ann.pid = ann.ask("status")["daemon"]["pid"]
        ann.p2pchat("config", "set", "read_receipts", "on")
        for path in everything_in(ann.home):
            status = path.lstat()
            wanted = 0o700 if stat.S_ISDIR(status.st_mode) else 0o600
            assert stat.S_IMODE(status.st_mode) & ~wanted == 0, (oct(status.st_mode), path)
            assert stat.S_IMODE(status.st_mode) & 0o400, (oct(status.st_mode), path)
        ann.down()
        ann.up()
        for path in everything_in(ann.home):
            assert stat.S_IMODE(path.lstat().st_mode) & 0o077 == 0, path


def test_what_was_said_and_the_keys_are_in_no_log_argument_or_environment(tmp_path: Path) -> None:
    text, name, other = "canary-text-4711", "Canaria", "Canario"
    with office(2, tmp_path, names=(name, other)) as (_, (ann, bob)):
        ann.up()
        bob.up()
        meet(ann, bob)
        ann.p2pchat("send", other, "-", "--wait", "delivered", stdin=f"{text}\n")
        identifier = bob.history(ann)[0]["id"]
        bob.p2pchat("react", identifier, "+")
        ann.p2pchat("edit", identifier, "-", stdin=f"{text} again\n")
        until(lambda: bob.texts(ann) == [f"{text} again"], 10, "the edit arrives")
        ann.attempt("search", text)
        ann.attempt("send", f"nobody-{name}", "-", stdin=text)
        ann.attempt("trust", "verify", other, "--fingerprint", "0" * 32)
        ann.attempt("peers", "add", "192.0.2.1:26700", timeout_s=30)
        secrets = _secrets(ann) | _secrets(bob)
        key = ann.p2pchat("device", "recovery-key", "--yes")
        printed = {word for word in map(str, key.values()) if len(word) > 20}
        for machine in ann, bob:
            held = {
                "log": machine.profile.log.read_bytes(),
                "argv": Path(f"/proc/{machine.pid}/cmdline").read_bytes().replace(b"\0", b" "),
                "environ": Path(f"/proc/{machine.pid}/environ").read_bytes(),
            }
            assert held["log"], "the log is where we look"
            for where, data in held.items():
                assert text.encode() not in data, where
                for secret in secrets | {word.encode() for word in printed}:
                    assert secret not in data, where
            for person in name, other:
                assert person.encode() not in held["log"]
        # Said again after a stop: nothing of it is written on the way out either.
        ann.down()
        assert text.encode() not in ann.profile.log.read_bytes()
        for path in everything_in(ann.home):
            if path.is_file() and path != ann.profile.identity:
                data = path.read_bytes()
                assert not any(secret in data for secret in secrets), path


def _secrets(machine: Machine) -> set[bytes]:
    """The keys of a machine in the spellings somebody might write them."""
    file = decode(IdentityFile, machine.profile.identity.read_bytes())
    found: set[bytes] = set()
    for secret in (file.signing_seed, file.noise_secret, file.recovery):
        if secret:
            found |= {secret, secret.hex().encode(), base64.b64encode(secret), base64.b32encode(secret)}
    return found
