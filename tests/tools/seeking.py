"""What stands for the searches of an engine where the claim is about what is around them."""

import time
from collections.abc import Mapping, Sequence
from typing import Any

from engine.request import Failed
from workers.wire.searches import SearchEnd, SearchEntry, SearchEvent, SearchNews, SearchOrder


class Seeker:
    """Searches of as many units as they may have trials: each says where it is, the last one what it came to."""

    def __init__(self) -> None:
        self.num_units = 0
        self.orders: dict[str, SearchOrder] = {}
        self.answers: list[tuple[str, dict[str, Any]]] = []
        self.sets: list[Mapping[str, dict[str, Any] | None]] = []

    @property
    def is_ready(self) -> bool:
        return bool(self.orders)

    def start(self, order: SearchOrder) -> Sequence[SearchEvent | Failed]:
        if self.orders:
            return [Failed(order.id, "search_running", "one at a time")]
        self.orders[order.id] = order
        return [SearchEntry(order.id, {"do": "propose", "free": []})]

    def stop(self, search_id: str) -> None:
        self.orders.pop(search_id, None)

    def answer(self, search_id: str, entry: dict[str, Any]) -> None:
        self.answers.append((search_id, {"do": entry["do"]}))

    def swap(self, classes: Mapping[str, dict[str, Any] | None]) -> None:
        self.sets.append(classes)

    def step(self) -> Sequence[SearchEvent | Failed]:
        time.sleep(0.002)
        self.num_units += 1
        (order,) = self.orders.values()
        if self.num_units < order.max_trials:
            return [SearchNews(order.id, "warm", self.num_units, None, None, {})]
        self.orders.clear()
        return [SearchEnd(order.id, "plain", None, {}, {"layers": order.layers})]
