#compdef keyfob

autoload -U is-at-least

_keyfob() {
    typeset -A opt_args
    typeset -a _arguments_options
    local ret=1

    if is-at-least 5.2; then
        _arguments_options=(-s -S -C)
    else
        _arguments_options=(-s -C)
    fi

    local context curcontext="$curcontext" state line
    _arguments "${_arguments_options[@]}" : \
'-o+[How to print results]:FORMAT:((table\:"For people"
json\:"For scripts"))' \
'--output=[How to print results]:FORMAT:((table\:"For people"
json\:"For scripts"))' \
'-h[Print help (see more with '\''--help'\'')]' \
'--help[Print help (see more with '\''--help'\'')]' \
'-V[Print version]' \
'--version[Print version]' \
":: :_keyfob_commands" \
"*::: :->keyfob" \
&& ret=0
    case $state in
    (keyfob)
        words=($line[1] "${words[@]}")
        (( CURRENT += 1 ))
        curcontext="${curcontext%:*:*}:keyfob-command-$line[1]:"
        case $line[1] in
            (login)
_arguments "${_arguments_options[@]}" : \
'--join-file=[Read the join string from a file, or from stdin with \`-\`]:FILE:_files' \
'-o+[How to print results]:FORMAT:((table\:"For people"
json\:"For scripts"))' \
'--output=[How to print results]:FORMAT:((table\:"For people"
json\:"For scripts"))' \
'--replace[Replace a login that is still good]' \
'-h[Print help (see more with '\''--help'\'')]' \
'--help[Print help (see more with '\''--help'\'')]' \
&& ret=0
;;
(logout)
_arguments "${_arguments_options[@]}" : \
'-o+[How to print results]:FORMAT:((table\:"For people"
json\:"For scripts"))' \
'--output=[How to print results]:FORMAT:((table\:"For people"
json\:"For scripts"))' \
'-y[Don'\''t ask; needed where there is no terminal to ask at]' \
'--yes[Don'\''t ask; needed where there is no terminal to ask at]' \
'-h[Print help (see more with '\''--help'\'')]' \
'--help[Print help (see more with '\''--help'\'')]' \
&& ret=0
;;
(console)
_arguments "${_arguments_options[@]}" : \
'-o+[How to print results]:FORMAT:((table\:"For people"
json\:"For scripts"))' \
'--output=[How to print results]:FORMAT:((table\:"For people"
json\:"For scripts"))' \
'--no-browser[Print the link and open nothing]' \
'-h[Print help (see more with '\''--help'\'')]' \
'--help[Print help (see more with '\''--help'\'')]' \
&& ret=0
;;
(whoami)
_arguments "${_arguments_options[@]}" : \
'-o+[How to print results]:FORMAT:((table\:"For people"
json\:"For scripts"))' \
'--output=[How to print results]:FORMAT:((table\:"For people"
json\:"For scripts"))' \
'-h[Print help (see more with '\''--help'\'')]' \
'--help[Print help (see more with '\''--help'\'')]' \
&& ret=0
;;
(secret)
_arguments "${_arguments_options[@]}" : \
'-o+[How to print results]:FORMAT:((table\:"For people"
json\:"For scripts"))' \
'--output=[How to print results]:FORMAT:((table\:"For people"
json\:"For scripts"))' \
'-h[Print help (see more with '\''--help'\'')]' \
'--help[Print help (see more with '\''--help'\'')]' \
":: :_keyfob__subcmd__secret_commands" \
"*::: :->secret" \
&& ret=0

    case $state in
    (secret)
        words=($line[1] "${words[@]}")
        (( CURRENT += 1 ))
        curcontext="${curcontext%:*:*}:keyfob-secret-command-$line[1]:"
        case $line[1] in
            (create)
