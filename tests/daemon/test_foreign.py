"""Announcements of programs that are none of ours: counted while they last, asked by address, bounded."""

from __future__ import annotations

from p2pchat.daemon.foreign import MAX_FOREIGN, OFFICE, VERSION, Foreign
from p2pchat.net.lan import Sighting


def sighting(label: str, *addresses: str, port: int = 26700) -> Sighting:
    return Sighting(label, addresses, port, 2, ())


def test_they_are_counted_while_they_last() -> None:
    foreign = Foreign()
    foreign.saw(sighting("one", "10.0.0.1", "fd00::1"), VERSION)
    foreign.saw(sighting("two", "10.0.0.2"), OFFICE)
    foreign.saw(sighting("one", "10.0.0.1"), VERSION)
    assert (foreign.count(VERSION), foreign.count(OFFICE)) == (1, 1)
    assert foreign.at("10.0.0.1", 26700) == VERSION
    assert foreign.at("10.0.0.2", 26700) == OFFICE
    assert foreign.at("10.0.0.1", 26701) == foreign.at("fd00::1", 26700) == ""
    foreign.gone("one")
    foreign.gone("never seen")
    assert (foreign.count(VERSION), foreign.at("10.0.0.1", 26700)) == (0, "")


def test_a_flood_of_them_is_forgotten_oldest_first() -> None:
    foreign = Foreign()
    for number in range(MAX_FOREIGN + 10):
        foreign.saw(sighting(f"label-{number}", f"10.0.{number >> 8}.{number & 255}"), VERSION)
    assert foreign.count(VERSION) == MAX_FOREIGN
    assert foreign.at("10.0.0.9", 26700) == ""
    assert foreign.at("10.0.0.10", 26700) == VERSION
