"""The whole OpenAPI document against the running service: what is sent is drawn from it, what comes back must be in it.

    pytest -m soak -s tests/security/test_openapi.py

draws many more and prints how many of each operation.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from cli.stack.postgres import Postgres
from tests.security.conftest import MODEL, Site, furnish, opened
from tests.tools.playing import playing
from tests.tools.serving import ROOT

COMMAND = "import sys; from schemathesis.cli import schemathesis; sys.argv[0] = 'st'; schemathesis()"
NUM_DOOMED = 40
# A document cannot say what only the model, another field or the present state of a job forbids. And the path of a roll
# back is that of a skip set of this name too, so `Allow` has the methods of both.
NOT_CHECKED = "positive_data_acceptance,allow_header_conformance"


@pytest.fixture
def own_site(postgres_server: Postgres, migrated_template: str, redis_url: str, tmp_path: Path) -> Iterator[Site]:
    """A service that may be left in any state."""
    with opened(postgres_server, migrated_template, redis_url, tmp_path) as site, playing(site.database):
        yield site


def known(site: Site) -> tuple[str, dict[str, Any]]:
    """The key to ask with, and what `tests.security.hooks` has to know."""
    caller = site.client()
    things = furnish(caller, caller)
    spare = caller.made("POST", "/v1/tenants", json={"name": "spare"})["id"]
    ids = {name: [value] for name, value in things.ids.items()} | {"tenant_id": [spare]}
    ids["job_id"].append(things.extra["search_id"])
    ids["file_id"].append(things.extra["output_file_id"])
    upload = {"files": {"file": ("a", b"a")}, "data": {"purpose": "user_data"}}
    key = {"json": {"name": "doomed", "scopes": ["models"]}}
    doomed = {
        "job_id": [caller.submit()["id"] for _ in range(NUM_DOOMED)],
        "file_id": [caller.made("POST", "/v1/files", **upload)["id"] for _ in range(NUM_DOOMED)],
        "key_id": [caller.made("POST", "/v1/keys", **key)["id"] for _ in range(NUM_DOOMED)],
        "name": [MODEL],
    }
    own = caller.made("GET", "/v1/keys", params={"limit": 100})["data"][-1]["id"]
    return caller.secret, {"ids": ids, "doomed": doomed, "key_id": own, "tenant_id": caller.tenant_id}


def draw(site: Site, folder: Path, num: int, *options: str) -> Counter[str]:
    """Draw `num` cases of each operation and more by Schemathesis' own rules; returns how many of each were sent."""
    secret, fuzzed = known(site)
    report = folder / "report.ndjson"
    command = [sys.executable, "-c", COMMAND, "run", f"{site.url}/openapi.json", "--no-color", "--warnings", "off"]
    command += ["--header", f"Authorization: Bearer {secret}", "--max-examples", str(num), "--continue-on-failure"]
    command += ["--exclude-checks", NOT_CHECKED, "--report", "ndjson", "--report-ndjson-path", str(report), *options]
    paths = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    env = os.environ | {"SCHEMATHESIS_HOOKS": "tests.security.hooks", "FUZZED": json.dumps(fuzzed), "PYTHONPATH": paths}
    done = subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-20_000:] + done.stderr[-2_000:]
    assert httpx.get(f"{site.url}/livez").status_code == 200
    assert "Traceback" not in site.log.read_text()
    return count(report)


def count(report: Path) -> Counter[str]:
    """Cases sent, by operation."""
    sent: Counter[str] = Counter()
    for line in report.read_text().splitlines():
        event = json.loads(line).get("ScenarioFinished")
        for case in (event or {}).get("recorder", {}).get("cases", {}).values():
            sent[f"{case['value']['method']} {case['value']['path']}"] += 1
    return sent


def operations(site: Site) -> set[str]:
    document = httpx.get(f"{site.url}/openapi.json").json()
    return {f"{method.upper()} {path}" for path, found in document["paths"].items() for method in found}


def test_answers_are_those_of_the_document(own_site: Site, tmp_path: Path) -> None:
    sent = draw(own_site, tmp_path, 8, "--phases", "examples,fuzzing,stateful", "--generation-deterministic")

    assert operations(own_site) - set(sent) == set()
    assert sum(sent.values()) >= 300


@pytest.mark.soak
@pytest.mark.timeout(900)
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_answers_are_those_of_the_document_however_often_it_is_asked(own_site: Site, tmp_path: Path, seed: int) -> None:
    sent = draw(own_site, tmp_path, 120, "--seed", str(seed), "--generation-database", "none")

    print(f"\nseed {seed}: {sum(sent.values())} cases")
    for name, num in sorted(sent.items()):
        print(f"  {num:6} {name}")
    assert operations(own_site) - set(sent) == set()
    assert sum(sent.values()) >= 5000
