"""From a job's parameters to the engine's requests."""

from typing import Any

import pytest

from engine.request import Drafter, Request, Sampling
from engine.seeds import derive
from models.claim import Claim
from models.states import JobKind, Lane
from workers.errors import TextError
from workers.wishes import Wishes
from workers.work import Pass

ONE = Pass(2, (1, 2), 8, choice=3)


def wishes(parameters: dict[str, Any], **changes: Any) -> Wishes:
    values: dict[str, Any] = {"kind": JobKind.GENERATE, "lane": Lane.BULK, "decoding": {}, "options": {}}
    claim = Claim(
        job_id="job_1",
        number=0,
        epoch=1,
        tenant_id="ten_a",
        model="tiny",
        parameters=parameters,
        items=(),
        expires_at=None,
        **values | changes,
    )
    return Wishes.of(claim, vocabulary=100)


def test_what_is_missing_is_off() -> None:
    sampling = Sampling(seed=derive(7, 5, 2, 3))

    assert wishes({"seed": 7}).request("id", 5, ONE, alone=False) == Request("id", (1, 2), 8, sampling)


def test_every_parameter_reaches_the_engine() -> None:
    parameters = {
        "max_tokens": 8, "min_tokens": 2, "temperature": 0.5, "top_p": 0.9, "top_k": 3, "min_p": 0.1,
        "repetition_penalty": 1.2, "presence_penalty": -1.0, "frequency_penalty": 0.5,
        "logit_bias": {"17": -100.0, "4": 2.5}, "seed": 7, "stop": ["x"], "stop_token_ids": [9],
        "n": 4, "logprobs": 20,
    }  # fmt: skip
    decoding = {"drafter": "cascade", "reproducible": True}
    made = wishes(parameters, decoding=decoding, lane=Lane.INTERACTIVE, options={"stream": True})

    assert made.request("id", 5, ONE, alone=True) == Request(
        id="id",
        prompt=(1, 2),
        max_tokens=8,
        sampling=Sampling(
            temperature=0.5,
            top_k=3,
            top_p=0.9,
            seed=derive(7, 5, 2, 3),
            min_p=0.1,
            repetition_penalty=1.2,
            presence_penalty=-1.0,
            frequency_penalty=0.5,
            logit_bias=((17, -100.0), (4, 2.5)),
            min_tokens=2,
        ),
        stop=("x",),
        stop_tokens=frozenset({9}),
        drafter=Drafter.CASCADE,
        reproducible=True,
        interactive=True,
        alone=True,
        logprobs=20,
        stream=True,
    )


def test_a_shorter_pass_need_not_be_as_long() -> None:
    made = wishes({"min_tokens": 50}, kind=JobKind.SUMMARIZE, options={"stream": True})

    request = made.request("id", 0, ONE, alone=False)

    assert (request.sampling.min_tokens, request.stream) == (8, False)


@pytest.mark.parametrize(
    ("parameters", "name"),
    [({"logit_bias": {"99": 1.0, "100": 1.0}}, "logit_bias"), ({"stop_token_ids": [100]}, "stop_token_ids")],
)
def test_a_token_that_the_model_does_not_have_is_named(parameters: dict[str, Any], name: str) -> None:
    with pytest.raises(TextError, match=f"{name}: there is no token 100, the model knows 0 to 99") as caught:
        wishes(parameters).request("id", 0, ONE, alone=False)
    assert caught.value.code == "token_out_of_range"
