"""Builds p2pchat as one self-contained file for this platform: dist/p2pchat.pyz.

Decides: which Pythons the file names, which wheels it carries, and its bytes (the same wheels give the
same file). Does not know: how the file unpacks and starts; that is `single_file_main.py` beside this.

    .venv/bin/python .ci/build_single_file.py [--out FILE] [--python 3.11 --python 3.12 …]

Needs pip and a package index while building; the file itself needs neither. It carries our wheel and
every runtime dependency for each named CPython (what is pure or abi3 only once), checks their hashes
when it first unpacks them into ~/.cache/p2pchat/app (owner only), and refuses any other Python or
platform with one sentence. Wheels keep their licence files. Old copies there may be deleted at any
time while p2pchat is not running.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import platform
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Mapping, Sequence
from email.parser import HeaderParser
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name, parse_wheel_filename

ROOT = Path(__file__).resolve().parent.parent
MAIN = Path(__file__).resolve().parent / "single_file_main.py"
PLACE = "BUNDLE = None  # written by build_single_file.py\n"
PYTHONS = ("3.11", "3.12", "3.13", "3.14")
GLIBC = (2, 17)  # what the wheels of all our dependencies are built for
# sqlite-utils asks for pip only for its own command `sqlite-utils install`, which nothing here runs
LEFT_OUT = frozenset({"pip"})
SHEBANG = b"#!/usr/bin/env python3\n"
EPOCH = (2020, 2, 2, 0, 0, 0)  # no clock in the file: the same wheels give the same bytes


def pip(*arguments: str) -> None:
    """Run pip of this interpreter; SystemExit with its own words if it fails."""
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"pip {' '.join(arguments[:1])} failed:\n{done.stderr}{done.stdout}")


def own_wheel(folder: Path) -> Path:
    """Build the wheel of this checkout into the folder."""
    pip("wheel", "--no-deps", "--wheel-dir", str(folder), str(ROOT))
    (wheel,) = folder.glob("p2pchat-*.whl")
    return wheel


def download(python: str, machine: str, wanted: Sequence[str], folder: Path) -> None:
    """Fetch wheels for one CPython of this machine type, dependencies included."""
    tag = "cp" + python.replace(".", "")
    fits = ["--only-binary=:all:", "--implementation=cp", f"--python-version={python}"]
    fits += [f"--abi={abi}" for abi in (tag, "abi3", "none")]
    fits += [f"--platform={name}_{machine}" for name in (f"manylinux_{GLIBC[0]}_{GLIBC[1]}", "manylinux2014")]
    pip("download", *fits, "--dest", str(folder), *wanted)


def unmet(wheels: Mapping[str, Path], python: str, machine: str) -> list[str]:
    """Requirements of the wheels that none of them meets, as they read on the target Python.

    pip judges markers by the Python it runs on, not by the one it downloads for; this does not.
    """
    target = {
        "python_version": python,
        "python_full_version": f"{python}.0",
        "implementation_name": "cpython",
        "platform_python_implementation": "CPython",
        "sys_platform": "linux",
        "platform_system": "Linux",
        "os_name": "posix",
        "platform_machine": machine,
        "extra": "",
    }
    missing = []
    for path in wheels.values():
        for line in requirements(path):
            wish = Requirement(line)
            name = canonicalize_name(wish.name)
            if name in LEFT_OUT or (wish.marker is not None and not wish.marker.evaluate(target)):
                continue
            if name not in wheels or parse_wheel_filename(wheels[name].name)[1] not in wish.specifier:
                missing.append(f"{wish.name}{wish.specifier}")
    return missing


def requirements(wheel: Path) -> list[str]:
    """The Requires-Dist lines of a wheel."""
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (n for n in archive.namelist() if n.endswith(".dist-info/METADATA") and n.count("/") == 1)
        return HeaderParser().parsestr(archive.read(name).decode()).get_all("Requires-Dist") or []


def collect(python: str, machine: str, own: Path, folder: Path) -> list[Path]:
    """Our wheel and all it needs on one CPython, in the folder."""
    wanted = [str(own)]
    while wanted:
        download(python, machine, wanted, folder)
        found = {str(parse_wheel_filename(path.name)[0]): path for path in sorted(folder.glob("*.whl"))}
        still = unmet(found, python, machine)
        if set(still) <= set(wanted) and still:
            raise SystemExit(f"no wheels for CPython {python} of: {', '.join(still)}")
        wanted = still
    return [path for name, path in found.items() if name not in LEFT_OUT]


def assemble(sets: Mapping[str, Sequence[Path]], version: str, machine: str, out: Path) -> None:
    """Write the file from the wheels of each tag ('cp312'); two wheels of one name must be the same."""
    wheels = {path.name: path for paths in sets.values() for path in paths}
    hashes = {name: hashlib.sha256(path.read_bytes()).hexdigest() for name, path in sorted(wheels.items())}
    for paths in sets.values():
        for path in paths:
            if hashlib.sha256(path.read_bytes()).hexdigest() != hashes[path.name]:
                raise SystemExit(f"two different wheels are called '{path.name}'")
    source = MAIN.read_text("utf-8")
    bundle: dict[str, object] = {
        "version": version,
        "system": "linux",
        "machine": machine,
        "glibc": GLIBC,
        "tags": {tag: sorted(path.name for path in paths) for tag, paths in sorted(sets.items())},
        "sha256": hashes,
    }
    bundle["key"] = hashlib.sha256(f"{bundle!r}{source}".encode()).hexdigest()[:16]
    if PLACE not in source:
        raise SystemExit(f"'{MAIN}' has no line '{PLACE.strip()}'")
    out.parent.mkdir(parents=True, exist_ok=True)
    beside = out.with_name(out.name + ".new")
    with beside.open("wb") as file:
        file.write(SHEBANG)
        with zipfile.ZipFile(file, "w") as archive:
            for name, path in sorted(wheels.items()):  # wheels are compressed already
                archive.writestr(zipfile.ZipInfo(f"wheels/{name}", EPOCH), path.read_bytes())
            main = zipfile.ZipInfo("__main__.py", EPOCH)
            main.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(main, source.replace(PLACE, f"BUNDLE = {bundle!r}\n"))
    beside.chmod(0o755)
    beside.replace(out)


def build(out: Path, pythons: Sequence[str]) -> None:
    """Build the file for the named CPythons on this machine type."""
    if sys.platform != "linux" or platform.libc_ver()[0] != "glibc":
        raise SystemExit(f"cannot build here: this is {sys.platform}, the file is made for Linux with glibc")
    machine = os.uname().machine
    with tempfile.TemporaryDirectory(prefix="p2pchat-build-") as name:
        work = Path(name)
        own = own_wheel(work)
        sets = {}
        for python in pythons:
            tag = "cp" + python.replace(".", "")
            sets[tag] = collect(python, machine, own, work / tag)
        assemble(sets, str(parse_wheel_filename(own.name)[1]), machine, out)


def main() -> None:
    """Read the arguments, build, say what came out."""
    parser = argparse.ArgumentParser(description="build p2pchat as one file for this platform")
    parser.add_argument("--out", type=Path, default=ROOT / "dist" / "p2pchat.pyz", metavar="FILE")
    parser.add_argument("--python", action="append", metavar="X.Y", help=f"default: {' '.join(PYTHONS)}")
    options = parser.parse_args()
    build(options.out, options.python or PYTHONS)
    megabytes = options.out.stat().st_size / 1e6
    print(f"{options.out}: {megabytes:.1f} MB for CPython {' '.join(options.python or PYTHONS)}")


if __name__ == "__main__":
    main()
