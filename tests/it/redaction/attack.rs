//! What a dump of the fingerprints gives away, by attacking it: with the key and all records the attacker guesses windows
//! through every form whose windows are cheap, goes on from what is known by then, and at the end asks the MAC.

use keyfob::domain::{
    forms::Form,
    redact::Fingerprints,
    redaction::{Redaction, Strength},
};
use siphasher::sip128::{Hasher128, SipHasher24};

use super::given::BASE62;

/// How many unknown bytes of a window are guessed at once. One more costs 62 times as much, which an attacker has; but then
/// only the same bytes would fall earlier, since what no window covers falls to none.
const AT_ONCE: usize = 3;

const STANDARD: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

struct Record {
    form: u8,
    len: usize,
    windows: [(usize, u32); 3],
    mac: [u8; 16],
}

/// As `redact::fingerprint` draws it.
fn records(dump: &[u8]) -> ([u8; 32], Vec<Record>) {
    let start = memchr::memmem::find(dump, b"KFPR\x01").expect("fingerprints") + 5;
    let key = dump[start..start + 32].try_into().unwrap();
    let word = |at: &[u8]| u32::from_le_bytes(at[..4].try_into().unwrap());
    let records = dump[start + 36..].chunks_exact(42).map(|r| {
        let first = word(&r[8..]) as usize;
        let at = [first, first + usize::from(r[12]) - 128, first + usize::from(r[13]) - 128];
        Record {
            form: r[0],
            len: word(&r[4..]) as usize,
            windows: [0, 1, 2].map(|w| (at[w], word(&r[14 + 4 * w..]))),
            mac: r[26..].try_into().unwrap(),
        }
    });
    (key, records.collect())
}

fn hash(key: &[u8; 32], window: &[u8; 6]) -> u32 {
    let word = |at: &[u8]| u32::from_le_bytes(at.try_into().unwrap());
    let [a, b, mixed] = [0, 4, 8].map(|at| word(&key[at..at + 4]) | 1);
    let sum = word(&window[..4]).wrapping_mul(a).wrapping_add(word(&window[2..]).wrapping_mul(b));
    (sum ^ sum >> 15).wrapping_mul(mixed)
}

/// One thing that can be asked: do these bytes of the value, encoded in one of these ways, have this hash?
struct Oracle {
    bytes: std::ops::Range<usize>,
    encode: Encode,
    hash: u32,
}

type Encode = Box<dyn Fn(&[u8]) -> Vec<[u8; 6]>>;

fn oracles(records: &[Record]) -> Vec<Oracle> {
    let mut oracles = Vec::new();
    let mut alignment = 0..;
    let mut upper = false;
    for record in records {
        let before = if record.form == Form::Base64 as u8 { alignment.next().unwrap() } else { 0 };
        for (at, hash) in record.windows {
            let digits = if upper { b"0123456789ABCDEF" } else { b"0123456789abcdef" };
            let digit = move |raw: &[u8], i: usize| digits[usize::from(raw[i / 2] >> (4 * (1 - i % 2)) & 15)];
            let (bytes, encode): (_, Encode) = if record.form == Form::Raw as u8 {
                (at..at + 6, Box::new(|raw| vec![raw.try_into().unwrap()]))
            } else if record.form == Form::Hex as u8 && at % 2 == 0 {
                (at / 2..at / 2 + 3, Box::new(move |raw| vec![std::array::from_fn(|i| digit(raw, i))]))
            } else if record.form == Form::Hex as u8 {
                // Two bytes, and half of one on each side, whatever these are.
                let sides = move |n: u16| [digits[usize::from(n >> 4)], digits[usize::from(n & 15)]];
                let both = move |raw: &[u8], [a, b]: [u8; 2]| {
                    [a, digit(raw, 0), digit(raw, 1), digit(raw, 2), digit(raw, 3), b]
                };
                (at / 2 + 1..at / 2 + 3, Box::new(move |raw| (0..256).map(|n| both(raw, sides(n))).collect()))
            } else if record.form == Form::Base64 as u8 {
                let bit = 6 * ((8 * before as usize).div_ceil(6) + at) - 8 * before as usize;
                let bytes = bit / 8..(bit + 36).div_ceil(8);
                let sum = |raw: &[u8]| raw.iter().fold(0u64, |sum, b| sum << 8 | u64::from(*b));
                let end = 8 * bytes.len() - bit % 8;
                (
                    bytes,
                    Box::new(move |raw| {
                        vec![std::array::from_fn(|i| STANDARD[(sum(raw) >> (end - 6 * (i + 1)) & 63) as usize])]
                    }),
                )
            } else {
                continue;
            };
            oracles.push(Oracle { bytes, encode, hash });
        }
        upper |= record.form == Form::Hex as u8;
    }
    oracles
}

