//! Text that a terminal prints as it stands.

/// Control characters, line ends among them, and what turns the writing direction or takes no room.
fn obeyed(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

/// Whether a terminal prints it as it stands.
pub fn is_plain(text: &str) -> bool {
    !text.chars().any(obeyed)
}

/// The text, with what a terminal would obey escaped.
pub fn plain(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        if obeyed(c) { shown.extend(c.escape_default()) } else { shown.push(c) }
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_a_terminal_obeys_gets_through() {
        for (given, shown) in [
            ("plain text", "plain text"),
            ("naïve 日本", "naïve 日本"),
            ("a\nb\tc", r"a\nb\tc"),
            ("\u{1b}]0;title\u{7}", r"\u{1b}]0;title\u{7}"),
            ("\u{9b}2J", r"\u{9b}2J"),
            ("\u{202e}drowssap", r"\u{202e}drowssap"),
            ("\u{2028}", r"\u{2028}"),
            ("", ""),
        ] {
            assert_eq!((plain(given).as_str(), is_plain(given)), (shown, given == shown));
        }
    }
}
