"""The environment: defaults, what names the variable at fault, and nothing secret in a print."""

from pathlib import Path

import pytest

from api.errors import BadSetting
from api.settings import MEBIBYTE, Settings

URLS = {"SKIM_DATABASE_URL": "postgresql+psycopg://u:hidden@h/d", "SKIM_REDIS_URL": "redis://:hidden@h"}


def test_defaults() -> None:
    settings = Settings.from_env(URLS)

    assert settings == Settings(URLS["SKIM_DATABASE_URL"], URLS["SKIM_REDIS_URL"])
    assert (settings.num_waiters, settings.num_readers, settings.num_checkers) == (16, 8, 2)


def test_everything_can_be_set(tmp_path: Path) -> None:
    env = {
        **URLS,
        "SKIM_MODEL_ROOTS": f"{tmp_path}/a:{tmp_path}/b",
        "SKIM_MAX_BODY_MB": "1",
        "SKIM_MAX_STREAM_MB": "2",
        "SKIM_MAX_INPUTS": "3",
        "SKIM_CHAT_TOKENS": "7",
        "SKIM_START_WAIT_S": "4",
        "SKIM_API_BIND": "0.0.0.0:80",
        "SKIM_API_WORKERS": "5",
        "SKIM_API_THREADS": "6",
    }

    assert Settings.from_env(env) == Settings(
        database_url=URLS["SKIM_DATABASE_URL"],
        redis_url=URLS["SKIM_REDIS_URL"],
        model_roots=(tmp_path / "a", tmp_path / "b"),
        max_body_bytes=MEBIBYTE,
        max_stream_bytes=2 * MEBIBYTE,
        max_inputs=3,
        chat_tokens=7,
        start_wait_s=4.0,
        bind="0.0.0.0:80",
        num_workers=5,
        num_threads=6,
    )


def test_models_come_from_the_home_unless_told() -> None:
    assert Settings.from_env({**URLS, "SKIM_HOME": "/srv/skim"}).model_roots == (Path("/srv/skim/models"),)


@pytest.mark.parametrize(
    ("name", "value"),
    [("SKIM_DATABASE_URL", " "), ("SKIM_REDIS_URL", ""), ("SKIM_MAX_INPUTS", "many"), ("SKIM_API_THREADS", "0")],
)
def test_a_bad_variable_is_named(name: str, value: str) -> None:
    with pytest.raises(BadSetting, match=name):
        Settings.from_env({**URLS, name: value})


def test_passwords_are_not_printed() -> None:
    assert "hidden" not in repr(Settings.from_env(URLS))
