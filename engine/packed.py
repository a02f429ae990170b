"""Linear layers with weights laid out once for the CPU's matrix kernels.

The ordinary layer lays its weight out anew in every call, which at a handful of tokens costs more than the product
(bench/LOG.md has the table). The operators are the ones torch's own compiler emits for frozen weights.
"""

import torch
from torch import nn

_DTYPES = (torch.float32, torch.bfloat16)
_TOKENS = 16  # the layout is chosen for about this many; others run from it as well


class PackedLinear(nn.Module):
    """A linear layer whose weight [out, in] is kept in the kernel's own layout. Inference only."""

    def __init__(self, linear: nn.Linear) -> None:
        super().__init__()
        self.in_features, self.out_features = linear.in_features, linear.out_features
        self.bias = linear.bias
        self._packed = torch.ops.mkldnn._reorder_linear_weight(linear.weight.detach().contiguous(), _TOKENS)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """[..., in] to [..., out]."""
        out: torch.Tensor = torch.ops.mkldnn._linear_pointwise(inputs, self._packed, self.bias, "none", [], "")
        return out


def pack(network: nn.Module) -> int:
    """Replace every linear layer of a network on the CPU by its packed form, in place; returns how many.

    Layers of other types than float32 and bfloat16, and builds of torch without the kernels, are left as they are.
    """
    if not torch.backends.mkldnn.is_available():  # type: ignore[no-untyped-call]
        return 0
    count = 0
    for parent in list(network.modules()):
        for name, child in parent.named_children():
            if type(child) is nn.Linear and child.weight.dtype in _DTYPES and child.weight.device.type == "cpu":
                parent.register_module(name, PackedLinear(child))
                count += 1
    return count