/// The bytes that fall.
fn attack(dump: &[u8], alphabet: &str) -> Vec<Option<u8>> {
    let (key, records) = records(dump);
    let raw = records.iter().find(|r| r.form == Form::Raw as u8).expect("the value itself");
    let mut known = vec![None; raw.len];
    let oracles = oracles(&records);
    loop {
        let before = known.clone();
        for oracle in &oracles {
            let unknown: Vec<usize> = oracle.bytes.clone().filter(|at| known[*at].is_none()).collect();
            let mut guess: Vec<u8> = oracle.bytes.clone().map(|at| known[at].unwrap_or_default()).collect();
            let right = |guess: &[u8]| (oracle.encode)(guess).iter().any(|window| hash(&key, window) == oracle.hash);
            let places: Vec<usize> = unknown.iter().map(|at| at - oracle.bytes.start).collect();
            if let Some(found) = only(&mut guess, &places, alphabet, &right) {
                unknown.iter().zip(found).for_each(|(at, byte)| known[*at] = Some(byte));
            }
        }
        if known == before {
            break;
        }
    }
    // The MAC answers for all that is left at once.
    let unknown: Vec<usize> = (0..raw.len).filter(|at| known[*at].is_none()).collect();
    let mut guess: Vec<u8> = known.iter().map(|byte| byte.unwrap_or_default()).collect();
    let right = |guess: &[u8]| {
        let mut hasher = SipHasher24::new_with_key(key[16..].try_into().unwrap());
        std::hash::Hasher::write(&mut hasher, guess);
        hasher.finish128().as_bytes() == raw.mac
    };
    if let Some(found) = only(&mut guess, &unknown, alphabet, &right) {
        unknown.iter().zip(found).for_each(|(at, byte)| known[*at] = Some(byte));
    }
    known
}

/// The one way to fill these places, if there are few and there is one.
fn only(guess: &mut [u8], places: &[usize], alphabet: &str, right: &dyn Fn(&[u8]) -> bool) -> Option<Vec<u8>> {
    let mut found = Vec::new();
    if (1..=AT_ONCE).contains(&places.len()) {
        fill(guess, places, alphabet, right, &mut |guess: &[u8]| {
            found.push(places.iter().map(|at| guess[*at]).collect())
        });
    }
    if found.len() == 1 { found.pop() } else { None }
}

fn fill(
    guess: &mut [u8],
    places: &[usize],
    alphabet: &str,
    right: &dyn Fn(&[u8]) -> bool,
    found: &mut dyn FnMut(&[u8]),
) {
    let Some((first, rest)) = places.split_first() else {
        if right(guess) {
            found(guess);
        }
        return;
    };
    for byte in alphabet.bytes() {
        guess[*first] = byte;
        fill(guess, rest, alphabet, right, found);
    }
}

/// With dots for what stays secret.
fn shown(known: &[Option<u8>]) -> String {
    known.iter().map(|byte| byte.map_or('.', char::from)).collect()
}

#[test]
fn a_dump_gives_away_eight_bytes() {
    let token = format!("{BASE62}-_");
    for (value, alphabet, fallen, strength) in [
        ("glpat-aB3xZ9kQ2mN7pR5tW8yL", token.as_str(), 8, Strength::Strong),
        ("ghp_aB3xZ9kQ2mN7pR5tW8yLcD4eaB3xZ9kQ2mN7", &token, 8, Strength::Strong),
        ("Qz7Lw2Rk9Xc4Vb8Nm3Tj6Ys1Pd5Hg0Fa", BASE62, 8, Strength::Strong),
        ("d41e8c0fb97aa204e9800998ecf8427e", "0123456789abcdef", 8, Strength::Strong),
        // What is left are three characters, which the MAC gives away as one: that is what weak means.
        ("Qz7Lw2Rk9Xc", BASE62, 11, Strength::Weak),
    ] {
        let mut redaction = Redaction::new(std::array::from_fn(|i| (i * 151 + 7) as u8));
        assert_eq!(redaction.add("V", "v1", value.as_bytes()), strength, "{value}");
        let known = attack(&redaction.encode(), alphabet);
        assert!(known.iter().zip(value.bytes()).all(|(known, byte)| known.is_none_or(|k| k == byte)), "{value}");
        let (first, last) = (known.iter().position(Option::is_some), known.iter().rposition(Option::is_some));
        let spread = last.unwrap_or_default() - first.unwrap_or_default() + 1;
        assert_eq!((known.iter().flatten().count(), spread), (fallen, fallen), "{value}: {}", shown(&known));
    }
}

/// The attack bites: where each form has its windows elsewhere, one leads to the next.
#[test]
fn windows_in_different_places_give_away_more() {
    let token = "Qz7Lw2Rk9Xc4Vb8Nm3Tj6Ys1";
    let hex = |digits: &str| -> String {
        let digit = |n: u8| char::from(digits.as_bytes()[usize::from(n)]);
        token.bytes().flat_map(|b| [digit(b >> 4), digit(b & 15)]).collect()
    };
    let mut fingerprints = Fingerprints::new(std::array::from_fn(|i| (i * 151 + 7) as u8));
    fingerprints.add(Form::Raw as u32, token.as_bytes(), 6..14).unwrap();
    fingerprints.add(Form::Hex as u32, hex("0123456789abcdef").as_bytes(), 8..24).unwrap();
    fingerprints.add(Form::Hex as u32, hex("0123456789ABCDEF").as_bytes(), 26..42).unwrap();
    let known = attack(&fingerprints.encode(), BASE62);
    assert!(known.iter().flatten().count() >= 12, "{}", shown(&known));
}
