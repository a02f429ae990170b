"""The instructions given to the model, per style. The document comes last, so that all documents of a job share the
beginning of their prompts.
"""

from dataclasses import dataclass
from enum import StrEnum

from workers.text import Envelope, Text
from workers.work import Limits

_WORDS_PER_TOKEN = 0.6  # of English prose, on the safe side
_SHRINK = 4
_LEAST_PART = 16  # tokens


class Style(StrEnum):
    """What a summary looks like."""

    PARAGRAPH = "paragraph"
    BULLETS = "bullets"
    HEADLINE = "headline"


_WHOLE = {
    Style.PARAGRAPH: "Summarize the following text in one short paragraph{limit}.",
    Style.BULLETS: "Summarize the following text as a short list of points{limit}. Begin each point with a dash.",
    Style.HEADLINE: "Write one headline that sums up the following text{limit}. Answer with the headline only.",
}
_PART = "Summarize the following part of a longer text in one short paragraph{limit}. Keep its main facts."


@dataclass(frozen=True, slots=True)
class Prompts:
    """What surrounds a document: `whole` for the answer, `part` for pieces of a long one. Made once for a shard."""

    whole: Envelope
    part: Envelope
    part_tokens: int

    @classmethod
    def of(cls, text: Text, limits: Limits, style: Style, max_words: int | None) -> "Prompts":
        """The summary of a part may take at most a quarter of the room for one, so that every level shrinks."""
        share = max(_LEAST_PART, (limits.context - limits.max_tokens) // (_SHRINK + 1))
        part_tokens = min(limits.max_tokens, share)
        return cls(
            whole=text.envelope(_WHOLE[style].format(limit=_limit(max_words))),
            part=text.envelope(_PART.format(limit=_limit(int(part_tokens * _WORDS_PER_TOKEN)))),
            part_tokens=part_tokens,
        )


def _limit(max_words: int | None) -> str:
    return f" of at most {max_words} words" if max_words else ""
