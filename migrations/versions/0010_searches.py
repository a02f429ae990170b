"""Searches for skip sets: what they tried, which set serves where, what was accepted of it, schedules and their nights.

New tables, bare columns, and two indexes on jobs that are built beside the traffic. Optuna keeps its tables in a schema
of its own, which is only made here.
"""

from typing import Final

from alembic import op

revision: str = "0010"
down_revision: str | None = "0009"
branch_labels: str | None = None
depends_on: str | None = None

INDEXES: Final = {
    "jobs_one_search": "UNIQUE INDEX CONCURRENTLY jobs_one_search ON jobs (model)"
    " WHERE kind = 'search' AND status IN ('queued', 'running')",
    "jobs_skipping": "INDEX CONCURRENTLY jobs_skipping ON jobs (finished_at)"
    " WHERE finished_at IS NOT NULL AND (decoding_stats ->> 'skip_set_id') IS NOT NULL",
}

STATEMENTS: Final = (
    "CREATE SCHEMA IF NOT EXISTS optuna",
    """
ALTER TABLE skip_sets ADD COLUMN job_id text, ADD COLUMN draft_length integer, ADD COLUMN threshold double precision,
    ADD COLUMN watched_since timestamptz, ADD COLUMN stale_since timestamptz, ADD COLUMN stale_evidence jsonb
""",
    """
CREATE TABLE schedules (
    id text NOT NULL,
    model text NOT NULL,
    tenant_id text NOT NULL,
    cron text NOT NULL,
    timezone text NOT NULL,
    max_trials integer NOT NULL,
    max_seconds double precision,
    window_s integer NOT NULL,
    max_age_days integer NOT NULL,
    batch_class text NOT NULL,
    sampler text NOT NULL,
    promotes boolean DEFAULT true NOT NULL,
    calibration varchar(16) NOT NULL,
    is_paused boolean DEFAULT false NOT NULL,
    created_at timestamptz DEFAULT statement_timestamp() NOT NULL,
    updated_at timestamptz DEFAULT statement_timestamp() NOT NULL,
    looked_until timestamptz DEFAULT statement_timestamp() NOT NULL,
    CONSTRAINT schedules_pkey PRIMARY KEY (id),
    CONSTRAINT schedules_batch_class_known CHECK (batch_class IN ('1', '2-4', '5+')),
    CONSTRAINT schedules_limits_positive CHECK (window_s > 0 AND max_age_days > 0 AND max_trials > 0),
    CONSTRAINT schedules_model_unique UNIQUE (model),
    CONSTRAINT schedules_model_fkey FOREIGN KEY(model) REFERENCES models (name) ON DELETE CASCADE,
    CONSTRAINT schedules_tenant_id_fkey FOREIGN KEY(tenant_id) REFERENCES tenants (id) ON DELETE CASCADE,
    CONSTRAINT schedules_calibration_known CHECK (calibration IN ('recent', 'builtin', 'inline'))
)
""",
    """
CREATE TABLE fires (
    id text NOT NULL,
    schedule_id text,
    model text NOT NULL,
    tenant_id text NOT NULL,
    fire_time timestamptz NOT NULL,
    at timestamptz NOT NULL,
    decision varchar(16) NOT NULL,
    reason text NOT NULL,
    detail text NOT NULL,
    num_missed integer DEFAULT 0 NOT NULL,
    job_id text,
    CONSTRAINT fires_pkey PRIMARY KEY (id),
    CONSTRAINT fires_schedule_id_fire_time_unique UNIQUE (schedule_id, fire_time),
    CONSTRAINT fires_opened_a_job CHECK ((decision = 'opened') = (job_id IS NOT NULL)),
    CONSTRAINT fires_schedule_id_fkey FOREIGN KEY(schedule_id) REFERENCES schedules (id) ON DELETE SET NULL,
    CONSTRAINT fires_model_fkey FOREIGN KEY(model) REFERENCES models (name) ON DELETE CASCADE,
    CONSTRAINT fires_tenant_id_fkey FOREIGN KEY(tenant_id) REFERENCES tenants (id) ON DELETE CASCADE,
    CONSTRAINT fires_decision_known CHECK (decision IN ('opened', 'skipped'))
)
""",
    "CREATE INDEX fires_model ON fires (model, tenant_id, id)",
    """
CREATE TABLE searches (
    job_id text NOT NULL,
    tenant_id text NOT NULL,
    model text NOT NULL,
    revision text,
    device_kind text NOT NULL,
    dtype text NOT NULL,
    batch_class text NOT NULL,
    sampler text NOT NULL,
    max_trials integer NOT NULL,
    max_seconds double precision,
    promotes boolean DEFAULT true NOT NULL,
    seed bigint NOT NULL,
    calibration varchar(16) NOT NULL,
    num_prompts integer NOT NULL,
    study text NOT NULL,
    created_at timestamptz DEFAULT statement_timestamp() NOT NULL,
    phase varchar(16),
    num_trials integer DEFAULT 0 NOT NULL,
    best_speed double precision,
    best_bits text,
    device_seconds jsonb DEFAULT '{}' NOT NULL,
    weights text,
    noted_at timestamptz,
    outcome varchar(16),
    skip_set_id text,
    is_promoted boolean DEFAULT false NOT NULL,
    note text,
    finalist jsonb,
    report jsonb,
    settled_at timestamptz,
    CONSTRAINT searches_pkey PRIMARY KEY (job_id),
    CONSTRAINT searches_batch_class_known CHECK (batch_class IN ('1', '2-4', '5+')),
    CONSTRAINT searches_settled_with_outcome CHECK ((outcome IS NULL) = (settled_at IS NULL)),
    CONSTRAINT searches_tenant_id_fkey FOREIGN KEY(tenant_id) REFERENCES tenants (id),
    CONSTRAINT searches_model_fkey FOREIGN KEY(model) REFERENCES models (name) ON DELETE CASCADE,
    CONSTRAINT searches_calibration_known CHECK (calibration IN ('recent', 'builtin', 'inline')),
    CONSTRAINT searches_phase_known CHECK (phase IN ('references', 'warm', 'climbing', 'proposing', 'confirming')),
    CONSTRAINT searches_outcome_known CHECK (outcome IN ('promoted', 'kept', 'lookup', 'plain')),
    CONSTRAINT searches_skip_set_id_fkey FOREIGN KEY(skip_set_id) REFERENCES skip_sets (id) ON DELETE SET NULL
)
""",
    "CREATE INDEX searches_model ON searches (model, job_id)",
    """
CREATE TABLE trials (
    job_id text NOT NULL,
    number integer NOT NULL,
    bits text NOT NULL,
    source text NOT NULL,
    prompts integer NOT NULL,
    speed double precision NOT NULL,
    spread double precision NOT NULL,
    acceptance double precision NOT NULL,
    loss double precision NOT NULL,
    draft_length integer NOT NULL,
    device_seconds double precision NOT NULL,
    created_at timestamptz DEFAULT statement_timestamp() NOT NULL,
    CONSTRAINT trials_pkey PRIMARY KEY (job_id, number),
    CONSTRAINT trials_job_id_bits_prompts_unique UNIQUE (job_id, bits, prompts),
    CONSTRAINT trials_job_id_fkey FOREIGN KEY(job_id) REFERENCES searches (job_id) ON DELETE CASCADE
)
""",
    """
CREATE TABLE activations (
    number bigint GENERATED ALWAYS AS IDENTITY,
    model text NOT NULL,
    revision text,
    device_kind text NOT NULL,
    dtype text NOT NULL,
    batch_class text NOT NULL,
    kind varchar(16) NOT NULL,
    was text,
    became text,
    undid bigint,
    tenant_id text,
    job_id text,
    actor_id text,
    at timestamptz DEFAULT statement_timestamp() NOT NULL,
    CONSTRAINT activations_pkey PRIMARY KEY (number),
    CONSTRAINT activations_roll_back_undoes CHECK ((kind = 'rolled_back') = (undid IS NOT NULL)),
    CONSTRAINT activations_model_fkey FOREIGN KEY(model) REFERENCES models (name) ON DELETE CASCADE,
    CONSTRAINT activations_kind_known CHECK (kind IN ('promoted', 'plain', 'activated', 'rolled_back'))
)
""",
    "CREATE INDEX activations_place ON activations (model, revision, device_kind, dtype, batch_class, number)",
    """
CREATE TABLE acceptances (
    skip_set_id text NOT NULL,
    until timestamptz NOT NULL,
    num_items bigint NOT NULL,
    drafted bigint NOT NULL,
    accepted bigint NOT NULL,
    drafted_squared double precision NOT NULL,
    accepted_squared double precision NOT NULL,
    drafted_accepted double precision NOT NULL,
    CONSTRAINT acceptances_pkey PRIMARY KEY (skip_set_id, until),
    CONSTRAINT acceptances_skip_set_id_fkey FOREIGN KEY(skip_set_id) REFERENCES skip_sets (id) ON DELETE CASCADE
)
""",
    "CREATE INDEX acceptances_until ON acceptances (until)",
    # What is active already has to have become so, or it could not be rolled back to.
    """
INSERT INTO activations (model, revision, device_kind, dtype, batch_class, kind, became, at)
SELECT model, revision, device_kind, dtype, batch_class, 'activated', id, coalesce(activated_at, created_at)
FROM skip_sets WHERE is_active ORDER BY activated_at
""",
    "UPDATE skip_sets SET watched_since = activated_at WHERE is_active",
)


def upgrade() -> None:
    """Apply. The indexes first: built outside a transaction, they are built again if the rest fails."""
    with op.get_context().autocommit_block():
        for name, index in INDEXES.items():
            op.execute(f"DROP INDEX CONCURRENTLY IF EXISTS {name}")
            op.execute(f"CREATE {index}")
    for statement in STATEMENTS:
        op.execute(statement)


def downgrade() -> None:
    """Undo; what searches found out is lost, except the skip sets."""
    op.execute("DROP SCHEMA IF EXISTS optuna CASCADE")
    op.execute("DROP TABLE acceptances, activations, trials, searches, fires, schedules")
    op.execute("""
        ALTER TABLE skip_sets DROP COLUMN job_id, DROP COLUMN draft_length, DROP COLUMN threshold,
            DROP COLUMN watched_since, DROP COLUMN stale_since, DROP COLUMN stale_evidence
    """)
    op.execute("DROP INDEX jobs_one_search, jobs_skipping")
