"""Text to token ids and back, for one prepared folder. Loads no torch; knows nothing of jobs.

`transformers` applies the chat template, the Rust tokenizer behind it does the rest: it is never mutated, so all
threads of a node share one.
"""

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from jinja2 import TemplateError
from transformers import PreTrainedTokenizerFast

from workers.errors import TextError
from workers.spelling import Spelling

Tokens = tuple[int, ...]

BROKEN = "\N{REPLACEMENT CHARACTER}"  # stands where tokens end inside a character

# Stands for the document while a template is rendered. No template trims it, no tokenizer ever sees it.
_HOLE = "\N{OBJECT REPLACEMENT CHARACTER}document\N{OBJECT REPLACEMENT CHARACTER}"


@dataclass(frozen=True, slots=True)
class Envelope:
    """The tokens before and after a document: one instruction, rendered once for all documents of a job."""

    before: Tokens
    after: Tokens

    def __len__(self) -> int:
        return len(self.before) + len(self.after)

    def around(self, document: Sequence[int]) -> Tokens:
        return (*self.before, *document, *self.after)


class Text:
    """The tokenizer of `folder` (`tokenizer.json`, `tokenizer_config.json`, maybe `chat_template.jinja`)."""

    def __init__(self, folder: Path) -> None:
        self._template = PreTrainedTokenizerFast.from_pretrained(folder)
        self._tokenizer = self._template.backend_tokenizer
        self._tokenizer.no_padding()
        self._tokenizer.no_truncation()
        self._literal = copy.deepcopy(self._tokenizer)
        self._literal.encode_special_tokens = True
        self.spelling = Spelling(self._tokenizer)

    @property
    def has_template(self) -> bool:
        return bool(self._template.chat_template)

    def prompt(self, given: str | Sequence[int]) -> Tokens:
        """A raw prompt, with the special tokens the model expects around one; of token ids these and no others."""
        return tuple(self._tokenizer.encode(given).ids if isinstance(given, str) else given)

    def chat(self, messages: Sequence[Mapping[str, str]]) -> Tokens:
        """A conversation, ready for the assistant's answer.

        Raises:
            TextError: the model has no chat template, or its template does not take these messages.
        """
        return tuple(self._tokenizer.encode(self._render(messages), add_special_tokens=False).ids)

    def envelope(self, instruction: str) -> Envelope:
        """What surrounds a document that follows `instruction`, in the model's conversation format if it has one."""
        if self.has_template:
            content = f"{instruction}\n\n{_HOLE}"
            before, _, after = self._render([{"role": "user", "content": content}]).partition(_HOLE)
            return Envelope(self._encode(before), self._encode(after))
        return Envelope(self.prompt(f"{instruction}\n\n"), self._encode("\n\nSummary:"))

    def document(self, text: str) -> Tokens:
        """A document to put into an envelope. Markup of special tokens in it is plain text."""
        return tuple(self._literal.encode(text, add_special_tokens=False).ids)

    def starts(self, text: str) -> list[int]:
        """Where each token of a document begins, in characters."""
        return [start for start, _ in self._literal.encode(text, add_special_tokens=False).offsets]

    def decode(self, tokens: Sequence[int], stop: str | None = None, free: int = 0) -> str:
        """The text of output tokens, cut before the first `stop` behind the first `free` tokens."""
        text = self._decode(tokens)
        if stop is None:
            return text
        end = text.find(stop, len(self._decode(tokens[:free]).rstrip(BROKEN)) if free else 0)
        return text if end < 0 else text[:end]

    def _decode(self, tokens: Sequence[int]) -> str:
        text: str = self._tokenizer.decode(list(tokens), skip_special_tokens=True)
        return text

    def _encode(self, text: str) -> Tokens:
        return tuple(self._tokenizer.encode(text, add_special_tokens=False).ids)

    def _render(self, messages: Sequence[Mapping[str, str]]) -> str:
        if not self.has_template:
            raise TextError("the model has no chat template; send a prompt", code="no_chat_template")
        try:
            rendered: str = self._template.apply_chat_template(
                [dict(message) for message in messages], tokenize=False, add_generation_prompt=True
            )
        except (TemplateError, TypeError, ValueError) as error:
            raise TextError(f"the chat template refuses the messages: {error}", code="bad_messages") from error
        return rendered
