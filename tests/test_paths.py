"""Where a profile's files lie."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import platformdirs
import pytest

from p2pchat import paths
from p2pchat.errors import CommandError

XDG = ["XDG_DATA_HOME", "XDG_CONFIG_HOME", "XDG_STATE_HOME"]


@pytest.mark.parametrize("value", [None, "/srv/x", "/srv/x/", "relative/is/ignored", "", "  "])
@pytest.mark.parametrize("variable", XDG)
def test_default_places_are_those_of_platformdirs(
    variable: str, value: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in XDG:
        monkeypatch.delenv(name, raising=False)
    if value is not None:
        monkeypatch.setenv(variable, value)

    profile = paths.profile(None)

    assert profile.home == platformdirs.user_data_path("p2pchat", appauthor=False)
    assert profile.config.parent == platformdirs.user_config_path("p2pchat", appauthor=False)
    assert profile.log.parent == platformdirs.user_log_path("p2pchat", appauthor=False)
    assert profile.inbox == platformdirs.user_downloads_path() / "p2pchat"
    assert profile.is_default


def test_a_named_home_holds_everything(tmp_path: Path) -> None:
    home = tmp_path / "alice"

    profile = paths.profile(home)

    assert profile.home == home
    assert not profile.is_default
    assert profile.inbox == home / "inbox"
    files = [path for path in profile if isinstance(path, Path)]
    assert all(path == home or path.parent == home for path in files)
    assert len({*files}) == len(files)
    assert profile.archive.name == "archive.db"
    assert profile.log.name == "p2pchat.log"
    assert profile.config.name == "config.toml"
    assert not home.exists(), "naming paths creates nothing"


def test_a_home_is_made_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "me"))

    assert paths.profile("a/../b").home == tmp_path / "b"
    assert paths.profile("~/chat").home == tmp_path / "me" / "chat"


@pytest.mark.parametrize("home", ["", "a\0b"])
def test_what_names_no_folder_is_refused_with_its_value(home: str) -> None:
    with pytest.raises(CommandError) as caught:
        paths.profile(home)
    assert caught.value.kind == "usage"
    assert repr(home) in caught.value.message


def short_base(tmp_path: Path) -> Path:
    """A folder whose socket path fits, whatever the length of pytest's own folder."""
    assert len(os.fsencode(tmp_path)) < paths.MAX_SOCKET_PATH - 20
    return tmp_path


@pytest.mark.parametrize("letter", ["a", "ä"])
def test_every_length_of_home_has_a_socket_path_the_kernel_takes(letter: str) -> None:
    seen = set()
    for length in range(1, 300):
        socket = paths.profile(f"/h/{letter * length}").socket
        assert len(os.fsencode(socket)) <= paths.MAX_SOCKET_PATH
        seen.add(socket)
    assert len(seen) == 299, "every home has a socket of its own"


def test_the_limit_is_exact() -> None:
    room = paths.MAX_SOCKET_PATH - len("/control.sock") - 1
    fits, too_long = "/" + "a" * room, "/" + "a" * (room + 1)

    assert paths.profile(fits).socket == Path(fits) / "control.sock"
    assert paths.profile(too_long).socket.parent == Path(f"/tmp/p2pchat-{os.getuid()}")


def test_the_short_path_depends_on_home_and_user_only(monkeypatch: pytest.MonkeyPatch) -> None:
    long_home = "/h/" + "x" * 200
    socket = paths.profile(long_home).socket
    monkeypatch.setenv("XDG_RUNTIME_DIR", "/run/user/4711")
    monkeypatch.setenv("TMPDIR", "/elsewhere")
    assert paths.profile(long_home).socket == socket


def test_one_home_reached_by_two_names_has_one_socket(tmp_path: Path) -> None:
    deep = short_base(tmp_path) / ("d" * 60) / ("e" * 60)
    deep.mkdir(parents=True)
    (tmp_path / "s").symlink_to(deep)
    assert paths.profile(tmp_path / "s").socket == paths.profile(deep).socket

    near = tmp_path / "n"
    near.mkdir()
    far = deep / "link-to-near"
    far.symlink_to(near)
    assert paths.profile(far).socket.resolve() == paths.profile(near).socket.resolve()


def test_asking_for_paths_loads_nothing_heavy() -> None:
    script = (
        "import json, sys; from p2pchat import paths; paths.profile(None); "
        "print(json.dumps(list(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    loaded = set(json.loads(done.stdout))
    heavy = {"platformdirs", "dataclasses", "inspect", "tempfile", "trio", "msgspec", "hashlib", "tomllib"}
    assert not loaded & heavy
