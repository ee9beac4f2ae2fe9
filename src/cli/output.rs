//! All that is printed goes through here: results to stdout as a table or as JSON, everything else to stderr.
//!
//! What people wrote (descriptions, values of environment variables) may hold anything a terminal would obey; in tables and
//! messages it is escaped. JSON carries it as it is.

use std::io::{self, IsTerminal, Write};

use serde::Serialize;

use super::{
    args::Format,
    failure::{Done, Failure, writing},
};
use crate::domain::plain::plain;

pub struct Out {
    json: bool,
    color: bool,
}

impl Out {
    pub fn new(format: Format) -> Self {
        let plain_wanted = std::env::var_os("NO_COLOR").is_some_and(|v| !v.is_empty())
            || std::env::var_os("TERM").is_none_or(|t| t == "dumb");
        Self { json: format == Format::Json, color: io::stdout().is_terminal() && !plain_wanted }
    }

    pub fn is_json(&self) -> bool {
        self.json
    }

    /// A result for scripts.
    pub fn json(&self, result: &impl Serialize) -> Done {
        let mut text = serde_json::to_vec_pretty(result).map_err(|e| Failure::local(format!("writing JSON: {e}")))?;
        text.push(b'\n');
        self.raw(&text)
    }

    /// One of many results for scripts, on a line of its own.
    pub fn json_line(&self, result: &impl Serialize) -> Done {
        let mut text = serde_json::to_vec(result).map_err(|e| Failure::local(format!("writing JSON: {e}")))?;
        text.push(b'\n');
        self.raw(&text)
    }

    /// Whether what is shown may be redrawn.
    pub fn is_live(&self) -> bool {
        !self.json && io::stdout().is_terminal() && std::env::var_os("TERM").is_some_and(|t| t != "dumb")
    }

    /// A result for people: columns under their heads.
    pub fn table<const N: usize>(&self, heads: [&str; N], rows: &[[String; N]]) -> Done {
        self.raw(self.to_table(heads, rows).as_bytes())
    }

    pub fn to_table<const N: usize>(&self, heads: [&str; N], rows: &[[String; N]]) -> String {
        columns(&heads, rows, |head| if self.color { format!("\x1b[1m{head}\x1b[0m") } else { head.to_owned() })
    }

    /// A result for people: one thing's properties. Those that are empty are left out.
    pub fn fields(&self, fields: &[(&str, String)]) -> Done {
        self.raw(self.to_fields(fields).as_bytes())
    }

    pub fn to_fields(&self, fields: &[(&str, String)]) -> String {
        let widest = fields.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
        let mut text = String::new();
        for (name, value) in fields.iter().filter(|(_, value)| !value.is_empty()) {
            text.push_str(&format!("{name:widest$}  {}\n", plain(value)));
        }
        text
    }

    /// One line of a result.
    pub fn line(&self, text: &str) -> Done {
        self.raw(format!("{text}\n").as_bytes())
    }

    /// Bytes of a result as they are: completions.
    pub fn raw(&self, bytes: &[u8]) -> Done {
        let mut stdout = io::stdout().lock();
        stdout.write_all(bytes).and_then(|()| stdout.flush()).map_err(writing)
    }

    /// Something that helps a person; scripts don't see it.
    pub fn note(&self, text: &str) {
        if !self.json {
            tell(&format!("{text}\n"));
        }
    }

    pub fn warn(&self, text: &str) {
        if !self.json {
            tell(&format!("keyfob: warning: {}\n", plain(text)));
        }
    }

    /// The end of a command that failed.
    pub fn failure(&self, failure: &Failure) {
        match failure {
            Failure::Silent => {}
            _ if self.json => {
                tell(&format!(
                    "{}\n",
                    serde_json::json!({"error": {"code": failure.code(), "message": failure.to_string()}})
                ));
            }
            _ => tell(&format!("keyfob: {failure}\n")),
        }
    }
}

/// To stderr; where that is gone, there is nobody left to tell.
pub fn tell(text: &str) {
    let _ = io::stderr().lock().write_all(text.as_bytes());
}

fn columns<const N: usize>(heads: &[&str; N], rows: &[[String; N]], paint: impl Fn(&str) -> String) -> String {
    let rows: Vec<[String; N]> = rows.iter().map(|row| row.clone().map(|cell| plain(&cell))).collect();
    let width = |at: usize| rows.iter().map(|r| r[at].chars().count()).chain([heads[at].len()]).max().unwrap_or(0);
    let widths: [usize; N] = std::array::from_fn(width);
    let mut text = String::new();
    let mut line = |cells: &[&str], paint: &dyn Fn(&str) -> String| {
        let last = cells.iter().rposition(|c| !c.is_empty()).unwrap_or(0);
        for (at, cell) in cells.iter().enumerate().take(last + 1) {
            text.push_str(&paint(cell));
            if at < last {
                text.extend(std::iter::repeat_n(' ', widths[at] - cell.chars().count() + 2));
            }
        }
        text.push('\n');
    };
    line(heads, &paint);
    for row in &rows {
        line(&row.each_ref().map(String::as_str), &|cell| cell.to_owned());
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up_and_have_no_blank_ends() {
        let rows = [["db_url".into(), "DB_URL".into(), String::new()], ["é".into(), "E\n".into(), "x".into()]];
        let text = columns(&["NAME", "VARIABLE", "NOTE"], &rows, str::to_owned);
        assert_eq!(text, "NAME    VARIABLE  NOTE\ndb_url  DB_URL\né       E\\n       x\n");
    }
}
