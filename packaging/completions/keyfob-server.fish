# Print an optspec for argparse to handle cmd's options that are independent of any subcommand.
function __fish_keyfob_server_global_optspecs
    string join \n h/help V/version
end

function __fish_keyfob_server_needs_command
    # Figure out if the current invocation already has a command.
    set -l cmd (commandline -opc)
    set -e cmd[1]
    argparse -s (__fish_keyfob_server_global_optspecs) -- $cmd 2>/dev/null
    or return
    if set -q argv[1]
        # Also print the command, so this can be used to figure out what it is.
        echo $argv[1]
        return 1
    end
    return 0
end

function __fish_keyfob_server_using_subcommand
    set -l cmd (__fish_keyfob_server_needs_command)
    test -z "$cmd"
    and return 1
    contains -- $cmd[1] $argv
end

complete -c keyfob-server -n "__fish_keyfob_server_needs_command" -s h -l help -d 'Print help'
complete -c keyfob-server -n "__fish_keyfob_server_needs_command" -s V -l version -d 'Print version'
complete -c keyfob-server -n "__fish_keyfob_server_needs_command" -f -a "init" -d 'Make a data directory with its keyring, authority, first organization and admin; print the admin\'s join string'
complete -c keyfob-server -n "__fish_keyfob_server_needs_command" -f -a "serve" -d 'Serve a data directory'
complete -c keyfob-server -n "__fish_keyfob_server_needs_command" -f -a "org" -d 'Organizations'
complete -c keyfob-server -n "__fish_keyfob_server_needs_command" -f -a "join" -d 'Print a new join string for a user who is there already (a lost or expired one)'
complete -c keyfob-server -n "__fish_keyfob_server_needs_command" -f -a "ca" -d 'The certificate authority'
complete -c keyfob-server -n "__fish_keyfob_server_needs_command" -f -a "keyring" -d 'The keys that encrypt what is at rest'
complete -c keyfob-server -n "__fish_keyfob_server_needs_command" -f -a "rewrap" -d 'Move everything at rest to the newest key of the keyring; no value is touched'
complete -c keyfob-server -n "__fish_keyfob_server_needs_command" -f -a "backup" -d 'Write a consistent copy of the database, also while the server runs (the keyring is not in it)'
complete -c keyfob-server -n "__fish_keyfob_server_needs_command" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c keyfob-server -n "__fish_keyfob_server_using_subcommand init" -l data-dir -d 'The data directory' -r -F
complete -c keyfob-server -n "__fish_keyfob_server_using_subcommand init" -l keyring -d 'The keyring [default: the systemd credential keyfob.keyring, else DIR/keyring]' -r -F
complete -c keyfob-server -n "__fish_keyfob_server_using_subcommand init" -l org -d 'The first organization' -r
complete -c keyfob-server -n "__fish_keyfob_server_using_subcommand init" -l admin -d 'Its first admin' -r
complete -c keyfob-server -n "__fish_keyfob_server_using_subcommand init" -l address -d 'Where people reach the server, HOST:PORT [default: the server running on this machine]' -r
complete -c keyfob-server -n "__fish_keyfob_server_using_subcommand init" -l trust-domain -d 'The SPIFFE trust domain of all identities' -r
complete -c keyfob-server -n "__fish_keyfob_server_using_subcommand init" -l ca-cert -d 'A CA certificate of yours (PEM) instead of a new one' -r -F
complete -c keyfob-server -n "__fish_keyfob_server_using_subcommand init" -l ca-key -d 'Its key (PEM, PKCS #8)' -r -F
complete -c keyfob-server -n "__fish_keyfob_server_using_subcommand init" -s h -l help -d 'Print help'
complete -c keyfob-server -n "__fish_keyfob_server_using_subcommand serve" -l data-dir -d 'The data directory' -r -F
complete -c keyfob-server -n "__fish_keyfob_server_using_subcommand serve" -l keyring -d 'The keyring [default: the systemd credential keyfob.keyring, else DIR/keyring]' -r -F
complete -c keyfob-server -n "__fish_keyfob_server_using_subcommand serve" -l listen -d 'Where to listen, ADDRESS:PORT; port 0 takes a free one' -r
complete -c keyfob-server -n "__fish_keyfob_server_using_subcommand serve" -l address -d 'Where agents and people reach this server, HOST:PORT; goes into join strings [default: where it listens]' -r
complete -c keyfob-server -n "__fish_keyfob_server_using_subcommand serve" -l name -d 'A further host name or address for the server\'s certificate; clients that are not ours look at it' -r
complete -c keyfob-server -n "__fish_keyfob_server_using_subcommand serve" -l session-certificate-minutes -d 'Life of sessions\' certificates, in minutes' -r
complete -c keyfob-server -n "__fish_keyfob_server_using_subcommand serve" -l user-certificate-hours -d 'Life of users\' certificates, in hours; renewed in use' -r
complete -c keyfob-server -n "__fish_keyfob_server_using_subcommand serve" -l beat-seconds -d 'How often agents report how they are, if nothing changes; one that is silent for three times as long is stale' -r
complete -c keyfob-server -n "__fish_keyfob_server_using_subcommand serve" -l metrics-listen -d 'Hand out Prometheus metrics at http://ADDR:PORT/metrics, a loopback address [default: none are handed out]' -r
complete -c keyfob-server -n "__fish_keyfob_server_using_subcommand serve" -l console-listen -d 'Serve the console, pages for browsers, over HTTPS at ADDRESS:PORT; port 0 takes a free one [default: there is none]' -r
complete -c keyfob-server -n "__fish_keyfob_server_using_subcommand serve" -l console-address -d 'Where people reach it, HOST:PORT; goes into sign-in links [default: where it listens]' -r
complete -c keyfob-server -n "__fish_keyfob_server_using_subcommand serve" -l console-cert -d 'Its certificate chain (PEM), read again every hour [default: one issued by the authority of this server]' -r -F
complete -c keyfob-server -n "__fish_keyfob_server_using_subcommand serve" -l console-key -d 'The key of that (PEM)' -r -F
complete -c keyfob-server -n "__fish_keyfob_server_using_subcommand serve" -l oidc-issuer -d 'Sign in by OpenID Connect at this provider: its issuer, an https URL' -r
complete -c keyfob-server -n "__fish_keyfob_server_using_subcommand serve" -l oidc-client-id -d 'This server\'s client id there; the redirection URI to register is https://CONSOLE-ADDRESS/signin/callback' -r
complete -c keyfob-server -n "__fish_keyfob_server_using_subcommand serve" -l oidc-client-secret -d 'A file with the client secret [default: the systemd credential keyfob.oidc-secret, if there is one, else none]' -r -F
complete -c keyfob-server -n "__fish_keyfob_server_using_subcommand serve" -l oidc-user-claim -d 'The claim that is the user\'s name here; one that people can\'t choose for themselves' -r
complete -c keyfob-server -n "__fish_keyfob_server_using_subcommand serve" -l oidc-role-claim -d 'The claim that says the role: `admin` or `member`, or a list with one of them. Users are then made and changed by it at sign-in [default: users are those who were invited]' -r
complete -c keyfob-server -n "__fish_keyfob_server_using_subcommand serve" -l oidc-org -d 'The organization of the provider\'s users [default: the only one]' -r
complete -c keyfob-server -n "__fish_keyfob_server_using_subcommand serve" -l oidc-scope -d 'What to ask the provider for, besides `openid`' -r
complete -c keyfob-server -n "__fish_keyfob_server_using_subcommand serve" -l oidc-ca -d 'Authorities (PEM) of the provider\'s certificate [default: this machine\'s]' -r -F
complete -c keyfob-server -n "__fish_keyfob_server_using_subcommand serve" -l max-connections -d 'Connections at the most, in all' -r
complete -c keyfob-server -n "__fish_keyfob_server_using_subcommand serve" -l max-connections-per-address -d 'Connections at the most from one address' -r
complete -c keyfob-server -n "__fish_keyfob_server_using_subcommand serve" -s h -l help -d 'Print help'
complete -c keyfob-server -n "__fish_keyfob_server_using_subcommand org; and not __fish_seen_subcommand_from create allow help" -s h -l help -d 'Print help'
complete -c keyfob-server -n "__fish_keyfob_server_using_subcommand org; and not __fish_seen_subcommand_from create allow help" -f -a "create" -d 'Make another organization and its first admin; print the admin\'s join string'
complete -c keyfob-server -n "__fish_keyfob_server_using_subcommand org; and not __fish_seen_subcommand_from create allow help" -f -a "allow" -d 'Allow a reserved variable that makes programs run code (LD_PRELOAD, NODE_OPTIONS, ...); audited'
complete -c keyfob-server -n "__fish_keyfob_server_using_subcommand org; and not __fish_seen_subcommand_from create allow help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c keyfob-server -n "__fish_keyfob_server_using_subcommand org; and __fish_seen_subcommand_from create" -l data-dir -d 'The data directory' -r -F
complete -c keyfob-server -n "__fish_keyfob_server_using_subcommand org; and __fish_seen_subcommand_from create" -l keyring -d 'The keyring [default: the systemd credential keyfob.keyring, else DIR/keyring]' -r -F
complete -c keyfob-server -n "__fish_keyfob_server_using_subcommand org; and __fish_seen_subcommand_from create" -l admin -d 'Its first admin' -r
complete -c keyfob-server -n "__fish_keyfob_server_using_subcommand org; and __fish_seen_subcommand_from create" -l address -d 'Where people reach the server, HOST:PORT [default: the server running on this machine]' -r
complete -c keyfob-server -n "__fish_keyfob_server_using_subcommand org; and __fish_seen_subcommand_from create" -s h -l help -d 'Print help'
complete -c keyfob-server -n "__fish_keyfob_server_using_subcommand org; and __fish_seen_subcommand_from allow" -l data-dir -d 'The data directory' -r -F
complete -c keyfob-server -n "__fish_keyfob_server_using_subcommand org; and __fish_seen_subcommand_from allow" -l keyring -d 'The keyring [default: the systemd credential keyfob.keyring, else DIR/keyring]' -r -F
complete -c keyfob-server -n "__fish_keyfob_server_using_subcommand org; and __fish_seen_subcommand_from allow" -l remove -d 'Take the allowance back'
complete -c keyfob-server -n "__fish_keyfob_server_using_subcommand org; and __fish_seen_subcommand_from allow" -s h -l help -d 'Print help'
complete -c keyfob-server -n "__fish_keyfob_server_using_subcommand org; and __fish_seen_subcommand_from help" -f -a "create" -d 'Make another organization and its first admin; print the admin\'s join string'
complete -c keyfob-server -n "__fish_keyfob_server_using_subcommand org; and __fish_seen_subcommand_from help" -f -a "allow" -d 'Allow a reserved variable that makes programs run code (LD_PRELOAD, NODE_OPTIONS, ...); audited'
complete -c keyfob-server -n "__fish_keyfob_server_using_subcommand org; and __fish_seen_subcommand_from help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c keyfob-server -n "__fish_keyfob_server_using_subcommand join" -l data-dir -d 'The data directory' -r -F
complete -c keyfob-server -n "__fish_keyfob_server_using_subcommand join" -l keyring -d 'The keyring [default: the systemd credential keyfob.keyring, else DIR/keyring]' -r -F
complete -c keyfob-server -n "__fish_keyfob_server_using_subcommand join" -l org -d 'The user\'s organization' -r
complete -c keyfob-server -n "__fish_keyfob_server_using_subcommand join" -l user -d 'The user' -r
complete -c keyfob-server -n "__fish_keyfob_server_using_subcommand join" -l address -d 'Where people reach the server, HOST:PORT [default: the server running on this machine]' -r
complete -c keyfob-server -n "__fish_keyfob_server_using_subcommand join" -s h -l help -d 'Print help'
complete -c keyfob-server -n "__fish_keyfob_server_using_subcommand ca; and not __fish_seen_subcommand_from list export add activate help" -s h -l help -d 'Print help'
complete -c keyfob-server -n "__fish_keyfob_server_using_subcommand ca; and not __fish_seen_subcommand_from list export add activate help" -f -a "list" -d 'Show the authorities, the signing one first'
complete -c keyfob-server -n "__fish_keyfob_server_using_subcommand ca; and not __fish_seen_subcommand_from list export add activate help" -f -a "export" -d 'Print the trusted certificates as PEM, for clients that are not ours'
complete -c keyfob-server -n "__fish_keyfob_server_using_subcommand ca; and not __fish_seen_subcommand_from list export add activate help" -f -a "add" -d 'Add an authority: trusted from the server\'s next start, signing once activated'
complete -c keyfob-server -n "__fish_keyfob_server_using_subcommand ca; and not __fish_seen_subcommand_from list export add activate help" -f -a "activate" -d 'Let an authority sign from the server\'s next start; give everybody time to renew after `add`'
complete -c keyfob-server -n "__fish_keyfob_server_using_subcommand ca; and not __fish_seen_subcommand_from list export add activate help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c keyfob-server -n "__fish_keyfob_server_using_subcommand ca; and __fish_seen_subcommand_from list" -l data-dir -d 'The data directory' -r -F
complete -c keyfob-server -n "__fish_keyfob_server_using_subcommand ca; and __fish_seen_subcommand_from list" -l keyring -d 'The keyring [default: the systemd credential keyfob.keyring, else DIR/keyring]' -r -F
complete -c keyfob-server -n "__fish_keyfob_server_using_subcommand ca; and __fish_seen_subcommand_from list" -s h -l help -d 'Print help'
complete -c keyfob-server -n "__fish_keyfob_server_using_subcommand ca; and __fish_seen_subcommand_from export" -l data-dir -d 'The data directory' -r -F
complete -c keyfob-server -n "__fish_keyfob_server_using_subcommand ca; and __fish_seen_subcommand_from export" -l keyring -d 'The keyring [default: the systemd credential keyfob.keyring, else DIR/keyring]' -r -F
complete -c keyfob-server -n "__fish_keyfob_server_using_subcommand ca; and __fish_seen_subcommand_from export" -s h -l help -d 'Print help'
complete -c keyfob-server -n "__fish_keyfob_server_using_subcommand ca; and __fish_seen_subcommand_from add" -l data-dir -d 'The data directory' -r -F
complete -c keyfob-server -n "__fish_keyfob_server_using_subcommand ca; and __fish_seen_subcommand_from add" -l keyring -d 'The keyring [default: the systemd credential keyfob.keyring, else DIR/keyring]' -r -F
complete -c keyfob-server -n "__fish_keyfob_server_using_subcommand ca; and __fish_seen_subcommand_from add" -l ca-cert -d 'A CA certificate of yours (PEM) instead of a new one' -r -F
complete -c keyfob-server -n "__fish_keyfob_server_using_subcommand ca; and __fish_seen_subcommand_from add" -l ca-key -d 'Its key (PEM, PKCS #8)' -r -F
complete -c keyfob-server -n "__fish_keyfob_server_using_subcommand ca; and __fish_seen_subcommand_from add" -s h -l help -d 'Print help'
complete -c keyfob-server -n "__fish_keyfob_server_using_subcommand ca; and __fish_seen_subcommand_from activate" -l data-dir -d 'The data directory' -r -F
complete -c keyfob-server -n "__fish_keyfob_server_using_subcommand ca; and __fish_seen_subcommand_from activate" -l keyring -d 'The keyring [default: the systemd credential keyfob.keyring, else DIR/keyring]' -r -F
complete -c keyfob-server -n "__fish_keyfob_server_using_subcommand ca; and __fish_seen_subcommand_from activate" -s h -l help -d 'Print help'
complete -c keyfob-server -n "__fish_keyfob_server_using_subcommand ca; and __fish_seen_subcommand_from help" -f -a "list" -d 'Show the authorities, the signing one first'
complete -c keyfob-server -n "__fish_keyfob_server_using_subcommand ca; and __fish_seen_subcommand_from help" -f -a "export" -d 'Print the trusted certificates as PEM, for clients that are not ours'
complete -c keyfob-server -n "__fish_keyfob_server_using_subcommand ca; and __fish_seen_subcommand_from help" -f -a "add" -d 'Add an authority: trusted from the server\'s next start, signing once activated'
complete -c keyfob-server -n "__fish_keyfob_server_using_subcommand ca; and __fish_seen_subcommand_from help" -f -a "activate" -d 'Let an authority sign from the server\'s next start; give everybody time to renew after `add`'
complete -c keyfob-server -n "__fish_keyfob_server_using_subcommand ca; and __fish_seen_subcommand_from help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c keyfob-server -n "__fish_keyfob_server_using_subcommand keyring; and not __fish_seen_subcommand_from add list help" -s h -l help -d 'Print help'
complete -c keyfob-server -n "__fish_keyfob_server_using_subcommand keyring; and not __fish_seen_subcommand_from add list help" -f -a "add" -d 'Add a fresh key; a running server picks it up when it meets it, or at its next start'
complete -c keyfob-server -n "__fish_keyfob_server_using_subcommand keyring; and not __fish_seen_subcommand_from add list help" -f -a "list" -d 'Show the keys\' names and how many secrets hang on each'
complete -c keyfob-server -n "__fish_keyfob_server_using_subcommand keyring; and not __fish_seen_subcommand_from add list help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c keyfob-server -n "__fish_keyfob_server_using_subcommand keyring; and __fish_seen_subcommand_from add" -l data-dir -d 'The data directory' -r -F
complete -c keyfob-server -n "__fish_keyfob_server_using_subcommand keyring; and __fish_seen_subcommand_from add" -l keyring -d 'The keyring [default: the systemd credential keyfob.keyring, else DIR/keyring]' -r -F
complete -c keyfob-server -n "__fish_keyfob_server_using_subcommand keyring; and __fish_seen_subcommand_from add" -s h -l help -d 'Print help'
complete -c keyfob-server -n "__fish_keyfob_server_using_subcommand keyring; and __fish_seen_subcommand_from list" -l data-dir -d 'The data directory' -r -F
complete -c keyfob-server -n "__fish_keyfob_server_using_subcommand keyring; and __fish_seen_subcommand_from list" -l keyring -d 'The keyring [default: the systemd credential keyfob.keyring, else DIR/keyring]' -r -F
complete -c keyfob-server -n "__fish_keyfob_server_using_subcommand keyring; and __fish_seen_subcommand_from list" -s h -l help -d 'Print help'
complete -c keyfob-server -n "__fish_keyfob_server_using_subcommand keyring; and __fish_seen_subcommand_from help" -f -a "add" -d 'Add a fresh key; a running server picks it up when it meets it, or at its next start'
complete -c keyfob-server -n "__fish_keyfob_server_using_subcommand keyring; and __fish_seen_subcommand_from help" -f -a "list" -d 'Show the keys\' names and how many secrets hang on each'
complete -c keyfob-server -n "__fish_keyfob_server_using_subcommand keyring; and __fish_seen_subcommand_from help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c keyfob-server -n "__fish_keyfob_server_using_subcommand rewrap" -l data-dir -d 'The data directory' -r -F
complete -c keyfob-server -n "__fish_keyfob_server_using_subcommand rewrap" -l keyring -d 'The keyring [default: the systemd credential keyfob.keyring, else DIR/keyring]' -r -F
complete -c keyfob-server -n "__fish_keyfob_server_using_subcommand rewrap" -s h -l help -d 'Print help'
complete -c keyfob-server -n "__fish_keyfob_server_using_subcommand backup" -l data-dir -d 'The data directory' -r -F
complete -c keyfob-server -n "__fish_keyfob_server_using_subcommand backup" -l keyring -d 'The keyring [default: the systemd credential keyfob.keyring, else DIR/keyring]' -r -F
complete -c keyfob-server -n "__fish_keyfob_server_using_subcommand backup" -s h -l help -d 'Print help'
complete -c keyfob-server -n "__fish_keyfob_server_using_subcommand help; and not __fish_seen_subcommand_from init serve org join ca keyring rewrap backup help" -f -a "init" -d 'Make a data directory with its keyring, authority, first organization and admin; print the admin\'s join string'
complete -c keyfob-server -n "__fish_keyfob_server_using_subcommand help; and not __fish_seen_subcommand_from init serve org join ca keyring rewrap backup help" -f -a "serve" -d 'Serve a data directory'
complete -c keyfob-server -n "__fish_keyfob_server_using_subcommand help; and not __fish_seen_subcommand_from init serve org join ca keyring rewrap backup help" -f -a "org" -d 'Organizations'
complete -c keyfob-server -n "__fish_keyfob_server_using_subcommand help; and not __fish_seen_subcommand_from init serve org join ca keyring rewrap backup help" -f -a "join" -d 'Print a new join string for a user who is there already (a lost or expired one)'
complete -c keyfob-server -n "__fish_keyfob_server_using_subcommand help; and not __fish_seen_subcommand_from init serve org join ca keyring rewrap backup help" -f -a "ca" -d 'The certificate authority'
complete -c keyfob-server -n "__fish_keyfob_server_using_subcommand help; and not __fish_seen_subcommand_from init serve org join ca keyring rewrap backup help" -f -a "keyring" -d 'The keys that encrypt what is at rest'
complete -c keyfob-server -n "__fish_keyfob_server_using_subcommand help; and not __fish_seen_subcommand_from init serve org join ca keyring rewrap backup help" -f -a "rewrap" -d 'Move everything at rest to the newest key of the keyring; no value is touched'
complete -c keyfob-server -n "__fish_keyfob_server_using_subcommand help; and not __fish_seen_subcommand_from init serve org join ca keyring rewrap backup help" -f -a "backup" -d 'Write a consistent copy of the database, also while the server runs (the keyring is not in it)'
complete -c keyfob-server -n "__fish_keyfob_server_using_subcommand help; and not __fish_seen_subcommand_from init serve org join ca keyring rewrap backup help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c keyfob-server -n "__fish_keyfob_server_using_subcommand help; and __fish_seen_subcommand_from org" -f -a "create" -d 'Make another organization and its first admin; print the admin\'s join string'
complete -c keyfob-server -n "__fish_keyfob_server_using_subcommand help; and __fish_seen_subcommand_from org" -f -a "allow" -d 'Allow a reserved variable that makes programs run code (LD_PRELOAD, NODE_OPTIONS, ...); audited'
complete -c keyfob-server -n "__fish_keyfob_server_using_subcommand help; and __fish_seen_subcommand_from ca" -f -a "list" -d 'Show the authorities, the signing one first'
complete -c keyfob-server -n "__fish_keyfob_server_using_subcommand help; and __fish_seen_subcommand_from ca" -f -a "export" -d 'Print the trusted certificates as PEM, for clients that are not ours'
complete -c keyfob-server -n "__fish_keyfob_server_using_subcommand help; and __fish_seen_subcommand_from ca" -f -a "add" -d 'Add an authority: trusted from the server\'s next start, signing once activated'
complete -c keyfob-server -n "__fish_keyfob_server_using_subcommand help; and __fish_seen_subcommand_from ca" -f -a "activate" -d 'Let an authority sign from the server\'s next start; give everybody time to renew after `add`'
complete -c keyfob-server -n "__fish_keyfob_server_using_subcommand help; and __fish_seen_subcommand_from keyring" -f -a "add" -d 'Add a fresh key; a running server picks it up when it meets it, or at its next start'
complete -c keyfob-server -n "__fish_keyfob_server_using_subcommand help; and __fish_seen_subcommand_from keyring" -f -a "list" -d 'Show the keys\' names and how many secrets hang on each'
