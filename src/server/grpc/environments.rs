//! Environments and their history.

use std::sync::Arc;

use tonic::{Request, Response, Status};

use super::{
    App,
    convert::{detail, timestamp},
    credential,
};
use crate::{
    domain::{
        boot::BootPolicy,
        name::{EnvironmentName, OrgName},
        policy::{Action, Target, decide},
        suspicion::looks_like_secret,
        variable::Variable,
    },
    server::{
        error::Error,
        store::{EnvironmentEdit, EnvironmentRow, Tx},
    },
    wire::v1::{self, environment_service_server::EnvironmentService},
};

pub struct EnvironmentCalls(pub Arc<App>);

const MAX_DESCRIPTION: usize = 1_000;

#[tonic::async_trait]
impl EnvironmentService for EnvironmentCalls {
    async fn create_environment(
        &self,
        request: Request<v1::CreateEnvironmentRequest>,
    ) -> Result<Response<v1::CreateEnvironmentResponse>, Status> {
        let credential = credential(&request)?;
        let request = request.into_inner();
        let name = EnvironmentName::parse(&request.name).map_err(|e| Error::Invalid(e.to_string()))?;
        if request.description.len() > MAX_DESCRIPTION {
            return Err(Error::Invalid(format!("a description has {MAX_DESCRIPTION} bytes at the most")).into());
        }
        let environment = self
            .0
            .store
            .write(move |tx| {
                let caller = tx.caller(&credential)?;
                let decision =
                    decide(&caller, Action::EnvironmentCreate, &Target::Environment { name: name.to_string() });
                let grant = tx.admit(caller.org(), decision, "environment", detail([]))?;
                tx.create_environment(&grant, &name, &request.description)
            })
            .await?;
        Ok(Response::new(v1::CreateEnvironmentResponse { environment: Some(environment.into()) }))
    }

    async fn get_environment(
        &self,
        request: Request<v1::GetEnvironmentRequest>,
    ) -> Result<Response<v1::GetEnvironmentResponse>, Status> {
        let credential = credential(&request)?;
        let request = request.into_inner();
        let environment = self
            .0
            .store
            .read(move |tx| {
                let caller = tx.caller(&credential)?;
                let (target, newest) = find(tx, caller.org(), &request.name)?;
                tx.view(caller.org(), &decide(&caller, Action::EnvironmentRead, &target), "environment")?;
                let (name, newest) = newest.ok_or_else(|| Error::not_found("environment"))?;
                match request.version {
                    0 => Ok(newest),
                    version => {
                        tx.environment_at(caller.org(), &name, version)?.ok_or_else(|| no_version(&name, version))
                    }
                }
            })
            .await?;
        Ok(Response::new(v1::GetEnvironmentResponse { environment: Some(environment.into()) }))
    }

    async fn list_environments(
        &self,
        request: Request<v1::ListEnvironmentsRequest>,
    ) -> Result<Response<v1::ListEnvironmentsResponse>, Status> {
        let credential = credential(&request)?;
        let environments = self
            .0
            .store
            .read(move |tx| {
                let caller = tx.caller(&credential)?;
                let view = tx.view(
                    caller.org(),
                    &decide(&caller, Action::EnvironmentRead, &Target::Organization),
                    "environment",
                )?;
                tx.environments(&view)
            })
            .await?;
        Ok(Response::new(v1::ListEnvironmentsResponse {
            environments: environments.into_iter().map(Into::into).collect(),
        }))
    }

    async fn update_environment(
        &self,
        request: Request<v1::UpdateEnvironmentRequest>,
    ) -> Result<Response<v1::UpdateEnvironmentResponse>, Status> {
        let credential = credential(&request)?;
        let request = request.into_inner();
        let mut set = Vec::new();
        let mut warnings = Vec::new();
        for given in request.set {
            let variable = Variable::parse(&given.variable).map_err(|e| Error::Invalid(e.to_string()))?;
            if let Some(kind) = looks_like_secret(&given.value) {
                warnings.push(format!("{variable} looks like {kind}; everybody sees it here. Use a secret: keyfob secret create {variable}"));
            }
            set.push((variable, given.value));
        }
        let unset = request
            .unset
            .iter()
            .map(|v| Variable::parse(v))
            .collect::<Result<Vec<_>, _>>()
            .map_err(|e| Error::Invalid(e.to_string()))?;
        let boot = request.boot.map(BootPolicy::try_from).transpose().map_err(|e| Error::Invalid(e.to_string()))?;
        let edit = EnvironmentEdit { set, unset, boot };
        let expected = Some(request.expected_version).filter(|v| *v != 0);
        let environment = self
            .0
            .store
            .write(move |tx| {
                let caller = tx.caller(&credential)?;
                let (target, newest) = find(tx, caller.org(), &request.name)?;
                let set_names = edit.set.iter().map(|(v, _)| v.as_str()).collect::<Vec<_>>().join(" ");
                let mut facts = detail([
                    ("set", set_names),
                    ("unset", edit.unset.iter().map(Variable::as_str).collect::<Vec<_>>().join(" ")),
                ]);
                facts.extend(edit.boot.map(|policy| ("boot", policy.to_string())));
                let grant =
                    tx.admit(caller.org(), decide(&caller, Action::EnvironmentUpdate, &target), "environment", facts)?;
                let (_, newest) = newest.ok_or_else(|| Error::not_found("environment"))?;
                tx.update_environment(&grant, &newest, &edit, expected)
            })
            .await?;
        Ok(Response::new(v1::UpdateEnvironmentResponse { environment: Some(environment.into()), warnings }))
    }

