"""The single file: unpacks once, for its owner only, on the Pythons it names, without network or pip.

Decides: nothing. Does not know: how p2pchat works; most tests carry a tiny stand-in for it, the last
ones build the real file and run it in an empty root with no network.
"""

from __future__ import annotations

import json
import os
import shutil
import stat
import subprocess
import sys
import zipfile
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import ModuleType

import pytest

from tests.kit.needs import needs_netns
from tests.packaging.loading import ROOT, load

TAG = f"cp{sys.version_info[0]}{sys.version_info[1]}"
MACHINE = os.uname().machine
# Prints where it runs from; with "child" it starts `python -m p2pchat`, as `p2pchat up` does.
STAND_IN = """
import os, subprocess, sys
def run():
    print("here", os.path.dirname(os.path.dirname(__file__)), oct(os.umask(0)), *sys.argv[1:], flush=True)
    if "child" in sys.argv:
        return subprocess.run([sys.executable, "-m", "p2pchat"]).returncode
    return 7
"""
CHILD = "import json, os; print('child', os.path.dirname(os.path.dirname(__file__)), json.dumps(1))"


def make_wheel(path: Path, files: Mapping[str, str]) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name, text in files.items():
            archive.writestr(name, text)
    return path


@pytest.fixture
def builder() -> ModuleType:
    return load("build_single_file")


@pytest.fixture
def starter() -> ModuleType:
    return load("single_file_main")


@pytest.fixture
def stand_in(tmp_path: Path, builder: ModuleType) -> Path:
    """A file whose p2pchat is the stand-in above."""
    files = {
        "p2pchat/__init__.py": "",
        "p2pchat/__main__.py": CHILD,
        "p2pchat_cli/__init__.py": "",
        "p2pchat_cli/main.py": STAND_IN,
    }
    wheel = make_wheel(tmp_path / "p2pchat-1.0-py3-none-any.whl", files)
    out = tmp_path / "p2pchat.pyz"
    builder.assemble({TAG: [wheel]}, "1.0", MACHINE, out)
    return out


@pytest.fixture
def home(tmp_path: Path) -> Path:
    path = tmp_path / "home"
    path.mkdir(0o700)
    return path


def start(
    file: Path, home: Path, *arguments: str, cwd: Path | None = None
) -> subprocess.CompletedProcess[str]:
    """Run the file as on a bare machine: no environment, no site-packages, nothing of the checkout."""
    command = [sys.executable, "-I", "-S", str(file), *arguments]
    env = {"HOME": str(home), "PATH": "/usr/bin:/bin"}
    return subprocess.run(command, env=env, cwd=cwd or home, capture_output=True, text=True, check=False)


def copies(home: Path) -> list[Path]:
    return list((home / ".cache" / "p2pchat" / "app").iterdir())


def test_it_unpacks_for_its_owner_only_whatever_the_umask(stand_in: Path, home: Path) -> None:
    before = os.umask(0o002)
    try:
        done = start(stand_in, home, "a", "b c")
    finally:
        os.umask(before)
    (copy,) = copies(home)
    assert (done.returncode, done.stdout) == (7, f"here {copy} 0o2 a b c\n"), done.stderr
    for path in (copy, copy.parent, copy.parent.parent):
        assert stat.S_IMODE(path.stat().st_mode) == 0o700, path
    assert all(
        path.stat().st_mode & 0o077 == 0 for path in copy.rglob("*") if "__pycache__" not in path.parts
    )


def test_the_second_start_unpacks_nothing(stand_in: Path, home: Path) -> None:
    start(stand_in, home)
    (copy,) = copies(home)
    (copy / "p2pchat_cli" / "main.py").write_text("def run():\n    print('kept')\n")
    assert start(stand_in, home).stdout == "kept\n"
    assert copies(home) == [copy]


def test_a_child_imports_from_the_same_copy_and_not_from_its_folder(
    stand_in: Path, home: Path, tmp_path: Path
) -> None:
    trap = tmp_path / "trap"
    (trap / "p2pchat").mkdir(parents=True)
    for name in ("p2pchat/__init__.py", "p2pchat/__main__.py", "json.py"):
        (trap / name).write_text("print('trapped')")
    done = start(stand_in, home, "child", cwd=trap)
    (copy,) = copies(home)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[1] == f"child {copy} 1"


def test_starts_at_the_same_time_leave_one_copy(stand_in: Path, home: Path) -> None:
    with ThreadPoolExecutor(6) as pool:
        done = list(pool.map(lambda n: start(stand_in, home, str(n)), range(6)))
    assert [d.returncode for d in done] == [7] * 6, [d.stderr for d in done]
    assert len(copies(home)) == 1


