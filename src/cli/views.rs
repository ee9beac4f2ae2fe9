//! The wire's messages as people and scripts read them. There is no value in any of these messages to show.

use serde_json::{Value as Json, json};
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

use crate::{
    domain::boot::{BootPolicy, OnFailure},
    wire::v1,
};

/// RFC 3339, UTC, as exact as it came.
pub fn time(at: &Option<prost_types::Timestamp>) -> Option<String> {
    let at = at.as_ref()?;
    let moment =
        OffsetDateTime::from_unix_timestamp(at.seconds).ok()?.replace_nanosecond(u32::try_from(at.nanos).ok()?).ok()?;
    moment.format(&Rfc3339).ok()
}

/// RFC 3339, UTC, to the second; empty where there is none.
pub fn short_time(at: &Option<prost_types::Timestamp>) -> String {
    time(&at.map(|at| prost_types::Timestamp { nanos: 0, ..at })).unwrap_or_default()
}

/// How long ago: `4s`, `12m`, `3h`, `5d`; none where there is no time, or it is to come.
pub fn age(at: &Option<prost_types::Timestamp>) -> Option<String> {
    let seconds = OffsetDateTime::now_utc().unix_timestamp() - at.as_ref()?.seconds;
    Some(match seconds {
        ..0 => return None,
        0..=119 => format!("{seconds}s"),
        120..=7_199 => format!("{}m", seconds / 60),
        7_200..=172_799 => format!("{}h", seconds / 3_600),
        _ => format!("{}d", seconds / 86_400),
    })
}

/// The beginning of an opaque version: enough to tell one from another in a list.
pub fn short(version: &str) -> String {
    version.chars().take(8).collect()
}

pub fn yes_no(yes: bool) -> String {
    if yes { "yes" } else { "no" }.to_owned()
}

pub fn visibility(s: v1::Visibility) -> &'static str {
    match s {
        v1::Visibility::Private => "private",
        v1::Visibility::Shared => "shared",
        v1::Visibility::Unspecified => "unknown",
    }
}

fn delivery(d: v1::Delivery) -> &'static str {
    crate::domain::value::Delivery::from(d).as_str()
}

/// What a listing says beside a secret.
pub fn precedence_note(p: v1::Precedence) -> &'static str {
    match p {
        v1::Precedence::Unspecified => "",
        v1::Precedence::OverridesShared => "overrides shared",
        v1::Precedence::OverriddenByPrivate => "overridden by your private secret",
    }
}

fn some(text: &str) -> Option<&str> {
    (!text.is_empty()).then_some(text)
}

pub fn secret(s: &v1::Secret) -> Json {
    json!({
        "id": s.id,
        "name": s.name,
        "variable": s.variable,
        "variable_overridden": s.variable_overridden,
        "visibility": visibility(s.visibility()),
        "owner": some(&s.owner),
        "auto_install": s.auto_install,
        "delivery": delivery(s.delivery()),
        "version": s.version,
        "description": s.description,
        "created_by": s.created_by,
        "created_at": time(&s.created_at),
        "updated_at": time(&s.updated_at),
        "rotated_at": time(&s.rotated_at),
        "precedence": match s.precedence() {
            v1::Precedence::Unspecified => None,
            v1::Precedence::OverridesShared => Some("overrides_shared"),
            v1::Precedence::OverriddenByPrivate => Some("overridden_by_private"),
        },
        "strength": strength(s.strength()),
    })
}

/// How well it can be redacted from logs; null where nobody judged it.
fn strength(s: v1::RedactionStrength) -> Option<&'static str> {
    match s {
        v1::RedactionStrength::Unspecified => None,
        v1::RedactionStrength::NotRedactable => Some("not_redactable"),
        v1::RedactionStrength::Weak => Some("weak"),
        v1::RedactionStrength::Strong => Some("strong"),
    }
}

pub const SECRET_HEADS: [&str; 7] = ["NAME", "VARIABLE", "VISIBILITY", "AUTO", "VERSION", "UPDATED", "NOTE"];

