//! A machine: Debian 12 as a container under systemd-nspawn, which boots in a second, or as a real VM under QEMU, which takes
//! ten times as long and has a kernel and firmware of its own. Both get the join string as a system credential, and nothing else.
//!
//! The test, its control plane and its machine share a network namespace without any way out ([`alone`]). A machine is gone
//! when it is dropped or when the test dies; what its console said is printed if the test failed.

use std::{
    ffi::OsStr,
    fs,
    io::{self, BufRead, BufReader, Write},
    os::unix::{fs::DirBuilderExt, net::UnixStream},
    path::Path,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use base64::{Engine, engine::general_purpose::STANDARD};
use keyfob::domain::join::{Audience, Join};
use nix::sched::{CloneFlags, unshare};
use tempfile::TempDir;

use crate::tree::{self, Tree};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Nspawn,
    Vm,
}

impl Kind {
    /// Where the machine finds what listens on loopback here.
    fn host(self) -> &'static str {
        match self {
            Self::Nspawn => "127.0.0.1",
            Self::Vm => "10.0.2.2",
        }
    }

    fn ssh_port(self) -> &'static str {
        match self {
            Self::Nspawn => "22",
            Self::Vm => "2222",
        }
    }
}

/// What a machine is given.
#[derive(Default)]
pub struct Boot<'a> {
    pub join: Option<&'a str>,
    /// Further files, by their path in the machine.
    pub files: &'a [(&'a str, &'a str)],
}

pub struct Machine {
    pub kind: Kind,
    tree: &'static Tree,
    running: Running,
    shell: BufReader<UnixStream>,
}

struct Running {
    process: Child,
    /// Its sockets, credential and console log. In memory: the join string is in there.
    dir: TempDir,
}

const PATIENCE: Duration = Duration::from_secs(120);

/// Puts this thread, and what it starts from now on, into a network of its own with nothing but loopback.
pub fn alone() {
    unshare(CloneFlags::CLONE_NEWNET).expect("a network namespace");
    tree::run(Command::new("ip").args(["link", "set", "lo", "up"]));
}

impl Machine {
    /// Starts a machine and waits for its root shell, which is there before anything else.
    pub fn boot(tree: &'static Tree, kind: Kind, boot: &Boot<'_>) -> Self {
        Self::boot_with(tree, kind, boot, &[])
    }

    /// With further programs, by their path in the machine; they go there without what a debugger wants.
    pub fn boot_with(tree: &'static Tree, kind: Kind, boot: &Boot<'_>, programs: &[(&str, &Path)]) -> Self {
        let dir = tempfile::Builder::new().prefix("keyfob-boot-").tempdir_in("/dev/shm").expect("/dev/shm is there");
        let make = |path: &Path| {
            fs::DirBuilder::new().recursive(true).mode(0o755).create(path).expect("our own directory");
        };
        let upper = dir.path().join("upper");
        make(&dir.path().join("host"));
        make(&upper);
        for (path, text) in boot.files {
            let path = upper.join(path.trim_start_matches('/'));
            make(path.parent().expect("a file's directory"));
            fs::write(path, text).expect("our own directory");
        }
        for (path, program) in programs {
            let path = upper.join(path.trim_start_matches('/'));
            make(path.parent().expect("a file's directory"));
            tree::run(Command::new("strip").arg("-o").arg(&path).arg(program));
        }
        if let Some(join) = boot.join {
            let mut join = Join::parse(join, Audience::Session).expect("a session's join string");
            let port = join.address.rsplit_once(':').expect("HOST:PORT").1;
            join.address = format!("{}:{port}", kind.host());
            let value = match kind {
                Kind::Nspawn => join.to_text().to_string(),
                Kind::Vm => format!("io.systemd.credential:keyfob.join={}", *join.to_text()),
            };
            fs::write(dir.path().join("join"), value).expect("our own directory");
        }
        let mut running = Running { process: start(tree, kind, dir.path(), boot.join.is_some()), dir };
        let stream = running.connect();
        let mut machine = Self { kind, tree, running, shell: BufReader::new(stream) };
        assert_eq!(machine.line(), "READY");
        machine
    }

