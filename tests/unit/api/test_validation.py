"""Bad bodies: every fault names its field's path, and the line where there are lines."""

import importlib
import json
import pkgutil
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
from pydantic import BaseModel, TypeAdapter

from api import schemas
from api.errors import ApiError, Fault, InvalidFields, Malformed
from api.schemas.bodies import BODY
from api.schemas.fields import Body, Query, Shape
from api.schemas.inputs import INPUTS, JOB, GenerateJob, Parameters
from api.schemas.registrations import KeyRegistration, ModelRegistration
from api.schemas.searching import SearchJob
from api.validation import parse, path

JOB_BODY: dict[str, Any] = {"kind": "generate", "model": "m", "inputs": [{"prompt": "a"}]}


def refusal(changes: dict[str, Any]) -> ApiError:
    with pytest.raises(ApiError) as caught:
        parse(JOB, json.dumps({**JOB_BODY, **changes}).encode())
    return caught.value


def test_a_good_job_gets_its_defaults() -> None:
    job = parse(JOB, json.dumps(JOB_BODY).encode())

    assert isinstance(job, GenerateJob)
    assert job.parameters == Parameters(max_tokens=None, temperature=0.0, top_p=1.0, top_k=0, seed=None, stop=[])
    assert (job.parameters.n, job.parameters.logprobs, job.parameters.repetition_penalty) == (1, None, 1.0)
    assert (job.decoding.drafter, job.decoding.reproducible, job.priority) == ("auto", False, None)


def test_one_stop_string_is_a_list_of_one() -> None:
    job = parse(JOB, json.dumps({**JOB_BODY, "parameters": {"stop": "\n"}}).encode())

    assert job.parameters.stop == ["\n"]


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"kind": "translate"}, "kind"),
        ({"kind": None}, "kind"),
        ({"model": 7}, "model"),
        ({"model": "No Such/Name"}, "model"),
        ({"inputs": []}, "inputs"),
        ({"inputs": "text"}, "inputs"),
        ({"inputs": [{"prompt": "a"}, {}]}, "inputs[1]"),
        ({"inputs": [{"prompt": ""}]}, "inputs[0].prompt"),
        ({"inputs": [{"prompt": "a\0b"}]}, "inputs[0].prompt"),
        ({"inputs": [{"prompt": "a", "messages": [{"role": "user", "content": "a"}]}]}, "inputs[0]"),
        ({"inputs": [{"messages": [{"role": "god", "content": "a"}]}]}, "inputs[0].messages[0].role"),
        ({"inputs": [{"prompt": "a", "tone": "kind"}]}, "inputs[0].tone"),
        ({"inputs": [{"prompt": "a", "custom_id": ""}]}, "inputs[0].custom_id"),
        ({"inputs": [{"prompt": "a"}] * 1001}, "inputs"),
        ({"colour": "red"}, "colour"),
        ({"": "red"}, '""'),
        ({"decoding": {"": 1}}, 'decoding.""'),
        ({"parameters": {"temperature": -0.1}}, "parameters.temperature"),
        ({"parameters": {"temperature": "hot"}}, "parameters.temperature"),
        ({"parameters": {"max_tokens": 0}}, "parameters.max_tokens"),
        ({"parameters": {"max_tokens": "5"}}, "parameters.max_tokens"),
        ({"parameters": {"max_tokens": True}}, "parameters.max_tokens"),
        ({"parameters": {"max_tokens": 5.5}}, "parameters.max_tokens"),
        ({"parameters": {"max_tokens": 10**40}}, "parameters.max_tokens"),
        ({"parameters": {"top_p": 0}}, "parameters.top_p"),
        ({"parameters": {"top_p": 1.01}}, "parameters.top_p"),
        ({"parameters": {"top_k": -1}}, "parameters.top_k"),
        ({"parameters": {"seed": -1}}, "parameters.seed"),
        ({"parameters": {"seed": 2**63}}, "parameters.seed"),
        ({"parameters": {"stop": [""]}}, "parameters.stop[0]"),
        ({"parameters": {"min_p": 1.1}}, "parameters.min_p"),
        ({"parameters": {"min_tokens": -1}}, "parameters.min_tokens"),
        ({"parameters": {"repetition_penalty": 0}}, "parameters.repetition_penalty"),
        ({"parameters": {"presence_penalty": 2.1}}, "parameters.presence_penalty"),
        ({"parameters": {"frequency_penalty": -2.1}}, "parameters.frequency_penalty"),
        ({"parameters": {"logit_bias": {"cat": 1}}}, "parameters.logit_bias.cat"),
        ({"parameters": {"logit_bias": {"07": 1}}}, "parameters.logit_bias.07"),
        ({"parameters": {"logit_bias": {"7": 101}}}, "parameters.logit_bias.7"),
        ({"parameters": {"logit_bias": {str(n): 1 for n in range(1025)}}}, "parameters.logit_bias"),
        ({"parameters": {"stop_token_ids": [3, -1]}}, "parameters.stop_token_ids[1]"),
        ({"parameters": {"n": 0}}, "parameters.n"),
        ({"parameters": {"n": 17}}, "parameters.n"),
        ({"parameters": {"logprobs": 21}}, "parameters.logprobs"),
        ({"parameters": {"best_of": 2}}, "parameters.best_of"),
        ({"decoding": {"drafter": "magic"}}, "decoding.drafter"),
        ({"priority": "urgent"}, "priority"),
        ({"deadline_s": 0}, "deadline_s"),
        ({"metadata": {"a": 1}}, "metadata.a"),
        ({"metadata": {"a": "\0"}}, "metadata.a"),
    ],
)
def test_the_field_is_named(changes: dict[str, Any], field: str) -> None:
    error = refusal(changes)

    assert isinstance(error, InvalidFields)
    assert [fault.field for fault in error.faults] == [field]
    assert error.status == 400