pub fn secret_row(s: &v1::Secret) -> [String; 7] {
    let mut notes = vec![precedence_note(s.precedence())];
    if s.delivery() == v1::Delivery::File {
        notes.push("as a file");
    }
    if s.strength() == v1::RedactionStrength::NotRedactable {
        notes.push("not redactable");
    }
    notes.retain(|n| !n.is_empty());
    [
        s.name.clone(),
        s.variable.clone(),
        visibility(s.visibility()).into(),
        yes_no(s.auto_install),
        short(&s.version),
        short_time(&s.updated_at),
        notes.join(", "),
    ]
}

pub fn secret_fields(s: &v1::Secret) -> Vec<(&'static str, String)> {
    vec![
        ("name", s.name.clone()),
        (
            "variable",
            if s.variable_overridden { format!("{} (chosen by hand)", s.variable) } else { s.variable.clone() },
        ),
        ("visibility", visibility(s.visibility()).into()),
        ("owner", s.owner.clone()),
        ("auto-install", yes_no(s.auto_install)),
        ("delivery", delivery(s.delivery()).into()),
        ("version", s.version.clone()),
        ("description", s.description.clone()),
        ("created", by_at(&s.created_by, &s.created_at)),
        ("updated", short_time(&s.updated_at)),
        ("rotated", short_time(&s.rotated_at)),
        ("precedence", precedence_note(s.precedence()).into()),
        (
            "redaction",
            match s.strength() {
                v1::RedactionStrength::Unspecified => "",
                v1::RedactionStrength::NotRedactable => {
                    "not redactable: too short or too common to be masked in what sessions print"
                }
                v1::RedactionStrength::Weak => "weak: masked, but a dump of a redactor's memory could give it away",
                v1::RedactionStrength::Strong => "strong",
            }
            .into(),
        ),
        ("id", s.id.clone()),
    ]
}

/// "2026-01-31T10:00:00Z by user/alice"
pub fn by_at(by: &str, at: &Option<prost_types::Timestamp>) -> String {
    match (short_time(at), by) {
        (at, "") => at,
        (at, by) => format!("{at} by {by}"),
    }
}

pub fn secret_version(v: &v1::SecretVersion) -> Json {
    json!({
        "version": v.version,
        "created_by": v.created_by,
        "created_at": time(&v.created_at),
        "replaced_at": time(&v.replaced_at),
        "strength": strength(v.strength()),
    })
}

pub fn delivered(d: &v1::Delivered) -> Json {
    json!({
        "session": d.session,
        "user": some(&d.user),
        "version": d.version,
        "environment": some(&d.environment),
        "delivered_at": time(&d.delivered_at),
        "installed_at": time(&d.installed_at),
        "in_files": d.in_files,
        "live": d.live,
    })
}

pub const DELIVERY_HEADS: [&str; 8] =
    ["SESSION", "USER", "ENVIRONMENT", "VERSION", "DELIVERED", "INSTALLED", "IN FILES", "LIVE"];

pub fn delivery_row(d: &v1::Delivered) -> [String; 8] {
    [
        d.session.clone(),
        d.user.clone(),
        d.environment.clone(),
        short(&d.version),
        short_time(&d.delivered_at),
        short_time(&d.installed_at),
        yes_no(d.in_files),
        yes_no(d.live),
    ]
}

pub fn receipts(r: &v1::Receipts) -> Json {
    json!({
        "on_current": r.on_current,
        "may_hold_older": r.may_hold_older,
        "safe_to_revoke": r.safe_to_revoke,
    })
}

/// In a sentence.
pub fn receipts_line(r: &v1::Receipts) -> String {
    let old = match r.may_hold_older {
        0 => "no live session was given an older one, so old keys are safe to revoke".to_owned(),
        n => format!(
            "{n} live session(s) were given an older one and may hold it in memory, so old keys are still in use"
        ),
    };
    format!("{} live session(s) have the current version in their files; {old}", r.on_current)
}

pub fn rollout_state(s: v1::RolloutState) -> &'static str {
    s.to_domain().map_or("unknown", |state| state.as_str())
}

