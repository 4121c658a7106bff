"""The one table of commands: every argument, option, twin and sentence of help.

Decides: what the command line looks like. Does not know: how it is parsed (parser,
full), or what a command does (commands/).
"""

from __future__ import annotations

from typing import Final

from p2pchat_cli.option_shapes import Arg as Arg
from p2pchat_cli.option_shapes import Command as Command
from p2pchat_cli.option_shapes import Opt as Opt
from p2pchat_cli.options_devices import DEVICE_COMMANDS, NETWORK

HOME: Final = Opt(
    ("--home",),
    "Profile folder: identity, archive, socket, inbox, log.",
    metavar="DIR",
    env="P2PCHAT_HOME",
)
JSON: Final = Opt(("--json",), "One JSON object on stdout.", "flag", env="P2PCHAT_JSON")
NO_INPUT: Final = Opt(
    ("--no-input",), "Never ask; name the flag that answers instead.", "flag", env="P2PCHAT_NO_INPUT"
)
GLOBALS: Final = (HOME, JSON, NO_INPUT)
"""Options that stand before or after any command."""

HELP: Final = Opt(("--help", "-h"), "Show this and exit.", "flag")
VERSION: Final = Opt(("--version",), "Show the version and exit.", "flag")

_TARGET = Arg("target", "TARGET", "A person or a room: bob, launch, or an id.")
_PERSON = Arg("target", "TARGET", "A person: bob, or an id.")
_ROOM = Arg("room", "ROOM", "A room: launch, or an id.")
_CHAT = Arg("room", "ROOM", "A room, or a person: your direct chat.")
_MEMBER = Arg("person", "PERSON", "A person: bob, or an id.")
_ID = Arg("id", "ID", "A message: its id, 6 or more digits of it, or last.")
_IN = Opt(("--in",), "Where 'last' looks.", metavar="TARGET")
_TIMEOUT = Opt(("--timeout",), "Give up after so many seconds.", "number", metavar="S")

_TOPIC = Opt(("--topic",), "What it is about; '' for nothing.", metavar="T")
_RULES = Opt(("--rules",), "Its ground rules, from a file of at most 16 KiB; '-': stdin.", metavar="FILE")
_HISTORY = Opt(
    ("--history",),
    "What a newcomer reads: all, or what is said once he is in.",
    metavar="WHAT",
    choices=("all", "joined"),
)

_TRANSFER = Arg("id", "ID", "A transfer: its id, or 6 or more digits of it.")
_WAIT = Opt(("--wait",), "Return only when it is settled: 0 done, 8 declined.", "flag")

_TIME = "RFC 3339, YYYY-MM-DD, HH:MM, or 10m 2h 3d"

