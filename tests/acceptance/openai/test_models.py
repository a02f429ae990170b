"""Models through the official client."""

from __future__ import annotations

import pytest
from openai import AuthenticationError, NotFoundError, OpenAI

from tests.acceptance.openai.conftest import MODEL


def test_models_are_listed_and_read(client: OpenAI) -> None:
    listed = list(client.models.list())
    read = client.models.retrieve(MODEL)

    assert [model.id for model in listed] == [MODEL]
    assert listed == [read]
    assert (read.object, read.owned_by) == ("model", "skim")
    assert read.created > 1_700_000_000


def test_errors_are_the_clients_own(client: OpenAI) -> None:
    with pytest.raises(NotFoundError) as unknown:
        client.models.retrieve("nobody")
    with pytest.raises(AuthenticationError) as stranger:
        client.with_options(api_key="sk-wrong").models.list()

    assert unknown.value.code == "model_not_found"
    assert unknown.value.request_id is not None
    assert (stranger.value.code, stranger.value.type) == ("invalid_api_key", "authentication_error")
