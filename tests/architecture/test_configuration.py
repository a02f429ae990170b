"""The README's table of environment variables and the code name the same variables, with the same defaults."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterator, Mapping

import api.settings
import workers.settings

NAME = re.compile(r"SKIM_[A-Z][A-Z_]*")
# The environment is read in one module per process.
READERS = frozenset(
    {"api/settings.py", "cli/settings.py", "models/bootstrap.py", "models/faults.py", "workers/settings.py"}
)
READS = frozenset({"os.environ.get", "os.environ.pop", "os.environ.setdefault", "os.getenv"})

Modules = Mapping[str, ast.Module]
Rows = Callable[[str], list[list[str]]]


def test_table_and_code_name_the_same_variables(modules: Modules, rows_under: Rows) -> None:
    in_code = {name for tree in modules.values() for name in _names(tree)}
    in_table = {row[0].strip("`") for row in rows_under("Configuration") if row[0].startswith("`SKIM_")}

    assert in_table == in_code


def test_table_gives_the_defaults(rows_under: Rows) -> None:
    written = {row[0].strip("`"): row[1].strip("`") for row in rows_under("Configuration")}
    expected = {**_api_defaults(), **_worker_defaults()}

    assert {name: written.get(name) for name in expected} == expected


def test_environment_is_read_in_one_module_per_process(modules: Modules) -> None:
    found = {
        f"{path}:{node.lineno}"
        for path, tree in modules.items()
        if path not in READERS
        for node in ast.walk(tree)
        if isinstance(node, ast.expr) and _reads_ours(node)
    }
    assert found == set()


def _names(tree: ast.Module) -> Iterator[str]:
    """Every constant that is just a variable's name; those in running text are somebody's explanation."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and NAME.fullmatch(node.value):
            yield node.value


def _reads_ours(node: ast.expr) -> bool:
    match node:
        case ast.Call(func=function, args=[ast.Constant(value=str(name)), *_]):
            return ast.unparse(function) in READS and bool(NAME.fullmatch(name))
        case ast.Subscript(value=value, slice=ast.Constant(value=str(name)), ctx=ast.Load()):
            return ast.unparse(value) == "os.environ" and bool(NAME.fullmatch(name))
    return False


def _api_defaults() -> dict[str, str]:
    settings = api.settings.Settings.from_env({"SKIM_DATABASE_URL": "-", "SKIM_REDIS_URL": "-"})
    return {
        "SKIM_API_BIND": settings.bind,
        "SKIM_API_WORKERS": str(settings.num_workers),
        "SKIM_API_THREADS": str(settings.num_threads),
        "SKIM_MAX_BODY_MB": str(settings.max_body_bytes // api.settings.MEBIBYTE),
        "SKIM_MAX_STREAM_MB": str(settings.max_stream_bytes // api.settings.MEBIBYTE),
        "SKIM_MAX_INPUTS": str(settings.max_inputs),
        "SKIM_METRICS_OPEN": "yes" if settings.metrics_open else "no",
        "SKIM_START_WAIT_S": f"{settings.start_wait_s:g}",
    }


def _worker_defaults() -> dict[str, str]:
    settings = workers.settings.WorkerSettings.from_env({})
    return {
        "SKIM_LEASE_S": f"{settings.lease_s:g}",
        "SKIM_HEARTBEAT_S": f"{settings.heartbeat_s:g}",
        "SKIM_SWEEP_S": f"{settings.sweep_s:g}",
        "SKIM_STALL_S": f"{settings.stall_s:g}",
        "SKIM_GRACE_S": f"{settings.grace_s:g}",
        "SKIM_ROWS": str(settings.rows),
        "SKIM_CPU_ENGINES": str(settings.cpu_engines),
        "SKIM_BULK_THREADS": str(settings.bulk_threads),
        "SKIM_INTERACTIVE_THREADS": str(settings.interactive_threads),
        "SKIM_MAX_LOSSES": str(settings.max_losses),
        "SKIM_PRIVATE_WEBHOOKS": "yes" if settings.allows_private_webhooks else "no",
        "SKIM_LOG_LEVEL": settings.log_level,
    }
