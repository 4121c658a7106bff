"""The front door: what happened, and when, becomes what to do.

Decides: which sibling an input goes to, and what every batch ends with. Does not know
anything else: each arm of the `match` is one call.

The runner's contract: `begin`, BEGIN, `handle` for each input, `close_batch`,
COMMIT, then the effects in order. If anything fails: ROLLBACK, `undo`, `forget`; where nothing
was written and the batch is `untouched`, `undo` is enough.
Effects of a batch that was rolled back must be thrown away.
"""

from __future__ import annotations

from typing import Final

from p2pchat.engine import (
    admission,
    bodies,
    clock,
    clones,
    crossing,
    custody,
    exchange,
    file_commands,
    file_words,
    given,
    gossip,
    handed,
    hearing,
    holders,
    keys,
    log,
    machines,
    meet,
    naming,
    outbox,
    own,
    peers,
    people,
    presence_commands,
    presence_words,
    quota,
    ranges,
    receive,
    revocations,
    room_commands,
    rooms,
    sas,
    search,
    sync,
    talk,
    transfers,
    trust,
    underway,
    views,
)
from p2pchat.engine import inputs as happened
from p2pchat.engine.context import Batch, Cache, Context, Live, Me, ViewSizes, Waiter
from p2pchat.engine.door_inputs import Answered, AtTheDoor
from p2pchat.engine.inputs import (
    Effect,
    FeedGrew,
    FromPeer,
    Input,
    LinkUp,
    Refuse,
    Reply,
    Send,
    Tell,
)
from p2pchat.engine.ports import Entropy, Ledger
from p2pchat.engine.presence_inputs import PresenceInput
from p2pchat.errors import LocalProtocolError
from p2pchat.ids import RoomId
from p2pchat.model import Now
from p2pchat.wire.messages import link as wire
from p2pchat.wire.messages import registers
from p2pchat.wire.messages.statements import SignedStatement

PREKEY_CHECK_S: Final = 3600.0
FEED_KEPT_MS: Final = 30 * 24 * 3600 * 1000
_FREQUENT: Final = (FromPeer, happened.Post, happened.Sighted, happened.Lost, Answered, AtTheDoor)
"""Inputs that bring no link and take none away, but for an answer that decides between two of one machine."""
CLOCKS_EVERY_S: Final = 1.0
"""For timers and dials alone others' clocks are looked at no more often, unless somebody has come or gone."""


