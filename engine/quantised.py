"""Linear layers with 8-bit weights: a quarter of float32's memory.

Weights are rounded to int8 with one scale an output channel. That makes another network than the given one, for which
decoding is lossless as for any. On a CPU a token's inputs are written as 24-bit integers with one scale a token, which
is float32's own precision, and multiplied as three 8-bit digits: a sum of integers does not depend on its order, so a
token's product is the same bits in every shape of pass. Elsewhere the weights are expanded anew in every call.
"""

from functools import cache

import torch
import torch.nn.functional as F  # noqa: N812  the name every torch user knows it by
from torch import nn
from transformers import PreTrainedModel

_LARGEST = 127 * 65_536.0  # steps of a token's largest input: its highest digit is 127
_DIGIT_ZERO = 128  # the kernel takes unsigned digits and this for their zero
_ZERO = _DIGIT_ZERO * 0x010101
_TOKENS = 16  # the kernel's layout is chosen for about this many; others run from it as well


def quantise(weight: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """A weight [out, in] as int8 of the same shape times a float32 scale [out]: symmetric, rounded to the nearest."""
    full = weight.detach().float()
    scale = full.abs().amax(1).clamp(min=torch.finfo(torch.float32).tiny) / 127
    return (full / scale.unsqueeze(1)).round_().to(torch.int8), scale


class QuantisedLinear(nn.Module):
    """A linear layer whose weight is int8 [out, in] times a scale [out], expanded in every call. Inference only."""

    def __init__(self, weight: torch.Tensor, scale: torch.Tensor, bias: torch.Tensor | None = None) -> None:
        super().__init__()
        self.out_features, self.in_features = weight.shape
        self.weight, self.scale, self.bias = weight, scale, bias

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """[..., in] to [..., out]."""
        weight = torch.empty(self.weight.shape, dtype=inputs.dtype, device=self.weight.device)
        torch.mul(self.weight, self.scale.unsqueeze(1), out=weight)  # a sum of what has no scale yet overflows float16
        return F.linear(inputs, weight, self.bias)


class DigitLinear(nn.Module):
    """The same for a CPU that multiplies bytes, float32 inputs only; the weight is kept in the kernel's own layout."""

    def __init__(self, weight: torch.Tensor, scale: torch.Tensor, bias: torch.Tensor | None = None) -> None:
        super().__init__()
        self.out_features, self.in_features = weight.shape
        self.scale, self.bias = scale, bias
        self._packed = _packed(weight)
        self._zeros = torch.zeros(len(scale), dtype=torch.int64)
        self._shifts = torch.tensor([0, 8, 16], dtype=torch.int32).view(3, 1, 1)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """[..., in] to [..., out]."""
        tokens = inputs.reshape(-1, self.in_features)
        step = tokens.abs().amax(1, keepdim=True).clamp_(min=1e-30).div_(_LARGEST)
        steps = (tokens / step).round_().to(torch.int32).add_(_ZERO)
        digits = (steps >> self._shifts).to(torch.uint8)  # [3, tokens, in], the lowest first
        sums = _sums(digits.reshape(-1, self.in_features), _DIGIT_ZERO, self._packed, self.scale, self._zeros)
        low, middle, high = sums.view(3, -1, self.out_features)
        out: torch.Tensor = low.add_(middle, alpha=256).add_(high, alpha=65_536).mul_(step)
        if self.bias is not None:
            out += self.bias
        return out.view(*inputs.shape[:-1], self.out_features)


class QuantisedEmbedding(nn.Module):
    """The embedding that shares its weight [vocabulary, hidden] with a quantised head.

    Its one parameter is empty: a network asks its parameters for its dtype and device, and may have no others left.
    """

    def __init__(self, embedding: nn.Embedding) -> None:
        super().__init__()
        self.weight, self.scale = quantise(embedding.weight)
        self.like = nn.Parameter(embedding.weight.new_empty(0), requires_grad=False)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        """[...] to [..., hidden]."""
        return (self.weight[tokens] * self.scale[tokens].unsqueeze(-1)).to(self.like.dtype)


def quantise_layers(network: PreTrainedModel) -> int:
    """Replace every linear layer, the head included, by its quantised form, in place; returns how many.

    Norms, biases and what is no ``nn.Linear`` (GPT-2's convolutions, stacked experts) stay as they are, and so does the
    embedding unless it is tied to the head. Each layer's own weight is freed before the next is made.
    """
    embedding = network.get_input_embeddings()
    head = network.get_output_embeddings()  # type: ignore[no-untyped-call]
    if type(embedding) is nn.Embedding and isinstance(head, nn.Linear) and head.weight is embedding.weight:
        network.set_input_embeddings(QuantisedEmbedding(embedding))
    del embedding, head  # or the tied weight would live on beside its quantised form
    count = 0
    for parent in list(network.modules()):
        for name, child in parent.named_children():
            if type(child) is nn.Linear:
                parent.register_module(name, _quantised(child))
                count += 1
    return count


def _quantised(linear: nn.Linear) -> nn.Module:
    weight = linear.weight
    is_for_digits = weight.device.type == "cpu" and weight.dtype == torch.float32 and is_exact_here()
    return (DigitLinear if is_for_digits else QuantisedLinear)(*quantise(weight), linear.bias)


def _packed(weight: torch.Tensor) -> torch.Tensor:
    packed: torch.Tensor = torch.ops.onednn.qlinear_prepack(weight, [_TOKENS, weight.shape[1]])
    return packed


def _sums(
    rows: torch.Tensor, zero: int, packed: torch.Tensor, scale: torch.Tensor, zeros: torch.Tensor
) -> torch.Tensor:
    """(rows - zero) times the weight times its scale: uint8 [rows, in] to float32 [rows, out]."""
    sums: torch.Tensor = torch.ops.onednn.qlinear_pointwise(
        rows, 1.0, zero, packed, scale, zeros, None, 1.0, 0, torch.float32, "none", [], ""
    )
    return sums


@cache
def is_exact_here() -> bool:
    """Whether torch and this processor multiply bytes without saturating; many processors without VNNI do saturate."""
    size = 64
    rows = torch.tensor([[255], [0]], dtype=torch.uint8).expand(2, size).contiguous()
    try:
        packed = _packed(torch.full((size, size), 127, dtype=torch.int8))
        sums = _sums(rows, 0, packed, torch.ones(size), torch.zeros(size, dtype=torch.int64))
    except (AttributeError, RuntimeError):  # a build without oneDNN
        return False
    return sums.tolist() == [[255.0 * 127 * size] * size, [0.0] * size]
