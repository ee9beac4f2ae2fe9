//! Organizations and the people and machines in them.

use super::{Detail, Error, Grant, Row, Tx, View, bind};
use crate::domain::{
    audit::{Fact, Outcome},
    identity::{Role, Subject},
    join::Token,
    name::{OrgName, UserName},
    policy::Action,
};

#[derive(Debug, Clone)]
pub struct UserRow {
    pub name: UserName,
    pub role: Role,
    pub created_at: i64,
    pub created_by: String,
    pub enrolled: bool,
}

const COLUMNS: &str = "name, role, created_at, created_by, enrolled_at";
const SERVER: &str = "server";

fn user_row(row: &Row<'_>) -> Result<UserRow, Error> {
    Ok(UserRow {
        name: UserName::parse(&row.text(0)?).map_err(|_| Error::Corrupt("a stored user's name is none".into()))?,
        role: Role::parse(&row.text(1)?).ok_or_else(|| Error::Corrupt("a stored user's role is none".into()))?,
        created_at: row.int(2)?,
        created_by: row.text(3)?,
        enrolled: row.opt_int(4)?.is_some(),
    })
}

impl Tx<'_> {
    /// Makes an organization with its environment `default` and its first admin; gives the admin's join token. The act of
    /// whoever runs the server, and on record as such.
    pub fn create_organization(&self, org: &OrgName, admin: &UserName) -> Result<Token, Error> {
        if self.execute(
            "INSERT INTO organizations (org, created_at) VALUES (?1, ?2) ON CONFLICT DO NOTHING",
            bind![org, self.now],
        )? == 0
        {
            return Err(Error::Exists(format!(
                "there is an organization `{org}` already; for a new join string of its admin: keyfob-server join"
            )));
        }
        self.record_own(org, "organization.create", "organization".into(), [])?;
        self.insert_environment(org, "default", "", SERVER)?;
        self.record_own(org, "environment.create", "environment/default".into(), [])?;
        self.insert_user(org, admin, Role::Admin, SERVER)?;
        self.record_own(org, "user.invite", format!("user/{admin}"), [("role", Role::Admin.as_str().to_owned())])?;
        self.insert_join_token(org, &Role::Admin.subject(admin.clone()), self.now + super::identities::MAX_JOIN_TTL)
    }

    /// A new join token for somebody who is there already.
    pub fn admin_join(&self, org: &OrgName, name: &UserName) -> Result<Token, Error> {
        let user = self
            .user(org, name)?
            .ok_or_else(|| Error::NotFound(format!("there is no user `{name}` in organization `{org}`")))?;
        self.record_own(org, "user.invite", format!("user/{name}"), [("role", user.role.as_str().to_owned())])?;
        self.insert_join_token(org, &user.role.subject(name.clone()), self.now + super::identities::MAX_JOIN_TTL)
    }

    pub(super) fn record_own(
        &self,
        org: &OrgName,
        action: &'static str,
        target: String,
        detail: impl Into<Detail>,
    ) -> Result<(), Error> {
        let fact = Fact { actor: SERVER.into(), action, target, outcome: Outcome::Done, detail: detail.into() };
        self.record(org, fact).map(drop)
    }

    pub fn user(&self, org: &OrgName, name: &UserName) -> Result<Option<UserRow>, Error> {
        self.one(&format!("SELECT {COLUMNS} FROM users WHERE org = ?1 AND name = ?2"), bind![org, name], user_row)
    }

    pub fn users(&self, view: &View) -> Result<Vec<UserRow>, Error> {
        view.covers(Action::UserRead, "organization")?;
        self.all(&format!("SELECT {COLUMNS} FROM users WHERE org = ?1 ORDER BY name"), bind![view.org()], user_row)
    }

    /// Makes a user, or confirms one who is there with the same role.
    pub fn invite_user(&self, grant: &Grant, name: &UserName, role: Role) -> Result<UserRow, Error> {
        grant.covers(Action::UserInvite, &format!("user/{name}"))?;
        match self.user(grant.org(), name)? {
            None => {
                self.insert_user(grant.org(), name, role, grant.actor())?;
                self.user(grant.org(), name)?.ok_or(Error::Internal("a user that was just made"))
            }
            Some(user) if user.role == role => Ok(user),
            Some(user) => Err(Error::Exists(format!(
                "`{name}` is there already, as {}; invite with that role for a new join string, or change it first: keyfob user role {name} {}",
                user.role.as_str(),
                role.as_str()
            ))),
        }
    }

    pub(super) fn insert_user(&self, org: &OrgName, name: &UserName, role: Role, by: &str) -> Result<(), Error> {
        self.execute(
            "INSERT INTO users (org, name, role, created_at, created_by) VALUES (?1, ?2, ?3, ?4, ?5)",
            bind![org, name, role.as_str(), self.now, by],
        )?;
        Ok(())
    }

    /// Between member and admin; the last admin stays one.
    pub fn set_role(&self, grant: &Grant, user: &UserRow, role: Role) -> Result<UserRow, Error> {
        grant.covers(Action::UserUpdate, &format!("user/{}", user.name))?;
        self.change_role(grant.org(), user, role)
    }

    pub(super) fn change_role(&self, org: &OrgName, user: &UserRow, role: Role) -> Result<UserRow, Error> {
        let person = |role| matches!(role, Role::Member | Role::Admin);
        if !person(role) || !person(user.role) {
            return Err(Error::Invalid(
                "people are members or admins, and machines stay what they are: remove the user and invite it anew"
                    .into(),
            ));
        }
        if user.role == Role::Admin && role == Role::Member {
            self.another_admin(org, &user.name)?;
        }
        self.execute("UPDATE users SET role = ?3 WHERE org = ?1 AND name = ?2", bind![org, &user.name, role.as_str()])?;
        Ok(UserRow { role, ..user.clone() })
    }

    /// Takes certificates, live sessions and private secrets away with the user; gives the numbers of secrets and sessions.
    pub fn remove_user(&self, grant: &Grant, user: &UserRow) -> Result<(u32, u32), Error> {
        grant.covers(Action::UserRemove, &format!("user/{}", user.name))?;
        if user.role == Role::Admin {
            self.another_admin(grant.org(), &user.name)?;
        }
        self.revoke_credentials(grant, &user.role.subject(user.name.clone()))?;
        let sessions = self.live_sessions_of(grant.org(), &user.name)?;
        for id in &sessions {
            self.close_session(grant.org(), id, true)?;
            self.revoke_credentials(grant, &Subject::Session(id.clone()))?;
        }
        let secrets = self.destroy_private_secrets(grant, &user.name)?;
        self.execute("DELETE FROM users WHERE org = ?1 AND name = ?2", bind![grant.org(), &user.name])?;
        Ok((secrets, sessions.len() as u32))
    }

    fn another_admin(&self, org: &OrgName, name: &UserName) -> Result<(), Error> {
        let others = self.one(
            "SELECT COUNT(*) FROM users WHERE org = ?1 AND role = 'admin' AND name <> ?2",
            bind![org, name],
            |row| row.int(0),
        )?;
        match others {
            Some(n) if n > 0 => Ok(()),
            _ => Err(Error::Precondition(format!(
                "`{name}` is the last admin; make somebody else one first: keyfob user role NAME admin"
            ))),
        }
    }
}
