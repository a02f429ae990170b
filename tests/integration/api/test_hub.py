"""Models on a hub, played by a local HTTP server that answers as the real one does."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from api import sources
from api.errors import SourceUnreachable, UnusableSource
from api.sources import Facts

SHA = "0123456789abcdef0123456789abcdef01234567"
CONFIG = {"architectures": ["LlamaForCausalLM"], "max_position_embeddings": 2048, "num_hidden_layers": 30}
FILES = {"config.json": CONFIG, "tokenizer_config.json": {"chat_template": "{{ messages }}"}}


def _info(*names: str) -> dict[str, Any]:
    return {"id": "good/model", "sha": SHA, "siblings": [{"rfilename": name} for name in names]}


ANSWERS: dict[str, tuple[int, Any, dict[str, str]]] = {
    "/api/models/good/model": (200, _info("model.safetensors", *FILES), {}),
    "/api/models/good/model/revision/v1": (200, _info("model.safetensors", *FILES), {}),
    "/api/models/old/model": (200, _info("pytorch_model.bin", "config.json"), {}),
    "/api/models/gated/model": (403, {}, {"X-Error-Code": "GatedRepo"}),
    "/api/models/ill/model": (500, {}, {}),
}


class Hub(BaseHTTPRequestHandler):
    """`good/model` can be served, `old/model` has pickled weights only, `gated/model` wants a login."""

    def do_GET(self) -> None:
        self._answer(with_body=True)

    def do_HEAD(self) -> None:
        self._answer(with_body=False)

    def log_message(self, *_: object) -> None:
        """Quiet."""

    def _answer(self, *, with_body: bool) -> None:
        status, body, headers = self._found()
        data = json.dumps(body).encode()
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(data))}.items():
            self.send_header(name, value)
        self.end_headers()
        if with_body:
            self.wfile.write(data)

    def _found(self) -> tuple[int, Any, dict[str, str]]:
        path = self.path.split("?")[0]
        if path in ANSWERS:
            return ANSWERS[path]
        if path.startswith(f"/good/model/resolve/{SHA}/"):
            name = path.rpartition("/")[2]
            return 200, FILES[name], {"ETag": f'"{name}"', "X-Repo-Commit": SHA}
        code = "RevisionNotFound" if path.startswith("/api/models/good/model/") else "RepoNotFound"
        return 404, {}, {"X-Error-Code": code}


@pytest.fixture(autouse=True)
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    address = f"http://127.0.0.1:{server.server_port}"
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", address)
    monkeypatch.setattr(
        "huggingface_hub.constants.HUGGINGFACE_CO_URL_TEMPLATE", address + "/{repo_id}/resolve/{revision}/{filename}"
    )
    yield
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize("revision", [None, "v1"])
def test_a_model_is_pinned_to_its_commit(revision: str | None) -> None:
    assert sources.inspect("good/model", revision, ()) == Facts("LlamaForCausalLM", 2048, 30, True, SHA)


@pytest.mark.parametrize(
    ("source", "revision", "field", "message"),
    [
        ("no/model", None, "source", "the hub has no model no/model"),
        ("good/model", "v9", "revision", "good/model has no revision v9"),
        ("gated/model", None, "source", "asks for a login"),
        ("old/model", None, "source", "has no safetensors"),
    ],
)
def test_what_cannot_be_served_is_said(source: str, revision: str | None, field: str, message: str) -> None:
    with pytest.raises(UnusableSource, match=message) as caught:
        sources.inspect(source, revision, ())

    assert caught.value.faults[0].field == field


def test_a_hub_in_trouble_is_not_the_clients_fault() -> None:
    with pytest.raises(SourceUnreachable, match="the hub does not answer for ill/model"):
        sources.inspect("ill/model", None, ())
