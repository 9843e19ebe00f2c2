-- What a driver holds of the GPUs, as JSON, while it has not ended.
ALTER TABLE drivers ADD COLUMN gpus TEXT;
