//! What a new secret of a name would be, while somebody types it.

use tonic::{Request, Response, Status};

use super::{
    App, credential,
    secrets::{is_shared, person, secret_name, variable},
};
use crate::{
    domain::policy::{Action, Target, decide},
    server::error::Error,
    wire::v1,
};

pub async fn run(app: &App, request: Request<v1::CheckNameRequest>) -> Result<Response<v1::CheckNameResponse>, Status> {
    let credential = credential(&request)?;
    let request = request.into_inner();
    let shared = is_shared(request.visibility())?;
    let parsed = secret_name(&request.name).and_then(|name| Ok((variable(&name, &request.variable)?.0, name)));
    let checked = app
        .store
        .read(move |tx| {
            let caller = tx.caller(&credential)?;
            let org = caller.org();
            tx.view(org, &decide(&caller, Action::SecretCreate, &Target::Organization), "secret")?;
            let (variable, name) = match parsed {
                Ok(parsed) => parsed,
                Err(error) => {
                    return Ok(v1::CheckNameResponse { problem: error.to_string(), ..Default::default() });
                }
            };
            let user = person(&caller)?;
            let problem = match tx.free(org, if shared { "" } else { user.as_str() }, name.as_str(), &variable, None) {
                Ok(()) => String::new(),
                Err(why @ (Error::Invalid(_) | Error::Exists(_))) => why.to_string(),
                Err(error) => return Err(error),
            };
            let mut overrides = Vec::new();
            if !shared && let Some(other) = tx.secret_by_variable(org, "", variable.as_str())? {
                overrides.push(format!("the shared secret {}", other.name));
            }
            let decision = decide(&caller, Action::EnvironmentRead, &Target::Organization);
            let environments = tx.environments(&tx.view(org, &decision, "environment")?)?;
            let with = environments.iter().filter(|e| e.variables.contains_key(variable.as_str()));
            overrides.extend(with.map(|e| format!("the variable of environment {}", e.name)));
            let overridden_by_private =
                shared && tx.secret_by_variable(org, user.as_str(), variable.as_str())?.is_some();
            Ok(v1::CheckNameResponse { variable: variable.to_string(), problem, overrides, overridden_by_private })
        })
        .await?;
    Ok(Response::new(checked))
}
