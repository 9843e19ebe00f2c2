-- Conf values that may be secrets go with the end of a session or batch: here those of rows that ended before (src/policy/redaction.rs has the
-- same words). For SQLite alone: a database of another kind has no such rows.
UPDATE sessions SET request = json_set(request, '$.echo.conf', json((SELECT json_group_object(key, CASE
    WHEN lower(key) LIKE '%secret%' OR lower(key) LIKE '%password%' OR lower(key) LIKE '%token%' OR lower(key) LIKE '%access.key%'
      OR lower(key) LIKE '%accesskey%' OR instr(lower(key), 'access_key') THEN '*********(redacted)' ELSE value END)
    FROM json_each(request, '$.echo.conf'))))
WHERE ended IS NOT NULL AND json_valid(request) AND json_type(request, '$.echo.conf') = 'object';
UPDATE sessions SET request = json_set(request, '$.driver.conf', json((SELECT json_group_object(key, CASE
    WHEN lower(key) LIKE '%secret%' OR lower(key) LIKE '%password%' OR lower(key) LIKE '%token%' OR lower(key) LIKE '%access.key%'
      OR lower(key) LIKE '%accesskey%' OR instr(lower(key), 'access_key') THEN '*********(redacted)' ELSE value END)
    FROM json_each(request, '$.driver.conf'))))
WHERE ended IS NOT NULL AND json_valid(request) AND json_type(request, '$.driver.conf') = 'object';
UPDATE batches SET request = json_set(request, '$.driver.conf', json((SELECT json_group_object(key, CASE
    WHEN lower(key) LIKE '%secret%' OR lower(key) LIKE '%password%' OR lower(key) LIKE '%token%' OR lower(key) LIKE '%access.key%'
      OR lower(key) LIKE '%accesskey%' OR instr(lower(key), 'access_key') THEN '*********(redacted)' ELSE value END)
    FROM json_each(request, '$.driver.conf'))))
WHERE ended IS NOT NULL AND json_valid(request) AND json_type(request, '$.driver.conf') = 'object';
