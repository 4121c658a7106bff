"""Trust, machines, settings, and what works without a daemon."""

from __future__ import annotations

import json
import socket
from pathlib import Path

import pytest

from tests.cli import samples
from tests.cli.contract import FIELDS, told
from tests.cli.stage import daemon, refusing, run

# -- trust, devices ---------------------------------------------------------------------------


@pytest.mark.parametrize("verb", ["show", "accept", "block", "unblock"])
def test_trust(verb: str, tmp_path: Path) -> None:
    with daemon(tmp_path, **{f"trust__{verb}": samples.TRUST}) as fake:
        assert FIELDS["trust"] <= set(told(run(tmp_path, "trust", verb, "bob", "--json")))
        assert fake.asked(f"trust.{verb}")["target"] == "bob"
        ran = run(tmp_path, "trust", verb, "bob")
    assert ran.out.splitlines()[0] == "Bob  verified"
    assert "safety number  12345 12345" in ran.out


def test_trust_verify_by_proof(tmp_path: Path) -> None:
    with daemon(tmp_path, trust__verify=samples.TRUST, trust__sas_confirm=samples.TRUST) as fake:
        run(tmp_path, "trust", "verify", "bob", "--fingerprint", "ab12")
        assert fake.asked("trust.verify") == {"target": "bob", "kind": "fingerprint", "proof": "ab12"}
        run(tmp_path, "trust", "verify", "bob", "--safety-number", "-", stdin=b"123 45\n")
        assert fake.asked("trust.verify") == {"target": "bob", "kind": "safety-number", "proof": "123 45"}
        run(tmp_path, "trust", "verify", "bob", "--sas", "--confirm", "123456")
        assert fake.asked("trust.sas_confirm") == {"target": "bob", "digits": "123456"}
        assert run(tmp_path, "trust", "verify", "bob", "--sas", "--fingerprint", "x").code == 2
        assert run(tmp_path, "trust", "verify", "bob", "--fingerprint", "-", stdin=b"").code == 2
        fake.answers["trust.verify"] = refusing("key_mismatch")
        assert run(tmp_path, "trust", "verify", "bob", "--fingerprint", "x").code == 6


@pytest.mark.parametrize("words", [[], ["--no-input"], ["--json"]], ids=str)
def test_trust_verify_without_a_proof_verifies_nobody_off_a_terminal(
    words: list[str], tmp_path: Path
) -> None:
    with daemon(tmp_path, trust__show=samples.TRUST, trust__verify=samples.TRUST) as fake:
        ran = run(tmp_path, *words, "trust", "verify", "bob", stdin=b"yes\n")
        assert ran.code == 2
        for flag in ("--fingerprint", "--safety-number", "--sas"):
            assert flag in (ran.out if words == ["--json"] else ran.err)
        assert "trust.verify" not in [method for method, _ in fake.calls]


def test_trust_sas_prints_the_digits_first(tmp_path: Path) -> None:
    with daemon(tmp_path, trust__sas={"sas": "123456"}) as fake:
        assert told(run(tmp_path, "trust", "verify", "bob", "--sas", "--json")) == {
            "schema": 1,
            "sas": "123456",
        }
        ran = run(tmp_path, "trust", "verify", "bob", "--sas", "--timeout", "3")
        assert fake.asked("trust.sas") == {"target": "bob", "timeout_s": 3.0}
    assert ran.out == "123456\n"
    assert "--confirm" in ran.err


def test_device_list(tmp_path: Path) -> None:
    devices = [{"device": "ab" * 32, "name": "", "this": True, "last_seen": None, "revoked": False}]
    with daemon(tmp_path, device__list={"devices": devices}):
        assert told(run(tmp_path, "device", "list", "--json"))["devices"] == devices
        assert "this machine" in run(tmp_path, "device", "list").out


def test_the_recovery_key_is_erased_only_with_consent(tmp_path: Path) -> None:
    with daemon(
        tmp_path, device__recovery_key={"recovery_key": "words"}, device__recovery_erase={"erased": True}
    ) as fake:
        ran = run(tmp_path, "device", "recovery-key", "--json")
        assert ran.code == 2
        assert told(ran)["error"]["hint"] == "answer with --yes"
        assert fake.calls == []
        ran = run(tmp_path, "device", "recovery-key", "--yes")
        assert (ran.code, ran.out) == (0, "words\n")
        assert [method for method, _ in fake.calls] == ["device.recovery_key", "device.recovery_erase"]


# -- this machine -----------------------------------------------------------------------------


