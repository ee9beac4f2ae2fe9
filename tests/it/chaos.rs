//! Boots in bad weather: 200 agents whose way to the server is cut, silent, late or another's. No set is ever half there, a
//! token is burnt by nobody's broken line, and every failure says what it is.

use std::{
    fs,
    io::{Read, Write},
    net::{Shutdown, TcpListener, TcpStream},
    path::Path,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use keyfob::wire::v1::Visibility;

use crate::world::{AgentRun, World};

const BOOTS: usize = 200;
/// Agents at once: more than the machine has processors.
const AT_ONCE: usize = 6;

/// What happens to one connection.
#[derive(Debug, Clone, Copy)]
enum Weather {
    Clear,
    /// Closed as soon as it is there.
    Refused,
    /// Cut, without a word, after so many bytes from the server.
    CutAfter(usize),
    /// Nothing comes back, and then it is cut.
    Silent(Duration),
}

/// A way to a server on which the weather is decided for one connection after the other; clear when the list is used up.
struct Way {
    port: u16,
    weather: Arc<Mutex<Vec<Weather>>>,
    connections: Arc<AtomicUsize>,
    stop: Arc<AtomicBool>,
}

impl Way {
    fn to(listener: TcpListener, server: Arc<Mutex<String>>) -> Self {
        let port = listener.local_addr().unwrap().port();
        let (weather, connections, stop) =
            (Arc::<Mutex<Vec<Weather>>>::default(), Arc::<AtomicUsize>::default(), Arc::<AtomicBool>::default());
        let (next, counted, ended) = (weather.clone(), connections.clone(), stop.clone());
        thread::spawn(move || {
            for client in listener.incoming() {
                if ended.load(Ordering::Relaxed) {
                    return;
                }
                counted.fetch_add(1, Ordering::Relaxed);
                let now = next.lock().unwrap().pop().unwrap_or(Weather::Clear);
                let server = server.lock().unwrap().clone();
                thread::spawn(move || carry(client.unwrap(), &server, now));
            }
        });
        Self { port, weather, connections, stop }
    }

    /// For the next connections, the first one last.
    fn expect(&self, weather: Vec<Weather>) {
        *self.weather.lock().unwrap() = weather;
        self.connections.store(0, Ordering::Relaxed);
    }
}

impl Drop for Way {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        let _ = TcpStream::connect(("127.0.0.1", self.port)); // wakes it
    }
}

fn carry(client: TcpStream, server: &str, weather: Weather) {
    let left = match weather {
        Weather::Refused => return,
        Weather::Silent(time) => {
            thread::sleep(time); // how long it is silent is what is tried
            return;
        }
        Weather::CutAfter(bytes) => bytes,
        Weather::Clear => usize::MAX,
    };
    let Ok(upstream) = TcpStream::connect(server) else { return };
    let (mut from, mut to) = (client.try_clone().unwrap(), upstream.try_clone().unwrap());
    let up = thread::spawn(move || {
        let _ = std::io::copy(&mut from, &mut to);
        let _ = to.shutdown(Shutdown::Write);
    });
    let (mut left, mut piece, mut upstream_in, mut client_out) =
        (left, [0; 4096], upstream.try_clone().unwrap(), client.try_clone().unwrap());
    while left > 0 {
        let wanted = piece.len().min(left);
        match upstream_in.read(&mut piece[..wanted]) {
            Ok(0) | Err(_) => break,
            Ok(read) if client_out.write_all(&piece[..read]).is_ok() => left -= read,
            Ok(_) => break,
        }
    }
    let _ = (client.shutdown(Shutdown::Both), upstream.shutdown(Shutdown::Both));
    up.join().unwrap();
}

/// The same on every run: splitmix64 (Steele, Lea and Flood, 2014).
struct Random(u64);

impl Random {
    fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) % end as u64) as usize
    }

    /// Up to five bad connections. An enrolment is some 5 KiB from the server, a fetch of this bundle some 20 KiB.
    fn weather(&mut self) -> Vec<Weather> {
        let bad = 1 + self.below(5);
        (0..bad)
            .map(|_| match self.below(8) {
                0 => Weather::Refused,
                1 => Weather::Silent(Duration::from_millis(self.below(300) as u64)),
                2..=4 => Weather::CutAfter(self.below(6_000)),
                _ => Weather::CutAfter(self.below(26_000)),
            })
            .collect()
    }
}

/// Whatever is there at any moment is a whole set, or nothing that anybody would take for one.
fn look(dir: &Path) -> bool {
    let Ok(manifest) = fs::read(dir.join("manifest.json")) else { return false };
    let manifest: serde_json::Value = serde_json::from_slice(&manifest).expect("a whole manifest");
    let environ = fs::read(dir.join("environ")).expect("what the manifest names is there");
    assert_eq!(manifest["variables"].as_array().unwrap().len(), VARIABLES);
    assert_eq!(environ.iter().filter(|b| **b == 0).count(), VARIABLES);
    assert_eq!(environ.last(), Some(&0));
    true
}

