"""A repository on the Hugging Face hub: only its small JSON files are fetched here."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Final

from api.errors import SourceUnreachable, UnusableSource
from api.sources.facts import Facts, facts_of
from api.sources.folder import TEMPLATES, read_json

if TYPE_CHECKING:
    from huggingface_hub import HfApi
    from huggingface_hub.hf_api import ModelInfo

TIMEOUT_S: Final = 10.0


def inspect_hub(repository: str, revision: str | None) -> Facts:
    """Facts of a repository, pinned to the commit that `revision` (default: the main branch) is now.

    Raises:
        UnusableSource: no such repository or revision, access refused, or nothing that can be served.
        SourceUnreachable: the hub does not answer.
    """
    # Heavy and rarely needed: imported by the first registration from the hub.
    from huggingface_hub import HfApi  # noqa: PLC0415
    from huggingface_hub.errors import (  # noqa: PLC0415
        GatedRepoError,
        HFValidationError,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    api = HfApi()
    try:
        info = api.model_info(repository, revision=revision, timeout=TIMEOUT_S)
        return _facts(api, repository, info)
    except UnusableSource:
        raise
    except GatedRepoError as error:
        raise UnusableSource(f"{repository} asks for a login that this service does not have") from error
    except (RepositoryNotFoundError, HFValidationError) as error:
        raise UnusableSource(f"the hub has no model {repository}") from error
    except RevisionNotFoundError as error:
        raise UnusableSource(f"{repository} has no revision {revision}", "revision") from error
    except Exception as error:  # the client library lets errors of several HTTP libraries through
        raise SourceUnreachable(f"the hub does not answer for {repository}: {type(error).__name__}") from error


def _facts(api: HfApi, repository: str, info: ModelInfo) -> Facts:
    names = {sibling.rfilename for sibling in info.siblings or ()}
    if not any(name.endswith(".safetensors") and "/" not in name for name in names):
        raise UnusableSource(f"{repository} has no safetensors; other weight formats can run code and are not loaded")
    with tempfile.TemporaryDirectory(prefix="skim-source-") as scratch:
        for name in sorted(names & {"config.json", "tokenizer_config.json"}):
            api.hf_hub_download(repository, name, revision=info.sha, local_dir=scratch, etag_timeout=TIMEOUT_S)
        config = read_json(Path(scratch) / "config.json")
        tokenizer = read_json(Path(scratch) / "tokenizer_config.json") or {}
    if config is None:
        raise UnusableSource(f"{repository} has no config.json")
    has_template = bool(tokenizer.get("chat_template")) or bool(names & set(TEMPLATES))
    return facts_of(config, has_chat_template=has_template, revision=info.sha)
