//! What connected agents cost the server, and how long a push takes to reach them all: `cargo bench --bench streams`.
//!
//! ```text
//! (a) memory: what the server's own memory grows by, for each idle stream (TLS, HTTP/2 and the stream itself)
//! (b) idle: the server's processor time while nothing but keep-alives happens
//! (c) push: from the call that pushes to all, until the last of them is told; and the server's processor time for it
//! (d) revocation: from the answer to a revocation to the end of the stream, while all the others are open
//! ```
//!
//! Server and clients share this machine, so (c) is also the clients' work. `KEYFOB_STREAMS` says how many (default 10,000; each
//! costs a descriptor on both sides, so raise `ulimit -n` first).

use std::{
    fs,
    io::{self, BufRead, BufReader, Write},
    process::{Child, Command, Stdio},
    sync::Arc,
    time::{Duration, Instant},
};

#[path = "../tests/it/world.rs"]
#[allow(dead_code, reason = "shared with the tests")]
mod world;

use keyfob::{
    client,
    wire::v1::{self, create_rollout_request::Reach, watch_response::Event},
};
use tokio::{
    sync::{Semaphore, mpsc},
    task::JoinSet,
};
use world::{Api, SERVER, enrol, enrol_session};

type Anything = Box<dyn std::error::Error + Send + Sync>;

/// Handshakes at once.
const AT_ONCE: usize = 16;
const IDLE: Duration = Duration::from_secs(45);
const REVOCATIONS: usize = 1_000;

