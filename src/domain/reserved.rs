//! Variables that a secret must not be called: those that make a program run code or load it from elsewhere, and those that
//! a shell keeps for itself. A shared secret reaches other people's shells, so this is a security boundary.
//!
//! A *code-running* name can be allowed by an organization, explicitly and audited. A name that *breaks a shell* never can:
//! one read-only variable in a sourced file ends the sourcing, and all that come after it are missing. Names are compared
//! as they are; shells and loaders know no other case.
//!
//! What is not here, on purpose: names that real credentials have (`GIT_TOKEN`, `SSH_PRIVATE_KEY`, `HTTP_AUTHORIZATION`).
//! So `GIT_` is not reserved as a whole, only what makes git run something. Proxies are reserved, in both cases: one that
//! somebody else sets reads the traffic of everybody's tools.
//!
//! Sources: bash(1), zshparam(1), dash(1), ksh(1), fish(1), ld.so(8), systemd.exec(5), git(1), and the manuals of the
//! interpreters; what shells refuse was tried with bash 5.2, dash, zsh 5.9, ksh93u+m, mksh, busybox and fish.

use std::{collections::HashMap, fmt, sync::LazyLock};

use super::variable::Variable;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// Makes programs run or load code, or sends them elsewhere. An organization can allow it.
    RunsCode,
    /// Kept by a shell, or needed by a session to work at all.
    BreaksShell,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reserved {
    pub class: Class,
    pub reason: &'static str,
}

impl fmt::Display for Reserved {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.reason)?;
        match self.class {
            Class::RunsCode => {
                f.write_str(" (use another name; whoever runs the server can allow this one: keyfob-server org allow)")
            }
            Class::BreaksShell => f.write_str(" (use another name)"),
        }
    }
}

const SHELL_KEEPS: &str = "a shell keeps it for itself, and stops reading the variables that come after it";
const SHELL_COMPUTES: &str = "a shell keeps a number in it, and evaluates whatever it is given";
const SESSION_NEEDS: &str = "a session does not work with another value of it";
const SHELL_RUNS: &str = "a shell runs or parses by it";
const LOADER: &str = "the dynamic loader takes code or paths from it";
const INTERPRETER: &str = "an interpreter or build tool takes code or options from it";
const GIT: &str = "git runs a program or takes configuration from it";
const RUNS_PROGRAM: &str = "programs run what it names";
const SENDS_ELSEWHERE: &str = "it sends the traffic of everybody's tools elsewhere, or makes them trust somebody else";
const OURS: &str = "it is Keyfob's own";
const SYSTEMD: &str = "systemd speaks to services by it";

