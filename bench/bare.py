"""The least that a Flask route can do, and what `bench.service` compares with: the same bytes for every request."""

from flask import Flask, Response


def make_app(num_bytes: int) -> Flask:
    """An application whose every route answers so many bytes of JSON."""
    app = Flask("bare")
    body = b'"' + b"x" * (num_bytes - 2) + b'"'

    @app.route("/<path:_>", methods=["GET", "POST"])
    def answer(_: str) -> Response:
        return Response(body, content_type="application/json")

    return app