    /// Runs a script as root, outside of any session; gives its exit code and all it printed.
    pub fn sh(&mut self, script: &str) -> (i32, String) {
        self.send(script);
        let answer = self.line();
        let answer = STANDARD.decode(&answer).unwrap_or_default();
        let answer = String::from_utf8_lossy(&answer);
        let (printed, code) = answer.rsplit_once('\n').unwrap_or_else(|| panic!("{script}: the shell ended"));
        (code.parse().expect("an exit code"), printed.trim_end().to_owned())
    }

    /// What a script that succeeds prints.
    pub fn ok(&mut self, script: &str) -> String {
        let (code, printed) = self.sh(script);
        assert_eq!(code, 0, "{script}: {printed}");
        printed
    }

    /// What is typed behind `ssh USER@machine`. Exit code 255 is ssh's own: no connection, or nobody may log in yet.
    pub fn ssh(&self, user: &str, command: &str) -> (i32, String) {
        let output = Command::new("ssh")
            .args(["-F", "none", "-p", self.kind.ssh_port(), "-i"])
            .arg(&self.tree.key)
            .args(["-o", "BatchMode=yes", "-o", "ConnectTimeout=2", "-o", "LogLevel=ERROR"])
            .args(["-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null"])
            .args(["-o", "KexAlgorithms=curve25519-sha256", "-o", "HostKeyAlgorithms=ssh-ed25519"]) // the cheapest
            .arg(format!("{user}@127.0.0.1"))
            .arg(command)
            .stdin(Stdio::null())
            .output()
            .expect("ssh runs");
        let printed = [output.stdout, output.stderr].concat();
        (output.status.code().unwrap_or(-1), String::from_utf8_lossy(&printed).trim_end().to_owned())
    }

    /// Waits until nothing is left to start; gives systemd's word for how it went: `running`, or `degraded` if a unit failed.
    pub fn wait_running(&mut self) -> String {
        self.sh("systemctl is-system-running --wait").1
    }

    /// Shuts it down as an administrator would, and waits for its end.
    pub fn shutdown(mut self) {
        // The shell may be gone before it can answer.
        self.send("systemctl --no-block poweroff");
        let start = Instant::now();
        while self.running.process.try_wait().expect("our own child").is_none() {
            assert!(start.elapsed() < PATIENCE, "it does not end");
            thread::sleep(Duration::from_millis(20));
        }
    }

    fn send(&mut self, script: &str) {
        writeln!(self.shell.get_mut(), "{}", STANDARD.encode(script)).expect("the machine listens");
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.shell.read_line(&mut line).unwrap_or_else(|e| panic!("the machine says nothing: {e}"));
        line.trim_end().to_owned()
    }
}

impl Running {
    /// The machine's end of the shell appears when it does.
    fn connect(&mut self) -> UnixStream {
        let (path, start) = (self.dir.path().join("host/shell"), Instant::now());
        loop {
            match UnixStream::connect(&path) {
                Ok(stream) => {
                    stream.set_read_timeout(Some(PATIENCE)).expect("not zero");
                    return stream;
                }
                Err(e) if start.elapsed() > PATIENCE => panic!("the machine does not come up: {e}"),
                Err(_) => thread::sleep(Duration::from_millis(10)),
            }
            assert!(self.process.try_wait().expect("our own child").is_none(), "the machine did not start");
        }
    }
}

impl Drop for Running {
    /// Pulls the plug.
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
        leave_cgroups(self.dir.path());
        if thread::panicking() {
            let console = fs::read(self.dir.path().join("console")).unwrap_or_default();
            let _ = writeln!(io::stderr(), "console of the machine:\n{}", String::from_utf8_lossy(&console));
        }
    }
}