def test_what_a_killed_start_left_is_swept_away(stand_in: Path, home: Path) -> None:
    start(stand_in, home)
    (copy,) = copies(home)
    shutil.rmtree(copy)
    old, young = copy.parent / "unpacking-old", copy.parent / "unpacking-young"
    old.mkdir()
    young.mkdir()
    os.utime(old, (1, 1))
    start(stand_in, home)
    assert sorted(copies(home)) == sorted([copy, young])


def test_a_cache_open_to_others_is_refused(stand_in: Path, home: Path) -> None:
    (home / ".cache" / "p2pchat").mkdir(parents=True)
    (home / ".cache" / "p2pchat").chmod(0o755)
    done = start(stand_in, home)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == (
        f"p2pchat: '{home}/.cache/p2pchat' is open to others: run chmod 700 '{home}/.cache/p2pchat'\n"
    )


def test_a_link_in_place_of_the_cache_is_refused(stand_in: Path, home: Path, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir(0o700)
    (home / ".cache").mkdir()
    (home / ".cache" / "p2pchat").symlink_to(elsewhere)
    done = start(stand_in, home)
    assert done.returncode == 1
    assert "is no folder: set XDG_CACHE_HOME" in done.stderr
    assert list(elsewhere.iterdir()) == []


def test_a_folder_anybody_can_write_to_is_refused(stand_in: Path, home: Path) -> None:
    (home / ".cache").mkdir()
    (home / ".cache").chmod(0o777)
    assert "anybody can write to" in start(stand_in, home).stderr


@pytest.mark.parametrize("private", [True, False])
def test_a_folder_of_another_user_is_refused(
    starter: ModuleType, home: Path, monkeypatch: pytest.MonkeyPatch, private: bool
) -> None:
    mine = os.lstat(home).st_uid
    other = os.stat_result((0o040700, 1, 1, 2, mine + 12345, 0, 0, 0, 0, 0))
    monkeypatch.setattr(starter.os, "lstat", lambda path: other)
    with pytest.raises(starter.Refused, match=f"belongs to user {mine + 12345}, not to you"):
        starter.trusted_folder(str(home), private)


def test_a_damaged_file_says_so_and_leaves_nothing(stand_in: Path, home: Path) -> None:
    data = stand_in.read_bytes()
    with zipfile.ZipFile(stand_in) as archive:
        wheel = archive.read("wheels/p2pchat-1.0-py3-none-any.whl")
    at = data.index(wheel) + len(wheel) // 2
    stand_in.write_bytes(data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :])
    done = start(stand_in, home)
    assert done.returncode == 1
    assert "is damaged" in done.stderr
    assert done.stderr.count("\n") == 1
    assert copies(home) == []


def test_without_a_home_it_says_what_to_set(starter: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr(starter.os.path, "expanduser", lambda path: path)
    with pytest.raises(starter.Refused, match="set HOME or XDG_CACHE_HOME"):
        starter.cache_root()


def bundle(**changes: object) -> dict[str, object]:
    return {"tags": {TAG: []}, "system": "linux", "machine": MACHINE, "glibc": (2, 17)} | changes


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        (
            {"tags": {"cp399": []}},
            "this file runs on CPython 3.99 on linux .*; this is Python 3.*start it with one",
        ),
        ({"machine": "vax"}, f"on linux vax; this is linux {MACHINE}: install p2pchat with pip here"),
        ({"system": "plan9"}, "on plan9 .*; this is linux"),
        ({"glibc": (99, 0)}, "needs glibc 99.0 or newer; here is glibc 2"),
    ],
)
def test_another_python_or_platform_gets_one_sentence(
    starter: ModuleType, changes: dict[str, object], sentence: str
) -> None:
    with pytest.raises(starter.Refused, match=sentence):
        starter.fitting_tag(bundle(**changes))


