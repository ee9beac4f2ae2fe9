-- Version 1. Portable SQL: texts, 64-bit integers, blobs; times are microseconds since 1970, UTC; booleans are 0 and 1.
-- `owner` is '' for shared secrets, so that one unique index serves both visibilities.

CREATE TABLE settings (
  key   TEXT PRIMARY KEY,
  value TEXT NOT NULL
);

CREATE TABLE organizations (
  org        TEXT PRIMARY KEY,
  created_at BIGINT NOT NULL
);

-- Code-running variables that an organization allows explicitly.
CREATE TABLE allowed_variables (
  org        TEXT NOT NULL,
  variable   TEXT NOT NULL,
  allowed_by TEXT NOT NULL,
  allowed_at BIGINT NOT NULL,
  PRIMARY KEY (org, variable)
);

-- Certificate authorities: all that stand here are trusted, the one activated last signs. The key is sealed.
CREATE TABLE authorities (
  id          TEXT PRIMARY KEY,
  certificate BLOB NOT NULL,
  kek_id      TEXT NOT NULL,
  sealed_key  BLOB NOT NULL,
  created_at  BIGINT NOT NULL,
  not_after   BIGINT NOT NULL,
  active_at   BIGINT -- NULL: trusted already, not signing yet
);

CREATE TABLE users (
  org         TEXT NOT NULL,
  name        TEXT NOT NULL,
  role        TEXT NOT NULL,
  created_at  BIGINT NOT NULL,
  created_by  TEXT NOT NULL,
  enrolled_at BIGINT,
  PRIMARY KEY (org, name)
);

CREATE TABLE sessions (
  org                 TEXT NOT NULL,
  id                  TEXT NOT NULL,
  user_name           TEXT NOT NULL, -- '' for automation
  environment         TEXT NOT NULL,
  environment_version BIGINT NOT NULL,
  created_by          TEXT NOT NULL,
  created_at          BIGINT NOT NULL,
  join_expires_at     BIGINT NOT NULL,
  enrolled_at         BIGINT,
  fetched_at          BIGINT,
  content_id          TEXT,
  ended_at            BIGINT,
  revoked             BIGINT NOT NULL DEFAULT 0,
  -- what its agent reported last; all NULL before the first report
  reported_at         BIGINT,
  phase               TEXT,
  installed           TEXT, -- the bundle; '' for none
  memory_rung         TEXT,
  files_rung          TEXT,
  last_error          TEXT,
  last_error_names    BIGINT, -- it may name a secret
  agent_version       TEXT,
  PRIMARY KEY (org, id)
);
CREATE INDEX sessions_newest ON sessions (org, created_at, id);
CREATE INDEX sessions_of_user ON sessions (org, user_name, created_at, id);

-- Only the hash of a join token. Kept for a day after its end, so that a late repeat is told apart from nothing.
CREATE TABLE join_tokens (
  token_hash   BLOB PRIMARY KEY,
  org          TEXT NOT NULL,
  subject_kind TEXT NOT NULL,
  subject_name TEXT NOT NULL,
  expires_at   BIGINT NOT NULL,
  redeemed_key BLOB,   -- SHA-256 of the public key that redeemed it
  redeemed_at  BIGINT
);
CREATE INDEX join_tokens_expiry ON join_tokens (expires_at);

-- Public keys that hold an identity. A certificate is good for as long as its key stands here unrevoked.
CREATE TABLE credentials (
  key_hash     BLOB PRIMARY KEY, -- SHA-256 of the SubjectPublicKeyInfo
  org          TEXT NOT NULL,
  subject_kind TEXT NOT NULL,
  subject_name TEXT NOT NULL,
  created_at   BIGINT NOT NULL,
  renewed_at   BIGINT NOT NULL,
  renewals     BIGINT NOT NULL DEFAULT 0,
  revoked_at   BIGINT
);
CREATE INDEX credentials_of ON credentials (org, subject_kind, subject_name);

CREATE TABLE environments (
  org         TEXT NOT NULL,
  name        TEXT NOT NULL,
  description TEXT NOT NULL,
  version     BIGINT NOT NULL, -- the newest
  created_at  BIGINT NOT NULL,
  PRIMARY KEY (org, name)
);

