//! The server's edge under attack, over real TLS on loopback. Every attack is bounded, and of each it is asserted that a good
//! client gets its answer while it lasts, that the attacker's sockets end, and by which bound.

mod client;
mod server;

use std::{
    convert::Infallible,
    io::{self, BufRead, BufReader, Read, Write},
    net::{IpAddr, Ipv4Addr, SocketAddr},
    process::{Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};

use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use keyfob::{
    server::edge::Limits,
    tls::{Trust, client_config, fingerprint},
};
use rcgen::ExtendedKeyUsagePurpose;
use rustls::pki_types::CertificateDer;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    task::JoinSet,
    time::{sleep, timeout},
};

use client::{
    CHECK, CONTINUATION, Client, Connection, DATA, END_HEADERS, END_STREAM, GOAWAY, HEADERS, PING, PREFACE, RST_STREAM,
    SETTINGS, WINDOW_UPDATE, block, continuable, ended, frame, headers, literal, read_frame, request, string,
};
use server::{Edge, PKI, Pki, patient};

/// How long anything that must happen may take. Waiting ends as soon as it has happened.
const PATIENCE: Duration = Duration::from_secs(10);
/// Longer than any test: for the limits that are not its subject.
const NEVER: Duration = Duration::from_secs(600);
const SHORT: Duration = Duration::from_millis(300);

// ---------------------------------------------------------------- silence

