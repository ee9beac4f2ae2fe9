//! Logs without a secret: text, JSON lines, random bytes.

use super::given::{BASE62, Random};

const WORDS: &str = "request response user session error warning started finished connection timeout retry queue worker \
    database cache index shard replica leader follower token payload header cookie route handler service deployed rollout \
    health check ready latency bytes sent received client server upstream gateway proxy socket closed opened accepted denied \
    password secret key production localhost value variable environment pipeline build artifact image container volume node";

pub enum Kind {
    Text,
    Json,
    Random,
}

/// About `len` bytes of a kind.
pub fn clean(kind: &Kind, len: usize, random: &mut Random) -> Vec<u8> {
    let words: Vec<&str> = WORDS.split_whitespace().collect();
    let mut log = Vec::with_capacity(len + 1024);
    while log.len() < len {
        let line = match kind {
            Kind::Random => {
                (0..128).for_each(|_| log.extend_from_slice(&random.next().to_le_bytes()));
                continue;
            }
            Kind::Text => text_line(random, &words),
            Kind::Json => {
                let message = text_line(random, &words);
                let line = serde_json::json!({
                    "ts": random.next() % 1_000_000_000_000, "level": random.of(&["info", "warn", "error"]), "msg": message,
                    "trace": format!("{:016x}{:016x}", random.next(), random.next()), "service": random.of(&words),
                    "http": {"path": format!("/v1/{}/{}", random.of(&words), random.below(99999)), "status": 200},
                });
                line.to_string()
            }
        };
        log.extend_from_slice(line.as_bytes());
        log.push(b'\n');
    }
    log
}

fn text_line(random: &mut Random, words: &[&str]) -> String {
    let (r, n) = (random.next(), random.next());
    let stamp = format!("2026-11-24T{:02}:{:02}:{:02}.{:06}Z", r % 24, r % 60, n % 60, n % 1_000_000);
    let rest = match random.below(100) {
        0..45 => (0..4 + random.below(12)).map(|_| words[random.below(words.len())]).collect::<Vec<_>>().join(" "),
        45..70 => format!(
            "{}.{}.{}.{} - - \"GET /{}/{:08x}-{:04x}-4{:03x}-a{:03x}-{:012x} HTTP/1.1\" 200 {} \"curl/8.5.0\"",
            r % 256,
            n % 256,
            r % 199,
            n % 251,
            words[r as usize % words.len()],
            r as u32,
            n as u16,
            r % 4096,
            n % 4096,
            random.next() >> 16,
            n % 100_000,
        ),
        70..88 => format!("trace_id={:016x}{n:016x} span_id={:016x}", r, random.next()),
        88..93 => format!("\x1b[32msha256:{:016x}{:016x}{:016x}{:016x}\x1b[0m", r, n, random.next(), random.next()),
        // What other secrets start with.
        93..96 => format!(
            "authorization: Bearer eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.{}.{}",
            random.text(60, BASE62),
            random.text(43, BASE62)
        ),
        96..98 => format!("postgres://app:***@db.prod.internal:5432/app?sslmode=require {}", random.text(40, BASE62)),
        98 => format!("-----BEGIN CERTIFICATE-----\\n{}\\n-----END CERTIFICATE-----", random.text(64, BASE62)),
        _ => "=".repeat(random.below(100)),
    };
    format!("{stamp} INFO {} {rest}", words[n as usize % words.len()])
}
