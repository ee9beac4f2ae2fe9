//! Secrets, for people. Values come in, sealed or plain, and never go out.

use std::sync::Arc;

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use tonic::{Request, Response, Status};

use super::{
    App, check,
    convert::{detail, page_size, timestamp},
    credential, import, leaks, receipts, rollouts,
    values::{self, Received},
};
use crate::{
    domain::{
        identity::Caller,
        name::{EnvironmentName, Id, OrgName, SecretName, UserName},
        policy::{Action, Target, decide},
        redaction::Strength,
        resolve::Origin,
        rollout::Pace,
        value,
        variable::{Variable, variable_of},
    },
    server::{
        error::Error,
        store::{Grant, NewSecret, SecretEdit, SecretRow, Tx, new_id},
    },
    wire::v1::{self, secret_service_server::SecretService},
};

pub struct SecretCalls(pub Arc<App>);

const MAX_DESCRIPTION: usize = 1_000;
const MAX_HOLDERS: u32 = 1_000;

#[tonic::async_trait]
impl SecretService for SecretCalls {
    async fn get_sealing_key(
        &self,
        request: Request<v1::GetSealingKeyRequest>,
    ) -> Result<Response<v1::GetSealingKeyResponse>, Status> {
        let credential = credential(&request)?;
        self.0
            .store
            .read(move |tx| {
                let caller = tx.caller(&credential)?;
                tx.view(caller.org(), &decide(&caller, Action::SecretCreate, &Target::Organization), "secret").map(drop)
            })
            .await?;
        let (key_id, public_key) = (self.0.sealing_key_id.to_string(), self.0.sealing_key.public().to_vec());
        Ok(Response::new(v1::GetSealingKeyResponse { key_id, public_key }))
    }

    async fn check_name(
        &self,
        request: Request<v1::CheckNameRequest>,
    ) -> Result<Response<v1::CheckNameResponse>, Status> {
        check::run(&self.0, request).await
    }

    async fn create_secret(
        &self,
        request: Request<v1::CreateSecretRequest>,
    ) -> Result<Response<v1::CreateSecretResponse>, Status> {
        let credential = credential(&request)?;
        let request = request.into_inner();
        let delivery = value::Delivery::from(request.delivery());
        let shared = is_shared(request.visibility())?;
        let value = values::received(&self.0, &credential.identity, request.value)?;
        value.fits(delivery)?;
        let mut warnings = value.warnings();
        let name = secret_name(&request.name)?;
        let (variable, variable_overridden) = variable(&name, &request.variable)?;
        let description = description(request.description)?;
        let secret = self
            .0
            .store
            .write(move |tx| {
                let caller = tx.caller(&credential)?;
                let new = New {
                    name,
                    variable,
                    variable_overridden,
                    shared,
                    auto_install: !request.no_auto_install,
                    delivery,
                    description,
                };
                let row = create(tx, &caller, new, &value)?;
                Shown::of(tx, &caller, row)
            })
            .await?;
        if secret.precedence == v1::Precedence::OverridesShared {
            warnings.push(format!("it overrides the shared secret of ${} in your sessions", secret.row.variable));
        }
        Ok(Response::new(v1::CreateSecretResponse { secret: Some(secret.into()), warnings }))
    }

    async fn get_secret(
        &self,
        request: Request<v1::GetSecretRequest>,
    ) -> Result<Response<v1::GetSecretResponse>, Status> {
        let credential = credential(&request)?;
        let wanted = request.into_inner().r#ref.unwrap_or_default();
        let found = self
            .0
            .store
            .read(move |tx| {
                let caller = tx.caller(&credential)?;
                let (target, row) = find(tx, &caller, &wanted)?;
                let view = tx.view(caller.org(), &decide(&caller, Action::SecretRead, &target), "secret")?;
                let row = row.ok_or_else(|| Error::not_found("secret"))?;
                let versions = tx.secret_versions(&view, &row.id)?;
                let deliveries = tx.secret_deliveries(&view, &row.id, false, None, 100)?;
                let receipts = tx.receipts(&view, &row.id, &row.version)?;
                Ok((Shown::of(tx, &caller, row)?, versions, deliveries, receipts))
            })
            .await?;
        let (secret, versions, deliveries, receipts) = found;
        let versions = versions.into_iter().map(|v| v1::SecretVersion {
            version: v.version,
            created_by: v.created_by,
            created_at: Some(timestamp(v.created_at)),
            replaced_at: v.replaced_at.map(timestamp),
            strength: strength(v.strength).into(),
        });
        Ok(Response::new(v1::GetSecretResponse {
            secret: Some(secret.into()),
            versions: versions.collect(),
            deliveries: deliveries.into_iter().map(Into::into).collect(),
            receipts: Some(receipts.into()),
        }))
    }