CREATE TABLE environment_versions (
  org           TEXT NOT NULL,
  name          TEXT NOT NULL,
  version       BIGINT NOT NULL,
  variables     TEXT NOT NULL, -- JSON object, keys in order
  deadline      BIGINT NOT NULL, -- of the boot policy, in seconds; 0 unsaid
  on_failure    TEXT NOT NULL, -- '' unsaid
  created_by    TEXT NOT NULL,
  created_at    BIGINT NOT NULL,
  restored_from BIGINT NOT NULL DEFAULT 0,
  PRIMARY KEY (org, name, version)
);

CREATE TABLE secrets (
  org                 TEXT NOT NULL,
  id                  TEXT NOT NULL,
  name                TEXT NOT NULL,
  variable            TEXT NOT NULL,
  variable_overridden BIGINT NOT NULL,
  owner               TEXT NOT NULL,
  auto_install        BIGINT NOT NULL,
  delivery            TEXT NOT NULL,
  description         TEXT NOT NULL,
  created_by          TEXT NOT NULL,
  created_at          BIGINT NOT NULL,
  updated_at          BIGINT NOT NULL,
  version             TEXT NOT NULL,
  rotated_at          BIGINT NOT NULL,
  size                BIGINT NOT NULL, -- of the value, in bytes
  sequence            BIGINT NOT NULL, -- the audit entry that made this row what it is
  kek_id              TEXT NOT NULL,
  wrapped_key         BLOB NOT NULL,
  ciphertext          BLOB NOT NULL,
  PRIMARY KEY (org, id)
);
CREATE UNIQUE INDEX secrets_by_name ON secrets (org, owner, name);
CREATE UNIQUE INDEX secrets_by_variable ON secrets (org, owner, variable);
CREATE INDEX secrets_installed ON secrets (org, owner, auto_install);
CREATE INDEX secrets_by_key ON secrets (kek_id);

-- Metadata of every version ever; what a deleted secret leaves behind.
CREATE TABLE secret_versions (
  org         TEXT NOT NULL,
  secret_id   TEXT NOT NULL,
  version     TEXT NOT NULL,
  sequence    BIGINT NOT NULL,
  created_by  TEXT NOT NULL,
  created_at  BIGINT NOT NULL,
  replaced_at BIGINT,
  PRIMARY KEY (org, secret_id, version)
);

-- Bytes of auto-installed values by owner ('' = shared): keeps bundles under their limit without counting rows.
CREATE TABLE usage (
  org   TEXT NOT NULL,
  owner TEXT NOT NULL,
  bytes BIGINT NOT NULL,
  PRIMARY KEY (org, owner)
);
CREATE INDEX usage_largest ON usage (org, bytes);

-- A content is a set of secret versions; sessions that get the same share one, so a delivery is one row.
CREATE TABLE contents (
  org TEXT NOT NULL,
  id  TEXT NOT NULL, -- the bundle version
  PRIMARY KEY (org, id)
);
CREATE TABLE content_items (
  org        TEXT NOT NULL,
  content_id TEXT NOT NULL,
  secret_id  TEXT NOT NULL,
  version    TEXT NOT NULL,
  PRIMARY KEY (org, secret_id, version, content_id)
);
CREATE TABLE deliveries (
  org          TEXT NOT NULL,
  sequence     BIGINT NOT NULL, -- of its audit entry
  session_id   TEXT NOT NULL,
  content_id   TEXT NOT NULL,
  delivered_at BIGINT NOT NULL,
  PRIMARY KEY (org, sequence)
);
CREATE INDEX deliveries_of_content ON deliveries (org, content_id, sequence);
CREATE INDEX deliveries_of_session ON deliveries (org, session_id, sequence);

CREATE TABLE audit (
  org      TEXT NOT NULL,
  sequence BIGINT NOT NULL,
  at       BIGINT NOT NULL,
  actor    TEXT NOT NULL,
  action   TEXT NOT NULL,
  target   TEXT NOT NULL,
  outcome  TEXT NOT NULL,
  detail   TEXT NOT NULL, -- JSON object, keys in order
  hash     BLOB NOT NULL,
  PRIMARY KEY (org, sequence)
);
CREATE INDEX audit_of_target ON audit (org, target, outcome, sequence);

-- The end of each chain, authenticated with a key from the keyring.
CREATE TABLE audit_heads (
  org      TEXT PRIMARY KEY,
  sequence BIGINT NOT NULL,
  hash     BLOB NOT NULL,
  kek_id   TEXT NOT NULL,
  mac      BLOB NOT NULL
);
