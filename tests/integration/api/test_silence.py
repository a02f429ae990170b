"""A database that falls silent without a word."""

import time
from dataclasses import replace

from apiflask import APIFlask

from api.app import create_app
from api.extension import EXTENSION
from api.services import Services
from api.settings import Settings
from models.connection import CONNECT_TIMEOUT_S, PING_S
from tests.integration.api.conftest import Caller
from tests.tools.proxy import proxied

SLACK_S = 1.5


def test_a_process_with_a_silent_database_is_not_ready(app: APIFlask, settings: Settings) -> None:
    with proxied(settings.database_url) as (proxy, url):
        there = create_app(replace(settings, database_url=url))
        http = Caller(there.test_client())
        assert http.get("/readyz").status_code == 200

        proxy.freeze()
        began = time.monotonic()
        answer = http.get("/readyz")
        took_s = time.monotonic() - began
        proxy.thaw()

        assert (answer.status_code, answer.json["status"]) == (503, "unavailable")
        assert took_s < PING_S + CONNECT_TIMEOUT_S + SLACK_S
        assert http.get("/readyz").status_code == 200
        found: Services = there.extensions[EXTENSION]
        found.watcher.close()
        found.bell.close(timeout_s=0.05)
        found.database.close()
