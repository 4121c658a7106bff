"""Linking and recovering among whole daemons on a fake LAN and a clock that jumps."""

from __future__ import annotations

import functools

import pytest
import trio
from trio.testing import MockClock

from p2pchat.crypto.identity import SigningKey, parse_bound_recovery, print_bound_recovery
from p2pchat.crypto.pake import Code, parse_code
from p2pchat.crypto.primitives import ed25519_keypair, ed25519_sign, tag_bytes, x25519_public
from p2pchat.daemon.core import Daemon
from p2pchat.daemon.identity import IdentityFile
from p2pchat.daemon.joining import LOOK_S, Found, Looking, Place
from p2pchat.daemon.pairing import CODE_S, Talk
from p2pchat.engine.accounts import fold, make_genesis, read_statement
from p2pchat.engine.links import Got
from p2pchat.engine.pairing import Opened, Pairing, Shown
from p2pchat.errors import CommandError, RemoteProtocolError
from p2pchat.net.lan import Address
from p2pchat.wire.codec import encode
from p2pchat.wire.framing import FrameReader, frame
from p2pchat.wire.limits import MAX_PREAUTH_FRAME
from p2pchat.wire.messages.devices import TAG_JOIN, Admitted, Join, Joined
from p2pchat.wire.messages.link import Preface
from tests.daemon.house import House, house
from tests.engine.play import Dice
from tests.kit.fake_stream import FakeStream


def _looking(
    h: House,
    name: str,
    kept: list[IdentityFile],
    *,
    code: Code | None = None,
    recovery: tuple[SigningKey, str] | None = None,
) -> Looking:
    """A new machine on the LAN, which is nobody yet."""
    host = h.lan.host(name, f"10.0.7.{1 + len(name)}")
    return Looking(
        host, Dice("new " + name), trio.current_time, code=code, recovery=recovery, keep=kept.append
    )


def address(h: House, name: str) -> str:
    return str(h.lan.hosts[name].address)


async def _join(
    h: House, name: str, code: Code, kept: list[IdentityFile], peers: tuple[Place, ...] = ()
) -> Found:
    return await _looking(h, name, kept, code=code).search(peers)


def _other(code: Code) -> Code:
    return Code(code.slot, code.secret[:-1] + ("2" if code.secret[-1] != "2" else "3"))


async def test_a_new_machine_finds_who_shows_its_code_among_others(autojump_clock: MockClock) -> None:
    async with house() as h:
        for name in ("ann", "bob", "carl"):
            await h.up(name)
        await h.until(lambda: h.connected("ann") == 2)
        ann = h.daemons["ann"]
        h.daemons["bob"].pairings.show()  # he links a machine of his own at the same time
        linking = ann.pairings.show()
        used: list[str] = []

        async def wait() -> None:
            used.append(await ann.pairings.wait(linking.shown.code.text))

        kept: list[IdentityFile] = []
        async with trio.open_nursery() as nursery:
            nursery.start_soon(wait)
            await trio.testing.wait_all_tasks_blocked()
            began = trio.current_time()
            found = await _join(h, "laptop", parse_code(linking.shown.code.text), kept)
            assert trio.current_time() - began < 3
        account = fold([read_statement(one) for one in found.identity.statements])
        assert account.id == ann.identity.me.account
        assert kept == [found.identity]
        assert kept[0].recovery == b"", "what outranks every machine is not handed on"
        await h.until(lambda: len(used) == 1)
        for name in ("ann", "bob", "carl"):
            known = h.daemons[name].look().cache.accounts[account.id]
            assert used[0] in {device.hex() for device in known.devices}, f"{name} has heard of it"
        assert not h.daemons["bob"].pairings._linking.shown.spent  # type: ignore[union-attr]


