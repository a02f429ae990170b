"""Carries the shard of a helper: it scores what the lead plans while there is a lead, and ends as that one does.

Without one for a while it gives its shard back, so that its worker is free to lead.
"""

import time
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import structlog

from workers.carrier import Outcome
from workers.search.carrier import SearchCarrier
from workers.wire.searches import SearchOrder

log = structlog.get_logger(__name__)

LOOK_S = 0.5  # between two looks at the lead
ABSENT_S = 2.0  # without a lead until a helper gives up


class HelperCarrier(SearchCarrier):
    """One helper in flight."""

    _is_early = False  # the lead has not said yet what trials are priced by
    _look_at = 0.0
    _led_at: float | None = None  # when there was a lead

    def _attend(self) -> None:
        now = time.monotonic()
        if self._outcome is not None or now < self._look_at:
            return
        self._look_at = now + LOOK_S
        lead = self._logbook.find_lead()
        if lead.is_over:
            self._logbook.follow(lead)
            self._outcome = Outcome.FINISH
        elif lead.is_held or self._led_at is None:
            self._led_at = now
            self._ask_again()
        elif now - self._led_at > ABSENT_S:
            log.warning("nobody leads the search; its helper gives up")
            self._outcome = Outcome.RELEASE

    def _ask_again(self) -> None:
        if self._is_early and self._keeper is not None:
            self._is_early = False
            self._keeper.put({"do": "look"})

    def _hear_keeper(self, entry: Mapping[str, Any]) -> None:
        if entry["do"] == "known" and entry["costs"] is None:
            self._is_early = True
        else:
            super()._hear_keeper(dict(entry))

    def _order(self, known: Mapping[str, Any]) -> SearchOrder:
        return replace(super()._order(dict(known)), spent={}, trials=(), helps=True)
