-- Version 2: what agents say of redaction.

-- NULL where the last report is older than this.
ALTER TABLE sessions ADD COLUMN redaction TEXT;
-- Phase changes that are on record, within the hour that began then.
ALTER TABLE sessions ADD COLUMN phases_since BIGINT NOT NULL DEFAULT 0;
ALTER TABLE sessions ADD COLUMN phases BIGINT NOT NULL DEFAULT 0;

-- How well a version can be redacted: 'none', 'weak', 'strong'; '' where it is older than this.
ALTER TABLE secret_versions ADD COLUMN strength TEXT NOT NULL DEFAULT '';
CREATE INDEX secret_versions_by_version ON secret_versions (org, version, secret_id);

-- Values that were masked in what sessions printed. Kept as deliveries are, also when the secret is deleted.
CREATE TABLE leaks (
  org        TEXT NOT NULL,
  session_id TEXT NOT NULL,
  secret_id  TEXT NOT NULL,
  version    TEXT NOT NULL,
  unit       TEXT NOT NULL,
  form       TEXT NOT NULL,
  sequence   BIGINT NOT NULL, -- of the audit entry that told of it first
  count      BIGINT NOT NULL,
  first_at   BIGINT NOT NULL,
  last_at    BIGINT NOT NULL,
  PRIMARY KEY (org, session_id, secret_id, version, unit, form)
);
CREATE UNIQUE INDEX leaks_newest ON leaks (org, sequence);
CREATE INDEX leaks_of_secret ON leaks (org, secret_id, sequence);

-- Whether a content reached a session.
DROP INDEX deliveries_of_session;
CREATE INDEX deliveries_of_session ON deliveries (org, session_id, content_id);
