"""A bug report: useful, and nothing in it that says who or where anybody is."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from p2pchat_cli.redact import Redactor

from tests.cli import samples
from tests.cli.contract import told
from tests.cli.stage import daemon, run

LOG = """2026-11-26 10:00:00,123 INFO p2pchat.daemon.main ready, version 0.1.0, port 26700
2026-11-26 10:00:01,000 INFO p2pchat.daemon.core a connection from 192.168.17.23:50412 was turned away
2026-11-26 10:00:02,000 INFO p2pchat.daemon.reaching no bulk link: timeout: [fe80::aa:1%wlp3s0]:26700
2026-11-26 10:00:03,000 WARNING p2pchat.net.tcp 'annes-laptop.example.org': not known
2026-11-26 10:00:04,000 ERROR p2pchat.daemon.links link 7 of 3f2a5f32d079d21e6e22285b9cc5df18 ends, said bob
  File "/home/anne/src/p2pchat/daemon/links.py", line 7, in run
"""
SECRETS = (
    "192.168.17.23",
    "fe80::aa:1",
    "wlp3s0",
    "annes-laptop",
    "3f2a5f32",
    "Bob",
    "bob",
    "/home/anne",
    "Anne",
)


def test_what_is_in_it_and_what_is_not(tmp_path: Path) -> None:
    (tmp_path / "p2pchat.log").write_text(LOG)
    run(tmp_path, "config", "set", "name", "Anne Zwickel")
    run(tmp_path, "config", "set", "peers", "192.168.17.23")
    answers = {
        "status": samples.status(),
        "peers__list": {"peers": [samples.peer()]},
        "rooms__list": {"rooms": [samples.room()]},
        "doctor": {"ok": True, "checks": []},
    }
    with daemon(tmp_path, **answers):
        report = told(run(tmp_path, "bugreport", "--json"))
        text = run(tmp_path, "bugreport").out
    for said in (json.dumps(report), text):
        assert "ready, version 0.1.0, port 26700" in said
        assert "p2pchat/daemon/links.py" in said
        assert "addr-" in said
        assert [word for word in (*SECRETS, os.fspath(tmp_path), "launch") if word in said] == []
    assert set(report) >= {"version", "python", "system", "daemon", "checks", "settings", "log"}
    assert {"key": "peers", "origin": "user", "value": "set"} in report["settings"]
    assert {"name", "side", "ok", "cause"} == set(report["checks"][0])


def test_without_a_daemon_and_into_a_file(tmp_path: Path) -> None:
    out = tmp_path / "report.txt"
    ran = run(tmp_path, "bugreport", "--out", str(out))
    assert ran.code == 0
    assert "daemon: not running" in out.read_text()
    assert run(tmp_path, "bugreport", "--out", str(out)).code == 9, "nothing is overwritten"


def test_no_file_of_yours_is_replaced(tmp_path: Path) -> None:
    place = tmp_path / "my report.txt"
    place.write_text("mine")
    ran = run(tmp_path, "bugreport", "--out", str(place))
    assert (ran.code, place.read_text()) == (9, "mine")
    assert f"error: '{place}' is there already" in ran.err
    assert f"bugreport --home {tmp_path} --out '{place}.2'" in ran.err


def test_the_same_is_the_same_within_one_report_only() -> None:
    one, other = Redactor(b"salt"), Redactor(b"another")
    assert one.text("10.0.0.7 and 10.0.0.7") == " and ".join([one.mark("addr", "10.0.0.7")] * 2)
    assert one.text("10.0.0.7") != one.text("10.0.0.8")
    assert one.text("10.0.0.7") != other.text("10.0.0.7")


@pytest.mark.parametrize(
    "text",
    [
        "10.1.2.3", "10.1.2.3:26700", "[fd77::2]:26700", "fe80::1%eth0", "2001:db8:0:1:2:3:4:5",
        "::ffff:1.2.3.4", "c7f5ec44", "3f2a5f32d079d21e6e22285b9cc5df18", "'hello bob'", '"hello bob"',
        "/home/anne/x.db", "anne", "ANNE", "Anne's",
    ],
)  # fmt: skip
def test_nothing_of_it_is_left(text: str) -> None:
    said = Redactor(b"salt", ("Anne",)).text(f"it was {text} that failed")
    for part in text.replace("[", "").partition("]")[0].strip("'\"").split():
        assert part not in said


@pytest.mark.parametrize(
    "text", ["version 0.1.0, port 26700", "after 14 s of 2026-11-26 10:00:00,123", "127.0.0.1"]
)
def test_what_helps_stays(text: str) -> None:
    assert Redactor(b"salt", ("Anne",)).text(text) == text
