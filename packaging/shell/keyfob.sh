# The VM's secrets in login shells that came without PAM (`bash -lc` in a service): sourced by /etc/profile. A session that
# PAM gave them to keeps those.
if [ -z "${KEYFOB_SET_BY-}" ] && [ -r /run/keyfob/env.sh ]; then
  # `command`, or a shell would end where the file has just gone away; 2>, or `set -x` would print values
  # (mksh's does all the same).
  if command . /run/keyfob/env.sh 2>/dev/null; then
    export KEYFOB_SET_BY=profile
  fi
fi