    async fn list_secrets(
        &self,
        request: Request<v1::ListSecretsRequest>,
    ) -> Result<Response<v1::ListSecretsResponse>, Status> {
        let credential = credential(&request)?;
        let request = request.into_inner();
        let origin = match request.visibility() {
            v1::Visibility::Unspecified => None,
            v1::Visibility::Private => Some(Origin::Private),
            v1::Visibility::Shared => Some(Origin::Shared),
        };
        let after = Cursor::parse(&request.page_token)?;
        let size = page_size(request.page_size);
        let secrets = self
            .0
            .store
            .read(move |tx| {
                let caller = tx.caller(&credential)?;
                let view =
                    tx.view(caller.org(), &decide(&caller, Action::SecretRead, &Target::Organization), "secret")?;
                let user = person(&caller)?;
                let after = after.as_ref().map(|c| (c.name.as_str(), c.owner.as_str()));
                let rows = tx.secrets(&view, user, &request.query, origin, after, size)?;
                let show = |row: SecretRow| {
                    let used = if request.with_use { tx.secret_use(&view, &row.id)? } else { Default::default() };
                    Ok(Shown { used, ..Shown::of(tx, &caller, row)? })
                };
                rows.into_iter().map(show).collect::<Result<Vec<_>, _>>()
            })
            .await?;
        let next_page_token = match secrets.last() {
            Some(last) if secrets.len() == size as usize => {
                Cursor { name: last.row.name.clone(), owner: last.row.owner.clone() }.to_text()
            }
            _ => String::new(),
        };
        Ok(Response::new(v1::ListSecretsResponse {
            secrets: secrets.into_iter().map(Into::into).collect(),
            next_page_token,
        }))
    }

    async fn update_secret(
        &self,
        request: Request<v1::UpdateSecretRequest>,
    ) -> Result<Response<v1::UpdateSecretResponse>, Status> {
        let credential = credential(&request)?;
        let request = request.into_inner();
        let wanted = request.r#ref.unwrap_or_default();
        let new_description = request.description.map(description).transpose()?;
        let pace = request.push.map(|options| rollouts::pace(Some(options))).transpose()?;
        let (secret, rollout) = self
            .0
            .store
            .write(move |tx| {
                let caller = tx.caller(&credential)?;
                let (target, row) = find(tx, &caller, &wanted)?;
                let mut facts = detail([]);
                if let Some(row) = &row {
                    facts = named(row);
                    facts.extend(request.auto_install.map(|on| ("auto_install", on.to_string())));
                    facts.extend(new_description.as_ref().map(|_| ("description", "changed".to_owned())));
                    if row.is_shared() {
                        facts.extend(
                            request.variable.clone().filter(|v| Variable::parse(v).is_ok()).map(|v| ("variable", v)),
                        );
                    }
                }
                let grant = tx.admit(caller.org(), decide(&caller, Action::SecretUpdate, &target), "secret", facts)?;
                let row = row.ok_or_else(|| Error::not_found("secret"))?;
                let variable = match &request.variable {
                    None => None,
                    Some(chosen) => Some(variable(&secret_name(&row.name)?, chosen)?),
                };
                let edit = SecretEdit { description: new_description, auto_install: request.auto_install, variable };
                let row = tx.update_secret(&grant, &row, edit)?;
                let rollout = push(tx, &caller, &row, pace)?;
                Ok((Shown::of(tx, &caller, row)?, rollout))
            })
            .await?;
        Ok(Response::new(v1::UpdateSecretResponse { secret: Some(secret.into()), rollout }))
    }

