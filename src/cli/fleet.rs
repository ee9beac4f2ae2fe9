//! `keyfob fleet`: all agents, as the control plane knows them.

use std::{cmp::Reverse, collections::BTreeMap, time::Duration};

use serde_json::{Value as Json, json};
use tonic::Code;

use super::{args::FleetFilter, failure::Done, live::Live, output::Out, remote::Remote, session, views};
use crate::wire::v1::{self, FleetAgent};

/// Between two attempts to watch on.
const PAUSES: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(15));
/// Ages are redrawn this often.
const REDRAW: Duration = Duration::from_secs(1);

fn filter(args: FleetFilter) -> v1::FleetFilter {
    v1::FleetFilter {
        user: args.user.unwrap_or_default(),
        environment: args.environment.unwrap_or_default(),
        phase: args.phase.map_or(v1::Phase::Unspecified, Into::into).into(),
        stale: args.stale,
        outdated: args.outdated,
        cloned: args.cloned,
    }
}

pub async fn list(remote: &Remote, out: &Out, args: FleetFilter) -> Done {
    let filter = Some(filter(args));
    let (mut agents, mut page_token) = (Vec::new(), String::new());
    loop {
        let request = v1::ListFleetRequest { filter: filter.clone(), page_size: 1_000, page_token };
        let page = remote.fleet().list_fleet(request).await?.into_inner();
        agents.extend(page.agents);
        page_token = page.next_page_token;
        if page_token.is_empty() {
            break;
        }
    }
    if out.is_json() {
        return out.json(&agents.iter().map(json).collect::<Vec<_>>());
    }
    if agents.is_empty() {
        out.note("no agents; `keyfob session list --all` shows sessions that have none");
        return Ok(());
    }
    out.table(HEADS, &agents.iter().map(row).collect::<Vec<_>>())
}

pub async fn show(remote: &Remote, out: &Out, id: &str) -> Done {
    let request = v1::GetFleetAgentRequest { session: session::parse(id)? };
    let reply = remote.fleet().get_fleet_agent(request).await.map_err(session::not_found)?;
    let agent = reply.into_inner().agent.unwrap_or_default();
    if out.is_json() {
        return out.json(&json(&agent));
    }
    let s = agent.session.clone().unwrap_or_default();
    let clone = match views::short_time(&agent.cloned_at) {
        at if at.is_empty() => at,
        at => format!("{at}: {}", agent.clone),
    };
    let mut fields = vec![
        ("session", s.id.clone()),
        ("user", user(&s)),
        ("environment", format!("{}, version {}", s.environment, s.environment_version)),
        ("state", views::session_state(s.state()).to_owned()),
        ("stale", if agent.stale { "yes: silent for three beats".into() } else { String::new() }),
        (
            "outdated",
            if agent.outdated { "yes: its bundle is not what it would get now".into() } else { String::new() },
        ),
        ("cloned", clone),
        ("enrolled", views::short_time(&s.enrolled_at)),
        ("fetched", views::short_time(&s.fetched_at)),
    ];
    fields.extend(views::agent_fields(&s));
    out.fields(&fields)
}

