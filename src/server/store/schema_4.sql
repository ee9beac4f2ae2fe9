-- Version 4: the fleet.

-- What tells a lost answer to a renewal from a clone; NULL for holders who have never said how often they renewed.
ALTER TABLE credentials ADD COLUMN attempt BLOB;

-- Sessions whose identity was seen at two places.
CREATE TABLE clones (
  org        TEXT NOT NULL,
  session_id TEXT NOT NULL,
  seen_at    BIGINT NOT NULL, -- last
  how        TEXT NOT NULL,
  PRIMARY KEY (org, session_id)
);
