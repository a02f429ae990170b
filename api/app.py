"""The application factory: every concern of a request is added here, one line each."""

from __future__ import annotations

from importlib.metadata import version

from apiflask import APIFlask
from flask.json.provider import DefaultJSONProvider

from api import documentation, hooks, limits, problems
from api.exposition import RegistryCollector
from api.extension import EXTENSION
from api.gate import Gate
from api.ids import IdConverter
from api.jobs import Jobs
from api.keys import Keys
from api.lengths import Lengths
from api.news import News
from api.routes import blueprints
from api.services import Services
from api.settings import Settings
from api.watch import Watcher
from models.database import connect as connect_database
from workers.queues import Bell, TextReader
from workers.queues import connect as connect_broker

POOL_SIZE = 8  # connections; requests hold one for milliseconds, so far fewer than threads are enough
STATEMENT_TIMEOUT_MS = 30_000


def create_app(settings: Settings) -> APIFlask:
    """Build the service. Opens no connection and starts no thread yet: both come with the first use."""
    app = APIFlask("api", title="Skim", version=version("skim-llm"), static_folder=None)  # type: ignore[arg-type]
    app.url_map.strict_slashes = False
    app.url_map.converters["id"] = IdConverter
    if isinstance(app.json, DefaultJSONProvider):
        app.json.sort_keys = False
    app.extensions[EXTENSION] = _services(settings)
    hooks.install(app)
    limits.install(app, settings)
    problems.install(app)
    documentation.install(app)
    for blueprint in blueprints():
        app.register_blueprint(blueprint)
    return app


def _services(settings: Settings) -> Services:
    database = connect_database(
        settings.database_url,
        pool_size=POOL_SIZE,
        application_name="skim-api",
        statement_timeout_ms=STATEMENT_TIMEOUT_MS,
    )
    news = News(database)
    return Services(
        settings=settings,
        database=database,
        news=news,
        keys=Keys(database, news),
        jobs=Jobs(database, news),
        bell=Bell(database, connect_broker(settings.redis_url)),
        watcher=Watcher(news),
        gate=Gate(settings.num_waiters),
        bodies=Gate(settings.num_readers),
        checks=Gate(settings.num_checkers),
        reader=TextReader(settings.redis_url),
        gauges=RegistryCollector(database),
        lengths=Lengths(settings.home),
    )
