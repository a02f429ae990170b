"""What a model source is, found out without torch and without running any of its code.

Three kinds: a hub id, a local folder, a GGUF file; the last two only below the configured roots.
"""

from api.sources.facts import Facts
from api.sources.inspect import inspect

__all__ = ["Facts", "inspect"]