def test_every_fault_is_told() -> None:
    error = refusal({"parameters": {"temperature": -1, "top_k": -1}, "colour": "red"})

    assert [fault.field for fault in error.faults] == ["parameters.temperature", "parameters.top_k", "colour"]
    assert error.message.endswith("(and 2 more)")


SEARCH: dict[str, Any] = {"kind": "search", "model": "m"}
PROMPTS = [{"prompt": "a"}, {"messages": [{"role": "user", "content": "b"}]}]


def test_a_search_gets_its_defaults() -> None:
    job = parse(BODY, json.dumps(SEARCH).encode())

    assert isinstance(job, SearchJob)
    assert (job.budget.trials, job.budget.seconds, job.promote, job.sampler) == (400, None, True, "greedy")
    assert (job.calibration.source, job.batch_class, job.device_kind) == (None, "1", None)


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"inputs": []}, "inputs"),
        ({"parameters": {}}, "parameters"),
        ({"budget": {"trials": 0}}, "budget.trials"),
        ({"budget": {"seconds": 0}}, "budget.seconds"),
        ({"budget": {"trials": -1, "seconds": 5}}, "budget.trials"),
        ({"calibration": {"prompts": []}}, "calibration.prompts"),
        ({"calibration": {"prompts": PROMPTS[:1]}}, "calibration.prompts"),
        ({"calibration": {"prompts": PROMPTS * 33}}, "calibration.prompts"),
        ({"calibration": {"prompts": [*PROMPTS, {"prompt": ""}]}}, "calibration.prompts[2].prompt"),
        ({"calibration": {"prompts": [*PROMPTS, {}]}}, "calibration.prompts[2]"),
        ({"calibration": {"source": "inline"}}, "calibration"),
        ({"calibration": {"source": "recent", "prompts": PROMPTS}}, "calibration"),
        ({"calibration": {"source": "nowhere"}}, "calibration.source"),
        ({"sampler": "luck"}, "sampler"),
        ({"batch_class": "3"}, "batch_class"),
        ({"device_kind": "tpu"}, "device_kind"),
        ({"promote": "yes"}, "promote"),
    ],
)
def test_of_a_search_too_the_field_is_named(changes: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidFields) as caught:
        parse(BODY, json.dumps({**SEARCH, **changes}).encode())

    assert [fault.field for fault in caught.value.faults] == [field]


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"  ",
        b"{",
        b'{"kind": "generate"',
        b"\xff\xfe",
        b"[" * 100_000,
        b'{"kind": NaN}',
        b'"\\ud800"',
        b"1" * 5000,
    ],
)
def test_what_is_no_document_is_refused(body: bytes) -> None:
    with pytest.raises(ApiError) as caught:
        parse(JOB, body)

    assert caught.value.status == 400


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (b"\n", "line 7: the line is empty"),
        (b'{"prompt": "\xc3"}', "line 7: not valid UTF-8 at byte 12"),
        (b'{"prompt": ', "line 7: not valid JSON: EOF while parsing a value at line 1 column 11"),
    ],
)
def test_a_broken_line_is_named(line: bytes, message: str) -> None:
    with pytest.raises(Malformed) as caught:
        parse(INPUTS["generate"], line, line=7)

    assert caught.value.message == message


