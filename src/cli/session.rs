//! `keyfob session`: one function per verb.

use super::{
    args::{SessionCreate, SessionList, Sure},
    failure::{Done, Failure},
    input,
    output::Out,
    remote::Remote,
    views,
};
use crate::{
    domain::name::{Id, UserName},
    wire::v1,
};

pub async fn create(remote: &Remote, out: &Out, args: SessionCreate) -> Done {
    if let Some(user) = &args.user {
        UserName::parse(user).map_err(|e| Failure::usage(format!("--user: {e}")))?;
    }
    let request = v1::CreateSessionRequest {
        user: args.user.unwrap_or_default(),
        environment: args.environment,
        join_ttl_seconds: args.ttl,
    };
    let reply = remote.sessions().create_session(request).await?.into_inner();
    let session = reply.session.unwrap_or_default();
    if out.is_json() {
        return out.json(&views::with(
            views::session(&session),
            [("join", reply.join.into()), ("join_expires_at", views::time(&reply.join_expires_at).into())],
        ));
    }
    out.note(&format!(
        "session {}, pinned to {} version {}; its join string works once, until {}. Give it to the VM as systemd credential \
         `keyfob.join` or as a file:",
        session.id,
        session.environment,
        session.environment_version,
        views::short_time(&reply.join_expires_at)
    ));
    out.line(&reply.join)
}

pub async fn list(remote: &Remote, out: &Out, args: SessionList) -> Done {
    let mut sessions = Vec::new();
    let mut page_token = String::new();
    loop {
        let request = v1::ListSessionsRequest {
            user: args.user.clone().unwrap_or_default(),
            environment: args.environment.clone().unwrap_or_default(),
            all: args.all,
            page_size: 1000,
            page_token,
        };
        let page = remote.sessions().list_sessions(request).await?.into_inner();
        sessions.extend(page.sessions);
        page_token = page.next_page_token;
        if page_token.is_empty() {
            break;
        }
    }
    if out.is_json() {
        return out.json(&sessions.iter().map(views::session).collect::<Vec<_>>());
    }
    if sessions.is_empty() {
        out.note(if args.all { "no sessions" } else { "no live sessions; --all shows ended ones too" });
        return Ok(());
    }
    let rows: Vec<_> = sessions
        .iter()
        .map(|s| {
            let user = if s.user.is_empty() { "(automation)".to_owned() } else { s.user.clone() };
            let environment = format!("{}@{}", s.environment, s.environment_version);
            [
                s.id.clone(),
                user,
                environment,
                views::session_state(s.state()).into(),
                s.agent.as_ref().map_or("-", |a| views::phase(a.phase())).into(),
                views::redaction(s),
                views::short_time(&s.created_at),
                views::short_time(&s.fetched_at),
            ]
        })
        .collect();
    out.table(["SESSION", "USER", "ENVIRONMENT", "STATE", "PHASE", "REDACTION", "CREATED", "FETCHED"], &rows)?;
    match sessions.iter().filter(|s| views::redaction_failed(s)).count() {
        0 => {}
        n => out.warn(&format!("what {n} of these print is not redacted as it should be: keyfob session show SESSION")),
    }
    Ok(())
}

pub async fn show(remote: &Remote, out: &Out, id: &str) -> Done {
    let reply = remote.sessions().get_session(v1::GetSessionRequest { id: parse(id)? }).await.map_err(not_found)?;
    let reply = reply.into_inner();
    if out.is_json() {
        let mut json = views::session(&reply.session.unwrap_or_default());
        json["variables"] = reply.variables.iter().map(views::session_variable).collect();
        json["names_hidden"] = reply.names_hidden.into();
        return out.json(&json);
    }
    shown(reply.session, out)?;
    let rows: Vec<_> = reply
        .variables
        .iter()
        .map(|v| {
            let newer = if v.outdated { "there is a newer one" } else { "" };
            [v.variable.clone(), format!("{} {}", v.origin().word(), v.name), views::short(&v.version), newer.into()]
        })
        .collect();
    if !rows.is_empty() {
        out.line("")?;
        out.table(["VARIABLE", "FROM", "VERSION", ""], &rows)?;
    }
    if reply.names_hidden {
        out.note("it was given further secrets, which you can't see");
    }
    Ok(())
}

pub async fn end(remote: &Remote, out: &Out, id: &str) -> Done {
    let reply = remote.sessions().end_session(v1::EndSessionRequest { id: parse(id)? }).await.map_err(not_found)?;
    changed("ended", reply.into_inner().session, out)
}

pub async fn revoke(remote: &Remote, out: &Out, id: &str, sure: &Sure) -> Done {
    let id = parse(id)?;
    input::confirm(sure, out, &format!("revoking session {id} cuts its VM off for good")).await?;
    let reply = remote.sessions().revoke_session(v1::RevokeSessionRequest { id }).await.map_err(not_found)?;
    changed("revoked", reply.into_inner().session, out)
}

pub fn parse(id: &str) -> Done<String> {
    Id::parse(id).map(|id| id.to_string()).map_err(|e| Failure::usage(e.to_string()))
}

pub fn not_found(status: tonic::Status) -> Failure {
    Failure::from(status).hint("not_found", "`keyfob session list --all` shows what there is")
}

fn shown(session: Option<v1::Session>, out: &Out) -> Done {
    let s = session.unwrap_or_default();
    if out.is_json() {
        return out.json(&views::session(&s));
    }
    let mut fields = vec![
        ("session", s.id.clone()),
        ("user", if s.user.is_empty() { "(automation)".into() } else { s.user.clone() }),
        ("environment", format!("{}, version {}", s.environment, s.environment_version)),
        ("state", views::session_state(s.state()).into()),
        ("created", views::by_at(&s.created_by, &s.created_at)),
        ("enrolled", views::short_time(&s.enrolled_at)),
        ("fetched", views::short_time(&s.fetched_at)),
        ("bundle", s.bundle_version.clone()),
        ("ended", views::short_time(&s.ended_at)),
    ];
    fields.extend(views::agent_fields(&s));
    out.fields(&fields)?;
    if views::redaction_failed(&s) {
        out.warn("what this session prints is not redacted as it should be");
    }
    Ok(())
}

fn changed(done: &str, session: Option<v1::Session>, out: &Out) -> Done {
    if out.is_json() {
        return shown(session, out);
    }
    out.line(&format!("{done} session {}", session.unwrap_or_default().id))
}