/// What a rollout pushes, in words.
pub fn reach(r: &v1::Rollout) -> String {
    match r.reach() {
        v1::RolloutReach::Unspecified => "unknown".into(),
        v1::RolloutReach::Secret if r.name.is_empty() => "a secret".into(),
        v1::RolloutReach::Secret => format!("secret {}", r.name),
        v1::RolloutReach::Environment => format!("environment {}", r.target),
        v1::RolloutReach::Session => format!("session {}", r.target),
        v1::RolloutReach::All => "everything".into(),
    }
}

/// `12 installed, 1 failed`
pub fn counts(r: &v1::Rollout) -> String {
    let told: Vec<_> = r.counts.iter().map(|c| format!("{} {}", c.sessions, rollout_state(c.state()))).collect();
    if told.is_empty() { "none concerned".into() } else { told.join(", ") }
}

pub fn rollout(r: &v1::Rollout) -> Json {
    let counts: serde_json::Map<String, Json> =
        r.counts.iter().map(|c| (rollout_state(c.state()).to_owned(), c.sessions.into())).collect();
    json!({
        "id": r.id,
        "reach": match r.reach() {
            v1::RolloutReach::Unspecified => "unknown",
            v1::RolloutReach::Secret => "secret",
            v1::RolloutReach::Environment => "environment",
            v1::RolloutReach::Session => "session",
            v1::RolloutReach::All => "all",
        },
        "target": some(&r.target),
        "name": some(&r.name),
        "created_by": r.created_by,
        "created_at": time(&r.created_at),
        "ended_at": time(&r.ended_at),
        "max_in_flight": (r.max_in_flight != 0).then_some(r.max_in_flight),
        "patience_seconds": r.patience_seconds,
        "sessions": counts,
    })
}

pub fn rollout_fields(r: &v1::Rollout) -> Vec<(&'static str, String)> {
    vec![
        ("rollout", r.id.clone()),
        ("pushes", reach(r)),
        ("created", by_at(&r.created_by, &r.created_at)),
        ("ended", short_time(&r.ended_at)),
        ("at once", if r.max_in_flight == 0 { "all".into() } else { r.max_in_flight.to_string() }),
        ("patience", format!("{} s", r.patience_seconds)),
        ("sessions", counts(r)),
    ]
}

pub fn rollout_target(t: &v1::RolloutTarget) -> Json {
    json!({
        "session": t.session,
        "user": some(&t.user),
        "environment": t.environment,
        "state": rollout_state(t.state()),
        "reason": some(&t.reason),
        "reason_hidden": t.reason_hidden,
        "changed_at": time(&t.changed_at),
    })
}

pub const TARGET_HEADS: [&str; 6] = ["SESSION", "USER", "ENVIRONMENT", "STATE", "SINCE", "REASON"];

pub fn target_row(t: &v1::RolloutTarget) -> [String; 6] {
    let reason =
        if t.reason_hidden { "(may name a secret: the session's user sees it)".to_owned() } else { t.reason.clone() };
    [
        t.session.clone(),
        t.user.clone(),
        t.environment.clone(),
        rollout_state(t.state()).into(),
        short_time(&t.changed_at),
        reason,
    ]
}

pub fn preview_item(i: &v1::PreviewItem) -> Json {
    json!({
        "variable": i.variable,
        "origin": i.origin().word(),
        "name": i.name,
        "version": i.version,
        "delivery": delivery(i.delivery()),
        "installed": i.installed,
        "overrides": i.overrides,
        "left_out_reason": some(&i.left_out_reason),
    })
}

pub fn environment(e: &v1::Environment) -> Json {
    let variables: serde_json::Map<String, Json> =
        e.variables.iter().map(|v| (v.variable.clone(), v.value.clone().into())).collect();
    json!({
        "name": e.name,
        "version": e.version,
        "variables": variables,
        "boot": boot(&e.boot.unwrap_or_default()),
        "description": e.description,
        "created_at": time(&e.created_at),
        "updated_at": time(&e.updated_at),
        "updated_by": e.updated_by,
    })
}

