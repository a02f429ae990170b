"""A network that loses every connection to the registry without telling anybody."""

from tests.acceptance.workers.service import Service, echo, until
from tests.tools.proxy import proxied

PROMPTS = [f"item {number} " for number in range(200)]


def test_work_goes_on_over_new_connections(service: Service) -> None:
    with proxied(service.env["SKIM_DATABASE_URL"]) as (proxy, url):
        service.env["SKIM_DATABASE_URL"] = url
        service.start_control()
        service.start_device()
        job_id = service.submit(PROMPTS, max_tokens=20)
        until(lambda: service.num_done(job_id) >= 5)

        proxy.lose()
        num_done = service.num_done(job_id)

        assert num_done < len(PROMPTS)
        assert service.wait(job_id) == "succeeded"
        assert [item.output for item in service.items(job_id)] == [echo(prompt, 20) for prompt in PROMPTS]