@pytest.mark.parametrize("seed", range(4))
async def test_several_ways_to_one_machine_are_one_attempt(seed: int, autojump_clock: MockClock) -> None:
    """On a real network everybody has several addresses: whichever comes first is taken, and the others,
    which find the code used up, end nothing on either side. A wrong code is refused all the same."""
    async with house(seed) as h:
        ann = await h.up("ann")
        ways = tuple((where, ann.listening.port) for where in ("ann", address(h, "ann")))
        for right in (True, False):
            linking = ann.pairings.show()
            code = linking.shown.code if right else _other(linking.shown.code)
            kept: list[IdentityFile] = []
            new = "laptop" if right else "tablet"
            if right:
                found = await _join(h, new, code, kept, ways)
                await linking.over.wait()
                assert kept == [found.identity]
                assert linking.error is None
            else:
                with pytest.raises(CommandError) as error:
                    await _join(h, new, code, kept, ways)
                assert error.value.kind == "key_mismatch"
                await linking.over.wait()
                assert linking.error is not None


async def test_who_only_stands_in_the_door_ends_no_linking(autojump_clock: MockClock) -> None:
    """Eve sees the machine's two characters and begins as well; hers is not the attempt, the laptop's is."""
    async with house() as h:
        ann = await h.up("ann")
        linking = ann.pairings.show()
        eve = h.lan.host("eve", "10.0.7.9")
        stream = await eve.dial(address(h, "ann"), ann.listening.port)
        pairing = Pairing(b"e" * 32, Dice("eve"))
        pairing.dial(_other(linking.shown.code))
        await stream.send_all(pairing.data_to_send())
        pairing.receive_data(await stream.receive_some(4096), trio.current_time())
        pairing.try_code()
        dial = Talk(Pairing(b"l" * 32, Dice("laptop")), await eve.dial(address(h, "ann"), ann.listening.port),
                    trio.current_time)  # fmt: skip
        dial.pairing.dial(linking.shown.code)
        await dial.shown()
        dial.pairing.try_code()
        opened = await dial.until(Opened)
        await stream.send_all(pairing.data_to_send())
        assert await stream.receive_some(4096) == b"", "refused: the code has had its attempt"
        assert not linking.over.is_set()
        public, expanded = ed25519_keypair(b"k" * 32)
        await dial.say(Join(public, ed25519_sign(expanded, tag_bytes(TAG_JOIN) + opened.handshake_hash)))
        await dial.until(Got)
        await dial.say(Joined())
        await linking.over.wait()
        assert linking.error is None


async def test_who_hangs_up_after_a_code_was_tried_gets_no_second_try(autojump_clock: MockClock) -> None:
    """A machine in the middle that breaks every connection would else have a guess on each."""
    async with house() as h:
        liar = h.lan.host("liar", "10.0.9.9")
        tried: list[int] = []

        async def serve(stream: FakeStream, caller: Address) -> None:
            pairing = Pairing(b"l" * 32, Dice(f"liar {len(tried)}"))
            reader = FrameReader(MAX_PREAUTH_FRAME)
            reader.receive_data(await stream.receive_some(MAX_PREAUTH_FRAME))
            preface = reader.next_frame()
            assert preface is not None
            shown = Shown(parse_code("ABCD-EFGH"), 1e9)
            pairing.answer(preface, b"", shown, reader.take_rest(), trio.current_time())
            await stream.send_all(pairing.data_to_send())
            if await stream.receive_some(MAX_PREAUTH_FRAME):
                tried.append(1)  # the first message of the handshake: one guess can be tested on it

        async with trio.open_nursery() as nursery:
            port = (await nursery.start(liar.listen, None, serve)).port
            kept: list[IdentityFile] = []
            with pytest.raises(CommandError) as error:
                await _join(h, "laptop", parse_code("ABCD-2345"), kept, (("liar", port), ("10.0.9.9", port)))
            nursery.cancel_scope.cancel()
        assert (error.value.kind, tried, kept) == ("key_mismatch", [1], [])


async def _in_vain(daemon: Daemon, code: str, caught: list[CommandError]) -> None:
    """Who shows a code waits, and is told that nothing came of it."""
    with pytest.raises(CommandError) as error:
        await daemon.pairings.wait(code)
    caught.append(error.value)


