"""Both parsers mean the same, and what nobody understands is told well."""

from __future__ import annotations

import itertools

import pytest
from p2pchat_cli import full, options, parser

from p2pchat.errors import CommandError
from tests.cli.stage import run

GOOD = """
status | whoami | inbox | paths | doctor | queue | queue list | peers | demo --keep | device list | down --now
peers forget bob --json | up --foreground
up --name Ann --interface eth0 --interface=wlan0 --port 26701 --peer a:1 --peer b --no-announce
peers --all | peers --wait bob --timeout 2.5 | peers add host:1 | peers --json add host
send bob hello | send bob | send bob - | send --urgent bob hi --reply-to abcdef --thread abcdef --key k
send bob hi --wait delivered --timeout 3 --json | --json send bob hi --wait=read | send -- bob -5
send bob --at 10m x | --home /tmp/x --no-input send bob x | send bob x --home /tmp/x --no-input
edit abcdef new | edit last new --in bob | delete abcdef | react abcdef + --remove | pin last --in bob
history bob --tail all | history bob --after 2026-01-01 --before abcdef | history bob --since 2h --pinned
read bob | listen | listen a b c --since 0 --types message,edit --mentions --count 3 --timeout 1
search one two --in bob --from carl --limit 3 --offset 0 | search -- -x | chat bob --plain
trust show bob | trust verify bob --fingerprint ab | trust verify bob --sas --confirm 123456
trust accept bob | trust block bob | trust unblock bob | trust verify bob --safety-number -
trust verify bob --sas --timeout 9
device recovery-key --yes | config show --origin | config set name Ann | logs | logs -f | logs --follow
send bob x --ack | send launch x --ack --by 17:00 | ack abcdef | ack last --list --in launch
room create launch | room create launch --topic t --open --announce --history joined --rules r.txt
room list | room list --all --member bob --json | room join launch | room leave launch
room invite launch bob | room invite launch bob carl dora | room members launch | --json room members launch
room remove launch bob | room remove --everywhere bob | room remove bob --everywhere
room role launch bob owner
room set launch --name n --topic t --history all --retention 30d --announce --open --rules -
room set launch --no-announce --private | room set bob --closed | room mute launch --for 2h --mentions-only
room mute launch --off | room mute bob
send bob --file a.pdf | send bob look --file a.pdf --file b --wait delivered | send bob --file=a - --ack
file send bob a.pdf | file send bob a b c --wait --timeout 3 | file send bob - --name build.log
file list --have | --json file list | file accept abcdef
file accept abcdef --to /srv --conflict skip --wait --timeout 9
file accept abcdef --conflict=overwrite | file decline abcdef | file pause abcdef --json | file resume abcdef
file cancel abcdef | file auto bob on | file auto bob off --json | file send -- bob -5
--json --no-input queue cancel abcdef | queue --json cancel abcdef | send bob --urgent --urgent x
"""
BAD = """
nonsense | send | send bob a b | send --bogus bob x | send bob x --wait sometime | send bob x --timeout soon
peers add | peers add a b | peers bogus | peers --all add host | queue cancel | trust | trust bogus x | device
config | config set name | history | history bob --tail | up --port many | up extra | logs -x | status extra
room | room create | room bogus x | room invite launch | room remove | room role launch bob
room create a b | room create a --history some | room mute | room list x | ack | ack a b | room set --topic
file | file send | file send bob | file bogus x | file accept | file accept a b | file list x | file auto bob
file accept a --conflict ask | file pause | file send bob a --timeout soon | file auto bob on off
send bob x --file | file decline a b
search | read | react abcdef | listen --count x | --bogus status | send bob x --urgent=yes
"""


def lines(block: str) -> list[list[str]]:
    return [entry.split() for line in block.strip().splitlines() for entry in line.split(" | ")]


@pytest.mark.parametrize("argv", lines(GOOD), ids=" ".join)
def test_both_parsers_agree(argv: list[str]) -> None:
    fast = parser.parse(argv, {})
    command, given = full.parse(argv)
    assert command == fast.command
    whole = {"home": fast.home, "json": fast.json, "no_input": fast.no_input, **fast.values}
    assert {key: value for key, value in whole.items() if value not in (None, False, [])} == {
        key: value for key, value in given.items() if value not in (None, False, [])
    }


@pytest.mark.parametrize("argv", lines(BAD), ids=" ".join)
def test_both_parsers_refuse(argv: list[str]) -> None:
    with pytest.raises(CommandError) as fast:
        parser.parse(argv, {})
    assert fast.value.kind == "usage"
    assert fast.value.hint
    with pytest.raises(CommandError):
        full.parse(argv)


def test_every_option_of_the_table_agrees_in_both_parsers() -> None:
    for command in options.COMMANDS:
        words = list(command.words)
        args = [arg.metavar.strip("[].").lower() for arg in command.args]
        for option in (*command.opts, *options.GLOBALS):
            value = (
                option.choices[0] if option.choices else {"int": "3", "number": "1.5"}.get(option.kind, "v")
            )
            for flag in option.flags:
                argv = [*words, *args, flag, *([] if option.kind == "flag" else [value])]
                fast = parser.parse(argv, {})
                _, given = full.parse(argv)
                whole = {"home": fast.home, "json": fast.json, "no_input": fast.no_input, **fast.values}
                assert whole[option.dest] == given[option.dest], argv


