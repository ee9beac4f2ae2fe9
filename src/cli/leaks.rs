//! `keyfob leaks`, and what `keyfob secret show` says of them.

use std::collections::BTreeSet;

use serde_json::{Value as Json, json};
use time::{Duration, OffsetDateTime, format_description::well_known::Rfc3339};

use super::{
    args::Leaks,
    failure::{Done, Failure},
    output::Out,
    remote::Remote,
    secret::parse_name,
    views,
};
use crate::wire::v1;

/// What was typed, before anything is connected.
pub fn filter(args: &Leaks) -> Done<v1::ListLeaksRequest> {
    let name = args.secret.as_deref().map(parse_name).transpose()?.map_or_else(String::new, |name| name.to_string());
    let visibility = match (args.private, args.shared) {
        (true, _) => v1::Visibility::Private,
        (_, true) => v1::Visibility::Shared,
        _ => v1::Visibility::Unspecified,
    };
    let since = args.since.as_deref().map(|text| since(text, OffsetDateTime::now_utc())).transpose()?;
    Ok(v1::ListLeaksRequest {
        r#ref: Some(v1::SecretRef { id: String::new(), name, visibility: visibility.into() }),
        since: since.map(|at| prost_types::Timestamp { seconds: at.unix_timestamp(), nanos: at.nanosecond() as i32 }),
        ..Default::default()
    })
}

/// `30m`, `24h`, `7d`; `2026-01-31`; RFC 3339.
fn since(text: &str, now: OffsetDateTime) -> Done<OffsetDateTime> {
    let ago = |count: &str, unit: Duration| {
        let count = count.parse::<u16>().ok()?;
        Some(now - unit * i32::from(count))
    };
    let at = match text.split_at_checked(text.len().saturating_sub(1)) {
        Some((count, "m")) => ago(count, Duration::MINUTE),
        Some((count, "h")) => ago(count, Duration::HOUR),
        Some((count, "d")) => ago(count, Duration::DAY),
        _ => OffsetDateTime::parse(text, &Rfc3339)
            .or_else(|_| OffsetDateTime::parse(&format!("{text}T00:00:00Z"), &Rfc3339))
            .ok(),
    };
    at.ok_or_else(|| {
        Failure::usage("--since: say how long ago (30m, 24h, 7d) or when (2026-01-31, 2026-01-31T10:00:00Z; UTC)")
    })
}

pub async fn list(remote: &Remote, out: &Out, filter: v1::ListLeaksRequest) -> Done {
    let leaks = all(remote, filter).await?;
    if out.is_json() {
        return out.json(&leaks.iter().map(leak).collect::<Vec<_>>());
    }
    if leaks.is_empty() {
        out.note("nothing was found in what sessions printed");
        return Ok(());
    }
    let rows: Vec<_> = leaks
        .iter()
        .map(|l| {
            let [session, user, environment, unit, form, times, first, last] = place(l);
            let version = format!("{}{}", views::short(&l.version), if l.current { " (current)" } else { "" });
            let visibility = views::visibility(l.visibility()).to_owned();
            [l.name.clone(), visibility, version, session, user, environment, unit, form, times, first, last]
        })
        .collect();
    let heads =
        ["SECRET", "VISIBILITY", "VERSION", "SESSION", "USER", "ENVIRONMENT", "UNIT", "FORM", "TIMES", "FIRST", "LAST"];
    out.table(heads, &rows)?;
    let names: BTreeSet<_> = leaks.iter().filter(|l| l.current).map(|l| l.name.as_str()).collect();
    if !names.is_empty() {
        let names = names.into_iter().collect::<Vec<_>>().join(", ");
        out.note(&format!("these values are still the current ones of {names}: {ADVICE} NAME"));
    }
    Ok(())
}

const ADVICE: &str = "get new ones from whoever issued them, then keyfob secret rotate";

