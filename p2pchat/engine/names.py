"""Which person a typed name means, and how a name is shown.

Decides: the rules of TARGET (docs/control.md) for people, when a name needs its short tag
`~3f2a`, and when a person may not be written to. Does not know: rooms, links or how a
command is carried out. A name finds candidates; the trust record is the key's.
"""

from __future__ import annotations

import re
import shlex
import unicodedata
from dataclasses import dataclass, replace

from p2pchat.engine import people
from p2pchat.engine.context import Context
from p2pchat.errors import CommandError
from p2pchat.ids import ID_BYTES, AccountId, fingerprint, hex_prefix, tag
from p2pchat.model import BLOCKED, CHANGED, UNVERIFIED, VERIFIED

# Letters that look like a Latin one in common typefaces (after UTS 39, the part that
# matters for names in an office): Cyrillic, Greek, digits and signs.
_LOOKALIKE = str.maketrans(
    {
        **dict(zip("авекмнорстухіјѕԁցհոսԛԝьґ", "abekmhopctyxijsdghnuqwbr", strict=True)),
        **dict(zip("αβεικνορτυχωγ", "aßeikvoptuxwy", strict=True)),
        **dict(zip("0135|!ıłøđɑɡƒ", "oleslliłodagf", strict=True)),
    }
)


MAX_REMEMBERED = 256
"""Targets remembered with whom they mean: for whoever sends many messages."""
_PLAIN = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*(~[0-9a-f]{4})?")


@dataclass(frozen=True, slots=True)
class Person:
    """Whom a TARGET means. `warning` is a sentence for the user, or empty."""

    account: AccountId
    name: str
    warning: str = ""


def fold(text: str) -> str:
    """The form in which names are compared: NFKC, case folded, spaces joined."""
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split())


def skeleton(text: str) -> str:
    """Equal for names a person could confuse (UTS 39, "confusable detection", in part)."""
    plain = unicodedata.normalize("NFKD", fold(text)).translate(_LOOKALIKE)
    visible = (c for c in plain if unicodedata.category(c) not in ("Mn", "Me", "Cf", "Zs"))
    return "".join(visible).translate(_LOOKALIKE).replace("rn", "m").replace("vv", "w")


def trust_word(ctx: Context, account: AccountId) -> str:
    """One of the words of `peers`: how far a person is trusted."""
    row = ctx.cache.trust.get(account)
    known = ctx.cache.accounts.get(account)
    if row is not None and row.blocked:
        return BLOCKED
    if known is not None and known.revoked:
        return CHANGED
    return VERIFIED if row is not None and row.verified else UNVERIFIED


def everybody(ctx: Context) -> list[AccountId]:
    """All people known, me not included, in a fixed order."""
    return sorted(account for account in ctx.cache.accounts if account != ctx.me.account)


def called(ctx: Context, folded: str) -> list[AccountId]:
    """Everybody of that folded name, me included, in a fixed order."""
    if ctx.cache.by_name is None:
        ctx.cache.by_name = {}
        for account in sorted(ctx.cache.accounts):
            ctx.cache.by_name.setdefault(fold(people.name(ctx, account)), []).append(account)
    return ctx.cache.by_name.get(folded, [])


def shown(ctx: Context, account: AccountId) -> str:
    """The name, with its tag where somebody else's could be taken for it."""
    if ctx.cache.by_look is None:
        ctx.cache.by_look = {}
        replaced = _replaced(ctx)
        for known in ctx.cache.accounts:
            if known not in replaced:
                ctx.cache.by_look.setdefault(skeleton(people.name(ctx, known)), []).append(known)
    plain = people.name(ctx, account)
    alike = ctx.cache.by_look.get(skeleton(plain), [])
    # A name that holds the mark itself could pass for another's: it always bears its own.
    return plain + tag(account) if "~" in plain or any(one != account for one in alike) else plain


def typed(ctx: Context, account: AccountId) -> str:
    """A TARGET that can be pasted into a shell: the shown name where it is plain, else an id."""
    name = shown(ctx, account)
    return name if _PLAIN.fullmatch(name) else account.hex()[:16]


def pasted(word: str) -> str:
    """Somebody's words as one word of a suggested command: a shell takes nothing in them for its own."""
    return shlex.quote(word)


def _replaced(ctx: Context) -> dict[AccountId, None]:
    """Accounts in whose place the user has accepted another."""
    return {row.successor_of: None for row in ctx.cache.trust.values() if row.successor_of is not None}