def test_global_options_mean_the_same_before_and_after() -> None:
    for home, json, quiet in itertools.product((True, False), repeat=3):
        options_given = [["--home", "/h"], ["--json"], ["--no-input"]]
        before = [
            w for place, words in zip((home, json, quiet), options_given, strict=True) if place for w in words
        ]
        after = [
            w
            for place, words in zip((home, json, quiet), options_given, strict=True)
            if not place
            for w in words
        ]
        parsed = parser.parse([*before, "peers", *after], {})
        assert (parsed.home, parsed.json, parsed.no_input) == ("/h", True, True)


def test_a_later_option_wins() -> None:
    assert parser.parse(["--home", "/a", "status", "--home", "/b"], {}).home == "/b"


def test_environment_twins_fill_what_was_not_given() -> None:
    env = {
        "P2PCHAT_HOME": "/e",
        "P2PCHAT_JSON": "1",
        "P2PCHAT_NO_INPUT": "true",
        "P2PCHAT_NAME": "Eve",
        "P2PCHAT_INTERFACE": "eth0, wlan0",
        "P2PCHAT_PORT": "26705",
        "P2PCHAT_PEER": "a:1,b",
        "P2PCHAT_NO_ANNOUNCE": "yes",
    }
    parsed = parser.parse(["up"], env)
    assert (parsed.home, parsed.json, parsed.no_input) == ("/e", True, True)
    assert parsed.values == {
        "name": "Eve",
        "interface": ["eth0", "wlan0"],
        "port": 26705,
        "peer": ["a:1", "b"],
        "no_announce": True,
        "foreground": False,
    }
    assert parser.parse(["up", "--name", "Ann", "--home", "/f"], env).values["name"] == "Ann"
    assert parser.parse(["up", "--home", "/f"], env).home == "/f"
    assert parser.parse(["status"], {"P2PCHAT_JSON": "0", "P2PCHAT_HOME": ""}).json is False


@pytest.mark.parametrize(("name", "value"), [("P2PCHAT_JSON", "maybe"), ("P2PCHAT_PORT", "many")])
def test_a_twin_without_sense_is_named(name: str, value: str) -> None:
    with pytest.raises(CommandError) as caught:
        parser.parse(["up"], {name: value})
    assert caught.value.kind == "usage"
    assert name in caught.value.message
    assert value in caught.value.message


def test_a_typing_mistake_gets_a_suggestion() -> None:
    with pytest.raises(CommandError) as caught:
        parser.parse(["sned", "bob"], {})
    assert caught.value.hint == "did you mean send?"
    with pytest.raises(CommandError) as caught:
        parser.parse(["send", "bob", "--repy-to", "x"], {})
    assert caught.value.hint == "did you mean --reply-to?"


@pytest.mark.parametrize("flag", ["--help", "-h"])
@pytest.mark.parametrize("words", [(), *options.BY_WORDS, ("trust",), ("device",), ("config",)], ids=" ".join)
def test_help_tells_every_option(
    words: tuple[str, ...], flag: str, capsys: pytest.CaptureFixture[str]
) -> None:
    from p2pchat_cli.main import main

    assert main([*words, flag]) == 0
    shown = capsys.readouterr().out
    assert shown.startswith("Usage: p2pchat")
    command = options.BY_WORDS.get(words)
    for option in command.opts if command else ():
        assert option.flags[0] in shown
    for below in (w[1] for w in options.BY_WORDS if len(w) == 2 and w[:1] == words):
        assert below in shown


def test_no_command_shows_help(capsys: pytest.CaptureFixture[str]) -> None:
    from p2pchat_cli.main import main

    assert main([]) == 0
    assert "Commands:" in capsys.readouterr().out


def test_commands_of_later_capabilities_are_absent() -> None:
    words = {command.words[0] for command in options.COMMANDS}
    assert words == {
        *"demo up down status whoami peers send edit delete react pin queue history read inbox".split(),
        *"listen search trust device doctor config paths logs chat room ack receipts file bugreport".split(),
        *"presence service".split(),
    }


@pytest.mark.parametrize(
    "argv", [["--json", "send", "bob", "a", "b"], ["nonsense", "--json"], ["trust", "--json"]]
)
def test_usage_failures_are_json_where_json_was_asked(argv: list[str], tmp_path: object) -> None:
    import json

    ran = run("/nowhere", *argv)
    assert ran.code == 2
    assert ran.err == ""
    told = json.loads(ran.out)
    assert told["schema"] == 1
    assert set(told["error"]) == {"code", "kind", "message", "hint"}
    assert (told["error"]["code"], told["error"]["kind"]) == (2, "usage")


def test_completion_answers_the_shell(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from p2pchat_cli.main import main

    monkeypatch.setenv("_P2PCHAT_COMPLETE", "complete_bash")
    monkeypatch.setenv("COMP_WORDS", "p2pchat se")
    monkeypatch.setenv("COMP_CWORD", "1")
    with pytest.raises(SystemExit) as ended:
        main([])
    assert ended.value.code == 0
    assert capsys.readouterr().out.split() == ["send", "search", "service"]
