-- With whom sessions and batches are shared. Those of a session that has ended stay as long as its row.
CREATE TABLE shares (
    -- 'session' or 'batch', and its id.
    what     TEXT NOT NULL,
    subject  BIGINT NOT NULL,
    -- 'user' or 'group', and its name.
    kind     TEXT NOT NULL,
    name     TEXT NOT NULL,
    -- 'view', 'modify' or 'own'.
    access   TEXT NOT NULL,
    created  BIGINT NOT NULL,
    PRIMARY KEY (what, subject, kind, name)
);
CREATE INDEX shares_with ON shares (kind, name, what, subject);
