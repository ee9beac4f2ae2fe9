//! `keyfob audit`: one function per verb.

use serde_json::json;

use super::{
    args::AuditList,
    failure::{Done, Failure},
    output::Out,
    remote::Remote,
    views,
};
use crate::wire::v1;

pub async fn list(remote: &Remote, out: &Out, args: AuditList) -> Done {
    let mut left = if args.all { usize::MAX } else { args.limit as usize };
    let mut entries = Vec::new();
    let mut page_token = String::new();
    while left > 0 {
        let request = v1::ListAuditEntriesRequest {
            actor: args.actor.clone().unwrap_or_default(),
            action: args.action.clone().unwrap_or_default(),
            target: args.target.clone().unwrap_or_default(),
            descending: !args.oldest_first,
            page_size: left.min(1000) as u32,
            page_token,
        };
        let mut page = remote.audit().list_audit_entries(request).await?.into_inner();
        page.entries.truncate(left);
        left -= page.entries.len();
        entries.append(&mut page.entries);
        page_token = page.next_page_token;
        if page_token.is_empty() {
            break;
        }
    }
    if out.is_json() {
        return out.json(&entries.iter().map(views::audit_entry).collect::<Vec<_>>());
    }
    let rows: Vec<_> = entries
        .iter()
        .map(|e| {
            let mut detail: Vec<_> = e.detail.iter().map(|(key, value)| format!("{key}={value}")).collect();
            detail.sort();
            [
                e.sequence.to_string(),
                views::short_time(&e.at),
                e.actor.clone(),
                e.action.clone(),
                e.target.clone(),
                e.outcome.clone(),
                detail.join(" "),
            ]
        })
        .collect();
    out.table(["#", "AT", "ACTOR", "ACTION", "TARGET", "OUTCOME", "DETAIL"], &rows)
}

/// Fails where the chain is broken, after having said all that is known.
pub async fn verify(remote: &Remote, out: &Out) -> Done {
    let found = remote.audit().verify_audit(v1::VerifyAuditRequest {}).await?.into_inner();
    let head = views::hex(&found.head);
    if out.is_json() {
        out.json(&json!({
            "intact": found.intact,
            "entries": found.entries,
            "first_broken": (!found.intact).then_some(found.first_broken),
            "problem": (!found.intact).then_some(&found.problem),
            "head": head,
        }))?;
    } else if found.intact {
        out.line(&format!("{} entries, the chain is whole; head {head}", found.entries))?;
    }
    if found.intact {
        return Ok(());
    }
    Err(Failure::refused(
        "audit_broken",
        format!(
            "the audit chain is broken: entry {} {}; keep a copy of the database as it is, and compare with a backup",
            found.first_broken, found.problem
        ),
    ))
}
