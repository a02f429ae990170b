"""The name under which an application keeps its services; apart, so that the server need not load them."""

from typing import Final

EXTENSION: Final = "skim"