def test_doctor_without_a_daemon_looks_itself(tmp_path: Path) -> None:
    ran = run(tmp_path, "doctor", "--json")
    found = told(ran)
    assert ran.code == 1
    assert found["ok"] is False
    assert [one["name"] for one in found["checks"]] == [
        "daemon", "discovery", "address", "tcp_in", "clock", "disk", "archive"
    ]  # fmt: skip
    assert all(set(one) == {"name", "side", "ok", "detail", "cause", "fix"} for one in found["checks"])
    assert (found["checks"][0]["ok"], found["checks"][0]["fix"]) == (False, "p2pchat up")
    assert "FAIL  daemon" in run(tmp_path, "doctor").out


def test_doctor_takes_the_daemons_view(tmp_path: Path) -> None:
    archive = {
        "name": "archive",
        "side": "here",
        "ok": False,
        "detail": "torn",
        "cause": "archive_damaged",
        "fix": "f",
    }
    with daemon(tmp_path, doctor={"ok": False, "checks": [archive]}):
        found = told(run(tmp_path, "doctor", "--json"))
    assert found["checks"][0]["ok"] is True
    assert found["checks"][-1] == archive


def test_a_daemon_that_goes_away_over_the_question_is_what_is_wrong(tmp_path: Path) -> None:
    with daemon(tmp_path, doctor=refusing("no_daemon", "the daemon went away", "p2pchat up")):
        ran = run(tmp_path, "doctor", "--json")
    found = {one["name"]: one for one in told(ran)["checks"]}
    assert ran.code == 1
    assert (found["daemon"]["ok"], found["daemon"]["detail"]) == (False, "the daemon went away")
    assert found["archive"]["ok"] is True


def test_doctor_knows_a_foreign_file_from_an_archive(tmp_path: Path) -> None:
    (tmp_path / "archive.db").write_bytes(b"GIF89a")
    found = {one["name"]: one for one in told(run(tmp_path, "doctor", "--json"))["checks"]}
    assert (found["archive"]["ok"], found["archive"]["cause"]) == (False, "archive_damaged")


def test_doctor_names_a_taken_port(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("", 0))
        taken.listen()
        run(tmp_path, "config", "set", "port", str(taken.getsockname()[1]))
        found = {one["name"]: one for one in told(run(tmp_path, "doctor", "--json"))["checks"]}
    assert (found["tcp_in"]["ok"], found["tcp_in"]["cause"]) == (False, "port_closed")


def test_config_without_a_daemon_writes_the_file(tmp_path: Path) -> None:
    ran = run(tmp_path, "config", "set", "name", "Ann Lee", "--json")
    assert told(ran)["settings"] == [{"key": "name", "value": "Ann Lee", "origin": "user", "locked": False}]
    found = {entry["key"]: entry for entry in told(run(tmp_path, "config", "show", "--json"))["settings"]}
    assert found["name"]["value"] == "Ann Lee"
    assert set(found) >= {
        "name",
        "inbox",
        "read_receipts",
        "quiet_hours",
        "file_auto_max",
        "port",
        "interface",
    }
    shown = run(tmp_path, "config", "show", "--origin", env={"P2PCHAT_PORT": "26709"}).out
    assert "name           Ann Lee  (user)" in shown
    assert "port           26709  (environment)" in shown
    ran = run(tmp_path, "config", "set", "port", "1", env={"P2PCHAT_PORT": "26709"})
    assert "environment has the last word" in ran.err
    assert run(tmp_path, "config", "set", "bogus", "1").code == 2
    assert run(tmp_path, "config", "set", "quiet_hours", "18:00-08:00").err == ""
    assert run(tmp_path, "config", "set", "port", "x", "--json").code == 2


def test_config_goes_through_a_running_daemon(tmp_path: Path) -> None:
    answer = {"settings": [{"key": "port", "value": 1, "origin": "user", "locked": False}]}
    with daemon(tmp_path, config__set={**answer, "restart": True}, config__show=answer) as fake:
        ran = run(tmp_path, "config", "set", "port", "1")
        assert fake.asked("config.set") == {"key": "port", "value": "1"}
        assert "next start" in ran.err
        assert told(run(tmp_path, "config", "show", "--json"))["settings"] == answer["settings"]
    assert not (tmp_path / "config.toml").exists()


def test_paths_and_logs_need_no_daemon(tmp_path: Path) -> None:
    found = told(run(tmp_path, "paths", "--json"))
    assert set(found) == {"schema", "home", "inbox", "socket", "log", "config"}
    assert found["home"] == str(tmp_path)
    assert found["inbox"] == str(tmp_path / "inbox")
    assert run(tmp_path, "logs").code == 1
    (tmp_path / "p2pchat.log").write_bytes(b"first\nsecond \x1b[2J\xff\n")
    ran = run(tmp_path, "logs")
    assert ran.out == "first\nsecond \\x1b[2J\ufffd\n"
    assert json.loads(run(tmp_path, "logs", "--json").out.splitlines()[0])["line"] == "first"
