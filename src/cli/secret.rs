//! `keyfob secret`: one function per verb; and `keyfob preview`.

use serde_json::{Value as Json, json};

use super::{
    args::{
        self, PushFlags, SecretCreate, SecretDelete, SecretDeliveries, SecretEdit, SecretList, SecretRotate, SecretShow,
    },
    failure::{Done, Failure},
    input, leaks,
    output::Out,
    remote::Remote,
    rollout, views,
};
use crate::{
    domain::{
        forms,
        name::{self, UserName},
        value::{self, Delivery, Unfit, Value},
        variable::{Variable, variable_of},
    },
    wire::v1,
};

pub async fn create(remote: &Remote, out: &Out, args: SecretCreate) -> Done {
    let name = parse_name(&args.name)?;
    let visibility = said(&args.visibility)?;
    let derived = match &args.variable {
        Some(variable) => Variable::parse(variable).map_err(|e| Failure::usage(format!("--variable: {e}")))?,
        None => variable_of(&name).map_err(|e| Failure::usage(e.to_string()))?,
    };
    out.note(&match (args.no_auto_install, args.file) {
        (true, _) => format!("{name} will be kept for ${derived}, not installed in sessions"),
        (false, false) => format!("{name} will be ${derived} in sessions"),
        (false, true) => format!("{name} will be a file in sessions, its path in ${derived}"),
    });
    let delivery = if args.file { Delivery::File } else { Delivery::Env };
    let value = input::value(&args.source, &format!("Value of {name} (not shown): "), true).await?;
    let told = check(&value, delivery, "add --file", out, args.source.trim_newline)?;
    let reply = remote
        .call_sealed(async |sealer| {
            let request = v1::CreateSecretRequest {
                name: name.to_string(),
                visibility: visibility.into(),
                value: Some(sealer.seal(&value)?),
                no_auto_install: args.no_auto_install,
                delivery: v1::Delivery::from(delivery).into(),
                description: args.description.clone(),
                variable: args.variable.clone().unwrap_or_default(),
            };
            remote.secrets().create_secret(request).await
        })
        .await?
        .into_inner();
    saved("created", reply.secret, reply.warnings, &told, "", out)
}

pub async fn list(remote: &Remote, out: &Out, args: SecretList) -> Done {
    let mut secrets = Vec::new();
    let mut page_token = String::new();
    loop {
        let request = v1::ListSecretsRequest {
            query: args.query.clone(),
            visibility: wanted(&args.visibility).into(),
            page_size: 1000,
            page_token,
            with_use: false,
        };
        let page = remote.secrets().list_secrets(request).await?.into_inner();
        secrets.extend(page.secrets);
        page_token = page.next_page_token;
        if page_token.is_empty() {
            break;
        }
    }
    if out.is_json() {
        return out.json(&secrets.iter().map(views::secret).collect::<Vec<_>>());
    }
    if secrets.is_empty() {
        out.note(match &*args.query {
            "" => "no secrets yet; save one: keyfob secret create NAME --private",
            _ => "no secret has this in its name, variable or description",
        });
        return Ok(());
    }
    out.table(views::SECRET_HEADS, &secrets.iter().map(views::secret_row).collect::<Vec<_>>())
}

pub async fn show(remote: &Remote, out: &Out, args: SecretShow) -> Done {
    let found = get(remote, &args.secret).await?;
    let secret = found.secret.unwrap_or_default();
    let leaks = leaks::of(remote, &secret).await?;
    if out.is_json() {
        return out.json(&views::with(
            views::secret(&secret),
            [
                ("leaks", leaks.iter().map(leaks::leak).collect::<Vec<Json>>().into()),
                ("versions", found.versions.iter().map(views::secret_version).collect::<Vec<Json>>().into()),
                ("deliveries", found.deliveries.iter().map(views::delivered).collect::<Vec<Json>>().into()),
                ("receipts", views::receipts(&found.receipts.unwrap_or_default())),
            ],
        ));
    }
    out.fields(&views::secret_fields(&secret))?;
    out.line("")?;
    let versions: Vec<_> = found
        .versions
        .iter()
        .map(|v| {
            let state = if v.replaced_at.is_none() { "current".into() } else { views::short_time(&v.replaced_at) };
            [v.version.clone(), views::short_time(&v.created_at), v.created_by.clone(), state]
        })
        .collect();
    out.table(["VERSION", "SAVED", "BY", "REPLACED"], &versions)?;
    out.line("")?;
    if found.deliveries.is_empty() {
        out.line("no session got it yet")?;
        return leaks::section(out, &secret, &leaks);
    }
    out.table(views::DELIVERY_HEADS, &found.deliveries.iter().map(views::delivery_row).collect::<Vec<_>>())?;
    out.line("")?;
    out.line(&views::receipts_line(&found.receipts.unwrap_or_default()))?;
    leaks::section(out, &secret, &leaks)
}

