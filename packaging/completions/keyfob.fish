# Print an optspec for argparse to handle cmd's options that are independent of any subcommand.
function __fish_keyfob_global_optspecs
    string join \n o/output= h/help V/version
end

function __fish_keyfob_needs_command
    # Figure out if the current invocation already has a command.
    set -l cmd (commandline -opc)
    set -e cmd[1]
    argparse -s (__fish_keyfob_global_optspecs) -- $cmd 2>/dev/null
    or return
    if set -q argv[1]
        # Also print the command, so this can be used to figure out what it is.
        echo $argv[1]
        return 1
    end
    return 0
end

function __fish_keyfob_using_subcommand
    set -l cmd (__fish_keyfob_needs_command)
    test -z "$cmd"
    and return 1
    contains -- $cmd[1] $argv
end

complete -c keyfob -n "__fish_keyfob_needs_command" -s o -l output -d 'How to print results' -r -f -a "table\t'For people'
json\t'For scripts'"
complete -c keyfob -n "__fish_keyfob_needs_command" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c keyfob -n "__fish_keyfob_needs_command" -s V -l version -d 'Print version'
complete -c keyfob -n "__fish_keyfob_needs_command" -f -a "login" -d 'Join an organization with the join string an admin gave you'
complete -c keyfob -n "__fish_keyfob_needs_command" -f -a "logout" -d 'Remove this machine\'s key and certificate'
complete -c keyfob -n "__fish_keyfob_needs_command" -f -a "console" -d 'Open the console, this server\'s pages for browsers, signed in as you'
complete -c keyfob -n "__fish_keyfob_needs_command" -f -a "whoami" -d 'Show who you are, as the server sees it'
complete -c keyfob -n "__fish_keyfob_needs_command" -f -a "secret" -d 'Keep secrets: create, list, rotate, ...'
complete -c keyfob -n "__fish_keyfob_needs_command" -f -a "push" -d 'Push saved changes into running sessions'
complete -c keyfob -n "__fish_keyfob_needs_command" -f -a "rollout" -d 'What was pushed, and how far it has come'
complete -c keyfob -n "__fish_keyfob_needs_command" -f -a "preview" -d 'Show what a session would get, and why'
complete -c keyfob -n "__fish_keyfob_needs_command" -f -a "leaks" -d 'Show which secrets were printed in sessions, and masked there'
complete -c keyfob -n "__fish_keyfob_needs_command" -f -a "env" -d 'Environments: non-sensitive variables with a version history'
complete -c keyfob -n "__fish_keyfob_needs_command" -f -a "environment" -d 'Environments: non-sensitive variables with a version history'
complete -c keyfob -n "__fish_keyfob_needs_command" -f -a "session" -d 'Sessions: one for each VM boot'
complete -c keyfob -n "__fish_keyfob_needs_command" -f -a "fleet" -d 'All agents, in all live sessions: how they are, what they have installed'
complete -c keyfob -n "__fish_keyfob_needs_command" -f -a "agent" -d 'One agent, asked itself'
complete -c keyfob -n "__fish_keyfob_needs_command" -f -a "user" -d 'The people and machines of the organization'
complete -c keyfob -n "__fish_keyfob_needs_command" -f -a "audit" -d 'The record of every change, delivery and refusal (admins)'
complete -c keyfob -n "__fish_keyfob_needs_command" -f -a "completions" -d 'Print completions for a shell'
complete -c keyfob -n "__fish_keyfob_needs_command" -f -a "demo" -d 'Run the whole thing here, once: a server, a session, an agent, a shell that has the variables'
complete -c keyfob -n "__fish_keyfob_needs_command" -f -a "man" -d 'Write the manual pages into a directory'
complete -c keyfob -n "__fish_keyfob_using_subcommand login" -l join-file -d 'Read the join string from a file, or from stdin with `-`' -r -F
complete -c keyfob -n "__fish_keyfob_using_subcommand login" -s o -l output -d 'How to print results' -r -f -a "table\t'For people'
json\t'For scripts'"
complete -c keyfob -n "__fish_keyfob_using_subcommand login" -l replace -d 'Replace a login that is still good'
complete -c keyfob -n "__fish_keyfob_using_subcommand login" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c keyfob -n "__fish_keyfob_using_subcommand logout" -s o -l output -d 'How to print results' -r -f -a "table\t'For people'
json\t'For scripts'"
complete -c keyfob -n "__fish_keyfob_using_subcommand logout" -s y -l yes -d 'Don\'t ask; needed where there is no terminal to ask at'
complete -c keyfob -n "__fish_keyfob_using_subcommand logout" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c keyfob -n "__fish_keyfob_using_subcommand console" -s o -l output -d 'How to print results' -r -f -a "table\t'For people'
json\t'For scripts'"
complete -c keyfob -n "__fish_keyfob_using_subcommand console" -l no-browser -d 'Print the link and open nothing'
complete -c keyfob -n "__fish_keyfob_using_subcommand console" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c keyfob -n "__fish_keyfob_using_subcommand whoami" -s o -l output -d 'How to print results' -r -f -a "table\t'For people'
json\t'For scripts'"
complete -c keyfob -n "__fish_keyfob_using_subcommand whoami" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c keyfob -n "__fish_keyfob_using_subcommand secret; and not __fish_seen_subcommand_from create list ls show deliveries edit rotate delete rm import" -s o -l output -d 'How to print results' -r -f -a "table\t'For people'
json\t'For scripts'"
complete -c keyfob -n "__fish_keyfob_using_subcommand secret; and not __fish_seen_subcommand_from create list ls show deliveries edit rotate delete rm import" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c keyfob -n "__fish_keyfob_using_subcommand secret; and not __fish_seen_subcommand_from create list ls show deliveries edit rotate delete rm import" -f -a "create" -d 'Save a new secret'
complete -c keyfob -n "__fish_keyfob_using_subcommand secret; and not __fish_seen_subcommand_from create list ls show deliveries edit rotate delete rm import" -f -a "list" -d 'List or search secrets'
complete -c keyfob -n "__fish_keyfob_using_subcommand secret; and not __fish_seen_subcommand_from create list ls show deliveries edit rotate delete rm import" -f -a "ls" -d 'List or search secrets'
complete -c keyfob -n "__fish_keyfob_using_subcommand secret; and not __fish_seen_subcommand_from create list ls show deliveries edit rotate delete rm import" -f -a "show" -d 'Show one secret: what it is, its versions, what it overrides, which sessions got it, where it was printed'
complete -c keyfob -n "__fish_keyfob_using_subcommand secret; and not __fish_seen_subcommand_from create list ls show deliveries edit rotate delete rm import" -f -a "deliveries" -d 'Show which sessions got which version, and whether old ones may still be held somewhere'
complete -c keyfob -n "__fish_keyfob_using_subcommand secret; and not __fish_seen_subcommand_from create list ls show deliveries edit rotate delete rm import" -f -a "edit" -d 'Change a secret\'s description, auto-install or variable; not its value'
complete -c keyfob -n "__fish_keyfob_using_subcommand secret; and not __fish_seen_subcommand_from create list ls show deliveries edit rotate delete rm import" -f -a "rotate" -d 'Save a new value'
complete -c keyfob -n "__fish_keyfob_using_subcommand secret; and not __fish_seen_subcommand_from create list ls show deliveries edit rotate delete rm import" -f -a "delete" -d 'Remove a secret from later boots, with --revoke from running sessions\' files too'
complete -c keyfob -n "__fish_keyfob_using_subcommand secret; and not __fish_seen_subcommand_from create list ls show deliveries edit rotate delete rm import" -f -a "rm" -d 'Remove a secret from later boots, with --revoke from running sessions\' files too'
complete -c keyfob -n "__fish_keyfob_using_subcommand secret; and not __fish_seen_subcommand_from create list ls show deliveries edit rotate delete rm import" -f -a "import" -d 'Save all variables of a dotenv file as secrets: all of them or, with every problem told, none'
complete -c keyfob -n "__fish_keyfob_using_subcommand secret; and __fish_seen_subcommand_from create" -l description -d 'A note for people' -r
complete -c keyfob -n "__fish_keyfob_using_subcommand secret; and __fish_seen_subcommand_from create" -l variable -d 'A variable to use instead of the one derived from the name' -r
complete -c keyfob -n "__fish_keyfob_using_subcommand secret; and __fish_seen_subcommand_from create" -l value-file -d 'Read the value from a file, or from stdin with `-`' -r -F
complete -c keyfob -n "__fish_keyfob_using_subcommand secret; and __fish_seen_subcommand_from create" -l value -d 'A value on the command line; refused' -r
complete -c keyfob -n "__fish_keyfob_using_subcommand secret; and __fish_seen_subcommand_from create" -s o -l output -d 'How to print results' -r -f -a "table\t'For people'
json\t'For scripts'"
complete -c keyfob -n "__fish_keyfob_using_subcommand secret; and __fish_seen_subcommand_from create" -l private -d 'Only your own sessions get it'
complete -c keyfob -n "__fish_keyfob_using_subcommand secret; and __fish_seen_subcommand_from create" -l shared -d 'Every session of the organization gets it'
complete -c keyfob -n "__fish_keyfob_using_subcommand secret; and __fish_seen_subcommand_from create" -l no-auto-install -d 'Keep it in store without installing it in VMs'
complete -c keyfob -n "__fish_keyfob_using_subcommand secret; and __fish_seen_subcommand_from create" -l file -d 'Deliver it as a file; the variable holds the file\'s path'
complete -c keyfob -n "__fish_keyfob_using_subcommand secret; and __fish_seen_subcommand_from create" -l trim-newline -d 'Leave out one newline at the end of the value'
complete -c keyfob -n "__fish_keyfob_using_subcommand secret; and __fish_seen_subcommand_from create" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c keyfob -n "__fish_keyfob_using_subcommand secret; and __fish_seen_subcommand_from list" -s o -l output -d 'How to print results' -r -f -a "table\t'For people'
json\t'For scripts'"
complete -c keyfob -n "__fish_keyfob_using_subcommand secret; and __fish_seen_subcommand_from list" -l private -d 'Only your own sessions get it'
complete -c keyfob -n "__fish_keyfob_using_subcommand secret; and __fish_seen_subcommand_from list" -l shared -d 'Every session of the organization gets it'
complete -c keyfob -n "__fish_keyfob_using_subcommand secret; and __fish_seen_subcommand_from list" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c keyfob -n "__fish_keyfob_using_subcommand secret; and __fish_seen_subcommand_from ls" -s o -l output -d 'How to print results' -r -f -a "table\t'For people'
json\t'For scripts'"
complete -c keyfob -n "__fish_keyfob_using_subcommand secret; and __fish_seen_subcommand_from ls" -l private -d 'Only your own sessions get it'
complete -c keyfob -n "__fish_keyfob_using_subcommand secret; and __fish_seen_subcommand_from ls" -l shared -d 'Every session of the organization gets it'
complete -c keyfob -n "__fish_keyfob_using_subcommand secret; and __fish_seen_subcommand_from ls" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c keyfob -n "__fish_keyfob_using_subcommand secret; and __fish_seen_subcommand_from show" -s o -l output -d 'How to print results' -r -f -a "table\t'For people'
json\t'For scripts'"
complete -c keyfob -n "__fish_keyfob_using_subcommand secret; and __fish_seen_subcommand_from show" -l private -d 'Only your own sessions get it'
complete -c keyfob -n "__fish_keyfob_using_subcommand secret; and __fish_seen_subcommand_from show" -l shared -d 'Every session of the organization gets it'
complete -c keyfob -n "__fish_keyfob_using_subcommand secret; and __fish_seen_subcommand_from show" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c keyfob -n "__fish_keyfob_using_subcommand secret; and __fish_seen_subcommand_from deliveries" -s o -l output -d 'How to print results' -r -f -a "table\t'For people'
json\t'For scripts'"
complete -c keyfob -n "__fish_keyfob_using_subcommand secret; and __fish_seen_subcommand_from deliveries" -l private -d 'Only your own sessions get it'
complete -c keyfob -n "__fish_keyfob_using_subcommand secret; and __fish_seen_subcommand_from deliveries" -l shared -d 'Every session of the organization gets it'
complete -c keyfob -n "__fish_keyfob_using_subcommand secret; and __fish_seen_subcommand_from deliveries" -l live -d 'Only sessions that are alive'
complete -c keyfob -n "__fish_keyfob_using_subcommand secret; and __fish_seen_subcommand_from deliveries" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c keyfob -n "__fish_keyfob_using_subcommand secret; and __fish_seen_subcommand_from edit" -l description -d 'A new note for people; empty removes it' -r
complete -c keyfob -n "__fish_keyfob_using_subcommand secret; and __fish_seen_subcommand_from edit" -l variable -d 'A new variable' -r
complete -c keyfob -n "__fish_keyfob_using_subcommand secret; and __fish_seen_subcommand_from edit" -l max-in-flight -d 'Sessions that are told and have not answered, at the most (default: all at once)' -r
complete -c keyfob -n "__fish_keyfob_using_subcommand secret; and __fish_seen_subcommand_from edit" -l patience -d 'Give a session up as unreachable when it has been silent for so long (default: 120)' -r
complete -c keyfob -n "__fish_keyfob_using_subcommand secret; and __fish_seen_subcommand_from edit" -s o -l output -d 'How to print results' -r -f -a "table\t'For people'
json\t'For scripts'"
complete -c keyfob -n "__fish_keyfob_using_subcommand secret; and __fish_seen_subcommand_from edit" -l private -d 'Only your own sessions get it'
complete -c keyfob -n "__fish_keyfob_using_subcommand secret; and __fish_seen_subcommand_from edit" -l shared -d 'Every session of the organization gets it'
complete -c keyfob -n "__fish_keyfob_using_subcommand secret; and __fish_seen_subcommand_from edit" -l auto-install -d 'Install it in VMs from their next boot on'
complete -c keyfob -n "__fish_keyfob_using_subcommand secret; and __fish_seen_subcommand_from edit" -l no-auto-install -d 'Keep it in store without installing it in VMs'
complete -c keyfob -n "__fish_keyfob_using_subcommand secret; and __fish_seen_subcommand_from edit" -l derive-variable -d 'Derive the variable from the name again'
complete -c keyfob -n "__fish_keyfob_using_subcommand secret; and __fish_seen_subcommand_from edit" -l push -d 'Push the change into running sessions too'
complete -c keyfob -n "__fish_keyfob_using_subcommand secret; and __fish_seen_subcommand_from edit" -l wait -d 'Wait until every session is through; fail if one does not have it'
complete -c keyfob -n "__fish_keyfob_using_subcommand secret; and __fish_seen_subcommand_from edit" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c keyfob -n "__fish_keyfob_using_subcommand secret; and __fish_seen_subcommand_from rotate" -l expect -d 'Go on only if this is still the current version (default: the one found when the command starts)' -r
complete -c keyfob -n "__fish_keyfob_using_subcommand secret; and __fish_seen_subcommand_from rotate" -l max-in-flight -d 'Sessions that are told and have not answered, at the most (default: all at once)' -r
complete -c keyfob -n "__fish_keyfob_using_subcommand secret; and __fish_seen_subcommand_from rotate" -l patience -d 'Give a session up as unreachable when it has been silent for so long (default: 120)' -r
complete -c keyfob -n "__fish_keyfob_using_subcommand secret; and __fish_seen_subcommand_from rotate" -l value-file -d 'Read the value from a file, or from stdin with `-`' -r -F
complete -c keyfob -n "__fish_keyfob_using_subcommand secret; and __fish_seen_subcommand_from rotate" -l value -d 'A value on the command line; refused' -r
complete -c keyfob -n "__fish_keyfob_using_subcommand secret; and __fish_seen_subcommand_from rotate" -s o -l output -d 'How to print results' -r -f -a "table\t'For people'
json\t'For scripts'"
complete -c keyfob -n "__fish_keyfob_using_subcommand secret; and __fish_seen_subcommand_from rotate" -l private -d 'Only your own sessions get it'
complete -c keyfob -n "__fish_keyfob_using_subcommand secret; and __fish_seen_subcommand_from rotate" -l shared -d 'Every session of the organization gets it'
complete -c keyfob -n "__fish_keyfob_using_subcommand secret; and __fish_seen_subcommand_from rotate" -l force -d 'Replace whatever is there, even if it has just changed'
complete -c keyfob -n "__fish_keyfob_using_subcommand secret; and __fish_seen_subcommand_from rotate" -l push -d 'Push the change into running sessions too'
complete -c keyfob -n "__fish_keyfob_using_subcommand secret; and __fish_seen_subcommand_from rotate" -l wait -d 'Wait until every session is through; fail if one does not have it'
complete -c keyfob -n "__fish_keyfob_using_subcommand secret; and __fish_seen_subcommand_from rotate" -l trim-newline -d 'Leave out one newline at the end of the value'
complete -c keyfob -n "__fish_keyfob_using_subcommand secret; and __fish_seen_subcommand_from rotate" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c keyfob -n "__fish_keyfob_using_subcommand secret; and __fish_seen_subcommand_from delete" -l expect -d 'Go on only if this is still the current version (default: the one found when the command starts)' -r
complete -c keyfob -n "__fish_keyfob_using_subcommand secret; and __fish_seen_subcommand_from delete" -l max-in-flight -d 'Sessions that are told and have not answered, at the most (default: all at once)' -r
complete -c keyfob -n "__fish_keyfob_using_subcommand secret; and __fish_seen_subcommand_from delete" -l patience -d 'Give a session up as unreachable when it has been silent for so long (default: 120)' -r
complete -c keyfob -n "__fish_keyfob_using_subcommand secret; and __fish_seen_subcommand_from delete" -s o -l output -d 'How to print results' -r -f -a "table\t'For people'
json\t'For scripts'"
complete -c keyfob -n "__fish_keyfob_using_subcommand secret; and __fish_seen_subcommand_from delete" -l private -d 'Only your own sessions get it'
complete -c keyfob -n "__fish_keyfob_using_subcommand secret; and __fish_seen_subcommand_from delete" -l shared -d 'Every session of the organization gets it'
complete -c keyfob -n "__fish_keyfob_using_subcommand secret; and __fish_seen_subcommand_from delete" -l revoke -d 'Take it out of running sessions\' files now, and list those that may still hold it in memory'
complete -c keyfob -n "__fish_keyfob_using_subcommand secret; and __fish_seen_subcommand_from delete" -l push -d 'Push the change into running sessions too'
complete -c keyfob -n "__fish_keyfob_using_subcommand secret; and __fish_seen_subcommand_from delete" -l wait -d 'Wait until every session is through; fail if one does not have it'
complete -c keyfob -n "__fish_keyfob_using_subcommand secret; and __fish_seen_subcommand_from delete" -s y -l yes -d 'Don\'t ask; needed where there is no terminal to ask at'
complete -c keyfob -n "__fish_keyfob_using_subcommand secret; and __fish_seen_subcommand_from delete" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c keyfob -n "__fish_keyfob_using_subcommand secret; and __fish_seen_subcommand_from rm" -l expect -d 'Go on only if this is still the current version (default: the one found when the command starts)' -r
complete -c keyfob -n "__fish_keyfob_using_subcommand secret; and __fish_seen_subcommand_from rm" -l max-in-flight -d 'Sessions that are told and have not answered, at the most (default: all at once)' -r
complete -c keyfob -n "__fish_keyfob_using_subcommand secret; and __fish_seen_subcommand_from rm" -l patience -d 'Give a session up as unreachable when it has been silent for so long (default: 120)' -r
complete -c keyfob -n "__fish_keyfob_using_subcommand secret; and __fish_seen_subcommand_from rm" -s o -l output -d 'How to print results' -r -f -a "table\t'For people'
json\t'For scripts'"
complete -c keyfob -n "__fish_keyfob_using_subcommand secret; and __fish_seen_subcommand_from rm" -l private -d 'Only your own sessions get it'
complete -c keyfob -n "__fish_keyfob_using_subcommand secret; and __fish_seen_subcommand_from rm" -l shared -d 'Every session of the organization gets it'
complete -c keyfob -n "__fish_keyfob_using_subcommand secret; and __fish_seen_subcommand_from rm" -l revoke -d 'Take it out of running sessions\' files now, and list those that may still hold it in memory'
complete -c keyfob -n "__fish_keyfob_using_subcommand secret; and __fish_seen_subcommand_from rm" -l push -d 'Push the change into running sessions too'
complete -c keyfob -n "__fish_keyfob_using_subcommand secret; and __fish_seen_subcommand_from rm" -l wait -d 'Wait until every session is through; fail if one does not have it'
complete -c keyfob -n "__fish_keyfob_using_subcommand secret; and __fish_seen_subcommand_from rm" -s y -l yes -d 'Don\'t ask; needed where there is no terminal to ask at'
complete -c keyfob -n "__fish_keyfob_using_subcommand secret; and __fish_seen_subcommand_from rm" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c keyfob -n "__fish_keyfob_using_subcommand secret; and __fish_seen_subcommand_from import" -s o -l output -d 'How to print results' -r -f -a "table\t'For people'
json\t'For scripts'"
complete -c keyfob -n "__fish_keyfob_using_subcommand secret; and __fish_seen_subcommand_from import" -l private -d 'Only your own sessions get it'
complete -c keyfob -n "__fish_keyfob_using_subcommand secret; and __fish_seen_subcommand_from import" -l shared -d 'Every session of the organization gets it'
complete -c keyfob -n "__fish_keyfob_using_subcommand secret; and __fish_seen_subcommand_from import" -l rotate-existing -d 'Save a new version of secrets that exist already, instead of refusing the import'
complete -c keyfob -n "__fish_keyfob_using_subcommand secret; and __fish_seen_subcommand_from import" -l no-auto-install -d 'Keep new ones in store without installing them in VMs'
complete -c keyfob -n "__fish_keyfob_using_subcommand secret; and __fish_seen_subcommand_from import" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c keyfob -n "__fish_keyfob_using_subcommand push" -l secret -d 'One secret, to the sessions in which it makes a difference' -r
complete -c keyfob -n "__fish_keyfob_using_subcommand push" -s e -l environment -d 'Everything, to the sessions of one environment' -r
complete -c keyfob -n "__fish_keyfob_using_subcommand push" -l session -d 'Everything, to one session' -r
complete -c keyfob -n "__fish_keyfob_using_subcommand push" -l max-in-flight -d 'Sessions that are told and have not answered, at the most (default: all at once)' -r
complete -c keyfob -n "__fish_keyfob_using_subcommand push" -l patience -d 'Give a session up as unreachable when it has been silent for so long (default: 120)' -r
complete -c keyfob -n "__fish_keyfob_using_subcommand push" -s o -l output -d 'How to print results' -r -f -a "table\t'For people'
json\t'For scripts'"
complete -c keyfob -n "__fish_keyfob_using_subcommand push" -l all -d 'Everything, to every session'
complete -c keyfob -n "__fish_keyfob_using_subcommand push" -l private -d 'Only your own sessions get it'
complete -c keyfob -n "__fish_keyfob_using_subcommand push" -l shared -d 'Every session of the organization gets it'
complete -c keyfob -n "__fish_keyfob_using_subcommand push" -l wait -d 'Wait until every session is through; fail if one does not have it'
complete -c keyfob -n "__fish_keyfob_using_subcommand push" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c keyfob -n "__fish_keyfob_using_subcommand rollout; and not __fish_seen_subcommand_from list ls show" -s o -l output -d 'How to print results' -r -f -a "table\t'For people'
json\t'For scripts'"
complete -c keyfob -n "__fish_keyfob_using_subcommand rollout; and not __fish_seen_subcommand_from list ls show" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c keyfob -n "__fish_keyfob_using_subcommand rollout; and not __fish_seen_subcommand_from list ls show" -f -a "list" -d 'List rollouts, newest first'
complete -c keyfob -n "__fish_keyfob_using_subcommand rollout; and not __fish_seen_subcommand_from list ls show" -f -a "ls" -d 'List rollouts, newest first'
complete -c keyfob -n "__fish_keyfob_using_subcommand rollout; and not __fish_seen_subcommand_from list ls show" -f -a "show" -d 'Show one rollout: its sessions and how far they are'
complete -c keyfob -n "__fish_keyfob_using_subcommand rollout; and __fish_seen_subcommand_from list" -s o -l output -d 'How to print results' -r -f -a "table\t'For people'
json\t'For scripts'"
complete -c keyfob -n "__fish_keyfob_using_subcommand rollout; and __fish_seen_subcommand_from list" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c keyfob -n "__fish_keyfob_using_subcommand rollout; and __fish_seen_subcommand_from ls" -s o -l output -d 'How to print results' -r -f -a "table\t'For people'
json\t'For scripts'"
complete -c keyfob -n "__fish_keyfob_using_subcommand rollout; and __fish_seen_subcommand_from ls" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c keyfob -n "__fish_keyfob_using_subcommand rollout; and __fish_seen_subcommand_from show" -s o -l output -d 'How to print results' -r -f -a "table\t'For people'
json\t'For scripts'"
complete -c keyfob -n "__fish_keyfob_using_subcommand rollout; and __fish_seen_subcommand_from show" -l wait -d 'Wait until every session is through; fail if one does not have it'
complete -c keyfob -n "__fish_keyfob_using_subcommand rollout; and __fish_seen_subcommand_from show" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c keyfob -n "__fish_keyfob_using_subcommand preview" -l as -d 'Whose session (default: yours); private secrets of others are never shown' -r
complete -c keyfob -n "__fish_keyfob_using_subcommand preview" -s e -l environment -d 'The environment' -r
complete -c keyfob -n "__fish_keyfob_using_subcommand preview" -s o -l output -d 'How to print results' -r -f -a "table\t'For people'
json\t'For scripts'"
complete -c keyfob -n "__fish_keyfob_using_subcommand preview" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c keyfob -n "__fish_keyfob_using_subcommand leaks" -l secret -d 'Only of secrets of this name' -r
complete -c keyfob -n "__fish_keyfob_using_subcommand leaks" -l since -d 'Only what was printed since then: how long ago (`30m`, `24h`, `7d`) or when (`2026-01-31`, `2026-01-31T10:00:00Z`)' -r
complete -c keyfob -n "__fish_keyfob_using_subcommand leaks" -s o -l output -d 'How to print results' -r -f -a "table\t'For people'
json\t'For scripts'"
complete -c keyfob -n "__fish_keyfob_using_subcommand leaks" -l private -d 'Only of private secrets'
complete -c keyfob -n "__fish_keyfob_using_subcommand leaks" -l shared -d 'Only of shared secrets'
complete -c keyfob -n "__fish_keyfob_using_subcommand leaks" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c keyfob -n "__fish_keyfob_using_subcommand env; and not __fish_seen_subcommand_from create list ls show set unset boot history restore" -s o -l output -d 'How to print results' -r -f -a "table\t'For people'
json\t'For scripts'"
complete -c keyfob -n "__fish_keyfob_using_subcommand env; and not __fish_seen_subcommand_from create list ls show set unset boot history restore" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c keyfob -n "__fish_keyfob_using_subcommand env; and not __fish_seen_subcommand_from create list ls show set unset boot history restore" -f -a "create" -d 'Make an environment'
complete -c keyfob -n "__fish_keyfob_using_subcommand env; and not __fish_seen_subcommand_from create list ls show set unset boot history restore" -f -a "list" -d 'List environments'
complete -c keyfob -n "__fish_keyfob_using_subcommand env; and not __fish_seen_subcommand_from create list ls show set unset boot history restore" -f -a "ls" -d 'List environments'
complete -c keyfob -n "__fish_keyfob_using_subcommand env; and not __fish_seen_subcommand_from create list ls show set unset boot history restore" -f -a "show" -d 'Show an environment\'s variables'
complete -c keyfob -n "__fish_keyfob_using_subcommand env; and not __fish_seen_subcommand_from create list ls show set unset boot history restore" -f -a "set" -d 'Set variables; makes one new version'
complete -c keyfob -n "__fish_keyfob_using_subcommand env; and not __fish_seen_subcommand_from create list ls show set unset boot history restore" -f -a "unset" -d 'Unset variables; makes one new version'
complete -c keyfob -n "__fish_keyfob_using_subcommand env; and not __fish_seen_subcommand_from create list ls show set unset boot history restore" -f -a "boot" -d 'Show or change what a session\'s VM does when its secrets do not come; a change makes one new version'
complete -c keyfob -n "__fish_keyfob_using_subcommand env; and not __fish_seen_subcommand_from create list ls show set unset boot history restore" -f -a "history" -d 'Show who changed what, and when'
complete -c keyfob -n "__fish_keyfob_using_subcommand env; and not __fish_seen_subcommand_from create list ls show set unset boot history restore" -f -a "restore" -d 'Make a new version that equals an older one'
complete -c keyfob -n "__fish_keyfob_using_subcommand env; and __fish_seen_subcommand_from create" -l description -d 'A note for people' -r
complete -c keyfob -n "__fish_keyfob_using_subcommand env; and __fish_seen_subcommand_from create" -s o -l output -d 'How to print results' -r -f -a "table\t'For people'
json\t'For scripts'"
complete -c keyfob -n "__fish_keyfob_using_subcommand env; and __fish_seen_subcommand_from create" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c keyfob -n "__fish_keyfob_using_subcommand env; and __fish_seen_subcommand_from list" -s o -l output -d 'How to print results' -r -f -a "table\t'For people'
json\t'For scripts'"
complete -c keyfob -n "__fish_keyfob_using_subcommand env; and __fish_seen_subcommand_from list" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c keyfob -n "__fish_keyfob_using_subcommand env; and __fish_seen_subcommand_from ls" -s o -l output -d 'How to print results' -r -f -a "table\t'For people'
json\t'For scripts'"
complete -c keyfob -n "__fish_keyfob_using_subcommand env; and __fish_seen_subcommand_from ls" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c keyfob -n "__fish_keyfob_using_subcommand env; and __fish_seen_subcommand_from show" -l version -d 'An older version' -r
complete -c keyfob -n "__fish_keyfob_using_subcommand env; and __fish_seen_subcommand_from show" -s o -l output -d 'How to print results' -r -f -a "table\t'For people'
json\t'For scripts'"
complete -c keyfob -n "__fish_keyfob_using_subcommand env; and __fish_seen_subcommand_from show" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c keyfob -n "__fish_keyfob_using_subcommand env; and __fish_seen_subcommand_from set" -l expect -d 'Go on only if this is still the newest version' -r
complete -c keyfob -n "__fish_keyfob_using_subcommand env; and __fish_seen_subcommand_from set" -s o -l output -d 'How to print results' -r -f -a "table\t'For people'
json\t'For scripts'"
complete -c keyfob -n "__fish_keyfob_using_subcommand env; and __fish_seen_subcommand_from set" -s y -l yes -d 'Don\'t ask; needed where there is no terminal to ask at'
complete -c keyfob -n "__fish_keyfob_using_subcommand env; and __fish_seen_subcommand_from set" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c keyfob -n "__fish_keyfob_using_subcommand env; and __fish_seen_subcommand_from unset" -l expect -d 'Go on only if this is still the newest version' -r
complete -c keyfob -n "__fish_keyfob_using_subcommand env; and __fish_seen_subcommand_from unset" -s o -l output -d 'How to print results' -r -f -a "table\t'For people'
json\t'For scripts'"
complete -c keyfob -n "__fish_keyfob_using_subcommand env; and __fish_seen_subcommand_from unset" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c keyfob -n "__fish_keyfob_using_subcommand env; and __fish_seen_subcommand_from boot" -l deadline -d 'How long the VM waits for its secrets, from the agent\'s start: 1 to 3600 (unsaid: 90)' -r
complete -c keyfob -n "__fish_keyfob_using_subcommand env; and __fish_seen_subcommand_from boot" -l on-failure -d 'What it does then, or when the control plane refuses (unsaid: block)' -r -f -a "block\t'Stay closed: the agent fails, and what waits for it does not start'
continue\t'Open without secrets, visibly so; the agent goes on trying'"
complete -c keyfob -n "__fish_keyfob_using_subcommand env; and __fish_seen_subcommand_from boot" -s o -l output -d 'How to print results' -r -f -a "table\t'For people'
json\t'For scripts'"
complete -c keyfob -n "__fish_keyfob_using_subcommand env; and __fish_seen_subcommand_from boot" -l unset -d 'Leave unsaid what no other flag says'
complete -c keyfob -n "__fish_keyfob_using_subcommand env; and __fish_seen_subcommand_from boot" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c keyfob -n "__fish_keyfob_using_subcommand env; and __fish_seen_subcommand_from history" -s o -l output -d 'How to print results' -r -f -a "table\t'For people'
json\t'For scripts'"
complete -c keyfob -n "__fish_keyfob_using_subcommand env; and __fish_seen_subcommand_from history" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c keyfob -n "__fish_keyfob_using_subcommand env; and __fish_seen_subcommand_from restore" -s o -l output -d 'How to print results' -r -f -a "table\t'For people'
json\t'For scripts'"
complete -c keyfob -n "__fish_keyfob_using_subcommand env; and __fish_seen_subcommand_from restore" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c keyfob -n "__fish_keyfob_using_subcommand environment; and not __fish_seen_subcommand_from create list ls show set unset boot history restore" -s o -l output -d 'How to print results' -r -f -a "table\t'For people'
json\t'For scripts'"
complete -c keyfob -n "__fish_keyfob_using_subcommand environment; and not __fish_seen_subcommand_from create list ls show set unset boot history restore" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c keyfob -n "__fish_keyfob_using_subcommand environment; and not __fish_seen_subcommand_from create list ls show set unset boot history restore" -f -a "create" -d 'Make an environment'
complete -c keyfob -n "__fish_keyfob_using_subcommand environment; and not __fish_seen_subcommand_from create list ls show set unset boot history restore" -f -a "list" -d 'List environments'
complete -c keyfob -n "__fish_keyfob_using_subcommand environment; and not __fish_seen_subcommand_from create list ls show set unset boot history restore" -f -a "ls" -d 'List environments'
complete -c keyfob -n "__fish_keyfob_using_subcommand environment; and not __fish_seen_subcommand_from create list ls show set unset boot history restore" -f -a "show" -d 'Show an environment\'s variables'
complete -c keyfob -n "__fish_keyfob_using_subcommand environment; and not __fish_seen_subcommand_from create list ls show set unset boot history restore" -f -a "set" -d 'Set variables; makes one new version'
complete -c keyfob -n "__fish_keyfob_using_subcommand environment; and not __fish_seen_subcommand_from create list ls show set unset boot history restore" -f -a "unset" -d 'Unset variables; makes one new version'
complete -c keyfob -n "__fish_keyfob_using_subcommand environment; and not __fish_seen_subcommand_from create list ls show set unset boot history restore" -f -a "boot" -d 'Show or change what a session\'s VM does when its secrets do not come; a change makes one new version'
complete -c keyfob -n "__fish_keyfob_using_subcommand environment; and not __fish_seen_subcommand_from create list ls show set unset boot history restore" -f -a "history" -d 'Show who changed what, and when'
complete -c keyfob -n "__fish_keyfob_using_subcommand environment; and not __fish_seen_subcommand_from create list ls show set unset boot history restore" -f -a "restore" -d 'Make a new version that equals an older one'
complete -c keyfob -n "__fish_keyfob_using_subcommand environment; and __fish_seen_subcommand_from create" -l description -d 'A note for people' -r
complete -c keyfob -n "__fish_keyfob_using_subcommand environment; and __fish_seen_subcommand_from create" -s o -l output -d 'How to print results' -r -f -a "table\t'For people'
json\t'For scripts'"
complete -c keyfob -n "__fish_keyfob_using_subcommand environment; and __fish_seen_subcommand_from create" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c keyfob -n "__fish_keyfob_using_subcommand environment; and __fish_seen_subcommand_from list" -s o -l output -d 'How to print results' -r -f -a "table\t'For people'
json\t'For scripts'"
complete -c keyfob -n "__fish_keyfob_using_subcommand environment; and __fish_seen_subcommand_from list" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c keyfob -n "__fish_keyfob_using_subcommand environment; and __fish_seen_subcommand_from ls" -s o -l output -d 'How to print results' -r -f -a "table\t'For people'
json\t'For scripts'"
complete -c keyfob -n "__fish_keyfob_using_subcommand environment; and __fish_seen_subcommand_from ls" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c keyfob -n "__fish_keyfob_using_subcommand environment; and __fish_seen_subcommand_from show" -l version -d 'An older version' -r
complete -c keyfob -n "__fish_keyfob_using_subcommand environment; and __fish_seen_subcommand_from show" -s o -l output -d 'How to print results' -r -f -a "table\t'For people'
json\t'For scripts'"
complete -c keyfob -n "__fish_keyfob_using_subcommand environment; and __fish_seen_subcommand_from show" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c keyfob -n "__fish_keyfob_using_subcommand environment; and __fish_seen_subcommand_from set" -l expect -d 'Go on only if this is still the newest version' -r
complete -c keyfob -n "__fish_keyfob_using_subcommand environment; and __fish_seen_subcommand_from set" -s o -l output -d 'How to print results' -r -f -a "table\t'For people'
json\t'For scripts'"
complete -c keyfob -n "__fish_keyfob_using_subcommand environment; and __fish_seen_subcommand_from set" -s y -l yes -d 'Don\'t ask; needed where there is no terminal to ask at'
complete -c keyfob -n "__fish_keyfob_using_subcommand environment; and __fish_seen_subcommand_from set" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c keyfob -n "__fish_keyfob_using_subcommand environment; and __fish_seen_subcommand_from unset" -l expect -d 'Go on only if this is still the newest version' -r
complete -c keyfob -n "__fish_keyfob_using_subcommand environment; and __fish_seen_subcommand_from unset" -s o -l output -d 'How to print results' -r -f -a "table\t'For people'
json\t'For scripts'"
complete -c keyfob -n "__fish_keyfob_using_subcommand environment; and __fish_seen_subcommand_from unset" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c keyfob -n "__fish_keyfob_using_subcommand environment; and __fish_seen_subcommand_from boot" -l deadline -d 'How long the VM waits for its secrets, from the agent\'s start: 1 to 3600 (unsaid: 90)' -r
complete -c keyfob -n "__fish_keyfob_using_subcommand environment; and __fish_seen_subcommand_from boot" -l on-failure -d 'What it does then, or when the control plane refuses (unsaid: block)' -r -f -a "block\t'Stay closed: the agent fails, and what waits for it does not start'
continue\t'Open without secrets, visibly so; the agent goes on trying'"
complete -c keyfob -n "__fish_keyfob_using_subcommand environment; and __fish_seen_subcommand_from boot" -s o -l output -d 'How to print results' -r -f -a "table\t'For people'
json\t'For scripts'"
complete -c keyfob -n "__fish_keyfob_using_subcommand environment; and __fish_seen_subcommand_from boot" -l unset -d 'Leave unsaid what no other flag says'
complete -c keyfob -n "__fish_keyfob_using_subcommand environment; and __fish_seen_subcommand_from boot" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c keyfob -n "__fish_keyfob_using_subcommand environment; and __fish_seen_subcommand_from history" -s o -l output -d 'How to print results' -r -f -a "table\t'For people'
json\t'For scripts'"
complete -c keyfob -n "__fish_keyfob_using_subcommand environment; and __fish_seen_subcommand_from history" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c keyfob -n "__fish_keyfob_using_subcommand environment; and __fish_seen_subcommand_from restore" -s o -l output -d 'How to print results' -r -f -a "table\t'For people'
json\t'For scripts'"
complete -c keyfob -n "__fish_keyfob_using_subcommand environment; and __fish_seen_subcommand_from restore" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c keyfob -n "__fish_keyfob_using_subcommand session; and not __fish_seen_subcommand_from create list ls show end revoke" -s o -l output -d 'How to print results' -r -f -a "table\t'For people'
json\t'For scripts'"
complete -c keyfob -n "__fish_keyfob_using_subcommand session; and not __fish_seen_subcommand_from create list ls show end revoke" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c keyfob -n "__fish_keyfob_using_subcommand session; and not __fish_seen_subcommand_from create list ls show end revoke" -f -a "create" -d 'Make a session and print its join string, once'
complete -c keyfob -n "__fish_keyfob_using_subcommand session; and not __fish_seen_subcommand_from create list ls show end revoke" -f -a "list" -d 'List sessions, newest first'
complete -c keyfob -n "__fish_keyfob_using_subcommand session; and not __fish_seen_subcommand_from create list ls show end revoke" -f -a "ls" -d 'List sessions, newest first'
complete -c keyfob -n "__fish_keyfob_using_subcommand session; and not __fish_seen_subcommand_from create list ls show end revoke" -f -a "show" -d 'Show one session'
complete -c keyfob -n "__fish_keyfob_using_subcommand session; and not __fish_seen_subcommand_from create list ls show end revoke" -f -a "end" -d 'End a session: its VM is gone'
complete -c keyfob -n "__fish_keyfob_using_subcommand session; and not __fish_seen_subcommand_from create list ls show end revoke" -f -a "revoke" -d 'Revoke a session: its VM is not trusted any more'
complete -c keyfob -n "__fish_keyfob_using_subcommand session; and __fish_seen_subcommand_from create" -l user -d 'Whose session; it gets this user\'s private secrets' -r
complete -c keyfob -n "__fish_keyfob_using_subcommand session; and __fish_seen_subcommand_from create" -s e -l environment -d 'The environment' -r
complete -c keyfob -n "__fish_keyfob_using_subcommand session; and __fish_seen_subcommand_from create" -l ttl -d 'How long the join string works' -r
complete -c keyfob -n "__fish_keyfob_using_subcommand session; and __fish_seen_subcommand_from create" -s o -l output -d 'How to print results' -r -f -a "table\t'For people'
json\t'For scripts'"
complete -c keyfob -n "__fish_keyfob_using_subcommand session; and __fish_seen_subcommand_from create" -l automation -d 'Nobody\'s session: it gets shared secrets and the environment\'s variables only'
complete -c keyfob -n "__fish_keyfob_using_subcommand session; and __fish_seen_subcommand_from create" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c keyfob -n "__fish_keyfob_using_subcommand session; and __fish_seen_subcommand_from list" -l user -d 'Only this user\'s' -r
complete -c keyfob -n "__fish_keyfob_using_subcommand session; and __fish_seen_subcommand_from list" -s e -l environment -d 'Only of this environment' -r
complete -c keyfob -n "__fish_keyfob_using_subcommand session; and __fish_seen_subcommand_from list" -s o -l output -d 'How to print results' -r -f -a "table\t'For people'
json\t'For scripts'"
complete -c keyfob -n "__fish_keyfob_using_subcommand session; and __fish_seen_subcommand_from list" -s a -l all -d 'Also ended, revoked and expired ones'
complete -c keyfob -n "__fish_keyfob_using_subcommand session; and __fish_seen_subcommand_from list" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c keyfob -n "__fish_keyfob_using_subcommand session; and __fish_seen_subcommand_from ls" -l user -d 'Only this user\'s' -r
complete -c keyfob -n "__fish_keyfob_using_subcommand session; and __fish_seen_subcommand_from ls" -s e -l environment -d 'Only of this environment' -r
complete -c keyfob -n "__fish_keyfob_using_subcommand session; and __fish_seen_subcommand_from ls" -s o -l output -d 'How to print results' -r -f -a "table\t'For people'
json\t'For scripts'"
complete -c keyfob -n "__fish_keyfob_using_subcommand session; and __fish_seen_subcommand_from ls" -s a -l all -d 'Also ended, revoked and expired ones'
complete -c keyfob -n "__fish_keyfob_using_subcommand session; and __fish_seen_subcommand_from ls" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c keyfob -n "__fish_keyfob_using_subcommand session; and __fish_seen_subcommand_from show" -s o -l output -d 'How to print results' -r -f -a "table\t'For people'
json\t'For scripts'"
complete -c keyfob -n "__fish_keyfob_using_subcommand session; and __fish_seen_subcommand_from show" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c keyfob -n "__fish_keyfob_using_subcommand session; and __fish_seen_subcommand_from end" -s o -l output -d 'How to print results' -r -f -a "table\t'For people'
json\t'For scripts'"
complete -c keyfob -n "__fish_keyfob_using_subcommand session; and __fish_seen_subcommand_from end" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c keyfob -n "__fish_keyfob_using_subcommand session; and __fish_seen_subcommand_from revoke" -s o -l output -d 'How to print results' -r -f -a "table\t'For people'
json\t'For scripts'"
complete -c keyfob -n "__fish_keyfob_using_subcommand session; and __fish_seen_subcommand_from revoke" -s y -l yes -d 'Don\'t ask; needed where there is no terminal to ask at'
complete -c keyfob -n "__fish_keyfob_using_subcommand session; and __fish_seen_subcommand_from revoke" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c keyfob -n "__fish_keyfob_using_subcommand fleet; and not __fish_seen_subcommand_from list ls show watch" -s o -l output -d 'How to print results' -r -f -a "table\t'For people'
json\t'For scripts'"
complete -c keyfob -n "__fish_keyfob_using_subcommand fleet; and not __fish_seen_subcommand_from list ls show watch" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c keyfob -n "__fish_keyfob_using_subcommand fleet; and not __fish_seen_subcommand_from list ls show watch" -f -a "list" -d 'List agents, those of the newest sessions first'
complete -c keyfob -n "__fish_keyfob_using_subcommand fleet; and not __fish_seen_subcommand_from list ls show watch" -f -a "ls" -d 'List agents, those of the newest sessions first'
complete -c keyfob -n "__fish_keyfob_using_subcommand fleet; and not __fish_seen_subcommand_from list ls show watch" -f -a "show" -d 'Show one agent, also of a session that has ended'
complete -c keyfob -n "__fish_keyfob_using_subcommand fleet; and not __fish_seen_subcommand_from list ls show watch" -f -a "watch" -d 'Show agents as they change, until interrupted'
complete -c keyfob -n "__fish_keyfob_using_subcommand fleet; and __fish_seen_subcommand_from list" -l user -d 'Only of this user\'s sessions' -r
complete -c keyfob -n "__fish_keyfob_using_subcommand fleet; and __fish_seen_subcommand_from list" -s e -l environment -d 'Only of this environment' -r
complete -c keyfob -n "__fish_keyfob_using_subcommand fleet; and __fish_seen_subcommand_from list" -l phase -d 'Only in this phase' -r -f -a "enrolling\t'Redeeming its join string'
fetching\t'Fetching its bundle'
ready\t'Files are in place and read back'
degraded\t'Goes on without secrets, or with what it has'
refused\t'Refused by the control plane'
failed\t'Gave up'"
complete -c keyfob -n "__fish_keyfob_using_subcommand fleet; and __fish_seen_subcommand_from list" -s o -l output -d 'How to print results' -r -f -a "table\t'For people'
json\t'For scripts'"
complete -c keyfob -n "__fish_keyfob_using_subcommand fleet; and __fish_seen_subcommand_from list" -l stale -d 'Only those that have been silent for three beats'
complete -c keyfob -n "__fish_keyfob_using_subcommand fleet; and __fish_seen_subcommand_from list" -l outdated -d 'Only those whose bundle is not what their session would get now'
complete -c keyfob -n "__fish_keyfob_using_subcommand fleet; and __fish_seen_subcommand_from list" -l cloned -d 'Only those whose identity was seen at two places'
complete -c keyfob -n "__fish_keyfob_using_subcommand fleet; and __fish_seen_subcommand_from list" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c keyfob -n "__fish_keyfob_using_subcommand fleet; and __fish_seen_subcommand_from ls" -l user -d 'Only of this user\'s sessions' -r
complete -c keyfob -n "__fish_keyfob_using_subcommand fleet; and __fish_seen_subcommand_from ls" -s e -l environment -d 'Only of this environment' -r
complete -c keyfob -n "__fish_keyfob_using_subcommand fleet; and __fish_seen_subcommand_from ls" -l phase -d 'Only in this phase' -r -f -a "enrolling\t'Redeeming its join string'
fetching\t'Fetching its bundle'
ready\t'Files are in place and read back'
degraded\t'Goes on without secrets, or with what it has'
refused\t'Refused by the control plane'
failed\t'Gave up'"
complete -c keyfob -n "__fish_keyfob_using_subcommand fleet; and __fish_seen_subcommand_from ls" -s o -l output -d 'How to print results' -r -f -a "table\t'For people'
json\t'For scripts'"
complete -c keyfob -n "__fish_keyfob_using_subcommand fleet; and __fish_seen_subcommand_from ls" -l stale -d 'Only those that have been silent for three beats'
complete -c keyfob -n "__fish_keyfob_using_subcommand fleet; and __fish_seen_subcommand_from ls" -l outdated -d 'Only those whose bundle is not what their session would get now'
complete -c keyfob -n "__fish_keyfob_using_subcommand fleet; and __fish_seen_subcommand_from ls" -l cloned -d 'Only those whose identity was seen at two places'
complete -c keyfob -n "__fish_keyfob_using_subcommand fleet; and __fish_seen_subcommand_from ls" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c keyfob -n "__fish_keyfob_using_subcommand fleet; and __fish_seen_subcommand_from show" -s o -l output -d 'How to print results' -r -f -a "table\t'For people'
json\t'For scripts'"
complete -c keyfob -n "__fish_keyfob_using_subcommand fleet; and __fish_seen_subcommand_from show" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c keyfob -n "__fish_keyfob_using_subcommand fleet; and __fish_seen_subcommand_from watch" -l user -d 'Only of this user\'s sessions' -r
complete -c keyfob -n "__fish_keyfob_using_subcommand fleet; and __fish_seen_subcommand_from watch" -s e -l environment -d 'Only of this environment' -r
complete -c keyfob -n "__fish_keyfob_using_subcommand fleet; and __fish_seen_subcommand_from watch" -l phase -d 'Only in this phase' -r -f -a "enrolling\t'Redeeming its join string'
fetching\t'Fetching its bundle'
ready\t'Files are in place and read back'
degraded\t'Goes on without secrets, or with what it has'
refused\t'Refused by the control plane'
failed\t'Gave up'"
complete -c keyfob -n "__fish_keyfob_using_subcommand fleet; and __fish_seen_subcommand_from watch" -s o -l output -d 'How to print results' -r -f -a "table\t'For people'
json\t'For scripts'"
complete -c keyfob -n "__fish_keyfob_using_subcommand fleet; and __fish_seen_subcommand_from watch" -l stale -d 'Only those that have been silent for three beats'
complete -c keyfob -n "__fish_keyfob_using_subcommand fleet; and __fish_seen_subcommand_from watch" -l outdated -d 'Only those whose bundle is not what their session would get now'
complete -c keyfob -n "__fish_keyfob_using_subcommand fleet; and __fish_seen_subcommand_from watch" -l cloned -d 'Only those whose identity was seen at two places'
complete -c keyfob -n "__fish_keyfob_using_subcommand fleet; and __fish_seen_subcommand_from watch" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c keyfob -n "__fish_keyfob_using_subcommand agent; and not __fish_seen_subcommand_from status" -s o -l output -d 'How to print results' -r -f -a "table\t'For people'
json\t'For scripts'"
complete -c keyfob -n "__fish_keyfob_using_subcommand agent; and not __fish_seen_subcommand_from status" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c keyfob -n "__fish_keyfob_using_subcommand agent; and not __fish_seen_subcommand_from status" -f -a "status" -d 'Show how an agent is, as it says itself; never a value'
complete -c keyfob -n "__fish_keyfob_using_subcommand agent; and __fish_seen_subcommand_from status" -l socket -d 'The agent\'s socket on this machine' -r -F
complete -c keyfob -n "__fish_keyfob_using_subcommand agent; and __fish_seen_subcommand_from status" -l address -d 'An agent\'s address on the network, HOST:PORT' -r
complete -c keyfob -n "__fish_keyfob_using_subcommand agent; and __fish_seen_subcommand_from status" -s o -l output -d 'How to print results' -r -f -a "table\t'For people'
json\t'For scripts'"
complete -c keyfob -n "__fish_keyfob_using_subcommand agent; and __fish_seen_subcommand_from status" -l watch -d 'Go on showing it after each change'
complete -c keyfob -n "__fish_keyfob_using_subcommand agent; and __fish_seen_subcommand_from status" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c keyfob -n "__fish_keyfob_using_subcommand user; and not __fish_seen_subcommand_from invite list ls role remove rm" -s o -l output -d 'How to print results' -r -f -a "table\t'For people'
json\t'For scripts'"
complete -c keyfob -n "__fish_keyfob_using_subcommand user; and not __fish_seen_subcommand_from invite list ls role remove rm" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c keyfob -n "__fish_keyfob_using_subcommand user; and not __fish_seen_subcommand_from invite list ls role remove rm" -f -a "invite" -d 'Add somebody and print their join string, once'
complete -c keyfob -n "__fish_keyfob_using_subcommand user; and not __fish_seen_subcommand_from invite list ls role remove rm" -f -a "list" -d 'List everyone'
complete -c keyfob -n "__fish_keyfob_using_subcommand user; and not __fish_seen_subcommand_from invite list ls role remove rm" -f -a "ls" -d 'List everyone'
complete -c keyfob -n "__fish_keyfob_using_subcommand user; and not __fish_seen_subcommand_from invite list ls role remove rm" -f -a "role" -d 'Make a member an admin, or an admin a member'
complete -c keyfob -n "__fish_keyfob_using_subcommand user; and not __fish_seen_subcommand_from invite list ls role remove rm" -f -a "remove" -d 'Remove somebody: certificates stop working, sessions are revoked, private secrets are destroyed'
complete -c keyfob -n "__fish_keyfob_using_subcommand user; and not __fish_seen_subcommand_from invite list ls role remove rm" -f -a "rm" -d 'Remove somebody: certificates stop working, sessions are revoked, private secrets are destroyed'
complete -c keyfob -n "__fish_keyfob_using_subcommand user; and __fish_seen_subcommand_from invite" -l role -d 'What they may do (default: member; for somebody who is there already, the role they have)' -r -f -a "member\t'A person: own private secrets, shared secrets, own sessions'
admin\t'A person who also manages users, environments, sessions and everyone\'s shared secrets, and reads the audit log'
orchestrator\t'A machine that boots VMs: makes and ends sessions'
operator\t'A person or machine that watches sessions and agents'"
complete -c keyfob -n "__fish_keyfob_using_subcommand user; and __fish_seen_subcommand_from invite" -l ttl -d 'How long the join string works' -r
complete -c keyfob -n "__fish_keyfob_using_subcommand user; and __fish_seen_subcommand_from invite" -s o -l output -d 'How to print results' -r -f -a "table\t'For people'
json\t'For scripts'"
complete -c keyfob -n "__fish_keyfob_using_subcommand user; and __fish_seen_subcommand_from invite" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c keyfob -n "__fish_keyfob_using_subcommand user; and __fish_seen_subcommand_from list" -s o -l output -d 'How to print results' -r -f -a "table\t'For people'
json\t'For scripts'"
complete -c keyfob -n "__fish_keyfob_using_subcommand user; and __fish_seen_subcommand_from list" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c keyfob -n "__fish_keyfob_using_subcommand user; and __fish_seen_subcommand_from ls" -s o -l output -d 'How to print results' -r -f -a "table\t'For people'
json\t'For scripts'"
complete -c keyfob -n "__fish_keyfob_using_subcommand user; and __fish_seen_subcommand_from ls" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c keyfob -n "__fish_keyfob_using_subcommand user; and __fish_seen_subcommand_from role" -s o -l output -d 'How to print results' -r -f -a "table\t'For people'
json\t'For scripts'"
complete -c keyfob -n "__fish_keyfob_using_subcommand user; and __fish_seen_subcommand_from role" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c keyfob -n "__fish_keyfob_using_subcommand user; and __fish_seen_subcommand_from remove" -s o -l output -d 'How to print results' -r -f -a "table\t'For people'
json\t'For scripts'"
complete -c keyfob -n "__fish_keyfob_using_subcommand user; and __fish_seen_subcommand_from remove" -s y -l yes -d 'Don\'t ask; needed where there is no terminal to ask at'
complete -c keyfob -n "__fish_keyfob_using_subcommand user; and __fish_seen_subcommand_from remove" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c keyfob -n "__fish_keyfob_using_subcommand user; and __fish_seen_subcommand_from rm" -s o -l output -d 'How to print results' -r -f -a "table\t'For people'
json\t'For scripts'"
complete -c keyfob -n "__fish_keyfob_using_subcommand user; and __fish_seen_subcommand_from rm" -s y -l yes -d 'Don\'t ask; needed where there is no terminal to ask at'
complete -c keyfob -n "__fish_keyfob_using_subcommand user; and __fish_seen_subcommand_from rm" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c keyfob -n "__fish_keyfob_using_subcommand audit; and not __fish_seen_subcommand_from list ls verify" -s o -l output -d 'How to print results' -r -f -a "table\t'For people'
json\t'For scripts'"
complete -c keyfob -n "__fish_keyfob_using_subcommand audit; and not __fish_seen_subcommand_from list ls verify" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c keyfob -n "__fish_keyfob_using_subcommand audit; and not __fish_seen_subcommand_from list ls verify" -f -a "list" -d 'List entries, newest first'
complete -c keyfob -n "__fish_keyfob_using_subcommand audit; and not __fish_seen_subcommand_from list ls verify" -f -a "ls" -d 'List entries, newest first'
complete -c keyfob -n "__fish_keyfob_using_subcommand audit; and not __fish_seen_subcommand_from list ls verify" -f -a "verify" -d 'Recompute the whole chain; fails and names the first entry that does not fit'
complete -c keyfob -n "__fish_keyfob_using_subcommand audit; and __fish_seen_subcommand_from list" -l actor -d 'Only of this actor: `user/NAME`, `session/ID`, `orchestrator/NAME`, `server`' -r
complete -c keyfob -n "__fish_keyfob_using_subcommand audit; and __fish_seen_subcommand_from list" -l action -d 'Only actions that start so: `secret.`, `bundle.deliver`' -r
complete -c keyfob -n "__fish_keyfob_using_subcommand audit; and __fish_seen_subcommand_from list" -l target -d 'Only of this target: `secret/ID`, `environment/NAME`, `session/ID`, `user/NAME`' -r
complete -c keyfob -n "__fish_keyfob_using_subcommand audit; and __fish_seen_subcommand_from list" -s n -l limit -d 'At most this many' -r
complete -c keyfob -n "__fish_keyfob_using_subcommand audit; and __fish_seen_subcommand_from list" -s o -l output -d 'How to print results' -r -f -a "table\t'For people'
json\t'For scripts'"
complete -c keyfob -n "__fish_keyfob_using_subcommand audit; and __fish_seen_subcommand_from list" -l all -d 'Every entry'
complete -c keyfob -n "__fish_keyfob_using_subcommand audit; and __fish_seen_subcommand_from list" -l oldest-first -d 'Oldest first'
complete -c keyfob -n "__fish_keyfob_using_subcommand audit; and __fish_seen_subcommand_from list" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c keyfob -n "__fish_keyfob_using_subcommand audit; and __fish_seen_subcommand_from ls" -l actor -d 'Only of this actor: `user/NAME`, `session/ID`, `orchestrator/NAME`, `server`' -r
complete -c keyfob -n "__fish_keyfob_using_subcommand audit; and __fish_seen_subcommand_from ls" -l action -d 'Only actions that start so: `secret.`, `bundle.deliver`' -r
complete -c keyfob -n "__fish_keyfob_using_subcommand audit; and __fish_seen_subcommand_from ls" -l target -d 'Only of this target: `secret/ID`, `environment/NAME`, `session/ID`, `user/NAME`' -r
complete -c keyfob -n "__fish_keyfob_using_subcommand audit; and __fish_seen_subcommand_from ls" -s n -l limit -d 'At most this many' -r
complete -c keyfob -n "__fish_keyfob_using_subcommand audit; and __fish_seen_subcommand_from ls" -s o -l output -d 'How to print results' -r -f -a "table\t'For people'
json\t'For scripts'"
complete -c keyfob -n "__fish_keyfob_using_subcommand audit; and __fish_seen_subcommand_from ls" -l all -d 'Every entry'
complete -c keyfob -n "__fish_keyfob_using_subcommand audit; and __fish_seen_subcommand_from ls" -l oldest-first -d 'Oldest first'
complete -c keyfob -n "__fish_keyfob_using_subcommand audit; and __fish_seen_subcommand_from ls" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c keyfob -n "__fish_keyfob_using_subcommand audit; and __fish_seen_subcommand_from verify" -s o -l output -d 'How to print results' -r -f -a "table\t'For people'
json\t'For scripts'"
complete -c keyfob -n "__fish_keyfob_using_subcommand audit; and __fish_seen_subcommand_from verify" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c keyfob -n "__fish_keyfob_using_subcommand completions" -s o -l output -d 'How to print results' -r -f -a "table\t'For people'
json\t'For scripts'"
complete -c keyfob -n "__fish_keyfob_using_subcommand completions" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c keyfob -n "__fish_keyfob_using_subcommand demo" -l from -d 'Take the secrets from a dotenv file instead of asking' -r -F
complete -c keyfob -n "__fish_keyfob_using_subcommand demo" -s o -l output -d 'How to print results' -r -f -a "table\t'For people'
json\t'For scripts'"
complete -c keyfob -n "__fish_keyfob_using_subcommand demo" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c keyfob -n "__fish_keyfob_using_subcommand man" -s o -l output -d 'How to print results' -r -f -a "table\t'For people'
json\t'For scripts'"
complete -c keyfob -n "__fish_keyfob_using_subcommand man" -s h -l help -d 'Print help (see more with \'--help\')'
