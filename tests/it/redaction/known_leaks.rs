//! What others are known to leak, or to mask that they should not: research by the names of their issues, written anew.

use keyfob::domain::redaction::{Hits, Mode, Redaction, Strength};

use super::{given::Random, redactor, streamed, whole};

const TOKEN: &str = "aB3xZ9kQ2mN7pR5tW8yLcD4e";

fn lines(values: &[(&str, &str)], text: &str) -> String {
    let redactor = redactor(values.iter().copied());
    let out = streamed(&redactor, Mode::Lines, text.as_bytes(), []);
    assert!(streamed(&redactor, Mode::Lines, text.as_bytes(), 1..text.len()) == out, "byte by byte makes a difference");
    String::from_utf8(out).unwrap()
}

fn terminal(values: &[(&str, &str)], text: &str) -> String {
    let redactor = redactor(values.iter().copied());
    let out = streamed(&redactor, Mode::Terminal, text.as_bytes(), []);
    assert!(
        streamed(&redactor, Mode::Terminal, text.as_bytes(), 1..text.len()) == out,
        "byte by byte makes a difference"
    );
    String::from_utf8(out).unwrap()
}

/// actions/runner#291: `echo $S | base64` leaked when the length is no multiple of three.
#[test]
fn base64_of_a_value_and_a_newline() {
    use base64::{Engine, engine::general_purpose::STANDARD};
    for cut in 0..3 {
        let value = &TOKEN[cut..];
        let out = lines(&[("T", value)], &format!("{}\n", STANDARD.encode(format!("{value}\n"))));
        let rest = out.strip_prefix("[keyfob:T]").expect("masked from its first character");
        assert!(rest.trim_end_matches(['=', '\n']).len() <= 2, "{out}");
    }
}

/// CVE-2025-30066: a memory dump's secrets, printed in base64 of base64.
#[test]
fn base64_of_base64() {
    use base64::{Engine, engine::general_purpose::STANDARD};
    let out = lines(&[("T", TOKEN)], &STANDARD.encode(STANDARD.encode(TOKEN)));
    assert!(out.starts_with("[keyfob:T]") && out.len() < 20, "{out}");
}

/// woodpecker#7103, runner#326: the lines `{`, `}` and `"bar"` of a JSON document became secrets.
#[test]
fn a_json_document_on_several_lines() {
    let document = format!("{{\n  \"name\": \"bar\",\n  \"password\": \"{TOKEN}\"\n}}\n");
    let values = [("DOCUMENT", document.as_str())];
    assert_eq!(lines(&values, "fn main() {\n    \"bar\"\n}\n"), "fn main() {\n    \"bar\"\n}\n");
    assert_eq!(lines(&values, &format!("token={TOKEN}\n")), "token=[keyfob:DOCUMENT]\n");
    let out = lines(&values, &document);
    assert!(!out.contains(&TOKEN[..8]) && !out.contains(&TOKEN[16..]), "{out}");
    assert_eq!(whole(&redactor(values), document.as_bytes()).0, "[keyfob:DOCUMENT]\n");
}

/// runner#4531, azure-pipelines-tasks#9376: `a` or `1` as a secret masked every one in the log.
#[test]
fn values_that_are_no_secrets() {
    for value in [
        "{",
        "1",
        "a",
        "true",
        "localhost",
        "password",
        "production",
        "127.0.0.1",
        "xxxxxxxxxxxx",
        "12345678",
        "        8       ",
        "changeme",
        "PASSWORD",
        "us-east-1",
    ] {
        assert_eq!(Redaction::new([1; 32]).add("V", "v", value.as_bytes()), Strength::NotRedactable, "{value}");
        let log = format!("{{\"a\": 1, \"at\": \"{value}\", \"port\": 12345678}}\n");
        assert_eq!(lines(&[("V", value)], &log), log);
    }
}

/// Leftmost-longest leaks what is behind a match, standard what is behind the shorter one.
#[test]
fn secrets_that_begin_or_end_others() {
    let values = [("A", "abcdXfgh"), ("B", "abcdXfgh1234"), ("C", "Xfgh12jk")];
    for (text, masked) in [
        ("abcdXfgh", "[keyfob:A]"),
        ("abcdXfgh1234", "[keyfob:A,B]"),
        ("abcdXfgh12jk", "[keyfob:A,C]"),
        ("Xfgh12jk", "[keyfob:C]"),
        ("abcdXfgh123", "[keyfob:A]123"),
    ] {
        assert_eq!(lines(&values, &format!("<{text}>\n")), format!("<{masked}>\n"));
        assert_eq!(terminal(&values, &format!("<{text}>\r\n")), format!("<{masked}>\r\n"));
    }
}

