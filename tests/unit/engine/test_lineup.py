"""Skip sets that are exchanged while rows decode: the text stays, the statistics say who drafted."""

import pytest

from engine.errors import BadRequest
from engine.lineup import Active, BatchClass
from engine.loop import Engine, Options
from engine.request import Drafter, Request
from engine.skipset import SkipSet
from engine.stock import engine_for
from tests.tools.decoding import expected, run
from tests.tools.families import network_of
from tests.tools.networks import tiny

LAYERS = 6
START = SkipSet.of([2], [3])
OTHER = Active(SkipSet.of([1, 3], [2]), "ss_other", share=0.5)
THIRD = Active(SkipSet.of([4]), "ss_third", share=0.8)


def engine() -> Engine:
    return Engine(tiny(LAYERS), Options(rows=6, length=128), skip_set=START)


def request(name: str, drafter: Drafter = Drafter.SKIP, tokens: int = 24) -> Request:
    return Request(name, (3, 1, 4, 1, 5, len(name)), tokens, drafter=drafter)


@pytest.mark.parametrize(
    ("rows", "kind"), [(1, BatchClass.ONE), (2, BatchClass.FEW), (4, BatchClass.FEW), (5, BatchClass.MANY)]
)
def test_loads_have_classes(rows: int, kind: BatchClass) -> None:
    assert BatchClass.of(rows) is kind


def test_a_swap_between_rounds_changes_who_drafts_and_not_the_text() -> None:
    decoding = engine()
    asked = request("a")
    decoding.submit(asked)
    for _ in range(4):
        decoding.step()

    decoding.swap({BatchClass.ONE: OTHER})

    outcome = run(decoding, [])
    assert outcome.finished["a"].tokens == expected(tiny(LAYERS), [asked])["a"]
    assert outcome.finished["a"].statistics.skip_set_id == "ss_other"


def test_each_load_has_its_own_set() -> None:
    decoding = engine()
    decoding.swap({BatchClass.ONE: OTHER, BatchClass.FEW: THIRD})

    alone = run(decoding, [request("a")]).finished
    few = run(decoding, [request("b"), request("cc")]).finished
    many = run(decoding, [request("x" * number) for number in range(1, 6)]).finished

    assert alone["a"].statistics.skip_set_id == "ss_other"
    assert {one.statistics.skip_set_id for one in few.values()} == {"ss_third"}
    assert {one.statistics.skip_set_id for one in many.values()} == {None}  # the starting set


def test_where_plain_decoding_is_best_only_those_who_ask_are_drafted_for() -> None:
    decoding = engine()
    decoding.swap({BatchClass.ONE: Active(OTHER.skip_set, "ss_other", share=0.01, is_plain=True)})

    auto = run(decoding, [request("a", Drafter.AUTO, 60)]).finished["a"].statistics
    asked = run(decoding, [request("b")]).finished["b"].statistics

    assert auto.drafter is not Drafter.SKIP and auto.skip_set_id is None
    assert asked.drafter is Drafter.SKIP and asked.skip_set_id == "ss_other"


def test_a_set_of_another_network_is_refused_and_nothing_changes() -> None:
    decoding = engine()
    decoding.swap({BatchClass.ONE: OTHER})

    with pytest.raises(BadRequest, match="6 layers"):
        decoding.swap({BatchClass.ONE: THIRD, BatchClass.FEW: Active(SkipSet.of([6]), "ss_wrong")})

    assert run(decoding, [request("a")]).finished["a"].statistics.skip_set_id == "ss_other"


def test_a_network_that_drafts_nothing_takes_no_notice() -> None:
    decoding = engine_for(network_of("mamba"), Options(rows=2, length=64))

    decoding.swap({BatchClass.ONE: Active(SkipSet.of([0]), "ss_other")})

    assert run(decoding, [request("a", Drafter.AUTO, 4)]).finished["a"].statistics.skip_set_id is None
