"""What is printed of an item."""

from __future__ import annotations

from typing import Any

import pytest

from cli.views import Item

ITEM = {"index": 3, "custom_id": None, "status": "succeeded", "output": "a", "error": None}


@pytest.mark.parametrize(
    ("changes", "texts"),
    [
        ({}, {"3": "a"}),
        ({"custom_id": "x", "choices": None}, {"x": "a"}),
        ({"choices": [{"index": 0, "output": "a"}, {"index": 1, "output": "b"}]}, {"3 [0]": "a", "3 [1]": "b"}),
        ({"status": "failed", "output": None, "error": {"message": "too long"}}, {"3": "[failed] too long"}),
    ],
)
def test_every_text_has_a_name(changes: dict[str, Any], texts: dict[str, str]) -> None:
    assert Item({**ITEM, **changes}).texts == texts
