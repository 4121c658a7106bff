"""The tables of operations: strict towards clients, and printed on a page that is fresh."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from p2pchat_cli import options, session

from p2pchat.control.operations import all_operations, settings, settings_file
from p2pchat.control.operations.__main__ import page
from p2pchat.control.operations.history import LISTEN_TYPES
from p2pchat.control.operations.table import REQUIRED, check
from p2pchat.errors import CommandError, SettingsError
from tests.cli.stage import ROOT

OPERATIONS = all_operations()


def test_the_page_is_fresh_and_names_every_operation() -> None:
    text = (ROOT / "docs" / "control.md").read_text(encoding="utf-8")
    assert text == page(), "run: python -m p2pchat.control.operations > docs/control.md"
    for method, operation in OPERATIONS.items():
        assert f"### `{method}`" in text
        for param in operation.params:
            assert f"| `{param.name}` |" in text


def test_tables_are_whole() -> None:
    for operation in OPERATIONS.values():
        assert operation.doc.endswith(".")
        assert operation.result
        assert len({param.name for param in operation.params}) == len(operation.params)
        for param in operation.params:
            assert param.type in ("str", "int", "number", "bool", "list")
            if param.default is not REQUIRED and param.default is not None:
                assert check(operation, _least(operation, **{param.name: param.default}))


def test_the_help_of_listen_names_every_type() -> None:
    """Written out there, so that a command loads no table it does not need."""
    (listen,) = [one for one in options.COMMANDS if one.words == ("listen",)]
    (types,) = [one for one in listen.opts if one.flags == ("--types",)]
    assert types.help.removeprefix("Only these types, with commas: ").rstrip(".").split(", ") == list(
        LISTEN_TYPES
    )


def _least(operation: Any, **given: Any) -> dict[str, Any]:
    values = {"str": "x", "int": 1, "number": 1.5, "bool": True, "list": ["x"]}
    required = [p for p in operation.params if p.default is REQUIRED]
    return {p.name: p.choices[0] if p.choices else values[p.type] for p in required} | given


@pytest.mark.parametrize("method", OPERATIONS)
def test_missing_unknown_and_ill_typed_parameters_are_refused(method: str) -> None:
    operation = OPERATIONS[method]
    full = check(operation, _least(operation))
    assert set(full) == {param.name for param in operation.params}
    with pytest.raises(CommandError, match="knows no parameter 'bogus'"):
        check(operation, _least(operation, bogus=1))
    wrong: dict[str, list[Any]] = {
        "str": [1, True, ["x"], "\ud800", "x" * 70_000],
        "int": ["1", 1.5, True, 2**70],
        "number": ["1", True, float("nan"), float("inf")],
        "bool": [0, "true", None],
        "list": ["x", [1], ["x"] * 2000, {}],
    }
    for param in operation.params:
        for value in wrong[param.type]:
            if value is None and param.default is None:
                continue  # null means: not given
            with pytest.raises(CommandError) as caught:
                check(operation, _least(operation, **{param.name: value}))
            assert caught.value.kind == "usage"
            assert param.name in caught.value.message
        if param.default is REQUIRED:
            least = _least(operation)
            del least[param.name]
            with pytest.raises(CommandError, match=f"needs '{param.name}'"):
                check(operation, least)


@given(
    st.recursive(
        st.none() | st.booleans() | st.floats() | st.text(),
        lambda x: st.lists(x) | st.dictionaries(st.text(), x),
    )
)
def test_anything_is_checked_or_refused(value: Any) -> None:
    for operation in OPERATIONS.values():
        try:
            check(operation, value)
        except CommandError as caught:
            told = (caught.kind, caught.message.isprintable())
        else:
            continue
        assert told == ("usage", True)


def test_ceilings_named_twice_are_equal() -> None:
    from p2pchat.wire import limits

    assert session.MAX_TEXT == limits.MAX_TEXT
    assert settings.NAME_MAX == limits.MAX_NAME
    from p2pchat_cli import checks

    assert (checks.PORTS[0], checks.PORTS[-1]) == (limits.FIRST_PORT, limits.LAST_PORT)


def test_twins_of_up_are_those_of_the_settings() -> None:
    up = {option.dest: option.env for option in options.BY_WORDS[("up",)].opts}
    assert up["name"] == settings.BY_NAME["name"].env
    assert up["port"] == settings.BY_NAME["port"].env
    assert up["interface"] == settings.BY_NAME["interface"].env
    assert up["peer"] == settings.BY_NAME["peers"].env


# -- settings ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("key", "text", "value"),
    [
        ("name", " Ann Lee ", "Ann Lee"),
        ("read_receipts", "ON", True),
        ("read_receipts", "no", False),
        ("quiet_hours", "18:00-08:00", "18:00-08:00"),
        ("quiet_hours", "off", ""),
        ("file_auto_max", "10MB", 10_000_000),
        ("file_auto_max", "5 k", 5000),
        ("file_auto_max", "off", 0),
        ("port", "0", 0),
        ("port", "65535", 65535),
        ("interface", "eth0, wlan0,eth0", ("eth0", "wlan0")),
        (
            "peers",
            "10.0.0.1,box:26701,[fe80::1]:3,fe80::2",
            ("10.0.0.1", "box:26701", "[fe80::1]:3", "fe80::2"),
        ),
        ("peers", "", ()),
    ],
)
def test_settings_are_read_and_survive_the_file(key: str, text: str, value: object, tmp_path: Path) -> None:
    parsed = settings.parse(key, text, "test")
    assert parsed == value
    path = tmp_path / "home" / "config.toml"
    settings_file.write(path, key, parsed)
    assert settings_file.load(path) == {key: value}
    assert path.stat().st_mode & 0o077 == 0


@pytest.mark.parametrize(
    ("key", "text"),
    [
        ("bogus", "1"),
        ("name", "x" * 65),
        ("name", "a\x1bb"),
        ("read_receipts", "maybe"),
        ("quiet_hours", "25:00-08:00"),
        ("file_auto_max", "-1"),
        ("file_auto_max", "much"),
        ("port", "65536"),
        ("port", "many"),
        ("port", "²"),
        ("interface", "a/b"),
        ("peers", "host:0"),
        ("peers", "host:"),
        ("peers", "[::1"),
        ("peers", "a b"),
    ],
)
def test_wrong_settings_name_value_and_source(key: str, text: str) -> None:
    with pytest.raises(SettingsError) as caught:
        settings.parse(key, text, "the source")
    assert "(the source)" in str(caught.value)
    assert str(caught.value).isprintable()


def test_setting_one_key_keeps_what_a_person_wrote(tmp_path: Path) -> None:
    path = tmp_path / "config.toml"
    path.write_text('# mine\nname = "Ann"  # me\nport = 1\npeers = [\n  "a",\n  "b",\n]\n')
    settings_file.write(path, "port", 26702)
    assert path.read_text() == '# mine\nname = "Ann"  # me\nport = 26702\npeers = [\n  "a",\n  "b",\n]\n'
    settings_file.write(path, "read_receipts", True)
    assert path.read_text().endswith("]\nread_receipts = true\n")
    settings_file.write(path, "peers", ("c",))
    assert settings_file.load(path) == {"name": "Ann", "port": 26702, "peers": ("c",), "read_receipts": True}


@given(st.text(max_size=60).filter(lambda t: t.strip() == t))
def test_any_name_survives_the_file(tmp_path_factory: pytest.TempPathFactory, name: str) -> None:
    try:
        value = settings.parse("name", name, "test")
    except SettingsError:
        return
    import tomllib

    assert tomllib.loads(settings.to_toml({"name": value})) == {"name": value}


@pytest.mark.parametrize(
    "text",
    ["port = ", "bogus = 1", "port = 70000", "port = 1.5", "[table]\nport = 1", 'name = "a"\nname = "b"'],
)
def test_a_broken_file_is_told_and_not_overwritten(text: str, tmp_path: Path) -> None:
    path = tmp_path / "config.toml"
    path.write_text(text)
    for act in (settings_file.load, lambda p: settings_file.write(p, "name", "Ann")):
        with pytest.raises(SettingsError, match=r"config\.toml"):
            act(path)
    assert path.read_text() == text


def test_a_foreign_file_is_told(tmp_path: Path) -> None:
    path = tmp_path / "config.toml"
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(SettingsError, match="not UTF-8"):
        settings_file.load(path)
    path.write_bytes(b"#" * 300_000)
    with pytest.raises(SettingsError, match="longer than"):
        settings_file.load(path)
    path.unlink()
    path.mkdir()
    with pytest.raises(SettingsError, match="cannot be read"):
        settings_file.load(path)


def test_flag_wins_over_environment_over_user_over_machine() -> None:
    flags: dict[str, settings.Setting] = {"port": 1}
    environ = {"P2PCHAT_PORT": "2", "P2PCHAT_NAME": "Env"}
    user: dict[str, settings.Setting] = {"port": 3, "name": "User", "quiet_hours": "18:00-08:00"}
    machine: dict[str, settings.Setting] = {"port": 4, "quiet_hours": "", "read_receipts": True}
    found = {one.key: one for one in settings_file.resolve(flags, environ, user, machine)}
    assert [
        (found[k].value, found[k].origin) for k in ("port", "name", "quiet_hours", "read_receipts", "inbox")
    ] == [
        (1, "flag"),
        ("Env", "environment"),
        ("18:00-08:00", "user"),
        (True, "machine"),
        ("", "default"),
    ]
    with pytest.raises(SettingsError, match="P2PCHAT_PORT"):
        settings_file.resolve({}, {"P2PCHAT_PORT": "x"}, {}, {})
