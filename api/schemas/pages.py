"""Lists and their cursors."""

from __future__ import annotations

from typing import Generic, Literal, TypeVar

from pydantic import Field

from api.schemas.fields import CURSOR, MAX_NUMBER, MODEL_NAME, Answer, Query

T = TypeVar("T", bound=Answer)


class Page(Answer, Generic[T]):
    """One page of a list; `last_id` is the `after` of the next."""

    object: Literal["list"] = "list"
    data: list[T]
    has_more: bool
    first_id: str | int | None
    last_id: str | int | None


class Cursor(Query):
    """Where a page starts and how long it is."""

    after: str | None = Field(default=None, pattern=CURSOR, description="the last id of the page before")
    limit: int = Field(default=20, ge=1, le=100)


Status = Literal["queued", "running", "succeeded", "failed", "cancelled", "expired"]


class JobCursor(Cursor):
    """Which jobs to list, newest first."""

    status: Status | None = None
    kind: Literal["generate", "summarize", "search"] | None = None
    model: str | None = Field(default=None, pattern=MODEL_NAME)


class ModelCursor(Cursor):
    """Which models to list. OpenAI's clients take the first page for the whole, hence so many."""

    limit: int = Field(default=1000, ge=1, le=1000)


class WorkerCursor(Cursor):
    """Which workers to list."""

    model: str | None = Field(default=None, pattern=MODEL_NAME)


class ItemCursor(Query):
    """Which items to list, by index."""

    after: int | None = Field(default=None, ge=0, le=10_000_000, description="the last index of the page before")
    limit: int = Field(default=100, ge=1, le=1000)
    status: Status | None = None


class NumberCursor(Query):
    """Which trials or activations to list, by number."""

    after: int | None = Field(default=None, ge=0, le=MAX_NUMBER, description="the last number of the page before")
    limit: int = Field(default=100, ge=1, le=1000)


class SearchCursor(Cursor):
    """Which searches to list, newest first."""

    model: str | None = Field(default=None, pattern=MODEL_NAME)


class Wait(Query):
    """How long to wait for news of a job."""

    wait: float = Field(default=0, ge=0, le=3600, description="seconds; more than 30 counts as 30")
