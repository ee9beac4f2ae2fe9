//! What pages are made of.

use std::time::{SystemTime, UNIX_EPOCH};

use maud::{Markup, Render, html};
use prost_types::Timestamp;
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

use super::session::Visitor;

/// Every form that changes something has it.
pub fn csrf(visitor: &Visitor) -> Markup {
    html! { input type="hidden" name="csrf" value=(visitor.csrf); }
}

/// A page's heading: what it is, a line on it, what can be done.
pub fn heading(title: impl Render, lead: impl Render, actions: impl Render) -> Markup {
    html! {
        header.heading {
            div {
                h1 { (title) }
                p { (lead) }
            }
            div.actions { (actions) }
        }
    }
}

/// Where a page hangs: a link upwards.
pub fn up(href: &str, label: &str) -> Markup {
    html! { nav.up aria-label="Breadcrumb" { a href=(href) { (label) } } }
}

/// How something stands, in colour and in words.
#[derive(Debug, Clone, Copy)]
pub enum Tone {
    Plain,
    Accent,
    Good,
    Warn,
    Bad,
}

pub fn badge(tone: Tone, text: impl Render) -> Markup {
    let class = match tone {
        Tone::Plain => "badge",
        Tone::Accent => "badge accent",
        Tone::Good => "badge good",
        Tone::Warn => "badge warn",
        Tone::Bad => "badge bad",
    };
    html! { span class=(class) { (text) } }
}

/// Nothing here yet: what this is for, and the next step.
pub fn empty(title: &str, text: impl Render, action: impl Render) -> Markup {
    html! {
        section.empty {
            h2 { (title) }
            div.text { (text) }
            div.actions { (action) }
        }
    }
}

/// Something to know before going on.
pub fn notice(tone: Tone, text: impl Render) -> Markup {
    let (class, role) = match tone {
        Tone::Bad => ("notice bad", "alert"),
        Tone::Warn => ("notice warn", "note"),
        Tone::Good => ("notice good", "status"),
        Tone::Plain | Tone::Accent => ("notice", "note"),
    };
    html! { div class=(class) role=(role) { (text) } }
}

/// The next page of a listing, where there is one.
pub fn more(href: Option<&str>) -> Markup {
    html! {
        @if let Some(href) = href { nav.more aria-label="Pages" { a.button href=(href) { "More" } } }
    }
}

/// A moment, as how long ago it was; to the second for whoever points at it.
pub fn when(at: Option<&Timestamp>) -> Markup {
    let moment = at.and_then(|at| OffsetDateTime::from_unix_timestamp(at.seconds).ok());
    let Some((at, moment)) = at.zip(moment) else { return html! { span.none { "never" } } };
    let exact = moment.format(&Rfc3339).unwrap_or_default();
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs() as i64);
    html! { time datetime=(exact) title=(exact.replace('T', " ").replace('Z', " UTC")) { (ago(now - at.seconds)) } }
}

fn ago(seconds: i64) -> String {
    let (number, unit) = match seconds {
        ..5 => return "just now".into(),
        5..60 => (seconds, "second"),
        60..3_600 => (seconds / 60, "minute"),
        3_600..86_400 => (seconds / 3_600, "hour"),
        86_400..2_592_000 => (seconds / 86_400, "day"),
        2_592_000..31_536_000 => (seconds / 2_592_000, "month"),
        _ => (seconds / 31_536_000, "year"),
    };
    let many = if number == 1 { "" } else { "s" };
    format!("{number} {unit}{many} ago")
}

/// `1 session`, `2 sessions`.
pub fn count(number: u64, thing: &str) -> String {
    let many = if number == 1 { "" } else { "s" };
    format!("{number} {thing}{many}")
}

/// `user/alice`, as people call her.
pub fn person(actor: &str) -> &str {
    actor.strip_prefix("user/").unwrap_or(actor)
}

/// A text as a part of a URL's query or path.
pub fn url(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => encoded.push(byte as char),
            byte => encoded.push_str(&format!("%{byte:02X}")),
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn how_long_ago() {
        for (seconds, expected) in [
            (-3, "just now"),
            (4, "just now"),
            (59, "59 seconds ago"),
            (60, "1 minute ago"),
            (7_199, "1 hour ago"),
            (172_800, "2 days ago"),
            (31_536_000, "1 year ago"),
        ] {
            assert_eq!(ago(seconds), expected);
        }
    }

    #[test]
    fn what_a_url_can_hold() {
        assert_eq!(url("a b&c=\u{e4}/~"), "a%20b%26c%3D%C3%A4%2F~");
    }
}
