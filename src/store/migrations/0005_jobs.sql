-- Programmatic jobs are rows of `statements` whose ids count down from -1: so statements' ids have no gaps. A job runs before this
-- statement and after the one before it, which is the order of both. Null for a statement.
ALTER TABLE statements ADD COLUMN before_statement BIGINT;
