"""What the API counts of its requests: by route, never by path, so that the labels are bounded."""

from typing import Final

from prometheus_client import Counter, Histogram

SECONDS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)

REQUESTS: Final = Counter("skim_http_requests", "Requests answered", ["method", "route", "status"])
REQUEST_SECONDS: Final = Histogram(
    "skim_http_request_seconds", "Time until the answer begins, long polls included", ["route"], buckets=SECONDS
)
