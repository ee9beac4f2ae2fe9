#compdef keyfob-server

autoload -U is-at-least

_keyfob-server() {
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
'-h[Print help]' \
'--help[Print help]' \
'-V[Print version]' \
'--version[Print version]' \
":: :_keyfob-server_commands" \
"*::: :->keyfob-server" \
&& ret=0
    case $state in
    (keyfob-server)
        words=($line[1] "${words[@]}")
        (( CURRENT += 1 ))
        curcontext="${curcontext%:*:*}:keyfob-server-command-$line[1]:"
        case $line[1] in
            (init)
_arguments "${_arguments_options[@]}" : \
'--data-dir=[The data directory]:DIR:_files' \
'--keyring=[The keyring \[default\: the systemd credential keyfob.keyring, else DIR/keyring\]]:FILE:_files' \
'--org=[The first organization]:ORG:_default' \
'--admin=[Its first admin]:ADMIN:_default' \
'--address=[Where people reach the server, HOST\:PORT \[default\: the server running on this machine\]]:ADDRESS:_default' \
'--trust-domain=[The SPIFFE trust domain of all identities]:TRUST_DOMAIN:_default' \
'--ca-cert=[A CA certificate of yours (PEM) instead of a new one]:FILE:_files' \
'--ca-key=[Its key (PEM, PKCS #8)]:FILE:_files' \
'-h[Print help]' \
'--help[Print help]' \
&& ret=0
;;
(serve)
_arguments "${_arguments_options[@]}" : \
'--data-dir=[The data directory]:DIR:_files' \
'--keyring=[The keyring \[default\: the systemd credential keyfob.keyring, else DIR/keyring\]]:FILE:_files' \
'--listen=[Where to listen, ADDRESS\:PORT; port 0 takes a free one]:ADDR:PORT:_default' \
'--address=[Where agents and people reach this server, HOST\:PORT; goes into join strings \[default\: where it listens\]]:HOST:PORT:_default' \
'*--name=[A further host name or address for the server'\''s certificate; clients that are not ours look at it]:NAME:_default' \
'--session-certificate-minutes=[Life of sessions'\'' certificates, in minutes]:SESSION_CERTIFICATE_MINUTES:_default' \
'--user-certificate-hours=[Life of users'\'' certificates, in hours; renewed in use]:USER_CERTIFICATE_HOURS:_default' \
'--beat-seconds=[How often agents report how they are, if nothing changes; one that is silent for three times as long is stale]:SECONDS:_default' \
'--metrics-listen=[Hand out Prometheus metrics at http\://ADDR\:PORT/metrics, a loopback address \[default\: none are handed out\]]:ADDR:PORT:_default' \
'--console-listen=[Serve the console, pages for browsers, over HTTPS at ADDRESS\:PORT; port 0 takes a free one \[default\: there is none\]]:ADDR:PORT:_default' \
'--console-address=[Where people reach it, HOST\:PORT; goes into sign-in links \[default\: where it listens\]]:HOST:PORT:_default' \
'--console-cert=[Its certificate chain (PEM), read again every hour \[default\: one issued by the authority of this server\]]:FILE:_files' \
'--console-key=[The key of that (PEM)]:FILE:_files' \
'--oidc-issuer=[Sign in by OpenID Connect at this provider\: its issuer, an https URL]:URL:_default' \
'--oidc-client-id=[This server'\''s client id there; the redirection URI to register is https\://CONSOLE-ADDRESS/signin/callback]:ID:_default' \
'--oidc-client-secret=[A file with the client secret \[default\: the systemd credential keyfob.oidc-secret, if there is one, else none\]]:FILE:_files' \
'--oidc-user-claim=[The claim that is the user'\''s name here; one that people can'\''t choose for themselves]:CLAIM:_default' \
'--oidc-role-claim=[The claim that says the role\: \`admin\` or \`member\`, or a list with one of them. Users are then made and changed by it at sign-in \[default\: users are those who were invited\]]:CLAIM:_default' \
'--oidc-org=[The organization of the provider'\''s users \[default\: the only one\]]:ORG:_default' \
'*--oidc-scope=[What to ask the provider for, besides \`openid\`]:SCOPE:_default' \
'--oidc-ca=[Authorities (PEM) of the provider'\''s certificate \[default\: this machine'\''s\]]:FILE:_files' \
'--max-connections=[Connections at the most, in all]:MAX_CONNECTIONS:_default' \
'--max-connections-per-address=[Connections at the most from one address]:MAX_CONNECTIONS_PER_ADDRESS:_default' \
'-h[Print help]' \
'--help[Print help]' \
&& ret=0
;;
(org)
_arguments "${_arguments_options[@]}" : \
'-h[Print help]' \
'--help[Print help]' \
":: :_keyfob-server__subcmd__org_commands" \
"*::: :->org" \
&& ret=0

    case $state in
    (org)
        words=($line[1] "${words[@]}")
        (( CURRENT += 1 ))
        curcontext="${curcontext%:*:*}:keyfob-server-org-command-$line[1]:"
        case $line[1] in
            (create)
_arguments "${_arguments_options[@]}" : \
'--data-dir=[The data directory]:DIR:_files' \
'--keyring=[The keyring \[default\: the systemd credential keyfob.keyring, else DIR/keyring\]]:FILE:_files' \
'--admin=[Its first admin]:ADMIN:_default' \
'--address=[Where people reach the server, HOST\:PORT \[default\: the server running on this machine\]]:ADDRESS:_default' \
'-h[Print help]' \
'--help[Print help]' \
':org -- The organization:_default' \
&& ret=0
;;
(allow)
_arguments "${_arguments_options[@]}" : \
'--data-dir=[The data directory]:DIR:_files' \
'--keyring=[The keyring \[default\: the systemd credential keyfob.keyring, else DIR/keyring\]]:FILE:_files' \
'--remove[Take the allowance back]' \
'-h[Print help]' \
'--help[Print help]' \
':org -- The organization:_default' \
':variable -- The variable:_default' \
&& ret=0
;;
(help)
_arguments "${_arguments_options[@]}" : \
":: :_keyfob-server__subcmd__org__subcmd__help_commands" \
"*::: :->help" \
&& ret=0

    case $state in
    (help)
        words=($line[1] "${words[@]}")
        (( CURRENT += 1 ))
        curcontext="${curcontext%:*:*}:keyfob-server-org-help-command-$line[1]:"
        case $line[1] in
            (create)
_arguments "${_arguments_options[@]}" : \
&& ret=0
;;
(allow)
_arguments "${_arguments_options[@]}" : \
&& ret=0
;;
(help)
_arguments "${_arguments_options[@]}" : \
&& ret=0
;;
        esac
    ;;
esac
;;
        esac
    ;;
esac
;;
(join)
_arguments "${_arguments_options[@]}" : \
'--data-dir=[The data directory]:DIR:_files' \
'--keyring=[The keyring \[default\: the systemd credential keyfob.keyring, else DIR/keyring\]]:FILE:_files' \
'--org=[The user'\''s organization]:ORG:_default' \
'--user=[The user]:USER:_default' \
'--address=[Where people reach the server, HOST\:PORT \[default\: the server running on this machine\]]:ADDRESS:_default' \
'-h[Print help]' \
'--help[Print help]' \
&& ret=0
;;
(ca)
_arguments "${_arguments_options[@]}" : \
'-h[Print help]' \
'--help[Print help]' \
":: :_keyfob-server__subcmd__ca_commands" \
"*::: :->ca" \
&& ret=0

    case $state in
    (ca)
        words=($line[1] "${words[@]}")
        (( CURRENT += 1 ))
        curcontext="${curcontext%:*:*}:keyfob-server-ca-command-$line[1]:"
        case $line[1] in
            (list)
_arguments "${_arguments_options[@]}" : \
'--data-dir=[The data directory]:DIR:_files' \
'--keyring=[The keyring \[default\: the systemd credential keyfob.keyring, else DIR/keyring\]]:FILE:_files' \
'-h[Print help]' \
'--help[Print help]' \
&& ret=0
;;
(export)
_arguments "${_arguments_options[@]}" : \
'--data-dir=[The data directory]:DIR:_files' \
'--keyring=[The keyring \[default\: the systemd credential keyfob.keyring, else DIR/keyring\]]:FILE:_files' \
'-h[Print help]' \
'--help[Print help]' \
&& ret=0
;;
(add)
_arguments "${_arguments_options[@]}" : \
'--data-dir=[The data directory]:DIR:_files' \
'--keyring=[The keyring \[default\: the systemd credential keyfob.keyring, else DIR/keyring\]]:FILE:_files' \
'--ca-cert=[A CA certificate of yours (PEM) instead of a new one]:FILE:_files' \
'--ca-key=[Its key (PEM, PKCS #8)]:FILE:_files' \
'-h[Print help]' \
'--help[Print help]' \
&& ret=0
;;
(activate)
_arguments "${_arguments_options[@]}" : \
'--data-dir=[The data directory]:DIR:_files' \
'--keyring=[The keyring \[default\: the systemd credential keyfob.keyring, else DIR/keyring\]]:FILE:_files' \
'-h[Print help]' \
'--help[Print help]' \
':id -- Its id:_default' \
&& ret=0
;;
(help)
_arguments "${_arguments_options[@]}" : \
":: :_keyfob-server__subcmd__ca__subcmd__help_commands" \
"*::: :->help" \
&& ret=0

    case $state in
    (help)
        words=($line[1] "${words[@]}")
        (( CURRENT += 1 ))
        curcontext="${curcontext%:*:*}:keyfob-server-ca-help-command-$line[1]:"
        case $line[1] in
            (list)
_arguments "${_arguments_options[@]}" : \
&& ret=0
;;
(export)
_arguments "${_arguments_options[@]}" : \
&& ret=0
;;
(add)
_arguments "${_arguments_options[@]}" : \
&& ret=0
;;
(activate)
_arguments "${_arguments_options[@]}" : \
&& ret=0
;;
(help)
_arguments "${_arguments_options[@]}" : \
&& ret=0
;;
        esac
    ;;
esac
;;
        esac
    ;;
esac
;;
(keyring)
_arguments "${_arguments_options[@]}" : \
'-h[Print help]' \
'--help[Print help]' \
":: :_keyfob-server__subcmd__keyring_commands" \
"*::: :->keyring" \
&& ret=0

    case $state in
    (keyring)
        words=($line[1] "${words[@]}")
        (( CURRENT += 1 ))
        curcontext="${curcontext%:*:*}:keyfob-server-keyring-command-$line[1]:"
        case $line[1] in
            (add)
_arguments "${_arguments_options[@]}" : \
'--data-dir=[The data directory]:DIR:_files' \
'--keyring=[The keyring \[default\: the systemd credential keyfob.keyring, else DIR/keyring\]]:FILE:_files' \
'-h[Print help]' \
'--help[Print help]' \
&& ret=0
;;
(list)
_arguments "${_arguments_options[@]}" : \
'--data-dir=[The data directory]:DIR:_files' \
'--keyring=[The keyring \[default\: the systemd credential keyfob.keyring, else DIR/keyring\]]:FILE:_files' \
'-h[Print help]' \
'--help[Print help]' \
&& ret=0
;;
(help)
_arguments "${_arguments_options[@]}" : \
":: :_keyfob-server__subcmd__keyring__subcmd__help_commands" \
"*::: :->help" \
&& ret=0

    case $state in
    (help)
        words=($line[1] "${words[@]}")
        (( CURRENT += 1 ))
        curcontext="${curcontext%:*:*}:keyfob-server-keyring-help-command-$line[1]:"
        case $line[1] in
            (add)
_arguments "${_arguments_options[@]}" : \
&& ret=0
;;
(list)
_arguments "${_arguments_options[@]}" : \
&& ret=0
;;
(help)
_arguments "${_arguments_options[@]}" : \
&& ret=0
;;
        esac
    ;;
esac
;;
        esac
    ;;
esac
;;
(rewrap)
_arguments "${_arguments_options[@]}" : \
'--data-dir=[The data directory]:DIR:_files' \
'--keyring=[The keyring \[default\: the systemd credential keyfob.keyring, else DIR/keyring\]]:FILE:_files' \
'-h[Print help]' \
'--help[Print help]' \
&& ret=0
;;
(backup)
_arguments "${_arguments_options[@]}" : \
'--data-dir=[The data directory]:DIR:_files' \
'--keyring=[The keyring \[default\: the systemd credential keyfob.keyring, else DIR/keyring\]]:FILE:_files' \
'-h[Print help]' \
'--help[Print help]' \
':file -- The file to write; must not exist:_files' \
&& ret=0
;;
(help)
_arguments "${_arguments_options[@]}" : \
":: :_keyfob-server__subcmd__help_commands" \
"*::: :->help" \
&& ret=0

    case $state in
    (help)
        words=($line[1] "${words[@]}")
        (( CURRENT += 1 ))
        curcontext="${curcontext%:*:*}:keyfob-server-help-command-$line[1]:"
        case $line[1] in
            (init)
_arguments "${_arguments_options[@]}" : \
&& ret=0
;;
(serve)
_arguments "${_arguments_options[@]}" : \
&& ret=0
;;
(org)
_arguments "${_arguments_options[@]}" : \
":: :_keyfob-server__subcmd__help__subcmd__org_commands" \
"*::: :->org" \
&& ret=0

    case $state in
    (org)
        words=($line[1] "${words[@]}")
        (( CURRENT += 1 ))
        curcontext="${curcontext%:*:*}:keyfob-server-help-org-command-$line[1]:"
        case $line[1] in
            (create)
_arguments "${_arguments_options[@]}" : \
&& ret=0
;;
(allow)
_arguments "${_arguments_options[@]}" : \
&& ret=0
;;
        esac
    ;;
esac
;;
(join)
_arguments "${_arguments_options[@]}" : \
&& ret=0
;;
(ca)
_arguments "${_arguments_options[@]}" : \
":: :_keyfob-server__subcmd__help__subcmd__ca_commands" \
"*::: :->ca" \
&& ret=0

    case $state in
    (ca)
        words=($line[1] "${words[@]}")
        (( CURRENT += 1 ))
        curcontext="${curcontext%:*:*}:keyfob-server-help-ca-command-$line[1]:"
        case $line[1] in
            (list)
_arguments "${_arguments_options[@]}" : \
&& ret=0
;;
(export)
_arguments "${_arguments_options[@]}" : \
&& ret=0
;;
(add)
_arguments "${_arguments_options[@]}" : \
&& ret=0
;;
(activate)
_arguments "${_arguments_options[@]}" : \
&& ret=0
;;
        esac
    ;;
esac
;;
(keyring)
_arguments "${_arguments_options[@]}" : \
":: :_keyfob-server__subcmd__help__subcmd__keyring_commands" \
"*::: :->keyring" \
&& ret=0

    case $state in
    (keyring)
        words=($line[1] "${words[@]}")
        (( CURRENT += 1 ))
        curcontext="${curcontext%:*:*}:keyfob-server-help-keyring-command-$line[1]:"
        case $line[1] in
            (add)
_arguments "${_arguments_options[@]}" : \
&& ret=0
;;
(list)
_arguments "${_arguments_options[@]}" : \
&& ret=0
;;
        esac
    ;;
esac
;;
(rewrap)
_arguments "${_arguments_options[@]}" : \
&& ret=0
;;
(backup)
_arguments "${_arguments_options[@]}" : \
&& ret=0
;;
(help)
_arguments "${_arguments_options[@]}" : \
&& ret=0
;;
        esac
    ;;
esac
;;
        esac
    ;;
esac
}

(( $+functions[_keyfob-server_commands] )) ||
_keyfob-server_commands() {
    local commands; commands=(
'init:Make a data directory with its keyring, authority, first organization and admin; print the admin'\''s join string' \
'serve:Serve a data directory' \
'org:Organizations' \
'join:Print a new join string for a user who is there already (a lost or expired one)' \
'ca:The certificate authority' \
'keyring:The keys that encrypt what is at rest' \
'rewrap:Move everything at rest to the newest key of the keyring; no value is touched' \
'backup:Write a consistent copy of the database, also while the server runs (the keyring is not in it)' \
'help:Print this message or the help of the given subcommand(s)' \
    )
    _describe -t commands 'keyfob-server commands' commands "$@"
}
(( $+functions[_keyfob-server__subcmd__backup_commands] )) ||
_keyfob-server__subcmd__backup_commands() {
    local commands; commands=()
    _describe -t commands 'keyfob-server backup commands' commands "$@"
}
(( $+functions[_keyfob-server__subcmd__ca_commands] )) ||
_keyfob-server__subcmd__ca_commands() {
    local commands; commands=(
'list:Show the authorities, the signing one first' \
'export:Print the trusted certificates as PEM, for clients that are not ours' \
'add:Add an authority\: trusted from the server'\''s next start, signing once activated' \
'activate:Let an authority sign from the server'\''s next start; give everybody time to renew after \`add\`' \
'help:Print this message or the help of the given subcommand(s)' \
    )
    _describe -t commands 'keyfob-server ca commands' commands "$@"
}
(( $+functions[_keyfob-server__subcmd__ca__subcmd__activate_commands] )) ||
_keyfob-server__subcmd__ca__subcmd__activate_commands() {
    local commands; commands=()
    _describe -t commands 'keyfob-server ca activate commands' commands "$@"
}
(( $+functions[_keyfob-server__subcmd__ca__subcmd__add_commands] )) ||
_keyfob-server__subcmd__ca__subcmd__add_commands() {
    local commands; commands=()
    _describe -t commands 'keyfob-server ca add commands' commands "$@"
}
(( $+functions[_keyfob-server__subcmd__ca__subcmd__export_commands] )) ||
_keyfob-server__subcmd__ca__subcmd__export_commands() {
    local commands; commands=()
    _describe -t commands 'keyfob-server ca export commands' commands "$@"
}
(( $+functions[_keyfob-server__subcmd__ca__subcmd__help_commands] )) ||
_keyfob-server__subcmd__ca__subcmd__help_commands() {
    local commands; commands=(
'list:Show the authorities, the signing one first' \
'export:Print the trusted certificates as PEM, for clients that are not ours' \
'add:Add an authority\: trusted from the server'\''s next start, signing once activated' \
'activate:Let an authority sign from the server'\''s next start; give everybody time to renew after \`add\`' \
'help:Print this message or the help of the given subcommand(s)' \
    )
    _describe -t commands 'keyfob-server ca help commands' commands "$@"
}
(( $+functions[_keyfob-server__subcmd__ca__subcmd__help__subcmd__activate_commands] )) ||
_keyfob-server__subcmd__ca__subcmd__help__subcmd__activate_commands() {
    local commands; commands=()
    _describe -t commands 'keyfob-server ca help activate commands' commands "$@"
}
(( $+functions[_keyfob-server__subcmd__ca__subcmd__help__subcmd__add_commands] )) ||
_keyfob-server__subcmd__ca__subcmd__help__subcmd__add_commands() {
    local commands; commands=()
    _describe -t commands 'keyfob-server ca help add commands' commands "$@"
}
(( $+functions[_keyfob-server__subcmd__ca__subcmd__help__subcmd__export_commands] )) ||
_keyfob-server__subcmd__ca__subcmd__help__subcmd__export_commands() {
    local commands; commands=()
    _describe -t commands 'keyfob-server ca help export commands' commands "$@"
}
(( $+functions[_keyfob-server__subcmd__ca__subcmd__help__subcmd__help_commands] )) ||
_keyfob-server__subcmd__ca__subcmd__help__subcmd__help_commands() {
    local commands; commands=()
    _describe -t commands 'keyfob-server ca help help commands' commands "$@"
}
(( $+functions[_keyfob-server__subcmd__ca__subcmd__help__subcmd__list_commands] )) ||
_keyfob-server__subcmd__ca__subcmd__help__subcmd__list_commands() {
    local commands; commands=()
    _describe -t commands 'keyfob-server ca help list commands' commands "$@"
}
(( $+functions[_keyfob-server__subcmd__ca__subcmd__list_commands] )) ||
_keyfob-server__subcmd__ca__subcmd__list_commands() {
    local commands; commands=()
    _describe -t commands 'keyfob-server ca list commands' commands "$@"
}
(( $+functions[_keyfob-server__subcmd__help_commands] )) ||
_keyfob-server__subcmd__help_commands() {
    local commands; commands=(
'init:Make a data directory with its keyring, authority, first organization and admin; print the admin'\''s join string' \
'serve:Serve a data directory' \
'org:Organizations' \
'join:Print a new join string for a user who is there already (a lost or expired one)' \
'ca:The certificate authority' \
'keyring:The keys that encrypt what is at rest' \
'rewrap:Move everything at rest to the newest key of the keyring; no value is touched' \
'backup:Write a consistent copy of the database, also while the server runs (the keyring is not in it)' \
'help:Print this message or the help of the given subcommand(s)' \
    )
    _describe -t commands 'keyfob-server help commands' commands "$@"
}
(( $+functions[_keyfob-server__subcmd__help__subcmd__backup_commands] )) ||
_keyfob-server__subcmd__help__subcmd__backup_commands() {
    local commands; commands=()
    _describe -t commands 'keyfob-server help backup commands' commands "$@"
}
(( $+functions[_keyfob-server__subcmd__help__subcmd__ca_commands] )) ||
_keyfob-server__subcmd__help__subcmd__ca_commands() {
    local commands; commands=(
'list:Show the authorities, the signing one first' \
'export:Print the trusted certificates as PEM, for clients that are not ours' \
'add:Add an authority\: trusted from the server'\''s next start, signing once activated' \
'activate:Let an authority sign from the server'\''s next start; give everybody time to renew after \`add\`' \
    )
    _describe -t commands 'keyfob-server help ca commands' commands "$@"
}
(( $+functions[_keyfob-server__subcmd__help__subcmd__ca__subcmd__activate_commands] )) ||
_keyfob-server__subcmd__help__subcmd__ca__subcmd__activate_commands() {
    local commands; commands=()
    _describe -t commands 'keyfob-server help ca activate commands' commands "$@"
}
(( $+functions[_keyfob-server__subcmd__help__subcmd__ca__subcmd__add_commands] )) ||
_keyfob-server__subcmd__help__subcmd__ca__subcmd__add_commands() {
    local commands; commands=()
    _describe -t commands 'keyfob-server help ca add commands' commands "$@"
}
(( $+functions[_keyfob-server__subcmd__help__subcmd__ca__subcmd__export_commands] )) ||
_keyfob-server__subcmd__help__subcmd__ca__subcmd__export_commands() {
    local commands; commands=()
    _describe -t commands 'keyfob-server help ca export commands' commands "$@"
}
(( $+functions[_keyfob-server__subcmd__help__subcmd__ca__subcmd__list_commands] )) ||
_keyfob-server__subcmd__help__subcmd__ca__subcmd__list_commands() {
    local commands; commands=()
    _describe -t commands 'keyfob-server help ca list commands' commands "$@"
}
(( $+functions[_keyfob-server__subcmd__help__subcmd__help_commands] )) ||
_keyfob-server__subcmd__help__subcmd__help_commands() {
    local commands; commands=()
    _describe -t commands 'keyfob-server help help commands' commands "$@"
}
(( $+functions[_keyfob-server__subcmd__help__subcmd__init_commands] )) ||
_keyfob-server__subcmd__help__subcmd__init_commands() {
    local commands; commands=()
    _describe -t commands 'keyfob-server help init commands' commands "$@"
}
(( $+functions[_keyfob-server__subcmd__help__subcmd__join_commands] )) ||
_keyfob-server__subcmd__help__subcmd__join_commands() {
    local commands; commands=()
    _describe -t commands 'keyfob-server help join commands' commands "$@"
}
(( $+functions[_keyfob-server__subcmd__help__subcmd__keyring_commands] )) ||
_keyfob-server__subcmd__help__subcmd__keyring_commands() {
    local commands; commands=(
'add:Add a fresh key; a running server picks it up when it meets it, or at its next start' \
'list:Show the keys'\'' names and how many secrets hang on each' \
    )
    _describe -t commands 'keyfob-server help keyring commands' commands "$@"
}
(( $+functions[_keyfob-server__subcmd__help__subcmd__keyring__subcmd__add_commands] )) ||
_keyfob-server__subcmd__help__subcmd__keyring__subcmd__add_commands() {
    local commands; commands=()
    _describe -t commands 'keyfob-server help keyring add commands' commands "$@"
}
(( $+functions[_keyfob-server__subcmd__help__subcmd__keyring__subcmd__list_commands] )) ||
_keyfob-server__subcmd__help__subcmd__keyring__subcmd__list_commands() {
    local commands; commands=()
    _describe -t commands 'keyfob-server help keyring list commands' commands "$@"
}
(( $+functions[_keyfob-server__subcmd__help__subcmd__org_commands] )) ||
_keyfob-server__subcmd__help__subcmd__org_commands() {
    local commands; commands=(
'create:Make another organization and its first admin; print the admin'\''s join string' \
'allow:Allow a reserved variable that makes programs run code (LD_PRELOAD, NODE_OPTIONS, ...); audited' \
    )
    _describe -t commands 'keyfob-server help org commands' commands "$@"
}
(( $+functions[_keyfob-server__subcmd__help__subcmd__org__subcmd__allow_commands] )) ||
_keyfob-server__subcmd__help__subcmd__org__subcmd__allow_commands() {
    local commands; commands=()
    _describe -t commands 'keyfob-server help org allow commands' commands "$@"
}
(( $+functions[_keyfob-server__subcmd__help__subcmd__org__subcmd__create_commands] )) ||
_keyfob-server__subcmd__help__subcmd__org__subcmd__create_commands() {
    local commands; commands=()
    _describe -t commands 'keyfob-server help org create commands' commands "$@"
}
(( $+functions[_keyfob-server__subcmd__help__subcmd__rewrap_commands] )) ||
_keyfob-server__subcmd__help__subcmd__rewrap_commands() {
    local commands; commands=()
    _describe -t commands 'keyfob-server help rewrap commands' commands "$@"
}
(( $+functions[_keyfob-server__subcmd__help__subcmd__serve_commands] )) ||
_keyfob-server__subcmd__help__subcmd__serve_commands() {
    local commands; commands=()
    _describe -t commands 'keyfob-server help serve commands' commands "$@"
}
(( $+functions[_keyfob-server__subcmd__init_commands] )) ||
_keyfob-server__subcmd__init_commands() {
    local commands; commands=()
    _describe -t commands 'keyfob-server init commands' commands "$@"
}
(( $+functions[_keyfob-server__subcmd__join_commands] )) ||
_keyfob-server__subcmd__join_commands() {
    local commands; commands=()
    _describe -t commands 'keyfob-server join commands' commands "$@"
}
(( $+functions[_keyfob-server__subcmd__keyring_commands] )) ||
_keyfob-server__subcmd__keyring_commands() {
    local commands; commands=(
'add:Add a fresh key; a running server picks it up when it meets it, or at its next start' \
'list:Show the keys'\'' names and how many secrets hang on each' \
'help:Print this message or the help of the given subcommand(s)' \
    )
    _describe -t commands 'keyfob-server keyring commands' commands "$@"
}
(( $+functions[_keyfob-server__subcmd__keyring__subcmd__add_commands] )) ||
_keyfob-server__subcmd__keyring__subcmd__add_commands() {
    local commands; commands=()
    _describe -t commands 'keyfob-server keyring add commands' commands "$@"
}
(( $+functions[_keyfob-server__subcmd__keyring__subcmd__help_commands] )) ||
_keyfob-server__subcmd__keyring__subcmd__help_commands() {
    local commands; commands=(
'add:Add a fresh key; a running server picks it up when it meets it, or at its next start' \
'list:Show the keys'\'' names and how many secrets hang on each' \
'help:Print this message or the help of the given subcommand(s)' \
    )
    _describe -t commands 'keyfob-server keyring help commands' commands "$@"
}
(( $+functions[_keyfob-server__subcmd__keyring__subcmd__help__subcmd__add_commands] )) ||
_keyfob-server__subcmd__keyring__subcmd__help__subcmd__add_commands() {
    local commands; commands=()
    _describe -t commands 'keyfob-server keyring help add commands' commands "$@"
}
(( $+functions[_keyfob-server__subcmd__keyring__subcmd__help__subcmd__help_commands] )) ||
_keyfob-server__subcmd__keyring__subcmd__help__subcmd__help_commands() {
    local commands; commands=()
    _describe -t commands 'keyfob-server keyring help help commands' commands "$@"
}
(( $+functions[_keyfob-server__subcmd__keyring__subcmd__help__subcmd__list_commands] )) ||
_keyfob-server__subcmd__keyring__subcmd__help__subcmd__list_commands() {
    local commands; commands=()
    _describe -t commands 'keyfob-server keyring help list commands' commands "$@"
}
(( $+functions[_keyfob-server__subcmd__keyring__subcmd__list_commands] )) ||
_keyfob-server__subcmd__keyring__subcmd__list_commands() {
    local commands; commands=()
    _describe -t commands 'keyfob-server keyring list commands' commands "$@"
}
(( $+functions[_keyfob-server__subcmd__org_commands] )) ||
_keyfob-server__subcmd__org_commands() {
    local commands; commands=(
'create:Make another organization and its first admin; print the admin'\''s join string' \
'allow:Allow a reserved variable that makes programs run code (LD_PRELOAD, NODE_OPTIONS, ...); audited' \
'help:Print this message or the help of the given subcommand(s)' \
    )
    _describe -t commands 'keyfob-server org commands' commands "$@"
}
(( $+functions[_keyfob-server__subcmd__org__subcmd__allow_commands] )) ||
_keyfob-server__subcmd__org__subcmd__allow_commands() {
    local commands; commands=()
    _describe -t commands 'keyfob-server org allow commands' commands "$@"
}
(( $+functions[_keyfob-server__subcmd__org__subcmd__create_commands] )) ||
_keyfob-server__subcmd__org__subcmd__create_commands() {
    local commands; commands=()
    _describe -t commands 'keyfob-server org create commands' commands "$@"
}
(( $+functions[_keyfob-server__subcmd__org__subcmd__help_commands] )) ||
_keyfob-server__subcmd__org__subcmd__help_commands() {
    local commands; commands=(
'create:Make another organization and its first admin; print the admin'\''s join string' \
'allow:Allow a reserved variable that makes programs run code (LD_PRELOAD, NODE_OPTIONS, ...); audited' \
'help:Print this message or the help of the given subcommand(s)' \
    )
    _describe -t commands 'keyfob-server org help commands' commands "$@"
}
(( $+functions[_keyfob-server__subcmd__org__subcmd__help__subcmd__allow_commands] )) ||
_keyfob-server__subcmd__org__subcmd__help__subcmd__allow_commands() {
    local commands; commands=()
    _describe -t commands 'keyfob-server org help allow commands' commands "$@"
}
(( $+functions[_keyfob-server__subcmd__org__subcmd__help__subcmd__create_commands] )) ||
_keyfob-server__subcmd__org__subcmd__help__subcmd__create_commands() {
    local commands; commands=()
    _describe -t commands 'keyfob-server org help create commands' commands "$@"
}
(( $+functions[_keyfob-server__subcmd__org__subcmd__help__subcmd__help_commands] )) ||
_keyfob-server__subcmd__org__subcmd__help__subcmd__help_commands() {
    local commands; commands=()
    _describe -t commands 'keyfob-server org help help commands' commands "$@"
}
(( $+functions[_keyfob-server__subcmd__rewrap_commands] )) ||
_keyfob-server__subcmd__rewrap_commands() {
    local commands; commands=()
    _describe -t commands 'keyfob-server rewrap commands' commands "$@"
}
(( $+functions[_keyfob-server__subcmd__serve_commands] )) ||
_keyfob-server__subcmd__serve_commands() {
    local commands; commands=()
    _describe -t commands 'keyfob-server serve commands' commands "$@"
}

if [ "$funcstack[1]" = "_keyfob-server" ]; then
    _keyfob-server "$@"
else
    compdef _keyfob-server keyfob-server
fi
