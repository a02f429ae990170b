"""The picture of a search: one HTML page that needs nothing else, in light and dark."""

from api.report.page import render

__all__ = ["render"]
