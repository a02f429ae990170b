"""One forward pass over a contiguous range of slots: where its tokens stand, what they may see, and running it.

Knows tensors and the cache, not requests. Columns say where keys are written; visibility follows positions.
"""

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from transformers import Cache, PreTrainedModel

from engine import rope
from engine.attention import CARRIED, mask_for
from engine.cache import SlotCache
from engine.experts import fixed


@dataclass(frozen=True, slots=True)
class Chunk:
    """The tokens one row brings to a pass; the first stands at column ``start``."""

    tokens: Sequence[int]
    start: int


IDLE = Chunk((), 0)  # a row that sits a pass out: it widens neither the pass nor its span


@dataclass(frozen=True, slots=True)
class Padding:
    """The least sizes of a pass; 0 leaves a size to its content. One fixed padding makes passes reproducible, with the
    experts of a mixture multiplying in one shape as well.
    """

    width: int = 0
    span: int = 0


class Pass(Cache):
    """The placement of [batch, width] tokens in slots ``low`` .. ``low + batch`` and the cache transformers writes to.

    Padding columns go to the scratch slot at position 0, where they see one column: a fully masked row would be NaN.
    ``check`` is called at every layer; what it raises leaves the pass unfinished, and nothing of it in the cache.
    """

    def __init__(
        self,
        cache: SlotCache,
        low: int,
        chunks: Sequence[Chunk],
        padding: Padding = Padding(),
        check: Callable[[], None] | None = None,
    ) -> None:
        super().__init__(layers=[])
        self._cache = cache
        self._low = low
        self._check = check
        self.is_fixed = padding != Padding()
        self.batch = len(chunks)
        self.width = max(padding.width, *(len(chunk.tokens) for chunk in chunks))
        self.span = max(padding.span, *(chunk.start + len(chunk.tokens) for chunk in chunks))
        self._masks: dict[tuple[int | None, int], torch.Tensor] = {}
        self._fill(chunks)

    def _fill(self, chunks: Sequence[Chunk]) -> None:
        device = self._cache.device
        is_pinned = device.type == "cuda"  # or the copy would wait for everything before it
        tokens, columns, slots = [], [], []
        for row, chunk in enumerate(chunks):
            count = len(chunk.tokens)
            blank = [0] * (self.width - count)
            tokens.append([*chunk.tokens, *blank])
            columns.append([*range(chunk.start, chunk.start + count), *blank])
            slots.append([self._low + row] * count + [self._cache.scratch] * len(blank))
        packed = torch.tensor([tokens, columns, slots], pin_memory=is_pinned).to(device, non_blocking=True)
        self.tokens, self.columns, self._slots = packed[0], packed[1], packed[2]  # each [batch, width]
        sets = self._cache.rope_sets
        if sets is not None:
            setattr(self.columns, rope.CARRIED, tuple(sets[self._low : self._low + self.batch]))

    @property
    def positions(self) -> torch.Tensor:
        """Positions [batch, width]; in decoding a token's column is its position."""
        return self.columns

    @property
    def is_padding(self) -> torch.Tensor:
        """Which columns [batch, width] belong to no row."""
        return self._slots == self._cache.scratch

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, layer_idx: int, *_: Any, **__: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Write a layer's keys and values at this pass's columns.

        Args: [batch, kv heads, width, head dim] each. Returns: views [batch, kv heads, span, head dim] of the cache.
        """
        if self._check is not None:
            self._check()
        keys, values = self._cache.keys[layer_idx], self._cache.values[layer_idx]
        slots, columns = self._slots, self.columns
        if keys.device != columns.device:
            slots, columns = slots.to(keys.device, non_blocking=True), columns.to(keys.device, non_blocking=True)
        keys[slots, :, columns] = key_states.transpose(1, 2)
        values[slots, :, columns] = value_states.transpose(1, 2)
        rows = slice(self._low, self._low + self.batch)
        seen = keys[rows, :, : self.span]
        setattr(seen, CARRIED, self)
        return seen, values[rows, :, : self.span]

    def undo(self) -> None:
        """Zero what the pass has written: nobody has looked whether it is finite."""
        for tensor in (*self._cache.keys, *self._cache.values):
            slots, columns = self._slots.to(tensor.device), self.columns.to(tensor.device)
            tensor[slots, :, columns] = 0

    def get_seq_length(self, layer_idx: int = 0) -> int:
        """Never decides a position: those are passed explicitly, and layer 0 may be skipped."""
        return 0

    def mask(self, window: int | None, groups: int) -> torch.Tensor:
        """Additive mask [batch, 1, groups * width, span]; built once a pass for each window."""
        if (window, groups) not in self._masks:
            self._masks[window, groups] = self._build_mask(window, groups)
        return self._masks[window, groups]

    def _build_mask(self, window: int | None, groups: int) -> torch.Tensor:
        columns = torch.arange(self.span, device=self.columns.device)
        here = self.positions.unsqueeze(-1)  # [batch, width, 1]
        visible = columns <= here
        if window is not None:
            visible &= columns > here - window
        dtype = self._cache.keys[0].dtype
        mask = torch.zeros(visible.shape, dtype=dtype, device=visible.device).masked_fill_(~visible, float("-inf"))
        folded = mask.unsqueeze(1).expand(-1, groups, -1, -1)
        return folded.reshape(self.batch, 1, groups * self.width, self.span)


def _inputs(network: PreTrainedModel, run: Pass) -> dict[str, Any]:
    return {
        "input_ids": run.tokens,
        "position_ids": run.positions,
        "attention_mask": mask_for(network, run),
        "past_key_values": run,
        "use_cache": True,
    }


@torch.inference_mode()
def write(network: PreTrainedModel, run: Pass) -> list[bool]:
    """Compute keys and values of the pass's tokens in every layer; no logits (prefill).

    Returns: which rows came out finite.
    """
    hidden = _run(network.base_model, network, run).last_hidden_state  # [batch, width, hidden]
    is_finite: list[bool] = (torch.isfinite(hidden).all(-1) | run.is_padding).all(-1).tolist()
    return is_finite


@torch.inference_mode()
def logits_of(network: PreTrainedModel, run: Pass) -> torch.Tensor:
    """Run the pass and return logits [batch, width, vocabulary]."""
    logits: torch.Tensor = _run(network, network, run).logits
    return logits


def _run(body: Any, network: PreTrainedModel, run: Pass) -> Any:
    """The network, or its body without the head, over a pass; one that does not come to its end is undone."""
    try:
        with fixed(network) if run.is_fixed else nullcontext():
            return body(**_inputs(network, run))
    except BaseException:
        run.undo()
        raise