    async fn rotate_secret(
        &self,
        request: Request<v1::RotateSecretRequest>,
    ) -> Result<Response<v1::RotateSecretResponse>, Status> {
        let credential = credential(&request)?;
        let request = request.into_inner();
        let wanted = request.r#ref.unwrap_or_default();
        let value = values::received(&self.0, &credential.identity, request.value)?;
        let warnings = value.warnings();
        let expected = request.expected_version;
        let pace = request.push.map(|options| rollouts::pace(Some(options))).transpose()?;
        let (secret, rollout) = self
            .0
            .store
            .write(move |tx| {
                let caller = tx.caller(&credential)?;
                let (target, row) = find(tx, &caller, &wanted)?;
                let grant = admit(tx, &caller, Action::SecretRotate, &target, row.as_ref())?;
                let row = row.ok_or_else(|| Error::not_found("secret"))?;
                value.fits(row.delivery)?;
                let expected = Some(expected.as_str()).filter(|v| !v.is_empty());
                let row = tx.rotate_secret(&grant, &row, expected, &value.bytes, value.strength)?;
                let rollout = push(tx, &caller, &row, pace)?;
                Ok((Shown::of(tx, &caller, row)?, rollout))
            })
            .await?;
        Ok(Response::new(v1::RotateSecretResponse { secret: Some(secret.into()), warnings, rollout }))
    }

    async fn delete_secret(
        &self,
        request: Request<v1::DeleteSecretRequest>,
    ) -> Result<Response<v1::DeleteSecretResponse>, Status> {
        let credential = credential(&request)?;
        let request = request.into_inner();
        let wanted = request.r#ref.unwrap_or_default();
        let expected = request.expected_version;
        let pace = request.push.map(|options| rollouts::pace(Some(options))).transpose()?;
        let (live_sessions, holders, rollout) = self
            .0
            .store
            .write(move |tx| {
                let caller = tx.caller(&credential)?;
                let (target, row) = find(tx, &caller, &wanted)?;
                let grant = admit(tx, &caller, Action::SecretDelete, &target, row.as_ref())?;
                let row = row.ok_or_else(|| Error::not_found("secret"))?;
                let live = tx.delete_secret(&grant, &row, Some(expected.as_str()).filter(|v| !v.is_empty()))?;
                let holders = tx.secret_holders(&grant, &row.id, MAX_HOLDERS)?;
                Ok((live, holders, push(tx, &caller, &row, pace)?))
            })
            .await?;
        let holders = holders.into_iter().map(Into::into).collect();
        Ok(Response::new(v1::DeleteSecretResponse { live_sessions, rollout, holders }))
    }

    async fn import_secrets(
        &self,
        request: Request<v1::ImportSecretsRequest>,
    ) -> Result<Response<v1::ImportSecretsResponse>, Status> {
        import::run(self, request).await
    }

    async fn preview_bundle(
        &self,
        request: Request<v1::PreviewBundleRequest>,
    ) -> Result<Response<v1::PreviewBundleResponse>, Status> {
        let credential = credential(&request)?;
        let request = request.into_inner();
        let environment = if request.environment.is_empty() { "default".to_owned() } else { request.environment };
        let response = self
            .0
            .store
            .read(move |tx| {
                let caller = tx.caller(&credential)?;
                let org = caller.org().clone();
                let own = caller.user().cloned();
                let asked = if request.user.is_empty() { own.clone() } else { UserName::parse(&request.user).ok() };
                let known = match &asked {
                    Some(name) if tx.user(&org, name)?.is_some() => Some(name.clone()),
                    _ => None,
                };
                let target =
                    known.clone().map_or(Target::Absent { label: "user/unknown".into() }, |name| Target::User { name });
                let view = tx.view(&org, &decide(&caller, Action::BundlePreview, &target), "user")?;
                let private_hidden = known != own;
                let newest = match EnvironmentName::parse(&environment) {
                    Ok(name) => tx.environment(&org, &name)?,
                    Err(_) => None,
                };
                let version = newest.ok_or_else(|| Error::not_found("environment"))?.version;
                let items = tx.preview(&view, known.as_ref().filter(|_| !private_hidden), &environment, version)?;
                let items = items.into_iter().map(|item| v1::PreviewItem {
                    variable: item.variable,
                    origin: v1::Origin::from(item.origin).into(),
                    name: item.name,
                    version: item.version,
                    overrides: item.overrides,
                    installed: item.left_out.is_none(),
                    left_out_reason: item.left_out.unwrap_or_default(),
                    delivery: v1::Delivery::from(item.delivery).into(),
                    secret: item.secret.map(|id| id.to_string()).unwrap_or_default(),
                });
                Ok(v1::PreviewBundleResponse { items: items.collect(), private_hidden, environment_version: version })
            })
            .await?;
        Ok(Response::new(response))
    }

