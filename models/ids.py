"""Identifiers that sort by the time they were made: 48 bits of milliseconds, then 80 random bits."""

import secrets
import time
from typing import Final

ALPHABET: Final = "0123456789abcdefghjkmnpqrstvwxyz"  # Crockford's base 32: ascending, no i, l, o, u
NUM_CHARACTERS: Final = 26
RANDOM_BITS: Final = 80


def new_id(prefix: str) -> str:
    """`<prefix>_` and 26 lower-case characters, as in `job_01jdx2k5w8...`."""
    milliseconds = time.time_ns() // 1_000_000
    number = milliseconds << RANDOM_BITS | secrets.randbits(RANDOM_BITS)
    digits = (number >> 5 * place & 31 for place in reversed(range(NUM_CHARACTERS)))
    return f"{prefix}_{''.join(ALPHABET[digit] for digit in digits)}"
