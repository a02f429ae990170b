"""The files by which Skim is run somewhere: checked by their own checkers where there are any, and for what we promise.

Promised are: nobody is root, file systems are read-only, nothing is published beyond loopback, and no secret is written
down.
"""

from __future__ import annotations

import os
import re
import secrets
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest

from cli.stack import programs
from cli.stack.postgres import SETTINGS
from models.opening import NewSearch, open_search
from models.states import Calibration, JobKind, Lane
from models.submit import NewJob
from tests.deploy.conftest import DEPLOY, ROOT, checker, documents
from tests.integration.registry.conftest import MODEL, TENANT, Registry

KUBERNETES = "1.33"
KEDA = "keda.sh/v1alpha1"
MANIFESTS = sorted(path for path in (DEPLOY / "kubernetes").glob("*.yaml") if path.name != "kustomization.yaml")
UNITS = sorted((DEPLOY / "systemd").glob("*.service"))
# Servers that begin as root to take over their volume, as their images are made.
BEGIN_AS_ROOT = {"postgres", "redis"}
LOOPBACK = "127.0.0.1:"


@pytest.fixture(scope="module")
def services() -> dict[str, dict[str, Any]]:
    """The services of the Compose file, with what they share merged in."""
    found: dict[str, dict[str, Any]] = documents(DEPLOY / "compose.yaml")[0]["services"]
    return found


def pods() -> list[tuple[str, dict[str, Any]]]:
    """Every pod of the manifests, by the name of what makes it."""
    resources = [one for path in MANIFESTS for one in documents(path)]
    makers = [one for one in resources if "template" in one.get("spec", {})]
    return [(one["metadata"]["name"], one["spec"]["template"]["spec"]) for one in makers]


# Compose


