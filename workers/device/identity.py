"""What the costs of passes depend on besides the device: the weights and the code, each as a word that changes with it.

Loads neither: processes without torch ask.
"""

import hashlib
from importlib.metadata import version
from pathlib import Path

import engine


def weights_of(source: str, revision: str | None) -> str:
    """A word for a model's weights: those at the hub are known by their commit, local files by size and time."""
    path = Path(source)
    if not path.exists():
        return _digest(f"{source}@{revision}")
    files = sorted(one for one in path.iterdir() if one.is_file()) if path.is_dir() else [path]
    about = [(one.name, (seen := one.stat()).st_size, seen.st_mtime_ns) for one in files]
    return _digest(f"{path.resolve()} {about}")


def engine_version() -> str:
    """A word for the code that decodes: ours and the libraries under it."""
    folder = Path(engine.__file__).parent
    code = hashlib.sha256()
    for path in sorted(folder.rglob("*.py")):
        code.update(path.read_bytes())
    libraries = ", ".join(f"{name} {version(name)}" for name in ("torch", "transformers"))
    return f"{code.hexdigest()[:16]}, {libraries}"


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:32]
