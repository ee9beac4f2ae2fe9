//! The main job measured, as ratios in one run against programs everybody knows. By hand: `cargo bench --bench line`.
//!
//! ```text
//! (a) keyfob-agent, process start to files in place, against curl doing one mTLS GET of the same bytes from nginx
//! (b) keyfob-server, full handshake + Fetch per CPU second, against nginx serving a static file of that size over mTLS
//! (c) keyfob-agent's resident memory when idle
//! (d) the server's CPU per fetch as the organization grows, with 50 secrets in scope
//! ```
//!
//! Everything is on loopback, with real processes. Needs nginx and curl. `KEYFOB_AGENT` names an agent built as it is shipped
//! (`cargo build --profile agent --no-default-features -F agent`); without it the one of this build is measured.

mod nginx;

use std::{
    fs,
    io::{self, BufRead, BufReader, Write},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use keyfob::{
    client::{self, Credentials},
    domain::join::{Audience, Join},
    seal::RecipientKey,
    wire::v1::{self, Visibility},
};
use nix::sys::resource::{UsageWho, getrusage};
use rustls::pki_types::ServerName;
use time::OffsetDateTime;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tonic::transport::Channel;

use nginx::{Anything, Nginx, Running, wait_for};

const SERVER: &str = env!("CARGO_BIN_EXE_keyfob-server");
const SECRETS: usize = 50;
const RUNS: usize = 40;
const CLIENTS: usize = 8;
const LOAD: Duration = Duration::from_secs(6);

#[tokio::main]
async fn main() -> Result<(), Anything> {
    let dir = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir())?;
    let disk = tempfile::tempdir()?; // the server's database is on a disk, where commits cost what they cost
    let world = World::start(disk.path()).await?;
    world.import("", SECRETS, false).await?;

    let reply = world.fetch_once().await?;
    say(&format!("bundle of {SECRETS} secrets: {reply} bytes sealed"));
    let nginx = Nginx::start(dir.path(), reply)?;

    boot(&world, &nginx, dir.path()).await?;
    idle(&world, dir.path()).await?;
    load(&world, &nginx).await?;
    growth(&world).await?;
    Ok(())
}

/// (a)
async fn boot(world: &World, nginx: &Nginx, dir: &Path) -> Result<(), Anything> {
    let (mut agent, mut curl) = (Vec::new(), Vec::new());
    for run in 0..=RUNS {
        let join = dir.join("join");
        fs::write(&join, world.session().await?)?;
        let target = dir.join(format!("run-{run}"));
        let command = |c: &mut Command| {
            c.args(["run", "--once", "--allow-swappable", "--join-file"])
                .arg(&join)
                .arg("--dir")
                .arg(&target)
                .env("KEYFOB_LOG", "error");
        };
        let ours = timed(&agent_path(), command)?;
        assert!(target.join("manifest.json").exists(), "the agent installed nothing");
        let theirs = timed(Path::new("curl"), |c| {
            c.args(["-sS", "--fail", "--tlsv1.3", "--cert"])
                .arg(nginx.dir.join("client.pem"))
                .arg("--key")
                .arg(nginx.dir.join("client.key"));
            c.arg("--cacert")
                .arg(nginx.dir.join("ca.pem"))
                .arg("-o")
                .arg(dir.join("got"))
                .arg(format!("https://localhost:{}/file", nginx.port));
        })?;
        if run > 0 {
            agent.push(ours); // the first of each warms up
            curl.push(theirs);
        }
    }
    for (what, pick) in [("wall", 0), ("CPU", 1)] {
        let of = |runs: &[[f64; 2]]| median(runs.iter().map(|r| r[pick] * 1e3).collect());
        let (ours, theirs) = (of(&agent), of(&curl));
        say(&format!("(a) {what}: agent {ours:.1} ms, curl {theirs:.1} ms: {:.2} x curl", ours / theirs));
    }
    Ok(())
}

/// (b)
async fn load(world: &World, nginx: &Nginx) -> Result<(), Anything> {
    let (credentials, _) = enrol(&world.session().await?, Audience::Session).await?;
    let credentials = Arc::new(credentials);
    let address = world.address.clone();
    let before = cpu_of(&[world.server.id()])?;
    let fetches = hammer(move || {
        let (credentials, address) = (credentials.clone(), address.clone());
        async move { fetch(client::connect_as(&address, &credentials).await?).await.map(drop) }
    })
    .await;
    let ours = fetches as f64 / (cpu_of(&[world.server.id()])? - before);

    let connector = nginx.connector()?;
    let port = nginx.port;
    let before = cpu_of(&nginx.pids()?)?;
    let gets = hammer(move || {
        let connector = connector.clone();
        async move { get(&connector, port).await }
    })
    .await;
    let theirs = gets as f64 / (cpu_of(&nginx.pids()?)? - before);
    say(&format!(
        "(b) full mTLS handshake + answer per CPU second: keyfob-server {ours:.0} (hybrid X25519MLKEM768), nginx {theirs:.0} (X25519): {:.2} x nginx",
        ours / theirs
    ));
    Ok(())
}