    async fn list_leaks(
        &self,
        request: Request<v1::ListLeaksRequest>,
    ) -> Result<Response<v1::ListLeaksResponse>, Status> {
        leaks::list(&self.0, request).await
    }

    async fn list_deliveries(
        &self,
        request: Request<v1::ListDeliveriesRequest>,
    ) -> Result<Response<v1::ListDeliveriesResponse>, Status> {
        receipts::list(&self.0, request).await
    }
}

/// Pushes a change of a secret in the transaction that makes it, where that is wanted; gives the rollout's id.
fn push(tx: &Tx<'_>, caller: &Caller, row: &SecretRow, pace: Option<Pace>) -> Result<String, Error> {
    let Some(pace) = pace else { return Ok(String::new()) };
    Ok(rollouts::create(tx, caller, Some(rollouts::of_secret(row)), pace)?.id.to_string())
}

/// A secret to be, all of it parsed.
pub(super) struct New {
    pub name: SecretName,
    pub variable: Variable,
    pub variable_overridden: bool,
    pub shared: bool,
    pub auto_install: bool,
    pub delivery: value::Delivery,
    pub description: String,
}

pub(super) fn create(tx: &Tx<'_>, caller: &Caller, new: New, value: &Received) -> Result<SecretRow, Error> {
    let id = new_id()?;
    let owner = if new.shared { None } else { caller.user().cloned() };
    let target =
        Target::Secret { id: id.clone(), owner: owner.clone(), created_by: caller.identity.subject.to_string() };
    let mut facts = detail([
        ("visibility", if new.shared { "shared" } else { "private" }.to_owned()),
        ("delivery", new.delivery.as_str().to_owned()),
    ]);
    if new.shared {
        facts.extend([("name", new.name.to_string()), ("variable", new.variable.to_string())]);
    }
    let grant = tx.admit(caller.org(), decide(caller, Action::SecretCreate, &target), "secret", facts)?;
    let New { name, variable, variable_overridden, auto_install, delivery, description, .. } = new;
    tx.create_secret(
        &grant,
        NewSecret {
            id,
            name,
            variable,
            variable_overridden,
            owner,
            auto_install,
            delivery,
            description,
            value: &value.bytes,
            strength: value.strength,
        },
    )
}

pub(super) fn admit(
    tx: &Tx<'_>,
    caller: &Caller,
    action: Action,
    target: &Target,
    row: Option<&SecretRow>,
) -> Result<Grant, Error> {
    tx.admit(caller.org(), decide(caller, action, target), "secret", row.map(named).unwrap_or_default())
}

/// What an audit entry says of a secret: a private one's name is its owner's business.
fn named(row: &SecretRow) -> crate::server::store::Detail {
    let mut facts = detail([("visibility", row.origin().as_str().to_owned())]);
    if row.is_shared() {
        facts.insert("name", row.name.clone());
    }
    facts
}

/// Finds what a reference names among the shared secrets and the caller's own; by id also another's private one, which
/// policy then hides.
pub fn find(tx: &Tx<'_>, caller: &Caller, wanted: &v1::SecretRef) -> Result<(Target, Option<SecretRow>), Error> {
    let org: &OrgName = caller.org();
    let row = if !wanted.id.is_empty() {
        match Id::parse(&wanted.id) {
            Ok(id) => tx.secret(org, &id)?,
            Err(_) => None,
        }
    } else {
        let shared = || tx.secret_by_name(org, "", &wanted.name);
        let private = || caller.user().map_or(Ok(None), |user| tx.secret_by_name(org, user.as_str(), &wanted.name));
        match wanted.visibility() {
            v1::Visibility::Shared => shared()?,
            v1::Visibility::Private => private()?,
            v1::Visibility::Unspecified => match (private()?, shared()?) {
                (Some(_), Some(_)) => {
                    return Err(Error::Invalid(format!(
                        "there is a private and a shared secret `{}`; say which: --private or --shared",
                        wanted.name
                    )));
                }
                (private, shared) => private.or(shared),
            },
        }
    };
    // What was asked for may be anything, a pasted value too: it does not go on record.
    let target = row.as_ref().map_or(Target::Absent { label: "secret/unknown".into() }, SecretRow::target);
    Ok((target, row))
}

