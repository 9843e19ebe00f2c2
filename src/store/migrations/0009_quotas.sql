-- What administrators have changed of users' limits, as JSON (src/quota).
CREATE TABLE quotas (
    owner    TEXT PRIMARY KEY,
    changes  TEXT NOT NULL
);
