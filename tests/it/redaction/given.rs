//! Secrets as sessions have them, and how each is written by others: a second, plain implementation of every form.

use base64::{
    Engine,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};

/// splitmix64: the same secrets every time.
pub struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ z >> 31
    }

    pub fn below(&mut self, end: usize) -> usize {
        (self.next() % end as u64) as usize
    }

    pub fn of<'a, T: ?Sized>(&mut self, choice: &[&'a T]) -> &'a T {
        choice[self.below(choice.len())]
    }

    pub fn text(&mut self, len: usize, alphabet: &str) -> String {
        (0..len).map(|_| char::from(alphabet.as_bytes()[self.below(alphabet.len())])).collect()
    }

    pub fn bytes(&mut self, len: usize) -> Vec<u8> {
        (0..len).map(|_| self.next() as u8).collect()
    }
}

pub const BASE62: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
const HEX: &str = "0123456789abcdef";
const SPECIAL: &str =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789!#$%&()*+,-./:;<=>?@[]^_{|}~'\"\\`";

/// One of those that sessions have, in roughly their shares.
pub fn secret(random: &mut Random) -> String {
    match random.below(100) {
        0..30 => {
            let (prefix, len) =
                [("ghp_", 36), ("sk_live_", 24), ("glpat-", 20), ("npm_", 36), ("xoxb-1234567890-", 24), ("hvs.", 24)]
                    [random.below(6)];
            format!("{prefix}{}", random.text(len, BASE62))
        }
        30..51 => {
            let len = 16 + random.below(17);
            random.text(len, BASE62)
        }
        51..59 => random.text(64, HEX),
        59..69 => {
            let len = 16 + random.below(60);
            STANDARD.encode(random.bytes(len))
        }
        69..79 => {
            let len = 12 + random.below(13);
            format!("{}é日", random.text(len, SPECIAL)) // as people do have them
        }
        79..87 => {
            let claims = format!(
                r#"{{"sub":"{}","exp":{}}}"#,
                random.text(10, BASE62),
                1_700_000_000 + random.below(99_999_999)
            );
            let header = r#"{"alg":"HS256","typ":"JWT"}"#;
            format!("{}.{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(claims), random.text(43, BASE62))
        }
        87..91 => format!("postgres://app:{}@db.prod.internal:5432/app?sslmode=require", random.text(20, BASE62)),
        91..96 => {
            let len = random.of(&[&121, &121, &121, &121, &121, &121, &121, &1190]);
            pem(random, *len)
        }
        96..98 => {
            let (id, key) = (random.text(40, HEX), pem(random, 121));
            serde_json::to_string_pretty(&serde_json::json!({
                "type": "service_account", "project_id": "acme-prod", "private_key_id": id, "private_key": key,
                "client_email": "robot@acme-prod.iam.example.com", "token_uri": "https://oauth2.example.com/token",
            }))
            .expect("JSON")
        }
        _ => {
            let len = 9 + random.below(3);
            random.text(len, BASE62)
        }
    }
}

fn pem(random: &mut Random, len: usize) -> String {
    let body = STANDARD.encode(random.bytes(len));
    let lines: Vec<&str> = body.as_bytes().chunks(64).map(|line| std::str::from_utf8(line).unwrap()).collect();
    // Assembled, so that scanners of this repository find nothing to report.
    format!("-----BEGIN EC {0}-----\n{1}\n-----END EC {0}-----\n", ["PRIVATE", "KEY"].join(" "), lines.join("\n"))
}

/// What somebody writes of a secret.
pub struct Written {
    pub form: &'static str,
    pub text: String,
}

/// A text in which some characters are replaced.
fn replaced(text: &str, by: impl Fn(char) -> Option<String>) -> String {
    text.chars().map(|c| by(c).unwrap_or_else(|| c.to_string())).collect()
}

fn percent(text: &str, keep: &str, blank: &str, upper: bool) -> String {
    replaced(text, |c| match c {
        ' ' => Some(blank.to_owned()),
        _ if c.is_ascii_alphanumeric() || keep.contains(c) => None,
        _ => {
            let bytes = c.to_string().into_bytes();
            Some(bytes.iter().map(|b| if upper { format!("%{b:02X}") } else { format!("%{b:02x}") }).collect())
        }
    })
}

fn json(text: &str, also: &str, ascii: bool, upper: bool) -> String {
    let plain = serde_json::to_string(text).expect("a string");
    replaced(&plain[1..plain.len() - 1], |c| {
        let escape = also.contains(c) || ascii && !c.is_ascii();
        escape.then(|| {
            c.encode_utf16(&mut [0; 2])
                .iter()
                .map(|half| if upper { format!("\\u{half:04X}") } else { format!("\\u{half:04x}") })
                .collect()
        })
    })
}

fn xml(text: &str, quote: &str, apostrophe: &str) -> String {
    replaced(text, |c| match c {
        '&' => Some("&amp;".into()),
        '<' => Some("&lt;".into()),
        '>' => Some("&gt;".into()),
        '"' => Some(quote.into()),
        '\'' => Some(apostrophe.into()),
        _ => None,
    })
}

fn before(text: &str, marks: &str) -> String {
    replaced(text, |c| marks.contains(c).then(|| format!("\\{c}")))
}

fn fold(text: &str, columns: usize, end: &str) -> String {
    text.as_bytes().chunks(columns).map(|line| std::str::from_utf8(line).unwrap()).collect::<Vec<_>>().join(end)
}

/// Every form in which a secret is declared to be found, in each way it is written.
pub fn written(secret: &str) -> Vec<Written> {
    let mut all = Vec::new();
    let mut add = |form, text: String| all.push(Written { form, text });
    let trimmed = secret.trim();
    add("raw", secret.to_owned());
    for lead in ["", "a", "ab", "\u{ff}"] {
        for tail in ["", "\n", "xyz"] {
            let whole = format!("{lead}{trimmed}{tail}");
            add("base64", STANDARD.encode(&whole));
            add("base64url", URL_SAFE_NO_PAD.encode(&whole));
        }
    }
    for (columns, end) in [(64, "\n"), (76, "\n"), (76, "\r\n")] {
        add("base64-folded", fold(&STANDARD.encode(trimmed), columns, end));
        add("base64-folded", fold(&STANDARD.encode(format!("{trimmed}\n")), columns, end));
    }
    for tail in ["", "\n"] {
        add("base64-twice", STANDARD.encode(STANDARD.encode(format!("{trimmed}{tail}")) + tail));
    }
    let hex: String = trimmed.bytes().map(|b| format!("{b:02x}")).collect();
    add("hex", hex.to_uppercase());
    add("hex", hex);
    for upper in [false, true] {
        for keep in ["-._~", "-._~/", "-._~!*'()", "-._~!*'();,/?:@&=+$#"] {
            add("percent", percent(trimmed, keep, "%20", upper));
        }
        add("percent", percent(trimmed, "-._~", "+", upper));
        add("percent", percent(trimmed, "-._*", "+", upper));
        add("json", json(trimmed, "", true, upper));
    }
    add("json", json(trimmed, "", false, false));
    add("json", json(trimmed, "", false, false).replace('/', "\\/"));
    add("json", json(trimmed, "", true, false).replace('/', "\\/"));
    add("json", json(trimmed, "<>&", false, false));
    add("json", json(trimmed, "<>&='", false, false));
    add("json-twice", json(&json(trimmed, "", false, false), "", false, false));
    for (quote, apostrophe) in [
        ("\"", "'"),
        ("&quot;", "'"),
        ("&quot;", "&#39;"),
        ("&quot;", "&apos;"),
        ("&quot;", "&#x27;"),
        ("&quot;", "&#039;"),
        ("&#34;", "&#39;"),
    ] {
        add("xml", xml(trimmed, quote, apostrophe));
    }
    add("shell", trimmed.replace('\'', r"'\''"));
    add("shell", trimmed.replace('\'', r#"'"'"'"#));
    add("shell", before(trimmed, "\"$`\\"));
    add("shell", before(trimmed, "'\\").replace('\n', "\\n"));
    if !trimmed.contains('\n') {
        let hash = if trimmed.starts_with(['#', '~']) { "\\" } else { "" };
        add("shell", hash.to_owned() + &before(trimmed, " !\"$&'()*,;<>?[\\]^`{|}"));
    }
    add("line-ends", trimmed.replace('\n', "\r\n"));
    add("line-ends", trimmed.replace('\n', " "));
    if let Ok(serde_json::Value::Object(leaves)) = serde_json::from_str(trimmed) {
        for leaf in ["private_key_id", "private_key"].iter().filter_map(|name| leaves[*name].as_str()) {
            add("json-leaf", leaf.to_owned());
            add("json", json(leaf, "", false, false));
            add("base64", STANDARD.encode(leaf));
        }
    }
    if let Some(password) = trimmed.strip_prefix("postgres://app:").and_then(|rest| rest.split('@').next()) {
        add("password", password.to_owned());
        add("base64", STANDARD.encode(format!("app:{password}")));
    }
    all
}

/// What of a written text must not be seen: all of it but a key's armour, and of a JSON document on several lines, which
/// come one by one, only the strings that are secrets.
pub fn secret_parts(text: &str) -> Vec<&str> {
    let document = text.contains('\n') && text.contains("private_key_id");
    let pieces = if document {
        let lines = text.lines().filter(|line| line.contains("private_key"));
        lines
            .flat_map(|line| line.split(|c| ";\"\\ ".contains(c)).filter(|piece| !piece.contains("private_key")))
            .collect()
    } else {
        vec![text]
    };
    let parts = pieces.into_iter().flat_map(|piece| piece.split("-----"));
    parts.filter(|part| !part.contains(" KEY") && part.len() >= 8).collect()
}