def test_a_python_without_the_lock_is_another_python(
    starter: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert starter.fitting_tag(bundle()) == TAG
    monkeypatch.setattr(starter.sys, "abiflags", "t")
    with pytest.raises(starter.Refused, match=f"{TAG}t"):
        starter.fitting_tag(bundle())


def test_a_wheel_cannot_write_outside(starter: ModuleType, tmp_path: Path) -> None:
    path = make_wheel(tmp_path / "a.whl", {"../up.py": ""})
    with zipfile.ZipFile(path) as wheel, pytest.raises(starter.Refused, match="names the path"):
        starter.unpack_wheel(wheel, str(tmp_path / "into"))


def test_only_what_can_be_imported_is_unpacked(starter: ModuleType, tmp_path: Path) -> None:
    names = [
        "a/b.py",
        "a-1.data/purelib/c.py",
        "a-1.data/platlib/d/e.so",
        "a-1.data/scripts/f",
        "a-1.data/data/g",
    ]
    path = make_wheel(tmp_path / "a.whl", dict.fromkeys(names, ""))
    with zipfile.ZipFile(path) as wheel:
        starter.unpack_wheel(wheel, str(tmp_path / "into"))
    found = {str(p.relative_to(tmp_path / "into")) for p in (tmp_path / "into").rglob("*") if p.is_file()}
    assert found == {"a/b.py", "c.py", "d/e.so"}


def test_the_same_wheels_make_the_same_bytes(stand_in: Path, builder: ModuleType) -> None:
    before = stand_in.read_bytes()
    builder.assemble({TAG: [stand_in.parent / "p2pchat-1.0-py3-none-any.whl"]}, "1.0", MACHINE, stand_in)
    assert stand_in.read_bytes() == before


def test_markers_are_read_as_on_the_target_python(tmp_path: Path, builder: ModuleType) -> None:
    lines = [
        'Requires-Dist: old>=1; python_version < "3.12"',
        'Requires-Dist: windows; sys_platform == "win32"',
        'Requires-Dist: b>=3; extra == "test"',
        "Requires-Dist: B_b>=2",
        "Requires-Dist: pip",
    ]
    a = make_wheel(tmp_path / "a-1-py3-none-any.whl", {"a-1.dist-info/METADATA": "\n".join([*lines, "", ""])})
    b = make_wheel(tmp_path / "b_b-1-py3-none-any.whl", {"b_b-1.dist-info/METADATA": "Name: b-b\n\n"})
    assert builder.unmet({"a": a, "b-b": b}, "3.11", MACHINE) == ["old>=1", "B_b>=2"]
    assert builder.unmet({"a": a, "b-b": b}, "3.13", MACHINE) == ["B_b>=2"]


# The real file.


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("single") / "p2pchat.pyz"
    command = [sys.executable, str(ROOT / ".ci" / "build_single_file.py"), "--out", str(out)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return out


def interpreters() -> Iterator[tuple[str, str, Path]]:
    """(version, executable, prefix) of every Python found on this machine, one of each version."""
    ask = "import sys; print('%d.%d' % sys.version_info[:2], getattr(sys, 'base_prefix', sys.prefix))"
    names = ["python2.7", *(f"python3.{minor}" for minor in range(6, 16))]
    found = [path for name in names if (path := shutil.which(name))]
    found += [str(path) for path in sorted(Path.home().glob(".pyenv/versions/*/bin/python"))]
    seen = set()
    for path in [sys.executable, *found]:
        done = subprocess.run([path, "-c", ask], capture_output=True, text=True, check=False)
        version, _, prefix = done.stdout.strip().partition(" ")
        if done.returncode == 0 and version not in seen:  # a shim of a version that is not there fails
            seen.add(version)
            yield version, path, Path(prefix)


def test_every_other_python_here_says_its_sentence(real: Path, home: Path, builder: ModuleType) -> None:
    for version, python, _ in interpreters():
        if version in builder.PYTHONS:
            continue
        done = subprocess.run([python, str(real), "--version"], capture_output=True, text=True, check=False)
        assert (done.returncode, done.stdout) == (1, ""), version
        assert done.stderr.startswith("p2pchat: this file runs on CPython 3.11"), version
        assert done.stderr.count("\n") == 1, version


# An empty root: system libraries, one interpreter, /dev, /proc, the file, an empty home; no network but
# a loopback and one card that leads nowhere.
EMPTY_ROOT = r"""
set -eu
root=$1 file=$2 prefix=$3; shift 3
mount --make-rprivate /
mount -t tmpfs none "$root"
for path in /usr /bin /sbin /lib /lib64 "$prefix"; do
  if [ -L "$path" ]; then ln -s "$(readlink "$path")" "$root$path"
  elif [ -d "$path" ] && [ ! -e "$root$path" ]; then
    mkdir -p "$root$path"; mount --bind "$path" "$root$path"; mount -o remount,bind,ro "$root$path"
  fi
done
mkdir -p "$root/proc" "$root/dev" "$root/home" "$root/tmp"
chmod 700 "$root/home"; chmod 1777 "$root/tmp"
mount -t proc none "$root/proc"
mount --rbind /dev "$root/dev"
ip link set lo up
ip link add office type veth peer name nobody
ip link set nobody up
ip link set office up multicast on
ip addr add 192.0.2.1/24 dev office
ip route add 224.0.0.0/4 dev office
cp "$file" "$root/p2pchat.pyz"
exec chroot "$root" /usr/bin/env -i HOME=/home PATH=/usr/bin:/bin "$@"
"""


def in_empty_root(
    tmp_path: Path, file: Path, prefix: Path, *command: str, timeout_s: float = 60
) -> subprocess.CompletedProcess[str]:
    root = tmp_path / "root"
    root.mkdir(exist_ok=True)
    unshare = ["unshare", "--mount", "--net", "--pid", "--fork", "--kill-child", "sh", "-c", EMPTY_ROOT, "sh"]
    return subprocess.run(
        [*unshare, str(root), str(file), str(prefix), *command],
        capture_output=True,
        text=True,
        check=False,
        timeout=timeout_s,
    )


# What the file does before it calls p2pchat; then each library, imported from the copy or not at all.
IMPORT_ALL = """
import runpy, sys
file = runpy.run_path("/p2pchat.pyz", run_name="looked at")
copy = file["prepare"](file["BUNDLE"], "/p2pchat.pyz")
sys.path.insert(0, copy)
import ifaddr, msgspec, nacl.bindings, p2pchat, platformdirs, sqlite_utils, trio, typer, zeroconf
for module in (ifaddr, msgspec, nacl.bindings, p2pchat, platformdirs, sqlite_utils, trio, typer, zeroconf):
    assert module.__file__.startswith(copy + "/"), module
nacl.bindings.crypto_sign_keypair()
print("all of", copy)
"""


@needs_netns
def test_in_an_empty_root_it_carries_all_it_needs(real: Path, tmp_path: Path, builder: ModuleType) -> None:
    for version, _, prefix in interpreters():
        if version in builder.PYTHONS:
            python = str(prefix / "bin" / f"python{version}")
            done = in_empty_root(tmp_path, real, prefix, python, "-I", "-S", "-c", IMPORT_ALL)
            assert done.returncode == 0, f"{version}: {done.stderr}"
            assert done.stdout.startswith("all of /home/.cache/p2pchat/app/"), version


# As a daemon does for a backlog: from the copy, with the search path of who starts it.
CHECK_ELSEWHERE = """
import runpy, sys
file = runpy.run_path("/p2pchat.pyz", run_name="looked at")
sys.path.insert(0, file["prepare"](file["BUNDLE"], "/p2pchat.pyz"))
import trio
from p2pchat.crypto.checker import Signed, encode_job
from p2pchat.crypto.primitives import ed25519_keypair, ed25519_sign
from p2pchat.daemon.checking import start_process

async def main():
    public, key = ed25519_keypair(bytes(32))
    good = Signed(public, ed25519_sign(key, b"one"), b"one")
    process = await start_process()
    await process.send_all(encode_job(5, [good, good._replace(message=b"two")]))
    print((await process.receive_some()).hex(), await process.end())

trio.run(main)
"""


@needs_netns
def test_in_an_empty_root_it_starts_the_process_that_checks_signatures(
    real: Path, tmp_path: Path, builder: ModuleType
) -> None:
    for version, _, prefix in interpreters():
        if version in builder.PYTHONS:
            python = str(prefix / "bin" / f"python{version}")
            done = in_empty_root(tmp_path, real, prefix, python, "-I", "-S", "-c", CHECK_ELSEWHERE)
            assert (done.stdout, done.returncode) == ("00000005000000020100 status 0\n", 0), done.stderr


@needs_netns
def test_in_an_empty_root_every_named_python_here_runs_it(
    real: Path, tmp_path: Path, builder: ModuleType
) -> None:
    from p2pchat import __version__

    ran = []
    for version, _, prefix in interpreters():
        if version not in builder.PYTHONS:
            continue
        python = str(prefix / "bin" / f"python{version}")
        done = in_empty_root(tmp_path, real, prefix, python, "-I", "-S", "/p2pchat.pyz", "--version")
        assert done.returncode == 0, f"{version}: {done.stderr}"
        assert __version__ in done.stdout, version
        ran.append(version)
    assert f"{sys.version_info[0]}.{sys.version_info[1]}" in ran


@needs_netns
def test_in_an_empty_root_it_names_its_places(real: Path, tmp_path: Path) -> None:
    python = str(Path(sys.base_prefix) / "bin" / f"python{sys.version_info[0]}.{sys.version_info[1]}")
    done = in_empty_root(
        tmp_path, real, Path(sys.base_prefix), python, "-I", "-S", "/p2pchat.pyz", "paths", "--json"
    )
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    assert said["schema"] == 1
    assert {"home", "inbox", "socket", "log", "config"} <= set(said)
    assert said["home"].startswith("/home/")


@needs_netns
def test_in_an_empty_root_two_people_meet(real: Path, tmp_path: Path) -> None:
    """The daemons are children of the file: `demo` shows that they run from the same copy."""
    python = str(Path(sys.base_prefix) / "bin" / f"python{sys.version_info[0]}.{sys.version_info[1]}")
    done = in_empty_root(
        tmp_path, real, Path(sys.base_prefix), python, "-I", "-S", "/p2pchat.pyz", "demo", timeout_s=120
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "p2pchat up" in done.stdout, "it ends with how to start for real"