async def test_a_wrong_code_ends_both_at_once(autojump_clock: MockClock) -> None:
    async with house() as h:
        ann = await h.up("ann")
        linking = ann.pairings.show()
        kept: list[IdentityFile] = []
        caught: list[CommandError] = []

        async with trio.open_nursery() as nursery:
            nursery.start_soon(_in_vain, ann, linking.shown.code.text, caught)
            await trio.testing.wait_all_tasks_blocked()
            began = trio.current_time()
            with pytest.raises(CommandError) as error:
                await _join(h, "laptop", _other(linking.shown.code), kept)
            assert trio.current_time() - began < 3, "it does not go on looking"
        assert error.value.kind == "key_mismatch"
        assert caught[0].kind == "failed"
        assert kept == []
        with pytest.raises(CommandError) as error:
            await _join(h, "tablet", linking.shown.code, kept)
        assert error.value.kind == "timeout", "the right one comes too late"
        assert len(ann.look().cache.accounts[ann.identity.me.account].devices) == 1


async def test_a_code_is_good_for_ten_minutes_and_as_long_as_somebody_waits(
    autojump_clock: MockClock,
) -> None:
    async with house() as h:
        ann = await h.up("ann")
        first = ann.pairings.show()
        second = ann.pairings.show()
        with pytest.raises(CommandError):
            await ann.pairings.wait(first.shown.code.text)
        began = trio.current_time()
        with pytest.raises(CommandError) as error:
            await ann.pairings.wait(second.shown.code.text)
        assert error.value.kind == "timeout"
        assert trio.current_time() - began == pytest.approx(CODE_S)
        third = ann.pairings.show()
        with trio.move_on_after(1):
            await ann.pairings.wait(third.shown.code.text)
        assert third.shown.spent, "who stopped waiting has taken it back"
        kept: list[IdentityFile] = []
        with pytest.raises(CommandError) as error:
            await _join(h, "laptop", third.shown.code, kept)
        assert error.value.kind == "timeout"
        assert "no machine that answered shows this code" in error.value.message


async def test_where_nobody_is_it_says_so(autojump_clock: MockClock) -> None:
    async with house() as h:
        kept: list[IdentityFile] = []
        began = trio.current_time()
        with pytest.raises(CommandError) as error:
            await _join(h, "laptop", parse_code("ABCD-EFGH"), kept)
        assert trio.current_time() - began == pytest.approx(LOOK_S, abs=1)
        assert "no machine" in error.value.message
        assert "--peer" in error.value.hint


async def test_a_named_machine_is_reached_without_discovery(autojump_clock: MockClock) -> None:
    async with house() as h:
        ann = await h.up("ann")
        linking = ann.pairings.show()
        named = (str(ann.listening.addresses[0].host), ann.listening.port)
        kept: list[IdentityFile] = []
        h.lan.sighting_delay_s = 3600.0  # multicast tells it nothing
        found = await _join(h, "laptop", linking.shown.code, kept, (named,))
        assert found.identity.statements


async def test_the_recovery_key_is_asked_of_anybody_who_knows_the_person(autojump_clock: MockClock) -> None:
    async with house() as h:
        await h.up("ann")
        await h.up("bob")
        await h.until(lambda: h.connected("bob") == 1)
        identity = h.identities["ann"]
        h.daemons["ann"].stop()
        await h.until(lambda: h.connected("bob") == 0)
        kept: list[IdentityFile] = []
        key = SigningKey(identity.recovery)
        paper = parse_bound_recovery(print_bound_recovery(key, identity.me.account).lower())
        found = await _looking(h, "fresh", kept, recovery=paper).search(())
        account = fold([read_statement(one) for one in found.identity.statements])
        assert account.id == identity.me.account
        assert len(account.active()) == 2
        stranger = SigningKey(b"s" * 32)
        with pytest.raises(CommandError) as error:
            await _looking(h, "eve", kept, recovery=(stranger, paper[1])).search(())
        assert error.value.kind == "timeout"
        assert len(kept) == 1