_arguments "${_arguments_options[@]}" : \
'--description=[A note for people]:TEXT:_default' \
'--variable=[A variable to use instead of the one derived from the name]:VARIABLE:_default' \
'--value-file=[Read the value from a file, or from stdin with \`-\`]:FILE:_files' \
'--value=[A value on the command line; refused]:VALUE:_default' \
'-o+[How to print results]:FORMAT:((table\:"For people"
json\:"For scripts"))' \
'--output=[How to print results]:FORMAT:((table\:"For people"
json\:"For scripts"))' \
'--private[Only your own sessions get it]' \
'--shared[Every session of the organization gets it]' \
'--no-auto-install[Keep it in store without installing it in VMs]' \
'--file[Deliver it as a file; the variable holds the file'\''s path]' \
'--trim-newline[Leave out one newline at the end of the value]' \
'-h[Print help (see more with '\''--help'\'')]' \
'--help[Print help (see more with '\''--help'\'')]' \
':name -- 1 to 128 letters, digits, `.`, `_` or `-`:_default' \
&& ret=0
;;
(list)
_arguments "${_arguments_options[@]}" : \
'-o+[How to print results]:FORMAT:((table\:"For people"
json\:"For scripts"))' \
'--output=[How to print results]:FORMAT:((table\:"For people"
json\:"For scripts"))' \
'--private[Only your own sessions get it]' \
'--shared[Every session of the organization gets it]' \
'-h[Print help (see more with '\''--help'\'')]' \
'--help[Print help (see more with '\''--help'\'')]' \
'::query -- Part of a name, variable or description; upper and lower case are alike:_default' \
&& ret=0
;;
(ls)
_arguments "${_arguments_options[@]}" : \
'-o+[How to print results]:FORMAT:((table\:"For people"
json\:"For scripts"))' \
'--output=[How to print results]:FORMAT:((table\:"For people"
json\:"For scripts"))' \
'--private[Only your own sessions get it]' \
'--shared[Every session of the organization gets it]' \
'-h[Print help (see more with '\''--help'\'')]' \
'--help[Print help (see more with '\''--help'\'')]' \
'::query -- Part of a name, variable or description; upper and lower case are alike:_default' \
&& ret=0
;;
(show)
_arguments "${_arguments_options[@]}" : \
'-o+[How to print results]:FORMAT:((table\:"For people"
json\:"For scripts"))' \
'--output=[How to print results]:FORMAT:((table\:"For people"
json\:"For scripts"))' \
'--private[Only your own sessions get it]' \
'--shared[Every session of the organization gets it]' \
'-h[Print help (see more with '\''--help'\'')]' \
'--help[Print help (see more with '\''--help'\'')]' \
':name -- The secret'\''s name:_default' \
&& ret=0
;;
(deliveries)
_arguments "${_arguments_options[@]}" : \
'-o+[How to print results]:FORMAT:((table\:"For people"
json\:"For scripts"))' \
'--output=[How to print results]:FORMAT:((table\:"For people"
json\:"For scripts"))' \
'--private[Only your own sessions get it]' \
'--shared[Every session of the organization gets it]' \
'--live[Only sessions that are alive]' \
'-h[Print help (see more with '\''--help'\'')]' \
'--help[Print help (see more with '\''--help'\'')]' \
':name -- The secret'\''s name:_default' \
&& ret=0
;;
(edit)
_arguments "${_arguments_options[@]}" : \
'--description=[A new note for people; empty removes it]:TEXT:_default' \
'(--derive-variable)--variable=[A new variable]:VARIABLE:_default' \
'--max-in-flight=[Sessions that are told and have not answered, at the most (default\: all at once)]:N:_default' \
'--patience=[Give a session up as unreachable when it has been silent for so long (default\: 120)]:SECONDS:_default' \
'-o+[How to print results]:FORMAT:((table\:"For people"
json\:"For scripts"))' \
'--output=[How to print results]:FORMAT:((table\:"For people"
json\:"For scripts"))' \
'--private[Only your own sessions get it]' \
'--shared[Every session of the organization gets it]' \
'(--no-auto-install)--auto-install[Install it in VMs from their next boot on]' \
'--no-auto-install[Keep it in store without installing it in VMs]' \
'--derive-variable[Derive the variable from the name again]' \
'--push[Push the change into running sessions too]' \
'--wait[Wait until every session is through; fail if one does not have it]' \
'-h[Print help (see more with '\''--help'\'')]' \
'--help[Print help (see more with '\''--help'\'')]' \
':name -- The secret'\''s name:_default' \
&& ret=0
;;
(rotate)
_arguments "${_arguments_options[@]}" : \
'--expect=[Go on only if this is still the current version (default\: the one found when the command starts)]:VERSION:_default' \
'--max-in-flight=[Sessions that are told and have not answered, at the most (default\: all at once)]:N:_default' \
'--patience=[Give a session up as unreachable when it has been silent for so long (default\: 120)]:SECONDS:_default' \
'--value-file=[Read the value from a file, or from stdin with \`-\`]:FILE:_files' \
'--value=[A value on the command line; refused]:VALUE:_default' \
'-o+[How to print results]:FORMAT:((table\:"For people"
json\:"For scripts"))' \
'--output=[How to print results]:FORMAT:((table\:"For people"
json\:"For scripts"))' \
'--private[Only your own sessions get it]' \
'--shared[Every session of the organization gets it]' \
'(--expect)--force[Replace whatever is there, even if it has just changed]' \
'--push[Push the change into running sessions too]' \
'--wait[Wait until every session is through; fail if one does not have it]' \
'--trim-newline[Leave out one newline at the end of the value]' \
'-h[Print help (see more with '\''--help'\'')]' \
'--help[Print help (see more with '\''--help'\'')]' \
':name -- The secret'\''s name:_default' \
&& ret=0
;;
(delete)
_arguments "${_arguments_options[@]}" : \
'--expect=[Go on only if this is still the current version (default\: the one found when the command starts)]:VERSION:_default' \
'--max-in-flight=[Sessions that are told and have not answered, at the most (default\: all at once)]:N:_default' \
'--patience=[Give a session up as unreachable when it has been silent for so long (default\: 120)]:SECONDS:_default' \
'-o+[How to print results]:FORMAT:((table\:"For people"
json\:"For scripts"))' \
'--output=[How to print results]:FORMAT:((table\:"For people"
json\:"For scripts"))' \
'--private[Only your own sessions get it]' \
'--shared[Every session of the organization gets it]' \
'--revoke[Take it out of running sessions'\'' files now, and list those that may still hold it in memory]' \
'--push[Push the change into running sessions too]' \
'--wait[Wait until every session is through; fail if one does not have it]' \
'-y[Don'\''t ask; needed where there is no terminal to ask at]' \
'--yes[Don'\''t ask; needed where there is no terminal to ask at]' \
'-h[Print help (see more with '\''--help'\'')]' \
'--help[Print help (see more with '\''--help'\'')]' \
':name -- The secret'\''s name:_default' \
&& ret=0
;;
(rm)
_arguments "${_arguments_options[@]}" : \
'--expect=[Go on only if this is still the current version (default\: the one found when the command starts)]:VERSION:_default' \
'--max-in-flight=[Sessions that are told and have not answered, at the most (default\: all at once)]:N:_default' \
'--patience=[Give a session up as unreachable when it has been silent for so long (default\: 120)]:SECONDS:_default' \
'-o+[How to print results]:FORMAT:((table\:"For people"
json\:"For scripts"))' \
'--output=[How to print results]:FORMAT:((table\:"For people"
json\:"For scripts"))' \
'--private[Only your own sessions get it]' \
'--shared[Every session of the organization gets it]' \
'--revoke[Take it out of running sessions'\'' files now, and list those that may still hold it in memory]' \
'--push[Push the change into running sessions too]' \
'--wait[Wait until every session is through; fail if one does not have it]' \
'-y[Don'\''t ask; needed where there is no terminal to ask at]' \
'--yes[Don'\''t ask; needed where there is no terminal to ask at]' \
'-h[Print help (see more with '\''--help'\'')]' \
'--help[Print help (see more with '\''--help'\'')]' \
':name -- The secret'\''s name:_default' \
&& ret=0
;;
(import)
_arguments "${_arguments_options[@]}" : \
'-o+[How to print results]:FORMAT:((table\:"For people"
json\:"For scripts"))' \
'--output=[How to print results]:FORMAT:((table\:"For people"
json\:"For scripts"))' \
'--private[Only your own sessions get it]' \
'--shared[Every session of the organization gets it]' \
'--rotate-existing[Save a new version of secrets that exist already, instead of refusing the import]' \
'--no-auto-install[Keep new ones in store without installing them in VMs]' \
'-h[Print help (see more with '\''--help'\'')]' \
'--help[Print help (see more with '\''--help'\'')]' \
':file -- The dotenv file, or `-` for stdin:_files' \
&& ret=0
;;
        esac
    ;;
esac
;;
(push)
_arguments "${_arguments_options[@]}" : \
'--secret=[One secret, to the sessions in which it makes a difference]:NAME:_default' \
'-e+[Everything, to the sessions of one environment]:ENV:_default' \
'--environment=[Everything, to the sessions of one environment]:ENV:_default' \
'--session=[Everything, to one session]:ID:_default' \
'--max-in-flight=[Sessions that are told and have not answered, at the most (default\: all at once)]:N:_default' \
'--patience=[Give a session up as unreachable when it has been silent for so long (default\: 120)]:SECONDS:_default' \
'-o+[How to print results]:FORMAT:((table\:"For people"
json\:"For scripts"))' \
'--output=[How to print results]:FORMAT:((table\:"For people"
json\:"For scripts"))' \
'--all[Everything, to every session]' \
'--private[Only your own sessions get it]' \
'--shared[Every session of the organization gets it]' \
'--wait[Wait until every session is through; fail if one does not have it]' \
'-h[Print help (see more with '\''--help'\'')]' \
'--help[Print help (see more with '\''--help'\'')]' \
&& ret=0
;;
(rollout)
_arguments "${_arguments_options[@]}" : \
'-o+[How to print results]:FORMAT:((table\:"For people"
json\:"For scripts"))' \
'--output=[How to print results]:FORMAT:((table\:"For people"
json\:"For scripts"))' \
'-h[Print help (see more with '\''--help'\'')]' \
'--help[Print help (see more with '\''--help'\'')]' \
":: :_keyfob__subcmd__rollout_commands" \
"*::: :->rollout" \
&& ret=0

    case $state in
    (rollout)
        words=($line[1] "${words[@]}")
        (( CURRENT += 1 ))
        curcontext="${curcontext%:*:*}:keyfob-rollout-command-$line[1]:"
        case $line[1] in
            (list)
_arguments "${_arguments_options[@]}" : \
'-o+[How to print results]:FORMAT:((table\:"For people"
json\:"For scripts"))' \
'--output=[How to print results]:FORMAT:((table\:"For people"
json\:"For scripts"))' \
'-h[Print help (see more with '\''--help'\'')]' \
'--help[Print help (see more with '\''--help'\'')]' \
&& ret=0
;;
(ls)
_arguments "${_arguments_options[@]}" : \
'-o+[How to print results]:FORMAT:((table\:"For people"
json\:"For scripts"))' \
'--output=[How to print results]:FORMAT:((table\:"For people"
json\:"For scripts"))' \
'-h[Print help (see more with '\''--help'\'')]' \
'--help[Print help (see more with '\''--help'\'')]' \
&& ret=0
;;
(show)
_arguments "${_arguments_options[@]}" : \
'-o+[How to print results]:FORMAT:((table\:"For people"
json\:"For scripts"))' \
'--output=[How to print results]:FORMAT:((table\:"For people"
json\:"For scripts"))' \
'--wait[Wait until every session is through; fail if one does not have it]' \
'-h[Print help (see more with '\''--help'\'')]' \
'--help[Print help (see more with '\''--help'\'')]' \
':id -- The rollout'\''s id:_default' \
&& ret=0
;;
        esac
    ;;
