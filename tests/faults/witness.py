"""Triggers of the tests alone that write down what happened to rows, so that a result written twice cannot hide."""

WITNESS = (
    """
    CREATE TABLE witness (
        id bigserial PRIMARY KEY, what text NOT NULL, job_id text NOT NULL, number int NOT NULL, old int, new int
    )
    """,
    """
    CREATE FUNCTION witness_item() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        INSERT INTO witness (what, job_id, number) VALUES ('result', NEW.job_id, NEW.index);
        RETURN NULL;
    END $$
    """,
    """
    CREATE TRIGGER witness_item AFTER UPDATE ON items FOR EACH ROW
    WHEN (NEW.status NOT IN ('queued', 'running') OR OLD.output IS DISTINCT FROM NEW.output)
    EXECUTE FUNCTION witness_item()
    """,
    """
    CREATE FUNCTION witness_shard() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        INSERT INTO witness (what, job_id, number, old, new)
        VALUES ('epoch', NEW.job_id, NEW.number, OLD.epoch, NEW.epoch);
        RETURN NULL;
    END $$
    """,
    """
    CREATE TRIGGER witness_shard AFTER UPDATE ON shards FOR EACH ROW
    WHEN (OLD.epoch IS DISTINCT FROM NEW.epoch) EXECUTE FUNCTION witness_shard()
    """,
)
