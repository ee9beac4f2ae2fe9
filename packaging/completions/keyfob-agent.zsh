#compdef keyfob-agent

autoload -U is-at-least

_keyfob-agent() {
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
'--config=[Read this configuration \[default\: /etc/keyfob/agent.toml, if it is there\]]:FILE:_files' \
'-h[Print help]' \
'--help[Print help]' \
'-V[Print version]' \
'--version[Print version]' \
":: :_keyfob-agent_commands" \
"*::: :->keyfob-agent" \
&& ret=0
    case $state in
    (keyfob-agent)
        words=($line[1] "${words[@]}")
        (( CURRENT += 1 ))
        curcontext="${curcontext%:*:*}:keyfob-agent-command-$line[1]:"
        case $line[1] in
            (run)
_arguments "${_arguments_options[@]}" : \
'--join-file=[A file that holds the join string; removed once it is used]:FILE:_files' \
'--dir=[Where the files go; a directory of its own on tmpfs or ramfs \[default\: /run/keyfob, mounted if it isn'\''t\]]:DIR:_files' \
'--group=[The session'\''s group, which may read the files \[default\: files.group of the configuration, else the agent'\''s own\]]:GROUP:_default' \
'--memory=[The weakest memory that values may lie in while they are written]:MEMORY:((memfd-secret\:"Only memory that the kernel itself can'\''t read (memfd_secret)"
mlock\:"At least locked against swapping"
none\:"Whatever there is"))' \
'--deadline=[Give up after this many seconds without the files in place \[default\: the configuration'\''s, the environment'\''s, 90\]]:SECONDS:_default' \
'--on-failure=[What to do then \[default\: the configuration'\''s, the environment'\''s, block\]]:ON_FAILURE:((block\:"Fail\: what waits for the agent stays closed"
continue\:"Say READY without secrets, visibly, and go on trying"))' \
'--config=[Read this configuration \[default\: /etc/keyfob/agent.toml, if it is there\]]:FILE:_files' \
'--mount[Mount memory that can'\''t be swapped on the directory first; needs root]' \
'--once[Exit when the files are in place, and leave them there]' \
'--allow-swappable[Accept a directory whose memory may be swapped to disk]' \
'-h[Print help (see more with '\''--help'\'')]' \
'--help[Print help (see more with '\''--help'\'')]' \
&& ret=0
;;
(exec)
_arguments "${_arguments_options[@]}" : \
'--dir=[The runtime directory \[default\: files.dir of the configuration, else /run/keyfob\]]:DIR:_files' \
'--wait=[Wait for the secrets, this many seconds at the most]:SECONDS:_default' \
'*--with=[Also give it this secret, whose auto-install is off; may be repeated. Each is an audited delivery]:NAME:_default' \
'--config=[Read this configuration \[default\: /etc/keyfob/agent.toml, if it is there\]]:FILE:_files' \
'--no-redact[Leave what it prints as it is, and this process to the command]' \
'-h[Print help (see more with '\''--help'\'')]' \
'--help[Print help (see more with '\''--help'\'')]' \
'*::command -- The command and its arguments:_default' \
&& ret=0
;;
(redact)
_arguments "${_arguments_options[@]}" : \
'--dir=[The runtime directory \[default\: files.dir of the configuration, else /run/keyfob\]]:DIR:_files' \
'--config=[Read this configuration \[default\: /etc/keyfob/agent.toml, if it is there\]]:FILE:_files' \
'--terminal[The input is what a terminal shows\: values may be wrapped, or have colours in them]' \
'-h[Print help (see more with '\''--help'\'')]' \
'--help[Print help (see more with '\''--help'\'')]' \
&& ret=0
;;
(stage)
_arguments "${_arguments_options[@]}" : \
'--config=[Read this configuration \[default\: /etc/keyfob/agent.toml, if it is there\]]:FILE:_files' \
'-h[Print help (see more with '\''--help'\'')]' \
'--help[Print help (see more with '\''--help'\'')]' \
':stage:((command\:"Takes the environment and becomes the command"
monitor\:"Leads the session on the command'\''s terminal"
rest\:"Filters what the command'\''s children still print when it has ended"))' \
'*::command:_default' \
&& ret=0
;;
(doctor)
_arguments "${_arguments_options[@]}" : \
'--dir=[The runtime directory \[default\: files.dir of the configuration, else /run/keyfob\]]:DIR:_files' \
'--user=[Whose ways in to try \[default\: the first of the session'\''s group, else the first person of the machine\]]:USER:_default' \
'-o+[How to print it]:OUTPUT:(table json)' \
'--output=[How to print it]:OUTPUT:(table json)' \
'--config=[Read this configuration \[default\: /etc/keyfob/agent.toml, if it is there\]]:FILE:_files' \
'--cron[Also try a cron job, which takes up to a minute]' \
'-h[Print help (see more with '\''--help'\'')]' \
'--help[Print help (see more with '\''--help'\'')]' \
&& ret=0
;;
(journal)
_arguments "${_arguments_options[@]}" : \
'--config=[Read this configuration \[default\: /etc/keyfob/agent.toml, if it is there\]]:FILE:_files' \
'--services[By the sockets of the journal namespace, which systemd hands over]' \
'-h[Print help (see more with '\''--help'\'')]' \
'--help[Print help (see more with '\''--help'\'')]' \
&& ret=0
;;
(stand-in)
_arguments "${_arguments_options[@]}" : \
'--config=[Read this configuration \[default\: /etc/keyfob/agent.toml, if it is there\]]:FILE:_files' \
'-h[Print help]' \
'--help[Print help]' \
&& ret=0
;;
(probe)
_arguments "${_arguments_options[@]}" : \
'--config=[Read this configuration \[default\: /etc/keyfob/agent.toml, if it is there\]]:FILE:_files' \
'-h[Print help]' \
'--help[Print help]' \
':salt:_default' \
'*::names:_default' \
&& ret=0
;;
(mount)
_arguments "${_arguments_options[@]}" : \
'--dir=[The runtime directory \[default\: files.dir of the configuration, else /run/keyfob\]]:DIR:_files' \
'--user=[The agent'\''s user, who will write there]:USER:_default' \
'--group=[The session'\''s group, which may read \[default\: files.group of the configuration, else keyfob\]]:GROUP:_default' \
'--config=[Read this configuration \[default\: /etc/keyfob/agent.toml, if it is there\]]:FILE:_files' \
'-h[Print help (see more with '\''--help'\'')]' \
'--help[Print help (see more with '\''--help'\'')]' \
&& ret=0
;;
(unmount)
_arguments "${_arguments_options[@]}" : \
'--dir=[The runtime directory \[default\: files.dir of the configuration, else /run/keyfob\]]:DIR:_files' \
'--config=[Read this configuration \[default\: /etc/keyfob/agent.toml, if it is there\]]:FILE:_files' \
'-h[Print help]' \
'--help[Print help]' \
&& ret=0
;;
(help)
_arguments "${_arguments_options[@]}" : \
":: :_keyfob-agent__subcmd__help_commands" \
"*::: :->help" \
&& ret=0

    case $state in
    (help)
        words=($line[1] "${words[@]}")
        (( CURRENT += 1 ))
        curcontext="${curcontext%:*:*}:keyfob-agent-help-command-$line[1]:"
        case $line[1] in
            (run)