class Node:
    """One machine of one person, as a function of its inputs."""

    def __init__(
        self,
        me: Me,
        ledger: Ledger,
        entropy: Entropy,
        *,
        name: str,
        label: str = "",
        machine: str = "",
        keep_name: bool = False,
        office_key: bytes | None = None,
        sizes: ViewSizes | None = None,
        unlisted: bool = False,
    ) -> None:
        """`name`, unless it is "", is published at the start, with `keep_name` only if none has been;
        `label` is our own mDNS label; `machine` what it is called among ours; `office_key` that of the open
        office, whose lobby we come into; `sizes` of views are those of the protocol unless a test
        hands in smaller ones; `unlisted`: others are not told where this machine is."""
        self.me = me
        self.ledger = ledger
        self.entropy = entropy
        self.name = name
        self.live = Live(label=label, machine=machine, unlisted=unlisted)
        self.cache = Cache()
        self.batch = Batch()
        self.loaded = False
        self.names_kept = False
        self.keep_name = keep_name
        self.office_key = office_key
        self.sizes = sizes or ViewSizes()

    # -- the runner's side ---------------------------------------------------------------

    @property
    def wrote(self) -> bool:
        """Whether the open batch wrote anything."""
        return self.batch.wrote

    @property
    def untouched(self) -> bool:
        """Whether the open batch has put nothing together yet. If nothing was written either, all that
        is remembered is still as the ledger says: what a batch changes in memory it also writes, or
        notes to be written at its end."""
        return self.batch == Batch()

    def begin(self) -> None:
        """A batch begins: volatile state is now what `undo` goes back to."""
        self.live.journal.begin()

    def undo(self) -> None:
        """Volatile state as it was when the batch began: after a rollback."""
        self.live.journal.undo()

    def forget(self) -> None:
        """Drop all that was read from the ledger: after a rollback."""
        self.cache = Cache()
        self.batch = Batch()
        self.loaded = False
        self.names_kept = False

    def context(self, now: Now) -> Context:
        """Everything the siblings work on, with the clock we go by."""
        shift = self.live.shift_ms
        ctx = Context(
            self.me,
            self.ledger,
            self.entropy,
            Now(now.wall_ms + shift, now.mono) if shift else now,
            self.live,
            self.cache,
            self.batch,
            shift_ms=shift,
            sizes=self.sizes,
        )
        if not self.loaded:
            self.loaded = True
            people.load(ctx)
            quota.load(ctx)
            _know_ourselves(ctx, self.me.statements)
            self._look_at_clocks(now)
        return ctx

    def look(self, now: Now) -> Context:
        """For `overview`: what is known now. Only between two batches, and only to read."""
        return self.context(now)

    def handle(self, event: Input, now: Now) -> list[Effect]:
        """What follows from one input.

        RemoteProtocolError ends the link it came on, CommandError answers the command;
        after either the batch must be rolled back.
        """
        ctx = self.context(now)
        if not self.names_kept:
            self.names_kept = True
            naming.load(ctx)
        _dispatch(self, ctx, event)
        if not isinstance(event, _FREQUENT) and not self._clocks_seen(event, now):
            self._look_at_clocks(now)
        return ctx.out

    def _clocks_seen(self, event: Input, now: Now) -> bool:
        """Whether one of those of which there are several for each link can find nothing else than before."""
        comings, since = self.live.clocks_seen
        often = isinstance(event, happened.TimerFired | happened.DialFailed)
        same = often and comings is self.live.comings
        return same and 0.0 <= now.mono - since < CLOCKS_EVERY_S

    def _look_at_clocks(self, now: Now) -> None:
        self.live.clocks_seen = (self.live.comings, now.mono)
        self.live.shift_ms = clock.shift(self.live, self.cache.trust, self.me.account, now.wall_ms)

    def close_batch(self, now: Now) -> list[Effect]:
        """Sign open chains and write what the batch has put together; effects to add.

        What it returns comes after the effects of the batch's inputs, except that new
        events are sent before anybody is answered.
        """
        ctx = self.context(now)
        batch = self.batch
        for room_id in list(batch.tails):
            log.settle(ctx, rooms.room(ctx, room_id), may_stay_unsigned=False)
        answers, ctx.out = ctx.out, []
        # Each of these looks for what concerns it; asked here, so that what does not is not gone into.
        if batch.fresh:
            sync.push_fresh(ctx)
        if batch.onward:
            sync.push_on(ctx)
        if batch.entered or batch.moved:
            sync.moved(ctx)
        if batch.unjudged:
            sync.seek_acts(ctx)
        ctx.out.extend(answers)
        for (room, control), items in batch.items.items():
            ctx.ledger.items.add(room, control, items)
        for room, author in batch.have:
            have = rooms.room(ctx, room).have[author]
            ctx.ledger.seen.put_seen(room, self.me.device, author, registers.HAVE, have)
        if batch.receipts:
            own.catch_up(ctx)
        if batch.counted:
            quota.close(ctx)
        if batch.receipts:
            outbox.close_receipts(ctx)
        if batch.entered:
            admission.close(ctx)
        if batch.handed or self.live.not_had:
            handed.close(ctx)
        if batch.fresh:
            custody.watch(ctx)
        presence_words.close(ctx)
        if batch.fed:
            ctx.out.append(FeedGrew())
        self.batch = Batch()
        return ctx.out


def _know_ourselves(ctx: Context, signed: tuple[SignedStatement, ...]) -> None:
    """On the first run our own statements go into the archive like everybody's."""
    if ctx.me.account not in ctx.cache.accounts:
        people.learn_statements(ctx, signed, (ctx.me.account,))