    async fn list_environment_versions(
        &self,
        request: Request<v1::ListEnvironmentVersionsRequest>,
    ) -> Result<Response<v1::ListEnvironmentVersionsResponse>, Status> {
        let credential = credential(&request)?;
        let name = request.into_inner().name;
        let history = self
            .0
            .store
            .read(move |tx| {
                let caller = tx.caller(&credential)?;
                let (target, found) = find(tx, caller.org(), &name)?;
                let view = tx.view(caller.org(), &decide(&caller, Action::EnvironmentRead, &target), "environment")?;
                let (name, _) = found.ok_or_else(|| Error::not_found("environment"))?;
                tx.environment_history(&view, &name)
            })
            .await?;
        let versions = history.into_iter().map(|v| v1::EnvironmentVersion {
            version: v.version,
            created_by: v.created_by,
            created_at: Some(timestamp(v.created_at)),
            changes: v
                .changes
                .into_iter()
                .map(|c| v1::VariableChange { variable: c.variable, before: c.before, after: c.after })
                .collect(),
            restored_from: v.restored_from,
            boot: v
                .boot
                .map(|(before, after)| v1::BootPolicyChange { before: Some(before.into()), after: Some(after.into()) }),
        });
        Ok(Response::new(v1::ListEnvironmentVersionsResponse { versions: versions.collect() }))
    }

    async fn restore_environment(
        &self,
        request: Request<v1::RestoreEnvironmentRequest>,
    ) -> Result<Response<v1::RestoreEnvironmentResponse>, Status> {
        let credential = credential(&request)?;
        let request = request.into_inner();
        let environment = self
            .0
            .store
            .write(move |tx| {
                let caller = tx.caller(&credential)?;
                let (target, newest) = find(tx, caller.org(), &request.name)?;
                let facts = detail([("restored_from", request.version.to_string())]);
                let grant =
                    tx.admit(caller.org(), decide(&caller, Action::EnvironmentUpdate, &target), "environment", facts)?;
                let (name, newest) = newest.ok_or_else(|| Error::not_found("environment"))?;
                let old = tx
                    .environment_at(caller.org(), &name, request.version)?
                    .ok_or_else(|| no_version(&name, request.version))?;
                tx.restore_environment(&grant, &newest, &old)
            })
            .await?;
        Ok(Response::new(v1::RestoreEnvironmentResponse { environment: Some(environment.into()) }))
    }
}

/// A name that is none names nothing.
fn find(tx: &Tx<'_>, org: &OrgName, name: &str) -> Result<(Target, Option<(EnvironmentName, EnvironmentRow)>), Error> {
    let found = match EnvironmentName::parse(name) {
        Ok(name) => tx.environment(org, &name)?.map(|row| (name, row)),
        Err(_) => None,
    };
    let target = found.as_ref().map_or(Target::Absent { label: "environment/unknown".into() }, |(name, _)| {
        Target::Environment { name: name.to_string() }
    });
    Ok((target, found))
}

fn no_version(name: &EnvironmentName, version: u64) -> Error {
    Error::NotFound(format!("`{name}` has no version {version}; `keyfob env history {name}` shows them"))
}

impl From<EnvironmentRow> for v1::Environment {
    fn from(row: EnvironmentRow) -> Self {
        Self {
            name: row.name,
            version: row.version,
            variables: row
                .variables
                .into_iter()
                .map(|(variable, value)| v1::EnvironmentVariable { variable, value })
                .collect(),
            description: row.description,
            created_at: Some(timestamp(row.created_at)),
            updated_at: Some(timestamp(row.updated_at)),
            updated_by: row.updated_by,
            boot: Some(row.boot.into()),
        }
    }
}
