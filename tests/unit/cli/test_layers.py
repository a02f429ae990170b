"""The layer map in a terminal: every sub-layer in its column, colours that nothing depends on."""

from __future__ import annotations

from io import StringIO
from typing import Any

from rich.console import Console

from cli.layers import BARS, KEPT, SKIPPED, Losses, layer_map, summary

SKIP_SET: dict[str, Any] = {
    "id": "skip_a",
    "model": "tiny",
    "device_kind": "cpu",
    "dtype": "float32",
    "batch_class": "1",
    "is_active": True,
    "stale_since": None,
    "attention": [1, 10],
    "mlp": [0],
}


def drawn(num_layers: int, width: int, losses: dict[str, Losses] | None = None) -> list[str]:
    return [line.plain for line in layer_map(SKIP_SET, num_layers, losses, width)]


def test_each_sub_layer_has_its_column() -> None:
    losses: dict[str, Losses] = {"attention": [None, 0.0, 0.7] + [0.1] * 9, "mlp": [0.35] * 12}

    assert drawn(12, 80, losses) == [
        "layer      0         1 ",
        "           012345678901",
        f"attention  {KEPT}{SKIPPED}{KEPT * 8}{SKIPPED}{KEPT}",
        f"  loss      {BARS[0]}{BARS[-1]}{BARS[1] * 9}",
        f"MLP        {SKIPPED}{KEPT * 11}",
        f"  loss     {BARS[4] * 12}",
        "",
        f"{SKIPPED} skipped  {KEPT} kept  {BARS[0]} to {BARS[-1]} acceptance lost when skipped alone, 0 to 0.700",
    ]


def test_without_losses_only_what_is_skipped_is_drawn() -> None:
    lines = drawn(12, 80)

    assert [line.split()[0] for line in lines if line] == ["layer", "012345678901", "attention", "MLP", SKIPPED]
    assert drawn(12, 80, {"attention": [0.0] * 12, "mlp": [None] * 12}) == lines


def test_a_deep_network_goes_on_below() -> None:
    lines = [line for line in drawn(48, 45) if line.startswith("attention")]

    assert [len(line) for line in lines] == [11 + 30, 11 + 18]
    assert "".join(line[11:] for line in lines) == "".join(SKIPPED if n in (1, 10) else KEPT for n in range(48))
    assert drawn(48, 5)[1] == " " * 11 + "0123456789"  # never narrower than ten layers


def test_a_terminal_gets_colour_and_a_file_gets_none() -> None:
    texts = []
    for is_terminal in (True, False):
        out = StringIO()
        console = Console(file=out, force_terminal=is_terminal, color_system="standard" if is_terminal else None)
        for line in layer_map(SKIP_SET, 12, {"attention": [0.5] * 12, "mlp": [0.1] * 12}, 80):
            console.print(line)
        texts.append(out.getvalue())

    assert "\x1b[" in texts[0]
    assert "\x1b[" not in texts[1]
    assert texts[1].splitlines() == [line.rstrip("\n") for line in texts[1].splitlines()]


def test_one_line_says_what_it_is() -> None:
    assert summary(SKIP_SET, 12) == ("skip_a of tiny, cpu float32, batch class 1 (active): 3 of 24 sub-layers skipped")
    stale = {**SKIP_SET, "stale_since": "2030-07-01T00:00:00Z"}
    assert "(active, stale)" in summary(stale, 12)
    assert "batch class 1: 3 of" in summary({**SKIP_SET, "is_active": False}, 12)
