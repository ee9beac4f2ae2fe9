//! `keyfob user`: one function per verb; and `keyfob whoami`.

use serde_json::json;

use super::{
    args::{Role, Sure},
    failure::{Done, Failure},
    input,
    output::Out,
    remote::Remote,
    views,
};
use crate::{
    domain::{identity, name::UserName},
    wire::v1,
};

pub async fn whoami(remote: &Remote, out: &Out) -> Done {
    let reply = remote.users().who_am_i(v1::WhoAmIRequest {}).await?.into_inner();
    let user = reply.user.clone().unwrap_or_default();
    if out.is_json() {
        return out.json(&views::with(
            views::user(&user),
            [
                ("organization", reply.organization.into()),
                ("certificate_expires_at", views::time(&reply.certificate_expires_at).into()),
            ],
        ));
    }
    out.fields(&[
        ("name", user.name.clone()),
        ("organization", reply.organization),
        ("role", views::role(user.role()).into()),
        ("certificate", format!("until {}, renewed in use", views::short_time(&reply.certificate_expires_at))),
    ])
}

pub async fn invite(remote: &Remote, out: &Out, name: &str, role: Option<Role>, ttl: u32) -> Done {
    let name = parse(name)?;
    let role = match role {
        Some(role) => wire(role),
        // A new join string for somebody who is there already keeps the role.
        None => everyone(remote).await?.iter().find(|u| u.name == name).map_or(v1::Role::Member, v1::User::role),
    };
    let request = v1::InviteUserRequest { name, role: role.into(), join_ttl_seconds: ttl };
    let reply = remote.users().invite_user(request).await?.into_inner();
    let user = reply.user.unwrap_or_default();
    if out.is_json() {
        return out.json(&views::with(
            views::user(&user),
            [("join", reply.join.into()), ("join_expires_at", views::time(&reply.join_expires_at).into())],
        ));
    }
    out.note(&format!(
        "join string for {} ({}), for `keyfob login`; it works once, until {}:",
        user.name,
        views::role(user.role()),
        views::short_time(&reply.join_expires_at)
    ));
    out.line(&reply.join)
}

pub async fn list(remote: &Remote, out: &Out) -> Done {
    let users = everyone(remote).await?;
    if out.is_json() {
        return out.json(&users.iter().map(views::user).collect::<Vec<_>>());
    }
    let rows: Vec<_> = users
        .iter()
        .map(|u| {
            let joined = if u.enrolled { "yes" } else { "not yet" };
            [u.name.clone(), views::role(u.role()).into(), joined.into(), views::by_at(&u.created_by, &u.created_at)]
        })
        .collect();
    out.table(["NAME", "ROLE", "JOINED", "INVITED"], &rows)
}

pub async fn role(remote: &Remote, out: &Out, name: &str, role: Role) -> Done {
    let request = v1::UpdateUserRequest { name: parse(name)?, role: wire(role).into() };
    let user = remote.users().update_user(request).await.map_err(not_found)?.into_inner().user.unwrap_or_default();
    if out.is_json() {
        return out.json(&views::user(&user));
    }
    out.line(&format!("{} is {} now", user.name, views::role(user.role())))
}

pub async fn remove(remote: &Remote, out: &Out, name: &str, sure: &Sure) -> Done {
    let name = parse(name)?;
    input::confirm(sure, out, &format!("removing {name} revokes their sessions and destroys their private secrets"))
        .await?;
    let reply =
        remote.users().remove_user(v1::RemoveUserRequest { name: name.clone() }).await.map_err(not_found)?.into_inner();
    if out.is_json() {
        return out.json(&json!({
            "name": name,
            "secrets_destroyed": reply.secrets_destroyed,
            "sessions_revoked": reply.sessions_revoked,
        }));
    }
    out.line(&format!(
        "removed {name}: {} private secret(s) destroyed, {} session(s) revoked",
        reply.secrets_destroyed, reply.sessions_revoked
    ))
}

async fn everyone(remote: &Remote) -> Done<Vec<v1::User>> {
    Ok(remote.users().list_users(v1::ListUsersRequest {}).await?.into_inner().users)
}

fn wire(role: Role) -> v1::Role {
    identity::Role::from(role).into()
}

fn parse(name: &str) -> Done<String> {
    UserName::parse(name).map(|n| n.to_string()).map_err(|e| Failure::usage(e.to_string()))
}

fn not_found(status: tonic::Status) -> Failure {
    Failure::from(status).hint("not_found", "`keyfob user list` shows who is there")
}
