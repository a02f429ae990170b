"""Places: who serves them, in whose order changes are written down, and how they are undone."""

from functools import partial

import pytest
from sqlalchemy.exc import IntegrityError

from models.catalog import NewSkipSet, add_model, add_skip_set
from models.errors import ModelNotFound, NothingBefore, SkipSetNotFound, WrongPlace
from models.places import PLAIN, Change, Place, activate, active_sets, list_activations, move, roll_back
from models.states import ActivationKind
from tests.integration.registry.conftest import MODEL, Registry, at_once, model

PLACE = Place(MODEL, None, "cpu", "float32", "1")


def add(registry: Registry, batch_class: str = "1", model: str = MODEL, dtype: str = "float32") -> str:
    with registry.database.session() as session:
        return add_skip_set(session, NewSkipSet(model, (1,), (0,), "cpu", dtype, batch_class)).id


def choose(registry: Registry, skip_set_id: str, actor_id: str | None = "key_a") -> None:
    with registry.database.session() as session:
        activate(session, MODEL, skip_set_id, actor_id=actor_id)


def back(registry: Registry, batch_class: str = "1") -> str | None:
    with registry.database.session() as session:
        return roll_back(session, MODEL, "cpu", batch_class, actor_id="key_b").became


def decided(registry: Registry) -> dict[str, str | None]:
    """What active_sets says, by ids."""
    with registry.database.session() as session:
        found = active_sets(session, MODEL, None, "cpu", "float32")
    return {name: one.id if one else None for name, one in found.items()}


def history(registry: Registry) -> list[tuple[str, str | None, str | None]]:
    """(kind, was, became), oldest first."""
    with registry.database.session() as session:
        return [(one.kind.value, one.was, one.became) for one in reversed(list_activations(session, MODEL).data)]


def test_one_is_active_in_its_place(registry: Registry) -> None:
    old, new, elsewhere = add(registry), add(registry), add(registry, batch_class="5+")
    assert decided(registry) == {}
    for skip_set_id in (old, elsewhere, new):
        choose(registry, skip_set_id)

    assert decided(registry) == {"1": new, "5+": elsewhere}
    assert registry.rows("SELECT id FROM skip_sets WHERE is_active ORDER BY id") == sorted([(new,), (elsewhere,)])


def test_every_change_is_written_down_with_whose_it_was(registry: Registry) -> None:
    old, new = add(registry), add(registry)
    choose(registry, old)
    choose(registry, new)
    choose(registry, new)  # no change

    with registry.database.session() as session:
        page = list_activations(session, MODEL, limit=1)
    assert history(registry) == [("activated", None, old), ("activated", old, new)]
    assert (page.has_more, page.data[0].actor_id, page.data[0].batch_class) == (True, "key_a", "1")


def test_rolling_back_goes_back_a_step_each_time(registry: Registry) -> None:
    first, second, third = (add(registry) for _ in range(3))
    for skip_set_id in (first, second, third):
        choose(registry, skip_set_id)

    assert [back(registry), back(registry)] == [second, first]
    choose(registry, third)
    assert [back(registry), back(registry)] == [first, None]
    assert decided(registry) == {}  # the starting set again
    with pytest.raises(NothingBefore):
        back(registry)
    assert registry.rows("SELECT count(*) FROM skip_sets WHERE is_active") == [(0,)]


def test_plain_decoding_is_a_choice_that_can_be_undone(registry: Registry) -> None:
    found = add(registry)
    choose(registry, found)
    with registry.database.session() as session:
        move(session, PLACE, Change(ActivationKind.PLAIN, PLAIN))
    assert decided(registry) == {"1": None}

    assert back(registry) == found
    assert decided(registry) == {"1": found}


def test_activations_at_once_take_turns_and_are_all_written_down(registry: Registry) -> None:
    ids = [add(registry) for _ in range(6)]

    answers = at_once(*(partial(choose, registry, skip_set_id) for skip_set_id in ids))

    steps = history(registry)
    assert answers == [None] * 6
    assert {became for _, _, became in steps} == set(ids)
    assert [was for _, was, _ in steps] == [None, *(became for _, _, became in steps[:-1])]
    assert decided(registry) == {"1": steps[-1][2]}


def test_what_was_found_for_something_else_is_refused(registry: Registry) -> None:
    with registry.database.session() as session:
        add_model(session, model("other"))
    for skip_set_id in (add(registry, model="other"), "skip_nobody"):
        with pytest.raises(SkipSetNotFound):
            choose(registry, skip_set_id)
    with pytest.raises(ModelNotFound), registry.database.session() as session:
        activate(session, "nobody", "skip_nobody")
    with pytest.raises(WrongPlace, match="bfloat16"):
        choose(registry, add(registry, dtype="bfloat16"))
    found = add(registry)
    registry.rows("UPDATE models SET num_layers = 1")
    with pytest.raises(WrongPlace, match="layer 1"):
        choose(registry, found)
    registry.rows("UPDATE models SET revision = 'r2', num_layers = 2")
    with pytest.raises(WrongPlace, match="revision None, the model is at r2"):
        choose(registry, found)
    assert history(registry) == []


def test_a_new_revision_starts_without(registry: Registry) -> None:
    choose(registry, add(registry))
    registry.rows("UPDATE models SET revision = 'r2'")

    with registry.database.session() as session:
        assert active_sets(session, MODEL, "r2", "cpu", "float32") == {}
    with pytest.raises(NothingBefore):
        back(registry)


def test_the_database_refuses_a_second_active_one(registry: Registry) -> None:
    choose(registry, add(registry))
    second = add(registry)
    with pytest.raises(IntegrityError, match="skip_sets_one_active"):
        registry.rows("UPDATE skip_sets SET is_active = TRUE WHERE id = :id", id=second)