async def test_who_says_nothing_does_not_stay_in_the_door(autojump_clock: MockClock) -> None:
    async with house() as h:
        ann = await h.up("ann")
        ann.pairings.show()
        eve = h.lan.host("eve", "10.0.7.9")
        place = functools.partial(eve.dial, str(ann.listening.addresses[0].host), ann.listening.port)
        stream = await place()
        await stream.send_all(frame(encode(Preface(1, "chat", "pake"))))
        await trio.testing.wait_all_tasks_blocked()
        assert ann.gate.half_open == 1
        began = trio.current_time()
        assert await stream.receive_some() == b""
        assert trio.current_time() - began <= 11
        await trio.testing.wait_all_tasks_blocked()
        assert ann.gate.half_open == 0
        assert ann.pairings._linking is not None
        assert not ann.pairings._linking.shown.spent


async def test_an_account_made_up_with_somebodys_recovery_key_is_not_taken(autojump_clock: MockClock) -> None:
    """The public half is no secret: eve names it in a genesis of her own, and tells it to who asks."""
    async with house() as h:
        await h.up("ann")
        ann = h.identities["ann"]
        key = SigningKey(ann.recovery)
        false = make_genesis(b"e" * 32, x25519_public(b"x" * 32), key.public)
        await h.up("eve")
        h.daemons["ann"].stop()
        await h.until(lambda: h.connected("eve") == 0)
        await trio.sleep(1)
        eve = h.daemons["eve"].runner.node
        account = fold([read_statement(false)])
        eve.cache.accounts.pop(ann.me.account, None)
        eve.cache.accounts[account.id] = account
        kept: list[IdentityFile] = []
        paper = parse_bound_recovery(print_bound_recovery(key, ann.me.account))
        with pytest.raises(CommandError):
            await _looking(h, "fresh", kept, recovery=paper).search(())
        assert kept == []
        other = parse_bound_recovery(print_bound_recovery(key, account.id))
        found = await _looking(h, "other", kept, recovery=other).search(())
        assert len(found.identity.statements) == 2, "it was heard: only the paper has kept her out"


async def test_the_door_of_recovery_links_no_machine(autojump_clock: MockClock) -> None:
    """It takes no code: who comes through it while one is shown is not one who knows it."""
    async with house() as h:
        ann = await h.up("ann")
        linking = ann.pairings.show()
        eve = h.lan.host("eve", "10.0.7.9")
        stream = await eve.dial(str(ann.listening.addresses[0].host), ann.listening.port)
        talk = Talk(Pairing(b"e" * 32, Dice("eve")), stream, trio.current_time)
        talk.pairing.dial(None)
        opened = await talk.until(Opened)
        public, expanded = ed25519_keypair(b"k" * 32)
        await talk.say(Join(public, ed25519_sign(expanded, tag_bytes(TAG_JOIN) + opened.handshake_hash)))
        with pytest.raises(RemoteProtocolError):
            await talk.until(Got)
        assert len(ann.look().cache.accounts[ann.identity.me.account].devices) == 1
        assert not linking.over.is_set()


async def test_a_code_taken_back_meanwhile_links_nobody(autojump_clock: MockClock) -> None:
    async with house() as h:
        ann = await h.up("ann")
        linking = ann.pairings.show()
        new = h.lan.host("laptop", "10.0.7.9")
        stream = await new.dial(str(ann.listening.addresses[0].host), ann.listening.port)
        talk = Talk(Pairing(b"e" * 32, Dice("laptop")), stream, trio.current_time)
        talk.pairing.dial(linking.shown.code)
        await talk.shown()
        talk.pairing.try_code()
        opened = await talk.until(Opened)
        ann.pairings.show()  # another code takes its place before the new machine has said its key
        public, expanded = ed25519_keypair(b"k" * 32)
        await talk.say(Join(public, ed25519_sign(expanded, tag_bytes(TAG_JOIN) + opened.handshake_hash)))
        with pytest.raises(RemoteProtocolError):
            await talk.until(Got)
        assert len(ann.look().cache.accounts[ann.identity.me.account].devices) == 1


