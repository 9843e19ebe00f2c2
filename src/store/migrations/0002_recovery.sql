-- A driver's keeper names itself in the driver's directory, whose path follows from the driver's id.
ALTER TABLE drivers DROP COLUMN run_dir;
ALTER TABLE drivers DROP COLUMN keeper_pid;
ALTER TABLE drivers DROP COLUMN keeper_start;
ALTER TABLE drivers DROP COLUMN boot_id;
ALTER TABLE sessions DROP COLUMN idempotency_key;
ALTER TABLE statements DROP COLUMN idempotency_key;

-- What was answered to a request that had an Idempotency-Key.
CREATE TABLE idempotency (
    -- Whose key it is and of which collection: the same key may be used elsewhere.
    scope         TEXT NOT NULL,
    key           TEXT NOT NULL,
    -- SHA-256 of the request, as hex digits.
    fingerprint   TEXT NOT NULL,
    session_id    BIGINT NOT NULL,
    statement_id  BIGINT,
    created       BIGINT NOT NULL,
    PRIMARY KEY (scope, key)
);
CREATE INDEX idempotency_created ON idempotency (created);
