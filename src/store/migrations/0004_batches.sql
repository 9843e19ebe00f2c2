-- Batches: an application each, with a driver of its own. One that is deleted has no row.
INSERT INTO server (name, value) VALUES ('next_batch_id', 0);

CREATE TABLE batches (
    id          BIGINT PRIMARY KEY,
    name        TEXT,
    owner       TEXT,
    proxy_user  TEXT,
    state       TEXT NOT NULL,
    -- The request as the policy passed it.
    request     TEXT NOT NULL,
    driver_id   TEXT,
    -- The server start that owns the row; a write of an older one changes nothing.
    epoch       BIGINT NOT NULL,
    exit_code   BIGINT,
    -- One sentence that explains the end.
    diagnosis   TEXT,
    created     BIGINT NOT NULL,
    ended       BIGINT
);
CREATE INDEX batches_unended ON batches (id) WHERE ended IS NULL;
CREATE INDEX batches_ended ON batches (ended, id) WHERE ended IS NOT NULL;

-- A driver is a session's or a batch's.
CREATE TABLE drivers_of_both (
    id          TEXT PRIMARY KEY,
    session_id  BIGINT,
    batch_id    BIGINT,
    epoch       BIGINT NOT NULL,
    created     BIGINT NOT NULL,
    ended       BIGINT
);
INSERT INTO drivers_of_both (id, session_id, epoch, created, ended) SELECT id, session_id, epoch, created, ended FROM drivers;
DROP TABLE drivers;
ALTER TABLE drivers_of_both RENAME TO drivers;
CREATE INDEX drivers_session ON drivers (session_id);
CREATE INDEX drivers_unended ON drivers (session_id) WHERE ended IS NULL;