esac
;;
(preview)
_arguments "${_arguments_options[@]}" : \
'--as=[Whose session (default\: yours); private secrets of others are never shown]:USER:_default' \
'-e+[The environment]:ENV:_default' \
'--environment=[The environment]:ENV:_default' \
'-o+[How to print results]:FORMAT:((table\:"For people"
json\:"For scripts"))' \
'--output=[How to print results]:FORMAT:((table\:"For people"
json\:"For scripts"))' \
'-h[Print help (see more with '\''--help'\'')]' \
'--help[Print help (see more with '\''--help'\'')]' \
&& ret=0
;;
(leaks)
_arguments "${_arguments_options[@]}" : \
'--secret=[Only of secrets of this name]:NAME:_default' \
'--since=[Only what was printed since then\: how long ago (\`30m\`, \`24h\`, \`7d\`) or when (\`2026-01-31\`, \`2026-01-31T10\:00\:00Z\`)]:WHEN:_default' \
'-o+[How to print results]:FORMAT:((table\:"For people"
json\:"For scripts"))' \
'--output=[How to print results]:FORMAT:((table\:"For people"
json\:"For scripts"))' \
'(--shared)--private[Only of private secrets]' \
'--shared[Only of shared secrets]' \
'-h[Print help (see more with '\''--help'\'')]' \
'--help[Print help (see more with '\''--help'\'')]' \
&& ret=0
;;
(env)
_arguments "${_arguments_options[@]}" : \
'-o+[How to print results]:FORMAT:((table\:"For people"
json\:"For scripts"))' \
'--output=[How to print results]:FORMAT:((table\:"For people"
json\:"For scripts"))' \
'-h[Print help (see more with '\''--help'\'')]' \
'--help[Print help (see more with '\''--help'\'')]' \
":: :_keyfob__subcmd__env_commands" \
"*::: :->env" \
&& ret=0

    case $state in
    (env)
        words=($line[1] "${words[@]}")
        (( CURRENT += 1 ))
        curcontext="${curcontext%:*:*}:keyfob-env-command-$line[1]:"
        case $line[1] in
            (create)
_arguments "${_arguments_options[@]}" : \
'--description=[A note for people]:TEXT:_default' \
'-o+[How to print results]:FORMAT:((table\:"For people"
json\:"For scripts"))' \
'--output=[How to print results]:FORMAT:((table\:"For people"
json\:"For scripts"))' \
'-h[Print help (see more with '\''--help'\'')]' \
'--help[Print help (see more with '\''--help'\'')]' \
':name -- 1 to 64 lower-case letters, digits or `-`:_default' \
&& ret=0
;;
(list)
_arguments "${_arguments_options[@]}" : \
'-o+[How to print results]:FORMAT:((table\:"For people"
json\:"For scripts"))' \
'--output=[How to print results]:FORMAT:((table\:"For people"
json\:"For scripts"))' \
'-h[Print help (see more with '\''--help'\'')]' \
'--help[Print help (see more with '\''--help'\'')]' \
&& ret=0
;;
(ls)
_arguments "${_arguments_options[@]}" : \
'-o+[How to print results]:FORMAT:((table\:"For people"
json\:"For scripts"))' \
'--output=[How to print results]:FORMAT:((table\:"For people"
json\:"For scripts"))' \
'-h[Print help (see more with '\''--help'\'')]' \
'--help[Print help (see more with '\''--help'\'')]' \
&& ret=0
;;
(show)
_arguments "${_arguments_options[@]}" : \
'--version=[An older version]:N:_default' \
'-o+[How to print results]:FORMAT:((table\:"For people"
json\:"For scripts"))' \
'--output=[How to print results]:FORMAT:((table\:"For people"
json\:"For scripts"))' \
'-h[Print help (see more with '\''--help'\'')]' \
'--help[Print help (see more with '\''--help'\'')]' \
':name -- The environment:_default' \
&& ret=0
;;
(set)
_arguments "${_arguments_options[@]}" : \
'--expect=[Go on only if this is still the newest version]:N:_default' \
'-o+[How to print results]:FORMAT:((table\:"For people"
json\:"For scripts"))' \
'--output=[How to print results]:FORMAT:((table\:"For people"
json\:"For scripts"))' \
'-y[Don'\''t ask; needed where there is no terminal to ask at]' \
'--yes[Don'\''t ask; needed where there is no terminal to ask at]' \
'-h[Print help (see more with '\''--help'\'')]' \
'--help[Print help (see more with '\''--help'\'')]' \
':name -- The environment:_default' \
'*::variables -- What to set:_default' \
&& ret=0
;;
(unset)
_arguments "${_arguments_options[@]}" : \
'--expect=[Go on only if this is still the newest version]:N:_default' \
'-o+[How to print results]:FORMAT:((table\:"For people"
json\:"For scripts"))' \
'--output=[How to print results]:FORMAT:((table\:"For people"
json\:"For scripts"))' \
'-h[Print help (see more with '\''--help'\'')]' \
'--help[Print help (see more with '\''--help'\'')]' \
':name -- The environment:_default' \
'*::variables -- What to unset:_default' \
&& ret=0
;;
(boot)
_arguments "${_arguments_options[@]}" : \
'--deadline=[How long the VM waits for its secrets, from the agent'\''s start\: 1 to 3600 (unsaid\: 90)]:SECONDS:_default' \
'--on-failure=[What it does then, or when the control plane refuses (unsaid\: block)]:ON_FAILURE:((block\:"Stay closed\: the agent fails, and what waits for it does not start"
continue\:"Open without secrets, visibly so; the agent goes on trying"))' \
'-o+[How to print results]:FORMAT:((table\:"For people"
json\:"For scripts"))' \
'--output=[How to print results]:FORMAT:((table\:"For people"
json\:"For scripts"))' \
'--unset[Leave unsaid what no other flag says]' \
'-h[Print help (see more with '\''--help'\'')]' \
'--help[Print help (see more with '\''--help'\'')]' \
':name -- The environment:_default' \
&& ret=0
;;
(history)
_arguments "${_arguments_options[@]}" : \
'-o+[How to print results]:FORMAT:((table\:"For people"
json\:"For scripts"))' \
'--output=[How to print results]:FORMAT:((table\:"For people"
json\:"For scripts"))' \
'-h[Print help (see more with '\''--help'\'')]' \
'--help[Print help (see more with '\''--help'\'')]' \
':name -- The environment:_default' \
&& ret=0
;;
(restore)
_arguments "${_arguments_options[@]}" : \
'-o+[How to print results]:FORMAT:((table\:"For people"
json\:"For scripts"))' \
'--output=[How to print results]:FORMAT:((table\:"For people"
json\:"For scripts"))' \
'-h[Print help (see more with '\''--help'\'')]' \
'--help[Print help (see more with '\''--help'\'')]' \
':name -- The environment:_default' \
':version -- The version to go back to:_default' \
&& ret=0
;;
        esac
    ;;
esac
;;
(environment)
_arguments "${_arguments_options[@]}" : \
'-o+[How to print results]:FORMAT:((table\:"For people"
json\:"For scripts"))' \
'--output=[How to print results]:FORMAT:((table\:"For people"
json\:"For scripts"))' \
'-h[Print help (see more with '\''--help'\'')]' \
'--help[Print help (see more with '\''--help'\'')]' \
":: :_keyfob__subcmd__env_commands" \
"*::: :->env" \
&& ret=0

    case $state in
    (env)
        words=($line[1] "${words[@]}")
        (( CURRENT += 1 ))
        curcontext="${curcontext%:*:*}:keyfob-env-command-$line[1]:"
        case $line[1] in
            (create)