_arguments "${_arguments_options[@]}" : \
&& ret=0
;;
(exec)
_arguments "${_arguments_options[@]}" : \
&& ret=0
;;
(redact)
_arguments "${_arguments_options[@]}" : \
&& ret=0
;;
(stage)
_arguments "${_arguments_options[@]}" : \
&& ret=0
;;
(doctor)
_arguments "${_arguments_options[@]}" : \
&& ret=0
;;
(journal)
_arguments "${_arguments_options[@]}" : \
&& ret=0
;;
(stand-in)
_arguments "${_arguments_options[@]}" : \
&& ret=0
;;
(probe)
_arguments "${_arguments_options[@]}" : \
&& ret=0
;;
(mount)
_arguments "${_arguments_options[@]}" : \
&& ret=0
;;
(unmount)
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

(( $+functions[_keyfob-agent_commands] )) ||
_keyfob-agent_commands() {
    local commands; commands=(
'run:Enrol, fetch the session'\''s bundle, write its files; then stay, renew the identity, and wipe the files when stopped' \
'exec:Run a command with the session'\''s variables in its environment, and redact what it prints' \
'redact:Pass standard input on to standard output, without the session'\''s values' \
'stage:' \
'doctor:Go in each way there is, and tell which of the session'\''s variables are set there' \
'journal:Pass on to journald what is logged, without the session'\''s values; by its units, as root' \
'stand-in:' \
'probe:' \
'mount:Mount memory that can'\''t be swapped on the runtime directory, for an agent without privilege; needs root' \
'unmount:Unmount the runtime directory if the agent has emptied it; needs root' \
'help:Print this message or the help of the given subcommand(s)' \
    )
    _describe -t commands 'keyfob-agent commands' commands "$@"
}
(( $+functions[_keyfob-agent__subcmd__doctor_commands] )) ||
_keyfob-agent__subcmd__doctor_commands() {
    local commands; commands=()
    _describe -t commands 'keyfob-agent doctor commands' commands "$@"
}
(( $+functions[_keyfob-agent__subcmd__exec_commands] )) ||
_keyfob-agent__subcmd__exec_commands() {
    local commands; commands=()
    _describe -t commands 'keyfob-agent exec commands' commands "$@"
}
(( $+functions[_keyfob-agent__subcmd__help_commands] )) ||
_keyfob-agent__subcmd__help_commands() {
    local commands; commands=(
'run:Enrol, fetch the session'\''s bundle, write its files; then stay, renew the identity, and wipe the files when stopped' \
'exec:Run a command with the session'\''s variables in its environment, and redact what it prints' \
'redact:Pass standard input on to standard output, without the session'\''s values' \
'stage:' \
'doctor:Go in each way there is, and tell which of the session'\''s variables are set there' \
'journal:Pass on to journald what is logged, without the session'\''s values; by its units, as root' \
'stand-in:' \
'probe:' \
'mount:Mount memory that can'\''t be swapped on the runtime directory, for an agent without privilege; needs root' \
'unmount:Unmount the runtime directory if the agent has emptied it; needs root' \
'help:Print this message or the help of the given subcommand(s)' \
    )
    _describe -t commands 'keyfob-agent help commands' commands "$@"
}
(( $+functions[_keyfob-agent__subcmd__help__subcmd__doctor_commands] )) ||
_keyfob-agent__subcmd__help__subcmd__doctor_commands() {
    local commands; commands=()
    _describe -t commands 'keyfob-agent help doctor commands' commands "$@"
}
(( $+functions[_keyfob-agent__subcmd__help__subcmd__exec_commands] )) ||
_keyfob-agent__subcmd__help__subcmd__exec_commands() {
    local commands; commands=()
    _describe -t commands 'keyfob-agent help exec commands' commands "$@"
}
(( $+functions[_keyfob-agent__subcmd__help__subcmd__help_commands] )) ||
_keyfob-agent__subcmd__help__subcmd__help_commands() {
    local commands; commands=()
    _describe -t commands 'keyfob-agent help help commands' commands "$@"
}
(( $+functions[_keyfob-agent__subcmd__help__subcmd__journal_commands] )) ||
_keyfob-agent__subcmd__help__subcmd__journal_commands() {
    local commands; commands=()
    _describe -t commands 'keyfob-agent help journal commands' commands "$@"
}
(( $+functions[_keyfob-agent__subcmd__help__subcmd__mount_commands] )) ||
_keyfob-agent__subcmd__help__subcmd__mount_commands() {
    local commands; commands=()
    _describe -t commands 'keyfob-agent help mount commands' commands "$@"
}
(( $+functions[_keyfob-agent__subcmd__help__subcmd__probe_commands] )) ||
_keyfob-agent__subcmd__help__subcmd__probe_commands() {
    local commands; commands=()
    _describe -t commands 'keyfob-agent help probe commands' commands "$@"
}
(( $+functions[_keyfob-agent__subcmd__help__subcmd__redact_commands] )) ||
_keyfob-agent__subcmd__help__subcmd__redact_commands() {
    local commands; commands=()
    _describe -t commands 'keyfob-agent help redact commands' commands "$@"
}
(( $+functions[_keyfob-agent__subcmd__help__subcmd__run_commands] )) ||
_keyfob-agent__subcmd__help__subcmd__run_commands() {
    local commands; commands=()
    _describe -t commands 'keyfob-agent help run commands' commands "$@"
}
(( $+functions[_keyfob-agent__subcmd__help__subcmd__stage_commands] )) ||
_keyfob-agent__subcmd__help__subcmd__stage_commands() {
    local commands; commands=()
    _describe -t commands 'keyfob-agent help stage commands' commands "$@"
}
(( $+functions[_keyfob-agent__subcmd__help__subcmd__stand-in_commands] )) ||
_keyfob-agent__subcmd__help__subcmd__stand-in_commands() {
    local commands; commands=()
    _describe -t commands 'keyfob-agent help stand-in commands' commands "$@"
}
(( $+functions[_keyfob-agent__subcmd__help__subcmd__unmount_commands] )) ||
_keyfob-agent__subcmd__help__subcmd__unmount_commands() {
    local commands; commands=()
    _describe -t commands 'keyfob-agent help unmount commands' commands "$@"
}
(( $+functions[_keyfob-agent__subcmd__journal_commands] )) ||
_keyfob-agent__subcmd__journal_commands() {
    local commands; commands=()
    _describe -t commands 'keyfob-agent journal commands' commands "$@"
}
(( $+functions[_keyfob-agent__subcmd__mount_commands] )) ||
_keyfob-agent__subcmd__mount_commands() {
    local commands; commands=()
    _describe -t commands 'keyfob-agent mount commands' commands "$@"
}
(( $+functions[_keyfob-agent__subcmd__probe_commands] )) ||
_keyfob-agent__subcmd__probe_commands() {
    local commands; commands=()
    _describe -t commands 'keyfob-agent probe commands' commands "$@"
}
(( $+functions[_keyfob-agent__subcmd__redact_commands] )) ||
_keyfob-agent__subcmd__redact_commands() {
    local commands; commands=()
    _describe -t commands 'keyfob-agent redact commands' commands "$@"
}
(( $+functions[_keyfob-agent__subcmd__run_commands] )) ||
_keyfob-agent__subcmd__run_commands() {
    local commands; commands=()
    _describe -t commands 'keyfob-agent run commands' commands "$@"
}
(( $+functions[_keyfob-agent__subcmd__stage_commands] )) ||
_keyfob-agent__subcmd__stage_commands() {
    local commands; commands=()
    _describe -t commands 'keyfob-agent stage commands' commands "$@"
}
(( $+functions[_keyfob-agent__subcmd__stand-in_commands] )) ||
_keyfob-agent__subcmd__stand-in_commands() {
    local commands; commands=()
    _describe -t commands 'keyfob-agent stand-in commands' commands "$@"
}
(( $+functions[_keyfob-agent__subcmd__unmount_commands] )) ||
_keyfob-agent__subcmd__unmount_commands() {
    local commands; commands=()
    _describe -t commands 'keyfob-agent unmount commands' commands "$@"
}

if [ "$funcstack[1]" = "_keyfob-agent" ]; then
    _keyfob-agent "$@"
else
    compdef _keyfob-agent keyfob-agent
fi
