"""What tokens stand for, in the three ways in which tokenizers write bytes."""

from tokenizers import Tokenizer, decoders, models

from engine.request import TokenLogprob
from workers.spelling import Spelling
from workers.text import Text


def test_the_bytes_of_a_text_are_those_of_its_tokens(text: Text) -> None:
    written = "Grüße, 世界\n\t\0<|end|>"

    assert b"".join(map(text.spelling.bytes_of, text.prompt(written))) == written.encode()


def test_sentencepiece_writes_spaces_and_single_bytes_in_its_own_way() -> None:
    words = {"<unk>": 0, "<0xE4>": 1, "▁once": 2, "é": 3}
    tokenizer = Tokenizer(models.BPE(words, [], unk_token="<unk>", byte_fallback=True))
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    spelling = Spelling(tokenizer)

    assert [spelling.bytes_of(token) for token in range(5)] == [b"<unk>", b"\xe4", b" once", "é".encode(), b""]


def test_logprobs_look_like_openais(text: Text) -> None:
    (half, other) = text.prompt("é")
    scored = TokenLogprob(half, -0.12345678, ((half, -0.12345678), (other, -1e-9)))

    assert text.spelling.content([scored]) == [
        {
            "token": "\N{REPLACEMENT CHARACTER}",
            "logprob": -0.123457,
            "bytes": [0xC3],
            "top_logprobs": [
                {"token": "\N{REPLACEMENT CHARACTER}", "logprob": -0.123457, "bytes": [0xC3]},
                {"token": "\N{REPLACEMENT CHARACTER}", "logprob": 0.0, "bytes": [0xA9]},
            ],
        }
    ]
