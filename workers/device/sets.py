"""The skip sets that are to draft on a device: from the registry's view to what the engine is told."""

from collections.abc import Mapping
from typing import Any

from engine.skipset import SkipSet
from models.catalog import SkipSetView

# {batch class: {id, bits, share, acceptance}}, None where nothing beats plain decoding. Missing: never decided.
Sets = dict[str, dict[str, Any] | None]


def sets_of(active: Mapping[str, SkipSetView | None], layers: int) -> Sets:
    """What was decided for a place, for a network of so many layers."""
    return {kind: None if one is None else _told(one, layers) for kind, one in active.items()}


def _told(one: SkipSetView, layers: int) -> dict[str, Any]:
    """`share`: a draft step over a plain one; `acceptance`: of first drafts. None where no search measured them."""
    bits, seen = SkipSet.of(one.attention, one.mlp).bits(layers), one.estimates
    return {"id": one.id, "bits": bits, "share": seen.get("draft_share"), "acceptance": seen.get("acceptance")}
