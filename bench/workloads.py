"""What the arms decode: prompts in token ids with a number of tokens to write.

``summaries`` of documents, ``free`` generation and ``code`` to be repeated with changes are the three that drafting is
judged on. ``equal`` (prompts of one length, no early ends) and ``ragged`` (prompts that differ by a factor of 8, early
ends) are for the comparison with a padded batch.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import cycle, islice
from pathlib import Path

from transformers import PreTrainedTokenizerBase

import engine
from bench.bulk import TEXT, read_documents
from bench.texts import CODE, TOPICS

NAMES = ("summaries", "free", "code", "equal", "ragged")
_WORDS = (40, 320, 90, 200, 60, 280, 130, 160)  # of ragged documents, in turn
_ANGLES = ("Write about {topic}.", "Explain {topic} to a child.", "Write a short dialogue about {topic}.")
_EQUAL_TOKENS = 256


@dataclass(frozen=True, slots=True)
class Work:
    """Prompts to continue by up to ``max_tokens``; ``eos`` tokens end a text (none: all texts have full length). At a
    ``temperature`` above 0 each prompt is drawn from with a seed of its own, which only our arms can do.
    """

    prompts: tuple[tuple[int, ...], ...]
    max_tokens: int
    eos: frozenset[int] = frozenset()
    temperature: float = 0.0

    def shortened(self, items: int, max_tokens: int) -> "Work":
        """The first items, with fewer tokens to write."""
        return replace(self, prompts=self.prompts[:items], max_tokens=max_tokens)


@dataclass(frozen=True, slots=True)
class Sources:
    """Where prompts come from: a tokenizer with a chat template, a file of documents, their length in words."""

    tokenizer: PreTrainedTokenizerBase
    eos: frozenset[int]
    documents: Path | None
    words: int = 250

    def work(self, name: str, items: int, max_tokens: int) -> Work:
        """One of ``NAMES``.

        Raises: KeyError for another name, ValueError when it needs documents and there are none.
        """
        if name == "equal":
            long = self._prompts(self._summaries(items, [4 * self.words]))
            return Work(tuple(prompt[:_EQUAL_TOKENS] for prompt in long), max_tokens)
        messages = {
            "summaries": lambda: self._summaries(items, [self.words]),
            "ragged": lambda: self._summaries(items, _WORDS),
            "free": lambda: _free(items),
            "code": lambda: _code(items),
        }[name]()
        return Work(self._prompts(messages), max_tokens, self.eos)

    def _summaries(self, items: int, words: Sequence[int]) -> list[str]:
        if self.documents is None:
            raise ValueError("summaries need a file of documents")
        documents = read_documents(self.documents, items, max(words))
        return [
            TEXT.format(document=" ".join(document.split()[:count]))
            for document, count in zip(islice(cycle(documents), items), cycle(words), strict=False)
        ]

    def _prompts(self, messages: Sequence[str]) -> tuple[tuple[int, ...], ...]:
        chats = [[{"role": "user", "content": message}] for message in messages]
        apply = self.tokenizer.apply_chat_template
        texts = [str(apply(chat, add_generation_prompt=True, tokenize=False)) for chat in chats]
        return tuple(tuple(self.tokenizer(text, add_special_tokens=False)["input_ids"]) for text in texts)


def _free(items: int) -> list[str]:
    return [angle.format(topic=topic) for angle in _ANGLES for topic in TOPICS][:items]


def _code(items: int) -> list[str]:
    """The engine's own modules, the first 40 lines of each."""
    modules = sorted(Path(str(engine.__file__)).parent.rglob("*.py"), key=lambda path: path.name)
    texts = ["\n".join(path.read_text().splitlines()[:40]) for path in modules if path.stat().st_size > 1000]
    return [CODE.format(module=text) for text in texts[:items]]