const VARIABLES: usize = 10;

#[tokio::test(flavor = "multi_thread")]
async fn two_hundred_boots_in_bad_weather() {
    let server = Arc::new(Mutex::new(String::new()));
    let ways: Vec<TcpListener> = (0..AT_ONCE).map(|_| TcpListener::bind("127.0.0.1:0").unwrap()).collect();
    // The join strings name the first way; each agent gets one of its own, so the address in them is changed below.
    let world = World::new().await;
    *server.lock().unwrap() = world.address.clone();
    for n in 0..VARIABLES {
        world.admin().create(&format!("secret-{n}"), Visibility::Shared, "v".repeat(2_000).as_bytes()).await;
    }
    let ways: Vec<Way> = ways.into_iter().map(|listener| Way::to(listener, server.clone())).collect();
    let mut joins = Vec::new();
    for _ in 0..BOOTS {
        joins.push(world.session("", "default").await.join);
    }
    let joins = Mutex::new(joins.into_iter().enumerate().collect::<Vec<_>>());
    let worst = AtomicUsize::new(0);
    tokio::task::block_in_place(|| {
        thread::scope(|scope| {
            for way in &ways {
                scope.spawn(|| {
                    loop {
                        let Some((seed, join)) = joins.lock().unwrap().pop() else { return };
                        let weather = Random(seed as u64).weather();
                        way.expect(weather.clone());
                        boot(seed, &redirected(&join, way.port), &weather);
                        worst.fetch_max(way.connections.load(Ordering::Relaxed), Ordering::Relaxed);
                    }
                });
            }
        });
    });
    // Enrol and fetch, once each, and once more for each time the line broke.
    let worst = worst.load(Ordering::Relaxed);
    assert!((3..=5 + 2).contains(&worst), "at the worst {worst} connections for one boot");
}

fn boot(seed: usize, join: &str, weather: &[Weather]) {
    let mut agent = AgentRun::start(join, &["--once", "--deadline", "60"]);
    let dir = agent.dir.clone();
    let ended = AtomicBool::new(false);
    thread::scope(|scope| {
        let watching = scope.spawn(|| {
            while !ended.load(Ordering::Relaxed) {
                look(&dir);
                thread::sleep(Duration::from_millis(1));
            }
        });
        let (code, printed) = agent.finish();
        ended.store(true, Ordering::Relaxed);
        watching.join().expect("every look found all or nothing");
        assert_eq!(code, 0, "boot {seed}, {weather:?}: {printed}");
    });
    assert!(look(&dir), "boot {seed}, {weather:?}");
}

/// The join string with another address in it: what stands between agent and server is on its way, not in its trust.
fn redirected(join: &str, port: u16) -> String {
    use keyfob::domain::join::{Audience, Join};
    let join = Join::parse(join, Audience::Session).unwrap();
    Join { address: format!("127.0.0.1:{port}"), ..join }.to_text().to_string()
}

#[tokio::test]
async fn what_bad_weather_looks_like() {
    let (world, other) = (World::new().await, World::new().await);
    world.admin().create("api-key", Visibility::Shared, b"a value of acme").await;
    let server = Arc::new(Mutex::new(other.address.clone()));
    let way = Way::to(TcpListener::bind("127.0.0.1:0").unwrap(), server.clone());
    let nowhere = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port(); // closed again
    const FAKETIME: &str = "/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1";
    let preload: &[(&str, &str)] = &[("LD_PRELOAD", FAKETIME)];
    let at = |offset: &'static str| [preload, &[("FAKETIME", offset)]].concat();
    assert!(Path::new(FAKETIME).exists(), "install faketime");
    for (what, port, environment, code, said) in [
        ("nobody there", nowhere, vec![], 3, "can't reach the control plane at 127.0.0.1:"),
        ("another control plane", way.port, vec![], 1, "is not the control plane this client was told to trust"),
        ("a clock that is a day slow", 0, at("-1d"), 1, "its certificate is not valid yet"),
        ("a clock that is a day fast", 0, at("+1d"), 1, "the certificate it gave has expired already"),
        ("a clock that is a month fast", 0, at("+30d"), 1, "its certificate has expired"),
    ] {
        let made = world.session("", "default").await;
        let join = if port == 0 { made.join } else { redirected(&made.join, port) };
        let started = Instant::now();
        let environment = environment.iter().map(|(key, value)| (*key, std::ffi::OsStr::new(*value)));
        let mut agent = AgentRun::start_with(&join, &["--once", "--deadline", "1"], environment);
        let (ended, printed) = agent.finish();
        let last = printed.lines().last().unwrap_or_default();
        assert_eq!(ended, code, "{what}: {printed}");
        assert!(last.contains(said), "{what}: {last}");
        assert!(started.elapsed() < Duration::from_secs(20), "{what}");
        assert_eq!(fs::read_dir(&agent.dir).unwrap().count(), 0, "{what}");
    }
}