pub fn environment_version(v: &v1::EnvironmentVersion) -> Json {
    let changes: Vec<Json> =
        v.changes.iter().map(|c| json!({"variable": c.variable, "before": c.before, "after": c.after})).collect();
    json!({
        "version": v.version,
        "created_by": v.created_by,
        "created_at": time(&v.created_at),
        "restored_from": (v.restored_from != 0).then_some(v.restored_from),
        "changes": changes,
        "boot": v.boot.map(|b| json!({
            "before": boot(&b.before.unwrap_or_default()),
            "after": boot(&b.after.unwrap_or_default()),
        })),
    })
}

fn on_failure(b: &v1::BootPolicy) -> Option<&'static str> {
    match b.on_failure() {
        v1::OnFailure::Unspecified => None,
        v1::OnFailure::Block => Some(OnFailure::Block.as_str()),
        v1::OnFailure::Continue => Some(OnFailure::Continue.as_str()),
    }
}

/// What is unsaid is null.
fn boot(b: &v1::BootPolicy) -> Json {
    json!({
        "deadline_seconds": (b.deadline_seconds != 0).then_some(b.deadline_seconds),
        "on_failure": on_failure(b),
    })
}

/// What is unsaid is shown as what it comes to.
pub fn boot_fields(b: &v1::BootPolicy) -> [(&'static str, String); 2] {
    let deadline = match b.deadline_seconds {
        0 => format!("{} s (default)", BootPolicy::DEFAULT_DEADLINE),
        seconds => format!("{seconds} s"),
    };
    let on_failure = on_failure(b)
        .map_or_else(|| format!("{} (default)", BootPolicy::default().on_failure().as_str()), str::to_owned);
    [("boot.deadline", deadline), ("boot.on_failure", on_failure)]
}

/// As a history tells of variables. No variable has a dot.
pub fn boot_changes(v: &v1::EnvironmentVersion) -> Vec<v1::VariableChange> {
    let Some(v1::BootPolicyChange { before, after }) = v.boot else { return vec![] };
    let (before, after) = (before.unwrap_or_default(), after.unwrap_or_default());
    let deadline = |b: &v1::BootPolicy| (b.deadline_seconds != 0).then(|| b.deadline_seconds.to_string());
    let on_failure = |b: &v1::BootPolicy| on_failure(b).map(str::to_owned);
    [
        ("boot.deadline", deadline(&before), deadline(&after)),
        ("boot.on_failure", on_failure(&before), on_failure(&after)),
    ]
    .into_iter()
    .filter(|(_, before, after)| before != after)
    .map(|(what, before, after)| v1::VariableChange { variable: what.into(), before, after })
    .collect()
}

pub fn session_state(s: v1::SessionState) -> &'static str {
    match s {
        v1::SessionState::Unspecified => "unknown",
        v1::SessionState::Pending => "pending",
        v1::SessionState::Active => "active",
        v1::SessionState::Ended => "ended",
        v1::SessionState::Revoked => "revoked",
        v1::SessionState::Expired => "expired",
    }
}

pub fn session(s: &v1::Session) -> Json {
    json!({
        "id": s.id,
        "user": some(&s.user),
        "environment": s.environment,
        "environment_version": s.environment_version,
        "state": session_state(s.state()),
        "created_by": s.created_by,
        "created_at": time(&s.created_at),
        "enrolled_at": time(&s.enrolled_at),
        "fetched_at": time(&s.fetched_at),
        "bundle_version": some(&s.bundle_version),
        "ended_at": time(&s.ended_at),
        "agent": s.agent.as_ref().map(|a| json!({
            "phase": phase(a.phase()),
            "bundle_version": some(&a.bundle_version),
            "memory": some(&a.memory_rung),
            "files": some(&a.files_rung),
            "redaction": some(&a.redaction),
            "last_error": some(&a.last_error),
            "last_error_hidden": error_hidden(a),
            "version": some(&a.agent_version),
            "reported_at": time(&s.reported_at),
        })),
    })
}

