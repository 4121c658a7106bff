"""What can happen to a node about availability, and what it asks of the daemon for it.

Decides: the vocabulary. Does not know: what follows. Part of `inputs`, which joins it.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class SetPresence:
    """Choose how I am available. Answered with model.Availability.

    A `state` brings its message and time with it, "" and None if none are given; with `state` None a
    `message` replaces the one there is (None: keeps it), and `until_ms` counts with it.
    """

    request: int
    state: str | None = None
    message: str | None = None
    until_ms: int | None = None
    hide_from: tuple[str, ...] = ()
    hide_direct: bool = False
    hide_rooms: bool = False
    show_all: bool = False


@dataclass(frozen=True, slots=True)
class Active:
    """A front end has seen its user at work. Answered with `{}`."""

    request: int


@dataclass(frozen=True, slots=True)
class DoNotDisturb:
    """The hours in which I do not want to be disturbed have begun, or are over. Answered with `{}`."""

    request: int
    on: bool


@dataclass(frozen=True, slots=True)
class TypeIn:
    """I am writing to `target`, or have stopped. Answered with `{}`."""

    request: int
    target: str
    on: bool


@dataclass(frozen=True, slots=True)
class Announcing:
    """Effect: show this machine on the network from now on, or send nothing that shows it."""

    on: bool


PresenceInput = SetPresence | Active | DoNotDisturb | TypeIn
