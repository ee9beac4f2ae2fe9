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
    /// While the machine boots, by something that writes what it prints to this file of /dev/shm.
    AtBoot(&'static str),
}

use Way::{AtBoot, Root, Ssh, Terminal};

const WAYS: [(&str, Way); 24] = [
    ("autologin on the serial line", AtBoot("serial")), // a container has none
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
    ("cron", AtBoot("cron-alice")),
    ("cron, root", AtBoot("cron-root")),
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
pub const FILES: [(&str, &str); 3] = [
    (
        "/etc/cron.d/ways-in",
        "@reboot alice printenv OPENAI_API_KEY >/dev/shm/cron-alice; echo $? >/dev/shm/cron-alice.code\n\
         @reboot root printenv OPENAI_API_KEY >/dev/shm/cron-root; echo $? >/dev/shm/cron-root.code\n",
    ),
    (
        "/etc/systemd/system/serial-getty@.service.d/ways-in.conf",
        "[Service]\nExecStart=\nExecStart=-/sbin/agetty --autologin alice --noclear %I vt220\n",
    ),
    (
        "/etc/profile.d/zz-ways-in.sh",
        "[ \"$(tty)\" != /dev/ttyS0 ] ||\n\
         { printenv OPENAI_API_KEY >/dev/shm/serial; echo $? >/dev/shm/serial.code; }\n",
    ),
];

/// Tries each way; tells for each whether the value came, whole.
pub fn ways_in(machine: &mut Machine) -> Vec<(&'static str, bool)> {
    let mut tried = Vec::new();
    for (name, way) in WAYS {
        if machine.kind == Kind::Nspawn && matches!(way, AtBoot("serial")) {
            continue;
        }
        let (code, printed) = match way {
            Ssh(user, command) => machine.ssh(user, command),
            Root(command) => machine.sh(command),
            Terminal(user) => {
                machine.sh(&format!("echo 'printenv OPENAI_API_KEY; exit' | script -qec 'login -f {user}' /dev/null"))
            }
            AtBoot(file) => machine.sh(&format!(
                "cd /dev/shm; timeout 60 sh -c 'until [ -s {file}.code ]; do sleep 0.1; done'; cat {file}; exit $(cat {file}.code)"
            )),
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
