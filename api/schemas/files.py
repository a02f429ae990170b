"""Files as OpenAI's clients send and read them. Times are whole seconds since 1970."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from api.schemas.fields import CURSOR, Answer, Query, UnixTime
from api.schemas.pages import Page


class ExpiresAfter(Query):
    """How long a file is kept."""

    anchor: Literal["created_at"]
    seconds: int = Field(ge=3600, le=2_592_000)


class UploadForm(Query):
    """The fields of an upload beside the file itself."""

    purpose: Literal["batch", "user_data"]
    expires_after: ExpiresAfter | None = None


class FileCursor(Query):
    """Which files to list, newest first unless `order` says otherwise."""

    after: str | None = Field(default=None, pattern=CURSOR, description="the last id of the page before")
    limit: int = Field(default=1000, ge=1, le=10_000, description="more than 1000 counts as 1000")
    order: Literal["asc", "desc"] = "desc"
    purpose: str | None = Field(default=None, max_length=64)


class FileAnswer(Answer):
    """A file."""

    id: str
    object: Literal["file"] = "file"
    bytes: int
    created_at: UnixTime
    expires_at: UnixTime | None
    filename: str
    purpose: Literal["batch", "user_data", "batch_output"]
    status: Literal["processed"] = "processed"
    status_details: None = None


class FilePage(Page[FileAnswer]):
    """Files."""


class Deleted(Answer):
    """A file that is no more."""

    id: str
    object: Literal["file"] = "file"
    deleted: Literal[True] = True