/// Exact names, or prefixes that end in `*`.
const TABLE: &[(Class, &str, &str)] = &[
    // Read-only or special in at least one of the shells; `status`, `pipestatus`, `argv` and their like in zsh and fish.
    (
        Class::BreaksShell,
        SHELL_KEEPS,
        "UID EUID GID EGID PPID BASHOPTS SHELLOPTS BASH BASH_VERSINFO BASH_VERSION BASH_ARGC BASH_ARGV BASH_ARGV0 BASH_LINENO BASH_SOURCE BASH_SUBSHELL \
         BASH_COMMAND BASH_EXECUTION_STRING BASH_ALIASES BASH_CMDS BASH_MONOSECONDS BASH_TRAPSIG BASHPID BASH_COMPAT BASH_XTRACEFD BASH_REMATCH \
         BASH_LOADABLES_PATH DIRSTACK FUNCNAME FUNCNEST GROUPS HISTCMD LINENO RANDOM SRANDOM SECONDS EPOCHSECONDS EPOCHREALTIME PIPESTATUS OPTARG OPTIND \
         OPTERR REPLY MAPFILE COPROC COMPREPLY _ status pipestatus argv ARGC argc signals prompt path PATHNAME fpath cdpath mailpath manpath module_path \
         fignore psvar watch commands functions aliases builtins options parameters dirstack history historywords jobdirs jobstates jobtexts nameddirs \
         userdirs usergroups modules reswords termcap terminfo funcstack funcfiletrace funcsourcetrace functrace errnos sysparams zsh_eval_context \
         ZSH_EVAL_CONTEXT ZSH_NAME ZSH_VERSION ZSH_PATCHLEVEL ZSH_SUBSHELL ZSH_ARGZERO ZSH_EXECUTION_STRING ZSH_SCRIPT ZDOTDIR TTY TTYIDLE USERNAME HOST \
         MACHTYPE OSTYPE VENDOR CPUTYPE ERRNO TRY_BLOCK_ERROR TRY_BLOCK_INTERRUPT KSH_VERSION KSHEGID KSHGID KSHUID USER_ID PGRP \
         fish_pid fish_killring fish_kill_signal hostname version FISH_VERSION SHLVL CMD_DURATION CMD_DURATION_STATUS \
         galiases saliases dis_aliases dis_builtins dis_functions dis_functions_source dis_galiases dis_patchars dis_reswords dis_saliases \
         functions_source patchars keymaps widgets zsh_scheduled_events WATCH status_generation umask",
    ),
    (Class::BreaksShell, SHELL_KEEPS, "BASH_FUNC_*"),
    // zsh and ksh93 evaluate what is assigned to an integer, and an array's subscript in it may run a command.
    (
        Class::BreaksShell,
        SHELL_COMPUTES,
        "HISTSIZE SAVEHIST KEYTIMEOUT LISTMAX MAILCHECK JOBMAX BAUD DIRSTACKSIZE LOGCHECK REPORTTIME REPORTMEMORY",
    ),
    (
        Class::BreaksShell,
        SESSION_NEEDS,
        "PATH HOME SHELL USER LOGNAME PWD OLDPWD IFS CDPATH TERM TERMINFO TERMINFO_DIRS TERMCAP COLUMNS LINES LANG LANGUAGE TMPDIR TMP TEMP HOSTNAME MAIL MAILPATH \
         TZ TZDIR TMOUT DISPLAY WAYLAND_DISPLAY XAUTHORITY DBUS_SESSION_BUS_ADDRESS DBUS_SYSTEM_BUS_ADDRESS SSH_AUTH_SOCK SSH_AGENT_PID SSH_CLIENT \
         SSH_CONNECTION SSH_TTY SUDO_USER SUDO_UID SUDO_GID SUDO_COMMAND POSIXLY_CORRECT NLSPATH LOCPATH",
    ),
    (Class::BreaksShell, SESSION_NEEDS, "LC_* XDG_*"),
    (
        Class::BreaksShell,
        SYSTEMD,
        "NOTIFY_SOCKET CREDENTIALS_DIRECTORY ENCRYPTED_CREDENTIALS_DIRECTORY INVOCATION_ID JOURNAL_STREAM MAINPID MANAGERPID SYSTEMD_EXEC_PID WATCHDOG_PID \
         WATCHDOG_USEC RUNTIME_DIRECTORY STATE_DIRECTORY CACHE_DIRECTORY LOGS_DIRECTORY CONFIGURATION_DIRECTORY SERVICE_RESULT EXIT_CODE EXIT_STATUS \
         LISTEN_FDS LISTEN_PID LISTEN_FDNAMES LISTEN_PIDFDID FDSTORE",
    ),
    (Class::BreaksShell, OURS, "KEYFOB_*"),
    (
        Class::RunsCode,
        SHELL_RUNS,
        "ENV BASH_ENV PROMPT_COMMAND PS0 PS1 PS2 PS3 PS4 PROMPT PROMPT2 PROMPT3 PROMPT4 RPS1 RPS2 RPROMPT RPROMPT2 SPROMPT FPATH FCEDIT HISTFILE HISTCONTROL \
         HISTIGNORE GLOBIGNORE INPUTRC EXECIGNORE FIGNORE READNULLCMD NULLCMD WORDCHARS MODULE_PATH STTY SHELL_SESSION_DID_INIT fish_function_path \
         fish_complete_path fish_user_paths fish_greeting FIGNORE HISTTIMEFORMAT CHILD_MAX",
    ),
    (
        Class::RunsCode,
        LOADER,
        "LD_* DYLD_* GLIBC_TUNABLES GCONV_PATH GETCONF_DIR HOSTALIASES LOCALDOMAIN RES_OPTIONS RESOLV_HOST_CONF MALLOC_* NIS_PATH SHLIB_PATH LIBPATH",
    ),
    (
        Class::RunsCode,
        INTERPRETER,
        "NODE_OPTIONS NODE_PATH NODE_REPL_EXTERNAL_MODULE NODE_EXTRA_CA_CERTS NODE_TLS_REJECT_UNAUTHORIZED NPM_CONFIG_SCRIPT_SHELL npm_config_script_shell \
         NPM_CONFIG_NODE_OPTIONS npm_config_node_options BUN_OPTIONS DENO_DIR \
         PYTHONPATH PYTHONHOME PYTHONSTARTUP PYTHONUSERBASE PYTHONEXECUTABLE PYTHONINSPECT PYTHONBREAKPOINT PYTHONWARNINGS PYTHONPLATLIBDIR PYTHONPYCACHEPREFIX \
         PERL5OPT PERL5LIB PERLLIB PERL5DB PERL5SHELL PERLIO_DEBUG RUBYOPT RUBYLIB RUBYSHELL GEM_HOME GEM_PATH BUNDLE_GEMFILE BUNDLE_PATH \
         JAVA_TOOL_OPTIONS JDK_JAVA_OPTIONS _JAVA_OPTIONS JAVA_OPTIONS JAVA_OPTS CLASSPATH MAVEN_OPTS MAVEN_ARGS GRADLE_OPTS SBT_OPTS SCALA_OPTS JRUBY_OPTS \
         PHPRC PHP_INI_SCAN_DIR LUA_INIT LUA_PATH LUA_CPATH R_PROFILE R_PROFILE_USER R_ENVIRON R_ENVIRON_USER JULIA_LOAD_PATH JULIA_DEPOT_PATH TCLLIBPATH \
         ERL_AFLAGS ERL_FLAGS ERL_ZFLAGS ERL_LIBS ELIXIR_ERL_OPTIONS DOTNET_STARTUP_HOOKS DOTNET_ADDITIONAL_DEPS CORECLR_PROFILER CORECLR_PROFILER_PATH \
         CORECLR_ENABLE_PROFILING COR_PROFILER MONO_PATH GOFLAGS GOPROXY GOTOOLCHAIN GONOSUMDB GOSUMDB CC CXX CPP CFLAGS CXXFLAGS LDFLAGS MAKEFLAGS MAKE \
         RUSTC RUSTC_WRAPPER RUSTC_WORKSPACE_WRAPPER RUSTDOC RUSTFLAGS CARGO CARGO_BUILD_RUSTC CARGO_BUILD_RUSTC_WRAPPER CARGO_ENCODED_RUSTFLAGS CARGO_HOME RUSTUP_HOME RUSTUP_TOOLCHAIN \
         PIP_INDEX_URL PIP_EXTRA_INDEX_URL PIP_CONFIG_FILE PIP_TRUSTED_HOST UV_INDEX_URL VIRTUAL_ENV KUBECONFIG AWS_CONFIG_FILE AWS_SHARED_CREDENTIALS_FILE \
         CLOUDSDK_CONFIG DOCKER_CONFIG DOCKER_HOST ANSIBLE_CONFIG OPENSSL_CONF OPENSSL_ENGINES OPENSSL_MODULES VIMINIT EXINIT GVIMINIT VIMRUNTIME EMACSLOADPATH",
    ),
    (
        Class::RunsCode,
        GIT,
        "GIT_SSH GIT_SSH_COMMAND GIT_SSH_VARIANT GIT_EXEC_PATH GIT_ASKPASS GIT_EDITOR GIT_SEQUENCE_EDITOR GIT_PAGER GIT_EXTERNAL_DIFF GIT_PROXY_COMMAND GIT_TEMPLATE_DIR \
         GIT_DIR GIT_WORK_TREE GIT_COMMON_DIR GIT_INDEX_FILE GIT_OBJECT_DIRECTORY GIT_ALTERNATE_OBJECT_DIRECTORIES GIT_ALLOW_PROTOCOL GIT_ATTR_SOURCE GIT_SSL_NO_VERIFY \
         GIT_SSL_CAINFO GIT_HTTP_PROXY_AUTHMETHOD",
    ),
    (Class::RunsCode, GIT, "GIT_CONFIG* GIT_TRACE*"),
    (
        Class::RunsCode,
        RUNS_PROGRAM,
        "EDITOR VISUAL SUDO_EDITOR SYSTEMD_EDITOR PAGER MANPAGER SYSTEMD_PAGER SYSTEMD_LESS BAT_PAGER DELTA_PAGER PSQL_PAGER PSQL_EDITOR PSQLRC LESS LESSOPEN LESSCLOSE \
         LESSKEY LESSEDIT LESSKEYIN MORE BROWSER WWW_BROWSER SSH_ASKPASS SSH_ASKPASS_REQUIRE SUDO_ASKPASS RSYNC_RSH CVS_RSH SVN_SSH HG HGRCPATH HGEDITOR TAR_OPTIONS \
         GZIP BZIP2 XZ_OPT XZ_DEFAULTS ZSTD_CLEVEL GREP_OPTIONS FZF_DEFAULT_COMMAND FZF_DEFAULT_OPTS MANOPT MANPATH INFOPATH ROFFOPT TROFFOPT CHOOSENIM_PATH PATHEXT COMSPEC \
         DEBUGINFOD_URLS WGETRC CURL_HOME NETRC GNUPGHOME",
    ),
    (
        Class::RunsCode,
        SENDS_ELSEWHERE,
        "HTTP_PROXY HTTPS_PROXY FTP_PROXY ALL_PROXY NO_PROXY http_proxy https_proxy ftp_proxy all_proxy no_proxy RSYNC_PROXY SOCKS_SERVER SSL_CERT_FILE SSL_CERT_DIR \
         CURL_CA_BUNDLE REQUESTS_CA_BUNDLE PIP_CERT AWS_CA_BUNDLE SSLKEYLOGFILE AWS_ENDPOINT_URL",
    ),
];

