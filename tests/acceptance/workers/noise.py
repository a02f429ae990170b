"""The noise of the stand-in for the engine: which token of its prompt it says next.

As in the engine it is a function of what keys it and of the position alone. No key is no noise.
"""

import hashlib


def pick(length: int, position: int, *keys: int) -> int:
    """Which of `length` tokens of a prompt stands at a position of the output: any of them by `keys`, else the next."""
    if not keys:
        return position % length
    digest = hashlib.sha256("/".join(map(str, (position, *keys))).encode()).digest()
    return int.from_bytes(digest[:8], "big") % length