/// Both begin with an overlay over the tree's layers, in a mount namespace that goes with them.
const OVERLAY: &str = r#"
layers=$1 dir=$2
mkdir "$dir/over"
mount -t tmpfs -o mode=0755 none "$dir/over"
mkdir "$dir/over/upper" "$dir/over/work" "$dir/over/root"
cp -a "$dir/upper/." "$dir/over/upper"
mount -t overlay -o "lowerdir=$layers,upperdir=$dir/over/upper,workdir=$dir/over/work" none "$dir/over/root"
"#;

/// In cgroups of its own, or it would take over those of this process.
const NSPAWN: &str = r#"
for hierarchy in /sys/fs/cgroup/systemd /sys/fs/cgroup/unified /sys/fs/cgroup; do
  [ -e "$hierarchy/cgroup.procs" ] || continue
  mkdir "$hierarchy/$(basename "$dir")"
  echo 0 >"$hierarchy/$(basename "$dir")/cgroup.procs"
done
export SYSTEMD_NSPAWN_UNIFIED_HIERARCHY=yes
exec systemd-nspawn --quiet --directory="$dir/over/root" --register=no --keep-unit --console=pipe --bind="$dir/host:/host" \
  --system-call-filter=memfd_secret ${3:+--load-credential=keyfob.join:"$dir/join"} --boot
"#;

const VM: &str = r#"
truncate -s 1G "$dir/over/disk"
mke2fs -q -F -t ext4 -O ^has_journal -d "$dir/over/root" "$dir/over/disk"
exec qemu-system-x86_64 -nodefaults -no-user-config -display none -no-reboot \
  -machine q35 -accel tcg,thread=multi -cpu max -smp 2 -m 768 -kernel "$4" \
  -append 'root=/dev/nvme0n1 rootfstype=ext4 rw console=ttyS0 quiet panic=-1 mitigations=off' \
  -drive "if=none,id=disk,format=raw,cache=unsafe,file=$dir/over/disk" -device nvme,serial=disk,drive=disk \
  -serial stdio -device virtio-rng-pci -device virtio-serial-pci \
  -chardev "socket,id=shell,path=$dir/host/shell,server=on,wait=off" -device virtconsole,chardev=shell \
  -netdev user,id=net,hostfwd=tcp:127.0.0.1:2222-:22 -device virtio-net-pci,netdev=net,romfile= \
  ${3:+-smbios "type=11,path=$dir/join"}
"#;

fn start(tree: &Tree, kind: Kind, dir: &Path, join: bool) -> Child {
    let console = fs::File::create(dir.join("console")).expect("our own directory");
    // It dies with us. A container does with its pid namespace, whose first process nspawn then is.
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "KILL", "unshare", "--mount"]);
    if kind == Kind::Nspawn {
        command.args(["--pid", "--fork", "--kill-child", "--mount-proc"]);
    }
    let script = match kind {
        Kind::Nspawn => NSPAWN,
        Kind::Vm => VM,
    };
    command
        .args(["sh", "-euc", &format!("{OVERLAY}{script}"), "machine"])
        .args([
            tree.layers.as_ref(),
            dir.as_os_str(),
            OsStr::new(if join { "join" } else { "" }),
            tree.kernel.as_os_str(),
        ])
        .stdin(Stdio::null())
        .stdout(console.try_clone().expect("our own file"))
        .stderr(console)
        .spawn()
        .expect("setpriv runs")
}

/// Removes the container's cgroups, as soon as the last of it is dead.
fn leave_cgroups(dir: &Path) {
    fn remove(group: &Path) -> io::Result<()> {
        for inner in fs::read_dir(group)?.flatten().filter(|e| e.path().is_dir()) {
            remove(&inner.path())?;
        }
        fs::remove_dir(group)
    }
    let (name, start) = (dir.file_name().expect("below /dev/shm"), Instant::now());
    for hierarchy in ["/sys/fs/cgroup/systemd", "/sys/fs/cgroup/unified", "/sys/fs/cgroup"] {
        let group = Path::new(hierarchy).join(name);
        while group.exists() && remove(&group).is_err() && start.elapsed() < Duration::from_secs(5) {
            thread::sleep(Duration::from_millis(5));
        }
    }
}
