"""Bootstrap as users run it: any number of times, at once, with and without a server."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from psycopg import sql

from cli.stack.postgres import Postgres
from models.bootstrap import BootstrapFailed, Settings, bootstrap
from models.database import connect
from models.keys import Scope, authenticate
from models.tenants import DEFAULT_ID
from tests.integration.registry.conftest import at_once


@pytest.fixture
def empty_url(postgres_server: Postgres) -> str:
    """A database in which nothing was ever created."""
    name = f"empty_{os.urandom(4).hex()}"
    with postgres_server.connect() as connection:
        connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
    return postgres_server.url(name)


def run(**environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "models.bootstrap"],
        env={"PATH": os.environ["PATH"], **environment},
        capture_output=True,
        text=True,
        timeout=120,
        cwd="/",
        check=False,
    )


def scopes_of(url: str, secret: str) -> frozenset[Scope]:
    database = connect(url)
    try:
        with database.session() as session:
            principal = authenticate(session, secret)
    finally:
        database.close()
    assert principal is not None
    assert principal.tenant_id == DEFAULT_ID
    return principal.scopes


def test_the_first_time_and_the_second(empty_url: str, tmp_path: Path) -> None:
    file = tmp_path / "credentials"
    first = run(SKIM_DATABASE_URL=empty_url, SKIM_CREDENTIALS_FILE=str(file))
    written = file.read_bytes()
    second = run(SKIM_DATABASE_URL=empty_url, SKIM_CREDENTIALS_FILE=str(file))

    assert [(done.returncode, done.stdout, done.stderr) for done in (first, second)] == [(0, "", "")] * 2
    assert file.read_bytes() == written
    assert file.stat().st_mode & 0o777 == 0o600
    assert scopes_of(empty_url, json.loads(written)["api_key"]) == frozenset(Scope)


def test_without_a_file_the_key_is_printed_once(empty_url: str) -> None:
    first, second = run(SKIM_DATABASE_URL=empty_url), run(SKIM_DATABASE_URL=empty_url)

    assert (first.returncode, second.returncode, second.stdout) == (0, 0, "")
    assert scopes_of(empty_url, first.stdout.split()[-1]) == frozenset(Scope)


def test_first_starts_at_once_make_one_key(empty_url: str) -> None:
    answers = at_once(*[lambda: bootstrap(Settings(empty_url, None))] * 3)

    assert len([answer for answer in answers if isinstance(answer, str)]) == 1
    assert answers.count(None) == 2


def test_a_key_that_cannot_be_kept_is_not_made(empty_url: str, tmp_path: Path) -> None:
    with pytest.raises(BootstrapFailed, match="could not be written"):
        bootstrap(Settings(empty_url, tmp_path / "missing" / "credentials"))
    assert bootstrap(Settings(empty_url, tmp_path / "credentials"))


def test_no_address() -> None:
    done = run()
    assert (done.returncode, done.stderr) == (1, "skim: SKIM_DATABASE_URL is not set\n")


def test_no_server(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    url = f"postgresql://skim:secret@/skim?host={tmp_path}"
    with pytest.raises(BootstrapFailed) as caught:
        bootstrap(Settings(url, None, wait_s=0.1))

    assert str(caught.value).startswith("no database at postgresql+psycopg://skim:***@/skim")
    assert capsys.readouterr().err.startswith("skim: waiting for the database: ")