pub async fn watch(remote: &Remote, out: &Out, args: FleetFilter) -> Done {
    let filter = filter(args);
    let (mut table, mut live) = (Table::default(), Live::new(out));
    let (mut pause, longest) = PAUSES;
    let mut before = false;
    loop {
        let request = v1::WatchFleetRequest { filter: Some(filter.clone()) };
        let broke = match remote.fleet().watch_fleet(request).await {
            Ok(changes) => {
                (pause, before) = (PAUSES.0, true);
                follow(changes.into_inner(), &mut table, &mut live, out).await?
            }
            Err(status) => status,
        };
        // Before the first answer, what is wrong is for the caller to know.
        if !before
            || !matches!(broke.code(), Code::Unavailable | Code::Cancelled | Code::Unknown | Code::DeadlineExceeded)
        {
            return Err(broke.into());
        }
        if !live.is_terminal() {
            out.note("the connection to the control plane broke; trying again");
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(longest);
    }
}

/// Until the stream breaks; gives why.
async fn follow(
    mut changes: tonic::Streaming<v1::WatchFleetResponse>,
    table: &mut Table,
    live: &mut Live<'_>,
    out: &Out,
) -> Done<tonic::Status> {
    let (mut complete, mut fresh) = (false, BTreeMap::new());
    loop {
        let change = tokio::select! {
            change = changes.message() => match change {
                Ok(Some(change)) => change,
                Ok(None) => return Ok(tonic::Status::unavailable("the stream ended")),
                Err(status) => return Ok(status),
            },
            () = tokio::time::sleep(REDRAW), if complete && live.is_terminal() => {
                live.show(&table.draw(out, live.room()))?;
                continue;
            }
        };
        if !complete {
            // A snapshot replaces what was known before the connection broke.
            fresh.extend(change.agents.into_iter().map(|agent| (id(&agent), agent)));
            if !change.complete {
                continue;
            }
            complete = true;
            let gone: Vec<_> = table.0.keys().filter(|id| !fresh.contains_key(*id)).cloned().collect();
            table.take(std::mem::take(&mut fresh).into_values().collect(), gone, live, out)?;
        } else {
            table.take(change.agents, change.gone, live, out)?;
        }
        if live.is_terminal() {
            live.show(&table.draw(out, live.room()))?;
        }
    }
}

/// By session.
#[derive(Default)]
struct Table(BTreeMap<String, FleetAgent>);

impl Table {
    /// Takes changes in; where there is no terminal to draw on, tells them.
    fn take(&mut self, agents: Vec<FleetAgent>, gone: Vec<String>, live: &Live<'_>, out: &Out) -> Done {
        for agent in agents {
            let before = self.0.insert(id(&agent), agent.clone());
            // That it was heard again is no news.
            let quiet = before.is_some_and(|before| still(before) == still(agent.clone()));
            match () {
                () if out.is_json() => out.json_line(&views::with(json(&agent), [("event", "agent".into())]))?,
                () if live.is_terminal() || quiet => {}
                () => out.line(&row(&agent).map(|cell| if cell.is_empty() { "-".into() } else { cell }).join("  "))?,
            }
        }
        for id in gone.into_iter().filter(|id| self.0.remove(id).is_some()).collect::<Vec<_>>() {
            match () {
                () if out.is_json() => out.json_line(&json!({"event": "gone", "session": id}))?,
                () if live.is_terminal() => {}
                () => out.line(&format!("{id}  gone"))?,
            }
        }
        Ok(())
    }

    fn draw(&self, out: &Out, room: usize) -> String {
        let count = |what: fn(&FleetAgent) -> bool| self.0.values().filter(|a| what(a)).count();
        let mut head = format!("{} agents", self.0.len());
        for (word, count) in [
            ("ready", count(|a| phase(a) == v1::Phase::Ready)),
            ("stale", count(|a| a.stale)),
            ("outdated", count(|a| a.outdated)),
            ("cloned", count(|a| a.cloned_at.is_some())),
        ] {
            head.push_str(&format!(", {count} {word}"));
        }
        let mut agents: Vec<_> = self.0.values().collect();
        agents.sort_by_key(|a| Reverse(trouble(a))); // stable: then by session
        let shown = room.saturating_sub(3).min(agents.len());
        let mut text =
            format!("{head}\n{}", out.to_table(HEADS, &agents[..shown].iter().map(|a| row(a)).collect::<Vec<_>>()));
        if shown < agents.len() {
            text.push_str(&format!("... and {} more\n", agents.len() - shown));
        }
        text
    }
}

/// What needs a look comes first.
fn trouble(agent: &FleetAgent) -> u8 {
    let phase = match phase(agent) {
        v1::Phase::Refused | v1::Phase::Failed => 8,
        v1::Phase::Degraded => 4,
        _ => 0,
    };
    16 * u8::from(agent.cloned_at.is_some()) + phase + 2 * u8::from(agent.stale) + u8::from(agent.outdated)
}

fn still(mut agent: FleetAgent) -> FleetAgent {
    if let Some(session) = &mut agent.session {
        session.reported_at = None;
    }
    agent
}

fn id(agent: &FleetAgent) -> String {
    agent.session.as_ref().map(|s| s.id.clone()).unwrap_or_default()
}

fn phase(agent: &FleetAgent) -> v1::Phase {
    agent.session.as_ref().and_then(|s| s.agent.as_ref()).map_or(v1::Phase::Unspecified, |a| a.phase())
}

fn user(s: &v1::Session) -> String {
    if s.user.is_empty() { "(automation)".into() } else { s.user.clone() }
}

const HEADS: [&str; 7] = ["SESSION", "USER", "ENVIRONMENT", "PHASE", "BUNDLE", "HEARD", "NOTE"];

fn row(agent: &FleetAgent) -> [String; 7] {
    let s = agent.session.clone().unwrap_or_default();
    let a = s.agent.clone().unwrap_or_default();
    let mut notes: Vec<&str> = Vec::new();
    notes.extend(agent.cloned_at.is_some().then_some("cloned"));
    notes.extend(agent.stale.then_some("stale"));
    notes.extend(agent.outdated.then_some("outdated"));
    let error = if a.last_error_names && a.last_error.is_empty() { "(error may name a secret)" } else { &a.last_error };
    notes.extend((!error.is_empty()).then_some(error));
    [
        s.id.clone(),
        user(&s),
        format!("{}@{}", s.environment, s.environment_version),
        s.agent.as_ref().map_or("-", |a| views::phase(a.phase())).into(),
        views::short(&a.bundle_version),
        views::age(&s.reported_at).map(|age| format!("{age} ago")).unwrap_or_default(),
        notes.join(", "),
    ]
}

pub fn json(agent: &FleetAgent) -> Json {
    views::with(
        views::session(&agent.session.clone().unwrap_or_default()),
        [
            ("stale", agent.stale.into()),
            ("outdated", agent.outdated.into()),
            ("cloned_at", views::time(&agent.cloned_at).into()),
            ("clone", (!agent.clone.is_empty()).then(|| agent.clone.clone()).into()),
        ],
    )
}
