-- Portable to PostgreSQL: no rowid tricks, times are epoch milliseconds, booleans are not needed.

CREATE TABLE server (
    name  TEXT PRIMARY KEY,
    value BIGINT NOT NULL
);
INSERT INTO server (name, value) VALUES ('epoch', 0), ('next_session_id', 0);

CREATE TABLE sessions (
    id               BIGINT PRIMARY KEY,
    name             TEXT,
    owner            TEXT,
    proxy_user       TEXT,
    kind             TEXT NOT NULL,
    state            TEXT NOT NULL,
    -- The request as it is echoed: conf, files, resources, timeouts.
    request          TEXT NOT NULL,
    app_id           TEXT,
    ui_url           TEXT,
    driver_id        TEXT,
    -- The server start that owns the row; a write of an older one changes nothing.
    epoch            BIGINT NOT NULL,
    idempotency_key  TEXT,
    -- One sentence that explains the end.
    diagnosis        TEXT,
    created          BIGINT NOT NULL,
    ended            BIGINT,
    deleted          BIGINT
);
CREATE INDEX sessions_ended ON sessions (ended);

CREATE TABLE drivers (
    id            TEXT PRIMARY KEY,
    session_id    BIGINT NOT NULL,
    run_dir       TEXT NOT NULL,
    -- Process id, start time in clock ticks and boot: together they name one process for ever.
    keeper_pid    BIGINT NOT NULL,
    keeper_start  BIGINT NOT NULL,
    boot_id       TEXT NOT NULL,
    epoch         BIGINT NOT NULL,
    created       BIGINT NOT NULL,
    ended         BIGINT
);

CREATE TABLE statements (
    session_id       BIGINT NOT NULL,
    id               BIGINT NOT NULL,
    kind             TEXT NOT NULL,
    code             TEXT NOT NULL,
    state            TEXT NOT NULL,
    -- Livy's output object as JSON, null until done.
    output           TEXT,
    rows_cut         BIGINT,
    idempotency_key  TEXT,
    accepted         BIGINT NOT NULL,
    started          BIGINT NOT NULL,
    completed        BIGINT NOT NULL,
    PRIMARY KEY (session_id, id)
);
