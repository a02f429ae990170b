"""Which sub-layers a search may skip at all, by what leaving each one out shows."""

from engine.search.costs import DeviceCosts, Load
from engine.search.steps import Steps, drain
from engine.search.trial import Source, Trial
from engine.search.units import singles
from engine.search.warm import leave_one_out
from engine.skipset import SkipSet

LAYERS = 4
LOAD = Load.of(DeviceCosts(LAYERS, 0.1, 0.1, 0.2, ((1, 1.0), (4, 1.1))))
HOPELESS = SkipSet.of((), [0])


def test_every_sub_layer_is_a_unit_unless_nothing_is_right_without_it() -> None:
    """The first and last layers too: where a step is dear, sets that skip them may be the fastest."""

    def score(skip_set: SkipSet, source: Source) -> Steps[Trial]:
        yield
        loss = 0.9 if skip_set == HOPELESS else 0.3 * len(skip_set)
        return Trial(skip_set, source, 1.0, 0.0, 1 - loss, loss, 1, 4)

    units = drain(leave_one_out(score, LOAD, ()))

    assert {priced.unit for priced in units} == set(singles(LAYERS)) - {HOPELESS}
