//! Made-up logs and secrets for measurements, the same in every run. Kinds and shares as in real logs and vaults, with decoys
//! that look like secrets: tokens of other people, certificates, ids.

use std::fmt::Write;

/// splitmix64
pub struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ z >> 31
    }

    pub fn below(&mut self, n: usize) -> usize {
        (self.next() % n as u64) as usize
    }

    fn between(&mut self, least: usize, most: usize) -> usize {
        least + self.below(most - least + 1)
    }

    fn text(&mut self, alphabet: &[u8], len: usize) -> String {
        (0..len).map(|_| char::from(alphabet[self.below(alphabet.len())])).collect()
    }

    fn one<'a>(&mut self, of: &[&'a str]) -> &'a str {
        of[self.below(of.len())]
    }

    /// True for so many in a thousand.
    fn permille(&mut self, n: usize) -> bool {
        self.below(1000) < n
    }
}

const DIGITS: &[u8] = b"0123456789";
const HEX: &[u8] = b"0123456789abcdef";
const BASE62: &[u8] = b"0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";
const BASE64: &[u8] = b"0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ+/";
const BASE64_URL: &[u8] = b"0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ-_";
const PASSWORD: &[u8] = b"0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ!#$%&*+,-./:;<=>?@^_~\"'\\";

/// As sessions have them: tokens, keys, passwords, documents.
pub fn secrets(count: usize) -> Vec<Vec<u8>> {
    let mut r = Random(0x5ec2e7);
    (0..count).map(|_| secret(&mut r).into_bytes()).collect()
}