/// (c)
async fn idle(world: &World, dir: &Path) -> Result<(), Anything> {
    let join = dir.join("join");
    fs::write(&join, world.session().await?)?;
    let target = dir.join("idle");
    let mut command = Command::new(agent_path());
    command
        .args(["run", "--allow-swappable", "--join-file"])
        .arg(&join)
        .arg("--dir")
        .arg(&target)
        .env("KEYFOB_LOG", "error");
    let agent = Running(command.spawn()?);
    wait_for(|| target.join("manifest.json").exists())?;
    tokio::time::sleep(Duration::from_millis(500)).await; // idle is what is measured
    let status = fs::read_to_string(format!("/proc/{}/status", agent.0.id()))?;
    let rollup = fs::read_to_string(format!("/proc/{}/smaps_rollup", agent.0.id()))?;
    let kib = |text: &str, key: &str| {
        text.lines()
            .find_map(|l| l.strip_prefix(key))
            .and_then(|l| l.split_whitespace().next())
            .and_then(|n| n.parse::<f64>().ok())
    };
    let mib = |kib: Option<f64>| kib.unwrap_or(f64::NAN) / 1024.0;
    let size = fs::metadata(agent_path())?.len() as f64 / 1048576.0;
    say(&format!(
        "(c) idle agent: {:.1} MiB resident ({:.1} MiB anonymous), limit 8 MiB; binary {size:.1} MiB",
        mib(kib(&status, "VmRSS:")),
        mib(kib(&rollup, "Anonymous:"))
    ));
    Ok(())
}

/// (d)
async fn growth(world: &World) -> Result<(), Anything> {
    let (credentials, _) = enrol(&world.session().await?, Audience::Session).await?;
    let mut total = SECRETS;
    let mut first = None;
    for size in [SECRETS, 1_000, 10_000, 100_000] {
        let filling = Instant::now();
        while total < size {
            let owner = total / 1_000;
            let batch = (size - total).min(1_000);
            // Every other thousand is somebody else's private ones; the rest shared ones that are not installed.
            if owner.is_multiple_of(2) {
                world.import(&format!("user{owner}"), batch, true).await?
            } else {
                world.import("", batch, true).await?
            };
            total += batch;
        }
        let filled = filling.elapsed().as_secs_f64();
        let channel = client::connect_as(&world.address, &credentials).await?;
        for _ in 0..20 {
            fetch(channel.clone()).await?;
        }
        let before = cpu_of(&[world.server.id()])?;
        const FETCHES: usize = 1_000;
        for _ in 0..FETCHES {
            fetch(channel.clone()).await?;
        }
        let each = (cpu_of(&[world.server.id()])? - before) / FETCHES as f64 * 1e6;
        let ratio = each / *first.get_or_insert(each);
        say(&format!(
            "(d) {total} secrets, {SECRETS} in scope: {each:.0} us of CPU a fetch, {ratio:.2} x the smallest (filled in {filled:.0} s)"
        ));
    }
    Ok(())
}

struct World {
    server: Running,
    address: String,
    admin: (Credentials, Channel),
}

impl World {
    async fn start(dir: &Path) -> Result<Self, Anything> {
        let data = dir.join("data");
        let init = Command::new(SERVER)
            .args(["init", "--org", "bench", "--admin", "root", "--data-dir"])
            .arg(&data)
            .stderr(Stdio::null())
            .output()?;
        let mut server = Command::new(SERVER)
            .args(["serve", "--listen", "127.0.0.1:0", "--max-connections-per-address", "10000", "--data-dir"])
            .arg(&data)
            .env("KEYFOB_LOG", "error")
            .stdout(Stdio::piped())
            .spawn()?;
        let mut line = String::new();
        BufReader::new(server.stdout.take().ok_or("piped")?).read_line(&mut line)?;
        let address = line.trim().strip_prefix("listening on ").ok_or("it does not say where")?.to_owned();
        let admin = enrol(std::str::from_utf8(&init.stdout)?, Audience::User).await?;
        Ok(Self { server: Running(server), address, admin })
    }

    /// Secrets of 64 bytes: shared, or a new user's private ones.
    async fn import(&self, owner: &str, count: usize, no_auto_install: bool) -> Result<(), Anything> {
        let (visibility, channel) = if owner.is_empty() {
            (Visibility::Shared, self.admin.1.clone())
        } else {
            let request = v1::InviteUserRequest { name: owner.into(), ..Default::default() };
            let mut users = v1::user_service_client::UserServiceClient::new(self.admin.1.clone());
            (Visibility::Private, enrol(&users.invite_user(request).await?.into_inner().join, Audience::User).await?.1)
        };
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let items = (0..count).map(|_| {
            let value = Some(v1::SecretValue { kind: Some(v1::secret_value::Kind::Plain(vec![b'v'; 64])) });
            v1::ImportItem { name: format!("secret-{}", NEXT.fetch_add(1, Ordering::Relaxed)), value, line: 0 }
        });
        let request = v1::ImportSecretsRequest {
            visibility: visibility.into(),
            items: items.collect(),
            no_auto_install,
            ..Default::default()
        };
        let mut secrets =
            v1::secret_service_client::SecretServiceClient::new(channel).max_decoding_message_size(16 << 20);
        let reply = secrets.import_secrets(request).await?.into_inner();
        assert!(reply.problems.is_empty(), "{:?}", reply.problems);
        Ok(())
    }

