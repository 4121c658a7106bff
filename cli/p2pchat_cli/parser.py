"""The fast parser: argv to one command and its values, without typer.

Decides: what a given argv means and which sentence tells that it means nothing. Does
not know: what commands do. `full` builds the same commands with typer for help and
completion; a test holds both parsers equal.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

from p2pchat.errors import CommandError
from p2pchat_cli.options import BY_WORDS, GLOBALS, GROUPS, HELP, VERSION, Arg, Command, Opt

Raw = str | int | float | bool | list[str] | None
"""A value as parsed: None, False or [] where the option was not given."""


class Parsed(NamedTuple):
    """A command and everything said to it; `home`, `json`, `no_input` are taken out of `values`.

    `twins` names the values that came from the environment.
    """

    command: Command
    values: dict[str, Raw]
    home: str | None
    json: bool
    no_input: bool
    twins: frozenset[str] = frozenset()


class Wanted(Exception):
    """No error: argv asks for `what`, which is `help` or `version`; `words` are those of the command."""

    def __init__(self, what: str, words: tuple[str, ...] = ()) -> None:
        super().__init__(what)
        self.what = what
        self.words = words


_ON: Final = ("1", "true", "yes", "on")
_OFF: Final = ("", "0", "false", "no", "off")


def parse(argv: Sequence[str], environ: Mapping[str, str]) -> Parsed:
    """What `argv` (without the program's name) means.

    Raises CommandError `usage`, or Wanted. Options win over their twins in `environ`.
    """
    given, rest = _options(list(argv), (*GLOBALS, HELP, VERSION), ())
    _asked(given, ())
    if not rest:
        raise Wanted("help")
    word, rest = rest[0], rest[1:]
    words: tuple[str, ...] = (word,)
    if word in GROUPS:
        alone = BY_WORDS.get(words)
        own = alone.opts if alone else ()
        inner, rest = _options(rest, (*own, *GLOBALS, HELP), words)
        _asked(inner, words)
        given = _merge(given, inner)
        if rest:
            words, rest = (word, rest[0]), rest[1:]
            for option in own:
                if inner.get(option.dest):
                    raise CommandError(
                        "usage", f"{option.flags[0]} does not go with {' '.join(words)!r}", _try(words[:1])
                    )
        elif alone:
            return _finish(alone, given, environ)
        else:
            raise CommandError("usage", f"{word!r} needs one more word", f"one of: {_below(word)}")
    command = BY_WORDS.get(words)
    if command is None:
        raise _unknown(words)
    inner, positional = _options(rest, (*command.opts, *GLOBALS, HELP), words, interspersed=True)
    _asked(inner, words)
    values = _merge(_globals(given), inner)
    values.update(_arguments(command, positional))
    return _finish(command, values, environ)


def wants_json(argv: Sequence[str], environ: Mapping[str, str]) -> bool:
    """Whether a failure to parse `argv` has to be told as JSON."""
    if "--json" in argv:
        return "--" not in argv or argv.index("--json") < argv.index("--")
    return environ.get("P2PCHAT_JSON", "").lower() in _ON


def _options(
    tokens: list[str], opts: Sequence[Opt], words: tuple[str, ...], *, interspersed: bool = False
) -> tuple[dict[str, Raw], list[str]]:
    """Options among `tokens`, and the tokens that are none.

    Not interspersed, it stops at the first token that is no option: the next word.
    """
    table = {flag: option for option in opts for flag in option.flags}
    values: dict[str, Raw] = {}
    rest: list[str] = []
    index = 0
    while index < len(tokens):
        token = tokens[index]
        index += 1
        if token == "--":  # noqa: S105 - ends the options
            return values, rest + tokens[index:]
        if len(token) < 2 or token[0] != "-":
            rest.append(token)
            if not interspersed:
                return values, rest + tokens[index:]
            continue
        name, equals, value = token.partition("=") if token.startswith("--") else (token, "", "")
        for flag in [name] if token.startswith("--") else ["-" + letter for letter in token[1:]]:
            option = table.get(flag)
            if option is None:
                raise _no_option(flag, table, words)
            if option.kind == "flag":
                if equals:
                    raise CommandError("usage", f"option {flag!r} takes no value", _try(words))
                values[option.dest] = True
                continue
            if not equals:
                if index >= len(tokens):
                    raise CommandError("usage", f"option {flag!r} needs a value", _try(words))
                value = tokens[index]
                index += 1
            _store(values, option, value)
    return values, rest


def _store(values: dict[str, Raw], option: Opt, text: str) -> None:
    value = convert(option, text, option.flags[0])
    if option.many:
        held = values.setdefault(option.dest, [])
        assert isinstance(held, list)
        assert isinstance(value, str)
        held.append(value)
    else:
        values[option.dest] = value


def convert(option: Opt, text: str, source: str) -> str | int | float:
    """`text` as the kind of `option`; CommandError `usage` naming `source`."""
    if option.choices and text not in option.choices:
        raise CommandError("usage", f"{source} cannot be {text!r}", "one of: " + " ".join(option.choices))
    try:
        if option.kind == "int":
            return int(text)
        if option.kind == "number":
            number = float(text)
            if not 0 <= number < 1e9:  # also refuses nan
                raise CommandError("usage", f"{source} cannot be {text!r}", "give seconds, as 2.5")
            return number
    except ValueError:
        hint = "a whole number" if option.kind == "int" else "give seconds, as 2.5"
        raise CommandError("usage", f"{source} takes a number, not {text!r}", hint) from None
    return text


def _arguments(command: Command, positional: list[str]) -> dict[str, Raw]:
    values: dict[str, Raw] = {}
    left = list(positional)
    for arg in command.args:
        if arg.many:
            if arg.required and not left:
                raise _missing(command, arg)
            values[arg.dest] = left
            left = []
        elif left:
            values[arg.dest] = left.pop(0)
        elif arg.required:
            raise _missing(command, arg)
        else:
            values[arg.dest] = None
    if left:
        hint = "put a text of several words in quotes" if "text" in values else _try(command.words)
        raise CommandError("usage", f"{left[0]!r} is one argument too many", hint)
    return values


def _finish(command: Command, given: dict[str, Raw], environ: Mapping[str, str]) -> Parsed:
    values: dict[str, Raw] = {arg.dest: given.get(arg.dest) for arg in command.args}
    twins = set()
    for option in (*command.opts, *GLOBALS):
        value = given.get(option.dest)
        if option.many and value is None:
            value = []
        if value in (None, []) and option.env and environ.get(option.env):
            value = _twin(option, environ[option.env])
            twins.add(option.dest)
        values[option.dest] = bool(value) if option.kind == "flag" else value
    home, json, no_input = (values.pop(option.dest) for option in GLOBALS)
    assert home is None or isinstance(home, str)
    if home == "":
        raise CommandError("usage", "--home '' names no folder", "give --home a folder name")
    return Parsed(command, values, home, json is True, no_input is True, frozenset(twins))


def _twin(option: Opt, text: str) -> Raw:
    if option.kind == "flag":
        if text.lower() not in _ON + _OFF:
            raise CommandError("usage", f"{option.env} cannot be {text!r}", "set it to 1 or 0")
        return text.lower() in _ON
    if option.many:
        return [part.strip() for part in text.split(",") if part.strip()]
    return convert(option, text, option.env)


def _asked(values: Mapping[str, Raw], words: tuple[str, ...]) -> None:
    if values.get("help"):
        raise Wanted("help", words)
    if values.get("version"):
        raise Wanted("version")


def _globals(values: Mapping[str, Raw]) -> dict[str, Raw]:
    return {option.dest: values[option.dest] for option in GLOBALS if option.dest in values}


def _merge(outer: Mapping[str, Raw], inner: Mapping[str, Raw]) -> dict[str, Raw]:
    return {**outer, **inner}


def _missing(command: Command, arg: Arg) -> CommandError:
    return CommandError("usage", f"{' '.join(command.words)!r} needs {arg.metavar}", _try(command.words))


def _no_option(flag: str, table: Mapping[str, Opt], words: tuple[str, ...]) -> CommandError:
    near = _near(flag, [known for known in table if known.startswith("--")])
    hint = f"did you mean {near}?" if near else _try(words)
    return CommandError("usage", f"no option {flag!r}", hint)


def _unknown(words: tuple[str, ...]) -> CommandError:
    if len(words) == 1:
        near = _near(words[0], [known[0] for known in BY_WORDS])
        return CommandError(
            "usage", f"no command {words[0]!r}", f"did you mean {near}?" if near else "p2pchat --help"
        )
    return CommandError("usage", f"no command {' '.join(words)!r}", f"one of: {_below(words[0])}")


def _below(word: str) -> str:
    return " ".join(words[1] for words in BY_WORDS if words[0] == word and len(words) == 2)


def _near(word: str, known: list[str]) -> str:
    from difflib import get_close_matches  # only on the way to an error

    return next(iter(get_close_matches(word, known, 1)), "")


def _try(words: tuple[str, ...]) -> str:
    return " ".join(("p2pchat", *words, "--help"))
