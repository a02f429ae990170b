"""Counter-based Gumbel noise: the same (seed, position, token) gives the same number in draft and verify alike.

Notation: u in (0, 1) from 32 counter bits, E = -log1p(-u) exponential, G = -log E standard Gumbel, all float64.
The generator is SplitMix64 (Steele, Lea, Flood, OOPSLA 2014, figure 16): a counter times an odd constant, then a mixer.
"""

import torch

_GOLDEN = 0x9E3779B97F4A7C15
_MIX_1 = 0xBF58476D1CE4E5B9
_MIX_2 = 0x94D049BB133111EB


def _signed(value: int) -> int:
    """The two's complement reading of a 64-bit word; torch has no arithmetic on unsigned ones."""
    value &= (1 << 64) - 1
    return value - (1 << 64) if value >> 63 else value


def _shift(words: torch.Tensor, bits: int) -> torch.Tensor:
    return (words >> bits).bitwise_and_((1 << (64 - bits)) - 1)  # logical: int64 shifts keep the sign


def _mix(words: torch.Tensor) -> torch.Tensor:
    """SplitMix64's mixer, in place."""
    words.bitwise_xor_(_shift(words, 30)).mul_(_signed(_MIX_1))
    words.bitwise_xor_(_shift(words, 27)).mul_(_signed(_MIX_2))
    return words.bitwise_xor_(_shift(words, 31))


def gumbel(seeds: torch.Tensor, positions: torch.Tensor, tokens: torch.Tensor) -> torch.Tensor:
    """Standard Gumbel noise for every (seed, position) and token.

    Args:
        seeds, positions: int64 [rows]
        tokens: int64 [vocabulary] or [rows, candidates], token ids

    Returns: float64 [rows, vocabulary or candidates]
    """
    golden = _signed(_GOLDEN)
    streams = _mix(_mix(seeds + golden) + (positions + 1) * golden).unsqueeze(-1)
    words = _mix(streams + (tokens + 1) * golden)
    uniform = _shift(words, 32).to(torch.float64).add_(0.5).mul_(2.0**-32)
    return uniform.neg_().log1p_().neg_().log_().neg_()
