use super::*;

fn forms(value: &str) -> Vec<(Form, String, String)> {
    let mut all = Vec::new();
    expand(value.as_bytes(), &mut |form, bytes, window| {
        assert!(window.len() >= 8 && window.end <= bytes.len(), "{form:?} of {value}: {window:?} of {}", bytes.len());
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        all.push((form, text(bytes), text(&bytes[window])));
    });
    all
}

/// Of a key of so many bytes; assembled, so that scanners of this repository find nothing to report.
fn key(len: usize) -> String {
    use base64::{Engine, engine::general_purpose::STANDARD};
    let bytes: Vec<u8> = (0..len as u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    let body = STANDARD.encode(bytes);
    let lines: Vec<&str> = body.as_bytes().chunks(64).map(|line| std::str::from_utf8(line).unwrap()).collect();
    format!("-----BEGIN {0}-----\n{1}\n-----END {0}-----\n", ["PRIVATE", "KEY"].join(" "), lines.join("\n"))
}

#[test]
fn how_well_values_are_protected() {
    let jwt = format!("eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJhYmMifQ.{}", "aB3xZ9kQ2mN7pR5tW8yLcD4eVf6GhJ1sQw0XzU5nM2b");
    for (value, expected) in [
        ("short", Strength::NotRedactable),
        ("   short   \n", Strength::NotRedactable),
        ("localhost", Strength::NotRedactable),
        ("xxxxxxxxxxxxxxxxxxxx", Strength::NotRedactable),
        ("2026-11-24", Strength::NotRedactable),
        ("hunter22", Strength::Weak),
        ("correct horse battery staple", Strength::Weak),
        ("123456789012345678901234", Strength::Weak),
        ("AKIAIOSFODNN7EXAMPLE", Strength::Weak),
        ("aB3xZ9kQ2mN7pR5tW8yLc", Strength::Weak),
        ("aB3xZ9kQ2mN7pR5tW8yLcD4e", Strength::Strong),
        ("glpat-aB3xZ9kQ2mN7pR5tW8yL", Strength::Strong),
        ("d41e8c0fb97aa204e9800998ecf8427e", Strength::Strong),
        ("postgres://app:hunter22hunter@db.prod.internal:5432/app", Strength::Weak),
        ("postgres://app:aB3xZ9kQ2mN7pR5tW8yLcD4e@db.prod.internal:5432/app", Strength::Strong),
        ("first=aB3xZ9kQ2mN7pR5tW8yLcD4e\nsecond=hunter22\n", Strength::Weak),
        ("first=aB3xZ9kQ2mN7pR5tW8yLcD4e\nkind: Config\nserver: https://10.0.0.1:6443\n", Strength::Strong),
        (&jwt, Strength::Strong),
        (&key(121), Strength::Strong),
        (&key(1_190), Strength::Strong),
    ] {
        assert_eq!(strength(value.as_bytes()), expected, "{value}");
        assert_eq!(expand(value.as_bytes(), &mut |_, _, _| {}), expected, "{value}");
        assert_eq!(forms(value).is_empty(), expected == Strength::NotRedactable, "{value}");
    }
}

#[test]
fn regions_lie_past_what_everybody_knows() {
    let signature = "aB3xZ9kQ2mN7pR5tW8yLcD4eVf6GhJ1sQw0XzU5nM2b";
    let jwt = format!("eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJhYmMifQ.{signature}");
    let (token, password) = ("aB3xZ9kQ2mN7pR5tW8yLaB3xZ9kQ2mN7pR5t", "aB3xZ9kQ2mN7pR5tW8yLcD4e");
    let key = key(1_190);
    for (value, within) in [
        (format!("ghp_{token}"), token),
        (format!("sk_live_{token}"), token),
        (format!("postgres://application:{password}@db.prod.internal:5432/app"), password),
        (
            format!(
                "{{\"type\": \"service_account\", \"secret\": \"{password}\", \"auth_uri\": \"https://x.example\"}}"
            ),
            password,
        ),
        (format!("connection string password {password}"), password),
        (jwt, signature),
        (key.clone(), &key[key.find('\n').unwrap() + 41..]),
    ] {
        let raw = forms(&value).into_iter().find(|(form, ..)| *form == Form::Raw).unwrap();
        assert!(within.contains(&raw.2), "{value}: {}", raw.2);
    }
}

#[test]
fn what_stands_outside_of_a_region_changes_no_window() {
    let text = "p%w'd \"x\" /$Y&<z>+é\tQ\\7~#\n!日 {end}";
    let bytes = text.as_bytes();
    let region = text.find("$Y").unwrap()..text.find("$Y").unwrap() + 8;
    let other: String = text.char_indices().map(|(at, c)| if region.contains(&at) { c } else { 'x' }).collect();
    let at = other.find("$Y").unwrap();
    let (mut out, mut of_other) = (Scratch::new(), Scratch::new());
    for (form, escape) in escape::EVERYWHERE {
        let window = Escaper::new(bytes).write(escape, region.clone(), &mut out);
        let same = Escaper::new(other.as_bytes()).write(escape, at..at + 8, &mut of_other);
        assert_eq!(out[window], of_other[same], "{form:?}");
    }
}

#[test]
fn a_key_gives_up_less_than_a_quarter() {
    for len in [121, 600, 1_190, 2_350, 4_400] {
        let key = key(len);
        let plan = Plan::of(key.as_bytes()).unwrap();
        let mut lost = vec![false; key.len()];
        for part in &plan.texts[0].parts {
            lost[part.region..part.region + 8].fill(true);
        }
        let share = lost.iter().filter(|lost| **lost).count() as f64 / key.len() as f64;
        assert!((0.1..0.25).contains(&share), "{len}: {share}");
    }
}

#[test]
fn one_pattern_where_forms_coincide() {
    for (value, expected) in [
        ("aB3xZ9kQ2mN7pR5tW8yLcD4e", 7), // raw, base64 at three alignments, base64 of it, hex in both cases
        ("012345678901234567890123", 6), // no letters in hex
        ("aB3xZ9kQ2mN7pR5tW8yLcD4/", 10), // %2F, %2f and \/
    ] {
        let forms = forms(value);
        let mut texts: Vec<&String> = forms.iter().map(|(_, text, _)| text).collect();
        texts.sort();
        texts.dedup();
        assert_eq!((forms.len(), texts.len()), (expected, expected), "{forms:#?}");
    }
}
