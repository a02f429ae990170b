"""Dashboard and alerts ask for series that exist, by labels that they have, and are explained."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterator, Mapping

import promql_parser
import pytest

from tests.deploy.conftest import DEPLOY, TARGET, checker, documents

Metrics = Mapping[str, frozenset[str]]

PROMETHEUS = DEPLOY / "prometheus"
# What Grafana puts in before it asks.
INSERTED = {"$__rate_interval": "5m", "$model": ".*", "${datasource}": "prometheus"}
OWN_LABELS = TARGET | {"le"}


def dashboard() -> Iterator[tuple[str, str]]:
    board = json.loads((DEPLOY / "grafana/skim.json").read_text())
    for panel in board["panels"]:
        for target in panel.get("targets", ()):
            expression = target["expr"]
            for name, value in INSERTED.items():
                expression = expression.replace(name, value)
            yield f"{panel['title']} {target['refId']}", expression


def alerts() -> Iterator[tuple[str, str]]:
    for group in documents(PROMETHEUS / "alerts.yml")[0]["groups"]:
        for rule in group["rules"]:
            yield rule["alert"], rule["expr"]


def parts(expression: str) -> Iterator[promql_parser.Expr]:
    """Every expression inside of one, itself included."""
    found: list[promql_parser.Expr] = []

    def visit(node: promql_parser.Expr) -> bool:
        found.append(node)
        return True

    promql_parser.walk(promql_parser.parse(expression), visit)
    return iter(found)


QUERIES = [*dashboard(), *alerts()]


@pytest.mark.parametrize(("name", "expression"), QUERIES, ids=[name for name, _ in QUERIES])
def test_queries_name_series_and_labels_that_exist(name: str, expression: str, metrics: Metrics) -> None:
    asked = selectors(expression)

    assert asked, name
    for series, labels in asked:
        assert series in metrics, series
        assert labels <= metrics[series] | OWN_LABELS, series


def selectors(expression: str) -> list[tuple[str, frozenset[str]]]:
    """(series, labels that are matched or grouped by) of an expression."""
    grouped = frozenset(
        label.strip() for labels in re.findall(r"\b(?:by|on) \(([^)]*)\)", expression) for label in labels.split(",")
    )
    return [
        (str(node.name), frozenset(one.name for one in node.matchers.matchers) | grouped)
        for node in parts(expression)
        if isinstance(node, promql_parser.VectorSelector)
    ]


def test_every_series_of_ours_is_shown_or_watched(metrics: Metrics) -> None:
    shown = {series for _, expression in QUERIES for series, _ in selectors(expression)}
    known = {re.sub("_(sum|count)$", "_bucket", name) for name in metrics}

    unseen = known - shown
    assert unseen == {
        "skim_queue_shards",
        "skim_shards_held",
        "skim_worker_rows",
        "skim_engine_ready",
        "skim_engine_requests_waiting",
        "skim_shards_carried_total",
        "skim_sweep_seconds_bucket",
        "skim_jobs_expired_total",
        "skim_rings_dropped_total",
    }


def test_every_alert_is_seen_to_fire_and_to_be_silent() -> None:
    names = sorted(name for name, _ in alerts())
    tests = documents(PROMETHEUS / "alerts.test.yml")[0]["tests"]
    at_rest, *troubles = [test["alert_rule_test"] for test in tests]

    assert sorted(case["alertname"] for case in at_rest if not case["exp_alerts"]) == names
    assert sorted({case["alertname"] for test in troubles for case in test if case["exp_alerts"]}) == names


def test_the_guide_says_what_to_do_about_every_alert() -> None:
    guide = (DEPLOY / "README.md").read_text()

    assert {name for name, _ in alerts() if f"`{name}`" not in guide} == set()
    assert set(re.findall(r"`(Skim[A-Z]\w+)`", guide)) == {name for name, _ in alerts()}
    assert re.findall(r"(\d+) alerts", guide) == [str(len(list(alerts())))]


def test_the_guide_leads_somewhere_and_fits_a_screen() -> None:
    guide = (DEPLOY / "README.md").read_text()
    links = [link for link in re.findall(r"\]\(([^)]+)\)", guide) if "://" not in link]

    assert [link for link in links if not (DEPLOY / link).exists()] == []
    assert [line for line in guide.splitlines() if len(line) > 140 and not line.startswith("|")] == []


@pytest.mark.parametrize(
    "arguments",
    [
        ("check", "rules", "alerts.yml"),
        ("test", "rules", "alerts.test.yml"),
        ("check", "config", "--syntax-only", "prometheus.yml"),
    ],
    ids=" ".join,
)
def test_promtool_agrees(arguments: tuple[str, ...]) -> None:
    promtool = checker("promtool", "prometheus")

    done = subprocess.run([promtool, *arguments], cwd=PROMETHEUS, capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stdout + done.stderr
