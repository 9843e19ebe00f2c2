-- A large output is in a file (src/output): these are its bytes, and `output` is what is shown once the file has gone.
ALTER TABLE statements ADD COLUMN output_bytes BIGINT;