/// GitLab's masker restarts only where the present byte begins the phrase.
#[test]
fn a_value_that_overlaps_itself_and_is_split() {
    let redactor = redactor([("V", "aabaabaac123")]);
    let text = b"aabaabaabaac123";
    for cut in 1..text.len() {
        assert_eq!(streamed(&redactor, Mode::Lines, text, [cut]), b"aab[keyfob:V]", "{cut}");
    }
}

/// goreleaser#6938, buildbuddy#10386, gitleaks#1292: at the edge of a chunk.
#[test]
fn a_value_over_two_chunks() {
    let redactor = redactor([("T", TOKEN)]);
    let mut random = Random(3);
    for edge in [64, 4096, 10 * 1024, 64 * 1024] {
        for before in 0..=TOKEN.len() {
            let mut log = random.text(edge - before, "abcdefgh \n").into_bytes();
            log.extend_from_slice(TOKEN.as_bytes());
            log.extend_from_slice(b" end\n");
            let out = streamed(&redactor, Mode::Lines, &log, [edge]);
            assert!(out.ends_with(b"[keyfob:T] end\n"), "{before} bytes before {edge}");
        }
    }
}

/// runner#161, credentials-binding#92: a key line by line, also with a terminal's line ends.
#[test]
fn lines_of_a_key() {
    let mut random = Random(9);
    let body: Vec<String> = [64, 64, 64, 20, 4].map(|len| random.text(len, super::given::BASE62)).into();
    let marks = ["BEGIN", "END"].map(|word| format!("-----{word} {}-----", ["PRIVATE", "KEY"].join(" ")));
    let key = format!("{}\n{}\n{}\n", marks[0], body.join("\n"), marks[1]);
    let values = [("KEY", key.as_str())];
    for text in [key.clone(), key.replace('\n', "\r\n"), key.replace('\n', "\n  | "), key.replace('\n', " ")] {
        for out in [lines(&values, &text), terminal(&values, &text), whole(&redactor(values), text.as_bytes()).0] {
            for line in &body[..4] {
                assert!(line.as_bytes().windows(8).all(|w| memchr::memmem::find(out.as_bytes(), w).is_none()), "{out}");
            }
        }
    }
    // The armour is everybody's, and so are the first characters of the body.
    let other = format!("{}\nMIIEvQIBADANBgkqhkiG9w0BAQEFAASC\n{}\n", marks[0], marks[1]);
    assert_eq!(lines(&values, &other), other);
    // What is too short by itself is found behind the line before it.
    assert_eq!(lines(&values, &format!("{}\n", body[4])), format!("{}\n", body[4]));
    assert_eq!(lines(&values, &format!("{}\n{}\n", body[3], body[4])), "[keyfob:KEY]\n");
}

/// A key that is kept on one line, as Firebase's are, and that the program unfolds.
#[test]
fn a_key_with_escaped_line_ends() {
    let mut random = Random(10);
    let body: Vec<String> = [64, 64, 30].map(|len| random.text(len, super::given::BASE62)).into();
    let marks = ["BEGIN", "END"].map(|word| format!("-----{word} {}-----", ["PRIVATE", "KEY"].join(" ")));
    let key = format!("{}\\n{}\\n{}\\n", marks[0], body.join("\\n"), marks[1]);
    for text in [key.clone(), key.replace("\\n", "\n")] {
        let out = lines(&[("KEY", &key)], &text);
        assert!(body.iter().all(|line| !out.contains(&line[..8])), "{out}");
    }
}

/// hermes-agent#81012: colours inside a token. spaces#1121: escaped after redaction would have been.
#[test]
fn what_terminals_put_inside() {
    let (a, b) = TOKEN.split_at(11);
    for text in [
        format!("{a}\x1b[31m{b}"),
        format!("{a}\x1b[1;38;5;208m\x1b[K{b}"),
        format!("{a}\x1b]8;;https://example.com\x07{b}"),
        format!("{a}\r\n{b}"),
        format!("{a} \r{b}"),
    ] {
        let out = terminal(&[("T", TOKEN)], &format!("> {text} <\r\n"));
        assert!(out.contains("[keyfob:T]") && !out.contains(a) && !out.contains(b), "{out:?}");
    }
}