/// All leaks of one secret that the caller may see.
pub async fn of(remote: &Remote, secret: &v1::Secret) -> Done<Vec<v1::SecretLeak>> {
    let r#ref = Some(v1::SecretRef { id: secret.id.clone(), ..Default::default() });
    all(remote, v1::ListLeaksRequest { r#ref, ..Default::default() }).await
}

/// The last part of `keyfob secret show`; nothing where nothing leaked.
pub fn section(out: &Out, secret: &v1::Secret, leaks: &[v1::SecretLeak]) -> Done {
    if leaks.is_empty() {
        return Ok(());
    }
    let rows: Vec<_> = leaks
        .iter()
        .map(|l| {
            let [session, user, environment, unit, form, times, first, last] = place(l);
            [session, user, environment, unit, form, times, views::short(&l.version), first, last]
        })
        .collect();
    let heads = ["PRINTED IN", "USER", "ENVIRONMENT", "UNIT", "FORM", "TIMES", "VERSION", "FIRST", "LAST"];
    out.line("")?;
    out.table(heads, &rows)?;
    out.line("")?;
    out.line(&verdict(secret, leaks))
}

/// How bad it is, and what to do.
fn verdict(secret: &v1::Secret, leaks: &[v1::SecretLeak]) -> String {
    let sessions = leaks.iter().map(|l| &l.session).collect::<BTreeSet<_>>().len();
    let times = leaks.iter().fold(0u64, |sum, l| sum.saturating_add(l.count));
    let found = format!("printed and masked {times} time(s), in {sessions} session(s)");
    if leaks.iter().any(|l| l.current) {
        let (name, visibility) = (&secret.name, views::visibility(secret.visibility()));
        format!(
            "{found}; the current value too, and it may stand unmasked elsewhere: get a new one from whoever issued it, then \
             keyfob secret rotate {name} --{visibility}"
        )
    } else {
        format!("{found}; older versions only, which have been replaced since")
    }
}

async fn all(remote: &Remote, mut request: v1::ListLeaksRequest) -> Done<Vec<v1::SecretLeak>> {
    request.page_size = 1000;
    let mut leaks = Vec::new();
    loop {
        let page = remote.secrets().list_leaks(request.clone()).await?.into_inner();
        leaks.extend(page.leaks);
        request.page_token = page.next_page_token;
        if request.page_token.is_empty() {
            return Ok(leaks);
        }
    }
}

/// Where and when, for a table.
fn place(l: &v1::SecretLeak) -> [String; 8] {
    let or = |text: &str, other: &str| if text.is_empty() { other.to_owned() } else { text.to_owned() };
    [
        l.session.clone(),
        or(&l.user, "(automation)"),
        l.environment.clone(),
        or(&l.unit, "(unknown)"),
        l.form.clone(),
        l.count.to_string(),
        views::short_time(&l.first_at),
        views::short_time(&l.last_at),
    ]
}

pub fn leak(l: &v1::SecretLeak) -> Json {
    json!({
        "secret_id": l.secret_id,
        "name": l.name,
        "variable": l.variable,
        "visibility": views::visibility(l.visibility()),
        "version": l.version,
        "current": l.current,
        "session": l.session,
        "user": Some(&l.user).filter(|user| !user.is_empty()),
        "environment": l.environment,
        "unit": l.unit,
        "form": l.form,
        "count": l.count,
        "first_at": views::time(&l.first_at),
        "last_at": views::time(&l.last_at),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn since_when() {
        let now = OffsetDateTime::from_unix_timestamp(1_800_000_000).unwrap(); // 2027-01-15T08:00:00Z
        for (given, expected) in [
            ("30m", Some("2027-01-15T07:30:00Z")),
            ("24h", Some("2027-01-14T08:00:00Z")),
            ("7d", Some("2027-01-08T08:00:00Z")),
            ("0d", Some("2027-01-15T08:00:00Z")),
            ("2027-01-01", Some("2027-01-01T00:00:00Z")),
            ("2027-01-01T10:00:00+02:00", Some("2027-01-01T10:00:00+02:00")),
            ("", None),
            ("d", None),
            ("7", None),
            ("7w", None),
            ("-7d", None),
            ("7.5d", None),
            ("99999d", None),
            ("yesterday", None),
            ("7é", None),
            ("2027-02-30", None),
        ] {
            let found = since(given, now).map(|at| at.format(&Rfc3339).unwrap());
            assert_eq!(found.as_deref().ok(), expected, "{given}");
        }
    }

    #[test]
    fn verdicts() {
        let secret =
            v1::Secret { name: "db-url".into(), visibility: v1::Visibility::Shared.into(), ..Default::default() };
        let leak = |session: &str, current, count| v1::SecretLeak {
            session: session.into(),
            current,
            count,
            ..Default::default()
        };
        let old = verdict(&secret, &[leak("a", false, 2), leak("a", false, 1)]);
        assert!(old.starts_with("printed and masked 3 time(s), in 1 session(s); older versions only"), "{old}");
        let current = verdict(&secret, &[leak("a", false, 2), leak("b", true, u64::MAX)]);
        assert!(current.contains(" in 2 session(s); the current value too"), "{current}");
        assert!(current.ends_with("keyfob secret rotate db-url --shared"), "{current}");
    }
}
