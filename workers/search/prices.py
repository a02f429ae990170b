"""What passes cost the lead of a search, as JSON, for the engine process: trials compare only if priced alike."""

from dataclasses import asdict

from engine.search.costs import DeviceCosts, Load
from workers.wire.searches import Json


def load_json(load: Load) -> Json:
    return {"parts": [{"share": share, **asdict(costs)} for share, costs in load.parts]}


def parse_load(value: Json) -> Load:
    """Raises KeyError, TypeError or ValueError when it is none."""
    return Load(tuple((float(part["share"]), _costs(part)) for part in value["parts"]))


def _costs(part: Json) -> DeviceCosts:
    known = {name: part[name] for name in DeviceCosts.__slots__ if name != "verifies"}
    return DeviceCosts(**known, verifies=tuple((int(width), float(seconds)) for width, seconds in part["verifies"]))