fn secret(r: &mut Random) -> String {
    match r.below(100) {
        0..30 => match r.below(7) {
            0 => "ghp_".to_owned() + &r.text(BASE62, 36),
            1 => "AKIA".to_owned() + &r.text(b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567", 16),
            2 => "sk_live_".to_owned() + &r.text(BASE62, 24),
            3 => "glpat-".to_owned() + &r.text(BASE62, 20),
            4 => "npm_".to_owned() + &r.text(BASE62, 36),
            5 => format!("xoxb-{}-{}-{}", r.text(DIGITS, 12), r.text(DIGITS, 12), r.text(BASE62, 24)),
            _ => "hvs.".to_owned() + &r.text(BASE62, 24),
        },
        30..50 => {
            let n = r.between(16, 32);
            r.text(BASE62, n)
        }
        50..58 => {
            let n = 8 * r.between(4, 8);
            r.text(HEX, n)
        }
        58..68 => {
            let n = 4 * r.between(6, 16);
            r.text(BASE64, n)
        }
        68..78 => {
            let n = r.between(12, 24);
            r.text(PASSWORD, n)
        }
        78..86 => jwt(r),
        86..90 => format!("postgres://{}:{}@db-{}.internal:5432/app", r.one(&WORDS), r.text(BASE62, 20), r.below(40)),
        90..95 => pem(r, "PRIVATE KEY", 120, 5900),
        95..97 => format!(
            "{{\n  \"type\": \"service_account\",\n  \"project_id\": \"{}-{}\",\n  \"private_key_id\": \"{}\",\n  \"private_key\": \"{}\",\n  \"client_id\": \"{}\"\n}}\n",
            r.one(&WORDS),
            r.below(9999),
            r.text(HEX, 40),
            pem(r, "PRIVATE KEY", 1600, 1650).replace('\n', "\\n"),
            r.text(DIGITS, 21)
        ),
        _ => {
            let n = r.between(8, 11);
            r.text(BASE62, n)
        }
    }
}

fn jwt(r: &mut Random) -> String {
    let (payload, signature) = (r.between(60, 240), 43);
    format!("eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJ{}.{}", r.text(BASE64_URL, payload), r.text(BASE64_URL, signature))
}

fn pem(r: &mut Random, what: &str, least: usize, most: usize) -> String {
    let len = r.between(least, most);
    let body = r.text(BASE64, len);
    let lines: Vec<&str> = (0..len).step_by(64).map(|at| &body[at..len.min(at + 64)]).collect();
    format!("-----BEGIN {what}-----\n{}\n-----END {what}-----\n", lines.join("\n"))
}

const WORDS: [&str; 64] = [
    "request",
    "connection",
    "timeout",
    "user",
    "session",
    "retry",
    "cache",
    "miss",
    "hit",
    "queue",
    "worker",
    "started",
    "stopped",
    "failed",
    "success",
    "database",
    "query",
    "slow",
    "took",
    "ms",
    "bytes",
    "received",
    "sent",
    "from",
    "to",
    "with",
    "status",
    "error",
    "warning",
    "handler",
    "closed",
    "open",
    "pool",
    "size",
    "limit",
    "exceeded",
    "for",
    "the",
    "in",
    "of",
    "on",
    "and",
    "not",
    "found",
    "loading",
    "config",
    "reload",
    "service",
    "ready",
    "health",
    "check",
    "ok",
    "token",
    "refresh",
    "expired",
    "valid",
    "upstream",
    "downstream",
    "client",
    "server",
    "process",
    "job",
    "batch",
    "done",
];
const SERVICES: [&str; 12] =
    ["nginx", "api", "worker", "sshd", "cron", "postgres", "redis", "billing", "auth", "gateway", "mailer", "indexer"];
const LEVELS: [&str; 4] = ["INFO", "DEBUG", "WARN", "ERROR"];
const AGENT: &str =
    "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.0.0 Safari/537.36";

#[derive(Clone, Copy)]
pub enum Kind {
    Text,
    Json,
}

/// At least `len` bytes of log lines; one line in ten thousand carries one of `plants`.
pub fn logs(kind: Kind, len: usize, plants: &[Vec<u8>]) -> Vec<u8> {
    let mut r = Random(match kind {
        Kind::Text => 42,
        Kind::Json => 43,
    });
    let mut out = String::with_capacity(len + 16384);
    while out.len() < len {
        let plant = (r.below(10_000) == 0 && !plants.is_empty())
            .then(|| String::from_utf8_lossy(&plants[r.below(plants.len())]).into_owned());
        match kind {
            Kind::Text => text_line(&mut r, &mut out, plant),
            Kind::Json => json_line(&mut r, &mut out, plant),
        }
    }
    out.into_bytes()
}

fn stamp(r: &mut Random) -> String {
    format!(
        "2026-11-{:02}T{:02}:{:02}:{:02}.{:06}Z",
        r.between(1, 30),
        r.below(24),
        r.below(60),
        r.below(60),
        r.below(1_000_000)
    )
}

fn uuid(r: &mut Random) -> String {
    [8, 4, 4, 4, 12].map(|n| r.text(HEX, n)).join("-")
}

fn words(r: &mut Random) -> String {
    let n = r.between(4, 16);
    (0..n).map(|_| r.one(&WORDS)).collect::<Vec<_>>().join(" ")
}

fn text_line(r: &mut Random, out: &mut String, plant: Option<String>) {
    let _ = write!(out, "{} {} {}[{}]: ", stamp(r), r.one(&LEVELS), r.one(&SERVICES), r.between(300, 99999));
    let body = match r.below(1000) {
        0..400 => words(r),
        400..650 => format!(
            "10.{}.{}.{} - - \"GET /api/v1/{}/{} HTTP/1.1\" {} {} \"-\" \"{AGENT}\"",
            r.below(256),
            r.below(256),
            r.below(256),
            r.one(&WORDS),
            uuid(r),
            r.one(&["200", "304", "404", "500"]),
            r.below(90_000)
        ),
        650..850 => format!("{} trace={} span={}", words(r), r.text(HEX, 32), r.text(HEX, 16)),
        850..920 => format!("\x1b[32mpulled\x1b[0m image sha256:{}", r.text(HEX, 64)),
        920..960 => format!(
            "\tat com.example.{}.{}Handler.invoke({}.java:{})",
            r.one(&WORDS),
            r.one(&WORDS),
            r.one(&WORDS),
            r.below(900)
        ),
        960..985 => {
            let n = r.between(45, 150);
            format!("payload={}", r.text(BASE64, n))
        }
        985..993 => format!("authorization: Bearer {}", jwt(r)),
        993..997 => format!("dsn=postgres://{}:***@db-{}.internal:5432/app", r.one(&WORDS), r.below(40)),
        997 => pem(r, "CERTIFICATE", 1000, 1600),
        998 => {
            let n = r.between(20, 120);
            r.one(&["=", "-", "#", "*", " "]).repeat(n)
        }
        _ => r.one(&["ghp_", "glpat-", "sk_live_", "xoxb-", "AKIA"]).to_owned(),
    };
    out.push_str(&body);
    if let Some(plant) = plant {
        out.push_str(" env=");
        out.push_str(&plant);
    }
    out.push('\n');
}

fn json_line(r: &mut Random, out: &mut String, plant: Option<String>) {
    let _ = write!(
        out,
        "{{\"ts\":\"{}\",\"level\":\"{}\",\"service\":\"{}\",\"pid\":{},\"msg\":\"{}\",\"trace\":\"{}\",\"span\":\"{}\"",
        stamp(r),
        r.one(&LEVELS),
        r.one(&SERVICES),
        r.between(300, 99999),
        words(r),
        r.text(HEX, 32),
        r.text(HEX, 16)
    );
    match r.below(100) {
        0..50 => {
            let _ = write!(
                out,
                ",\"http\":{{\"method\":\"GET\",\"path\":\"/api/v1/{}/{}\",\"status\":{},\"agent\":\"{AGENT}\"}}",
                r.one(&WORDS),
                uuid(r),
                r.between(200, 504)
            );
        }
        50..80 => {
            let _ = write!(
                out,
                ",\"kubernetes\":{{\"namespace\":\"{}\",\"pod\":\"{}-{}\",\"uid\":\"{}\"}}",
                r.one(&SERVICES),
                r.one(&SERVICES),
                r.text(b"bcdfghjklmnpqrstvwxz2456789", 10),
                uuid(r)
            );
        }
        80..95 => {
            let _ = write!(
                out,
                ",\"err\":\"{}\",\"stack\":\"at {}.{} ({}.js:{}:{})\"",
                words(r),
                r.one(&WORDS),
                r.one(&WORDS),
                r.one(&WORDS),
                r.below(900),
                r.below(80)
            );
        }
        95..98 => {
            let n = r.between(45, 400);
            let _ = write!(out, ",\"body\":\"{}\"", r.text(BASE64, n));
        }
        _ => {
            let _ = write!(out, ",\"authorization\":\"Bearer {}\"", jwt(r));
        }
    }
    if r.permille(60) {
        let _ = write!(out, ",\"note\":\"{}\"", words(r));
    }
    if let Some(plant) = plant {
        let _ = write!(out, ",\"env\":\"{}\"", plant);
    }
    out.push_str("}\n");
}
