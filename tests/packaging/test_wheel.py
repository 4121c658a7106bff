"""What pip installs: two packages, one script, nothing else at the top level; and what it depends on.

Decides: nothing. Does not know: whether the program works.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Iterator
from email.message import Message
from email.parser import HeaderParser
from pathlib import Path

import pytest
from packaging.requirements import Requirement

import p2pchat
from tests.packaging.loading import ROOT, load

# What the design allows to be needed at run time, with the lowest version it allows.
ALLOWED = {
    "zeroconf": "0.150",
    "trio": "0.35",
    "pynacl": "1.6.2",
    "sqlite-utils": "4.2.1",
    "typer": "0.20",
    "msgspec": "0.22",
    "platformdirs": "4",
    "ifaddr": "0.2",
    "blake3": "0",
    "segno": "0",
    "spake2": "0",
}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Iterator[zipfile.ZipFile]:
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "-w", str(folder), str(ROOT)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    (path,) = folder.glob("*.whl")
    assert path.name == f"p2pchat-{p2pchat.__version__}-py3-none-any.whl"
    with zipfile.ZipFile(path) as archive:
        yield archive


def metadata(wheel: zipfile.ZipFile) -> Message:
    (name,) = (n for n in wheel.namelist() if n.endswith(".dist-info/METADATA"))
    return HeaderParser().parsestr(wheel.read(name).decode())


def test_two_packages_and_nothing_else_at_the_top(wheel: zipfile.ZipFile) -> None:
    info = f"p2pchat-{p2pchat.__version__}.dist-info"
    assert {name.split("/")[0] for name in wheel.namelist()} == {"p2pchat", "p2pchat_cli", info}


def test_every_module_of_the_checkout_is_in_it(wheel: zipfile.ZipFile) -> None:
    have = {name for name in wheel.namelist() if name.endswith(".py")}
    want = {str(path.relative_to(ROOT)) for path in (ROOT / "p2pchat").rglob("*.py")}
    want |= {str(path.relative_to(ROOT / "cli")) for path in (ROOT / "cli").rglob("*.py")}
    assert have == want


def test_both_packages_say_they_are_typed(wheel: zipfile.ZipFile) -> None:
    assert {"p2pchat/py.typed", "p2pchat_cli/py.typed"} <= set(wheel.namelist())


def test_one_script(wheel: zipfile.ZipFile) -> None:
    (name,) = (n for n in wheel.namelist() if n.endswith("entry_points.txt"))
    assert wheel.read(name).decode().split() == ["[console_scripts]", "p2pchat", "=", "p2pchat_cli.main:run"]


def test_the_version_has_one_source(wheel: zipfile.ZipFile) -> None:
    assert metadata(wheel)["Version"] == p2pchat.__version__
    assert metadata(wheel)["License-Expression"] == "MIT"
    assert metadata(wheel)["Requires-Python"] == ">=3.11"


def test_every_dependency_is_one_the_design_names_with_a_bound(wheel: zipfile.ZipFile) -> None:
    wishes = [Requirement(line) for line in metadata(wheel).get_all("Requires-Dist") or []]
    runtime = {wish.name: wish for wish in wishes if "extra" not in str(wish.marker or "")}
    assert set(runtime) <= set(ALLOWED), "a dependency the design does not name"
    for name, wish in runtime.items():
        (floor,) = (spec.version for spec in wish.specifier if spec.operator == ">=")
        assert Requirement(f"{name}>={ALLOWED[name]}").specifier.contains(floor), f"{name} {floor} is too low"
    assert "0.29.0" not in runtime["typer"].specifier, "typer 0.29 imports pydantic on every call"


def test_every_dependency_says_why_it_is_there() -> None:
    text = (ROOT / "pyproject.toml").read_text("utf-8")
    for line in tomllib.loads(text)["project"]["dependencies"]:
        assert re.search(rf'^  # \S.{{10,}}\n  "{re.escape(line)}",$', text, re.MULTILINE), (
            f"no reason for '{line}'"
        )


def test_the_readme_promises_two_commands() -> None:
    command = load("readme_command").command
    readme = (ROOT / "README.md").read_text("utf-8")
    assert command(readme, "demo").endswith("p2pchat demo")
    assert "[test]" in command(readme, "tests")
    assert command(readme, "tests").endswith("python -m pytest")


@pytest.mark.parametrize(
    "text", ["", "```\n# tests\nrm\n```", "```sh\n# tests\na\n```\n```sh\n# tests\nb\n```"]
)
def test_a_readme_without_exactly_one_such_block_is_refused(text: str) -> None:
    with pytest.raises(SystemExit, match="it must have one"):
        load("readme_command").command(text, "tests")


def test_a_command_may_have_several_lines(tmp_path: Path) -> None:
    text = "before\n```text\n# tests\nno\n```\n```sh\n# tests\na &&\nb\n```\nafter\n"
    assert load("readme_command").command(text, "tests") == "a &&\nb"
