//! `keyfob push` and `keyfob rollout`: change running sessions, and watch it arrive.

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde_json::json;

use super::{
    args::{Pace, Push, PushFlags},
    failure::{Done, Failure},
    output::Out,
    remote::Remote,
    secret, views,
};
use crate::{
    domain::{
        name::{EnvironmentName, Id},
        rollout::State,
    },
    wire::v1::{self, create_rollout_request::Reach},
};

pub async fn push(remote: &Remote, out: &Out, args: Push) -> Done {
    let reach = match (&args.secret, &args.environment, &args.session) {
        (Some(name), ..) => Reach::Secret(v1::SecretRef {
            name: secret::parse_name(name)?.to_string(),
            visibility: secret::wanted(&args.visibility).into(),
            ..Default::default()
        }),
        (_, Some(name), _) => {
            EnvironmentName::parse(name).map_err(|e| Failure::usage(e.to_string()))?;
            Reach::Environment(name.clone())
        }
        (.., Some(id)) => Reach::Session(parse(id)?),
        _ => Reach::All(true),
    };
    let request = v1::CreateRolloutRequest { reach: Some(reach), options: Some(options(&args.pace)) };
    let reply = remote.rollouts().create_rollout(request).await?.into_inner();
    let rollout = reply.rollout.unwrap_or_default();
    begun(remote, out, &rollout, args.pace.wait).await
}

/// After a change that was pushed with it, by its rollout's id.
pub async fn pushed(remote: &Remote, out: &Out, id: &str, flags: &PushFlags) -> Done {
    if id.is_empty() {
        return Ok(());
    }
    let rollout = get(remote, id).await?;
    if out.is_json() && !flags.pace.wait {
        return Ok(()); // the change's own result names it
    }
    begun(remote, out, &rollout, flags.pace.wait).await
}

pub fn options(pace: &Pace) -> v1::PushOptions {
    v1::PushOptions {
        max_in_flight: pace.max_in_flight.unwrap_or(0),
        patience_seconds: pace.patience.map_or(0, u32::from),
    }
}

async fn begun(remote: &Remote, out: &Out, rollout: &v1::Rollout, wait: bool) -> Done {
    let concerned = total(rollout);
    match (concerned, wait) {
        (0, _) if out.is_json() => out.json(&views::rollout(rollout)),
        (0, _) => out.line("pushed: no running session's secrets would change"),
        (_, true) => follow(remote, out, &rollout.id).await,
        (_, false) if out.is_json() => out.json(&views::rollout(rollout)),
        (_, false) => {
            out.line(&format!("pushed to {concerned} session(s): rollout {}", rollout.id))?;
            out.note(&format!("watch it arrive: keyfob rollout show {} --wait", rollout.id));
            Ok(())
        }
    }
}

pub async fn list(remote: &Remote, out: &Out) -> Done {
    let (mut rollouts, mut page_token) = (Vec::new(), String::new());
    loop {
        let request = v1::ListRolloutsRequest { page_size: 1000, page_token };
        let page = remote.rollouts().list_rollouts(request).await?.into_inner();
        rollouts.extend(page.rollouts);
        page_token = page.next_page_token;
        if page_token.is_empty() {
            break;
        }
    }
    if out.is_json() {
        return out.json(&rollouts.iter().map(views::rollout).collect::<Vec<_>>());
    }
    if rollouts.is_empty() {
        out.note("nothing was pushed yet: keyfob push --help");
        return Ok(());
    }
    let rows: Vec<_> = rollouts
        .iter()
        .map(|r| {
            [
                r.id.clone(),
                views::reach(r),
                views::short_time(&r.created_at),
                r.created_by.clone(),
                if r.ended_at.is_some() { "ended" } else { "open" }.to_owned(),
                views::counts(r),
            ]
        })
        .collect();
    out.table(["ROLLOUT", "PUSHES", "AT", "BY", "STATE", "SESSIONS"], &rows)
}

