"""`config show` and `config set`: through the daemon when it runs, else in the file.

Decides: who writes. Does not know: what a setting does.
"""

from __future__ import annotations

from typing import Any

from p2pchat.control.operations import settings, settings_file
from p2pchat_cli.session import Context
from p2pchat_cli.text import field


def show(ctx: Context) -> int:
    """Every setting and its value."""
    if ctx.running():
        answer = ctx.call("config.show")
    else:
        held = settings_file.load(ctx.profile.config)
        answer = {"settings": settings_file.fields(settings_file.resolve({}, ctx.environ, held, {}))}
    if ctx.out.json:
        ctx.out.object(answer)
        return 0
    _table(ctx, answer["settings"], origin=ctx.flag("origin"))
    return 0


def change(ctx: Context) -> int:
    """Write one setting."""
    key, text = ctx.word("key"), ctx.word("value")
    value = settings.parse(key, text, "config set")
    if ctx.running():
        answer = ctx.call("config.set", key=key, value=text)
    else:
        settings_file.write(ctx.profile.config, key, value)
        held = settings_file.load(ctx.profile.config)
        found = settings_file.resolve({}, ctx.environ, held, {})
        chosen = [entry for entry in settings_file.fields(found) if entry["key"] == key]
        answer = {"settings": chosen, "restart": False}
    if ctx.out.json:
        ctx.out.object(answer)
        return 0
    _table(ctx, answer["settings"], origin=False)
    for entry in answer["settings"]:
        if entry["origin"] != "user":
            ctx.out.remark(f"written, but {entry['origin']} has the last word on {key}")
    if answer["restart"]:
        ctx.out.remark(ctx.out.hint(f"{key} counts from the next start: `p2pchat down`, then `p2pchat up`"))
    return 0


def _table(ctx: Context, entries: list[dict[str, Any]], *, origin: bool) -> None:
    for entry in entries:
        value = entry["value"]
        if isinstance(value, bool):
            shown = "on" if value else "off"
        else:
            shown = ", ".join(value) if isinstance(value, list) else str(value)
        source = f"  ({entry['origin']}{', locked' if entry['locked'] else ''})" if origin else ""
        ctx.out.line(f"{entry['key']:<14} {field(shown) or '-'}{source}")