/// A pipe is no terminal, but what goes through it may be meant for one: colours hide nothing, lines are what they are.
#[test]
fn colours_in_a_pipe() {
    let wrapped = "aB3xZ9kQ2mN\n7pR5tW8yLcD4e \x1b[m\n";
    for (text, expected) in [("aB3xZ9kQ2mN\x1b[31m7pR5tW8yLcD4e\x1b[m\n", "[keyfob:T]\x1b[m\n"), (wrapped, wrapped)] {
        assert_eq!(lines(&[("T", TOKEN)], text), expected);
    }
}

/// runner#2960 and credentials-binding#55: percent signs and quotation marks.
#[test]
fn escaped_by_hand() {
    let value = "p%w'd \"x\"/$Y&<z>+é";
    for text in [
        r#"p%w'd \"x\"/$Y&<z>+é"#,
        r#"p%w'd \\\"x\\\"/$Y&<z>+é"#, // JSON in JSON
        r#"p%w'd \"x\"\/$Y&<z>+\u00e9"#,
        r#"p%w'd \"x\"/$Y\u0026\u003cz\u003e+é"#,
        "p%25w%27d%20%22x%22%2F%24Y%26%3Cz%3E%2B%C3%A9",
        "p%25w%27d+%22x%22%2f%24Y%26%3cz%3e%2b%c3%a9",
        "p%w&#39;d &quot;x&quot;/$Y&amp;&lt;z&gt;+é",
        r#"p%w'"'"'d "x"/$Y&<z>+é"#,
        r#"p%w'\''d "x"/$Y&<z>+é"#,
        r#"p%w\'d\ \"x\"/\$Y\&\<z\>+é"#,
        r#"p%w'd \"x\"/\$Y&<z>+é"#,
    ] {
        assert_eq!(lines(&[("P", value)], &format!("<{text}>\n")), "<[keyfob:P]>\n", "{text}");
    }
}

/// Documented as not covered.
#[test]
fn what_passes() {
    let reversed: String = TOKEN.chars().rev().collect();
    let spaced: String = TOKEN.chars().flat_map(|c| [c, ' ']).collect();
    let half = &TOKEN[..12];
    for text in [reversed.as_str(), &spaced, half, &TOKEN.to_lowercase()] {
        assert_eq!(lines(&[("T", TOKEN)], &format!("{text}\n")), format!("{text}\n"));
    }
}

/// SecretHub#124, buildkite#3246: what is not yet decided goes out after a while, and nothing of it is lost.
#[test]
fn a_prompt_is_not_held_back_for_long() {
    let redactor = redactor([("T", TOKEN)]);
    let mut stream = redactor.stream(Mode::Terminal);
    let (mut out, mut hits) = (Vec::new(), Hits::default());
    stream.push(b"Password: ", &mut out, &mut hits);
    assert!(stream.holds());
    stream.idle(&mut out, &mut hits);
    assert_eq!((out.as_slice(), stream.holds()), (&b"Password: "[..], false));
    stream.push(TOKEN.as_bytes(), &mut out, &mut hits);
    stream.finish(&mut out, &mut hits);
    assert_eq!(out, b"Password: [keyfob:T]");
}

/// Hits are told by variable, version and form, each printing once.
#[test]
fn hits_are_counted() {
    let mut redaction = Redaction::new([7; 32]);
    redaction.add("DSN", "old", b"postgres://app:aB3xZ9kQ2mN7pR5t@db:5432/x");
    redaction.add("DSN", "new", b"postgres://app:Kw7pL2vXt4Rm9QzD@db:5432/x");
    let before = redaction.encode();
    redaction.add("DSN", "new", b"postgres://app:Kw7pL2vXt4Rm9QzD@db:5432/x");
    assert_eq!(redaction.encode(), before, "to add it again changes nothing");
    let redaction = Redaction::decode(&before).unwrap();
    let text = b"postgres://app:aB3xZ9kQ2mN7pR5t@db:5432/x, aB3xZ9kQ2mN7pR5t, Kw7pL2vXt4Rm9QzD, Kw7pL2vXt4Rm9QzD";
    let (mut out, mut hits) = (Vec::new(), Hits::default());
    redaction.redactor().redact(text, &mut out, &mut hits);
    assert_eq!(out, b"[keyfob:DSN], [keyfob:DSN], [keyfob:DSN], [keyfob:DSN]");
    let told: Vec<_> = hits.drain().map(|hit| (hit.version, hit.form, hit.count)).collect();
    assert_eq!(
        told,
        [("new".into(), "password", 2), ("old".into(), "raw", 1), ("old".into(), "password", 1)] as [(String, _, _); 3]
    );
    assert!(hits.is_empty());
}
