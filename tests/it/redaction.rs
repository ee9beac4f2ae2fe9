//! Redaction, from a value to a masked log: every form of ten thousand secrets however a stream is cut, logs in which there
//! is nothing, what other tools are known to leak, what real encoders write, and what a dump of the fingerprints gives away.
//!
//! A *leak* is eight bytes in a row of what somebody wrote of a secret ([`given::written`]); twelve of base64 of base64, where
//! up to eight may be left of padding, a newline and a byte's last four bits.

mod attack;
mod encoders;
mod given;
mod known_leaks;
mod logs;

use std::sync::Arc;

use keyfob::domain::redaction::{Hits, Mode, Redaction, Redactor, Strength};

use self::given::{Random, secret, secret_parts, written};

/// A redactor of values by name.
pub fn redactor<'a>(values: impl IntoIterator<Item = (&'a str, &'a str)>) -> Arc<Redactor> {
    let mut redaction = Redaction::new([7; 32]);
    for (variable, value) in values {
        redaction.add(variable, "v1", value.as_bytes());
    }
    Arc::new(redaction.redactor())
}

/// What comes out of a stream that is cut at these places.
fn streamed(redactor: &Arc<Redactor>, mode: Mode, text: &[u8], cuts: impl IntoIterator<Item = usize>) -> Vec<u8> {
    let (mut out, mut hits) = (Vec::new(), Hits::default());
    let mut stream = redactor.stream(mode);
    let mut start = 0;
    for cut in cuts.into_iter().chain([text.len()]) {
        stream.push(&text[start..cut], &mut out, &mut hits);
        start = cut;
    }
    stream.finish(&mut out, &mut hits);
    out
}

