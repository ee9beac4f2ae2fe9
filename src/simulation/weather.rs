//! What happens, and when: drawn from the seed before anything begins. Faults have an end each, so that all is well after the
//! last of them.

use super::{network::Side, random::Random};

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// What one side sends does not arrive.
    Block(usize, Side, bool),
    Slow(usize, Option<u64>),
    Cut(usize),
    /// Whether its machine goes with it.
    KillAgent(usize, bool),
    StartAgent(usize),
    KillServer,
    StartServer,
    SendAway,
    /// By seconds; the agent's, or the server's.
    Clock(Option<usize>, i64),
    Deed(Deed),
}

/// What an admin does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Deed {
    /// A new value; pushed to so many at once, with so many seconds of patience.
    Rotate(Option<(u32, u32)>),
    /// All that is not pushed yet.
    Push(u32, u32),
    Revoke(usize),
    End(usize),
}

pub struct Weather {
    pub agents: usize,
    /// Minutes that a session's certificate lives.
    pub life: i64,
    /// In order; milliseconds from the beginning.
    pub events: Vec<(u64, Event)>,
    pub length: u64,
}

impl Weather {
    pub fn of(random: &mut Random, most_agents: u64) -> Self {
        let agents = random.within(2, most_agents) as usize;
        let long = random.one_in(5);
        // Long enough for a renewal, with time for three faults before the end of the old certificate.
        let (life, length) =
            if long { (10, random.within(480_000, 720_000)) } else { (60, random.within(60_000, 180_000)) };
        let mut events = Vec::new();
        for _ in 0..random.within(4, 9) {
            let at = random.within(1_000, length);
            events.push((at, Event::Deed(deed(random))));
            // Several come together now and then.
            for _ in 0..if random.one_in(4) { random.within(1, 3) } else { 0 } {
                events.push((at + random.within(0, 700), Event::Deed(Deed::Rotate(Some(pace(random))))));
            }
        }
        for _ in 0..random.within(0, 1) * random.within(0, 2) {
            let (at, agent) = (random.within(20_000, length), random.within(0, agents as u64 - 1) as usize);
            let deed = if random.one_in(3) { Deed::End(agent) } else { Deed::Revoke(agent) };
            events.push((at, Event::Deed(deed)));
        }
        for _ in 0..random.within(3, 12) {
            let at = random.within(0, length - 5_000);
            fault(random, agents, at, &mut events);
        }
        if long && random.one_in(2) {
            // When it comes to renewing.
            let at = random.within(life as u64 * 60_000 * 60 / 100, life as u64 * 60_000 * 70 / 100);
            let (agent, hour) =
                (random.within(0, agents as u64 - 1) as usize, if random.one_in(3) { -3_600 } else { 3_600 });
            events.push((at, Event::Clock(Some(agent), hour)));
            events.push((at + random.within(20_000, 60_000), Event::Clock(Some(agent), 0)));
        }
        events.sort_by_key(|(at, _)| *at);
        Self { agents, life, events, length }
    }
}

fn pace(random: &mut Random) -> (u32, u32) {
    let at_once = if random.one_in(3) { random.within(1, 2) as u32 } else { 0 };
    (at_once, random.within(10, 60) as u32)
}

fn deed(random: &mut Random) -> Deed {
    match random.within(0, 7) {
        0 => Deed::Rotate(None),
        1 => {
            let (at_once, patience) = pace(random);
            Deed::Push(at_once, patience)
        }
        _ => Deed::Rotate(Some(pace(random))),
    }
}

fn fault(random: &mut Random, agents: usize, at: u64, events: &mut Vec<(u64, Event)>) {
    let agent = random.within(0, agents as u64 - 1) as usize;
    let all = random.one_in(6);
    let whom = if all { 0..agents } else { agent..agent + 1 };
    let end = at + random.within(500, 60_000);
    match random.within(0, 11) {
        0 | 1 => {
            let sides: &[Side] = match random.within(0, 3) {
                0 => &[Side::Agent],
                1 => &[Side::Server],
                _ => &[Side::Agent, Side::Server],
            };
            for agent in whom {
                for side in sides {
                    events.push((at, Event::Block(agent, *side, true)));
                    events.push((end, Event::Block(agent, *side, false)));
                }
            }
        }
        2 | 3 => {
            let slow = random.within(50, 3_000);
            for agent in whom {
                events.push((at, Event::Slow(agent, Some(slow))));
                events.push((end, Event::Slow(agent, None)));
            }
        }
        4 => events.extend(whom.map(|agent| (at, Event::Cut(agent)))),
        5 | 6 => {
            let machine = random.one_in(3);
            for agent in whom {
                events.push((at, Event::KillAgent(agent, machine)));
                if !random.one_in(12) {
                    events.push((at + random.within(300, 40_000), Event::StartAgent(agent)));
                }
            }
        }
        7 | 8 => {
            events.push((at, Event::KillServer));
            events.push((at + random.within(200, 30_000), Event::StartServer));
        }
        9 => events.push((at, Event::SendAway)),
        _ => {
            let hour = if random.one_in(2) { 3_600 } else { -3_600 };
            let whose = if random.one_in(2) { Some(agent) } else { None };
            events.push((at, Event::Clock(whose, hour)));
            events.push((end, Event::Clock(whose, 0)));
        }
    }
}