pub async fn deliveries(remote: &Remote, out: &Out, args: SecretDeliveries) -> Done {
    let r#ref = Some(reference(&args.secret)?);
    let (mut deliveries, mut page_token) = (Vec::new(), String::new());
    let (receipts, version) = loop {
        let request = v1::ListDeliveriesRequest { r#ref: r#ref.clone(), live: args.live, page_size: 1000, page_token };
        let page = remote.secrets().list_deliveries(request).await.map_err(|e| not_found(e.into()))?.into_inner();
        deliveries.extend(page.deliveries);
        page_token = page.next_page_token;
        if page_token.is_empty() {
            break (page.receipts.unwrap_or_default(), page.version);
        }
    };
    if out.is_json() {
        return out.json(&json!({
            "version": version,
            "receipts": views::receipts(&receipts),
            "deliveries": deliveries.iter().map(views::delivered).collect::<Vec<_>>(),
        }));
    }
    out.note(&format!("current version: {version}"));
    if deliveries.is_empty() {
        out.note("no session got it");
    } else {
        out.table(views::DELIVERY_HEADS, &deliveries.iter().map(views::delivery_row).collect::<Vec<_>>())?;
    }
    out.line(&views::receipts_line(&receipts))
}

/// What is asked of the server, where running sessions are meant too.
fn push(flags: &PushFlags) -> Done<Option<v1::PushOptions>> {
    let pace = &flags.pace;
    if !flags.push && (pace.wait || pace.max_in_flight.is_some() || pace.patience.is_some()) {
        return Err(Failure::usage("--wait, --max-in-flight and --patience go with --push"));
    }
    Ok(flags.push.then(|| rollout::options(pace)))
}

pub async fn edit(remote: &Remote, out: &Out, args: SecretEdit) -> Done {
    let variable = match args.variable {
        Some(variable) => {
            Some(Variable::parse(&variable).map_err(|e| Failure::usage(format!("--variable: {e}")))?.to_string())
        }
        None => args.derive_variable.then(String::new),
    };
    let auto_install = (args.auto_install || args.no_auto_install).then_some(args.auto_install);
    if variable.is_none() && auto_install.is_none() && args.description.is_none() {
        return Err(Failure::usage(
            "nothing to change: say --description, --auto-install, --no-auto-install, --variable or --derive-variable; for a new value: \
             keyfob secret rotate NAME",
        ));
    }
    let request = v1::UpdateSecretRequest {
        r#ref: Some(reference(&args.secret)?),
        description: args.description,
        auto_install,
        variable,
        push: push(&args.push)?,
    };
    let reply = remote.secrets().update_secret(request).await.map_err(|e| not_found(e.into()))?.into_inner();
    saved("changed", reply.secret, vec![], &[], &reply.rollout, out)?;
    rollout::pushed(remote, out, &reply.rollout, &args.push).await
}

pub async fn rotate(remote: &Remote, out: &Out, args: SecretRotate) -> Done {
    let r#ref = reference(&args.secret)?;
    let current = get(remote, &args.secret).await?.secret.unwrap_or_default();
    let expected_version =
        if args.force { String::new() } else { args.expect.unwrap_or_else(|| current.version.clone()) };
    let push = push(&args.push)?;
    let when = if push.is_some() { "now" } else { "at their next boot" };
    out.note(&format!("{} is ${} in sessions; they get the new value {when}", current.name, current.variable));
    let delivery = Delivery::from(current.delivery());
    let value = input::value(&args.source, &format!("New value of {} (not shown): ", current.name), true).await?;
    let as_file = format!("delete it and create it anew with --file: keyfob secret delete {}", current.name);
    let told = check(&value, delivery, &as_file, out, args.source.trim_newline)?;
    // By id: what was shown is what is replaced, even if another secret takes the name meanwhile.
    let r#ref = v1::SecretRef { id: current.id, ..r#ref };
    let reply = remote
        .call_sealed(async |sealer| {
            let request = v1::RotateSecretRequest {
                r#ref: Some(r#ref.clone()),
                value: Some(sealer.seal(&value)?),
                expected_version: expected_version.clone(),
                push,
            };
            remote.secrets().rotate_secret(request).await
        })
        .await
        .map_err(not_found)?
        .into_inner();
    saved("rotated", reply.secret, reply.warnings, &told, &reply.rollout, out)?;
    rollout::pushed(remote, out, &reply.rollout, &args.push).await
}

pub async fn delete(remote: &Remote, out: &Out, args: SecretDelete) -> Done {
    let flags = PushFlags { push: args.push.push || args.revoke, ..args.push };
    let push = push(&flags)?;
    let r#ref = reference(&args.secret)?;
    let current = get(remote, &args.secret).await?.secret.unwrap_or_default();
    let what = format!(
        "deleting the {} secret {} (${}){}",
        views::visibility(current.visibility()),
        current.name,
        current.variable,
        if flags.push { " takes it out of running sessions, too" } else { "" }
    );
    input::confirm(&args.sure, out, &what).await?;
    let request = v1::DeleteSecretRequest {
        r#ref: Some(v1::SecretRef { id: current.id.clone(), ..r#ref }),
        expected_version: args.expect.unwrap_or_else(|| current.version.clone()),
        push,
    };
    let reply = remote.secrets().delete_secret(request).await.map_err(|e| not_found(e.into()))?.into_inner();
    if out.is_json() {
        out.json(&json!({
            "id": current.id,
            "name": current.name,
            "live_sessions": reply.live_sessions,
            "holders": reply.holders.iter().map(views::delivered).collect::<Vec<_>>(),
            "rollout": Some(&reply.rollout).filter(|id| !id.is_empty()),
        }))?;
        return rollout::pushed(remote, out, &reply.rollout, &flags).await;
    }
    out.line(&format!("deleted {}", current.name))?;
    if reply.live_sessions > 0 && args.revoke {
        out.line(&format!(
            "{} live session(s) got it; what runs there may still hold it in memory:",
            reply.live_sessions
        ))?;
        out.table(views::DELIVERY_HEADS, &reply.holders.iter().map(views::delivery_row).collect::<Vec<_>>())?;
    } else if reply.live_sessions > 0 {
        let until = if flags.push { "in memory until they end" } else { "until they end" };
        out.note(&format!("{} live session(s) got it and keep it {until}: keyfob session list", reply.live_sessions));
    }
    rollout::pushed(remote, out, &reply.rollout, &flags).await
}

pub async fn preview(remote: &Remote, out: &Out, args: args::Preview) -> Done {
    if let Some(user) = &args.user {
        UserName::parse(user).map_err(|e| Failure::usage(format!("--as: {e}")))?;
    }
    let request =
        v1::PreviewBundleRequest { user: args.user.clone().unwrap_or_default(), environment: args.environment.clone() };
    let reply = remote.secrets().preview_bundle(request).await?.into_inner();
    let user = args.user.unwrap_or_else(|| remote.identity.subject.name().to_owned());
    if out.is_json() {
        return out.json(&json!({
            "user": user,
            "environment": args.environment,
            "environment_version": reply.environment_version,
            "private_hidden": reply.private_hidden,
            "items": reply.items.iter().map(views::preview_item).collect::<Vec<_>>(),
        }));
    }
    out.note(&format!("a session of {user} in {} (version {}) gets:", args.environment, reply.environment_version));
    let rows: Vec<_> = reply
        .items
        .iter()
        .map(|item| {
            let fate = match (item.installed, item.delivery()) {
                (true, v1::Delivery::File) => "file".to_owned(),
                (true, _) => "yes".to_owned(),
                (false, _) => format!("no: {}", item.left_out_reason),
            };
            let origin = format!("{} {}", item.origin().word(), item.name);
            [item.variable.clone(), fate, origin, views::short(&item.version), item.overrides.join(", ")]
        })
        .collect();
    if rows.is_empty() {
        out.note("nothing");
    } else {
        out.table(["VARIABLE", "INSTALLED", "FROM", "VERSION", "OVERRIDES"], &rows)?;
    }
    if reply.private_hidden {
        out.note(&format!("private secrets of {user} are not shown; they may add to this and override it"));
    }
    Ok(())
}

pub fn parse_name(given: &str) -> Done<name::SecretName> {
    name::SecretName::parse(given).map_err(|e| Failure::usage(e.to_string()))
}

/// Must be said: neither is a safe guess.
pub fn said(flags: &args::Visibility) -> Done<v1::Visibility> {
    match wanted(flags) {
        v1::Visibility::Unspecified => Err(Failure::usage(
            "who shall get it? --private: only your own sessions; --shared: every session of the organization",
        )),
        visibility => Ok(visibility),
    }
}

pub fn wanted(flags: &args::Visibility) -> v1::Visibility {
    match (flags.private, flags.shared) {
        (true, _) => v1::Visibility::Private,
        (_, true) => v1::Visibility::Shared,
        _ => v1::Visibility::Unspecified,
    }
}

fn reference(secret: &args::SecretName) -> Done<v1::SecretRef> {
    let name = parse_name(&secret.name)?.to_string();
    Ok(v1::SecretRef { id: String::new(), name, visibility: wanted(&secret.visibility).into() })
}

async fn get(remote: &Remote, secret: &args::SecretName) -> Done<v1::GetSecretResponse> {
    let request = v1::GetSecretRequest { r#ref: Some(reference(secret)?) };
    Ok(remote.secrets().get_secret(request).await.map_err(|e| not_found(e.into()))?.into_inner())
}

fn not_found(failure: Failure) -> Failure {
    failure.hint("not_found", "`keyfob secret list` shows what there is")
}

/// Refuses what could not be stored, before it is sent; tells what is odd about the rest. Gives what was told.
fn check(value: &Value, delivery: Delivery, as_file: &str, out: &Out, trimmed: bool) -> Done<Vec<&'static str>> {
    value::check(value.expose(), delivery).map_err(|e| {
        let by_file = matches!(e, Unfit::Nul | Unfit::NotUtf8 | Unfit::Noncharacter);
        let next = if by_file { format!(": {as_file}") } else { String::new() };
        Failure::refused("invalid_argument", format!("{e}{next}"))
    })?;
    let odd = value::warnings(value.expose(), forms::strength(value.expose()));
    for warning in &odd {
        out.warn(warning);
    }
    if !odd.is_empty() && !trimmed && value.expose().ends_with(b"\n") {
        out.note("to leave a newline at the end out: --trim-newline");
    }
    Ok(odd)
}

fn saved(
    done: &str,
    secret: Option<v1::Secret>,
    warnings: Vec<String>,
    told: &[&str],
    rollout: &str,
    out: &Out,
) -> Done {
    let secret = secret.unwrap_or_default();
    if out.is_json() {
        let pushed = (!rollout.is_empty()).then(|| ("rollout", rollout.into()));
        return out
            .json(&views::with(views::secret(&secret), [("warnings", warnings.into())].into_iter().chain(pushed)));
    }
    let news: Vec<_> = warnings.iter().filter(|w| !told.contains(&w.as_str())).collect();
    news.iter().for_each(|warning| out.warn(warning));
    out.line(&format!(
        "{done} {} {}: ${}, version {}",
        views::visibility(secret.visibility()),
        secret.name,
        secret.variable,
        secret.version
    ))?;
    match views::precedence_note(secret.precedence()) {
        note if !note.is_empty() && news.is_empty() => out.note(note),
        _ => {}
    }
    Ok(())
}