/// The text as one message, and what was hit in it.
pub fn whole(redactor: &Redactor, text: &[u8]) -> (String, Vec<(String, &'static str)>) {
    let (mut out, mut hits) = (Vec::new(), Hits::default());
    redactor.redact(text, &mut out, &mut hits);
    let hits = hits.drain().map(|hit| (hit.variable, hit.form)).collect();
    (String::from_utf8_lossy(&out).into_owned(), hits)
}

/// Stands between what is written, and in no secret.
const BETWEEN: u8 = 2;

/// What is written of secrets, and where.
struct Planted {
    log: Vec<u8>,
    texts: Vec<(String, &'static str)>,
    starts: Vec<usize>,
}

fn plant<'a>(secrets: impl IntoIterator<Item = &'a String>) -> Planted {
    let mut planted = Planted { log: Vec::new(), texts: Vec::new(), starts: Vec::new() };
    for secret in secrets {
        let mut seen = std::collections::HashSet::new();
        for written in written(secret) {
            if seen.insert(written.text.clone()) {
                planted.log.extend_from_slice(b"value: ");
                planted.starts.push(planted.log.len());
                planted.log.extend_from_slice(written.text.as_bytes());
                planted.log.extend_from_slice(&[b'\n', BETWEEN]);
                planted.texts.push((written.text, written.form));
            }
        }
    }
    planted
}

impl Planted {
    fn leaks(&self, out: &[u8]) -> Vec<String> {
        let pieces: Vec<&[u8]> = out.split(|b| *b == BETWEEN).collect();
        assert_eq!(pieces.len(), self.texts.len() + 1, "one piece for each that was written");
        let leaked = |text: &str, form: &str, piece: &[u8]| {
            let parts = secret_parts(text);
            let stands_in =
                |window: &[u8]| parts.iter().any(|part| memchr::memmem::find(part.as_bytes(), window).is_some());
            piece.windows(if form == "base64-twice" { 12 } else { 8 }).any(stands_in)
        };
        let leaks = self.texts.iter().zip(pieces).filter(|((text, form), piece)| leaked(text, form, piece));
        leaks.map(|((text, form), piece)| format!("{form}: {text:?} -> {:?}", String::from_utf8_lossy(piece))).collect()
    }
}

fn assert_no_leaks(leaks: &[String]) {
    assert!(leaks.is_empty(), "{} leaks, among them\n{}", leaks.len(), leaks[..leaks.len().min(12)].join("\n"));
}

#[test]
fn ten_thousand_secrets_in_every_form_split_anywhere() {
    const BATCHES: usize = 10;
    // Unoptimized, the whole takes six minutes: `cargo test --release --test it redaction` splits every batch.
    const SPLIT: usize = if cfg!(debug_assertions) { 1 } else { BATCHES };
    std::thread::scope(|threads| {
        for half in 0..2 {
            threads.spawn(move || (half..BATCHES).step_by(2).for_each(|batch| thousand_secrets(batch, batch < SPLIT)));
        }
    });
}

fn thousand_secrets(batch: usize, split: bool) {
    const SPLITS: usize = 16;
    let mut random = Random(batch as u64);
    let secrets: Vec<String> = (0..1_000).map(|_| secret(&mut random)).collect();
    let mut redaction = Redaction::new([batch as u8; 32]);
    for (i, secret) in secrets.iter().enumerate() {
        let strength = redaction.add(&format!("V{i}"), "v1", secret.as_bytes());
        assert_ne!(strength, Strength::NotRedactable, "{secret}");
    }
    let redactor = Arc::new(redaction.redactor());
    let planted = plant(&secrets);
    let out = streamed(&redactor, Mode::Lines, &planted.log, []);
    assert_no_leaks(&planted.leaks(&out));
    // Each is cut once in every pass; what comes out is the same.
    for split in 0..if split { SPLITS } else { 0 } {
        let cuts = planted.starts.iter().zip(&planted.texts);
        let cuts = cuts.map(|(start, (text, _))| start + (text.len() * (split + 1)) / (SPLITS + 1));
        assert!(streamed(&redactor, Mode::Lines, &planted.log, cuts) == out, "split {split} makes a difference");
    }
    let part = &planted.log[..planted.log.len().min(100_000)];
    assert!(
        streamed(&redactor, Mode::Lines, part, 1..part.len()) == streamed(&redactor, Mode::Lines, part, []),
        "byte by byte makes a difference"
    );
}

#[test]
fn a_terminal_shows_no_more_than_a_pipe() {
    let mut random = Random(5);
    let secrets: Vec<String> = (0..200).map(|_| secret(&mut random)).collect();
    let names: Vec<String> = (0..secrets.len()).map(|i| format!("V{i}")).collect();
    let redactor = redactor(names.iter().map(String::as_str).zip(secrets.iter().map(String::as_str)));
    let planted = plant(&secrets);
    let out = streamed(&redactor, Mode::Terminal, &planted.log, []);
    assert_no_leaks(&planted.leaks(&out));
    let cuts: Vec<usize> = planted.starts.iter().map(|start| start + 5).collect();
    assert!(streamed(&redactor, Mode::Terminal, &planted.log, cuts) == out);
    let part = &planted.log[..planted.log.len().min(50_000)];
    assert!(
        streamed(&redactor, Mode::Terminal, part, 1..part.len()) == streamed(&redactor, Mode::Terminal, part, []),
        "byte by byte makes a difference"
    );
}

#[test]
fn any_chunking_gives_what_one_write_gives() {
    let mut random = Random(6);
    for round in 0..30 {
        let secrets: Vec<String> = (0..20).map(|_| secret(&mut random)).collect();
        let names: Vec<String> = (0..secrets.len()).map(|i| format!("V{i}")).collect();
        let redactor = redactor(names.iter().map(String::as_str).zip(secrets.iter().map(String::as_str)));
        let mut log = plant(&secrets).log;
        log.extend(logs::clean(&logs::Kind::Text, 5_000, &mut random));
        for mode in [Mode::Lines, Mode::Terminal] {
            let whole = streamed(&redactor, mode, &log, []);
            for longest in [3, 40, 1_000, 50_000] {
                let steps = std::iter::repeat_with(|| random.below(longest));
                let places = steps.scan(0, |at, step| Some(std::mem::replace(at, *at + step)));
                let cuts: Vec<usize> = places.take_while(|at| *at <= log.len()).collect();
                assert!(streamed(&redactor, mode, &log, cuts) == whole, "round {round}, {mode:?}, up to {longest}");
            }
        }
    }
}

#[test]
fn clean_logs_stay_as_they_are() {
    /// Of each kind; 100 MB in all.
    const MEGABYTES: [(logs::Kind, usize); 3] =
        [(logs::Kind::Text, 40), (logs::Kind::Json, 40), (logs::Kind::Random, 20)];
    let mut random = Random(7);
    let secrets: Vec<String> = (0..1_000).map(|_| secret(&mut random)).collect();
    let names: Vec<String> = (0..secrets.len()).map(|i| format!("V{i}")).collect();
    let redactor = redactor(names.iter().map(String::as_str).zip(secrets.iter().map(String::as_str)));
    let mut hits = Hits::default();
    for (kind, megabytes) in MEGABYTES {
        let mut stream = redactor.stream(Mode::Lines);
        let mut out = Vec::new();
        for _ in 0..megabytes {
            let log = logs::clean(&kind, 1_000_000, &mut random);
            out.clear();
            stream.push(&log, &mut out, &mut hits);
        }
        stream.finish(&mut out, &mut hits);
    }
    // Fewer than one in ten megabytes are demanded.
    assert_eq!(hits.drain().collect::<Vec<_>>(), []);
}
