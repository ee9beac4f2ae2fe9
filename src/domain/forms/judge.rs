//! What a text is worth: too common to be looked for, how many bits a guess needs, which bytes of it everybody knows, and
//! where its region lies best. Estimates all, from kinds of characters.

use std::ops::Range;

use zeroize::Zeroizing;

use super::ENOUGH;
use crate::domain::suspicion;

/// The shortest text that is looked for.
pub(super) const SHORTEST: usize = 8;

/// What logs are full of, so that masking it would hide the log and tell the value.
pub(super) fn too_common(text: &[u8]) -> bool {
    let text = text.trim_ascii();
    let one = |byte: &u8| *byte == text[0];
    let number = |byte: &u8| byte.is_ascii_digit() || b".,:-+/ ".contains(byte);
    text.len() < SHORTEST
        || text.iter().all(one)
        || text.len() < 12 && text.iter().all(number)
        || COMMON.split(' ').any(|word| text.eq_ignore_ascii_case(word.as_bytes()))
}

/// From 8 bytes on; what is shorter is not looked for anyway.
const COMMON: &str = "127.0.0.1/32 0.0.0.0/0 255.255.255.0 localhost localhost:3000 localhost:5432 localhost:8000 localhost:8080 \
    http://localhost https://localhost http://localhost:3000 http://localhost:8080 localhost.localdomain \
    host.docker.internal example.com example.org password passw0rd password1 password123 changeme changeit \
    secret123 administrator username postgres postgresql mongodb rabbitmq minioadmin production development \
    testing123 staging1 undefined disabled enabled1 required optional unlimited anonymous verify-full us-east-1 \
    us-east-2 us-west-1 us-west-2 eu-west-1 eu-west-2 eu-west-3 eu-central-1 eu-north-1 ap-south-1 ap-southeast-1 \
    ap-southeast-2 ap-northeast-1 ca-central-1 sa-east-1 us-central1 europe-west1 service_account authorized_user \
    application application/json text/plain text/html /bin/bash /usr/bin /usr/local/bin /dev/null https:// \
    http:// redis:// Europe/Berlin America/New_York Etc/UTC en_US.UTF-8 xterm-256color deadbeef abcdefgh \
    abcdefghijklmnopqrstuvwxyz qwertyuiop abc12345 asdfghjkl";

/// Bits that a guess of each byte costs, in tenths; 0 for what is public.
pub(super) type Worth = Zeroizing<Vec<u8>>;

/// What each byte is worth when these are public.
pub(super) fn worth(text: &[u8], public: &[Range<usize>]) -> Worth {
    let mut worth = Zeroizing::new(vec![u8::MAX; text.len()]);
    public.iter().for_each(|known| worth[known.clone()].fill(0));
    // Words: six letters and more of one case, the first perhaps a capital. Of random tokens few hold any.
    let base32 =
        text.iter().all(|b| matches!(b, b'A'..=b'Z' | b'2'..=b'7' | b'=')) && text.iter().any(u8::is_ascii_digit);
    let mut start = 0;
    while start < text.len() {
        let lower = start + usize::from(text[start].is_ascii_uppercase());
        let end = run(text, lower, u8::is_ascii_lowercase).max(run(text, start, u8::is_ascii_uppercase));
        if end - start >= 6 && !base32 {
            worth[start..end].iter_mut().for_each(|w| *w = (*w).min(20));
        }
        start = end.max(start + 1);
    }
    let rest = || text.iter().zip(&*worth).filter(|(_, w)| **w == u8::MAX).map(|(b, _)| *b);
    let any = |of: fn(&u8) -> bool| rest().any(|b| of(&b));
    let letters = |some: bool, beyond_hex: bool| if beyond_hex { 26 } else { 6 * u32::from(some) };
    let alphabet = 10 * u32::from(any(u8::is_ascii_digit))
        + letters(any(u8::is_ascii_lowercase), any(|b| matches!(b, b'g'..=b'z')))
        + letters(any(u8::is_ascii_uppercase), any(|b| matches!(b, b'G'..=b'Z')))
        + if any(|b| !b.is_ascii_alphanumeric() && !b"+/=-_".contains(b)) {
            33
        } else {
            2 * u32::from(any(|b| b"+/=-_".contains(b)))
        };
    let mut met = [false; 256];
    rest().for_each(|byte| met[usize::from(byte)] = true);
    let distinct = met.iter().filter(|met| **met).count().max(1) as f64;
    let each = f64::from(alphabet.max(1)).log2().min(distinct.log2() + 2.0);
    let mut before = None;
    for (byte, worth) in text.iter().zip(worth.iter_mut()) {
        if *worth == u8::MAX {
            *worth = if before == Some(byte) { 5 } else { (10.0 * each) as u8 };
        }
        before = Some(byte);
    }
    worth
}

fn run(text: &[u8], start: usize, is: fn(&u8) -> bool) -> usize {
    start + text[start..].iter().take_while(|b| is(b)).count()
}

