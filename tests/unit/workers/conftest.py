"""A tokenizer that needs no download: one token a byte, a chat template, two special tokens; and an ear for spans."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from workers.text import Text

TEMPLATE = (
    "{% for message in messages %}<|{{ message['role'] }}|>{{ message['content'] }}<|end|>{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)


ASCII = [*map(chr, range(33, 127)), "Ġ", "Ċ"]  # the last two are space and line feed


def save_tokenizer(folder: Path, template: str | None, alphabet: Sequence[str] = ()) -> Path:
    """Write a byte-level tokenizer to `folder`, for all bytes or for those of `alphabet`; 3 special tokens follow."""
    alphabet = alphabet or sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = Tokenizer(models.BPE({char: number for number, char in enumerate(alphabet)}, []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens(["<|end|>", "<|user|>", "<|assistant|>"])
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<|end|>")  # type: ignore[no-untyped-call]
    fast.chat_template = template
    fast.save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def text(tmp_path_factory: pytest.TempPathFactory) -> Text:
    """A model with a chat template."""
    return Text(save_tokenizer(tmp_path_factory.mktemp("chat"), TEMPLATE))


@pytest.fixture(scope="session")
def raw_text(tmp_path_factory: pytest.TempPathFactory) -> Text:
    """A model without one."""
    return Text(save_tokenizer(tmp_path_factory.mktemp("raw"), None))


@pytest.fixture(scope="session")
def told_spans() -> InMemorySpanExporter:
    """Every span of this process from now on: there is one provider to a process."""
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    trace.set_tracer_provider(provider)
    return exporter


@pytest.fixture
def exporter(told_spans: InMemorySpanExporter) -> Iterator[InMemorySpanExporter]:
    """The spans of the test."""
    told_spans.clear()
    yield told_spans
