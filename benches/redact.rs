//! The redaction engine measured, as ratios in one run. By hand:
//! `cargo bench --bench redact --no-default-features`.
//!
//! ```text
//! (a) a stream of log lines through the engine, by each of its kernels that the machine can run, against aho-corasick and
//!     against memchr looking for an absent byte
//! (b) tables: time and memory per secret
//! (c) one datagram
//! (d) `keyfob-agent redact` in a pipe, against `cat` there; if `KEYFOB_AGENT` names an agent built as it is shipped
//! ```
//!
//! Thread CPU time, but (d) by the clock; the engines one after the other in each round, medians of the rounds. Numbers after
//! `--`: how many MiB of logs, and of how many secrets alone.

mod corpus;

use std::{
    collections::HashSet,
    ffi::OsStr,
    fs,
    hint::black_box,
    io::{self, Write},
    ops::Range,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use aho_corasick::{AhoCorasick, MatchKind};
use keyfob::domain::{
    forms::expand,
    redact::{Finder, Fingerprints, Mode, Sink, Stream, find_all},
    redaction::Redaction,
};
use nix::time::{ClockId, clock_gettime};

use corpus::{Kind, Random, logs, secrets};

const ROUNDS: usize = 5;
/// By name; the fastest first, which is the one that is used.
const KERNELS: [&str; 3] = ["avx512", "avx2", "scalar"];
const CHUNK: usize = 256 * 1024;
/// aho-corasick is given less to do, as it takes that much longer for it.
const ITS_SHARE: usize = 8;

fn main() -> io::Result<()> {
    let mib = std::env::args().nth(1).and_then(|n| n.parse().ok()).unwrap_or(256);
    let only: Option<usize> = std::env::args().nth(2).and_then(|n| n.parse().ok());
    let all = secrets(5_000);
    let mut r = Random(1);
    let plants: Vec<Vec<u8>> = (0..400)
        .map(|n| {
            let forms = forms(&all[if n % 2 == 0 { r.below(10) } else { r.below(all.len()) }]);
            forms[r.below(forms.len())].0.clone()
        })
        .collect();
    let mut key = [0; 32];
    key.fill_with(|| r.next() as u8);
    let texts = [("text", Kind::Text), ("json", Kind::Json)].map(|(name, kind)| (name, logs(kind, mib << 20, &plants)));

    for count in [10, 100, 1_000, 5_000] {
        if only.is_some_and(|only| only != count) {
            continue;
        }
        let patterns = patterns(&all[..count]);
        let (mut made, mut finders) = (Vec::new(), Vec::new());
        for _ in 0..3 {
            let mut fingerprints = Fingerprints::new(key);
            let adding = cpu(|| {
                patterns.iter().for_each(|(p, within)| fingerprints.add(0, p, within.clone()).expect("8 bytes"))
            });
            let encoded = fingerprints.encode();
            let mut from = None;
            let reading = cpu(|| from = Fingerprints::decode(&encoded).ok());
            let building = cpu(|| drop(black_box(from.as_ref().map(Finder::new))));
            made.push([adding, reading, building]);
            let with = |name| Some((name, Finder::with_kernel(from.as_ref()?, name)?));
            finders = KERNELS.into_iter().filter_map(with).collect::<Vec<_>>();
        }
        let (_, finder) = finders.first().expect("every machine runs one");
        let of = |i: usize| median(made.iter().map(|m| m[i].as_secs_f64() * 1e3).collect());
        say(&format!(
            "{count} secrets, {} patterns of {} KiB: (b) fingerprints {:.1} ms, decoded {:.1} ms, tables {:.1} ms, {:.2} MiB ({} bytes a secret)",
            patterns.len(),
            patterns.iter().map(|(p, _)| p.len()).sum::<usize>() >> 10,
            of(0),
            of(1),
            of(2),
            finder.memory() as f64 / 1048576.0,
            finder.memory() / count,
        ))?;
        let needles = || patterns.iter().map(|(p, _)| p);
        let longest =
            AhoCorasick::builder().match_kind(MatchKind::LeftmostLongest).build(needles()).expect("it builds");
        let standard = AhoCorasick::new(needles()).expect("it builds");
        for (name, text) in &texts {
            let (mut find, mut replace, mut scan) = (Vec::new(), Vec::new(), Vec::new());
            let mut ours = vec![Vec::new(); finders.len()];
            let mut masked = (0, 0);
            for _ in 0..ROUNDS {
                for ((_, finder), ours) in finders.iter().zip(&mut ours) {
                    let mut sink = Count::default();
                    ours.push(speed(text.len(), || {
                        let mut stream = Stream::new(Mode::Lines);
                        text.chunks(CHUNK).for_each(|chunk| stream.push(finder, chunk, &mut sink));
                        stream.finish(finder, &mut sink);
                    }));
                    masked.0 = sink.masked;
                }
                scan.push(speed(text.len(), || assert!(memchr::memchr(0, black_box(text)).is_none())));
            }
            let part = &text[..text.len() / ITS_SHARE];
            for _ in 0..3 {
                find.push(speed(part.len(), || masked.1 = longest.find_iter(part).count()));
                let with = vec!["[redacted]"; patterns.len()];
                replace.push(speed(part.len(), || {
                    standard.try_stream_replace_all(part, io::sink(), &with).expect("no I/O")
                }));
            }
            let [find, replace, scan] = [find, replace, scan].map(median);
            say(&format!(
                "  (a) {name}: memchr {scan:.1} GB/s, find_iter {find:.3}, stream_replace_all {replace:.3}; {} masked ({} by find_iter in 1/{ITS_SHARE})",
                masked.0, masked.1
            ))?;
            for ((kernel, _), ours) in finders.iter().zip(ours) {
                let ours = median(ours);
                say(&format!(
                    "      {kernel}: {ours:.2} GB/s, {:.1} % of memchr, {:.1} x find_iter, {:.1} x stream_replace_all",
                    100.0 * ours / scan,
                    ours / find,
                    ours / replace
                ))?;
            }
        }
        for len in [176, 357, 2000] {
            let text = &texts[0].1;
            let (mut each, mut sink) = (Vec::new(), Count::default());
            for _ in 0..ROUNDS {
                const CALLS: usize = 100_000;
                let time = cpu(|| (0..CALLS).for_each(|n| find_all(finder, &text[n * 97..n * 97 + len], &mut sink)));
                each.push(time.as_secs_f64() * 1e9 / CALLS as f64);
            }
            say(&format!("  (c) a datagram of {len} bytes: {:.0} ns", median(each)))?;
        }
        if let Some(agent) = std::env::var_os("KEYFOB_AGENT") {
            let mut redaction = Redaction::new(key);
            for (n, secret) in all[..count].iter().enumerate() {
                redaction.add(&format!("S{n}"), "1", secret);
            }
            for (name, text) in &texts {
                let ratio = pipe(&agent, &redaction.encode(), text)?;
                say(&format!("  (d) {name}, in a pipe: {ratio:.2} x cat"))?;
            }
        }
    }
    Ok(())
}

#[derive(Default)]
struct Count {
    bytes: usize,
    masked: usize,
}

impl Sink for Count {
    fn clean(&mut self, bytes: &[u8]) {
        self.bytes += black_box(bytes).len();
    }

    fn masked(&mut self, _: &[u32]) {
        self.masked += 1;
    }
}

/// The forms of all, each but once, and where their windows may be.
fn patterns(secrets: &[Vec<u8>]) -> Vec<(Vec<u8>, Range<usize>)> {
    let mut seen = HashSet::new();
    let all = secrets.iter().flat_map(|s| forms(s));
    all.filter(|(p, _)| seen.insert(p.clone())).collect()
}

fn forms(value: &[u8]) -> Vec<(Vec<u8>, Range<usize>)> {
    let mut forms = Vec::new();
    expand(value, &mut |_, pattern, windows| forms.push((pattern.to_vec(), windows)));
    forms
}

/// A GiB through the agent, as a share of cat's speed.
fn pipe(agent: &OsStr, fingerprints: &[u8], text: &[u8]) -> io::Result<f64> {
    let dir = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir())?;
    let log = dir.path().join("log");
    fs::write(&log, text)?;
    fs::write(dir.path().join("fingerprints"), fingerprints)?;
    let seconds = |middle: &mut Command| -> io::Result<f64> {
        let start = Instant::now();
        let mut first = Command::new("cat");
        let mut first = first.args(vec![&log; (1 << 30) / text.len()]).stdout(Stdio::piped()).spawn()?;
        let mut middle = middle.stdin(first.stdout.take().expect("piped")).stdout(Stdio::piped()).spawn()?;
        let last = Command::new("cat").stdin(middle.stdout.take().expect("piped")).stdout(Stdio::null()).status()?;
        assert!(first.wait()?.success() && middle.wait()?.success() && last.success());
        Ok(start.elapsed().as_secs_f64())
    };
    let (mut ours, mut cat) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        ours.push(seconds(Command::new(agent).arg("redact").arg("--dir").arg(dir.path()))?);
        cat.push(seconds(&mut Command::new("cat"))?);
    }
    Ok(median(cat) / median(ours))
}

fn cpu(work: impl FnOnce()) -> Duration {
    let now = || clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).map(Duration::from).expect("Linux has this clock");
    let start = now();
    work();
    now() - start
}

/// GB per CPU second.
fn speed(bytes: usize, work: impl FnOnce()) -> f64 {
    bytes as f64 / 1e9 / cpu(work).as_secs_f64()
}

fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures[figures.len() / 2]
}

fn say(line: &str) -> io::Result<()> {
    writeln!(io::stdout(), "{line}")
}