_arguments "${_arguments_options[@]}" : \
'--description=[A note for people]:TEXT:_default' \
'-o+[How to print results]:FORMAT:((table\:"For people"
json\:"For scripts"))' \
'--output=[How to print results]:FORMAT:((table\:"For people"
json\:"For scripts"))' \
'-h[Print help (see more with '\''--help'\'')]' \
'--help[Print help (see more with '\''--help'\'')]' \
':name -- 1 to 64 lower-case letters, digits or `-`:_default' \
&& ret=0
;;
(list)
_arguments "${_arguments_options[@]}" : \
'-o+[How to print results]:FORMAT:((table\:"For people"
json\:"For scripts"))' \
'--output=[How to print results]:FORMAT:((table\:"For people"
json\:"For scripts"))' \
'-h[Print help (see more with '\''--help'\'')]' \
'--help[Print help (see more with '\''--help'\'')]' \
&& ret=0
;;
(ls)
_arguments "${_arguments_options[@]}" : \
'-o+[How to print results]:FORMAT:((table\:"For people"
json\:"For scripts"))' \
'--output=[How to print results]:FORMAT:((table\:"For people"
json\:"For scripts"))' \
'-h[Print help (see more with '\''--help'\'')]' \
'--help[Print help (see more with '\''--help'\'')]' \
&& ret=0
;;
(show)
_arguments "${_arguments_options[@]}" : \
'--version=[An older version]:N:_default' \
'-o+[How to print results]:FORMAT:((table\:"For people"
json\:"For scripts"))' \
'--output=[How to print results]:FORMAT:((table\:"For people"
json\:"For scripts"))' \
'-h[Print help (see more with '\''--help'\'')]' \
'--help[Print help (see more with '\''--help'\'')]' \
':name -- The environment:_default' \
&& ret=0
;;
(set)
_arguments "${_arguments_options[@]}" : \
'--expect=[Go on only if this is still the newest version]:N:_default' \
'-o+[How to print results]:FORMAT:((table\:"For people"
json\:"For scripts"))' \
'--output=[How to print results]:FORMAT:((table\:"For people"
json\:"For scripts"))' \
'-y[Don'\''t ask; needed where there is no terminal to ask at]' \
'--yes[Don'\''t ask; needed where there is no terminal to ask at]' \
'-h[Print help (see more with '\''--help'\'')]' \
'--help[Print help (see more with '\''--help'\'')]' \
':name -- The environment:_default' \
'*::variables -- What to set:_default' \
&& ret=0
;;
(unset)
_arguments "${_arguments_options[@]}" : \
'--expect=[Go on only if this is still the newest version]:N:_default' \
'-o+[How to print results]:FORMAT:((table\:"For people"
json\:"For scripts"))' \
'--output=[How to print results]:FORMAT:((table\:"For people"
json\:"For scripts"))' \
'-h[Print help (see more with '\''--help'\'')]' \
'--help[Print help (see more with '\''--help'\'')]' \
':name -- The environment:_default' \
'*::variables -- What to unset:_default' \
&& ret=0
;;
(boot)
_arguments "${_arguments_options[@]}" : \
'--deadline=[How long the VM waits for its secrets, from the agent'\''s start\: 1 to 3600 (unsaid\: 90)]:SECONDS:_default' \
'--on-failure=[What it does then, or when the control plane refuses (unsaid\: block)]:ON_FAILURE:((block\:"Stay closed\: the agent fails, and what waits for it does not start"
continue\:"Open without secrets, visibly so; the agent goes on trying"))' \
'-o+[How to print results]:FORMAT:((table\:"For people"
json\:"For scripts"))' \
'--output=[How to print results]:FORMAT:((table\:"For people"
json\:"For scripts"))' \
'--unset[Leave unsaid what no other flag says]' \
'-h[Print help (see more with '\''--help'\'')]' \
'--help[Print help (see more with '\''--help'\'')]' \
':name -- The environment:_default' \
&& ret=0
;;
(history)
_arguments "${_arguments_options[@]}" : \
'-o+[How to print results]:FORMAT:((table\:"For people"
json\:"For scripts"))' \
'--output=[How to print results]:FORMAT:((table\:"For people"
json\:"For scripts"))' \
'-h[Print help (see more with '\''--help'\'')]' \
'--help[Print help (see more with '\''--help'\'')]' \
':name -- The environment:_default' \
&& ret=0
;;
(restore)
_arguments "${_arguments_options[@]}" : \
'-o+[How to print results]:FORMAT:((table\:"For people"
json\:"For scripts"))' \
'--output=[How to print results]:FORMAT:((table\:"For people"
json\:"For scripts"))' \
'-h[Print help (see more with '\''--help'\'')]' \
'--help[Print help (see more with '\''--help'\'')]' \
':name -- The environment:_default' \
':version -- The version to go back to:_default' \
&& ret=0
;;
        esac
    ;;
esac
;;
(session)
_arguments "${_arguments_options[@]}" : \
'-o+[How to print results]:FORMAT:((table\:"For people"
json\:"For scripts"))' \
'--output=[How to print results]:FORMAT:((table\:"For people"
json\:"For scripts"))' \
'-h[Print help (see more with '\''--help'\'')]' \
'--help[Print help (see more with '\''--help'\'')]' \
":: :_keyfob__subcmd__session_commands" \
"*::: :->session" \
&& ret=0

    case $state in
    (session)
        words=($line[1] "${words[@]}")
        (( CURRENT += 1 ))
        curcontext="${curcontext%:*:*}:keyfob-session-command-$line[1]:"
        case $line[1] in
            (create)
_arguments "${_arguments_options[@]}" : \
'(--automation)--user=[Whose session; it gets this user'\''s private secrets]:USER:_default' \
'-e+[The environment]:ENV:_default' \
'--environment=[The environment]:ENV:_default' \
'--ttl=[How long the join string works]:SECONDS:_default' \
'-o+[How to print results]:FORMAT:((table\:"For people"
json\:"For scripts"))' \
'--output=[How to print results]:FORMAT:((table\:"For people"
json\:"For scripts"))' \
'--automation[Nobody'\''s session\: it gets shared secrets and the environment'\''s variables only]' \
'-h[Print help (see more with '\''--help'\'')]' \
'--help[Print help (see more with '\''--help'\'')]' \
&& ret=0
;;
(list)
_arguments "${_arguments_options[@]}" : \
'--user=[Only this user'\''s]:USER:_default' \
'-e+[Only of this environment]:ENV:_default' \
'--environment=[Only of this environment]:ENV:_default' \
'-o+[How to print results]:FORMAT:((table\:"For people"
json\:"For scripts"))' \
'--output=[How to print results]:FORMAT:((table\:"For people"
json\:"For scripts"))' \
'-a[Also ended, revoked and expired ones]' \
'--all[Also ended, revoked and expired ones]' \
'-h[Print help (see more with '\''--help'\'')]' \
'--help[Print help (see more with '\''--help'\'')]' \
&& ret=0
;;
(ls)
_arguments "${_arguments_options[@]}" : \
'--user=[Only this user'\''s]:USER:_default' \
'-e+[Only of this environment]:ENV:_default' \
'--environment=[Only of this environment]:ENV:_default' \
'-o+[How to print results]:FORMAT:((table\:"For people"
json\:"For scripts"))' \
'--output=[How to print results]:FORMAT:((table\:"For people"
json\:"For scripts"))' \
'-a[Also ended, revoked and expired ones]' \
'--all[Also ended, revoked and expired ones]' \
'-h[Print help (see more with '\''--help'\'')]' \
'--help[Print help (see more with '\''--help'\'')]' \
&& ret=0
;;
(show)
_arguments "${_arguments_options[@]}" : \
'-o+[How to print results]:FORMAT:((table\:"For people"
json\:"For scripts"))' \
'--output=[How to print results]:FORMAT:((table\:"For people"
json\:"For scripts"))' \
'-h[Print help (see more with '\''--help'\'')]' \
'--help[Print help (see more with '\''--help'\'')]' \
':id -- The session'\''s id:_default' \
&& ret=0
;;
(end)
_arguments "${_arguments_options[@]}" : \
'-o+[How to print results]:FORMAT:((table\:"For people"
json\:"For scripts"))' \
'--output=[How to print results]:FORMAT:((table\:"For people"
json\:"For scripts"))' \
'-h[Print help (see more with '\''--help'\'')]' \
'--help[Print help (see more with '\''--help'\'')]' \
':id -- The session'\''s id:_default' \
&& ret=0
;;
(revoke)
_arguments "${_arguments_options[@]}" : \
'-o+[How to print results]:FORMAT:((table\:"For people"
json\:"For scripts"))' \
'--output=[How to print results]:FORMAT:((table\:"For people"
json\:"For scripts"))' \
'-y[Don'\''t ask; needed where there is no terminal to ask at]' \
'--yes[Don'\''t ask; needed where there is no terminal to ask at]' \
'-h[Print help (see more with '\''--help'\'')]' \
'--help[Print help (see more with '\''--help'\'')]' \
':id -- The session'\''s id:_default' \
&& ret=0
;;
        esac
    ;;
