"""Ids of a job's events: which job, how far it was, what was said. So a wrong one can be told from an old one."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from typing import Final, Self

from api.conditional import tag
from api.errors import InvalidFields
from api.schemas.answers import JobAnswer

HEADER: Final = "Last-Event-ID"
MARK: Final = re.compile(r"(job_[0-9a-z]{1,60})-([0-2])-([0-9]{1,9})-([0-9a-f]{32})")


@dataclass(frozen=True, slots=True)
class Mark:
    """The id of an event. `phase` (0 queued, 1 running, 2 over) and `num_ended` (items) only ever grow."""

    job_id: str
    phase: int
    num_ended: int
    tag: str

    @classmethod
    def of(cls, job: JobAnswer) -> Self:
        """That of an event which says how the job is."""
        phase = 2 if job.finished_at is not None else int(job.status != "queued")
        # Whoever follows a job wants to see it move up in the queue, which is no news to anybody else.
        seen = hashlib.sha256(f"{tag(job)} {job.queue.ahead}".encode()).hexdigest()[:32]
        return cls(job.id, phase, job.counts.total - job.counts.queued - job.counts.running, seen)

    @classmethod
    def read(cls, text: str, now: Mark) -> Self:
        """What a client sent, held against how its job is now.

        Raises:
            InvalidFields: no event of this job can have had this id.
        """
        found = MARK.fullmatch(text)
        if found is None:
            raise InvalidFields.of(HEADER, "is not the id of an event")
        mark = cls(found[1], int(found[2]), int(found[3]), found[4])
        if mark.job_id != now.job_id:
            raise InvalidFields.of(HEADER, f"is that of an event of {mark.job_id}, not of {now.job_id}")
        if mark.phase > now.phase or mark.num_ended > now.num_ended:
            raise InvalidFields.of(HEADER, f"is beyond what has happened to {now.job_id}")
        return mark

    def __str__(self) -> str:
        return f"{self.job_id}-{self.phase}-{self.num_ended}-{self.tag}"
