-- API tokens and browsers' logins: what this server gave out for callers to come back with. Only hashes of the secrets are here.
CREATE TABLE credentials (
    id TEXT PRIMARY KEY NOT NULL,
    -- 'token' or 'login'.
    kind TEXT NOT NULL,
    -- SHA-256 of the secret, in hex.
    hash TEXT NOT NULL,
    owner TEXT NOT NULL,
    -- The owner's groups when it was made, as a JSON list.
    member_of TEXT NOT NULL,
    -- The way in which the owner had proved the name: a word of access.mode.
    way TEXT NOT NULL,
    -- What a token may do, words with blanks between.
    scopes TEXT NOT NULL,
    -- What the owner calls it.
    label TEXT,
    -- A login's: what tells that the password is still the same.
    mark TEXT,
    created BIGINT NOT NULL,
    expires BIGINT NOT NULL
);
