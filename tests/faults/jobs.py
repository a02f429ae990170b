"""Jobs of every sort, and what each of their items says: a function of the job's seed and the item's place alone."""

from collections.abc import Mapping
from random import Random
from typing import Any, Final

from engine.request import FinishReason
from engine.seeds import derive
from tests.acceptance.workers.service import MODEL, echo
from workers.summary import Prompts, Style, Summary
from workers.text import Text
from workers.work import Limits, Output

CONTEXT: Final = 4096
NUM_TOKENS: Final = 20
TEMPERATURE: Final = 0.8
NUM_CHOICES: Final = 2
WORDS: Final = 20
LINE: Final = "In a long document one sentence comes after another. "
NUM_LINES: Final = 80  # more than the context has room for

SORTS: Final[Mapping[str, Mapping[str, Any]]] = {
    "bulk": {},
    "interactive": {"priority": "interactive"},
    "choices": {"parameters": {"n": NUM_CHOICES}},
    "drawn": {"parameters": {"seed": None}},
    "summaries": {"kind": "summarize", "max_words": WORDS},
    "parts": {"kind": "summarize", "max_words": WORDS, "num_lines": NUM_LINES},
    "deadline": {"may_end": "expired"},
    "cancelled": {"may_end": "cancelled"},
}
# How many times as many items they have: more where the job is not to come to its end.
SIZES: Final[Mapping[str, float]] = {"parts": 0.25, "deadline": 8, "cancelled": 8}


def body_of(key: str, num_items: int, random: Random, *, num_lines: int = 0, **changes: Any) -> dict[str, Any]:
    """What is submitted: reproducible, sampled, with a seed of its own. `changes` of its fields and parameters."""
    prompts = [f"{key} {number} " for number in range(num_items)]
    field = "document" if changes.get("kind") == "summarize" else "prompt"
    asked = {"max_tokens": NUM_TOKENS, "temperature": TEMPERATURE, "seed": random.getrandbits(63)}
    return {
        "kind": "generate",
        "model": MODEL,
        "priority": "bulk",
        "inputs": [{field: prompt + num_lines * LINE} for prompt in prompts],
        "decoding": {"reproducible": True},
        **changes,
        "parameters": {**asked, **changes.get("parameters", {})},
    }


def texts_of(body: Mapping[str, Any], seed: int, text: Text) -> tuple[tuple[str, ...], ...]:
    """What every choice of every item says; `seed` is the job's, which the service draws where the body has none."""
    asked = body["parameters"]
    if body["kind"] == "summarize":
        limits = Limits(CONTEXT, asked["max_tokens"])
        prompts = Prompts.of(text, limits, Style.PARAGRAPH, body["max_words"])
        works = [Summary(one["document"], text, limits, prompts) for one in body["inputs"]]
        return tuple((_summary(work, text, seed, index),) for index, work in enumerate(works))
    return tuple(
        tuple(
            echo(one["prompt"], asked["max_tokens"], derive(seed, index, 0, choice))
            for choice in range(asked.get("n", 1))
        )
        for index, one in enumerate(body["inputs"])
    )


def _summary(work: Summary, text: Text, seed: int, index: int) -> str:
    """Of a document, in passes one after the other."""
    passes = list(work.begin())
    while passes:
        one = passes.pop(0)
        said = echo(text.decode(one.prompt), one.max_tokens, derive(seed, index, one.number))
        passes += work.take(one, Output(said, FinishReason.LENGTH))
    return work.result[0].text
