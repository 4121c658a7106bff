"""The same command line built with typer: help, completion, and the parity test.

Decides: how the table of options becomes a typer application. Does not know: what
commands do; a command found here is handed to the caller, never run.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from keyword import iskeyword
from typing import Any

import typer

from p2pchat.errors import CommandError
from p2pchat_cli.options import BY_WORDS, COMMANDS, GLOBALS, GROUPS, Arg, Command, Opt
from p2pchat_cli.parser import Raw

Found = Callable[[Command, dict[str, Raw]], None]

# Typer carried its own copy of click from 0.26 on; BadParameter is the public name of both,
# and its ancestors are UsageError and ClickException, the base of all they raise.
_CLICK_ERROR: type[Exception] = typer.BadParameter.__mro__[2]

_TYPES: dict[str, Any] = {"flag": bool, "str": str | None, "int": int | None, "number": float | None}
_SETTINGS = {"help_option_names": ["--help", "-h"], "max_content_width": 100}


def application(found: Found) -> typer.Typer:
    """The whole command line; `found(command, given values)` is called for the one in argv."""
    app = _group("Chat on the local network: no server, nothing lost.", add_completion=True)

    def root(context: typer.Context, version: bool, **given: Raw) -> None:
        context.obj = given

    app.callback(invoke_without_command=False)(_callback(root, (), GLOBALS, context=True, version=True))
    groups = {word: _group(help) for word, help in GROUPS.items()}
    for word, group in groups.items():
        _group_callback(group, word, found)
    for command in COMMANDS:
        if command.words[0] in groups:
            if len(command.words) == 2:
                _add(groups[command.words[0]], command, found)
        else:
            _add(app, command, found)
    for word, group in groups.items():
        app.add_typer(group, name=word)
    return app


def show_help(words: Sequence[str]) -> None:
    """Print the help of a command, or of all."""
    _run([*words, "--help"])


def complete(argv: Sequence[str]) -> None:
    """Answer a shell (it asks through the environment), or install and show completion."""
    _run(list(argv))


def parse(argv: Sequence[str]) -> tuple[Command, dict[str, Raw]]:
    """What typer makes of `argv`: the command and the values given. CommandError `usage` if nothing."""
    seen: list[tuple[Command, dict[str, Raw]]] = []
    _run(list(argv), lambda command, values: seen.append((command, values)))
    if not seen:
        raise CommandError("usage", "no command")
    return seen[0]


def _run(argv: list[str], found: Found = lambda _command, _values: None) -> None:
    try:
        application(found)(args=argv, prog_name="p2pchat", standalone_mode=False)
    except _CLICK_ERROR as error:
        raise CommandError("usage", str(error)) from error


def _group(help: str, *, add_completion: bool = False) -> typer.Typer:
    return typer.Typer(
        help=help,
        add_completion=add_completion,
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
        context_settings=_SETTINGS,
        no_args_is_help=False,
    )


def _add(app: typer.Typer, command: Command, found: Found) -> None:
    def chosen(context: typer.Context, **given: Raw) -> None:
        assert context.parent is not None
        found(command, _given(context.parent.obj, given))

    made = _callback(chosen, command.args, (*command.opts, *GLOBALS), context=True)
    app.command(command.words[-1], help=_help(command), context_settings=_SETTINGS)(made)


def _group_callback(group: typer.Typer, word: str, found: Found) -> None:
    alone = BY_WORDS.get((word,))
    own = alone.opts if alone else ()

    def chosen(context: typer.Context, **given: Raw) -> None:
        assert context.parent is not None
        context.obj = _given(context.parent.obj, given)
        if context.invoked_subcommand is None:
            if alone is None:
                raise typer.BadParameter(f"{word!r} needs one more word")
            found(alone, context.obj)
        elif any(given.get(option.dest) for option in own):
            raise typer.BadParameter(f"an option of {word!r} does not go with {context.invoked_subcommand!r}")

    group.callback(invoke_without_command=True)(_callback(chosen, (), (*own, *GLOBALS), context=True))


def _given(outer: dict[str, Raw] | None, inner: dict[str, Raw]) -> dict[str, Raw]:
    return {
        **(outer or {}),
        **{name: value for name, value in inner.items() if value not in (None, False, [])},
    }


def _callback(
    function: Callable[..., None],
    args: Sequence[Arg],
    opts: Sequence[Opt],
    *,
    context: bool = False,
    version: bool = False,
) -> Callable[..., None]:
    """`function` with the signature that typer reads: one parameter for each of the table's rows."""
    hints: dict[str, Any] = {"context": typer.Context} if context else {}
    defaults: dict[str, Any] = {}
    for arg in args:
        hints[arg.dest] = list[str] if arg.many else str if arg.required else (str | None)
        defaults[arg.dest] = typer.Argument(
            ... if arg.required else None, metavar=arg.metavar, help=arg.help, show_default=False
        )
    for option in opts:
        hints[option.dest] = list[str] if option.many else _TYPES[option.kind]
        defaults[option.dest] = _option(option)
    if version:
        hints["version"] = bool
        defaults["version"] = typer.Option(False, "--version", help="Show the version and exit.")

    def made(**given: Any) -> None:
        function(**{_name(key): value for key, value in given.items()})

    parameters = [
        inspect.Parameter(
            name + ("_" if iskeyword(name) else ""),
            inspect.Parameter.KEYWORD_ONLY,
            annotation=hint,
            default=defaults.get(name, inspect.Parameter.empty),
        )
        for name, hint in hints.items()
    ]
    made.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    made.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return made


def _name(parameter: str) -> str:
    """`in_`, `from_` and `for_` are keywords without their underscore."""
    return parameter.removesuffix("_")


def _option(option: Opt) -> Any:
    help = option.help
    if option.choices:
        help += f" One of: {', '.join(option.choices)}."
    if option.env:
        help += f" [{option.env}]"
    return typer.Option(
        False if option.kind == "flag" else [] if option.many else None,
        *option.flags,
        help=help,
        metavar=option.metavar or None,
        show_default=False,
        callback=_choice(option) if option.choices else None,
    )


def _choice(option: Opt) -> Callable[[str | None], str | None]:
    def check(value: str | None) -> str | None:
        if value is not None and value not in option.choices:
            raise typer.BadParameter(f"{option.flags[0]} cannot be {value!r}")
        return value

    return check


def _help(command: Command) -> str:
    return command.help + (f"\n\n{command.notes}" if command.notes else "")
