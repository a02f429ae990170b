"""Every error that anybody raises on purpose has a status, and leaves as one kind of problem."""

from collections.abc import Iterator

import pytest
from apiflask import HTTPError
from sqlalchemy.exc import DBAPIError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from werkzeug.exceptions import MethodNotAllowed

from api.errors import ApiError, Fault, InvalidFields, Unauthorized
from api.problems import REGISTRY, describe
from models.errors import RegistryError


def tree(kind: type[Exception]) -> Iterator[type[Exception]]:
    for child in kind.__subclasses__():
        yield child
        yield from tree(child)


@pytest.mark.parametrize("kind", list(tree(ApiError)))
def test_an_error_of_the_service_has_a_status_of_its_own(kind: type[ApiError]) -> None:
    assert 400 <= kind.status <= 599
    assert kind.code != ApiError.code


@pytest.mark.parametrize("kind", list(tree(RegistryError)))
def test_an_error_of_the_registry_has_a_status(kind: type[RegistryError]) -> None:
    nearest = next(base for base in kind.__mro__ if base in REGISTRY)

    assert describe(kind.__new__(kind)).status == REGISTRY[nearest][0] < 500


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        (OperationalError("SELECT 1", {}, Exception("gone")), 503, "database_unavailable"),
        (DBAPIError("SELECT 1", {}, Exception("gone"), connection_invalidated=True), 503, "database_unavailable"),
        (DBAPIError("SELECT 1", {}, Exception("typo")), 500, "internal_error"),
        (PoolTimeout(), 503, "database_unavailable"),
        (MethodNotAllowed(["GET"]), 405, "method_not_allowed"),
        (HTTPError(404), 404, "not_found"),
        (KeyError("secret"), 500, "internal_error"),
    ],
)
def test_foreign_errors_are_translated(error: Exception, status: int, code: str) -> None:
    problem = describe(error)

    assert (problem.status, problem.code) == (status, code)
    assert "secret" not in problem.message


def test_both_kinds_of_client_can_read_a_problem() -> None:
    faults = (Fault("inputs[0].prompt", "is required", None), Fault("a", "b", 3))

    assert describe(InvalidFields(faults)).body("req_1") == {
        "type": "urn:skim:problem:invalid_field",
        "title": "Bad Request",
        "status": 400,
        "detail": "inputs[0].prompt: is required (and 1 more)",
        "request_id": "req_1",
        "errors": [
            {"field": "inputs[0].prompt", "message": "is required"},
            {"field": "a", "line": 3, "message": "b"},
        ],
        "error": {
            "message": "inputs[0].prompt: is required (and 1 more)",
            "type": "invalid_request_error",
            "param": "inputs[0].prompt",
            "code": "invalid_field",
        },
    }


def test_headers_tell_what_to_do() -> None:
    assert describe(Unauthorized("no key")).headers == {"WWW-Authenticate": "Bearer"}
    assert describe(PoolTimeout()).headers == {"Retry-After": "2"}
    assert describe(MethodNotAllowed(["GET"])).headers == {"Allow": "GET"}
