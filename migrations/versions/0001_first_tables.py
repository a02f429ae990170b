"""The first tables: tenants, keys, models, skip sets, workers, jobs, shards, items; and the triggers that guard them.

A migration is history: it holds its own copy of everything and imports nothing that will change.
"""

from typing import Final

from alembic import op

revision: str = "0001"
down_revision: str | None = None
branch_labels: str | None = None
depends_on: str | None = None

# In order of creation.
TABLES: Final = (
    """
CREATE TABLE tenants (
    id text NOT NULL,
    name text NOT NULL,
    weight integer DEFAULT 1 NOT NULL,
    max_open_items integer,
    allows_calibration boolean DEFAULT false NOT NULL,
    created_at timestamptz DEFAULT statement_timestamp() NOT NULL,
    CONSTRAINT tenants_pkey PRIMARY KEY (id),
    CONSTRAINT tenants_weight_positive CHECK (weight > 0),
    CONSTRAINT tenants_name_unique UNIQUE (name)
)
""",
    """
CREATE TABLE api_keys (
    id text NOT NULL,
    tenant_id text NOT NULL,
    name text NOT NULL,
    prefix text NOT NULL,
    hash text NOT NULL,
    scopes text[] NOT NULL,
    created_at timestamptz DEFAULT statement_timestamp() NOT NULL,
    expires_at timestamptz,
    revoked_at timestamptz,
    last_used_at timestamptz,
    CONSTRAINT api_keys_pkey PRIMARY KEY (id),
    CONSTRAINT api_keys_hash_is_sha256 CHECK (length(hash) = 64),
    CONSTRAINT api_keys_tenant_id_fkey FOREIGN KEY(tenant_id) REFERENCES tenants (id) ON DELETE CASCADE,
    CONSTRAINT api_keys_hash_unique UNIQUE (hash)
)
""",
    """
CREATE TABLE idempotency_keys (
    tenant_id text NOT NULL,
    key text NOT NULL,
    fingerprint text NOT NULL,
    target_id text NOT NULL,
    created_at timestamptz DEFAULT statement_timestamp() NOT NULL,
    CONSTRAINT idempotency_keys_pkey PRIMARY KEY (tenant_id, key),
    CONSTRAINT idempotency_keys_tenant_id_fkey FOREIGN KEY(tenant_id) REFERENCES tenants (id) ON DELETE CASCADE
)
""",
    """
CREATE TABLE models (
    id text NOT NULL,
    name text NOT NULL,
    source text NOT NULL,
    revision text,
    dtype text NOT NULL,
    context_length integer NOT NULL,
    architecture text NOT NULL,
    num_layers integer NOT NULL,
    has_chat_template boolean NOT NULL,
    created_at timestamptz DEFAULT statement_timestamp() NOT NULL,
    CONSTRAINT models_pkey PRIMARY KEY (id),
    CONSTRAINT models_name_is_plain CHECK (name ~ '^[a-z0-9][a-z0-9._-]{0,62}$'),
    CONSTRAINT models_sizes_positive CHECK (context_length > 0 AND num_layers > 0),
    CONSTRAINT models_name_unique UNIQUE (name)
)
""",
    """
CREATE TABLE skip_sets (
    id text NOT NULL,
    model text NOT NULL,
    revision text,
    attention integer[] NOT NULL,
    mlp integer[] NOT NULL,
    device_kind text NOT NULL,
    dtype text NOT NULL,
    batch_class text NOT NULL,
    estimates jsonb DEFAULT '{}' NOT NULL,
    measurements jsonb DEFAULT '{}' NOT NULL,
    is_active boolean DEFAULT false NOT NULL,
    created_at timestamptz DEFAULT statement_timestamp() NOT NULL,
    activated_at timestamptz,
    CONSTRAINT skip_sets_pkey PRIMARY KEY (id),
    CONSTRAINT skip_sets_batch_class_known CHECK (batch_class IN ('1', '2-4', '5+')),
    CONSTRAINT skip_sets_model_fkey FOREIGN KEY(model) REFERENCES models (name) ON DELETE CASCADE
)
""",
    """
CREATE TABLE workers (
    id text NOT NULL,
    name text NOT NULL,
    host text NOT NULL,
    pid integer NOT NULL,
    model text NOT NULL,
    device text NOT NULL,
    device_kind text NOT NULL,
    dtype text NOT NULL,
    rows integer NOT NULL,
    status text NOT NULL,
    started_at timestamptz DEFAULT statement_timestamp() NOT NULL,
    last_seen_at timestamptz DEFAULT statement_timestamp() NOT NULL,
    CONSTRAINT workers_pkey PRIMARY KEY (id),
    CONSTRAINT workers_rows_not_negative CHECK (rows >= 0)
)
""",
    """
CREATE TABLE jobs (
    id text NOT NULL,
    tenant_id text NOT NULL,
    kind varchar(16) NOT NULL,
    model text NOT NULL,
    lane varchar(16) NOT NULL,
    status varchar(16) DEFAULT 'queued' NOT NULL,
    parameters jsonb NOT NULL,
    decoding jsonb NOT NULL,
    options jsonb NOT NULL,
    metadata jsonb NOT NULL,
    num_items integer NOT NULL,
    webhook_url text,
    retry_of text,
    created_at timestamptz DEFAULT statement_timestamp() NOT NULL,
    started_at timestamptz,
    finished_at timestamptz,
    expires_at timestamptz,
    cancel_requested_at timestamptz,
    error jsonb,
    counts jsonb,
    usage jsonb,
    decoding_stats jsonb,
    CONSTRAINT jobs_pkey PRIMARY KEY (id),
    CONSTRAINT jobs_num_items_not_negative CHECK (num_items >= 0),
    CONSTRAINT jobs_ended_with_time CHECK ((status IN ('queued', 'running')) = (finished_at IS NULL)),
    CONSTRAINT jobs_tenant_id_fkey FOREIGN KEY(tenant_id) REFERENCES tenants (id),
    CONSTRAINT jobs_kind_known CHECK (kind IN ('generate', 'summarize', 'search')),
    CONSTRAINT jobs_model_fkey FOREIGN KEY(model) REFERENCES models (name),
    CONSTRAINT jobs_lane_known CHECK (lane IN ('interactive', 'bulk', 'search')),
    CONSTRAINT jobs_status_known CHECK (status IN ('queued', 'running', 'succeeded', 'failed', 'cancelled', 'expired')),
    CONSTRAINT jobs_retry_of_fkey FOREIGN KEY(retry_of) REFERENCES jobs (id) ON DELETE SET NULL
)
""",
    """
CREATE TABLE shards (
    job_id text NOT NULL,
    number integer NOT NULL,
    first integer NOT NULL,
    last integer NOT NULL,
    model text NOT NULL,
    lane varchar(16) NOT NULL,
    tenant_id text NOT NULL,
    status varchar(16) DEFAULT 'queued' NOT NULL,
    epoch integer DEFAULT 0 NOT NULL,
    lease_expires_at timestamptz,
    rung_at timestamptz,
    worker_id text,
    created_at timestamptz NOT NULL,
    tally jsonb,
    CONSTRAINT shards_pkey PRIMARY KEY (job_id, number),
    CONSTRAINT shards_range_ascends CHECK (0 <= first AND first <= last),
    CONSTRAINT shards_held_with_lease CHECK ((status = 'running') = (lease_expires_at IS NOT NULL)),
    CONSTRAINT shards_job_id_fkey FOREIGN KEY(job_id) REFERENCES jobs (id) ON DELETE CASCADE,
    CONSTRAINT shards_lane_known CHECK (lane IN ('interactive', 'bulk', 'search')),
    CONSTRAINT shards_status_known CHECK (status IN ('queued', 'running', 'finished', 'cancelled', 'expired'))
)
""",
    """
CREATE TABLE items (
    job_id text NOT NULL,
    index integer NOT NULL,
    shard_number integer NOT NULL,
    custom_id text,
    status varchar(16) DEFAULT 'queued' NOT NULL,
    attempts smallint DEFAULT 0 NOT NULL,
    input jsonb NOT NULL,
    output text,
    finish_reason text,
    usage jsonb,
    decoding jsonb,
    error jsonb,
    started_at timestamptz,
    finished_at timestamptz,
    CONSTRAINT items_pkey PRIMARY KEY (job_id, index),
    CONSTRAINT items_ended_with_time CHECK ((status IN ('queued', 'running')) = (finished_at IS NULL)),
    CONSTRAINT items_attempts_not_negative CHECK (attempts >= 0),
    CONSTRAINT items_job_id_fkey FOREIGN KEY(job_id) REFERENCES jobs (id) ON DELETE CASCADE,
    CONSTRAINT items_status_known CHECK (status IN ('queued', 'running', 'succeeded', 'failed', 'cancelled', 'expired'))
)
""",
)

