"""From the registry's view of what drafts where to what the engine is told."""

from datetime import UTC, datetime

from engine.skipset import SkipSet
from models.catalog import SkipSetView
from workers.device.sets import sets_of


def view(**changes: object) -> SkipSetView:
    plain = dict.fromkeys(("activated_at", "job_id", "draft_length", "threshold", "stale_since", "stale_evidence"))
    about = {"model": "m", "revision": None, "device_kind": "cpu", "dtype": "auto", "batch_class": "1"}
    found = {"id": "ss", "attention": (1,), "mlp": (0, 3), "estimates": {}, "measurements": {}, "is_active": True}
    return SkipSetView(**{**plain, **about, **found, "created_at": datetime.now(UTC), **changes})  # type: ignore[arg-type]


def test_sets_and_plain_decoding_are_told_apart() -> None:
    measured = view(estimates={"draft_share": 0.6, "acceptance": 0.9, "speed": 1.3})

    told = sets_of({"1": measured, "2-4": None, "5+": view(id="other")}, 4)

    bits = SkipSet.of([1], [0, 3]).bits(4)
    assert told == {
        "1": {"id": "ss", "bits": bits, "share": 0.6, "acceptance": 0.9},
        "2-4": None,
        "5+": {"id": "other", "bits": bits, "share": None, "acceptance": None},
    }