def _dispatch(node: Node, ctx: Context, event: Input) -> None:
    if isinstance(event, FromPeer):
        hearing.from_peer(ctx, event)
        return
    machines.check_may(ctx, event)
    match event:
        case happened.Post():
            talk.post(ctx, event)
            presence_commands.wrote(ctx)
        case happened.TimerFired():
            _timer(node, ctx, event.name)
        case LinkUp():
            meet.link_up(ctx, event)
        case happened.LinkDown():
            meet.link_down(ctx, event.link)
        case happened.LinkDrained():
            meet.resume(ctx, event.link)
        case happened.Sighted():
            peers.sighted(ctx, event)
        case happened.Lost():
            peers.lost(ctx, event.label)
        case happened.NetworkChanged():
            peers.network_changed(ctx, event.addresses, event.networks)
        case Answered():
            underway.answered(ctx, event.dial)
        case AtTheDoor():
            underway.at_the_door(ctx, event.host, over=event.over)
        case happened.DialFailed():
            peers.dial_failed(ctx, event.dial, event.reason)
        case happened.Started():
            _started(node, ctx, event.port)
        case happened.Stopping():
            ctx.live.stopping = True
            outbox.receipts_due(ctx)
        case happened.HandOver():
            custody.hand_over(ctx, event)
        case happened.Forgotten():
            ctx.live.waiters.pop(event.request, None)
        case happened.Change():
            talk.change(ctx, event)
        case happened.CreateRoom():
            room_commands.create(ctx, event)
        case happened.RoomAct():
            room_commands.act(ctx, event)
        case happened.Mute():
            room_commands.mute(ctx, event)
        case happened.CancelQueued():
            talk.cancel(ctx, event)
        case happened.ConfirmShown():
            talk.confirm_shown(ctx, event)
        case happened.AddPeer():
            _add_peer(ctx, event)
        case happened.Search():
            search.command(ctx, event)
        case happened.ForgetPeer():
            trust.forget(ctx, event)
        case happened.ForgetAddress():
            given.forget(ctx, event)
        case happened.SetTrust():
            trust.decide(ctx, event)
        case happened.StartSas():
            sas.start(ctx, event.request, talk.account_of(ctx, event.target), event.timeout_s)
        case happened.ConfirmSas():
            _confirm_sas(ctx, event)
        case happened.Rename():
            trust.rename(ctx, event)
        case happened.Configure():
            _configure(ctx, event)
        case _:
            _of_files(ctx, event)


def _of_files(ctx: Context, event: Input) -> None:
    match event:
        case happened.MayServe():
            transfers.may_serve(ctx, event)
        case happened.StillNeeded():
            transfers.still_needed(ctx, event)
        case happened.FileLanded():
            transfers.landed(ctx, event)
        case happened.FileTrouble():
            transfers.trouble(ctx, event)
        case happened.FileRead():
            file_commands.read(ctx, event)
        case happened.NeedBulk():
            file_words.need_bulk(ctx, event)
        case happened.FileAct():
            file_commands.act(ctx, event)
        case happened.FileAuto():
            file_commands.auto(ctx, event)
        case _ if isinstance(event, PresenceInput):
            presence_commands.act(ctx, event)
        case _:
            machines.handle(ctx, event)


# -- life -----------------------------------------------------------------------------------


def _started(node: Node, ctx: Context, port: int) -> None:
    ctx.live.port = port
    clones.started(ctx)
    own.started(ctx)
    others = len(ctx.cache.accounts[ctx.me.account].devices) > 1  # from them the name comes
    if node.name and not (node.keep_name and (others or ctx.me.account in ctx.cache.profiles)):
        trust.publish_name(ctx, node.name)
    _tend_prekeys(ctx)
    if node.office_key is not None:
        room_commands.enter_lobby(ctx, node.office_key)
    ctx.ledger.outbox.prune_feed(ctx.now.wall_ms - FEED_KEPT_MS)
    talk.plan_drafts(ctx)
    transfers.start(ctx)
    custody.start(ctx)
    holders.start(ctx)
    revocations.start(ctx)
    presence_words.start(ctx)
    ctx.timer("repair", ctx.now.mono + sync.REPAIR_S)
    exchange.publish(ctx)
    peers.start(ctx)
    search.begin(ctx)


def _tend_prekeys(ctx: Context) -> None:
    ctx.timer("prekeys", ctx.now.mono + PREKEY_CHECK_S)
    known = list(ctx.cache.known_rooms)
    repaired = min((ctx.live.repaired.get(room, 0) for room in known), default=0)
    if keys.tend_prekeys(ctx, lambda: ctx.entropy.bytes(32), repaired or None):
        own = ctx.cache.prekeys[ctx.me.device]
        signed = people.signed_register(own)
        for number in ctx.live.by_device.values():
            ctx.out.append(Send(number, wire.Registers((signed,))))


