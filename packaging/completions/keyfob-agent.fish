# Print an optspec for argparse to handle cmd's options that are independent of any subcommand.
function __fish_keyfob_agent_global_optspecs
    string join \n config= h/help V/version
end

function __fish_keyfob_agent_needs_command
    # Figure out if the current invocation already has a command.
    set -l cmd (commandline -opc)
    set -e cmd[1]
    argparse -s (__fish_keyfob_agent_global_optspecs) -- $cmd 2>/dev/null
    or return
    if set -q argv[1]
        # Also print the command, so this can be used to figure out what it is.
        echo $argv[1]
        return 1
    end
    return 0
end

function __fish_keyfob_agent_using_subcommand
    set -l cmd (__fish_keyfob_agent_needs_command)
    test -z "$cmd"
    and return 1
    contains -- $cmd[1] $argv
end

complete -c keyfob-agent -n "__fish_keyfob_agent_needs_command" -l config -d 'Read this configuration [default: /etc/keyfob/agent.toml, if it is there]' -r -F
complete -c keyfob-agent -n "__fish_keyfob_agent_needs_command" -s h -l help -d 'Print help'
complete -c keyfob-agent -n "__fish_keyfob_agent_needs_command" -s V -l version -d 'Print version'
complete -c keyfob-agent -n "__fish_keyfob_agent_needs_command" -f -a "run" -d 'Enrol, fetch the session\'s bundle, write its files; then stay, renew the identity, and wipe the files when stopped'
complete -c keyfob-agent -n "__fish_keyfob_agent_needs_command" -f -a "exec" -d 'Run a command with the session\'s variables in its environment, and redact what it prints'
complete -c keyfob-agent -n "__fish_keyfob_agent_needs_command" -f -a "redact" -d 'Pass standard input on to standard output, without the session\'s values'
complete -c keyfob-agent -n "__fish_keyfob_agent_needs_command" -f -a "stage"
complete -c keyfob-agent -n "__fish_keyfob_agent_needs_command" -f -a "doctor" -d 'Go in each way there is, and tell which of the session\'s variables are set there'
complete -c keyfob-agent -n "__fish_keyfob_agent_needs_command" -f -a "journal" -d 'Pass on to journald what is logged, without the session\'s values; by its units, as root'
complete -c keyfob-agent -n "__fish_keyfob_agent_needs_command" -f -a "stand-in"
complete -c keyfob-agent -n "__fish_keyfob_agent_needs_command" -f -a "probe"
complete -c keyfob-agent -n "__fish_keyfob_agent_needs_command" -f -a "mount" -d 'Mount memory that can\'t be swapped on the runtime directory, for an agent without privilege; needs root'
complete -c keyfob-agent -n "__fish_keyfob_agent_needs_command" -f -a "unmount" -d 'Unmount the runtime directory if the agent has emptied it; needs root'
complete -c keyfob-agent -n "__fish_keyfob_agent_needs_command" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c keyfob-agent -n "__fish_keyfob_agent_using_subcommand run" -l join-file -d 'A file that holds the join string; removed once it is used' -r -F
complete -c keyfob-agent -n "__fish_keyfob_agent_using_subcommand run" -l dir -d 'Where the files go; a directory of its own on tmpfs or ramfs [default: /run/keyfob, mounted if it isn\'t]' -r -F
complete -c keyfob-agent -n "__fish_keyfob_agent_using_subcommand run" -l group -d 'The session\'s group, which may read the files [default: files.group of the configuration, else the agent\'s own]' -r
complete -c keyfob-agent -n "__fish_keyfob_agent_using_subcommand run" -l memory -d 'The weakest memory that values may lie in while they are written' -r -f -a "memfd-secret\t'Only memory that the kernel itself can\'t read (memfd_secret)'
mlock\t'At least locked against swapping'
none\t'Whatever there is'"
complete -c keyfob-agent -n "__fish_keyfob_agent_using_subcommand run" -l deadline -d 'Give up after this many seconds without the files in place [default: the configuration\'s, the environment\'s, 90]' -r
complete -c keyfob-agent -n "__fish_keyfob_agent_using_subcommand run" -l on-failure -d 'What to do then [default: the configuration\'s, the environment\'s, block]' -r -f -a "block\t'Fail: what waits for the agent stays closed'
continue\t'Say READY without secrets, visibly, and go on trying'"
complete -c keyfob-agent -n "__fish_keyfob_agent_using_subcommand run" -l config -d 'Read this configuration [default: /etc/keyfob/agent.toml, if it is there]' -r -F
complete -c keyfob-agent -n "__fish_keyfob_agent_using_subcommand run" -l mount -d 'Mount memory that can\'t be swapped on the directory first; needs root'
complete -c keyfob-agent -n "__fish_keyfob_agent_using_subcommand run" -l once -d 'Exit when the files are in place, and leave them there'
complete -c keyfob-agent -n "__fish_keyfob_agent_using_subcommand run" -l allow-swappable -d 'Accept a directory whose memory may be swapped to disk'
complete -c keyfob-agent -n "__fish_keyfob_agent_using_subcommand run" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c keyfob-agent -n "__fish_keyfob_agent_using_subcommand exec" -l dir -d 'The runtime directory [default: files.dir of the configuration, else /run/keyfob]' -r -F
complete -c keyfob-agent -n "__fish_keyfob_agent_using_subcommand exec" -l wait -d 'Wait for the secrets, this many seconds at the most' -r
complete -c keyfob-agent -n "__fish_keyfob_agent_using_subcommand exec" -l with -d 'Also give it this secret, whose auto-install is off; may be repeated. Each is an audited delivery' -r
complete -c keyfob-agent -n "__fish_keyfob_agent_using_subcommand exec" -l config -d 'Read this configuration [default: /etc/keyfob/agent.toml, if it is there]' -r -F
complete -c keyfob-agent -n "__fish_keyfob_agent_using_subcommand exec" -l no-redact -d 'Leave what it prints as it is, and this process to the command'
complete -c keyfob-agent -n "__fish_keyfob_agent_using_subcommand exec" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c keyfob-agent -n "__fish_keyfob_agent_using_subcommand redact" -l dir -d 'The runtime directory [default: files.dir of the configuration, else /run/keyfob]' -r -F
complete -c keyfob-agent -n "__fish_keyfob_agent_using_subcommand redact" -l config -d 'Read this configuration [default: /etc/keyfob/agent.toml, if it is there]' -r -F
complete -c keyfob-agent -n "__fish_keyfob_agent_using_subcommand redact" -l terminal -d 'The input is what a terminal shows: values may be wrapped, or have colours in them'
complete -c keyfob-agent -n "__fish_keyfob_agent_using_subcommand redact" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c keyfob-agent -n "__fish_keyfob_agent_using_subcommand stage" -l config -d 'Read this configuration [default: /etc/keyfob/agent.toml, if it is there]' -r -F
complete -c keyfob-agent -n "__fish_keyfob_agent_using_subcommand stage" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c keyfob-agent -n "__fish_keyfob_agent_using_subcommand doctor" -l dir -d 'The runtime directory [default: files.dir of the configuration, else /run/keyfob]' -r -F
complete -c keyfob-agent -n "__fish_keyfob_agent_using_subcommand doctor" -l user -d 'Whose ways in to try [default: the first of the session\'s group, else the first person of the machine]' -r
complete -c keyfob-agent -n "__fish_keyfob_agent_using_subcommand doctor" -s o -l output -d 'How to print it' -r -f -a "table\t''
json\t''"
complete -c keyfob-agent -n "__fish_keyfob_agent_using_subcommand doctor" -l config -d 'Read this configuration [default: /etc/keyfob/agent.toml, if it is there]' -r -F
complete -c keyfob-agent -n "__fish_keyfob_agent_using_subcommand doctor" -l cron -d 'Also try a cron job, which takes up to a minute'
complete -c keyfob-agent -n "__fish_keyfob_agent_using_subcommand doctor" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c keyfob-agent -n "__fish_keyfob_agent_using_subcommand journal" -l config -d 'Read this configuration [default: /etc/keyfob/agent.toml, if it is there]' -r -F
complete -c keyfob-agent -n "__fish_keyfob_agent_using_subcommand journal" -l services -d 'By the sockets of the journal namespace, which systemd hands over'
complete -c keyfob-agent -n "__fish_keyfob_agent_using_subcommand journal" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c keyfob-agent -n "__fish_keyfob_agent_using_subcommand stand-in" -l config -d 'Read this configuration [default: /etc/keyfob/agent.toml, if it is there]' -r -F
complete -c keyfob-agent -n "__fish_keyfob_agent_using_subcommand stand-in" -s h -l help -d 'Print help'
complete -c keyfob-agent -n "__fish_keyfob_agent_using_subcommand probe" -l config -d 'Read this configuration [default: /etc/keyfob/agent.toml, if it is there]' -r -F
complete -c keyfob-agent -n "__fish_keyfob_agent_using_subcommand probe" -s h -l help -d 'Print help'
complete -c keyfob-agent -n "__fish_keyfob_agent_using_subcommand mount" -l dir -d 'The runtime directory [default: files.dir of the configuration, else /run/keyfob]' -r -F
complete -c keyfob-agent -n "__fish_keyfob_agent_using_subcommand mount" -l user -d 'The agent\'s user, who will write there' -r
complete -c keyfob-agent -n "__fish_keyfob_agent_using_subcommand mount" -l group -d 'The session\'s group, which may read [default: files.group of the configuration, else keyfob]' -r
complete -c keyfob-agent -n "__fish_keyfob_agent_using_subcommand mount" -l config -d 'Read this configuration [default: /etc/keyfob/agent.toml, if it is there]' -r -F
complete -c keyfob-agent -n "__fish_keyfob_agent_using_subcommand mount" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c keyfob-agent -n "__fish_keyfob_agent_using_subcommand unmount" -l dir -d 'The runtime directory [default: files.dir of the configuration, else /run/keyfob]' -r -F
complete -c keyfob-agent -n "__fish_keyfob_agent_using_subcommand unmount" -l config -d 'Read this configuration [default: /etc/keyfob/agent.toml, if it is there]' -r -F
complete -c keyfob-agent -n "__fish_keyfob_agent_using_subcommand unmount" -s h -l help -d 'Print help'
complete -c keyfob-agent -n "__fish_keyfob_agent_using_subcommand help; and not __fish_seen_subcommand_from run exec redact stage doctor journal stand-in probe mount unmount help" -f -a "run" -d 'Enrol, fetch the session\'s bundle, write its files; then stay, renew the identity, and wipe the files when stopped'
complete -c keyfob-agent -n "__fish_keyfob_agent_using_subcommand help; and not __fish_seen_subcommand_from run exec redact stage doctor journal stand-in probe mount unmount help" -f -a "exec" -d 'Run a command with the session\'s variables in its environment, and redact what it prints'
complete -c keyfob-agent -n "__fish_keyfob_agent_using_subcommand help; and not __fish_seen_subcommand_from run exec redact stage doctor journal stand-in probe mount unmount help" -f -a "redact" -d 'Pass standard input on to standard output, without the session\'s values'
complete -c keyfob-agent -n "__fish_keyfob_agent_using_subcommand help; and not __fish_seen_subcommand_from run exec redact stage doctor journal stand-in probe mount unmount help" -f -a "stage"
complete -c keyfob-agent -n "__fish_keyfob_agent_using_subcommand help; and not __fish_seen_subcommand_from run exec redact stage doctor journal stand-in probe mount unmount help" -f -a "doctor" -d 'Go in each way there is, and tell which of the session\'s variables are set there'
complete -c keyfob-agent -n "__fish_keyfob_agent_using_subcommand help; and not __fish_seen_subcommand_from run exec redact stage doctor journal stand-in probe mount unmount help" -f -a "journal" -d 'Pass on to journald what is logged, without the session\'s values; by its units, as root'
complete -c keyfob-agent -n "__fish_keyfob_agent_using_subcommand help; and not __fish_seen_subcommand_from run exec redact stage doctor journal stand-in probe mount unmount help" -f -a "stand-in"
complete -c keyfob-agent -n "__fish_keyfob_agent_using_subcommand help; and not __fish_seen_subcommand_from run exec redact stage doctor journal stand-in probe mount unmount help" -f -a "probe"
complete -c keyfob-agent -n "__fish_keyfob_agent_using_subcommand help; and not __fish_seen_subcommand_from run exec redact stage doctor journal stand-in probe mount unmount help" -f -a "mount" -d 'Mount memory that can\'t be swapped on the runtime directory, for an agent without privilege; needs root'
complete -c keyfob-agent -n "__fish_keyfob_agent_using_subcommand help; and not __fish_seen_subcommand_from run exec redact stage doctor journal stand-in probe mount unmount help" -f -a "unmount" -d 'Unmount the runtime directory if the agent has emptied it; needs root'
complete -c keyfob-agent -n "__fish_keyfob_agent_using_subcommand help; and not __fish_seen_subcommand_from run exec redact stage doctor journal stand-in probe mount unmount help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