esac
;;
(fleet)
_arguments "${_arguments_options[@]}" : \
'-o+[How to print results]:FORMAT:((table\:"For people"
json\:"For scripts"))' \
'--output=[How to print results]:FORMAT:((table\:"For people"
json\:"For scripts"))' \
'-h[Print help (see more with '\''--help'\'')]' \
'--help[Print help (see more with '\''--help'\'')]' \
":: :_keyfob__subcmd__fleet_commands" \
"*::: :->fleet" \
&& ret=0

    case $state in
    (fleet)
        words=($line[1] "${words[@]}")
        (( CURRENT += 1 ))
        curcontext="${curcontext%:*:*}:keyfob-fleet-command-$line[1]:"
        case $line[1] in
            (list)
_arguments "${_arguments_options[@]}" : \
'--user=[Only of this user'\''s sessions]:USER:_default' \
'-e+[Only of this environment]:ENV:_default' \
'--environment=[Only of this environment]:ENV:_default' \
'--phase=[Only in this phase]:PHASE:((enrolling\:"Redeeming its join string"
fetching\:"Fetching its bundle"
ready\:"Files are in place and read back"
degraded\:"Goes on without secrets, or with what it has"
refused\:"Refused by the control plane"
failed\:"Gave up"))' \
'-o+[How to print results]:FORMAT:((table\:"For people"
json\:"For scripts"))' \
'--output=[How to print results]:FORMAT:((table\:"For people"
json\:"For scripts"))' \
'--stale[Only those that have been silent for three beats]' \
'--outdated[Only those whose bundle is not what their session would get now]' \
'--cloned[Only those whose identity was seen at two places]' \
'-h[Print help (see more with '\''--help'\'')]' \
'--help[Print help (see more with '\''--help'\'')]' \
&& ret=0
;;
(ls)
_arguments "${_arguments_options[@]}" : \
'--user=[Only of this user'\''s sessions]:USER:_default' \
'-e+[Only of this environment]:ENV:_default' \
'--environment=[Only of this environment]:ENV:_default' \
'--phase=[Only in this phase]:PHASE:((enrolling\:"Redeeming its join string"
fetching\:"Fetching its bundle"
ready\:"Files are in place and read back"
degraded\:"Goes on without secrets, or with what it has"
refused\:"Refused by the control plane"
failed\:"Gave up"))' \
'-o+[How to print results]:FORMAT:((table\:"For people"
json\:"For scripts"))' \
'--output=[How to print results]:FORMAT:((table\:"For people"
json\:"For scripts"))' \
'--stale[Only those that have been silent for three beats]' \
'--outdated[Only those whose bundle is not what their session would get now]' \
'--cloned[Only those whose identity was seen at two places]' \
'-h[Print help (see more with '\''--help'\'')]' \
'--help[Print help (see more with '\''--help'\'')]' \
&& ret=0
;;
(show)
_arguments "${_arguments_options[@]}" : \
'-o+[How to print results]:FORMAT:((table\:"For people"
json\:"For scripts"))' \
'--output=[How to print results]:FORMAT:((table\:"For people"
json\:"For scripts"))' \
'-h[Print help (see more with '\''--help'\'')]' \
'--help[Print help (see more with '\''--help'\'')]' \
':id -- Its session'\''s id:_default' \
&& ret=0
;;
(watch)
_arguments "${_arguments_options[@]}" : \
'--user=[Only of this user'\''s sessions]:USER:_default' \
'-e+[Only of this environment]:ENV:_default' \
'--environment=[Only of this environment]:ENV:_default' \
'--phase=[Only in this phase]:PHASE:((enrolling\:"Redeeming its join string"
fetching\:"Fetching its bundle"
ready\:"Files are in place and read back"
degraded\:"Goes on without secrets, or with what it has"
refused\:"Refused by the control plane"
failed\:"Gave up"))' \
'-o+[How to print results]:FORMAT:((table\:"For people"
json\:"For scripts"))' \
'--output=[How to print results]:FORMAT:((table\:"For people"
json\:"For scripts"))' \
'--stale[Only those that have been silent for three beats]' \
'--outdated[Only those whose bundle is not what their session would get now]' \
'--cloned[Only those whose identity was seen at two places]' \
'-h[Print help (see more with '\''--help'\'')]' \
'--help[Print help (see more with '\''--help'\'')]' \
&& ret=0
;;
        esac
    ;;
esac
;;
(agent)
_arguments "${_arguments_options[@]}" : \
'-o+[How to print results]:FORMAT:((table\:"For people"
json\:"For scripts"))' \
'--output=[How to print results]:FORMAT:((table\:"For people"
json\:"For scripts"))' \
'-h[Print help (see more with '\''--help'\'')]' \
'--help[Print help (see more with '\''--help'\'')]' \
":: :_keyfob__subcmd__agent_commands" \
"*::: :->agent" \
&& ret=0

    case $state in
    (agent)
        words=($line[1] "${words[@]}")
        (( CURRENT += 1 ))
        curcontext="${curcontext%:*:*}:keyfob-agent-command-$line[1]:"
        case $line[1] in
            (status)
_arguments "${_arguments_options[@]}" : \
'(--address)--socket=[The agent'\''s socket on this machine]:PATH:_files' \
'--address=[An agent'\''s address on the network, HOST\:PORT]:ADDRESS:_default' \
'-o+[How to print results]:FORMAT:((table\:"For people"
json\:"For scripts"))' \
'--output=[How to print results]:FORMAT:((table\:"For people"
json\:"For scripts"))' \
'--watch[Go on showing it after each change]' \
'-h[Print help (see more with '\''--help'\'')]' \
'--help[Print help (see more with '\''--help'\'')]' \
&& ret=0
;;
        esac
    ;;
esac
;;
(user)
_arguments "${_arguments_options[@]}" : \
'-o+[How to print results]:FORMAT:((table\:"For people"
json\:"For scripts"))' \
'--output=[How to print results]:FORMAT:((table\:"For people"
json\:"For scripts"))' \
'-h[Print help (see more with '\''--help'\'')]' \
'--help[Print help (see more with '\''--help'\'')]' \
":: :_keyfob__subcmd__user_commands" \
"*::: :->user" \
&& ret=0

    case $state in
    (user)
        words=($line[1] "${words[@]}")
        (( CURRENT += 1 ))
        curcontext="${curcontext%:*:*}:keyfob-user-command-$line[1]:"
        case $line[1] in
            (invite)