_OF_A_ROOM: Final = {
    "rotate": keys.rotate,
    "keys": keys.ask_next,
    "prepare": keys.go_on,
    "moved": sync.repair_some,
    "awake": receive.awake,
    "bodies": bodies.due,
    "retell": room_commands.tell_again,
}


def _timer(node: Node, ctx: Context, name: str) -> None:
    asked = ctx.live.timers.pop(name, None) is not None
    kind, _, rest = name.partition(":")
    match kind:
        case "receipts":
            outbox.receipts_due(ctx)
        case "peers":
            peers.tick(ctx)
        case "around":
            exchange.due(ctx)
        case "search":
            search.due(ctx)
        case "repair":
            sync.periodic(ctx)
            own.again(ctx)
        case "runs":
            sync.stir_all(ctx)
        case "gossip":
            gossip.due(ctx)
        case "wait":
            outbox.timed_out(ctx, int(rest))
        case "contest":
            meet.ready(ctx, crossing.older_silent(ctx, int(rest)))
        case "renew":
            peers.renew(ctx)
        case "drafts":
            talk.drafts_due(ctx)
        case "files":
            transfers.due(ctx)
        case "transfers":
            transfers.again(ctx)
        case "hold":
            custody.due(ctx)
        case "holdings":
            holders.expire(ctx)
            custody.look_at_all(ctx)
        case "presence":
            presence_words.due(ctx)
        case "withheld":
            presence_words.release(ctx)
        case "typing":
            presence_words.typing_over(ctx)
        case "prekeys":
            _tend_prekeys(ctx)
        case "copy":
            if asked:  # else by a node before this one, under the id it had
                clones.due(ctx, rest)
        case "revoke":
            revocations.due(ctx, rest)
        case "revocations":
            revocations.again(ctx)
        case "rotate" | "keys" | "prepare" | "moved" | "awake" | "bodies" | "retell":
            room = ctx.cache.known_rooms.get(RoomId(bytes.fromhex(rest)))
            if room is not None:
                _OF_A_ROOM[kind](ctx, rooms.room(ctx, room.id))
        case _:
            raise LocalProtocolError(f"unknown timer {name!r}")


# -- small commands ------------------------------------------------------------------------------


def _add_peer(ctx: Context, command: happened.AddPeer) -> None:
    numbers = peers.add(ctx, command.request, command.host, command.port)
    ctx.live.waiters[command.request] = Waiter(command.request, "dial", dials=numbers)
    ctx.timer(f"wait:{command.request}", ctx.now.mono + 15.0)


def _confirm_sas(ctx: Context, command: happened.ConfirmSas) -> None:
    account = talk.account_of(ctx, command.target)
    wrong = sas.confirm(ctx, account, command.digits)
    if wrong is not None:
        ctx.out.append(Refuse(command.request, wrong))
        return
    trust.mark_verified(ctx, account)
    ctx.out.append(Tell("peer", account))
    ctx.out.append(Reply(command.request, {"account": account.hex(), "trust": "verified"}))


def _configure(ctx: Context, command: happened.Configure) -> None:
    if (ctx.cache.read_receipts, ctx.cache.file_auto_max) != (command.read_receipts, command.file_auto_max):
        ctx.cache.read_receipts, ctx.cache.file_auto_max = command.read_receipts, command.file_auto_max
        ctx.ledger.people.put_value("read_receipts", b"1" if command.read_receipts else b"0")
        ctx.ledger.people.put_value("file_auto_max", str(command.file_auto_max).encode())
        ctx.batch.wrote = True
    ctx.out.append(Reply(command.request, {}))


def rebuild_views(node: Node, now: Now) -> None:
    """Compute every view again from the log, in one transaction of the caller's."""
    ctx = node.context(now)
    for room_id in list(ctx.cache.known_rooms):
        room = rooms.room(ctx, room_id)
        everything = [
            event
            for device, head in room.heads.items()
            for event in ctx.ledger.events.run(room_id, device, 1, head.seq, ranges.MAX_SEQ)  # forks too
        ]
        views.rebuild(ctx, room, everything)