async def _into(h: House, name: str, host: str, code: Code | None) -> Talk:
    """A connection to Ann by somebody who says what the test has him say."""
    ann = h.daemons["ann"]
    stream = await h.lan.host(name, host).dial(str(ann.listening.addresses[0].host), ann.listening.port)
    talk = Talk(Pairing(name.encode().ljust(32), Dice(name)), stream, trio.current_time)
    talk.pairing.dial(code)
    return talk


def _proof(opened: Opened) -> Join:
    public, expanded = ed25519_keypair(b"k" * 32)
    return Join(public, ed25519_sign(expanded, tag_bytes(TAG_JOIN) + opened.handshake_hash))


async def test_who_is_linked_and_breaks_off_is_named(autojump_clock: MockClock) -> None:
    """Eve has read the code over a shoulder, takes what makes her machine one of Ann's, and hangs up."""
    async with house() as h:
        ann = await h.up("ann")
        linking = ann.pairings.show()
        caught: list[CommandError] = []

        async with trio.open_nursery() as nursery:
            nursery.start_soon(_in_vain, ann, linking.shown.code.text, caught)
            talk = await _into(h, "eve", "10.0.7.9", linking.shown.code)
            await talk.shown()
            talk.pairing.try_code()
            await talk.say(_proof(await talk.until(Opened)))
            assert isinstance((await talk.until(Got)).message, Admitted)
            await talk._stream.aclose()
        me = ann.identity.me
        (new,) = [one for one in ann.look().cache.accounts[me.account].devices if one != me.device]
        assert new.hex()[:16] in caught[0].message
        assert f"device revoke {new.hex()[:16]}" in caught[0].hint


async def test_nobody_else_ends_what_is_under_way(autojump_clock: MockClock) -> None:
    """While the new machine is at it, others knock at both doors and break every rule."""
    async with house() as h:
        ann = await h.up("ann")
        linking = ann.pairings.show()
        used: list[str] = []

        async def wait() -> None:
            used.append(await ann.pairings.wait(linking.shown.code.text))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(wait)
            talk = await _into(h, "laptop", "10.0.7.9", linking.shown.code)
            await talk.shown()
            talk.pairing.try_code()
            opened = await talk.until(Opened)
            assert linking.shown.spent
            for name, host, code in (
                ("eve", "10.0.7.10", linking.shown.code),
                ("mallory", "10.0.7.11", None),
            ):
                other = await _into(h, name, host, code)
                if code is None:
                    await other.until(Opened)
                    await other.say(Joined())
                with pytest.raises(RemoteProtocolError):
                    await (other.shown() if code is not None else other.until(Got))
                await other._stream.aclose()
            assert not linking.over.is_set()
            await talk.say(_proof(opened))
            assert isinstance((await talk.until(Got)).message, Admitted)
            await talk.say(Joined())
        assert len(used) == 1


async def test_of_several_accounts_with_somebodys_recovery_key_his_own_is_found(
    autojump_clock: MockClock,
) -> None:
    """Eve was there first with a genesis that names Ann's key: Bob knows both, and tells of both."""
    async with house() as h:
        await h.up("ann")
        await h.up("bob")
        await h.until(lambda: h.connected("bob") == 1)
        ann = h.identities["ann"]
        h.daemons["ann"].stop()
        await h.until(lambda: h.connected("bob") == 0)
        key = SigningKey(ann.recovery)
        known = h.daemons["bob"].runner.node.cache.accounts
        false = fold([read_statement(make_genesis(b"e" * 32, x25519_public(b"x" * 32), key.public))])
        real = known.pop(ann.me.account)
        known |= {false.id: false, real.id: real}
        paper = parse_bound_recovery(print_bound_recovery(key, ann.me.account))
        found = await _looking(h, "fresh", [], recovery=paper).search(())
        assert fold([read_statement(one) for one in found.identity.statements]).id == ann.me.account