def test_a_wrong_field_on_a_line_names_both() -> None:
    with pytest.raises(InvalidFields) as caught:
        parse(INPUTS["summarize"], b'{"document": 5}', line=3)

    assert caught.value.faults == (Fault("document", "input should be a valid string", 3),)


def test_a_blank_document_is_refused() -> None:
    with pytest.raises(InvalidFields, match="the document is blank"):
        parse(INPUTS["summarize"], b'{"document": " \\n "}')


@pytest.mark.parametrize("dtype", ["auto", "float32", "bfloat16", "float16", "float64", "int8"])
def test_a_registration_takes_every_number_format(dtype: str) -> None:
    body = json.dumps({"name": "m", "source": "a/b", "dtype": dtype}).encode()

    assert parse(TypeAdapter(ModelRegistration), body).dtype == dtype


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"name": "m"}, "source"),
        ({"name": "../m", "source": "a/b"}, "name"),
        ({"name": "m", "source": "a/b", "dtype": "int4"}, "dtype"),
        ({"name": "m", "source": "a/b", "context_length": 1}, "context_length"),
        ({"name": "m", "source": "a/b", "trust_remote_code": True}, "trust_remote_code"),
    ],
)
def test_a_registration_names_its_field(body: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidFields) as caught:
        parse(TypeAdapter(ModelRegistration), json.dumps(body).encode())

    assert [fault.field for fault in caught.value.faults] == [field]


def test_a_key_needs_known_scopes() -> None:
    with pytest.raises(InvalidFields) as caught:
        parse(TypeAdapter(KeyRegistration), b'{"name": "k", "scopes": ["root"]}')

    assert [fault.field for fault in caught.value.faults] == ["scopes[0]"]


def test_paths_read_like_code() -> None:
    assert path(("inputs", 3, "messages", 0, "role")) == "inputs[3].messages[0].role"
    assert path(("prompt", Shape.ID_LISTS, 1, 2)) == "prompt[1][2]"


def test_no_field_takes_what_the_library_would_have_to_try() -> None:
    """A union without a discriminator puts names of the library's own into the paths of what is wrong."""
    for module in pkgutil.iter_modules(schemas.__path__):
        importlib.import_module(f"{schemas.__name__}.{module.name}")
    read = [*_below(Body), *_below(Query)]

    assert len(read) > 30
    assert [one.__name__ for one in read if _tries(one.__pydantic_core_schema__)] == []


def _below(base: type[BaseModel]) -> Iterator[type[BaseModel]]:
    for one in base.__subclasses__():
        yield one
        yield from _below(one)


def _tries(schema: Any) -> bool:
    """Whether there is a union in what a schema checks; what it says of itself to the documentation is left out."""
    if isinstance(schema, Mapping):
        inner = [value for key, value in schema.items() if key not in ("metadata", "json_schema_input_schema")]
        return schema.get("type") == "union" or any(map(_tries, inner))
    return isinstance(schema, list | tuple) and any(map(_tries, schema))