#[derive(Debug, Clone, Copy)]
enum Silence {
    /// Nothing after the TCP handshake.
    Tcp,
    /// Nothing after the TLS handshake.
    Tls,
    /// The preface, byte by byte: 40 ms each, 1.3 s in all.
    Trickle,
    /// Nothing after preface and SETTINGS.
    Preface,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn silence_is_ended_and_good_clients_are_served_meanwhile() {
    use Silence::{Preface, Tcp, Tls, Trickle};
    let patient = Limits { max_anonymous: 1_000, max_anonymous_per_address: 1_000, ..patient() };
    let keepalive = Limits { keepalive_interval: SHORT, keepalive_timeout: SHORT, ..patient.clone() };
    for (attack, certificate, limits, count, ended_by) in [
        (Tcp, false, Limits { handshake: SHORT, ..patient.clone() }, 200, "handshake_timeouts"),
        (Tls, false, Limits { preface: SHORT, ..patient.clone() }, 200, "preface_timeouts"),
        (Tls, true, Limits { preface: SHORT, ..patient.clone() }, 50, "preface_timeouts"),
        (Trickle, false, Limits { preface: SHORT, ..patient.clone() }, 100, "preface_timeouts"),
        (Trickle, true, Limits { preface: SHORT, ..patient.clone() }, 50, "preface_timeouts"),
        (Preface, false, Limits { first_request: SHORT, ..patient.clone() }, 100, "idle_anonymous"),
        (Preface, true, keepalive, 50, "broken"),
    ] {
        let edge = Edge::start(limits).await;
        // TCP silence must not also silence this client's own handshake on a busy machine: it is there before.
        let mut good = edge.connect(true).await;
        let mut attackers = JoinSet::new();
        for _ in 0..count {
            attackers.spawn(edge.client(certificate).be_silent(attack));
        }
        let over = AtomicBool::new(false);
        let attacks = async {
            while let Some(ended) =
                timeout(PATIENCE, attackers.join_next()).await.expect("an attacker's socket stays open")
            {
                ended.unwrap();
            }
            over.store(true, Relaxed);
        };
        let good_calls = async {
            while !over.load(Relaxed) {
                assert!(good.is_served().await, "{attack:?}");
                sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::join!(attacks, good_calls);
        assert!(good.is_served().await, "{attack:?}");
        assert_eq!(edge.counter(ended_by).get(), count, "{attack:?} {:?}", edge.stats);
        edge.until(|stats| stats.accepted.get() - stats.closed.get() == 1).await;
        if ended_by != "broken" {
            edge.nothing_lingers().await; // cut off; but keep-alive ends in order, with GOAWAY and FIN
        }
    }
}

impl Client {
    async fn be_silent(self, how: Silence) {
        if let Silence::Tcp = how {
            return ended(&mut self.tcp().await.unwrap()).await;
        }
        let mut connection = self.tls().await.unwrap();
        match how {
            Silence::Tcp | Silence::Tls => {}
            Silence::Trickle => {
                for byte in PREFACE.iter().chain(&[0, 0, 0, SETTINGS, 0, 0, 0, 0, 0]) {
                    let sent = connection.io.write_all(&[*byte]).await;
                    if sent.is_err() || timeout(Duration::from_millis(40), ended(&mut connection.io)).await.is_ok() {
                        return;
                    }
                }
            }
            Silence::Preface => connection.greet().await.unwrap(),
        }
        ended(&mut connection.io).await;
    }
}

// ---------------------------------------------------------------- caps

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn caps_refuse_what_is_over_them_and_nobody_else() {
    let [attacker, good] = [Ipv4Addr::new(127, 0, 0, 2), Ipv4Addr::new(127, 0, 0, 3)].map(IpAddr::from);
    for (what, limits, certificate, good_client_served, refused_by) in [
        ("per address", Limits { max_per_address: 8, ..patient() }, true, true, "refused_address"),
        ("in all", Limits { max_connections: 8, ..patient() }, true, false, "refused_full"),
        (
            "anonymous, per address",
            Limits { max_anonymous_per_address: 8, ..patient() },
            false,
            true,
            "refused_anonymous",
        ),
        ("anonymous, in all", Limits { max_anonymous: 8, ..patient() }, false, true, "refused_anonymous"),
    ] {
        let edge = Edge::start(limits).await;
        let mut held = vec![];
        for _ in 0..8 {
            let mut connection = edge.client(certificate).from(attacker).connect().await.unwrap();
            assert!(connection.is_served().await, "{what}");
            held.push(connection);
        }
        for _ in 0..12 {
            // Refused before the handshake, after it, or when it asks.
            if let Ok(mut connection) = edge.client(certificate).from(attacker).connect().await {
                assert!(!connection.is_served().await, "{what}");
            }
        }
        assert_eq!(edge.counter(refused_by).get(), 12, "{what} {:?}", edge.stats);
        let served = match edge.client(true).from(good).connect().await {
            Ok(mut connection) => connection.is_served().await,
            Err(_) => false,
        };
        assert_eq!(served, good_client_served, "{what}");

        drop(held);
        edge.until(|stats| stats.accepted.get() == stats.closed.get()).await;
        let mut again = edge.client(certificate).from(attacker).connect().await.unwrap();
        assert!(again.is_served().await, "{what}: places come back");
    }
}

// ---------------------------------------------------------------- floods

#[derive(Debug, PartialEq)]
enum End {
    /// GOAWAY with this code, then the end.
    GoAway(u32),
    /// The end without a word, counted here.
    By(&'static str),
    /// The stream is answered without the service having been asked; the connection goes on.
    StreamOnly,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn floods_end_their_own_connection_only() {
    const ENHANCE_YOUR_CALM: u32 = 11;
    let small = || Limits { anonymous_bytes: 64 * 1024, ..patient() };
    let stalling = || Limits { write_stall: SHORT, ..patient() };
    let ping = frame(PING, 0, 0, b"01234567");
    let settings = frame(SETTINGS, 0, 0, &[0, 3, 0, 0, 0, 100]);
    let reset = |n: u32| [request(2 * n + 1, CHECK), frame(RST_STREAM, 0, 2 * n + 1, &[0, 0, 0, 8])].concat();
    let resets: Vec<u8> = (0..10_000).flat_map(reset).collect();
    let big_header = literal("x", &"v".repeat(20_000));
    // One entry of 3.8 KB put into the table, then named 60 times in a byte each: 230 KB of headers.
    let bomb = [vec![0x40], string("b"), string(&"v".repeat(3_800)), vec![0xbe; 60]].concat();
    let upload = [headers(1, CHECK, false, &[]), frame(DATA, 0, 1, b"").repeat(200_000)].concat();
    let malformed = |n: u32| frame(HEADERS, END_HEADERS | END_STREAM, 2 * n + 1, &literal(":path", CHECK));
    let continued = |piece: &[u8], times| {
        [frame(HEADERS, 0, 1, &block(CHECK)), frame(CONTINUATION, 0, 1, piece).repeat(times)].concat()
    };

    for (what, certificate, limits, bytes, end) in [
        ("rapid reset", true, patient(), resets.clone(), End::GoAway(ENHANCE_YOUR_CALM)),
        ("rapid reset, by a stranger", false, patient(), resets, End::GoAway(ENHANCE_YOUR_CALM)),
        (
            "errors that we must reset",
            true,
            patient(),
            (0..2_000).flat_map(malformed).collect(),
            End::GoAway(ENHANCE_YOUR_CALM),
        ),
        ("CONTINUATION, empty", true, patient(), continued(b"", 100_000), End::GoAway(ENHANCE_YOUR_CALM)),
        (
            "CONTINUATION, with headers",
            true,
            patient(),
            continued(&literal("x", &"v".repeat(200)), 10_000),
            End::GoAway(ENHANCE_YOUR_CALM),
        ),
        (
            "header list of 20 KB",
            true,
            patient(),
            continuable(1, &[block(CHECK), big_header].concat()),
            End::StreamOnly,
        ),
        ("HPACK bomb", true, patient(), headers(1, CHECK, true, &bomb), End::GoAway(ENHANCE_YOUR_CALM)),
        ("empty DATA", true, patient(), upload, End::GoAway(ENHANCE_YOUR_CALM)),
        ("PING, answers not read", true, stalling(), ping.repeat(2_000_000), End::By("write_stalls")),
        ("SETTINGS, answers not read", true, stalling(), settings.repeat(2_000_000), End::By("write_stalls")),
        ("PING, by a stranger", false, small(), ping.repeat(100_000), End::By("over_allowance")),
        ("SETTINGS, by a stranger", false, small(), settings.repeat(100_000), End::By("over_allowance")),
        (
            "HTTP/1.1 inside HTTP/2",
            true,
            patient(),
            b"GET / HTTP/1.1\r\nHost: keyfob.example\r\n\r\n".to_vec(),
            End::GoAway(6),
        ),
    ] {
        let edge = Edge::start(limits).await;
        let mut good = edge.connect(true).await;
        let mut attacker = edge.connect(certificate).await;
        let unread = matches!(end, End::By(_));
        let (served, outcome) = tokio::join!(good.is_served(), timeout(PATIENCE, attacker.flood(&bytes, unread)));
        assert!(served, "{what}: a good client meanwhile");
        outcome.unwrap_or_else(|_| panic!("{what}: lasts {:?}", edge.stats));
        match end {
            End::GoAway(code) => assert_eq!(attacker.goaway, Some(code), "{what}"),
            End::By(counter) => assert_eq!(edge.counter(counter).get(), 1, "{what} {:?}", edge.stats),
            End::StreamOnly => {
                assert_eq!((attacker.goaway, edge.stats.requests.get()), (None, 1), "{what}: only the good client's");
                attacker.next_stream = 3;
                assert!(attacker.is_served().await, "{what}: the connection goes on");
                drop(attacker);
            }
        }
        assert!(good.is_served().await, "{what}: a good client afterwards");
        edge.until(|stats| stats.accepted.get() - stats.closed.get() == 1).await;
    }
}

impl Connection {
    /// Writes while it can and, unless the point is not to, reads; returns when the connection or stream 1 has ended.
    async fn flood(&mut self, bytes: &[u8], unread: bool) {
        if unread {
            while self.io.write_all(bytes).await.is_ok() {}
            return;
        }
        let (mut reader, mut writer) = tokio::io::split(&mut self.io);
        let write = async {
            let _ = writer.write_all(bytes).await; // the server may end this at any byte
            let _ = writer.flush().await;
            std::future::pending::<Infallible>().await
        };
        let read = async {
            loop {
                let frame = read_frame(&mut reader).await?;
                match frame.kind {
                    GOAWAY => self.goaway = Some(u32::from_be_bytes(frame.payload[4..8].try_into().unwrap())),
                    HEADERS | DATA if frame.stream == 1 && frame.flags & END_STREAM != 0 => return io::Result::Ok(()),
                    _ => {}
                }
            }
        };
        tokio::select! {
            never = write => match never {},
            _ = read => {}
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_limits_are_announced() {
    let limits = Limits {
        max_concurrent_streams: 7,
        max_header_list: 9_000,
        header_table: 512,
        stream_window: 70_000,
        connection_window: 300_000,
        ..patient()
    };
    let edge = Edge::start(limits).await;
    let mut connection = edge.connect(false).await;
    let (mut settings, mut window) = (vec![], 65_535); // what a connection's window is before it is raised (RFC 9113, 6.9.2)
    while settings.is_empty() || window == 65_535 {
        let frame = timeout(PATIENCE, connection.step()).await.unwrap().unwrap();
        let number = |bytes: &[u8]| u32::from_be_bytes(bytes.try_into().unwrap());
        match frame.kind {
            SETTINGS => settings.extend(frame.payload.chunks(6).map(|s| (s[1], number(&s[2..])))),
            WINDOW_UPDATE => window += number(&frame.payload),
            _ => {}
        }
    }
    for (what, expected) in
        [("header table", (1, 512)), ("streams", (3, 7)), ("window", (4, 70_000)), ("header list", (6, 9_000))]
    {
        assert!(settings.contains(&expected), "{what}: {settings:?}");
    }
    assert_eq!(window, 300_000);
}

// ---------------------------------------------------------------- time

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_with_a_certificate_lives_on_keepalive_and_dies_without() {
    let tick = Duration::from_millis(100);
    let edge =
        Edge::start(Limits { keepalive_interval: tick, keepalive_timeout: SHORT, first_request: tick, ..patient() })
            .await;
    let mut silent = edge.connect(true).await;
    let mut alive = edge.connect(true).await;
    for _ in 0..6 {
        while timeout(PATIENCE, alive.step()).await.unwrap().unwrap().kind != PING {}
    }
    assert!(alive.is_served().await);
    timeout(PATIENCE, ended(&mut silent.io)).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_without_certificate_ends_in_time_however_busy_it_is() {
    let edge = Edge::start(Limits { anonymous_lifetime: 2 * SHORT, ..patient() }).await;
    let mut good = edge.connect(true).await;
    let mut stranger = edge.connect(false).await;
    assert!(stranger.is_served().await);
    timeout(PATIENCE, async { while stranger.is_served().await {} }).await.unwrap();
    assert_eq!(edge.stats.expired_anonymous.get(), 1);
    assert!(good.is_served().await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_peer_that_does_not_read_its_answer_is_cut() {
    let edge = Edge::start(Limits { write_stall: SHORT, ..patient() }).await;
    let mut good = edge.connect(true).await;
    let mut lazy = edge.connect(true).await;
    // Windows as large as they go: what holds the answer up is TCP.
    lazy.io.write_all(&frame(SETTINGS, 0, 0, &[0, 4, 0x7f, 0xff, 0xff, 0xff])).await.unwrap();
    lazy.io.write_all(&frame(WINDOW_UPDATE, 0, 0, &0x7fff_0000_u32.to_be_bytes())).await.unwrap();
    lazy.send(&request(1, "/test/big")).await.unwrap();
    edge.until(|stats| stats.write_stalls.get() == 1 && stats.accepted.get() - stats.closed.get() == 1).await;
    edge.nothing_lingers().await;
    assert!(good.is_served().await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_that_hangs_is_answered_and_its_connection_goes_on() {
    let edge = Edge::start(Limits { request_timeout: SHORT, ..patient() }).await;
    let mut connection = edge.connect(true).await;
    connection.send(&request(1, "/test/slow")).await.unwrap();
    connection.next_stream = 3;
    timeout(PATIENCE, connection.answer(1)).await.unwrap().unwrap();
    assert_eq!(edge.stats.request_timeouts.get(), 1);
    assert!(connection.is_served().await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_old_connection_is_asked_to_go_and_may_finish() {
    let edge = Edge::start(Limits { max_age: SHORT, ..patient() }).await;
    let mut connection = edge.connect(true).await;
    connection.send(&request(1, "/test/slow")).await.unwrap();
    while connection.goaway.is_none() {
        timeout(PATIENCE, connection.step()).await.unwrap().unwrap();
    }
    edge.finish_slow.notify_one();
    assert_eq!(timeout(PATIENCE, connection.answer(1)).await.unwrap().unwrap(), b"slow");
    timeout(PATIENCE, ended(&mut connection.io)).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_old_connection_that_does_not_go_is_cut() {
    let edge = Edge::start(Limits { max_age: SHORT, drain: SHORT, ..patient() }).await;
    let mut connection = edge.connect(true).await;
    connection.send(&request(1, "/test/slow")).await.unwrap();
    edge.until(|stats| stats.cut.get() == 1 && stats.accepted.get() == stats.closed.get()).await;
}

// ---------------------------------------------------------------- stopping

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_drain_finishes_what_was_asked_and_takes_nothing_new() {
    let mut edge = Edge::start(patient()).await;
    let mut idle = edge.connect(true).await;
    let mut greeting = edge.client(false).tls().await.unwrap();
    let mut busy = edge.connect(true).await;
    busy.send(&request(1, "/test/slow")).await.unwrap();
    edge.until(|stats| stats.requests.get() == 1 && stats.accepted.get() == 3).await;

    edge.stop();
    while busy.goaway.is_none() {
        timeout(PATIENCE, busy.step()).await.unwrap().unwrap();
    }
    timeout(PATIENCE, async { while idle.step().await.is_ok() {} }).await.unwrap();
    timeout(PATIENCE, ended(&mut greeting.io)).await.unwrap();
    assert!(edge.client(true).tcp().await.is_err(), "nobody listens any more");
    assert!(!edge.task.is_finished());

    edge.finish_slow.notify_one();
    assert_eq!(timeout(PATIENCE, busy.answer(1)).await.unwrap().unwrap(), b"slow");
    timeout(PATIENCE, async { while busy.step().await.is_ok() {} }).await.unwrap();
    timeout(PATIENCE, &mut edge.task).await.unwrap().unwrap();
    assert_eq!((edge.stats.cut.get(), edge.stats.accepted.get(), edge.stats.closed.get()), (0, 3, 3));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_drain_has_an_end() {
    let mut edge = Edge::start(Limits { drain: SHORT, ..patient() }).await;
    let mut busy = edge.connect(true).await;
    busy.send(&request(1, "/test/slow")).await.unwrap();
    edge.until(|stats| stats.requests.get() == 1).await;
    edge.stop();
    timeout(PATIENCE, &mut edge.task).await.unwrap().unwrap();
    assert_eq!((edge.stats.cut.get(), edge.stats.closed.get()), (1, 1));
    timeout(PATIENCE, ended(&mut busy.io)).await.unwrap();
}

// ---------------------------------------------------------------- running short of files

/// The server runs in a process of its own, with few descriptors; this one is its clients.
#[test]
fn the_accept_loop_survives_running_out_of_files() {
    const CHILD: &str = "KEYFOB_TEST_EDGE_CHILD";
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    if std::env::var_os(CHILD).is_some() {
        return runtime.block_on(serve_with_few_files());
    }
    let name = std::thread::current().name().unwrap().to_owned();
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args([&name, "--exact", "--nocapture", "--test-threads=1"])
        .env(CHILD, "")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut said = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
    let mut after = |what: &str| said.find_map(|line| line.split_once(what).map(|(_, rest)| rest.to_owned())).unwrap();
    let authority = CertificateDer::from(BASE64.decode(after("authority ")).unwrap());
    let address: SocketAddr = after("listening on ").parse().unwrap();

    runtime.block_on(async {
        let config = Arc::new(client_config(Trust::Roots(vec![authority]), None).unwrap());
        let client = || Client { address, from: None, config: config.clone() };
        let mut attackers = JoinSet::new();
        for _ in 0..100 {
            attackers.spawn(client().be_silent(Silence::Tcp));
        }
        let mut good = timeout(PATIENCE, client().connect()).await.unwrap().unwrap();
        assert!(good.is_served().await);
        while let Some(ended) = timeout(PATIENCE, attackers.join_next()).await.unwrap() {
            ended.unwrap();
        }
        let mut another = client().connect().await.unwrap();
        assert!(another.is_served().await);
    });

    drop(child.stdin.take());
    let errors: u32 = after("accept errors: ").parse().unwrap();
    assert!((1..200).contains(&errors), "{errors}: it must have met the limit, and not spun on it");
    assert!(child.wait().unwrap().success());
}

async fn serve_with_few_files() {
    use nix::sys::resource::{Resource::RLIMIT_NOFILE, setrlimit};
    let edge = Edge::start(Limits { handshake: Duration::from_secs(1), ..patient() }).await;
    setrlimit(RLIMIT_NOFILE, 40, 40).unwrap();
    let mut out = io::stdout(); // not `print!`, which the test harness may keep
    writeln!(out, "authority {}", BASE64.encode(&PKI.root)).unwrap();
    writeln!(out, "listening on {}", edge.address).unwrap();
    tokio::task::spawn_blocking(|| io::stdin().read_to_end(&mut vec![])).await.unwrap().unwrap();
    writeln!(out, "accept errors: {}", edge.stats.accept_errors.get()).unwrap();
}

// ---------------------------------------------------------------- who asks, and who answers

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_carry_who_sent_them() {
    let edge = Edge::start(patient()).await;
    for (certificate, expected) in [(true, format!("{:?}", fingerprint(&PKI.user.0))), (false, "nobody".to_owned())] {
        let mut connection = edge.connect(certificate).await;
        let address = connection.io.get_ref().0.local_addr().unwrap();
        connection.send(&request(1, "/test/peer")).await.unwrap();
        let answer = timeout(PATIENCE, connection.answer(1)).await.unwrap().unwrap();
        assert_eq!(String::from_utf8(answer).unwrap(), format!("{address} {expected}"));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_renewed_certificate_is_seen_by_new_connections_and_old_ones_go_on() {
    let edge = Edge::start(patient()).await;
    let shown = |connection: &Connection| connection.io.get_ref().1.peer_certificates().unwrap()[0].clone();
    let mut before = edge.connect(true).await;
    let (config, renewed) = PKI.server();
    assert_ne!(shown(&before), renewed);
    edge.tls.send_replace(config);
    let mut after = edge.connect(true).await;
    assert_eq!(shown(&after), renewed);
    assert!(before.is_served().await && after.is_served().await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_is_turned_away_by_tls_can_read_why() {
    let edge = Edge::start(patient()).await;
    let stranger = Pki::new();
    // Ten times: closing at once instead loses the alert by a race.
    for _ in 0..10 {
        let own = stranger.issue("spiffe://keyfob.example/org/acme/user/mallory", ExtendedKeyUsagePurpose::ClientAuth);
        let config = Arc::new(client_config(Trust::Roots(vec![PKI.root.clone()]), Some(own)).unwrap());
        let mut connection = Client { address: edge.address, from: None, config }.tls().await.unwrap();
        let error = match connection.greet().await {
            Ok(()) => timeout(PATIENCE, connection.io.read_to_end(&mut vec![])).await.unwrap().unwrap_err(),
            Err(error) => error,
        };
        assert!(error.to_string().contains("alert"), "{error}");
    }
    edge.until(|stats| stats.handshake_failures.get() == 10 && stats.accepted.get() == stats.closed.get()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_is_not_http2_is_turned_away() {
    let edge = Edge::start(patient()).await;
    for bytes in [&b"GET / HTTP/1.1\r\nHost: keyfob.example\r\n\r\n"[..], &[0; 64], &[0xff; 64]] {
        let mut over_tls = edge.client(false).tls().await.unwrap();
        over_tls.io.write_all(bytes).await.unwrap();
        timeout(PATIENCE, ended(&mut over_tls.io)).await.unwrap();
        let mut over_tcp = edge.client(false).tcp().await.unwrap();
        over_tcp.write_all(bytes).await.unwrap();
        timeout(PATIENCE, ended(&mut over_tcp)).await.unwrap();
    }
    assert_eq!((edge.stats.preface_failures.get(), edge.stats.handshake_failures.get()), (3, 3));
}

/// Against a client that nobody here wrote.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tonics_client_is_served() {
    let edge = Edge::start(Limits { max_concurrent_streams: 4, ..patient() }).await;
    let client = edge.client(true);
    let connector = tower::service_fn(move |_: http::Uri| {
        let client = client.clone();
        async move { Ok::<_, io::Error>(hyper_util::rt::TokioIo::new(client.tls().await?.io)) }
    });
    let channel =
        tonic::transport::Endpoint::from_static("http://keyfob").connect_with_connector(connector).await.unwrap();
    let health = tonic_health::pb::health_client::HealthClient::new(channel);
    // The limit arrives with the first answer; the client queues from then on.
    health.clone().check(tonic_health::pb::HealthCheckRequest::default()).await.unwrap();
    let mut calls = JoinSet::new();
    for _ in 0..20 {
        let mut health = health.clone();
        calls.spawn(async move { health.check(tonic_health::pb::HealthCheckRequest::default()).await });
    }
    while let Some(answer) = calls.join_next().await {
        assert_eq!(answer.unwrap().unwrap().into_inner().status, 1);
    }
    assert_eq!(edge.stats.accepted.get(), 1);
}
