"""A summary as a tree of passes: a document that fits is summarised at once; a longer one in parts, then the joined
summaries of the parts, level by level until they fit. Nothing is ever cut off.

Passes are numbered in the order of the text, level by level, so that seeds do not depend on which part ends first.
"""

from collections.abc import Sequence
from math import ceil

from engine.request import FinishReason
from workers.errors import TextError
from workers.summary.prompts import Prompts
from workers.summary.split import split
from workers.text import Text, Tokens
from workers.work import Limits, Output, Pass, check_fit

_FILL = 0.8  # of the room for a part: cuts move to borders, and parts alone tokenize a little differently
_LEAST_ROOM = 64  # tokens for a piece of document; with less, a summary of it says nothing


class Summary:
    """A document, summarised in as many passes as it takes."""

    def __init__(self, document: str, text: Text, limits: Limits, prompts: Prompts) -> None:
        self._document = document
        self._text = text
        self._limits = limits
        self._prompts = prompts
        self._level: dict[int, str | None] = {}  # pass of the present level: its summary
        self._level_tokens = 0
        self._next = 0
        self._is_last = False
        self.result: Sequence[Output] = ()

    def begin(self) -> Sequence[Pass]:
        document = self._document.strip()
        tokens = self._text.document(document)
        if not tokens:
            raise TextError("the document is empty", code="empty_prompt")
        return self._descend(document, tokens)

    def take(self, one: Pass, output: Output) -> Sequence[Pass]:
        if self._is_last:
            self.result = (Output(output.text.strip(), output.finish_reason),)
            return []
        self._level[one.number] = output.text.strip()
        if None in self._level.values():
            return []
        joined = "\n\n".join(self._level[number] or "" for number in sorted(self._level)).strip()
        tokens = self._text.document(joined)
        if not tokens:
            self.result = (Output("", FinishReason.STOP),)
            return []
        if len(tokens) >= self._level_tokens:
            raise TextError(
                f"the summaries of {len(self._level)} parts are no shorter than the parts",
                code="summary_does_not_shrink",
            )
        return self._descend(joined, tokens)

    def _descend(self, text: str, tokens: Tokens) -> Sequence[Pass]:
        """The passes of the next level for a text of `tokens`."""
        self._level_tokens = len(tokens)
        whole = self._prompts.whole.around(tokens)
        self._is_last = len(whole) + self._limits.max_tokens <= self._limits.context
        if self._is_last:
            return [self._pass(whole, self._limits.max_tokens)]
        check_fit(max(len(self._prompts.whole), len(self._prompts.part)) + _LEAST_ROOM, self._limits)
        parts = [self._prompts.part.around(part) for part in self._split(text)]
        passes = [self._pass(prompt, self._prompts.part_tokens) for prompt in parts]
        self._level = dict.fromkeys(one.number for one in passes)
        return passes

    def _split(self, text: str) -> list[Tokens]:
        """The tokens of balanced parts, each of which fits."""
        room = self._limits.context - len(self._prompts.part) - self._prompts.part_tokens
        starts = self._text.starts(text)
        for num_parts in range(max(2, ceil(len(starts) / (_FILL * room))), len(starts) + 1):
            parts = [self._text.document(part) for part in split(text, starts, num_parts)]
            if all(len(part) <= room for part in parts):
                return parts
        raise TextError("the document cannot be split", code="context_length_exceeded")

    def _pass(self, prompt: Tokens, max_tokens: int) -> Pass:
        number = self._next
        self._next += 1
        return Pass(number, prompt, max_tokens)