INDEXES: Final = (
    "CREATE INDEX api_keys_tenant ON api_keys (tenant_id, id)",
    "CREATE INDEX idempotency_keys_age ON idempotency_keys (created_at)",
    "CREATE INDEX skip_sets_model ON skip_sets (model, id)",
    """
CREATE UNIQUE INDEX skip_sets_one_active ON skip_sets (model, revision, device_kind, dtype, batch_class)
NULLS NOT DISTINCT
WHERE is_active
""",
    "CREATE INDEX workers_seen ON workers (model, last_seen_at)",
    """
CREATE INDEX jobs_cancelling ON jobs (id)
WHERE status IN ('queued', 'running') AND cancel_requested_at IS NOT NULL
""",
    "CREATE INDEX jobs_due ON jobs (expires_at) WHERE status IN ('queued', 'running') AND expires_at IS NOT NULL",
    "CREATE INDEX jobs_open_of_tenant ON jobs (tenant_id, id) WHERE status IN ('queued', 'running')",
    "CREATE INDEX jobs_retry_of ON jobs (retry_of) WHERE retry_of IS NOT NULL",
    "CREATE INDEX jobs_running ON jobs (id) WHERE status = 'running'",
    "CREATE INDEX jobs_tenant ON jobs (tenant_id, id)",
    "CREATE INDEX shards_open ON shards (job_id, number) WHERE status IN ('queued', 'running')",
    "CREATE INDEX shards_rung ON shards (model, lane, rung_at) WHERE status = 'queued' AND rung_at IS NOT NULL",
    "CREATE INDEX shards_running ON shards (model, lane, tenant_id) WHERE status = 'running'",
    """
CREATE INDEX shards_waiting ON shards (model, lane, tenant_id, created_at, job_id, number)
WHERE status = 'queued'
""",
    "CREATE UNIQUE INDEX items_custom_id ON items (job_id, custom_id) WHERE custom_id IS NOT NULL",
)

