-- In which of several clusters a driver was started (clusters.NAME), none: in the default one; and whether it runs there, and not on this host.
ALTER TABLE drivers ADD COLUMN cluster TEXT;
ALTER TABLE drivers ADD COLUMN remote INTEGER NOT NULL DEFAULT 0;
