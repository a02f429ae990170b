"""`python -m workers.device --model NAME --device cpu|cuda:0`: serve one model on one device until told to stop."""

import argparse
import re
import signal
import socket
import sys
import time
from collections.abc import Sequence

from sqlalchemy.exc import OperationalError

from models.catalog import ModelView, get_model
from models.database import Database, connect
from models.errors import NotFound
from models.ids import new_id
from workers.device.book import CostBook
from workers.device.figures import registry_of
from workers.device.folder import socket_folder
from workers.device.hardware import Device
from workers.device.plan import ENGINE, Plan
from workers.device.presence import Presence
from workers.device.supervisor import Supervisor
from workers.errors import ConfigurationError, DeviceMissing
from workers.exits import Exit
from workers.exporter import serve
from workers.logs import configure
from workers.settings import WorkerSettings

NUM_TRIES = 30
RETRY_S = 1.0
STATEMENT_TIMEOUT_MS = 10_000


def main(arguments: Sequence[str], engine: str = ENGINE) -> Exit:
    """Serve one model on one device until told to stop. `engine` is the module that serves the socket."""
    options = _parse(arguments)
    try:
        settings = WorkerSettings.from_env()
        configure(settings.log_level)
        device = Device.find(options.device)
        database = connect(
            settings.need_database(),
            pool_size=2,
            application_name="skim-device",
            statement_timeout_ms=STATEMENT_TIMEOUT_MS,
        )
        model = _model(database, options.model)
    except (ConfigurationError, DeviceMissing) as error:
        return _refuse(Exit.CONFIG, str(error))
    except NotFound:
        return _refuse(Exit.CONFIG, f"model {options.model!r} is not registered; add it first")
    except OperationalError:
        return _refuse(Exit.UNAVAILABLE, f"the database did not answer within {NUM_TRIES * RETRY_S:.0f} s")
    with socket_folder(settings.runtime) as folder:
        plan = Plan(
            worker_id=new_id("wrk"),
            name=options.name or _default_name(device),
            model=model,
            device=device,
            rows=options.rows or settings.rows,
            threads=options.threads,
            socket=folder / "engine.sock",
            settings=settings,
            engine=engine,
        )
        return _supervise(plan, database)


def _supervise(plan: Plan, database: Database) -> Exit:
    book = CostBook(plan)
    book.lay_out(database)
    presence = Presence(database, plan, book)
    supervisor = Supervisor(plan, presence)
    if plan.meters is not None:
        plan.meters.mkdir()
        serve(plan.settings.metrics, registry_of(supervisor.figures, plan.meters))
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: supervisor.stop())
    try:
        return supervisor.run()
    finally:
        presence.close()
        database.close()


def _model(database: Database, name: str) -> ModelView:
    """The registered model, waiting a while for a registry that is still starting."""
    tries_left = NUM_TRIES
    while True:
        try:
            with database.session() as session:
                return get_model(session, name)
        except OperationalError:
            tries_left -= 1
            if not tries_left:
                raise
            sys.stderr.write("waiting for the database\n")
            time.sleep(RETRY_S)


def _parse(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m workers.device", description="Serve one model on one device.")
    parser.add_argument("--model", required=True, help="name of a registered model")
    parser.add_argument(
        "--device", default="cpu", help="cpu, cuda:0, cuda:1, ...; cuda:0,cuda:1 for a model on several"
    )
    parser.add_argument("--name", type=_name, help="what the worker is called (default: host and device)")
    parser.add_argument("--rows", type=int, help="sequences decoded at once (default: SKIM_ROWS)")
    parser.add_argument("--threads", type=int, help="threads of the engine (default: cores / engines)")
    return parser.parse_args(arguments)


def _name(text: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9_.-]{1,80}", text):
        raise argparse.ArgumentTypeError("a name has letters, digits, dots, dashes and underscores")
    return text


def _default_name(device: Device) -> str:
    return re.sub(r"[^A-Za-z0-9_.-]", "-", f"{socket.gethostname()}-{device.name}")[:80]


def _refuse(status: Exit, message: str) -> Exit:
    sys.stderr.write(f"skim worker: {message}\n")
    return status


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except KeyboardInterrupt:
        sys.exit(Exit.INTERRUPTED)
