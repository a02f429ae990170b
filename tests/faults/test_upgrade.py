"""An upgrade as the operator's guide has it, under a steady stream of jobs: migrate, then one part after the other."""

import shutil
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import httpx
import pytest
from alembic import command

from models.bootstrap import configuration
from tests.faults.invariants import check
from tests.faults.world import ROOT, Accepted, World

NUM_ITEMS = 8
PARTS = ("api", "control", "beat", "device")
SMALL_S = 20.0  # more than it takes to stop and start a part

# What a migration may do: add, relax, and build beside the traffic.
NEXT = """
from alembic import op

revision = "9999"
down_revision = {head!r}
branch_labels = None
depends_on = None


def upgrade():
    for table in ("jobs", "shards", "items", "workers"):
        op.execute(f"ALTER TABLE {{table}} ADD COLUMN next_release jsonb NOT NULL DEFAULT '{{{{}}}}'")
    op.execute("CREATE TABLE next_release (job_id text PRIMARY KEY REFERENCES jobs ON DELETE CASCADE)")
    with op.get_context().autocommit_block():
        op.execute("CREATE INDEX CONCURRENTLY next_release_items ON items (job_id, next_release)")


def downgrade():
    with op.get_context().autocommit_block():
        op.execute("DROP INDEX CONCURRENTLY next_release_items")
    op.execute("DROP TABLE next_release")
    for table in ("jobs", "shards", "items", "workers"):
        op.execute(f"ALTER TABLE {{table}} DROP COLUMN next_release")
"""


@pytest.fixture
def release(tmp_path: Path) -> Path:
    """A folder with the migrations of a release to come."""
    shutil.copytree(ROOT / "migrations", tmp_path / "migrations")
    heads = sorted(path.name[:4] for path in (tmp_path / "migrations/versions").glob("[0-9]*.py"))
    (tmp_path / "migrations/versions/9999_next.py").write_text(NEXT.format(head=heads[-1]))
    return tmp_path


def test_an_upgrade_under_load_loses_nothing(world: World, release: Path) -> None:
    before = len(world.accepted)

    answers = migrate(world, release)
    assert set(answers) == {202}, answers
    assert world.rows("SELECT version_num FROM alembic_version") == [("9999",)]
    try:
        for name in PARTS:
            replace(world, name)
    finally:
        undo(world, release)

    jobs = world.accepted[before:]
    check(world, jobs)
    assert world.rows("SELECT DISTINCT attempts FROM items WHERE job_id = ANY(:ids)", ids=ids_of(jobs)) == [(1,)]
    assert world.rows("SELECT version_num FROM alembic_version") != [("9999",)]


def migrate(world: World, release: Path) -> list[int]:
    """Migrate as the guide says, with clients at work; the answers that they got meanwhile."""
    env = {**world.env, "PYTHONPATH": f"{release}:{ROOT}"}
    migration = subprocess.Popen([sys.executable, "-P", "-m", "models.bootstrap"], env=env, cwd=release)
    answers = []
    while migration.poll() is None:
        answers.append(submit_once(world))
        world.pause(0.05)
    assert migration.returncode == 0
    return [*answers, submit_once(world)]


def submit_once(world: World) -> int:
    """The status of one request, which is not repeated."""
    answers: list[httpx.Response] = []
    send = world.send

    def keep(method: str, path: str, **options: object) -> httpx.Response:
        answers.append(send(method, path, **options))
        return answers[-1]

    world.send = keep  # type: ignore[method-assign]
    try:
        world.submit(NUM_ITEMS)
    finally:
        world.send = send  # type: ignore[method-assign]
    return answers[0].status_code


def replace(world: World, name: str) -> None:
    """Stop a part as a service manager would, and start the next release of it; clients go on."""
    world.submit(NUM_ITEMS)
    before, part = world.parts[name].pid, world.parts[name]
    part.send(signal.SIGTERM)
    world.until(lambda: part.is_running and part.pid != before, SMALL_S)
    world.submit(NUM_ITEMS)
    world.until(world.is_whole)


def undo(world: World, release: Path) -> None:
    """Take the migration back, jobs in flight or not."""
    world.submit(NUM_ITEMS)
    with world.database.engine.connect() as connection:
        settings = configuration(connection)
        settings.set_main_option("script_location", str(release / "migrations"))
        command.downgrade(settings, "-1")
        connection.commit()


def ids_of(jobs: Sequence[Accepted]) -> list[str]:
    return [job.job_id for job in jobs]
