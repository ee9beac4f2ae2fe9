//! Many secrets at once: all of them or, with every problem told, none.

use tonic::{Request, Response, Status};

use super::{
    credential,
    secrets::{New, SecretCalls, Shown, admit, create, is_shared, secret_name, variable},
    values,
};
use crate::{
    domain::{
        name::{SecretName, UserName},
        policy::Action,
        value::Delivery,
    },
    server::error::Error,
    wire::v1,
};

const MAX_IMPORT: usize = 1_000;

pub async fn run(
    calls: &SecretCalls,
    request: Request<v1::ImportSecretsRequest>,
) -> Result<Response<v1::ImportSecretsResponse>, Status> {
    let credential = credential(&request)?;
    let request = request.into_inner();
    let shared = is_shared(request.visibility())?;
    if request.items.len() > MAX_IMPORT {
        return Err(Error::Invalid(format!(
            "{} secrets at once; {MAX_IMPORT} is the most, so split the file",
            request.items.len()
        ))
        .into());
    }
    let mut problems = Vec::new();
    let mut warnings = Vec::new();
    let mut items = Vec::new();
    for item in request.items {
        let parsed = values::received(&calls.0, &credential.identity, item.value).and_then(|value| {
            let name = secret_name(&item.name)?;
            let (variable, _) = variable(&name, "")?;
            value.fits(Delivery::Env)?;
            warnings.extend(value.warnings().into_iter().map(|w| format!("{name}: {w}")));
            Ok((name, variable, value))
        });
        match parsed {
            Ok((name, variable, value)) => items.push((item.line, name, variable, value)),
            // A key that is gone concerns all of them.
            Err(e @ Error::Precondition(_)) => return Err(e.into()),
            Err(e) => {
                let name = SecretName::parse(&item.name).map_or_else(|_| String::new(), |name| name.to_string());
                problems.push(v1::ImportProblem { name, line: item.line, reason: e.to_string() });
            }
        }
    }
    let (auto_install, rotate_existing) = (!request.no_auto_install, request.rotate_existing);
    let stored = calls
        .0
        .store
        .write(move |tx| {
            let caller = tx.caller(&credential)?;
            let mut rows = Vec::new();
            for (line, name, variable, value) in &items {
                let owner = if shared { Some("") } else { caller.user().map(UserName::as_str) };
                let existing = owner.map_or(Ok(None), |owner| tx.secret_by_name(caller.org(), owner, name.as_str()))?;
                let done = match existing {
                    Some(row) if rotate_existing => value.fits(row.delivery).and_then(|()| {
                        let grant = admit(tx, &caller, Action::SecretRotate, &row.target(), Some(&row))?;
                        tx.rotate_secret(&grant, &row, None, &value.bytes, value.strength)
                    }),
                    _ => {
                        let new = New {
                            name: name.clone(),
                            variable: variable.clone(),
                            variable_overridden: false,
                            shared,
                            auto_install,
                            delivery: Delivery::Env,
                            description: String::new(),
                        };
                        create(tx, &caller, new, value)
                    }
                };
                match done {
                    Ok(row) => rows.push(row),
                    // Policy and the store speak for the whole import; everything else is one item's problem.
                    Err(
                        e @ (Error::Refused { .. }
                        | Error::Altered { .. }
                        | Error::Store(_)
                        | Error::Unauthenticated(_)
                        | Error::Internal(_)),
                    ) => return Err(e),
                    Err(e) => {
                        problems.push(v1::ImportProblem { name: name.to_string(), line: *line, reason: e.to_string() })
                    }
                }
            }
            if problems.is_empty() {
                let shown = rows.into_iter().map(|row| Shown::of(tx, &caller, row)).collect::<Result<Vec<_>, _>>()?;
                Ok(shown)
            } else {
                Err(Error::Import(problems))
            }
        })
        .await;
    let response = match stored {
        Ok(shown) => v1::ImportSecretsResponse {
            secrets: shown.into_iter().map(Into::into).collect(),
            problems: Vec::new(),
            warnings,
        },
        Err(Error::Import(problems)) => v1::ImportSecretsResponse { secrets: Vec::new(), problems, warnings },
        Err(error) => return Err(error.into()),
    };
    Ok(Response::new(response))
}