GUARDS: Final = (
    """
CREATE FUNCTION jobs_guard() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF OLD.status IS DISTINCT FROM NEW.status AND NOT (
        (OLD.status = 'queued' AND NEW.status IN ('cancelled', 'expired', 'running'))
        OR (OLD.status = 'running' AND NEW.status IN ('cancelled', 'expired', 'failed', 'succeeded'))
    ) THEN
        RAISE EXCEPTION 'jobs: % may not become %', OLD.status, NEW.status USING ERRCODE = 'check_violation';
    END IF;
    IF OLD.status NOT IN ('queued', 'running') AND
        (OLD.counts, OLD.usage, OLD.decoding_stats, OLD.error, OLD.finished_at)
        IS DISTINCT FROM (NEW.counts, NEW.usage, NEW.decoding_stats, NEW.error, NEW.finished_at)
    THEN
        RAISE EXCEPTION 'jobs: a row that is % never changes', OLD.status USING ERRCODE = 'check_violation';
    END IF;
    RETURN NEW;
END $$
""",
    """
CREATE TRIGGER jobs_guard BEFORE UPDATE ON jobs FOR EACH ROW
WHEN (OLD.status IS DISTINCT FROM NEW.status OR OLD.status NOT IN ('queued', 'running'))
EXECUTE FUNCTION jobs_guard()
""",
    """
CREATE FUNCTION shards_guard() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF OLD.status IS DISTINCT FROM NEW.status AND NOT (
        (OLD.status = 'queued' AND NEW.status IN ('cancelled', 'expired', 'running'))
        OR (OLD.status = 'running' AND NEW.status IN ('finished', 'queued'))
    ) THEN
        RAISE EXCEPTION 'shards: % may not become %', OLD.status, NEW.status USING ERRCODE = 'check_violation';
    END IF;
    IF OLD.status NOT IN ('queued', 'running') AND
        (OLD.epoch, OLD.tally)
        IS DISTINCT FROM (NEW.epoch, NEW.tally)
    THEN
        RAISE EXCEPTION 'shards: a row that is % never changes', OLD.status USING ERRCODE = 'check_violation';
    END IF;
    RETURN NEW;
END $$
""",
    """
CREATE TRIGGER shards_guard BEFORE UPDATE ON shards FOR EACH ROW
WHEN (OLD.status IS DISTINCT FROM NEW.status OR OLD.status NOT IN ('queued', 'running'))
EXECUTE FUNCTION shards_guard()
""",
    """
CREATE FUNCTION items_guard() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF OLD.status IS DISTINCT FROM NEW.status AND NOT (
        (OLD.status = 'queued' AND NEW.status IN ('cancelled', 'expired', 'failed', 'running', 'succeeded'))
        OR (OLD.status = 'running' AND NEW.status IN ('cancelled', 'expired', 'failed', 'queued', 'succeeded'))
    ) THEN
        RAISE EXCEPTION 'items: % may not become %', OLD.status, NEW.status USING ERRCODE = 'check_violation';
    END IF;
    IF OLD.status NOT IN ('queued', 'running') AND
        (OLD.output, OLD.finish_reason, OLD.usage, OLD.decoding, OLD.error, OLD.finished_at)
        IS DISTINCT FROM (NEW.output, NEW.finish_reason, NEW.usage, NEW.decoding, NEW.error, NEW.finished_at)
    THEN
        RAISE EXCEPTION 'items: a row that is % never changes', OLD.status USING ERRCODE = 'check_violation';
    END IF;
    RETURN NEW;
END $$
""",
    """
CREATE TRIGGER items_guard BEFORE UPDATE ON items FOR EACH ROW
WHEN (OLD.status IS DISTINCT FROM NEW.status OR OLD.status NOT IN ('queued', 'running'))
EXECUTE FUNCTION items_guard()
""",
    """
CREATE FUNCTION skip_sets_guard() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'skip_sets: the sub-layers of a skip set never change' USING ERRCODE = 'check_violation';
END $$
""",
    """
CREATE TRIGGER skip_sets_guard BEFORE UPDATE ON skip_sets FOR EACH ROW
WHEN ((OLD.id, OLD.revision, OLD.attention, OLD.mlp, OLD.device_kind, OLD.dtype, OLD.batch_class)
    IS DISTINCT FROM (NEW.id, NEW.revision, NEW.attention, NEW.mlp, NEW.device_kind, NEW.dtype, NEW.batch_class))
EXECUTE FUNCTION skip_sets_guard()
""",
)


def upgrade() -> None:
    """Apply. Nothing exists yet, so nothing has to be done gently."""
    for statement in (*TABLES, *INDEXES, *GUARDS):
        op.execute(statement)


def downgrade() -> None:
    """Undo, with everything in the tables."""
    op.execute("DROP TABLE items, shards, jobs, workers, skip_sets, models, idempotency_keys, api_keys, tenants")
    op.execute("DROP FUNCTION jobs_guard, shards_guard, items_guard, skip_sets_guard")
