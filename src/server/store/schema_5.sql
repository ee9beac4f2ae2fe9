-- Version 5: the console.

-- Links that sign somebody in, once. Only the hash of the token.
CREATE TABLE console_links (
  token_hash BLOB PRIMARY KEY,
  org        TEXT NOT NULL,
  user_name  TEXT NOT NULL,
  expires_at BIGINT NOT NULL
);

-- Who is signed in. Only the hash of what the cookie says.
CREATE TABLE console_sessions (
  token_hash BLOB PRIMARY KEY,
  org        TEXT NOT NULL,
  user_name  TEXT NOT NULL,
  signed_by  TEXT NOT NULL, -- link, oidc
  created_at BIGINT NOT NULL,
  used_at    BIGINT NOT NULL -- exact to a minute
);
CREATE INDEX console_sessions_of ON console_sessions (org, user_name);

-- Which contents are in live sessions.
CREATE INDEX sessions_live ON sessions (org, content_id) WHERE ended_at IS NULL;
