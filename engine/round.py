"""The drafts of one round: each row by the drafter it asked for, ``auto`` rows as far as it pays."""

from collections.abc import Sequence
from dataclasses import dataclass

from engine.control import Controller, Offer
from engine.draft.skip import SkipDrafter
from engine.request import Drafter
from engine.row import Row

_SKIP_DRAFTS = 4  # a fixed length; the adaptive exit is not here yet


@dataclass(slots=True)
class Drafted:
    """What one row brings to the verify, and what lookup had offered it."""

    drafter: Drafter
    tokens: list[int]
    looked_up: list[int]
    offer: Offer | None = None


class Drafters:
    """Proposes for every row of a round."""

    def __init__(self, skip: SkipDrafter | None, controller: Controller, most: int) -> None:
        self._skip = skip
        self._most = most
        self._controller = controller

    def propose(self, rows: Sequence[Row], slot_end: int) -> list[Drafted]:
        """The drafts of each row, never beyond what it may still generate nor the end of its slot."""
        rooms = [self._room(row, slot_end) for row in rows]
        skipped = self._skipped(rows, rooms)
        looked = [self._looked_up(row, room) for row, room in zip(rows, rooms, strict=True)]
        fixed = [len(draft) for draft in skipped]
        fixed += [len(look.tokens) for look in looked if look.offer is None]
        offers = [look.offer for look in looked if look.offer is not None]
        limit = self._controller.drafts(offers, len(rows), max(fixed, default=0)) if offers else 0
        for row, look, skip in zip(rows, looked, skipped, strict=True):
            if row.request.drafter is Drafter.SKIP:
                look.tokens = skip
            elif look.offer is not None:
                look.tokens = look.looked_up[:limit]
        return looked

    def learn(self, drafted: Drafted, picked: Sequence[int], accepted: int) -> None:
        """Score the lookup drafts that were made; without any, the first that would have been (it costs nothing)."""
        if drafted.offer is None or not drafted.looked_up:
            return
        if drafted.tokens:
            self._controller.learn(drafted.offer, accepted, len(drafted.tokens))
        else:
            self._controller.learn(drafted.offer, int(drafted.looked_up[0] == picked[0]), 1)

    def _room(self, row: Row, slot_end: int) -> int:
        return 0 if row.shuns_drafts else min(row.tokens_left - 1, slot_end - row.length - 1, self._most)

    def _skipped(self, rows: Sequence[Row], rooms: Sequence[int]) -> list[list[int]]:
        limits = [
            min(room, _SKIP_DRAFTS) if row.request.drafter is Drafter.SKIP else 0
            for row, room in zip(rows, rooms, strict=True)
        ]
        if self._skip is None or not any(limits):
            return [[] for _ in rows]
        return self._skip.propose(rows, limits)

    def _looked_up(self, row: Row, room: int) -> Drafted:
        if row.request.drafter in (Drafter.PLAIN, Drafter.SKIP):
            return Drafted(row.request.drafter, [], [])
        match, tokens = row.index.match(), row.index.draft(room)
        if row.request.drafter is Drafter.LOOKUP:
            return Drafted(Drafter.LOOKUP, tokens, [])
        length = match.length if match else 0
        return Drafted(Drafter.LOOKUP, tokens, tokens, Offer(row.acceptance, length, len(tokens)))
