"""The URL converter of names and ids: what cannot be one is a 404 before any query."""

from werkzeug.routing import BaseConverter


class IdConverter(BaseConverter):
    """`<id:job_id>`: ids (`job_...`) and model names alike."""

    regex = "[A-Za-z0-9._-]{1,80}"