/// Exact names by hash, prefixes in the table's order.
struct Index {
    exact: HashMap<&'static str, Reserved>,
    prefixes: Vec<(&'static str, Reserved)>,
}

static INDEX: LazyLock<Index> = LazyLock::new(|| {
    let (mut exact, mut prefixes) = (HashMap::new(), Vec::new());
    for (class, reason, patterns) in TABLE {
        let reserved = Reserved { class: *class, reason };
        for pattern in patterns.split_ascii_whitespace() {
            match pattern.strip_suffix('*') {
                Some(prefix) => prefixes.push((prefix, reserved)),
                None => {
                    exact.entry(pattern).or_insert(reserved);
                }
            }
        }
    }
    Index { exact, prefixes }
});

/// Why this variable is reserved, if it is.
pub fn class_of(variable: &Variable) -> Option<Reserved> {
    let Index { exact, prefixes } = &*INDEX;
    let name = variable.as_str();
    exact
        .get(name)
        .copied()
        .or_else(|| prefixes.iter().find(|(prefix, _)| name.starts_with(prefix)).map(|(_, reserved)| *reserved))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_reserved() {
        use Class::{BreaksShell as B, RunsCode as R};
        for (name, class) in [
            // the words of the design
            ("PATH", Some(B)),
            ("LD_PRELOAD", Some(R)),
            ("LD_ANYTHING", Some(R)),
            ("DYLD_INSERT_LIBRARIES", Some(R)),
            ("BASH_ENV", Some(R)),
            ("ENV", Some(R)),
            ("PROMPT_COMMAND", Some(R)),
            ("PS0", Some(R)),
            ("PS4", Some(R)),
            ("SHELLOPTS", Some(B)),
            ("BASHOPTS", Some(B)),
            ("BASH_FUNC_ls", Some(B)),
            ("IFS", Some(B)),
            ("HOME", Some(B)),
            ("SHELL", Some(B)),
            ("USER", Some(B)),
            ("NODE_OPTIONS", Some(R)),
            ("PYTHONPATH", Some(R)),
            ("PYTHONSTARTUP", Some(R)),
            ("PERL5OPT", Some(R)),
            ("RUBYOPT", Some(R)),
            ("JAVA_TOOL_OPTIONS", Some(R)),
            ("GIT_SSH", Some(R)),
            ("GIT_SSH_COMMAND", Some(R)),
            ("GIT_EXEC_PATH", Some(R)),
            ("GIT_CONFIG_COUNT", Some(R)),
            ("UID", Some(B)),
            ("EUID", Some(B)),
            ("PPID", Some(B)),
            ("status", Some(B)),
            ("LINENO", Some(B)),
            ("HISTCMD", Some(B)),
            ("HISTSIZE", Some(B)), // zsh evaluates it: a[$(cmd)] runs cmd
            ("http_proxy", Some(R)),
            ("NOTIFY_SOCKET", Some(B)),
            ("KEYFOB_HOME", Some(B)),
            ("XDG_RUNTIME_DIR", Some(B)),
            ("LC_ALL", Some(B)),
            ("_", Some(B)),
            // what people keep
            ("OPENAI_API_KEY", None),
            ("GIT_TOKEN", None),
            ("GITHUB_TOKEN", None),
            ("AWS_ACCESS_KEY_ID", None),
            ("AWS_SECRET_ACCESS_KEY", None),
            ("AWS_SESSION_TOKEN", None),
            ("DATABASE_URL", None),
            ("NPM_TOKEN", None),
            ("NPM_CONFIG__AUTH", None),
            ("SSH_PRIVATE_KEY", None),
            ("PYTHON_TOKEN", None),
            ("NODE_ENV", None),
            ("NODE_AUTH_TOKEN", None),
            ("HOMEBREW_TOKEN", None),
            ("PATH_TOKEN", None),
            ("STATUS", None),
            ("ENVIRONMENT", None),
            ("PGPASSWORD", None),
            ("VAULT_TOKEN", None),
            ("Path", None),
        ] {
            assert_eq!(class_of(&Variable::parse(name).unwrap()).map(|r| r.class), class, "{name}");
        }
    }

    #[test]
    fn every_pattern_is_a_name_that_could_be_asked_for() {
        for pattern in TABLE.iter().flat_map(|(_, _, patterns)| patterns.split_ascii_whitespace()) {
            let name = pattern.trim_end_matches('*');
            assert!(Variable::parse(name).is_ok(), "{pattern}");
            assert!(class_of(&Variable::parse(name).unwrap()).is_some(), "{pattern}");
        }
    }

    #[test]
    fn the_reason_names_the_next_step() {
        let shown = |name: &str| class_of(&Variable::parse(name).unwrap()).unwrap().to_string();
        assert!(shown("LD_PRELOAD").contains("org allow"));
        assert!(shown("UID").contains("use another name"));
    }
}