_arguments "${_arguments_options[@]}" : \
'--role=[What they may do (default\: member; for somebody who is there already, the role they have)]:ROLE:((member\:"A person\: own private secrets, shared secrets, own sessions"
admin\:"A person who also manages users, environments, sessions and everyone'\''s shared secrets, and reads the audit log"
orchestrator\:"A machine that boots VMs\: makes and ends sessions"
operator\:"A person or machine that watches sessions and agents"))' \
'--ttl=[How long the join string works]:SECONDS:_default' \
'-o+[How to print results]:FORMAT:((table\:"For people"
json\:"For scripts"))' \
'--output=[How to print results]:FORMAT:((table\:"For people"
json\:"For scripts"))' \
'-h[Print help (see more with '\''--help'\'')]' \
'--help[Print help (see more with '\''--help'\'')]' \
':name -- 1 to 64 lower-case letters, digits, `.`, `_` or `-`:_default' \
&& ret=0
;;
(list)
_arguments "${_arguments_options[@]}" : \
'-o+[How to print results]:FORMAT:((table\:"For people"
json\:"For scripts"))' \
'--output=[How to print results]:FORMAT:((table\:"For people"
json\:"For scripts"))' \
'-h[Print help (see more with '\''--help'\'')]' \
'--help[Print help (see more with '\''--help'\'')]' \
&& ret=0
;;
(ls)
_arguments "${_arguments_options[@]}" : \
'-o+[How to print results]:FORMAT:((table\:"For people"
json\:"For scripts"))' \
'--output=[How to print results]:FORMAT:((table\:"For people"
json\:"For scripts"))' \
'-h[Print help (see more with '\''--help'\'')]' \
'--help[Print help (see more with '\''--help'\'')]' \
&& ret=0
;;
(role)
_arguments "${_arguments_options[@]}" : \
'-o+[How to print results]:FORMAT:((table\:"For people"
json\:"For scripts"))' \
'--output=[How to print results]:FORMAT:((table\:"For people"
json\:"For scripts"))' \
'-h[Print help (see more with '\''--help'\'')]' \
'--help[Print help (see more with '\''--help'\'')]' \
':name -- Who:_default' \
':role -- The new role:((member\:"A person\: own private secrets, shared secrets, own sessions"
admin\:"A person who also manages users, environments, sessions and everyone'\''s shared secrets, and reads the audit log"
orchestrator\:"A machine that boots VMs\: makes and ends sessions"
operator\:"A person or machine that watches sessions and agents"))' \
&& ret=0
;;
(remove)
_arguments "${_arguments_options[@]}" : \
'-o+[How to print results]:FORMAT:((table\:"For people"
json\:"For scripts"))' \
'--output=[How to print results]:FORMAT:((table\:"For people"
json\:"For scripts"))' \
'-y[Don'\''t ask; needed where there is no terminal to ask at]' \
'--yes[Don'\''t ask; needed where there is no terminal to ask at]' \
'-h[Print help (see more with '\''--help'\'')]' \
'--help[Print help (see more with '\''--help'\'')]' \
':name -- Who:_default' \
&& ret=0
;;
(rm)
_arguments "${_arguments_options[@]}" : \
'-o+[How to print results]:FORMAT:((table\:"For people"
json\:"For scripts"))' \
'--output=[How to print results]:FORMAT:((table\:"For people"
json\:"For scripts"))' \
'-y[Don'\''t ask; needed where there is no terminal to ask at]' \
'--yes[Don'\''t ask; needed where there is no terminal to ask at]' \
'-h[Print help (see more with '\''--help'\'')]' \
'--help[Print help (see more with '\''--help'\'')]' \
':name -- Who:_default' \
&& ret=0
;;
        esac
    ;;
esac
;;
(audit)
_arguments "${_arguments_options[@]}" : \
'-o+[How to print results]:FORMAT:((table\:"For people"
json\:"For scripts"))' \
'--output=[How to print results]:FORMAT:((table\:"For people"
json\:"For scripts"))' \
'-h[Print help (see more with '\''--help'\'')]' \
'--help[Print help (see more with '\''--help'\'')]' \
":: :_keyfob__subcmd__audit_commands" \
"*::: :->audit" \
&& ret=0

    case $state in
    (audit)
        words=($line[1] "${words[@]}")
        (( CURRENT += 1 ))
        curcontext="${curcontext%:*:*}:keyfob-audit-command-$line[1]:"
        case $line[1] in
            (list)
_arguments "${_arguments_options[@]}" : \
'--actor=[Only of this actor\: \`user/NAME\`, \`session/ID\`, \`orchestrator/NAME\`, \`server\`]:ACTOR:_default' \
'--action=[Only actions that start so\: \`secret.\`, \`bundle.deliver\`]:PREFIX:_default' \
'--target=[Only of this target\: \`secret/ID\`, \`environment/NAME\`, \`session/ID\`, \`user/NAME\`]:TARGET:_default' \
'(--all)-n+[At most this many]:N:_default' \
'(--all)--limit=[At most this many]:N:_default' \
'-o+[How to print results]:FORMAT:((table\:"For people"
json\:"For scripts"))' \
'--output=[How to print results]:FORMAT:((table\:"For people"
json\:"For scripts"))' \
'--all[Every entry]' \
'--oldest-first[Oldest first]' \
'-h[Print help (see more with '\''--help'\'')]' \
'--help[Print help (see more with '\''--help'\'')]' \
&& ret=0
;;
(ls)
_arguments "${_arguments_options[@]}" : \
'--actor=[Only of this actor\: \`user/NAME\`, \`session/ID\`, \`orchestrator/NAME\`, \`server\`]:ACTOR:_default' \
'--action=[Only actions that start so\: \`secret.\`, \`bundle.deliver\`]:PREFIX:_default' \
'--target=[Only of this target\: \`secret/ID\`, \`environment/NAME\`, \`session/ID\`, \`user/NAME\`]:TARGET:_default' \
'(--all)-n+[At most this many]:N:_default' \
'(--all)--limit=[At most this many]:N:_default' \
'-o+[How to print results]:FORMAT:((table\:"For people"
json\:"For scripts"))' \
'--output=[How to print results]:FORMAT:((table\:"For people"
json\:"For scripts"))' \
'--all[Every entry]' \
'--oldest-first[Oldest first]' \
'-h[Print help (see more with '\''--help'\'')]' \
'--help[Print help (see more with '\''--help'\'')]' \
&& ret=0
;;
(verify)
_arguments "${_arguments_options[@]}" : \
'-o+[How to print results]:FORMAT:((table\:"For people"
json\:"For scripts"))' \
'--output=[How to print results]:FORMAT:((table\:"For people"
json\:"For scripts"))' \
'-h[Print help (see more with '\''--help'\'')]' \
'--help[Print help (see more with '\''--help'\'')]' \
&& ret=0
;;
        esac
    ;;
esac
;;
(completions)
_arguments "${_arguments_options[@]}" : \
'-o+[How to print results]:FORMAT:((table\:"For people"
json\:"For scripts"))' \
'--output=[How to print results]:FORMAT:((table\:"For people"
json\:"For scripts"))' \
'-h[Print help (see more with '\''--help'\'')]' \
'--help[Print help (see more with '\''--help'\'')]' \
':shell -- Which shell:(bash elvish fish powershell zsh)' \
&& ret=0
;;
(demo)
_arguments "${_arguments_options[@]}" : \
'--from=[Take the secrets from a dotenv file instead of asking]:FILE:_files' \
'-o+[How to print results]:FORMAT:((table\:"For people"
json\:"For scripts"))' \
'--output=[How to print results]:FORMAT:((table\:"For people"
json\:"For scripts"))' \
'-h[Print help (see more with '\''--help'\'')]' \
'--help[Print help (see more with '\''--help'\'')]' \
'*::command -- Run this instead of an interactive shell:_default' \
&& ret=0
;;
(man)
_arguments "${_arguments_options[@]}" : \
'-o+[How to print results]:FORMAT:((table\:"For people"
json\:"For scripts"))' \
'--output=[How to print results]:FORMAT:((table\:"For people"
json\:"For scripts"))' \
'-h[Print help (see more with '\''--help'\'')]' \
'--help[Print help (see more with '\''--help'\'')]' \
':dir -- Where to:_files' \
&& ret=0
;;
        esac
    ;;