/// A secret as one caller sees it.
pub(super) struct Shown {
    row: SecretRow,
    precedence: v1::Precedence,
    strength: v1::RedactionStrength,
    /// When it was last delivered, and to how many sessions that are alive; nothing where nobody asked.
    used: (Option<i64>, u32),
}

impl Shown {
    pub(super) fn of(tx: &Tx<'_>, caller: &Caller, row: SecretRow) -> Result<Self, Error> {
        let precedence = match caller.user() {
            Some(_) if !row.is_shared() => {
                tx.secret_by_variable(caller.org(), "", &row.variable)?.map(|_| v1::Precedence::OverridesShared)
            }
            Some(user) => tx
                .secret_by_variable(caller.org(), user.as_str(), &row.variable)?
                .map(|_| v1::Precedence::OverriddenByPrivate),
            None => None,
        };
        let precedence = precedence.unwrap_or(v1::Precedence::Unspecified);
        let strength = strength(tx.strength(caller.org(), &row)?);
        Ok(Self { row, precedence, strength, used: Default::default() })
    }
}

impl From<Shown> for v1::Secret {
    fn from(Shown { row, precedence, strength, used }: Shown) -> Self {
        Self {
            id: row.id.to_string(),
            last_delivered_at: used.0.map(timestamp),
            live_sessions: used.1,
            visibility: if row.is_shared() { v1::Visibility::Shared } else { v1::Visibility::Private }.into(),
            name: row.name,
            variable: row.variable,
            owner: row.owner,
            auto_install: row.auto_install,
            delivery: v1::Delivery::from(row.delivery).into(),
            version: row.version,
            description: row.description,
            created_by: row.created_by,
            created_at: Some(timestamp(row.created_at)),
            updated_at: Some(timestamp(row.updated_at)),
            rotated_at: Some(timestamp(row.rotated_at)),
            precedence: precedence.into(),
            variable_overridden: row.variable_overridden,
            strength: strength.into(),
        }
    }
}

fn strength(judged: Option<Strength>) -> v1::RedactionStrength {
    judged.map_or(v1::RedactionStrength::Unspecified, Into::into)
}

/// Where a page of secrets ended.
struct Cursor {
    name: String,
    owner: String,
}

impl Cursor {
    fn parse(token: &str) -> Result<Option<Self>, Error> {
        if token.is_empty() {
            return Ok(None);
        }
        let text = URL_SAFE_NO_PAD.decode(token).ok().and_then(|bytes| String::from_utf8(bytes).ok());
        match text.as_deref().and_then(|text| text.split_once('/')) {
            Some((name, owner)) => Ok(Some(Self { name: name.to_owned(), owner: owner.to_owned() })),
            None => Err(Error::Invalid("the page token is not one of ours".into())),
        }
    }

    fn to_text(&self) -> String {
        URL_SAFE_NO_PAD.encode(format!("{}/{}", self.name, self.owner))
    }
}

pub(super) fn person(caller: &Caller) -> Result<&UserName, Error> {
    caller.user().ok_or(Error::Internal("policy let somebody through who is no person"))
}

pub(super) fn is_shared(visibility: v1::Visibility) -> Result<bool, Error> {
    match visibility {
        v1::Visibility::Shared => Ok(true),
        v1::Visibility::Private => Ok(false),
        v1::Visibility::Unspecified => Err(Error::Invalid(
            "say who gets it: private (only your sessions) or shared (every session of the organization)".into(),
        )),
    }
}

pub(super) fn secret_name(given: &str) -> Result<SecretName, Error> {
    SecretName::parse(given).map_err(|e| Error::Invalid(e.to_string()))
}

/// The variable chosen by hand, or the one that the name gives; and whether it was chosen.
pub(super) fn variable(name: &SecretName, chosen: &str) -> Result<(Variable, bool), Error> {
    if chosen.is_empty() {
        return variable_of(name).map(|v| (v, false)).map_err(|e| Error::Invalid(e.to_string()));
    }
    Variable::parse(chosen).map(|v| (v, true)).map_err(|e| Error::Invalid(e.to_string()))
}

fn description(given: String) -> Result<String, Error> {
    if given.len() > MAX_DESCRIPTION {
        return Err(Error::Invalid(format!(
            "the description has {} bytes; {MAX_DESCRIPTION} is the most",
            given.len()
        )));
    }
    Ok(given)
}
