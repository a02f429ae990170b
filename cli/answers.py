"""What the API's answers say: the JSON object, or the error that a problem document stands for."""

from __future__ import annotations

import httpx

from cli.errors import Missing, Refused, Unauthorized
from cli.views import Json


def problem(response: httpx.Response) -> Refused:
    """The error a problem document stands for, with the field or line that is at fault."""
    try:
        body = response.json()
    except ValueError:
        body = {}
    if not isinstance(body, dict):
        body = {}
    message = body.get("detail") or body.get("title") or f"the API answered {response.status_code}"
    places = [place for fault in body.get("errors", [])[:3] if (place := _place(fault))]
    text = f"{message} ({'; '.join(places)})" if places else str(message)
    if response.status_code in (401, 403):
        return Unauthorized(text)
    return Missing(text) if response.status_code == 404 else Refused(text)


def _place(fault: Json) -> str:
    """`line 3, field document: is blank`."""
    parts = [f"{name} {fault[name]}" for name in ("line", "field") if fault.get(name) is not None]
    return f"{', '.join(parts)}: {fault.get('message', '')}" if parts else str(fault.get("message", ""))


def body_of(response: httpx.Response) -> Json:
    """The JSON object of an answer. Raises SkimError when there is none, or an error instead."""
    if response.is_error:
        raise problem(response)
    if not response.content:
        return {}
    try:
        body = response.json()
    except ValueError as error:
        raise Refused(f"{response.request.url} is no Skim API: its answer is not JSON") from error
    return body if isinstance(body, dict) else {"data": body}
