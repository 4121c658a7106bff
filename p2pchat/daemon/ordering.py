"""In what order effects leave, and which of them need not wait for the commit.

Decides: what goes first after a commit, what may go before it, and which inputs cost nothing if
they are lost. Does not know: how an effect is carried out.
"""

from __future__ import annotations

from p2pchat.engine.inputs import Effect, FeedGrew, FromPeer, Input, Refuse, Reply, Send, Tell
from p2pchat.wire.messages.link import ReadMark, Receipt

_LATER = (Reply, Refuse, Tell, FeedGrew)
_REPEATED = (Receipt, ReadMark)


def repeats(event: Input) -> bool:
    """Whether losing what follows from this input costs nothing: it is told again on the next link."""
    return isinstance(event, FromPeer) and isinstance(event.message, _REPEATED)


def sends_first(effects: list[Effect], closing: list[Effect]) -> list[Effect]:
    """Timers are set and frames leave before anybody is answered: the answer can wait a moment."""
    both = [*effects, *closing]
    if len(both) < 2:  # whoever gets a message mostly has one at most
        return both
    first: list[Effect] = []
    later: list[Effect] = []
    for effect in both:
        (later if isinstance(effect, _LATER) else first).append(effect)
    return first + later


def part_early(effects: list[Effect]) -> tuple[list[Effect], list[Effect]]:
    """What may leave before the commit, and the rest. No frame overtakes another of its link."""
    early: list[Effect] = []
    rest: list[Effect] = []
    waiting: set[int] = set()
    for effect in effects:
        if isinstance(effect, Send):
            may = effect.early and effect.link not in waiting
            if not may:
                waiting.add(effect.link)
        else:
            may = isinstance(effect, Reply) and effect.early
        (early if may else rest).append(effect)
    return early, rest