pub fn session_variable(v: &v1::SessionVariable) -> Json {
    json!({
        "variable": v.variable,
        "origin": v.origin().word(),
        "name": v.name,
        "version": v.version,
        "outdated": v.outdated,
    })
}

pub fn phase(p: v1::Phase) -> &'static str {
    p.to_domain().map_or("unknown", |phase| phase.as_str())
}

/// The beginning of what its agent says of redaction, loud where that is bad news.
pub fn redaction(s: &v1::Session) -> String {
    let said = s.agent.as_ref().map_or("", |a| &a.redaction);
    match said.split([':', ' ']).next().unwrap_or_default() {
        "" => "-".into(),
        _ if redaction_failed(s) => "FAILED".into(),
        word => word.into(),
    }
}

pub fn redaction_failed(s: &v1::Session) -> bool {
    s.agent.as_ref().is_some_and(|a| a.redaction.starts_with("failed"))
}

/// Its agent reported an error that may name a secret, and whoever asks may not know of it.
fn error_hidden(a: &v1::AgentStatus) -> bool {
    a.last_error_names && a.last_error.is_empty()
}

/// What its agent reported; empty before the first report.
pub fn agent_fields(s: &v1::Session) -> [(&'static str, String); 8] {
    let a = s.agent.clone().unwrap_or_default();
    let error =
        if error_hidden(&a) { "(may name a secret: the session's user sees it)".to_owned() } else { a.last_error };
    [
        ("phase", s.agent.as_ref().map_or("", |a| phase(a.phase())).into()),
        ("installed", a.bundle_version),
        ("memory", a.memory_rung),
        ("files", a.files_rung),
        ("redaction", a.redaction),
        ("last error", error),
        ("agent", a.agent_version),
        ("reported", short_time(&s.reported_at)),
    ]
}

pub fn role(r: v1::Role) -> &'static str {
    r.to_domain().map_or("unknown", |r| r.as_str())
}

pub fn user(u: &v1::User) -> Json {
    json!({
        "name": u.name,
        "role": role(u.role()),
        "created_at": time(&u.created_at),
        "created_by": u.created_by,
        "enrolled": u.enrolled,
    })
}

pub fn audit_entry(e: &v1::AuditEntry) -> Json {
    json!({
        "sequence": e.sequence,
        "at": time(&e.at),
        "actor": e.actor,
        "action": e.action,
        "target": e.target,
        "outcome": e.outcome,
        "detail": e.detail.iter().collect::<std::collections::BTreeMap<_, _>>(),
        "hash": hex(&e.hash),
    })
}

pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

/// `json` with more in it.
pub fn with(mut json: Json, more: impl IntoIterator<Item = (&'static str, Json)>) -> Json {
    if let Json::Object(fields) = &mut json {
        fields.extend(more.into_iter().map(|(key, value)| (key.to_owned(), value)));
    }
    json
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times() {
        let at = |seconds, nanos| Some(prost_types::Timestamp { seconds, nanos });
        for (given, long, short) in [
            (None, None, ""),
            (at(0, 0), Some("1970-01-01T00:00:00Z"), "1970-01-01T00:00:00Z"),
            (at(1_800_000_000, 120_000_000), Some("2027-01-15T08:00:00.12Z"), "2027-01-15T08:00:00Z"),
            (at(i64::MAX, 0), None, ""),
            (at(0, -1), None, "1970-01-01T00:00:00Z"),
        ] {
            assert_eq!(time(&given).as_deref(), long);
            assert_eq!(short_time(&given), short);
        }
    }

    /// What scripts rely on.
    #[test]
    fn a_listed_secret_has_these_fields() {
        let json = secret(&v1::Secret {
            name: "db-url".into(),
            visibility: v1::Visibility::Shared.into(),
            ..Default::default()
        });
        for field in ["name", "variable", "visibility", "auto_install", "version", "created_at", "updated_at"] {
            assert!(json.get(field).is_some(), "{field}");
        }
        assert_eq!((&json["visibility"], &json["owner"]), (&json!("shared"), &Json::Null));
    }
}
