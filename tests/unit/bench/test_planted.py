"""Planted networks: the set that was planted is nearly free to skip, nothing else is, and the decoys mislead."""

from functools import cache

import pytest
import torch

from bench.decoys import NO_DECOYS, Decoys
from bench.planted import Planted, distinct, plant, prompts_of, sample_of
from bench.shapes import POINTS, point, skipped_share
from bench.weights import shape
from engine.skipset import SkipSet

CONFIG = shape(8, 128, 256, 4, 2, 1024)
SET = SkipSet.of([2, 3, 5], [2, 4])
DECOYS = Decoys(cancelling=((1, 5),), redundant=((3, 6),))


@cache
def planted(decoys: Decoys = NO_DECOYS) -> Planted:
    return plant(CONFIG, SET, 0.9, decoys=decoys, rows=8, tokens=48, tolerance=0.01)


def acceptance(network: Planted, attention: tuple[int, ...] = (), mlp: tuple[int, ...] = ()) -> float:
    """On prompts that the network was not tuned with."""
    prompts = prompts_of(CONFIG, 8, 16, seed=99)
    return sample_of(network.network, SkipSet.of(attention, mlp), prompts, 48).acceptance


def test_the_planted_set_reaches_the_target_and_its_text_does_not_loop() -> None:
    network = planted()
    assert abs(network.acceptance - 0.9) <= 0.01
    assert abs(acceptance(network, tuple(SET.attention), tuple(SET.mlp)) - 0.9) < 0.06
    assert network.distinct > 0.85


def test_every_other_sub_layer_matters() -> None:
    network = planted()
    for layer in range(8):
        if layer not in SET.attention:
            assert acceptance(network, (layer,)) < 0.88, f"attention {layer}"
        if layer not in SET.mlp:
            assert acceptance(network, (), (layer,)) < 0.9, f"mlp {layer}"


def test_skipping_nothing_changes_nothing() -> None:
    assert acceptance(planted()) == 1.0


def test_a_cancelling_pair_is_harmless_only_together() -> None:
    network = planted(DECOYS)
    first, second = DECOYS.cancelling[0]
    assert acceptance(network, (), (first, second)) > 0.98
    assert acceptance(network, (), (first,)) < 0.7
    assert acceptance(network, (), (second,)) < 0.7


def test_a_redundant_pair_is_harmful_only_together() -> None:
    network = planted(DECOYS)
    first, second = DECOYS.redundant[0]
    assert acceptance(network, (), (first,)) > 0.98
    assert acceptance(network, (), (second,)) > 0.98
    assert acceptance(network, (), (first, second)) < 0.7


def test_decoys_leave_the_planted_set_as_it_was_asked_for() -> None:
    assert abs(planted(DECOYS).acceptance - 0.9) <= 0.01


def test_the_same_seed_gives_the_same_network() -> None:
    first, second = (plant(CONFIG, SET, 0.9, seed=3, rows=2, tokens=8, tolerance=0.5).network for _ in range(2))
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), second.parameters(), strict=True))


def test_an_impossible_acceptance_is_refused() -> None:
    with pytest.raises(ValueError, match="between 0 and 1"):
        plant(CONFIG, SET, 1.0)


def test_distinct_counts_runs_within_a_text() -> None:
    assert distinct([[1, 2, 3, 4, 5], [1, 2, 3, 4, 5]], 2) == 1.0
    assert distinct([[1, 1, 1, 1, 1]], 2) == 0.25


def test_the_published_sets_have_their_published_sizes() -> None:
    assert len(POINTS["13b"].skip_set) == 34
    assert 0.45 < skipped_share(POINTS["half"].config, POINTS["half"].skip_set) < 0.55
    assert 0.45 < skipped_share(POINTS["small"].config, POINTS["small"].skip_set) < 0.6


def test_a_point_shrinks_to_fewer_layers() -> None:
    small = point("13b", 10)
    assert small.config.num_hidden_layers == 10
    small.skip_set.check(10)
    assert small.skip_set.attention and small.skip_set.mlp