def resolve(ctx: Context, target: str) -> Person:
    """The one person `target` means; CommandError 4 if nobody or several."""
    text = target[1:] if target.startswith("@") else target
    if not text.strip():
        raise CommandError("no_such_target", f"{target!r} names nobody", "list people: `p2pchat peers --all`")
    found = _by_id(ctx, text)
    if len(found) == 1:
        return Person(found[0], people.name(ctx, found[0]))
    tagged = _by_tag(ctx, text)
    if tagged:
        return _only(ctx, target, tagged)
    replaced = _replaced(ctx)
    wanted = fold(text)
    named = [a for a in called(ctx, wanted) if a not in replaced and a != ctx.me.account]
    verified = [a for a in named if trust_word(ctx, a) in (VERIFIED, CHANGED) and _verified(ctx, a)]
    if len(verified) == 1:
        others = [a for a in named if a != verified[0]]
        warning = ""
        if others:
            name, other = people.name(ctx, verified[0]), typed(ctx, others[0])
            warning = (
                f"another key uses the name {name!r}: this goes to the verified one; write to {other} "
                f"to mean the other, or compare the keys: `p2pchat trust show {other}`"
            )
        return Person(verified[0], people.name(ctx, verified[0]), warning)
    if named:
        return _only(ctx, target, verified or named)
    if fold(people.name(ctx, ctx.me.account)) == wanted:
        raise CommandError("no_such_target", f"{target!r} is you", "list people: `p2pchat peers --all`")
    if found:
        return _only(ctx, target, found)
    raise CommandError(
        "no_such_target", f"nobody called {target!r} is known here", "list people: `p2pchat peers --all`"
    )


def addressee(ctx: Context, target: str, warning: str = "") -> Person:
    """The one person `target` means, if he may be written to; remembered until people or rooms change,
    with `warning` if one is given."""
    known = ctx.cache.meant.get(target)
    if known is not None:
        return Person(*known)
    person = writable(ctx, resolve(ctx, target))
    if warning:
        person = replace(person, warning=warning)
    if len(ctx.cache.meant) >= MAX_REMEMBERED:
        ctx.cache.meant.clear()
    ctx.cache.meant[target] = (person.account, person.name, person.warning)
    return person


def note_nobody(ctx: Context, target: str) -> None:
    """Remember, until people change, that nobody is called so: a message to a room asks each time. Not
    of what may be the beginning of an id, for that of a new chat can begin with it."""
    prefix = hex_prefix(target)
    if prefix is None or len(prefix) == 2 * ID_BYTES:
        if len(ctx.cache.nobody) >= MAX_REMEMBERED:
            ctx.cache.nobody.clear()
        ctx.cache.nobody.add(target)


def writable(ctx: Context, person: Person) -> Person:
    """`person` if he may be written to; CommandError 6 or 7 if his key says no."""
    account = ctx.cache.accounts.get(person.account)
    row = ctx.cache.trust.get(person.account)
    if row is not None and row.blocked:
        hint = f"allow again: `p2pchat trust unblock {typed(ctx, person.account)}`"
        raise CommandError("policy", f"{person.name!r} is blocked by you", hint)
    if account is None or not account.revoked:
        return person
    if account.successor is None:
        raise CommandError(
            "key_revoked",
            f"the key of {person.name!r} was revoked and nothing took its place",
            f"ask in person, then look for a new key: `p2pchat trust show {typed(ctx, person.account)}`",
        )
    raise CommandError(
        "key_changed",
        f"{person.name!r} has a new key, {fingerprint(account.successor)}, that you have not accepted",
        f"compare it in person, then: `p2pchat trust accept {typed(ctx, person.account)}`",
    )


def _verified(ctx: Context, account: AccountId) -> bool:
    row = ctx.cache.trust.get(account)
    return row is not None and row.verified


def _by_id(ctx: Context, text: str) -> list[AccountId]:
    prefix = hex_prefix(text)
    if prefix is None:
        return []
    if len(prefix) == 2 * ID_BYTES:
        account = AccountId(bytes.fromhex(prefix))
        if account in ctx.cache.accounts and account != ctx.me.account:
            return [account]  # whole, as programs give it
    accounts = [a for a in everybody(ctx) if a.hex().startswith(prefix)]
    owners = [
        o for d, o in sorted(ctx.cache.owner.items()) if d.hex().startswith(prefix) and o != ctx.me.account
    ]
    rooms = [
        row.peer
        for row_id, row in sorted(ctx.cache.known_rooms.items())
        if row.peer is not None and row_id.hex().startswith(prefix)
    ]
    return list(dict.fromkeys([*accounts, *owners, *rooms]))


def _by_tag(ctx: Context, text: str) -> list[AccountId]:
    name, mark, digits = text.rpartition("~")
    if not mark or len(digits) < 4:
        return []
    wanted = fold(name)
    return [a for a in called(ctx, wanted) if a != ctx.me.account and a.hex().startswith(digits.lower())]


def _only(ctx: Context, target: str, found: list[AccountId]) -> Person:
    if len(found) == 1:
        return Person(found[0], people.name(ctx, found[0]))
    forms = ", ".join(people.name(ctx, a) + tag(a) for a in found[:8])
    raise CommandError("ambiguous_target", f"{target!r} could be any of: {forms}", "use one of these forms")
