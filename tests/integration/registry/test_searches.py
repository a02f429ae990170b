"""Searches: opened one a model, carried under a lease, settled once, and overtaken by whatever changed meanwhile."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import pytest

from models.calibration import builtin_prompts
from models.cancel import cancel
from models.catalog import NewSkipSet, add_skip_set
from models.claim import Claim
from models.errors import CalibrationGone, Conflict, LeaseLost, ModelChanged, SearchNotFound, SearchOpen
from models.findings import get_finding, list_findings, list_trials, stream_trials
from models.fleet import WorkerBeat, announce
from models.jobs import delete_job
from models.opening import NewSearch, open_search
from models.places import activate, active_sets, list_activations
from models.retry import retry
from models.searches import NewTrial, SearchProgress, SearchView, find_search, note_search, note_trials
from models.settle import Found, SearchVerdict, settle_search
from models.shard import ShardRef
from models.sharing import LeadView, find_lead, is_held, pass_on, waiting_helpers
from models.states import Calibration, ItemStatus, JobKind, Lane, SearchOutcome, SearchPhase
from models.submit import NewJob
from models.tenants import change_tenant
from tests.integration.registry.conftest import MODEL, TENANT, Registry, at_once, ref_of, result

SEARCH = NewSearch(
    device_kind="cpu",
    batch_class="1",
    sampler="tpe",
    max_trials=40,
    max_seconds=None,
    promotes=True,
    seed=7,
    calibration=Calibration.BUILTIN,
)
FOUND = Found(attention=(1,), mlp=(0, 1), draft_length=4, threshold=0.2, estimates={"speed": 1.3})
PROMOTED = SearchVerdict(SearchOutcome.PROMOTED, FOUND, None, {"n": 5}, {"layers": 2}, weights="sha")
PROGRESS = SearchProgress(SearchPhase.CLIMBING, 12, 1.2, "0110", {"scoring": 3.5}, weights="sha")
TRIAL = NewTrial("0110", "greedy", 4, 1.2, 0.01, 0.8, 0.2, 4, 1.5)


def seek(registry: Registry, tenant_id: str = TENANT, **changes: Any) -> str:
    new_job = NewJob(tenant_id=tenant_id, kind=JobKind.SEARCH, model=MODEL, lane=Lane.SEARCH)
    with registry.database.session() as session:
        return open_search(session, new_job, replace(SEARCH, **changes)).job_id


def find(registry: Registry, job_id: str) -> SearchView:
    with registry.database.session() as session:
        return find_search(session, job_id)


def write(registry: Registry, claimed: Claim, call: Callable[..., Any], value: Any) -> Any:
    """Note or settle under a claim."""
    with registry.database.session() as session:
        return call(session, ref_of(claimed), claimed.epoch, value)


def settled(registry: Registry, job_id: str) -> tuple[Any, ...]:
    return registry.rows("SELECT outcome, is_promoted, note FROM searches WHERE job_id = :id", id=job_id)[0]


def serving(registry: Registry) -> dict[str, str | None]:
    with registry.database.session() as session:
        found = active_sets(session, MODEL, None, "cpu", "float32")
    return {name: one.id if one else None for name, one in found.items()}


def activated(registry: Registry) -> str:
    with registry.database.session() as session:
        new = add_skip_set(session, NewSkipSet(MODEL, (0,), (1,), "cpu", "float32", "1"))
        return activate(session, MODEL, new.id).id


def test_a_worker_finds_all_that_is_wanted(registry: Registry) -> None:
    active = activated(registry)
    job_id = seek(registry)
    found = find(registry, job_id)

    assert (found.num_layers, found.sampler, found.max_trials, found.seed, found.study) == (2, "tpe", 40, 7, job_id)
    assert found.incumbent is not None
    assert found.incumbent.id == active
    assert [prompt["messages"][0]["content"] for prompt in found.prompts] == list(builtin_prompts())
    assert registry.shards(job_id) == [("queued", 0)]
    with pytest.raises(SearchNotFound):
        find(registry, registry.submit(1))


def test_the_built_in_prompts_are_many_and_different() -> None:
    assert len(set(builtin_prompts())) == 24


def test_one_search_of_a_model_is_open_at_a_time(registry: Registry) -> None:
    answers = at_once(*(partial(seek, registry) for _ in range(4)))

    opened = [answer for answer in answers if isinstance(answer, str)]
    refused = [answer for answer in answers if isinstance(answer, SearchOpen)]
    assert len(opened) == 1
    assert [error.job_id for error in refused] == opened * 3
    with pytest.raises(SearchOpen, match="another tenant"):
        seek(registry, "ten_b")
    registry.complete(registry.hold(opened[0]))
    assert seek(registry) != opened[0]


def test_progress_and_trials_are_noted_by_the_holder_alone(registry: Registry) -> None:
    job_id = seek(registry)
    claimed = registry.hold(job_id)
    write(registry, claimed, note_search, PROGRESS)
    other = replace(TRIAL, bits="0001")
    assert write(registry, claimed, note_trials, [TRIAL, other, TRIAL]) == 2
    assert write(registry, claimed, note_trials, [replace(TRIAL, speed=9.9), replace(TRIAL, prompts=8)]) == 1

    trials = registry.rows("SELECT number, bits, prompts, speed FROM trials ORDER BY number")
    progress = registry.rows("SELECT phase, num_trials, best_speed, device_seconds FROM searches")
    assert trials == [(0, "0110", 4, 1.2), (1, "0001", 4, 1.2), (2, "0110", 8, 1.2)]
    assert progress == [("climbing", 12, 1.2, {"scoring": 3.5})]
    registry.lapse(job_id)
    registry.hold(job_id)
    for call, value in ((note_search, PROGRESS), (note_trials, [TRIAL]), (settle_search, PROMOTED)):
        with pytest.raises(LeaseLost):
            write(registry, claimed, call, value)
    assert settled(registry, job_id) == (None, False, None)


def test_helpers_add_to_what_the_lead_notes(registry: Registry) -> None:
    job_id = seek(registry, workers=3)
    lead, one, other = (registry.hold(job_id, number) for number in range(3))
    assert [len(claimed.items) for claimed in (lead, one, other)] == [1, 1, 1]
    write(registry, lead, note_search, PROGRESS)
    for claimed, seconds in ((one, 1.0), (other, 2.0), (one, 1.5)):
        spent = {f"helper_{claimed.number}": seconds}
        write(registry, claimed, note_search, SearchProgress(device_seconds=spent, weights="sha"))
    write(registry, lead, note_search, replace(PROGRESS, device_seconds={"scoring": 4.5}))

    assert registry.rows("SELECT phase, num_trials, best_speed, best_bits, device_seconds FROM searches") == [
        ("climbing", 12, 1.2, "0110", {"scoring": 4.5, "helper_1": 1.5, "helper_2": 2.0})
    ]
    with pytest.raises(ModelChanged, match="weights"):
        write(registry, one, note_search, SearchProgress(weights="no"))


def test_trials_of_several_workers_are_numbered_in_one_row(registry: Registry) -> None:
    job_id = seek(registry, workers=4)
    held = [registry.hold(job_id, number) for number in range(4)]
    trials = [replace(TRIAL, bits=f"{number:04b}") for number in range(16)]

    def note(claimed: Claim) -> int:
        mine = trials[claimed.number * 3 : claimed.number * 3 + 6]  # what neighbours scored too counts once
        return sum(write(registry, claimed, note_trials, [one]) for one in mine)

    counts = at_once(*(partial(note, claimed) for claimed in held))

    assert sum(counts) == 15
    assert registry.rows("SELECT count(*), max(number) FROM trials") == [(15, 14)]
    write(registry, held[1], note_search, SearchProgress())
    assert registry.rows("SELECT num_trials FROM searches") == [(15,)]


def test_a_lead_is_there_while_its_lease_is(registry: Registry) -> None:
    job_id = seek(registry, workers=2)

    def lead() -> LeadView:
        with registry.database.session() as session:
            return find_lead(session, job_id)

    assert lead() == LeadView(ItemStatus.QUEUED, is_held=False, error=None)
    claimed = registry.hold(job_id)
    with registry.database.session() as session:
        assert waiting_helpers(session, job_id) == [1]
        assert is_held(session, ref_of(claimed), claimed.epoch)
        assert not is_held(session, ref_of(claimed), claimed.epoch - 1)
        assert not is_held(session, replace(ref_of(claimed), number=1), 0)
    assert lead().is_held and not lead().is_over
    registry.lapse(job_id)
    with registry.database.session() as session:
        assert not is_held(session, ref_of(claimed), claimed.epoch)
    assert not lead().is_held
    registry.record(claimed, result(0, ItemStatus.FAILED))
    assert lead().is_over and lead().error == {"code": "context_exceeded", "message": "too long"}


def test_a_doorbell_is_passed_on_while_a_worker_is_free_to_help(registry: Registry) -> None:
    job_id = seek(registry, workers=3)
    one = WorkerBeat("w_a", "a", "h", 1, MODEL, "cpu", "cpu", "float32", 8, "ready")
    with registry.database.session() as session:
        for beat in (one, replace(one, id="w_cuda", device_kind="cuda"), replace(one, id="w_other", status="loading")):
            announce(session, beat)

    def is_rung_after_passing_on() -> bool:
        registry.rows("UPDATE shards SET rung_at = now() WHERE status = 'queued'")
        with registry.database.session() as session:
            pass_on(session, ShardRef(job_id, 2))
        return bool(registry.rows("SELECT rung_at IS NOT NULL FROM shards WHERE number = 2")[0][0])

    assert not is_rung_after_passing_on()
    registry.claim(job_id, worker="w_a")
    assert is_rung_after_passing_on()  # nobody else is there
    with registry.database.session() as session:
        announce(session, replace(one, id="w_b"))
    assert not is_rung_after_passing_on()
    registry.claim(job_id, 1, worker="w_b")
    assert is_rung_after_passing_on()


def test_a_find_is_kept_and_promoted_in_the_transaction_that_ends_the_item(registry: Registry) -> None:
    job_id = seek(registry)
    claimed = registry.hold(job_id)
    with registry.database.session() as session:
        skip_set_id = settle_search(session, ref_of(claimed), claimed.epoch, PROMOTED)
        session.rollback()
    assert serving(registry) == {}

    skip_set_id = write(registry, claimed, settle_search, PROMOTED)
    assert write(registry, claimed, settle_search, PROMOTED) == skip_set_id  # once
    assert registry.complete(claimed)
    assert serving(registry) == {"1": skip_set_id}
    assert settled(registry, job_id) == ("promoted", True, None)
    kept = registry.rows("SELECT job_id, draft_length, threshold, measurements, estimates FROM skip_sets")
    assert kept == [(job_id, 4, 0.2, {"n": 5}, {"speed": 1.3})]
    with registry.database.session() as session:
        (change,) = list_activations(session, MODEL).data
    assert (change.kind.value, change.job_id, change.became) == ("promoted", job_id, skip_set_id)


def test_a_search_that_may_not_promote_only_keeps(registry: Registry) -> None:
    for verdict in (PROMOTED, SearchVerdict(SearchOutcome.PLAIN, None, None)):
        job_id = seek(registry, promotes=False)
        claimed = registry.hold(job_id)
        write(registry, claimed, settle_search, verdict)
        registry.complete(claimed)
        assert settled(registry, job_id)[1:] == (False, "the search was not to promote")

    assert serving(registry) == {}
    assert registry.rows("SELECT is_active FROM skip_sets") == [(False,)]


def test_where_nothing_beats_plain_decoding_that_is_honoured(registry: Registry) -> None:
    active = activated(registry)
    job_id = seek(registry)
    write(registry, registry.hold(job_id), settle_search, SearchVerdict(SearchOutcome.PLAIN, None, active))

    assert serving(registry) == {"1": None}
    assert registry.rows("SELECT is_active FROM skip_sets") == [(False,)]
    assert settled(registry, job_id) == ("plain", False, "nothing beat plain decoding by more than the noise")


def test_a_set_that_is_kept_is_measured_anew_and_fresh_again(registry: Registry) -> None:
    active = activated(registry)
    registry.rows("UPDATE skip_sets SET stale_since = now(), stale_evidence = '{}'")
    job_id = seek(registry)
    verdict = SearchVerdict(SearchOutcome.KEPT, FOUND, active, {"n": 9})

    assert write(registry, registry.hold(job_id), settle_search, verdict) == active
    assert registry.rows("SELECT id, is_active, stale_since, measurements FROM skip_sets") == [
        (active, True, None, {"n": 9})
    ]


def test_lookup_that_wins_leaves_the_place_alone(registry: Registry) -> None:
    job_id = seek(registry)
    verdict = SearchVerdict(SearchOutcome.LOOKUP, FOUND, None)

    assert write(registry, registry.hold(job_id), settle_search, verdict) is not None
    assert serving(registry) == {}
    assert settled(registry, job_id) == ("lookup", False, "lookup beat every skip set on these prompts")


def test_what_somebody_activated_meanwhile_stays(registry: Registry) -> None:
    job_id = seek(registry)
    chosen = activated(registry)

    write(registry, registry.hold(job_id), settle_search, PROMOTED)
    assert serving(registry) == {"1": chosen}
    assert settled(registry, job_id) == ("promoted", False, "something else was activated while the search ran")


@pytest.mark.parametrize(
    ("change", "what"),
    [("UPDATE models SET revision = 'r2'", "revision"), ("UPDATE models SET dtype = 'bfloat16'", "dtype")],
)
def test_a_model_that_changed_during_the_search_refuses_what_it_found(
    registry: Registry, change: str, what: str
) -> None:
    claimed = registry.hold(seek(registry))
    registry.rows(change)
    with pytest.raises(ModelChanged, match=what):
        write(registry, claimed, settle_search, PROMOTED)
    assert registry.rows("SELECT count(*) FROM skip_sets") == [(0,)]


def test_other_weights_under_the_same_name_are_noticed(registry: Registry) -> None:
    claimed = registry.hold(seek(registry))
    write(registry, claimed, note_search, PROGRESS)
    for call, value in (
        (note_search, replace(PROGRESS, weights="no")),
        (settle_search, replace(PROMOTED, weights="no")),
    ):
        with pytest.raises(ModelChanged, match="weights"):
            write(registry, claimed, call, value)
    assert registry.rows("SELECT weights, outcome FROM searches") == [("sha", None)]


def test_recent_prompts_are_those_of_tenants_that_allow_it(registry: Registry) -> None:
    for tenant_id in (TENANT, "ten_b"):
        job_id = registry.submit(3, shard_items=3, tenant_id=tenant_id)
        claimed = registry.hold(job_id)
        registry.record(claimed, result(0), result(1))
    with registry.database.session() as session:
        change_tenant(session, "ten_b", allows_calibration=True)

    found = find(registry, seek(registry, calibration=Calibration.RECENT))
    assert found.prompts == ({"prompt": "Say 0."}, {"prompt": "Say 1."})
    assert registry.rows("SELECT calibration, num_prompts FROM searches") == [("recent", 2)]
    with registry.database.session() as session:
        change_tenant(session, "ten_b", allows_calibration=False)
    with pytest.raises(CalibrationGone):
        find(registry, found.job_id)


def test_what_its_owner_erased_is_used_no_more(registry: Registry) -> None:
    with registry.database.session() as session:
        change_tenant(session, TENANT, allows_calibration=True)
    recent = registry.submit(2, shard_items=2)
    registry.complete(registry.hold(recent))
    search = seek(registry, calibration=Calibration.RECENT)
    with registry.database.session() as session:
        delete_job(session, TENANT, recent)
        with pytest.raises(CalibrationGone):
            find_search(session, search)
        cancel(session, TENANT, search)
    again = seek(registry, calibration=Calibration.RECENT)

    assert registry.rows("SELECT calibration FROM searches WHERE job_id = :id", id=again) == [("builtin",)]


def test_without_enough_recent_prompts_the_built_in_ones_serve(registry: Registry) -> None:
    found = find(registry, seek(registry, calibration=Calibration.RECENT))

    assert len(found.prompts) == len(builtin_prompts())
    assert registry.rows("SELECT calibration FROM searches") == [("builtin",)]


@pytest.mark.parametrize(("prompt_tokens", "num_characters"), [(1000, 1280), (5000, 256), (1, 4000)])
def test_documents_are_asked_about_and_cut_to_half_a_context(
    registry: Registry, prompt_tokens: int, num_characters: int
) -> None:
    with registry.database.session() as session:
        change_tenant(session, TENANT, allows_calibration=True)
    job_id = registry.submit(2, kind=JobKind.SUMMARIZE)
    registry.rows("""UPDATE items SET input = jsonb_build_object('document', repeat('word ', 1000))""")
    claimed = registry.hold(job_id)
    usage = {"prompt_tokens": prompt_tokens, "completion_tokens": 9}
    registry.record(claimed, *(replace(result(index), usage=usage) for index in (0, 1)))

    found = find(registry, seek(registry, calibration=Calibration.RECENT))
    asked = [prompt["messages"][0]["content"] for prompt in found.prompts]
    assert [text.partition("\n\n")[2] for text in asked] == [("word " * 1000)[:num_characters]] * 2


def test_a_search_outlives_its_job(registry: Registry) -> None:
    job_id = seek(registry)
    write(registry, registry.hold(job_id), note_trials, [TRIAL])
    registry.rows("UPDATE jobs SET status = 'succeeded', finished_at = now() WHERE id = :id", id=job_id)
    registry.rows("DELETE FROM jobs WHERE id = :id", id=job_id)

    assert registry.rows("SELECT count(*) FROM trials") == [(1,)]


def test_a_cancelled_search_makes_way(registry: Registry) -> None:
    job_id = seek(registry)
    with registry.database.session() as session:
        assert cancel(session, TENANT, job_id)
    assert seek(registry) != job_id


def stopped(registry: Registry) -> str:
    """A search that was cancelled after a trial."""
    job_id = seek(registry)
    claimed = registry.hold(job_id)
    write(registry, claimed, note_search, PROGRESS)
    write(registry, claimed, note_trials, [TRIAL])
    with registry.database.session() as session:
        cancel(session, TENANT, job_id)
    assert registry.complete(claimed, ItemStatus.CANCELLED)
    return job_id


def resumed(registry: Registry, job_id: str) -> str:
    with registry.database.session() as session:
        return retry(session, TENANT, job_id).job_id


def test_a_cancelled_search_is_resumed_from_its_trials(registry: Registry) -> None:
    first = stopped(registry)
    second = resumed(registry, first)

    found = find(registry, second)
    assert (found.study, found.seed, found.prompts) == (first, 7, find(registry, first).prompts)
    claimed = registry.hold(second)
    assert write(registry, claimed, note_trials, [TRIAL, replace(TRIAL, bits="0001")]) == 1
    with registry.database.session() as session:
        assert [(one.number, one.bits) for one in stream_trials(session, second)] == [(0, "0110"), (1, "0001")]
        view = get_finding(session, TENANT, second)
    assert (view.num_trials, view.best_speed, view.status) == (12, 1.2, "running")
    assert registry.view(second).retry_of == first
    assert registry.view(second).search == view


def test_a_shared_search_is_cancelled_and_resumed_with_all_its_workers(registry: Registry) -> None:
    first = seek(registry, workers=3)
    lead, helper = registry.hold(first), registry.hold(first, 1)
    write(registry, lead, note_search, PROGRESS)
    with registry.database.session() as session:
        assert not cancel(session, TENANT, first)
    assert registry.items(first)[2] == ("cancelled", 0)  # nobody had it
    assert not registry.complete(helper, ItemStatus.CANCELLED)
    assert registry.complete(lead, ItemStatus.CANCELLED)

    second = resumed(registry, first)

    assert registry.shards(second) == [("queued", 0)] * 3
    assert registry.items(second) == [("queued", 0)] * 3
    found = find(registry, second)
    assert (found.workers, found.study, found.device_seconds) == (3, first, {})
    assert [len(registry.hold(second, number).items) for number in range(3)] == [1, 1, 1]


def test_what_cannot_be_resumed_says_why(registry: Registry) -> None:
    first = stopped(registry)
    other = seek(registry)
    with pytest.raises(SearchOpen) as caught:
        resumed(registry, first)
    assert caught.value.job_id == other
    claimed = registry.hold(other)
    write(registry, claimed, settle_search, PROMOTED)
    registry.complete(claimed)
    with pytest.raises(Conflict, match="came to its end"):
        resumed(registry, other)
    registry.rows("UPDATE models SET revision = 'r2'")
    with pytest.raises(ModelChanged):
        resumed(registry, first)


def test_findings_and_trials_are_their_tenants(registry: Registry) -> None:
    ids = [stopped(registry), stopped(registry)]
    with registry.database.session() as session:
        page = list_findings(session, TENANT, limit=1)
        rest = list_findings(session, TENANT, after=page.data[0].job_id, model=MODEL)
        trials = list_trials(session, TENANT, ids[0], limit=1)
        assert list_trials(session, TENANT, ids[0], after=0).data == ()
        assert list_findings(session, "ten_b").data == list_findings(session, TENANT, model="other").data == ()
        for call in (get_finding, list_trials):
            with pytest.raises(SearchNotFound):
                call(session, "ten_b", ids[0])
    assert [one.job_id for one in page.data + rest.data] == ids[::-1]
    assert (page.has_more, rest.has_more, trials.has_more) == (True, False, False)
    assert (trials.data[0].bits, trials.data[0].speed) == ("0110", 1.2)
