"""Field types and the two base classes that every schema is made of."""

from __future__ import annotations

from datetime import UTC, datetime
from enum import StrEnum
from typing import Annotated, Any, ClassVar, Final

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, PlainSerializer, WithJsonSchema

MODEL_NAME: Final = r"^[a-z0-9][a-z0-9._-]{0,62}$"
CURSOR: Final = r"^[A-Za-z0-9._-]{1,80}$"
MAX_SEED: Final = 2**63 - 1
MAX_NUMBER: Final = 2**63 - 1  # that the database has for numbers of rows
RFC3339: Final = {"type": "string", "format": "date-time"}


class Body(BaseModel):
    """A request body: nothing is converted, nothing unknown is accepted.

    `may_be_absent`: no body at all is as good as an empty object.
    """

    may_be_absent: ClassVar[bool] = False

    model_config = ConfigDict(strict=True, extra="forbid", allow_inf_nan=False, hide_input_in_errors=True)


class Query(BaseModel):
    """A query string: everything is text, so numbers are converted; nothing unknown is accepted."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)


class Answer(BaseModel):
    """A response body, built by this service from rows that are valid already.

    `drifting` names what may change while nothing happens, in the form of pydantic's `exclude`.
    """

    model_config = ConfigDict(frozen=True, from_attributes=True)
    drifting: ClassVar[dict[str, set[str]]] = {}


class Misfit(ValueError):
    """Fields that do not go together; `field` is the one to change."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(message)
        self.field = field


class Shape(StrEnum):
    """Which form of a value was recognised, where a field takes several: how pydantic's unions call their members.

    It puts the name into the location of what is wrong inside, as it does with its own `[key]`.
    """

    TEXT = "[text]"
    LIST = "[list]"
    IDS = "[ids]"
    ID_LISTS = "[id lists]"


def _storable(text: str) -> str:
    """PostgreSQL's text holds every character but this one."""
    if "\0" in text:
        raise ValueError("must not contain the character U+0000")
    return text


def _listed(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


def _rfc3339(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


Text = Annotated[str, AfterValidator(_storable)]
Stop = Annotated[
    list[Annotated[Text, Field(min_length=1, max_length=256)]],
    BeforeValidator(_listed, json_schema_input_type=str | list[str]),
    Field(max_length=16),
]
# A token id is a string here, because it is a key of a JSON object. Beyond the vocabulary the item fails.
LogitBias = Annotated[
    dict[Annotated[str, Field(pattern=r"^(0|[1-9][0-9]{0,8})$")], Annotated[float, Field(ge=-100, le=100)]],
    Field(max_length=1024),
]
TokenId = Annotated[int, Field(ge=0, lt=10**9)]
TokenIds = Annotated[list[TokenId], Field(max_length=256)]
Moment = Annotated[datetime, PlainSerializer(_rfc3339, return_type=str), WithJsonSchema(RFC3339, mode="serialization")]
UnixTime = Annotated[datetime, PlainSerializer(lambda moment: int(moment.timestamp()), return_type=int)]
ModelName = Annotated[str, Field(pattern=MODEL_NAME, examples=["smollm2-135m-instruct"])]
Metadata = Annotated[
    dict[Annotated[Text, Field(max_length=64)], Annotated[Text, Field(max_length=512)]], Field(max_length=16)
]
