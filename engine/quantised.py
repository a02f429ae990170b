"""Linear layers with 8-bit weights: a quarter of the memory, and on a CPU products in exact integers.

Weights are rounded to int8 with one scale an output channel (symmetric, to the nearest of -127 .. 127 times the scale).
That makes another network than the given one; for it, decoding is as lossless as for any. On a CPU a token's inputs are
written as 16-bit integers with one scale a token and multiplied as two 8-bit digits: sums of integers do not depend on
their order, so a token's product is the same bits in every shape of pass. The rounding of 2**-16 of the largest input is
of the size of float32's own noise. Elsewhere weights are expanded in every call.
"""

import torch
import torch.nn.functional as F  # noqa: N812  the name every torch user knows it by
from torch import nn

_STEPS = 32_512.0  # 127 * 256: the largest input, in steps
_ZERO = 32_896.0  # 128 * 256 + 128: both digits of 0 are 128, the zero point of the kernel
_TOKENS = 16  # the layout is chosen for about this many; others run from it as well


def quantise(weight: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """int8 [out, in] and scales float32 [out] of a weight [out, in]."""
    scale = weight.float().abs().amax(1).clamp(min=torch.finfo(torch.float32).tiny) / 127
    return (weight.float() / scale[:, None]).round_().to(torch.int8), scale


class QuantisedLinear(nn.Module):
    """A linear layer whose weight is int8 [out, in] times a scale [out]. Inference only."""

    def __init__(self, weight: torch.Tensor, scale: torch.Tensor, bias: torch.Tensor | None) -> None:
        super().__init__()
        self.out_features, self.in_features = weight.shape
        self.bias = bias
        self.register_buffer("scale", scale)
        self._zeros = torch.zeros(len(scale), dtype=torch.int64)
        self._packed = torch.ops.onednn.qlinear_prepack(weight, [_TOKENS, self.in_features])

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """[..., in] to [..., out]."""
        flat = inputs.reshape(-1, self.in_features).float()
        step = torch.linalg.vector_norm(flat, torch.inf, dim=1, keepdim=True).clamp_(min=1e-30) / _STEPS
        digits = (flat / step + (_ZERO + 0.5)).to(torch.int32).view(torch.uint8)
        digits = digits.view(*flat.shape, 4)[..., :2].permute(2, 0, 1).reshape(-1, self.in_features)
        sums = torch.ops.onednn.qlinear_pointwise(
            digits, 1.0, 128, self._packed, self.scale, self._zeros, self.bias and None, 1.0, 0, torch.float32, "none", [], ""
        )
        low, high = sums.view(2, -1, self.out_features)
        out = low.add_(high, alpha=256.0).mul_(step)
        if self.bias is not None:
            out += self.bias
        return out.view(*inputs.shape[:-1], self.out_features).to(inputs.dtype)
