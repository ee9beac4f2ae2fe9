//! Values that nobody would want to meet in a shell, the same ones every time.

use keyfob::domain::value::{MAX_BUNDLE, MAX_VALUE};

pub const COUNT: usize = 10_000;

/// Pieces that mean something to at least one of the readers. Those that run something write a file where they run.
#[rustfmt::skip]
const PIECES: &[&str] = &[
    "'", "''", "'''", "\"", "\"\"", "'\"'\"'", "'\\''", "\\", "\\\\", "\\'", "\\\"", "\\n", "\\\n", "\\x41",
    "\\u0041", "\\0", "\\c", "`", "$", "$$", "$(", "${", "$((", "$'", "$\"", ")", "}", "((", "[[", "]", "{a,b}", "{",
    "*", "?", "[a-z]", "~", "~root", "!", "!!", "!$", "^a^b", "#", " #", "\t#", ";", ";;", "&", "&&", "|", "||", "<",
    ">", "<<E\n", "<(", "=", "==", "=ls", ":", "%", "%s", "%n", "%%", "%i", "@", ",", "-", "--", "-n", "+", "/", ".",
    "..", "\n", "\n\n", "\r", "\r\n", "\t", " ", "  ", "\u{b}", "\u{c}", "\u{7}", "\u{8}", "\u{1b}[31m",
    "\u{1b}]0;t\u{7}", "\u{1}", "\u{7f}", "\u{80}", "\u{85}", "\u{a0}", "\u{2028}", "\u{2029}", "\u{200b}",
    "\u{202e}", "\u{feff}", "\u{fffd}", "\u{e000}", "\u{f600}", "\u{10fffd}", "\u{e9}", "e\u{301}", "\u{1f511}",
    "\u{5b57}", "a", "B", "7", "word", "two words", "$HOME", "${HOME}", "$1", "$@", "$?", "$PATH", "%HOME%",
    "export ", "set ", "end", "done", "fi", "exit", "return", "\nexit 1\n", "\nreturn 1\n", "\nV00000=taken\n",
    "'\nexport V00001='taken", "\nset -gx V00002 taken\n", "EOF", "\nEOF\n", "$(touch ran1)", "`touch ran2`",
    "${x:-$(touch ran3)}", "$((x[$(touch ran4)]))", "'; touch ran5; '", "\"; touch ran6; \"", "\ntouch ran7\n",
    "; touch ran8", "| touch ran9", "&& touch ran10", "\\'; touch ran11; #", "'$(touch ran12)'", "\"$(touch ran13)\"",
    "(touch ran14)", "x[$(touch ran15)]", "() { :; }; touch ran16", "> ran17", "=(touch ran18)", "<(touch ran19)",
    "'\"'\"'; touch ran20; '",
];

/// [`COUNT`] values: every ASCII byte in every place, the longest ones, and generated ones for the rest.
pub fn hostile(seed: u64) -> Vec<String> {
    let mut values: Vec<String> = Vec::with_capacity(COUNT);
    for byte in 1..=127u8 {
        let c = byte as char;
        values.extend([
            format!("{c}"),
            format!("{c}{c}"),
            format!("{c}a"),
            format!("a{c}"),
            format!("a{c}b"),
            format!("'{c}'"),
            format!("\\{c}"),
        ]);
    }
    for piece in PIECES {
        values.extend([
            piece.to_string(),
            format!("{piece}{piece}"),
            format!(" {piece} "),
            format!("'{piece}"),
            format!("{piece}\\"),
        ]);
        values.push(longest(piece));
    }
    let mut random = Random(seed);
    while values.len() < COUNT {
        let pieces = 1 + random.below(20);
        let value: String = (0..pieces).map(|_| PIECES[random.below(PIECES.len())]).collect();
        // Now and then as long as a value can be.
        values.push(if random.below(500) == 0 { longest(&value) } else { value });
    }
    values
}

/// A bundle that grows the most when it is written: nothing but quotes, as many as a bundle can hold.
pub fn largest_bundle() -> Vec<String> {
    vec![longest("'"); MAX_BUNDLE / MAX_VALUE]
}

/// The piece over and over, to exactly the longest value.
fn longest(piece: &str) -> String {
    let mut value = piece.repeat(MAX_VALUE / piece.len());
    while value.len() < MAX_VALUE {
        value.push('\'');
    }
    value
}

/// SplitMix64 (Steele, Lea and Flood, 2014): the same numbers on every machine.
struct Random(u64);

impl Random {
    fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((mixed ^ (mixed >> 31)) % end as u64) as usize
    }
}
