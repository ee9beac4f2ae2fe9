//! `keyfob-agent redact`: standard input to standard output without the session's values. A plain filter: it says nothing, and
//! ends with its input, or when nobody reads its output any more.

use std::{
    fs::File,
    io::{self, Read, Seek},
    path::Path,
    sync::Arc,
};

use rustix::{pipe::fcntl_setpipe_size, stdio};

use super::{
    hits::Teller,
    local,
    pump::{End, Filter, Pump},
    runtime_dir::FINGERPRINTS,
};
use crate::{
    domain::redaction::{Mode, Redaction, Redactor},
    harden,
    memory::{Rung, SecretBuf},
};

const BUFFER: usize = 256 * 1024;

pub fn redact(dir: &Path, mode: Mode) -> Result<(), String> {
    let _ = harden::hide();
    let redactor = redactor(&mut fingerprints(dir)?)?;
    let teller = Teller::new("redact", local::path(dir));
    let (source, sink) = (stdio::stdin(), stdio::stdout());
    for pipe in [source, sink] {
        let _ = fcntl_setpipe_size(pipe, BUFFER); // no pipe, or more than this user may have
    }
    let filter = Filter::new(&redactor, None, mode);
    let end = Pump { source, sink, until: None, filter, teller: &teller }.run(BUFFER);
    teller.finish();
    match end {
        End::Failed(error) => Err(format!("passing it on: {error}")),
        End::Eof | End::Told | End::SinkGone => Ok(()),
    }
}

pub fn fingerprints(dir: &Path) -> Result<File, String> {
    let path = dir.join(FINGERPRINTS);
    File::open(&path).map_err(|e| {
        format!("{}: {e}, so nothing can be redacted: systemctl status keyfob-agent; its readers are root and the session's group", path.display())
    })
}

pub fn redactor(fingerprints: &mut File) -> Result<Arc<Redactor>, String> {
    let mut bytes = Vec::new();
    let read = fingerprints.rewind().and_then(|()| fingerprints.read_to_end(&mut bytes));
    read.map_err(|e| format!("the fingerprints: {e}"))?;
    let redaction = Redaction::decode(&bytes)
        .map_err(|e| format!("the fingerprints: {e}, so nothing can be redacted: systemctl restart keyfob-agent"))?;
    tables(&redaction).map_err(|e| format!("memory for the fingerprints: {e}"))
}

/// In memory that is neither swapped nor dumped, where this process may have as much of it.
pub fn tables(redaction: &Redaction) -> io::Result<Arc<Redactor>> {
    redaction.redactor_within(|size| SecretBuf::new(size, Rung::None)).map(Arc::new)
}
