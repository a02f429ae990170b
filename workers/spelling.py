"""What single tokens stand for, in bytes, and log-probabilities as the API shows them.

A token may be a part of a character, so its text alone says less than its bytes.
"""

import json
import re
from collections.abc import Sequence
from typing import Any

from tokenizers import Tokenizer

from engine.request import TokenLogprob

_BYTE = re.compile(r"<0x([0-9A-F]{2})>")  # a byte that has no token of its own
_SPACE = "\N{LOWER ONE EIGHTH BLOCK}"  # how SentencePiece writes a space
_DIGITS = 6  # after the decimal point


class Spelling:
    """The bytes of tokens of one tokenizer."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        self._literal = {number: token.content for number, token in tokenizer.get_added_tokens_decoder().items()}
        self._bytes = _byte_letters() if '"ByteLevel"' in json.dumps(_decoder(tokenizer)) else None

    def bytes_of(self, token: int) -> bytes:
        """What a token stands for; nothing for one that the tokenizer does not know (networks may have more)."""
        if token in self._literal:
            return self._literal[token].encode()
        letters = self._tokenizer.id_to_token(token) or ""
        if self._bytes is not None:
            return bytes(self._bytes[letter] for letter in letters if letter in self._bytes)
        if byte := _BYTE.fullmatch(letters):
            return bytes([int(byte[1], 16)])
        return letters.replace(_SPACE, " ").encode()

    def content(self, logprobs: Sequence[TokenLogprob]) -> list[dict[str, Any]]:
        """An object a token, in the form of `logprobs.content` of OpenAI's chat completions."""
        return [
            {
                **self._scored(one.token, one.logprob),
                "top_logprobs": [self._scored(token, logprob) for token, logprob in one.top],
            }
            for one in logprobs
        ]

    def _scored(self, token: int, logprob: float) -> dict[str, Any]:
        spelled = self.bytes_of(token)
        # Adding zero makes 0.0 of -0.0.
        return {
            "token": spelled.decode(errors="replace"),
            "logprob": round(logprob, _DIGITS) + 0.0,
            "bytes": list(spelled),
        }


def _decoder(tokenizer: Tokenizer) -> Any:
    return json.loads(tokenizer.to_str())["decoder"]


def _byte_letters() -> dict[str, int]:
    """The letters that byte-level tokenizers write bytes with: printable ones for themselves, others from U+0100 on."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in printable]
    return {chr(byte): byte for byte in printable} | {chr(256 + n): byte for n, byte in enumerate(others)}