COMMANDS: Final = (
    Command(
        ("demo",),
        "Two throwaway people on this machine meet, talk, share a room and a file.",
        "demo",
        opts=(Opt(("--keep",), "Leave them running.", "flag"),),
    ),
    Command(
        ("up",),
        "Start the daemon; the first time also makes your identity.",
        "up",
        opts=(
            Opt(("--name",), "What others call you.", metavar="NAME", env="P2PCHAT_NAME"),
            *NETWORK,
            Opt(("--foreground",), "Stay in this terminal; prints 'ready'.", "flag"),
        ),
    ),
    Command(
        ("down",),
        "Stop the daemon.",
        "down",
        opts=(Opt(("--now",), "Do not hand over first what only lies here.", "flag"),),
    ),
    Command(("status",), "Me, the daemon, links, unread, what waits, warnings.", "status"),
    Command(("whoami",), "Who I am to others.", "whoami"),
    Command(
        ("peers",),
        "Who is there, how reached, how trusted.",
        "peers",
        opts=(
            Opt(("--all",), "Also people you blocked.", "flag"),
            Opt(("--wait",), "Wait until this person is connected.", metavar="NAME"),
            _TIMEOUT,
        ),
    ),
    Command(
        ("peers", "add"),
        "Dial an address now, and remember it.",
        "peers",
        (Arg("address", "HOST[:PORT]", "Without a port 26700 to 26709 are tried."),),
        function="add",
    ),
    Command(
        ("peers", "forget"),
        "Drop the addresses of a person, and the name if unverified; or one address.",
        "peers",
        (Arg("target", "TARGET", "A person: bob, or an id; or an address as it was given."),),
        function="forget",
    ),
    Command(
        ("presence",),
        "How you are available, and to whom.",
        "presence",
        (Arg("state", "STATE", "available, away, busy or invisible.", required=False),),
        (
            Opt(("--message",), "Say so beside it; '' for nothing.", metavar="TEXT"),
            Opt(("--for",), f"Only until then: {_TIME} (ahead).", metavar="D"),
            Opt(("--hide-from",), "This person sees you as not here.", metavar="TARGET", many=True),
            Opt(("--hide-direct",), "So do those you share no room with.", "flag"),
            Opt(("--hide-rooms",), "So do those you never wrote to directly.", "flag"),
            Opt(("--show-all",), "Hide from nobody any more.", "flag"),
            Opt(("--quiet-hours",), "Shown as busy in these hours: 18:00-08:00, or off.", metavar="H-H"),
        ),
        notes="A state brings its own message and time; what you do not give stays as it is.",
    ),
    Command(
        ("send",),
        "Say something.",
        "send",
        (_TARGET, Arg("text", "TEXT", "The message; '-' or nothing: stdin.", required=False)),
        (
            Opt(("--file",), "Offer this file or folder with it.", metavar="PATH", many=True),
            Opt(("--reply-to",), "The message this answers.", metavar="ID"),
            Opt(("--thread",), "The message whose thread this belongs to.", metavar="ID"),
            Opt(("--urgent",), "Mark it urgent.", "flag"),
            Opt(("--ack",), "Ask everybody to take note; see 'ack --list'.", "flag"),
            Opt(("--by",), f"Until then, with --ack: {_TIME} (ahead).", metavar="TIME"),
            Opt(("--at",), f"Send it then: {_TIME} (ahead).", metavar="TIME"),
            Opt(("--key",), "The same key is sent once and gives the same id.", metavar="K"),
            Opt(
                ("--wait",),
                "Return only when it is there.",
                metavar="STATE",
                choices=("held", "delivered", "read"),
            ),
            _TIMEOUT,
        ),
    ),
    Command(
        ("edit",),
        "Replace the text of an own message.",
        "change",
        (_ID, Arg("text", "TEXT", "The new text; '-' or nothing: stdin.", required=False)),
        (_IN,),
        function="edit",
    ),
    Command(("delete",), "Delete an own message.", "change", (_ID,), (_IN,), function="delete"),
    Command(
        ("react",),
        "Add a reaction, or take it back.",
        "change",
        (_ID, Arg("emoji", "EMOJI", "One emoji.")),
        (Opt(("--remove",), "Take it back.", "flag"), _IN),
        function="react",
    ),
    Command(
        ("pin",),
        "Pin a message, or unpin it.",
        "change",
        (_ID,),
        (Opt(("--remove",), "Unpin.", "flag"), _IN),
        function="pin",
    ),
    Command(
        ("ack",),
        "Take note of a message that asks for it.",
        "ack",
        (_ID,),
        (Opt(("--list",), "Show who has taken note, and who has not.", "flag"), _IN),
    ),
    Command(
        ("receipts",),
        "How far an own message has come, machine by machine.",
        "receipts",
        (_ID,),
        (_IN,),
    ),
    Command(("queue",), "What waits, for whom.", "queue"),
    Command(("queue", "list"), "What waits, for whom.", "queue"),
    Command(
        ("queue", "cancel"),
        "Take back what nobody has yet.",
        "queue",
        (Arg("id", "ID", "A waiting message or a draft."),),
        function="cancel",
    ),
    Command(
        ("history",),
        "A conversation, oldest first; marks nothing read.",
        "history",
        (_TARGET,),
        (
            Opt(("--tail",), "The newest N (50), or all.", metavar="N|all"),
            Opt(("--before",), f"Only before this message or time ({_TIME}).", metavar="ID|TIME"),
            Opt(("--after", "--since"), "Only after this message or time.", metavar="ID|TIME"),
            Opt(("--thread",), "Only the thread of this message.", metavar="ID"),
            Opt(("--pinned",), "Only pinned messages.", "flag"),
        ),
    ),
    Command(("read",), "Unread messages, then marked read.", "read", (_TARGET,)),
    Command(("inbox",), "What did I miss.", "inbox"),
    Command(
        ("listen",),
        "A stream of what happens; resumable.",
        "listen",
        (Arg("targets", "[TARGET]...", "Only these conversations.", required=False, many=True),),
        (
            Opt(("--since",), "Go on after this cursor; 0: the oldest kept.", metavar="CURSOR"),
            Opt(
                ("--types",),
                "Only these types, with commas: message, edit, delete, reaction, pin, receipt, ack, file,"
                " room, peer, presence, typing, history, office, warning.",
                metavar="T,T",
            ),
            Opt(("--mentions",), "Only messages that mention me.", "flag"),
            Opt(("--count",), "End after N events.", "int", metavar="N"),
            Opt(("--timeout",), "End after so many seconds.", "number", metavar="S"),
        ),
    ),
    Command(
        ("search",),
        "Full text, newest first.",
        "search",
        (Arg("query", "QUERY...", "Words that must all occur; quotes make a phrase.", many=True),),
        (
            Opt(("--in",), "Only in this conversation.", metavar="TARGET"),
            Opt(("--from",), "Only from this person.", metavar="PERSON"),
            Opt(("--after",), "Only after this time.", metavar="TIME"),
            Opt(("--before",), "Only before this time.", metavar="TIME"),
            Opt(("--limit",), "At most N (50).", "int", metavar="N"),
            Opt(("--offset",), "Skip the newest N.", "int", metavar="N"),
        ),
    ),
    Command(
        ("chat",),
        "Type a line, it is sent; what arrives is printed. Ctrl-D ends.",
        "chat",
        (_TARGET,),
        (Opt(("--plain",), "Plain lines: the only form so far.", "flag"),),
    ),
    Command(
        ("room", "create"),
        "Make a room; you are its owner.",
        "room",
        (Arg("name", "NAME", "What it is called."),),
        (
            _TOPIC,
            Opt(("--open",), "Anybody here may join.", "flag"),
            Opt(("--announce",), "Only owners and moderators write.", "flag"),
            _HISTORY,
            _RULES,
        ),
        function="create",
    ),
    Command(
        ("room", "list"),
        "Your rooms and direct chats.",
        "room",
        opts=(
            Opt(("--all",), "Also rooms you may join, and those you left.", "flag"),
            Opt(("--member",), "Only those this person is in too.", metavar="PERSON"),
        ),
        function="listing",
    ),
    Command(
        ("room", "show"),
        "What a room is: who gets in, its topic, what a newcomer reads, its rules.",
        "room",
        (_CHAT,),
        (),
        "showing",
    ),
    Command(
        ("room", "join"), "Come into an open room, or back into one you left.", "room", (_ROOM,), (), "join"
    ),
    Command(("room", "leave"), "Go.", "room", (_ROOM,), (), "leave"),
    Command(
        ("room", "invite"),
        "Add people, at once.",
        "room",
        (_ROOM, Arg("people", "PERSON...", "Whom to add.", many=True)),
        function="invite",
    ),
    Command(
        ("room", "remove"),
        "Put a person out.",
        "room",
        (
            Arg("room", "ROOM", "The room; with --everywhere none: PERSON comes first."),
            Arg("person", "PERSON", "A person: bob, or an id.", required=False),
        ),
        (Opt(("--everywhere",), "Out of every room in which you may.", "flag"),),
        function="remove",
    ),
    Command(("room", "members"), "Who is in.", "room", (_ROOM,), (), "members"),
    Command(
        ("room", "set"),
        "Change what a room is.",
        "room",
        (_CHAT,),
        (
            Opt(("--name",), "Another name.", metavar="NAME"),
            _TOPIC,
            _HISTORY,
            Opt(("--retention",), "How long files offered from now on are served: 30d.", metavar="D"),
            Opt(("--announce",), "Only owners and moderators write.", "flag"),
            Opt(("--no-announce",), "Everybody writes.", "flag"),
            Opt(("--open",), "Anybody here may join.", "flag"),
            Opt(("--private",), "Only whom owners and moderators add.", "flag"),
            Opt(("--closed",), "Nobody else comes in.", "flag"),
            _RULES,
        ),
        function="change",
    ),
    Command(
        ("room", "role"),
        "Make somebody owner, moderator or member.",
        "room",
        (_ROOM, _MEMBER, Arg("role", "ROLE", "owner, moderator or member.")),
        function="role",
    ),
    Command(
        ("room", "mute"),
        "Raise no notice for a room.",
        "room",
        (_CHAT,),
        (
            Opt(("--for",), f"Only until then: {_TIME} (ahead).", metavar="D"),
            Opt(("--mentions-only",), "But for messages that mention you.", "flag"),
            Opt(("--off",), "Raise notices again.", "flag"),
        ),
        function="mute",
    ),
    Command(
        ("file", "send"),
        "Offer files and folders; each goes when it is accepted.",
        "file",
        (_TARGET, Arg("paths", "PATH...", "Files and folders; '-': stdin.", many=True)),
        (
            Opt(("--name",), "What '-' is called.", metavar="NAME"),
            _WAIT,
            _TIMEOUT,
        ),
        function="send",
        notes="Each is sent as it is when it is taken: if it was changed since, it is not given.",
    ),
    Command(
        ("file", "list"),
        "What is offered, on its way, or has been; newest first.",
        "file",
        opts=(Opt(("--have",), "Also who has all of it.", "flag"),),
        function="listing",
    ),
    Command(
        ("file", "accept"),
        "Take what is offered.",
        "file",
        (_TRANSFER,),
        (
            Opt(("--to",), "Into this folder, not the inbox.", metavar="DIR"),
            Opt(
                ("--conflict",),
                "If something of that name is there.",
                metavar="WHAT",
                choices=("skip", "overwrite", "rename"),
            ),
            _WAIT,
            _TIMEOUT,
        ),
        function="accept",
    ),
    Command(("file", "decline"), "Say that you do not want it.", "file", (_TRANSFER,), (), "decline"),
    Command(("file", "pause"), "Fetch no more of it for now.", "file", (_TRANSFER,), (), "pause"),
    Command(("file", "resume"), "Go on fetching it.", "file", (_TRANSFER,), (), "resume"),
    Command(
        ("file", "cancel"), "Stop it, or give it to nobody any more.", "file", (_TRANSFER,), (), "cancel"
    ),
    Command(
        ("file", "auto"),
        "Take what a verified person offers without being asked.",
        "file",
        (_MEMBER, Arg("state", "on|off", "Whether to.")),
        function="auto",
        notes="Up to the size in the setting file_auto_max.",
    ),
    Command(("trust", "show"), "What to compare with a person.", "trust", (_PERSON,), function="show"),
    Command(
        ("trust", "verify"),
        "Mark a person as verified.",
        "trust",
        (_PERSON,),
        (
            Opt(("--fingerprint",), "Only if it matches; '-': stdin.", metavar="F"),
            Opt(("--safety-number",), "Only if it matches; '-': stdin.", metavar="N"),
            Opt(("--sas",), "Compare six digits live; both sides run it.", "flag"),
            Opt(("--confirm",), "The digits the other side shows; '-': stdin.", metavar="DIGITS"),
            _TIMEOUT,
        ),
        function="verify",
        notes="Without a proof it shows the safety number and asks; off a terminal it refuses.",
    ),
    Command(("trust", "accept"), "Take a person's new key.", "trust", (_PERSON,), function="accept"),
    Command(("trust", "block"), "Neither hear nor reach a person.", "trust", (_PERSON,), function="block"),
    Command(("trust", "unblock"), "Take a block back.", "trust", (_PERSON,), function="unblock"),
    *DEVICE_COMMANDS,
    Command(
        ("service", "install"),
        "Start the daemon at boot or login from now on.",
        "service",
        function="install",
        notes="Settings come from the profile's configuration: p2pchat config set.",
    ),
    Command(("service", "uninstall"), "Start it by itself no more.", "service", function="uninstall"),
    Command(("service", "status"), "Whether it is started by itself.", "service", function="status"),
    Command(
        ("doctor",),
        "What is wrong on this machine, or on the way to another, and what to do.",
        "doctor",
        (Arg("target", "[PEER|HOST[:PORT]]", "Look at the way to it too, from both ends.", required=False),),
    ),
    Command(
        ("bugreport",),
        "What a developer needs to help you: no names, no texts, no keys; addresses hashed.",
        "bugreport",
        opts=(Opt(("--out",), "Into this file; else it is printed.", metavar="FILE"),),
    ),
    Command(
        ("config", "show"),
        "Settings.",
        "config",
        opts=(Opt(("--origin",), "Also where each value comes from.", "flag"),),
        function="show",
    ),
    Command(
        ("config", "set"),
        "Change a setting.",
        "config",
        (Arg("key", "KEY", "Its name."), Arg("value", "VALUE", "Its value; lists with commas.")),
        function="change",
    ),
    Command(("paths",), "Where everything lies.", "paths"),
    Command(
        ("logs",),
        "The daemon's log.",
        "logs",
        opts=(Opt(("--follow", "-f"), "Go on as it grows.", "flag"),),
    ),
)

GROUPS: Final = {
    "room": "Rooms: who is in, and what each is set to.",
    "file": "Files and folders: offered, taken, on their way.",
    "trust": "How far people are trusted.",
    "device": "My machines and the recovery key.",
    "service": "Start the daemon at boot or login.",
    "config": "Settings.",
    "peers": "Who is there, how reached, how trusted.",
    "queue": "What waits, for whom.",
}
"""First words that have words below them; `peers` and `queue` are commands by themselves too."""

BY_WORDS: Final = {command.words: command for command in COMMANDS}