pub async fn show(remote: &Remote, out: &Out, id: &str, wait: bool) -> Done {
    let id = parse(id)?;
    if wait {
        return follow(remote, out, &id).await;
    }
    let rollout = get(remote, &id).await?;
    let (mut targets, mut page_token) = (Vec::new(), String::new());
    loop {
        let request =
            v1::ListRolloutTargetsRequest { id: id.clone(), page_size: 1000, page_token, ..Default::default() };
        let page = remote.rollouts().list_rollout_targets(request).await?.into_inner();
        targets.extend(page.targets);
        page_token = page.next_page_token;
        if page_token.is_empty() {
            break;
        }
    }
    if out.is_json() {
        let targets: Vec<_> = targets.iter().map(views::rollout_target).collect();
        return out.json(&views::with(views::rollout(&rollout), [("targets", targets.into())]));
    }
    out.fields(&views::rollout_fields(&rollout))?;
    if targets.is_empty() {
        return Ok(());
    }
    out.line("")?;
    out.table(views::TARGET_HEADS, &targets.iter().map(views::target_row).collect::<Vec<_>>())
}

/// Until it has ended: a bar on a terminal, or a line of JSON for each change. Fails where a session does not have it.
async fn follow(remote: &Remote, out: &Out, id: &str) -> Done {
    let request = v1::WatchRolloutRequest { id: id.to_owned() };
    let mut stream = remote.rollouts().watch_rollout(request).await.map_err(not_found)?.into_inner();
    let bar = ProgressBar::new(0);
    if out.is_json() {
        bar.set_draw_target(ProgressDrawTarget::hidden()); // where there is no terminal, it hides by itself
    }
    if let Ok(style) = ProgressStyle::with_template("{wide_bar} {pos}/{len} sessions  {msg}") {
        bar.set_style(style);
    }
    let mut rollout = v1::Rollout::default();
    let mut left_behind = Vec::new();
    while let Some(v1::WatchRolloutResponse { rollout: now, changed }) = stream.message().await? {
        rollout = now.unwrap_or_default();
        for target in &changed {
            if out.is_json() {
                out.json_line(&views::rollout_target(target))?;
            }
            left_behind.retain(|t: &v1::RolloutTarget| t.session != target.session);
            if matches!(target.state(), v1::RolloutState::Failed | v1::RolloutState::Unreachable) {
                left_behind.push(target.clone());
            }
        }
        bar.set_length(total(&rollout).into());
        bar.set_position((total(&rollout) - open(&rollout)).into());
        bar.set_message(views::counts(&rollout));
    }
    bar.finish_and_clear();
    if rollout.ended_at.is_none() {
        return Err(Failure::local(format!(
            "the rollout goes on, but nothing more is heard of it; look again: keyfob rollout show {id}"
        )));
    }
    if out.is_json() {
        out.json_line(&json!({ "rollout": views::rollout(&rollout) }))?;
    } else {
        out.line(&format!("rollout {id}: {}", views::counts(&rollout)))?;
        if !left_behind.is_empty() {
            out.table(views::TARGET_HEADS, &left_behind.iter().map(views::target_row).collect::<Vec<_>>())?;
        }
    }
    match left_behind.len() {
        0 => Ok(()),
        n => Err(Failure::refused("incomplete", format!("{n} session(s) do not have it"))),
    }
}

async fn get(remote: &Remote, id: &str) -> Done<v1::Rollout> {
    let reply = remote.rollouts().get_rollout(v1::GetRolloutRequest { id: id.to_owned() }).await.map_err(not_found)?;
    Ok(reply.into_inner().rollout.unwrap_or_default())
}

fn total(rollout: &v1::Rollout) -> u32 {
    rollout.counts.iter().map(|c| c.sessions).sum()
}

fn open(rollout: &v1::Rollout) -> u32 {
    let is_open = |c: &&v1::RolloutCount| c.state().to_domain().is_some_and(State::is_open);
    rollout.counts.iter().filter(is_open).map(|c| c.sessions).sum()
}

fn parse(id: &str) -> Done<String> {
    Id::parse(id).map(|id| id.to_string()).map_err(|e| Failure::usage(e.to_string()))
}

fn not_found(status: tonic::Status) -> Failure {
    Failure::from(status).hint("not_found", "`keyfob rollout list` shows what there is")
}