esac
}

(( $+functions[_keyfob_commands] )) ||
_keyfob_commands() {
    local commands; commands=(
'login:Join an organization with the join string an admin gave you' \
'logout:Remove this machine'\''s key and certificate' \
'console:Open the console, this server'\''s pages for browsers, signed in as you' \
'whoami:Show who you are, as the server sees it' \
'secret:Keep secrets\: create, list, rotate, ...' \
'push:Push saved changes into running sessions' \
'rollout:What was pushed, and how far it has come' \
'preview:Show what a session would get, and why' \
'leaks:Show which secrets were printed in sessions, and masked there' \
'env:Environments\: non-sensitive variables with a version history' \
'environment:Environments\: non-sensitive variables with a version history' \
'session:Sessions\: one for each VM boot' \
'fleet:All agents, in all live sessions\: how they are, what they have installed' \
'agent:One agent, asked itself' \
'user:The people and machines of the organization' \
'audit:The record of every change, delivery and refusal (admins)' \
'completions:Print completions for a shell' \
'demo:Run the whole thing here, once\: a server, a session, an agent, a shell that has the variables' \
'man:Write the manual pages into a directory' \
    )
    _describe -t commands 'keyfob commands' commands "$@"
}
(( $+functions[_keyfob__subcmd__agent_commands] )) ||
_keyfob__subcmd__agent_commands() {
    local commands; commands=(
'status:Show how an agent is, as it says itself; never a value' \
    )
    _describe -t commands 'keyfob agent commands' commands "$@"
}
(( $+functions[_keyfob__subcmd__agent__subcmd__status_commands] )) ||
_keyfob__subcmd__agent__subcmd__status_commands() {
    local commands; commands=()
    _describe -t commands 'keyfob agent status commands' commands "$@"
}
(( $+functions[_keyfob__subcmd__audit_commands] )) ||
_keyfob__subcmd__audit_commands() {
    local commands; commands=(
'list:List entries, newest first' \
'ls:List entries, newest first' \
'verify:Recompute the whole chain; fails and names the first entry that does not fit' \
    )
    _describe -t commands 'keyfob audit commands' commands "$@"
}
(( $+functions[_keyfob__subcmd__audit__subcmd__list_commands] )) ||
_keyfob__subcmd__audit__subcmd__list_commands() {
    local commands; commands=()
    _describe -t commands 'keyfob audit list commands' commands "$@"
}
(( $+functions[_keyfob__subcmd__audit__subcmd__verify_commands] )) ||
_keyfob__subcmd__audit__subcmd__verify_commands() {
    local commands; commands=()
    _describe -t commands 'keyfob audit verify commands' commands "$@"
}
(( $+functions[_keyfob__subcmd__completions_commands] )) ||
_keyfob__subcmd__completions_commands() {
    local commands; commands=()
    _describe -t commands 'keyfob completions commands' commands "$@"
}
(( $+functions[_keyfob__subcmd__console_commands] )) ||
_keyfob__subcmd__console_commands() {
    local commands; commands=()
    _describe -t commands 'keyfob console commands' commands "$@"
}
(( $+functions[_keyfob__subcmd__demo_commands] )) ||
_keyfob__subcmd__demo_commands() {
    local commands; commands=()
    _describe -t commands 'keyfob demo commands' commands "$@"
}
(( $+functions[_keyfob__subcmd__env_commands] )) ||
_keyfob__subcmd__env_commands() {
    local commands; commands=(
'create:Make an environment' \
'list:List environments' \
'ls:List environments' \
'show:Show an environment'\''s variables' \
'set:Set variables; makes one new version' \
'unset:Unset variables; makes one new version' \
'boot:Show or change what a session'\''s VM does when its secrets do not come; a change makes one new version' \
'history:Show who changed what, and when' \
'restore:Make a new version that equals an older one' \
    )
    _describe -t commands 'keyfob env commands' commands "$@"
}
(( $+functions[_keyfob__subcmd__env__subcmd__boot_commands] )) ||
_keyfob__subcmd__env__subcmd__boot_commands() {
    local commands; commands=()
    _describe -t commands 'keyfob env boot commands' commands "$@"
}
(( $+functions[_keyfob__subcmd__env__subcmd__create_commands] )) ||
_keyfob__subcmd__env__subcmd__create_commands() {
    local commands; commands=()
    _describe -t commands 'keyfob env create commands' commands "$@"
}
(( $+functions[_keyfob__subcmd__env__subcmd__history_commands] )) ||
_keyfob__subcmd__env__subcmd__history_commands() {
    local commands; commands=()
    _describe -t commands 'keyfob env history commands' commands "$@"
}
(( $+functions[_keyfob__subcmd__env__subcmd__list_commands] )) ||
_keyfob__subcmd__env__subcmd__list_commands() {
    local commands; commands=()
    _describe -t commands 'keyfob env list commands' commands "$@"
}
(( $+functions[_keyfob__subcmd__env__subcmd__restore_commands] )) ||
_keyfob__subcmd__env__subcmd__restore_commands() {
    local commands; commands=()
    _describe -t commands 'keyfob env restore commands' commands "$@"
}
(( $+functions[_keyfob__subcmd__env__subcmd__set_commands] )) ||
_keyfob__subcmd__env__subcmd__set_commands() {
    local commands; commands=()
    _describe -t commands 'keyfob env set commands' commands "$@"
}
(( $+functions[_keyfob__subcmd__env__subcmd__show_commands] )) ||
_keyfob__subcmd__env__subcmd__show_commands() {
    local commands; commands=()
    _describe -t commands 'keyfob env show commands' commands "$@"
}
(( $+functions[_keyfob__subcmd__env__subcmd__unset_commands] )) ||
_keyfob__subcmd__env__subcmd__unset_commands() {
    local commands; commands=()
    _describe -t commands 'keyfob env unset commands' commands "$@"
}
(( $+functions[_keyfob__subcmd__fleet_commands] )) ||
_keyfob__subcmd__fleet_commands() {
    local commands; commands=(
'list:List agents, those of the newest sessions first' \
'ls:List agents, those of the newest sessions first' \
'show:Show one agent, also of a session that has ended' \
'watch:Show agents as they change, until interrupted' \
    )
    _describe -t commands 'keyfob fleet commands' commands "$@"
}
(( $+functions[_keyfob__subcmd__fleet__subcmd__list_commands] )) ||
_keyfob__subcmd__fleet__subcmd__list_commands() {
    local commands; commands=()
    _describe -t commands 'keyfob fleet list commands' commands "$@"
}
(( $+functions[_keyfob__subcmd__fleet__subcmd__show_commands] )) ||
_keyfob__subcmd__fleet__subcmd__show_commands() {
    local commands; commands=()
    _describe -t commands 'keyfob fleet show commands' commands "$@"
}
(( $+functions[_keyfob__subcmd__fleet__subcmd__watch_commands] )) ||
_keyfob__subcmd__fleet__subcmd__watch_commands() {
    local commands; commands=()
    _describe -t commands 'keyfob fleet watch commands' commands "$@"
}
(( $+functions[_keyfob__subcmd__leaks_commands] )) ||
_keyfob__subcmd__leaks_commands() {
    local commands; commands=()
    _describe -t commands 'keyfob leaks commands' commands "$@"
}
(( $+functions[_keyfob__subcmd__login_commands] )) ||
_keyfob__subcmd__login_commands() {
    local commands; commands=()
    _describe -t commands 'keyfob login commands' commands "$@"
}
(( $+functions[_keyfob__subcmd__logout_commands] )) ||
_keyfob__subcmd__logout_commands() {
    local commands; commands=()
    _describe -t commands 'keyfob logout commands' commands "$@"
}
(( $+functions[_keyfob__subcmd__man_commands] )) ||
_keyfob__subcmd__man_commands() {
    local commands; commands=()
    _describe -t commands 'keyfob man commands' commands "$@"
}
(( $+functions[_keyfob__subcmd__preview_commands] )) ||
_keyfob__subcmd__preview_commands() {
    local commands; commands=()
    _describe -t commands 'keyfob preview commands' commands "$@"
}
(( $+functions[_keyfob__subcmd__push_commands] )) ||
_keyfob__subcmd__push_commands() {
    local commands; commands=()
    _describe -t commands 'keyfob push commands' commands "$@"
}
(( $+functions[_keyfob__subcmd__rollout_commands] )) ||
_keyfob__subcmd__rollout_commands() {
    local commands; commands=(
'list:List rollouts, newest first' \
'ls:List rollouts, newest first' \
'show:Show one rollout\: its sessions and how far they are' \
    )
    _describe -t commands 'keyfob rollout commands' commands "$@"
}
(( $+functions[_keyfob__subcmd__rollout__subcmd__list_commands] )) ||
_keyfob__subcmd__rollout__subcmd__list_commands() {
    local commands; commands=()
    _describe -t commands 'keyfob rollout list commands' commands "$@"
}
(( $+functions[_keyfob__subcmd__rollout__subcmd__show_commands] )) ||
_keyfob__subcmd__rollout__subcmd__show_commands() {
    local commands; commands=()
    _describe -t commands 'keyfob rollout show commands' commands "$@"
}
(( $+functions[_keyfob__subcmd__secret_commands] )) ||
_keyfob__subcmd__secret_commands() {
    local commands; commands=(
'create:Save a new secret' \
'list:List or search secrets' \
'ls:List or search secrets' \
'show:Show one secret\: what it is, its versions, what it overrides, which sessions got it, where it was printed' \
'deliveries:Show which sessions got which version, and whether old ones may still be held somewhere' \
'edit:Change a secret'\''s description, auto-install or variable; not its value' \
'rotate:Save a new value' \
'delete:Remove a secret from later boots, with --revoke from running sessions'\'' files too' \
'rm:Remove a secret from later boots, with --revoke from running sessions'\'' files too' \
'import:Save all variables of a dotenv file as secrets\: all of them or, with every problem told, none' \
    )
    _describe -t commands 'keyfob secret commands' commands "$@"
}
(( $+functions[_keyfob__subcmd__secret__subcmd__create_commands] )) ||
_keyfob__subcmd__secret__subcmd__create_commands() {
    local commands; commands=()
    _describe -t commands 'keyfob secret create commands' commands "$@"
}
(( $+functions[_keyfob__subcmd__secret__subcmd__delete_commands] )) ||
_keyfob__subcmd__secret__subcmd__delete_commands() {
    local commands; commands=()
    _describe -t commands 'keyfob secret delete commands' commands "$@"
}
(( $+functions[_keyfob__subcmd__secret__subcmd__deliveries_commands] )) ||
_keyfob__subcmd__secret__subcmd__deliveries_commands() {
    local commands; commands=()
    _describe -t commands 'keyfob secret deliveries commands' commands "$@"
}
(( $+functions[_keyfob__subcmd__secret__subcmd__edit_commands] )) ||
_keyfob__subcmd__secret__subcmd__edit_commands() {
    local commands; commands=()
    _describe -t commands 'keyfob secret edit commands' commands "$@"
}
(( $+functions[_keyfob__subcmd__secret__subcmd__import_commands] )) ||
_keyfob__subcmd__secret__subcmd__import_commands() {
    local commands; commands=()
    _describe -t commands 'keyfob secret import commands' commands "$@"
}
(( $+functions[_keyfob__subcmd__secret__subcmd__list_commands] )) ||
_keyfob__subcmd__secret__subcmd__list_commands() {
    local commands; commands=()
    _describe -t commands 'keyfob secret list commands' commands "$@"
}
(( $+functions[_keyfob__subcmd__secret__subcmd__rotate_commands] )) ||
_keyfob__subcmd__secret__subcmd__rotate_commands() {
    local commands; commands=()
    _describe -t commands 'keyfob secret rotate commands' commands "$@"
}
(( $+functions[_keyfob__subcmd__secret__subcmd__show_commands] )) ||
_keyfob__subcmd__secret__subcmd__show_commands() {
    local commands; commands=()
    _describe -t commands 'keyfob secret show commands' commands "$@"
}
(( $+functions[_keyfob__subcmd__session_commands] )) ||
_keyfob__subcmd__session_commands() {
    local commands; commands=(
'create:Make a session and print its join string, once' \
'list:List sessions, newest first' \
'ls:List sessions, newest first' \
'show:Show one session' \
'end:End a session\: its VM is gone' \
'revoke:Revoke a session\: its VM is not trusted any more' \
    )
    _describe -t commands 'keyfob session commands' commands "$@"
}
(( $+functions[_keyfob__subcmd__session__subcmd__create_commands] )) ||
_keyfob__subcmd__session__subcmd__create_commands() {
    local commands; commands=()
    _describe -t commands 'keyfob session create commands' commands "$@"
}
(( $+functions[_keyfob__subcmd__session__subcmd__end_commands] )) ||
_keyfob__subcmd__session__subcmd__end_commands() {
    local commands; commands=()
    _describe -t commands 'keyfob session end commands' commands "$@"
}
(( $+functions[_keyfob__subcmd__session__subcmd__list_commands] )) ||
_keyfob__subcmd__session__subcmd__list_commands() {
    local commands; commands=()
    _describe -t commands 'keyfob session list commands' commands "$@"
}
(( $+functions[_keyfob__subcmd__session__subcmd__revoke_commands] )) ||
_keyfob__subcmd__session__subcmd__revoke_commands() {
    local commands; commands=()
    _describe -t commands 'keyfob session revoke commands' commands "$@"
}
(( $+functions[_keyfob__subcmd__session__subcmd__show_commands] )) ||
_keyfob__subcmd__session__subcmd__show_commands() {
    local commands; commands=()
    _describe -t commands 'keyfob session show commands' commands "$@"
}
(( $+functions[_keyfob__subcmd__user_commands] )) ||
_keyfob__subcmd__user_commands() {
    local commands; commands=(
'invite:Add somebody and print their join string, once' \
'list:List everyone' \
'ls:List everyone' \
'role:Make a member an admin, or an admin a member' \
'remove:Remove somebody\: certificates stop working, sessions are revoked, private secrets are destroyed' \
'rm:Remove somebody\: certificates stop working, sessions are revoked, private secrets are destroyed' \
    )
    _describe -t commands 'keyfob user commands' commands "$@"
}
(( $+functions[_keyfob__subcmd__user__subcmd__invite_commands] )) ||
_keyfob__subcmd__user__subcmd__invite_commands() {
    local commands; commands=()
    _describe -t commands 'keyfob user invite commands' commands "$@"
}
(( $+functions[_keyfob__subcmd__user__subcmd__list_commands] )) ||
_keyfob__subcmd__user__subcmd__list_commands() {
    local commands; commands=()
    _describe -t commands 'keyfob user list commands' commands "$@"
}
(( $+functions[_keyfob__subcmd__user__subcmd__remove_commands] )) ||
_keyfob__subcmd__user__subcmd__remove_commands() {
    local commands; commands=()
    _describe -t commands 'keyfob user remove commands' commands "$@"
}
(( $+functions[_keyfob__subcmd__user__subcmd__role_commands] )) ||
_keyfob__subcmd__user__subcmd__role_commands() {
    local commands; commands=()
    _describe -t commands 'keyfob user role commands' commands "$@"
}
(( $+functions[_keyfob__subcmd__whoami_commands] )) ||
_keyfob__subcmd__whoami_commands() {
    local commands; commands=()
    _describe -t commands 'keyfob whoami commands' commands "$@"
}

if [ "$funcstack[1]" = "_keyfob" ]; then
    _keyfob "$@"
else
    compdef _keyfob keyfob
fi