#[tokio::main]
async fn main() -> Result<(), Anything> {
    let streams: usize = std::env::var("KEYFOB_STREAMS").ok().and_then(|n| n.parse().ok()).unwrap_or(10_000);
    let dir = tempfile::tempdir()?;
    let data = dir.path().join("data");
    let init = Command::new(SERVER)
        .args(["init", "--org", "acme", "--admin", "root", "--data-dir"])
        .arg(&data)
        .stderr(Stdio::null())
        .output()?;
    let join = String::from_utf8(init.stdout)?;
    let serve = |listen: &str| Server::start(&data, listen);
    let mut server = serve("127.0.0.1:0")?;
    let mut root = enrol(&join).await;
    root.create("api-key", v1::Visibility::Shared, b"a value that everybody gets").await;

    let started = Instant::now();
    let sessions = all(
        streams,
        |root: Arc<Api>| async move {
            let made = root.sessions().create_session(v1::CreateSessionRequest::default()).await?.into_inner();
            let id = made.session.ok_or("a session")?.id;
            let api = enrol_session(&made.join).await;
            api.fetch("acme", &id).await?;
            Ok((id, api.credentials))
        },
        &root,
    )
    .await?;
    say(&format!("{streams} sessions enrolled and served in {:.0} s", started.elapsed().as_secs_f64()));

    // A process that has done nothing yet.
    server = server.again(serve)?;
    let address = server.address.clone();
    root.reconnect(&address).await;
    let before = anonymous(server.pid())?;
    let (send, mut told) = mpsc::channel::<(usize, Heard)>(streams);
    let (credentials, places) = (Arc::new(sessions), Arc::new(Semaphore::new(AT_ONCE)));
    let mut opening = JoinSet::new();
    for number in 0..streams {
        let (credentials, places, send, address) = (credentials.clone(), places.clone(), send.clone(), address.clone());
        opening.spawn(async move {
            let place = places.acquire_owned().await?;
            let channel = client::connect_as(&address, &credentials[number].1).await.map_err(|e| e.to_string())?;
            let mut client = v1::bundle_service_client::BundleServiceClient::new(channel);
            let request = v1::WatchRequest { sequence: 0, instance: vec![1; 16], attempt: 1 };
            let mut stream = client.watch(request).await?.into_inner();
            stream.message().await?;
            drop(place);
            tokio::spawn(async move {
                let _connection = client;
                loop {
                    let heard = match stream.message().await {
                        Ok(Some(v1::WatchResponse { event: Some(Event::Push(_)) })) => Heard::Push,
                        Ok(Some(_)) => continue,
                        _ => Heard::End,
                    };
                    if send.send((number, heard)).await.is_err() || heard == Heard::End {
                        return;
                    }
                }
            });
            Ok::<_, Anything>(())
        });
    }
    while let Some(opened) = opening.join_next().await {
        opened??;
    }
    tokio::time::sleep(Duration::from_secs(3)).await; // buffers of the handshakes are given back
    let each = (anonymous(server.pid())? - before) as f64 / streams as f64;
    say(&format!(
        "(a) memory: {each:.1} KiB for each of {streams} idle streams ({} MiB in all)",
        anonymous(server.pid())? / 1024
    ));

    let (cpu, at) = (server.cpu()?, Instant::now());
    tokio::time::sleep(IDLE).await;
    let idle = (server.cpu()? - cpu) / at.elapsed().as_secs_f64();
    say(&format!(
        "(b) idle: {:.2} % of a processor, {:.1} us a second and stream",
        idle * 100.0,
        idle * 1e6 / streams as f64
    ));

    for round in 1..=3 {
        let value = format!("a new value, number {round}");
        let rotate = v1::RotateSecretRequest {
            r#ref: Some(v1::SecretRef { name: "api-key".into(), ..Default::default() }),
            value: Some(world::plain(value.as_bytes())),
            ..Default::default()
        };
        root.secrets().rotate_secret(rotate).await?;
        let (cpu, at) = (server.cpu()?, Instant::now());
        let request = v1::CreateRolloutRequest { reach: Some(Reach::All(true)), options: None };
        root.rollouts().create_rollout(request).await?;
        let answered = at.elapsed();
        let mut first = None;
        for _ in 0..streams {
            told.recv().await.ok_or("all streams are open")?;
            first.get_or_insert(at.elapsed());
        }
        say(&format!(
            "(c) push {round} to {streams}: answered after {:.0} ms, the first told after {:.0} ms, the last after {:.0} ms; {:.2} s of \
             the server's processor time, {:.0} us each",
            answered.as_secs_f64() * 1e3,
            first.unwrap_or_default().as_secs_f64() * 1e3,
            at.elapsed().as_secs_f64() * 1e3,
            server.cpu()? - cpu,
            (server.cpu()? - cpu) * 1e6 / streams as f64
        ));
    }

    let mut waits = Vec::new();
    for (number, (id, _)) in credentials.iter().enumerate().take(REVOCATIONS) {
        root.sessions().revoke_session(v1::RevokeSessionRequest { id: id.clone() }).await?;
        let at = Instant::now();
        loop {
            match told.recv().await.ok_or("the others are open")? {
                (of, Heard::End) if of == number => break,
                (_, Heard::End) => return Err("another stream ended".into()),
                _ => {}
            }
        }
        waits.push(at.elapsed().as_secs_f64() * 1e3);
    }
    waits.sort_by(f64::total_cmp);
    let at = |part: f64| waits[((waits.len() - 1) as f64 * part) as usize];
    say(&format!(
        "(d) {} revocations: cut after {:.2} ms (median), {:.2} ms (p99), {:.2} ms (longest)",
        waits.len(),
        at(0.5),
        at(0.99),
        at(1.0)
    ));
    Ok(())
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Heard {
    Push,
    End,
}

/// Does something so often, some at once.
async fn all<T, F>(count: usize, job: impl Fn(Arc<Api>) -> F, root: &Api) -> Result<Vec<T>, Anything>
where
    T: Send + 'static,
    F: Future<Output = Result<T, Anything>> + Send + 'static,
{
    let own = || client::Credentials {
        key: root.credentials.key.clone(),
        chain: root.credentials.chain.clone(),
        roots: root.credentials.roots.clone(),
        not_before: root.credentials.not_before,
        not_after: root.credentials.not_after,
    };
    let (mut jobs, mut done) = (JoinSet::new(), Vec::with_capacity(count));
    for _ in 0..count {
        if jobs.len() == AT_ONCE {
            done.extend(jobs.join_next().await.transpose()?.transpose()?);
        }
        jobs.spawn(job(Arc::new(Api { channel: root.channel.clone(), credentials: own() })));
    }
    while let Some(finished) = jobs.join_next().await {
        done.push(finished??);
    }
    Ok(done)
}

struct Server {
    child: Child,
    address: String,
}

impl Server {
    fn start(data: &std::path::Path, listen: &str) -> Result<Self, Anything> {
        let mut child = Command::new(SERVER)
            .args(["serve", "--listen", listen, "--max-connections", "60000", "--max-connections-per-address", "60000"])
            .arg("--data-dir")
            .arg(data)
            .env("KEYFOB_LOG", "error")
            .stdout(Stdio::piped())
            .spawn()?;
        let mut line = String::new();
        BufReader::new(child.stdout.take().ok_or("piped")?).read_line(&mut line)?;
        let address = line.trim().strip_prefix("listening on ").ok_or("it does not say where")?.to_owned();
        Ok(Self { child, address })
    }

    /// Another process on the same data and address.
    fn again(mut self, start: impl Fn(&str) -> Result<Self, Anything>) -> Result<Self, Anything> {
        self.child.kill()?;
        self.child.wait()?;
        start(&self.address)
    }

    fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Seconds of processor time so far.
    fn cpu(&self) -> Result<f64, Anything> {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.pid()))?;
        let fields: Vec<&str> = stat.rsplit(')').next().ok_or("its name")?.split_whitespace().collect();
        Ok((fields[11].parse::<f64>()? + fields[12].parse::<f64>()?) / 100.0)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// KiB that a process holds for itself.
fn anonymous(pid: u32) -> Result<u64, Anything> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).ok_or("no RssAnon")?;
    Ok(line.trim().trim_end_matches(" kB").parse()?)
}

fn say(line: &str) {
    let _ = writeln!(io::stdout(), "{line}");
}
