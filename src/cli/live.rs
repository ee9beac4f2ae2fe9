//! What changes while it is looked at: redrawn in its place on a terminal, one after the other where there is none.

use console::Term;

use super::{failure::Done, output::Out};

pub struct Live<'a> {
    out: &'a Out,
    term: Option<Term>,
    /// Lines that stand on the terminal now.
    drawn: usize,
}

impl<'a> Live<'a> {
    pub fn new(out: &'a Out) -> Self {
        Self { out, term: out.is_live().then(Term::stdout), drawn: 0 }
    }

    pub fn is_terminal(&self) -> bool {
        self.term.is_some()
    }

    /// Lines that there is room for; everything is where there is no terminal.
    pub fn room(&self) -> usize {
        self.term.as_ref().map_or(usize::MAX, |term| usize::from(term.size().0).saturating_sub(1).max(4))
    }

    pub fn show(&mut self, text: &str) -> Done {
        let Some(term) = &self.term else { return self.out.raw(format!("{text}\n").as_bytes()) };
        let (room, width) = (self.room(), usize::from(term.size().1).max(20));
        // A line that the terminal would break counts twice.
        let lines: Vec<_> = text.lines().take(room).map(|line| console::truncate_str(line, width, "…")).collect();
        let mut drawn = String::new();
        if self.drawn > 0 {
            drawn = format!("\x1b[{}A\r\x1b[J", self.drawn);
        }
        for line in &lines {
            drawn.push_str(line);
            drawn.push('\n');
        }
        self.drawn = lines.len();
        self.out.raw(drawn.as_bytes())
    }
}