/// In whole bits.
pub(super) fn bits(worth: &[u8]) -> usize {
    worth.iter().map(|w| usize::from(*w)).sum::<usize>() / 10
}

/// What of a text that is no JSON document and has no key's armour everybody knows.
pub(super) fn public(text: &[u8]) -> [Range<usize>; 2] {
    let prefix = suspicion::token_prefix(text);
    if prefix > 0 {
        return [0..prefix, 0..0];
    }
    let segments: Vec<_> = text.split(|b| *b == b'.').map(<[u8]>::len).collect();
    if text.starts_with(b"eyJ") && segments.len() == 3 && segments[2] > 2 * SHORTEST && !text.contains(&b' ') {
        return [0..text.len() - segments[2], 0..0];
    }
    let Some(scheme) = scheme(text) else { return [0..0, 0..0] };
    match password(text) {
        Some(password) => [0..password.start, password.end..text.len()],
        None => [0..scheme + text[scheme..].iter().take_while(|b| !b"/?#".contains(b)).count(), 0..0],
    }
}

/// How long the scheme of a URL is, with its slashes.
fn scheme(text: &[u8]) -> Option<usize> {
    let end = text.windows(3).take(32).position(|w| w == b"://")?;
    text[..end].iter().all(|b| b.is_ascii_alphanumeric() || b"+-.".contains(b)).then_some(end + 3)
}

/// Where the password of a URL stands.
pub(super) fn password(text: &[u8]) -> Option<Range<usize>> {
    let start = scheme(text)?;
    // An @ may stand unescaped in a password, so the last one counts.
    let host = text[start..].iter().take_while(|b| !b"/?#".contains(b) && !b.is_ascii_whitespace()).count() + start;
    let end = start + text[start..host].iter().rposition(|b| *b == b'@')?;
    let colon = start + text[start..end].iter().position(|b| *b == b':')?;
    (colon + 1 < end).then_some(colon + 1..end)
}

/// An address without anything in it that looks like a token: known to whoever writes logs.
pub(super) fn plain_url(text: &[u8]) -> bool {
    scheme(text).is_some()
        && !text.iter().any(|b| b"?@ ".contains(b))
        && text.split(|b| !b.is_ascii_alphanumeric()).all(|run| run.len() < 16 || !run.iter().any(u8::is_ascii_digit))
}

/// Where in a part of a text the region lies best: what is rare in logs, no word, the same in most encodings, not public
/// unless that is what leaves enough bits outside, and early, since as much of a stream is held back. The text's bits are
/// told when they count.
pub(super) fn best_region(text: &[u8], worth: &[u8], part: Range<usize>, bits: Option<usize>) -> usize {
    /// What no window is better than.
    const BEST: i32 = 7 + 6;
    let mut best = (i32::MIN, part.start);
    for at in part.start..=part.end - 8 {
        // One that also lies in one line when the whole is folded needs no other for that.
        let bonus = 6 * i32::from(at % 48 <= 40 && at % 57 <= 49);
        let score = score(text, worth, part.start, at, bits) + bonus;
        if score > best.0 {
            best = (score, at);
        }
        if best.0 + late(part.start, at) >= BEST {
            break;
        }
    }
    best.1
}

/// What it costs to lie late.
fn late(start: usize, at: usize) -> i32 {
    (at - start).saturating_sub(56) as i32 / 32
}

/// How well a region would lie there.
pub(super) fn score(text: &[u8], worth: &[u8], start: usize, at: usize, of: Option<usize>) -> i32 {
    let (window, worth) = (&text[at..at + 8], &worth[at..at + 8]);
    let mut score = 0;
    for (byte, worth) in window.iter().zip(worth) {
        score -= if *worth == 0 { 8 } else { 0 };
        score -= match byte {
            b'0'..=b'9' | b'a'..=b'z' | b'A'..=b'Z' | b'-' | b'.' | b'_' => 0,
            b'+' | b'/' | b'=' => 1,
            b'\n' | b'\r' => 30,
            _ => 3,
        };
    }
    let class = |b: &u8| (b.is_ascii_digit(), b.is_ascii_lowercase(), b.is_ascii_uppercase());
    for (a, b) in window.iter().zip(&window[1..]) {
        score += match (a == b, class(a) == class(b)) {
            (true, _) => -4,
            (_, true) => -1,
            _ => 1,
        };
    }
    let hex = |b: &u8| matches!(b, b'0'..=b'9' | b'a'..=b'f');
    score -= if window.iter().all(hex) { 3 } else { 0 };
    score -= if window.iter().all(u8::is_ascii_digit) { 3 } else { 0 };
    // Between characters: what is half inside can't be looked for where it is escaped.
    let cut = |byte: Option<&u8>| byte.is_some_and(|b| b & 0xc0 == 0x80);
    score -= if cut(window.first()) || cut(text.get(at + 8)) { 50 } else { 0 };
    let left = of.is_some_and(|bits| bits < ENOUGH + self::bits(worth) + 1);
    score -= if left { 40 } else { 0 };
    score - late(start, at) - i32::from(at - start < 4)
}
