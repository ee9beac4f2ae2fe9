-- Version 3: rollouts, and what agents acknowledged.

ALTER TABLE deliveries ADD COLUMN installed_at BIGINT; -- when its agent acknowledged it
ALTER TABLE sessions ADD COLUMN installed_sequence BIGINT; -- the newest delivery that was acknowledged; only ever grows

CREATE TABLE rollouts (
  org           TEXT NOT NULL,
  id            TEXT NOT NULL,
  sequence      BIGINT NOT NULL, -- of its audit entry; deliveries with a higher one take it in
  reach         TEXT NOT NULL, -- secret, environment, session, all
  target        TEXT NOT NULL, -- an id or a name; '' for all
  max_in_flight BIGINT NOT NULL, -- 0: all at once
  patience      BIGINT NOT NULL, -- in seconds
  created_by    TEXT NOT NULL,
  created_at    BIGINT NOT NULL,
  ended_at      BIGINT, -- when the last session got to its end
  revision      BIGINT NOT NULL, -- grows with every change of a session's state
  PRIMARY KEY (org, id)
);
CREATE INDEX rollouts_newest ON rollouts (org, sequence);
CREATE INDEX rollouts_open ON rollouts (ended_at);

CREATE TABLE rollout_targets (
  org          TEXT NOT NULL,
  rollout_id   TEXT NOT NULL,
  session_id   TEXT NOT NULL,
  sequence     BIGINT NOT NULL, -- the rollout's
  state        TEXT NOT NULL, -- waiting, told, installed, failed, unreachable, ended
  reason       TEXT NOT NULL, -- why it failed
  reason_names BIGINT NOT NULL, -- it may name a secret
  changed_at   BIGINT NOT NULL,
  revision     BIGINT NOT NULL, -- the rollout's, with this change
  PRIMARY KEY (org, rollout_id, session_id)
);
CREATE INDEX rollout_targets_by_state ON rollout_targets (org, rollout_id, state);
CREATE INDEX rollout_targets_changed ON rollout_targets (org, rollout_id, revision);
CREATE INDEX rollout_targets_of_session ON rollout_targets (org, session_id, state);
