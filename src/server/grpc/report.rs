//! What an agent reports: how it is, and what was masked in its session's logs.

use super::{bundle::own_session, convert::detail};
use crate::{
    domain::{
        identity::Caller,
        name::Id,
        policy::{Action, Target, decide},
        report::{Leak, Line, MAX_LEAKS, Report, is_news},
    },
    server::{
        error::Error,
        store::{Credential, PhaseChange, SessionRow, Tx, View},
    },
    wire::v1::{self, AgentStatus, ReportRequest},
};

/// Whose agent it is, is the caller's certificate's to say; then what it says is looked at. All of it is kept or nothing.
pub fn keep(tx: &Tx<'_>, credential: &Credential, request: ReportRequest) -> Result<(), Error> {
    let caller = tx.caller(credential)?;
    let org = caller.org().clone();
    let session = own_session(tx, &org, &caller)?;
    let target = session.as_ref().map_or(Target::Organization, SessionRow::target);
    let view = tx.view(&org, &decide(&caller, Action::SessionReport, &target), "session")?;
    let session = session.ok_or_else(|| Error::not_found("session"))?;
    let leaks = parse_leaks(&request.leaks)?;
    // Leaks alone are a report; nothing at all is a status without a phase.
    match request.status {
        None if !leaks.is_empty() => {}
        status => keep_status(tx, &caller, &view, &session, &parse(status.unwrap_or_default(), &session.id)?)?,
    }
    leaks.iter().filter(|leak| !leak.is_canary()).try_for_each(|leak| keep_leak(tx, &caller, &view, &session, leak))
}

fn keep_status(tx: &Tx<'_>, caller: &Caller, view: &View, session: &SessionRow, report: &Report) -> Result<(), Error> {
    let PhaseChange::Recorded { last } = session.phase_change(report.phase, tx.now) else {
        return tx.repeat_report(view, session, report);
    };
    let mut facts = detail([("phase", report.phase.as_str().to_owned())]);
    if last {
        facts.insert("further", "not recorded within the hour".into());
    }
    let grant = tx.admit(caller.org(), decide(caller, Action::SessionReport, &session.target()), "session", facts)?;
    tx.change_phase(&grant, session, report)
}

fn keep_leak(tx: &Tx<'_>, caller: &Caller, view: &View, session: &SessionRow, leak: &Leak) -> Result<(), Error> {
    let Some(place) = tx.leak_place(view, &session.id, leak)? else { return Ok(()) };
    let count = place.count.saturating_add(leak.count).min(i64::MAX as u64);
    if !is_news(place.count, count) {
        return tx.repeat_leak(view, &session.id, &place, count);
    }
    let mut facts = detail([
        ("secret", place.secret.to_string()),
        ("version", place.version.clone()),
        ("unit", place.unit.clone()),
        ("form", place.form.clone()),
        ("count", count.to_string()),
    ]);
    // A private one's name is its owner's business.
    if let Some(row) = tx.secret(caller.org(), &place.secret)?.filter(|row| row.is_shared()) {
        facts.insert("name", row.name);
    }
    let grant = tx.admit(caller.org(), decide(caller, Action::SecretLeak, &session.target()), "session", facts)?;
    tx.record_leak(&grant, &session.id, &place, count)
}

fn parse_leaks(leaks: &[v1::Leak]) -> Result<Vec<Leak>, Error> {
    if leaks.len() > MAX_LEAKS {
        return Err(Error::Invalid(format!("{} leaks; {MAX_LEAKS} is the most for one report", leaks.len())));
    }
    leaks
        .iter()
        .map(|l| Leak::parse(&l.variable, &l.version, &l.form, &l.unit, l.count))
        .collect::<Result<_, _>>()
        .map_err(|e| Error::Invalid(e.to_string()))
}

fn parse(status: AgentStatus, own: &Id) -> Result<Report, Error> {
    fn line<const MAX: usize>(what: &str, text: &str) -> Result<Line<MAX>, Error> {
        Line::parse(text).map_err(|e| Error::Invalid(format!("{what} is {e}")))
    }
    if !(status.session.is_empty() || status.session == own.as_str()) {
        return Err(Error::Invalid("the report is on another session than the caller's own".into()));
    }
    let bundle = match status.bundle_version.as_str() {
        "" => None,
        version => Some(Id::parse(version).map_err(|e| Error::Invalid(format!("bundle_version: {e}")))?),
    };
    Ok(Report {
        phase: status
            .phase()
            .to_domain()
            .ok_or_else(|| Error::Invalid("the report says no phase that is known".into()))?,
        bundle,
        memory_rung: line("memory_rung", &status.memory_rung)?,
        files_rung: line("files_rung", &status.files_rung)?,
        redaction: line("redaction", &status.redaction)?,
        last_error: line("last_error", &status.last_error)?,
        last_error_names: status.last_error_names,
        agent_version: line("agent_version", &status.agent_version)?,
    })
}
