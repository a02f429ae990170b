"""Seeds derived from seeds. No torch here, so that light processes can draw them."""

import hashlib


def derive(job_seed: int, item_index: int, pass_number: int = 0, choice: int = 0) -> int:
    """The seed of one decoding pass: a hash of where it stands in its job.

    The same job seed, item, pass of a summary tree and choice give the same seed everywhere; others are independent.

    Returns: an integer in [0, 2**63).
    """
    key = f"{job_seed}/{item_index}/{pass_number}/{choice}".encode()
    return int.from_bytes(hashlib.sha256(key).digest()[:8], "big") >> 1
