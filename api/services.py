"""What a request may use, made once per application and reached through the application it belongs to."""

from __future__ import annotations

from dataclasses import dataclass

from flask import current_app

from api.exposition import RegistryCollector
from api.extension import EXTENSION
from api.gate import Gate
from api.jobs import Jobs
from api.keys import Keys
from api.lengths import Lengths
from api.news import News
from api.settings import Settings
from api.watch import Watcher
from models.database import Database
from workers.queues import Bell, TextReader


@dataclass(frozen=True, slots=True)
class Services:
    """The open database, copies of what was read from it, the bell, and what long requests share."""

    settings: Settings
    database: Database
    news: News
    keys: Keys
    jobs: Jobs
    bell: Bell
    watcher: Watcher
    gate: Gate
    bodies: Gate
    checks: Gate
    reader: TextReader
    gauges: RegistryCollector
    lengths: Lengths


def services() -> Services:
    """Those of the application that serves this request."""
    found: Services = current_app.extensions[EXTENSION]
    return found
