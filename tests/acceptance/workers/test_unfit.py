"""A worker that has lost what it needs: its jobs end all the same, and say why."""

import shutil
from pathlib import Path

from tests.acceptance.workers.conftest import open_service
from tests.acceptance.workers.service import until


def test_items_fail_after_so_many_losses_without_a_tokenizer(
    database_url: str, redis_url: str, tmp_path: Path, echo_folder: Path
) -> None:
    source = shutil.copytree(echo_folder, tmp_path / "source")
    with open_service(database_url, redis_url, tmp_path, source) as service:
        service.start_control()
        service.start_device()
        until(service.is_whole)
        shutil.rmtree(source)  # the engine has read it, its nodes have not yet

        job_id = service.submit(["one ", "two "], shard_items=2)

        assert service.wait(job_id, patience_s=20) == "failed"
        ends = [(item.status, item.attempts, item.error["code"]) for item in service.items(job_id)]
        assert ends == [("failed", 3, "tokenizer_unavailable")] * 2
