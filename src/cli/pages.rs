//! What is generated from the arguments' own description: completions and manual pages.

use std::path::Path;

use clap::CommandFactory;
use clap_complete::Shell;

use super::{
    args::Cli,
    failure::{Done, Failure},
    output::Out,
};

pub fn completions(out: &Out, shell: Shell) -> Done {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "keyfob", &mut script);
    out.raw(&script)
}

/// One page for the program, one for each noun and verb.
pub fn man(dir: &Path) -> Done {
    std::fs::create_dir_all(dir)
        .and_then(|()| clap_mangen::generate_to(Cli::command(), dir))
        .map_err(|e| Failure::local(format!("{}: {e}", dir.display())))
}