    async fn session(&self) -> Result<String, Anything> {
        let request = v1::CreateSessionRequest { user: "root".into(), ..Default::default() };
        let mut sessions = v1::session_service_client::SessionServiceClient::new(self.admin.1.clone());
        Ok(sessions.create_session(request).await?.into_inner().join)
    }

    async fn fetch_once(&self) -> Result<usize, Anything> {
        let (_, channel) = enrol(&self.session().await?, Audience::Session).await?;
        fetch(channel).await
    }
}

async fn enrol(join: &str, audience: Audience) -> Result<(Credentials, Channel), Anything> {
    let join = Join::parse(join, audience)?;
    let credentials = client::enrol(&join, &client::new_key()?, OffsetDateTime::now_utc()).await?;
    let channel = client::connect_as(&join.address, &credentials).await?;
    Ok((credentials, channel))
}

async fn fetch(channel: Channel) -> Result<usize, Anything> {
    // The client's key making is not what is measured, but it is what a client does.
    let key = RecipientKey::generate().map_err(|e| e.to_string())?;
    let request = v1::FetchRequest { public_key: key.public().to_vec(), nonce: vec![0; 16] };
    Ok(v1::bundle_service_client::BundleServiceClient::new(channel).fetch(request).await?.into_inner().ciphertext.len())
}

/// Runs a request over and over in some tasks; gives how many succeeded.
async fn hammer<F, R>(request: F) -> u64
where
    F: Fn() -> R + Clone + Send + 'static,
    R: Future<Output = Result<(), Anything>> + Send,
{
    let (done, stop) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
    let tasks: Vec<_> = (0..CLIENTS)
        .map(|_| {
            let (request, done, stop) = (request.clone(), done.clone(), stop.clone());
            tokio::spawn(async move {
                while !stop.load(Ordering::Relaxed) {
                    request().await.expect("a request under load");
                    done.fetch_add(1, Ordering::Relaxed);
                }
            })
        })
        .collect();
    tokio::time::sleep(LOAD).await;
    stop.store(true, Ordering::Relaxed);
    for task in tasks {
        task.await.expect("no request failed");
    }
    done.load(Ordering::Relaxed)
}

async fn get(connector: &tokio_rustls::TlsConnector, port: u16) -> Result<(), Anything> {
    let tcp = tokio::net::TcpStream::connect(("127.0.0.1", port)).await?;
    tcp.set_nodelay(true)?;
    let mut tls = connector.connect(ServerName::try_from("localhost")?, tcp).await?;
    tls.write_all(b"GET /file HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").await?;
    let mut reply = Vec::new();
    let _ = tls.read_to_end(&mut reply).await;
    if reply.starts_with(b"HTTP/1.1 200") { Ok(()) } else { Err("nginx did not serve the file".into()) }
}

fn agent_path() -> PathBuf {
    std::env::var_os("KEYFOB_AGENT").map_or_else(|| PathBuf::from(env!("CARGO_BIN_EXE_keyfob-agent")), PathBuf::from)
}

/// Wall and CPU seconds of one whole process.
fn timed(program: &Path, set_up: impl FnOnce(&mut Command)) -> Result<[f64; 2], Anything> {
    let mut command = Command::new(program);
    set_up(&mut command);
    let (start, before) = (Instant::now(), children_cpu()?);
    let status = command.status()?;
    let wall = start.elapsed().as_secs_f64();
    if !status.success() {
        return Err(format!("{} failed", program.display()).into());
    }
    Ok([wall, children_cpu()? - before])
}

fn children_cpu() -> Result<f64, Anything> {
    let usage = getrusage(UsageWho::RUSAGE_CHILDREN)?;
    let seconds = |t: nix::sys::time::TimeVal| t.tv_sec() as f64 + t.tv_usec() as f64 / 1e6;
    Ok(seconds(usage.user_time()) + seconds(usage.system_time()))
}

/// CPU seconds that these processes have used, from /proc/PID/stat.
fn cpu_of(pids: &[u32]) -> Result<f64, Anything> {
    let mut ticks = 0.0;
    for pid in pids {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
        let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
        ticks += fields[11].parse::<f64>()? + fields[12].parse::<f64>()?;
    }
    Ok(ticks / 100.0)
}

fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures[figures.len() / 2]
}

fn say(line: &str) {
    let _ = writeln!(io::stdout(), "{line}");
}
