-- Sessions whose row can't be read. The row itself stays as it is, for a person to look at; no list and no start reads it again.
CREATE TABLE quarantine (
    -- The id as text: it may be what is damaged.
    session  TEXT PRIMARY KEY,
    reason   TEXT NOT NULL,
    at       BIGINT NOT NULL
);

-- What the history is read by, and retention from its other end: whole, and each owner's.
DROP INDEX sessions_ended;
CREATE INDEX sessions_unended ON sessions (id) WHERE ended IS NULL;
CREATE INDEX sessions_history ON sessions (ended, id) WHERE ended IS NOT NULL;
CREATE INDEX sessions_history_of ON sessions (owner, ended, id) WHERE ended IS NOT NULL;
CREATE INDEX drivers_session ON drivers (session_id);
-- Statements without an end: few at any time.
CREATE INDEX statements_unended ON statements (session_id, id) WHERE completed = 0;
-- Drivers that may have processes: what a start looks for.
CREATE INDEX drivers_unended ON drivers (session_id) WHERE ended IS NULL;
