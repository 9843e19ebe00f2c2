-- The limit in bytes that cut a statement's text.
ALTER TABLE statements ADD COLUMN bytes_cut BIGINT;
