"""The port's own helpers: notices that wait, and addresses people type."""

from __future__ import annotations

import pytest
import trio

from p2pchat.errors import SettingsError
from p2pchat.net.lan import Address, Gone, NetworkChanged, Notice, NoticeBox, Sighting, split_host_port


def sighting(label: str, port: int = 26700) -> Sighting:
    return Sighting(label, ("10.0.0.2",), port, 1, ())


async def drain(box: NoticeBox) -> list[Notice]:
    send, receive = trio.open_memory_channel[Notice](2000)
    with trio.move_on_after(0.1):
        await box.pump(send)
    send.close()
    return [notice async for notice in receive]


async def test_the_newest_word_about_a_label_counts(autojump_clock: trio.testing.MockClock) -> None:
    box = NoticeBox()
    for notice in (sighting("a"), sighting("b"), sighting("a", 26701), Gone("b")):
        box.put(notice)
    assert len(box) == 2
    assert await drain(box) == [sighting("a", 26701), Gone("b")]


async def test_a_full_box_drops_the_oldest_hint(autojump_clock: trio.testing.MockClock) -> None:
    box = NoticeBox(limit=3)
    box.put(NetworkChanged(("10.0.0.1",)))
    for n in range(50_000):
        box.put(sighting(f"fake-{n}"))
    assert await drain(box) == [
        NetworkChanged(("10.0.0.1",)),
        *(sighting(f"fake-{n}") for n in range(49_997, 50_000)),
    ]


async def test_what_the_old_network_showed_does_not_outlive_it(
    autojump_clock: trio.testing.MockClock,
) -> None:
    box = NoticeBox()
    box.put(sighting("a"))
    box.put(NetworkChanged(()))
    box.put(sighting("b"))
    assert await drain(box) == [NetworkChanged(()), sighting("b")]


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [
        ("bob", "bob", None),
        ("10.0.0.2:26701", "10.0.0.2", 26701),
        ("fe80::1%eth0", "fe80::1%eth0", None),
        ("::1", "::1", None),
        ("[fe80::1%eth0]:26701", "fe80::1%eth0", 26701),
        ("[::1]", "::1", None),
    ],
)
def test_host_and_port_as_people_write_them(text: str, host: str, port: int | None) -> None:
    assert split_host_port(text) == (host, port)


@pytest.mark.parametrize(
    "text",
    [
        "",
        ":26700",
        "bob:",
        "bob:0",
        "bob:65536",
        "bob:٣",
        "b ob",
        "[::1",
        "[::1]x",
        "[::1]:",
        "a:b:c",
        "[bob",
        "b\x1b",
    ],
)
def test_other_text_is_refused_and_quoted(text: str) -> None:
    with pytest.raises(SettingsError) as refused:
        split_host_port(text)
    assert repr(text) in str(refused.value)


def test_addresses_are_shown_so_that_they_can_be_typed_again() -> None:
    for address in (Address("10.0.0.2", 26700), Address("fe80::1%eth0", 26701)):
        assert split_host_port(str(address)) == (address.host, address.port)