def test_the_compose_file_is_one() -> None:
    checker = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec"]

    done = subprocess.run([*checker, str(DEPLOY / "compose.yaml")], capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stdout


def test_compose_runs_what_the_local_stack_runs(services: dict[str, dict[str, Any]]) -> None:
    local = {
        "control": programs.control(),
        "beat": programs.beat(),
    }
    for name, program in local.items():
        words = [re.sub("^--?app$", "--app", word) for word in program.command[3:]]
        assert _options(services[name]["command"][1:]) == _options(words), name
    assert set(programs.NAMES) <= set(services)


@pytest.mark.parametrize("name", ["valkey", "redis"])
def test_redis_may_be_either(name: str, services: dict[str, dict[str, Any]], tmp_path: Path) -> None:
    """The image's own entry point knows its server; the client, which it does not start, has another name in each."""
    redis = services["redis"]
    client = tmp_path / f"{name}-cli"
    client.write_text('#!/bin/sh\n[ "$1" = ping ] && echo "NOAUTH Authentication required."\n')
    client.chmod(0o755)
    (tmp_path / "grep").symlink_to(str(shutil.which("grep")))
    kind, check = redis["healthcheck"]["test"]

    answers = subprocess.run(["/bin/sh", "-c", check.replace("$$", "$")], env={"PATH": str(tmp_path)}, check=False)

    assert (kind, answers.returncode) == ("CMD-SHELL", 0)
    assert redis["command"] == ["/run/secrets/redis.conf"]


def test_containers_can_do_little(services: dict[str, dict[str, Any]]) -> None:
    for name, service in services.items():
        assert service["cap_drop"] == ["ALL"], name
        assert service["security_opt"] == ["no-new-privileges:true"], name
        assert "privileged" not in service and "user" not in service, name
        assert ("cap_add" in service) == (name in BEGIN_AS_ROOT), name
        if str(service["image"]).startswith("skim-"):
            assert service["read_only"] is True, name


def test_nothing_is_published_beyond_loopback(services: dict[str, dict[str, Any]]) -> None:
    published = [port for service in services.values() for port in service.get("ports", ())]

    assert published
    assert [port for port in published if not port.startswith(LOOPBACK)] == []


def test_no_secret_is_written_down(services: dict[str, dict[str, Any]]) -> None:
    for name, service in services.items():
        for variable, value in service.get("environment", {}).items():
            if re.search(r"PASSWORD|_URL|_AUTH$|KEY", variable.replace("__FILE", "_FILE")):
                assert variable.endswith("_FILE") and str(value).startswith("/run/secrets/"), (name, variable)


def test_secrets_are_made_once(tmp_path: Path) -> None:
    command = [str(DEPLOY / "secrets.sh"), str(tmp_path / "secrets")]
    wanted = documents(DEPLOY / "compose.yaml")[0]["secrets"]

    subprocess.run(command, check=True)
    first = {path.name: path.read_text() for path in (tmp_path / "secrets").iterdir()}
    subprocess.run(command, check=True)

    assert {path.name: path.read_text() for path in (tmp_path / "secrets").iterdir()} == first
    assert set(first) >= set(wanted)
    assert (tmp_path / "secrets").stat().st_mode & 0o777 == 0o700
    assert len(first["postgres-password"].strip()) == 48
    assert first["postgres-password"].strip() in first["database-url"]
    assert first["postgres-password"] != first["redis-password"]


def test_redis_keeps_what_it_is_told_and_lets_nobody_in(tmp_path: Path) -> None:
    """An append-only file, nothing thrown away for want of memory, and a password."""
    subprocess.run([str(DEPLOY / "secrets.sh"), str(tmp_path)], check=True)
    password = (tmp_path / "redis-password").read_text().strip()

    assert (tmp_path / "redis.conf").read_text().splitlines() == [
        f"requirepass {password}",
        "appendonly yes",
        'save ""',
        "maxmemory-policy noeviction",
    ]


def test_postgres_quotes_no_rows_in_its_log(services: dict[str, dict[str, Any]]) -> None:
    assert "log_error_verbosity=terse" in services["postgres"]["command"]
    assert SETTINGS["log_error_verbosity"] == "terse"


@pytest.mark.parametrize(("ci", "outcome"), [("", pytest.skip.Exception), ("true", pytest.fail.Exception)])
def test_a_checker_that_is_missing_is_missed_in_ci(
    monkeypatch: pytest.MonkeyPatch, ci: str, outcome: type[BaseException]
) -> None:
    monkeypatch.setenv("CI", ci)

    with pytest.raises(outcome, match="no-such-checker is not installed"):
        checker("no-such-checker", "nothing")


# Images


def test_the_entrypoint_reads_secrets_from_files(tmp_path: Path) -> None:
    secret = tmp_path / "url"
    secret.write_text("postgresql://u:p$x'\"y@h/d\n")
    env = {"PATH": os.environ["PATH"], "SKIM_DATABASE_URL_FILE": str(secret), "SKIM_REDIS_URL": "redis://kept"}

    done = subprocess.run([str(DEPLOY / "entrypoint.sh"), "env"], env=env, capture_output=True, text=True, check=True)

    told = dict(line.split("=", 1) for line in done.stdout.splitlines())
    assert told["SKIM_DATABASE_URL"] == "postgresql://u:p$x'\"y@h/d"
    assert told["SKIM_REDIS_URL"] == "redis://kept"
    assert "SKIM_DATABASE_URL_FILE" not in told


def test_images_end_as_nobody_and_hold_only_what_is_shipped() -> None:
    text = (DEPLOY / "Dockerfile").read_text()
    stages = dict(re.findall(r"^FROM \S+ AS ([a-z-]+)\n(.*?)(?=^FROM |\Z)", text, re.MULTILINE | re.DOTALL))
    allowed = (DEPLOY / "Dockerfile.dockerignore").read_text().splitlines()
    copied = {word for line in re.findall(r"^COPY (?!--from)(?:--\S+ )?(.*) \S+$", text, re.M) for word in line.split()}

    for name in ("api", "worker", "worker-cuda"):
        assert "\nUSER 10001:10001\n" in stages[name], name
    assert allowed[1] == "*"
    assert copied == {line.removeprefix("!") for line in allowed if line.startswith("!")}
    assert {one for one in copied if not (ROOT / one).exists()} == set()


def test_hadolint_agrees() -> None:
    hadolint = Path(sys.executable).with_name("hadolint")

    done = subprocess.run([hadolint, DEPLOY / "Dockerfile"], capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stdout


# systemd


def test_systemd_agrees(tmp_path: Path) -> None:
    for path in (*UNITS, DEPLOY / "systemd/skim.target"):
        # It looks whether programs are there: ours are somewhere else.
        (tmp_path / path.name).write_text(path.read_text().replace("/opt/skim/.venv/bin/python", sys.executable))
    command = [checker("systemd-analyze", "systemd"), "verify", "--man=no", *map(str, sorted(tmp_path.iterdir()))]

    done = subprocess.run(command, capture_output=True, text=True, check=False)

    assert (done.returncode, done.stderr) == (0, "")


def test_every_environment_file_has_an_example() -> None:
    wanted = {
        name for path in UNITS for name in re.findall(r"^EnvironmentFile=/etc/skim/(\S+)$", path.read_text(), re.M)
    }
    examples = {path.name for path in (DEPLOY / "systemd").glob("*.example")}

    assert {f"{name.replace('-%i', '')}.example" for name in wanted} == examples


def test_a_late_database_stops_no_service_for_good() -> None:
    """What a failed unit is required by is not started again when that unit succeeds after all."""
    migrate = (DEPLOY / "systemd/skim-migrate.service").read_text().splitlines()
    others = {path.name: path.read_text() for path in UNITS if path.name != "skim-migrate.service"}

    assert {"Type=oneshot", "Restart=on-failure"} <= set(migrate)
    for name, text in others.items():
        assert re.search(r"^Wants=.*\bskim-migrate\.service$", text, re.M), name
        assert re.search(r"^After=.*\bskim-migrate\.service$", text, re.M), name
        assert "Restart=always" in text and not re.search(r"^(Requires|Requisite|BindsTo)=", text, re.M), name


def test_a_worker_keeps_its_devices() -> None:
    text = (DEPLOY / "systemd/skim-worker@.service").read_text()

    assert re.findall(r"^(?:PrivateDevices|ProtectClock|DeviceAllow|DevicePolicy)=.*$", text, re.M) == []


def test_the_guide_installs_before_it_starts() -> None:
    """A worker whose model is not registered ends with a status upon which systemd leaves it alone."""
    guide = (DEPLOY / "README.md").read_text()
    steps = (
        "install -d /etc/skim",
        "skim.env.example /etc/skim/skim.env",
        "flower.env.example /etc/skim/flower.env",
        "worker.env.example /etc/skim/worker-0.env",
        "systemctl daemon-reload",
        "systemctl enable --now skim.target",
        "skim models add",
        "systemctl enable --now skim-worker@0",
    )
    places = [guide.index(step) for step in steps]
    enabled = re.findall(r"^systemctl enable --now (.*)$", guide, re.M)

    assert places == sorted(places)
    started = {name.partition("@")[0] for line in enabled for name in line.split()} - {"skim.target"}
    assert started == {path.stem.rstrip("@") for path in UNITS} - {"skim-migrate"}  # which the others want


@pytest.mark.parametrize("path", UNITS, ids=lambda path: str(path.name))
def test_services_are_nobody_in_a_closed_room(path: Path) -> None:
    lines = set(path.read_text().splitlines())

    closed = {"User=skim", "NoNewPrivileges=yes", "ProtectSystem=strict", "ProtectHome=yes", "CapabilityBoundingSet="}
    assert closed - lines == set()
    assert not re.search(r"://[^/\s]*:[^/\s]*@", path.read_text())


# Kubernetes


@pytest.mark.parametrize("path", MANIFESTS, ids=lambda path: str(path.name))
def test_manifests_are_what_kubernetes_takes(path: Path) -> None:
    for resource in documents(path):
        if resource["apiVersion"] != KEDA:  # see test_schemas.py
            kubernetes_validate.validate(resource, KUBERNETES, strict=True)


def test_all_manifests_are_applied() -> None:
    listed = documents(DEPLOY / "kubernetes/kustomization.yaml")[0]["resources"]

    assert sorted(listed) == [path.name for path in MANIFESTS]


def test_pods_can_do_little() -> None:
    assert {name for name, _ in pods()} == {"skim-migrate", "skim-api", "skim-control", "skim-beat", "skim-worker"}
    for name, pod in pods():
        assert pod["securityContext"]["runAsNonRoot"] is True, name
        assert pod["automountServiceAccountToken"] is False, name
        for container in pod["containers"]:
            allowed = container["securityContext"]
            assert allowed["readOnlyRootFilesystem"] and not allowed["allowPrivilegeEscalation"], name
            assert allowed["capabilities"] == {"drop": ["ALL"]}, name
            assert {"limits", "requests"} <= container["resources"].keys(), name
            addresses = [one for one in container["env"] if one["name"].endswith("_URL")]
            assert all("secretKeyRef" in one["valueFrom"] for one in addresses), name


def test_an_api_that_goes_listens_until_nobody_asks_it() -> None:
    """And has the time for its longest poll afterwards."""
    pod = dict(pods())["skim-api"]
    (container,) = pod["containers"]
    program, pause = container["lifecycle"]["preStop"]["exec"]["command"]
    (graceful,) = re.findall(r"^graceful_timeout = (\d+)", (DEPLOY / "gunicorn.conf.py").read_text(), re.M)

    assert program == "sleep" and int(pause) >= 3
    assert pod["terminationGracePeriodSeconds"] >= int(pause) + int(graceful) + 5


def test_images_are_pinned_as_they_are_used() -> None:
    pinned = {one["name"]: one["newTag"] for one in documents(DEPLOY / "kubernetes/kustomization.yaml")[0]["images"]}
    used = {container["image"] for _, pod in pods() for container in pod["containers"]}

    assert used == {f"{name}:{tag}" for name, tag in pinned.items()}
    assert set(pinned.values()) == {tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]}


def test_the_scaler_counts_open_shards(registry: Registry) -> None:
    query = scaler_query()
    assert registry.rows(query) == [(0,)]

    held = registry.hold(registry.submit(6, shard_items=2))
    registry.submit(1, lane=Lane.INTERACTIVE)
    assert registry.rows(query) == [(4,)]
    registry.complete(held)

    assert registry.rows(query) == [(3,)]


@pytest.mark.parametrize(("kind", "counted"), [("cuda", 1), ("cpu", 0)])
def test_the_scaler_counts_what_its_workers_can_take(registry: Registry, kind: str, counted: int) -> None:
    search = NewSearch(kind, "1", "tpe", 8, None, promotes=True, seed=1, calibration=Calibration.BUILTIN)
    with registry.database.session() as session:
        open_search(session, NewJob(TENANT, JobKind.SEARCH, MODEL, Lane.SEARCH), search)

    assert registry.rows(scaler_query()) == [(counted,)]


def test_the_scaler_needs_no_more_than_the_guide_grants(registry: Registry) -> None:
    grants = re.findall(r"^GRANT .* TO skim_scaler;$", (DEPLOY / "README.md").read_text(), re.M)
    role = f"scaler_{secrets.token_hex(6)}"
    with registry.database.engine.connect() as connection:  # nothing is committed, the role neither
        for statement in (f"CREATE ROLE {role}", *grants, f"SET LOCAL ROLE {role}"):
            connection.exec_driver_sql(statement.replace("skim_scaler", role))

        assert connection.exec_driver_sql(scaler_query()).scalar_one() == 0


def test_the_scaler_scales_what_is_there() -> None:
    trust, scaled = documents(DEPLOY / "kubernetes/keda.yaml")
    (trigger,) = scaled["spec"]["triggers"]
    (container,) = dict(pods())[scaled["spec"]["scaleTargetRef"]["name"]]["containers"]
    options = _options(container["args"])

    assert trigger["authenticationRef"]["name"] == trust["metadata"]["name"]
    assert f"model = '{options['--model']}'" in trigger["metadata"]["query"]
    assert f"device_kind = '{options['--device'].partition(':')[0]}'" in trigger["metadata"]["query"]


def scaler_query() -> str:
    """What KEDA asks, for the tests' model."""
    (trigger,) = documents(DEPLOY / "kubernetes/keda.yaml")[1]["spec"]["triggers"]
    return str(trigger["metadata"]["query"]).replace("smollm2-135m-instruct", MODEL)


def _options(words: Any) -> dict[str, str]:
    """Options of a command line, whichever way their values are written; other words have none."""
    found: dict[str, str] = {}
    last = ""
    for word in map(str, words):
        if word.startswith("--"):
            last, _, value = word.partition("=")
            found[last] = value
        elif last and not found[last]:
            found[last] = word
        else:
            found[word] = ""
    return found
