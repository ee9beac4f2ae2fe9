//! Every way into a machine, and whether a program started that way has the variable.

use crate::{
    enrolment::VALUE,
    machine::{Kind, Machine},
};

/// How a program is started that prints the variable.
enum Way {
    /// By ssh, as a user.
    Ssh(&'static str, &'static str),
    /// From root's shell, which has no session.
    Root(&'static str),
    /// By a user's login on a terminal, typed.
    Terminal(&'static str),
    /// By cron, as a user, when the machine boots.
    Cron(&'static str),
}

use Way::{Cron, Root, Ssh, Terminal};

const WAYS: [(&str, Way); 23] = [
    ("login on a terminal, bash", Terminal("alice")),
    ("login on a terminal, zsh", Terminal("zoe")),
    ("login on a terminal, fish", Terminal("fay")),
    ("login on a terminal, dash", Terminal("dan")),
    ("ssh, bash", Ssh("alice", "printenv OPENAI_API_KEY")),
    ("ssh, bash -c", Ssh("alice", "bash -c 'printenv OPENAI_API_KEY'")),
    ("ssh, zsh", Ssh("zoe", "printenv OPENAI_API_KEY")),
    ("ssh, fish", Ssh("fay", "printenv OPENAI_API_KEY")),
    ("ssh, dash", Ssh("dan", "printenv OPENAI_API_KEY")),
    ("ssh, root", Ssh("root", "printenv OPENAI_API_KEY")),
    ("su", Root("su alice -c 'printenv OPENAI_API_KEY'")),
    ("su -", Root("su - alice -c 'printenv OPENAI_API_KEY'")),
    ("sudo", Ssh("alice", "sudo printenv OPENAI_API_KEY")),
    ("sudo -i", Ssh("alice", "sudo -i printenv OPENAI_API_KEY")),
    ("sudo -u", Root("sudo -u zoe printenv OPENAI_API_KEY")),
    ("cron", Cron("alice")),
    ("cron, root", Cron("root")),
    ("systemd unit", Root("systemd-run -q --wait --pipe -p EnvironmentFile=-/run/keyfob/env printenv OPENAI_API_KEY")),
    (
        "systemd unit with a PAM session",
        Root("systemd-run -q --wait --pipe -p User=alice -p PAMName=login printenv OPENAI_API_KEY"),
    ),
    ("systemd user unit", Ssh("alice", "systemd-run -q --user --wait --pipe printenv OPENAI_API_KEY")),
    ("login shell in an empty environment, bash", Ssh("alice", "env -i bash -lc 'printenv OPENAI_API_KEY'")),
    ("any shell in an empty environment, zsh", Ssh("zoe", "env -i zsh -c '/usr/bin/printenv OPENAI_API_KEY'")),
    ("any shell in an empty environment, fish", Ssh("fay", "env -i fish -c '/usr/bin/printenv OPENAI_API_KEY'")),
];

/// For `Boot::files`: what has to be there when the machine boots.
pub const FILES: [(&str, &str); 1] = [(
    "/etc/cron.d/ways-in",
    "@reboot alice printenv OPENAI_API_KEY >/dev/shm/alice; echo $? >/dev/shm/alice.code\n\
     @reboot root printenv OPENAI_API_KEY >/dev/shm/root; echo $? >/dev/shm/root.code\n",
)];

/// Tries each way; tells for each whether the value came, whole.
pub fn ways_in(machine: &mut Machine) -> Vec<(&'static str, bool)> {
    let mut tried = Vec::new();
    for (name, way) in WAYS {
        let (code, printed) = match way {
            Ssh(user, command) => machine.ssh(user, command),
            Root(command) => machine.sh(command),
            Terminal(user) => {
                machine.sh(&format!("echo 'printenv OPENAI_API_KEY; exit' | script -qec 'login -f {user}' /dev/null"))
            }
            Cron(user) => machine.sh(&format!("cat /dev/shm/{user}; exit $(cat /dev/shm/{user}.code)")),
        };
        // printenv says 1 where there is none. Anything else: nobody came in.
        assert!(code == 0 || code == 1, "{name}: {code} {printed}");
        tried.push((name, printed.contains(VALUE)));
    }
    tried
}

/// For people to read.
pub fn table(kind: Kind, tried: &[(&str, bool)]) -> String {
    let rows = tried.iter().map(|(way, sees)| format!("  {way:44}{}\n", if *sees { "set" } else { "-" }));
    format!("\n{kind:?}\n{}", rows.collect::<String>())
}
