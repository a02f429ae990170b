"""Names of queues."""

import pytest

from models.states import Lane
from workers.queues import CONTROL, queue_of


@pytest.mark.parametrize(
    ("lane", "device_kind", "name"),
    [
        (Lane.INTERACTIVE, None, "generate.smol-135m.interactive"),
        (Lane.BULK, "cpu", "generate.smol-135m.bulk"),
        (Lane.SEARCH, "cuda", "search.smol-135m.cuda"),
    ],
)
def test_a_queue_is_named_after_model_and_lane(lane: Lane, device_kind: str | None, name: str) -> None:
    queue = queue_of("smol-135m", lane, device_kind)

    assert (queue.name, queue.routing_key) == (name, name)


@pytest.mark.parametrize("model", ["", "-x", "Big", "a/b", "a b", "a\n", "x" * 64])
def test_a_name_no_model_can_have_is_refused(model: str) -> None:
    with pytest.raises(ValueError, match="not a model name"):
        queue_of(model, Lane.BULK)


def test_a_search_needs_a_device_kind() -> None:
    with pytest.raises(ValueError, match="device kind"):
        queue_of("tiny", Lane.SEARCH)


def test_control_is_a_queue_of_its_own() -> None:
    assert CONTROL.name == "control"
