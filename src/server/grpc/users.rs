//! The people and machines of an organization.

use std::sync::Arc;

use tonic::{Request, Response, Status};

use super::{
    App, Peer,
    convert::{detail, join_ttl, timestamp},
    credential,
};
use crate::{
    domain::{
        boot::BootPolicy,
        identity::Role,
        join::Audience,
        name::UserName,
        policy::{Action, Target, decide},
    },
    server::{
        ca,
        error::Error,
        store::{Tx, UserRow},
    },
    wire::v1::{self, user_service_server::UserService},
};

pub struct UserCalls(pub Arc<App>);

#[tonic::async_trait]
impl UserService for UserCalls {
    async fn who_am_i(&self, request: Request<v1::WhoAmIRequest>) -> Result<Response<v1::WhoAmIResponse>, Status> {
        let credential = credential(&request)?;
        let certificate = request.extensions().get::<Peer>().and_then(|peer| peer.certificate.as_ref());
        let certificate_expires_at =
            certificate.and_then(|c| ca::not_after(c)).map(|end| timestamp(end.unix_timestamp() * 1_000_000));
        let response = self
            .0
            .store
            .read(move |tx| {
                let caller = tx.caller(&credential)?;
                let row = match UserName::parse(caller.identity.subject.name()) {
                    Ok(name) if caller.role != Role::Session => tx.user(caller.org(), &name)?,
                    _ => None,
                };
                let user = match row {
                    Some(row) => row.into(),
                    None => v1::User {
                        name: caller.identity.subject.name().to_owned(),
                        enrolled: true,
                        ..Default::default()
                    },
                };
                Ok(v1::WhoAmIResponse {
                    organization: caller.org().to_string(),
                    user: Some(user),
                    certificate_expires_at,
                })
            })
            .await?;
        Ok(Response::new(response))
    }

    async fn invite_user(
        &self,
        request: Request<v1::InviteUserRequest>,
    ) -> Result<Response<v1::InviteUserResponse>, Status> {
        let credential = credential(&request)?;
        let request = request.into_inner();
        let name = UserName::parse(&request.name).map_err(|e| Error::Invalid(e.to_string()))?;
        let role = request.role().to_domain().unwrap_or(Role::Member);
        let ttl = join_ttl(request.join_ttl_seconds)?;
        let (user, token, expires_at) = self
            .0
            .store
            .write(move |tx| {
                let caller = tx.caller(&credential)?;
                let decision = decide(&caller, Action::UserInvite, &Target::User { name: name.clone() });
                let grant = tx.admit(caller.org(), decision, "user", detail([("role", role.as_str().to_owned())]))?;
                let user = tx.invite_user(&grant, &name, role)?;
                let expires_at = tx.now + ttl;
                Ok((user, tx.create_join_token(&grant, &role.subject(name), expires_at)?, expires_at))
            })
            .await?;
        let join = self.0.join_text(Audience::User, token, BootPolicy::default());
        Ok(Response::new(v1::InviteUserResponse {
            user: Some(user.into()),
            join,
            join_expires_at: Some(timestamp(expires_at)),
        }))
    }

    async fn list_users(
        &self,
        request: Request<v1::ListUsersRequest>,
    ) -> Result<Response<v1::ListUsersResponse>, Status> {
        let credential = credential(&request)?;
        let users = self
            .0
            .store
            .read(move |tx| {
                let caller = tx.caller(&credential)?;
                let view = tx.view(caller.org(), &decide(&caller, Action::UserRead, &Target::Organization), "user")?;
                tx.users(&view)
            })
            .await?;
        Ok(Response::new(v1::ListUsersResponse { users: users.into_iter().map(Into::into).collect() }))
    }

    async fn update_user(
        &self,
        request: Request<v1::UpdateUserRequest>,
    ) -> Result<Response<v1::UpdateUserResponse>, Status> {
        let credential = credential(&request)?;
        let request = request.into_inner();
        let role =
            request.role().to_domain().ok_or_else(|| Error::Invalid("say the new role: member or admin".into()))?;
        let user = self
            .0
            .store
            .write(move |tx| {
                let caller = tx.caller(&credential)?;
                let (target, user) = find(tx, caller.org(), &request.name)?;
                let grant = tx.admit(
                    caller.org(),
                    decide(&caller, Action::UserUpdate, &target),
                    "user",
                    detail([("role", role.as_str().to_owned())]),
                )?;
                tx.set_role(&grant, &user.ok_or_else(|| Error::not_found("user"))?, role)
            })
            .await?;
        Ok(Response::new(v1::UpdateUserResponse { user: Some(user.into()) }))
    }

    async fn remove_user(
        &self,
        request: Request<v1::RemoveUserRequest>,
    ) -> Result<Response<v1::RemoveUserResponse>, Status> {
        let credential = credential(&request)?;
        let name = request.into_inner().name;
        let (secrets_destroyed, sessions_revoked) = self
            .0
            .store
            .write(move |tx| {
                let caller = tx.caller(&credential)?;
                let (target, user) = find(tx, caller.org(), &name)?;
                let grant = tx.admit(caller.org(), decide(&caller, Action::UserRemove, &target), "user", detail([]))?;
                tx.remove_user(&grant, &user.ok_or_else(|| Error::not_found("user"))?)
            })
            .await?;
        Ok(Response::new(v1::RemoveUserResponse { secrets_destroyed, sessions_revoked }))
    }
}

/// A name that is none belongs to nobody.
fn find(tx: &Tx<'_>, org: &crate::domain::name::OrgName, name: &str) -> Result<(Target, Option<UserRow>), Error> {
    let user = match UserName::parse(name) {
        Ok(name) => tx.user(org, &name)?,
        Err(_) => None,
    };
    let target = user
        .as_ref()
        .map_or(Target::Absent { label: "user/unknown".into() }, |u| Target::User { name: u.name.clone() });
    Ok((target, user))
}

impl From<UserRow> for v1::User {
    fn from(row: UserRow) -> Self {
        Self {
            name: row.name.to_string(),
            role: v1::Role::from(row.role).into(),
            created_at: Some(timestamp(row.created_at)),
            created_by: row.created_by,
            enrolled: row.enrolled,
        }
    }
}
