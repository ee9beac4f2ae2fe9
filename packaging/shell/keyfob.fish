# The VM's secrets in every fish that came without PAM. A session that PAM gave them to keeps those.
if not set -q KEYFOB_SET_BY; and test -r /run/keyfob/env.fish
    source /run/keyfob/env.fish 2>/dev/null
    and set -gx KEYFOB_SET_BY fish
end
