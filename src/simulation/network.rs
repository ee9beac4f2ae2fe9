//! Connections between the agents and the server: bytes in order, later. A link is one agent's way to the server, with all the
//! connections on it; it can be slow, blocked in one direction or both, and cut. What is sent while it is blocked arrives
//! when it is not any more, as TCP would see to.

use std::{
    collections::VecDeque,
    io,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    task::{Context, Poll, Waker},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::{Instant, Sleep, sleep, sleep_until},
};

use super::random::Random;

/// Which way bytes go; and who writes them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Side {
    Agent,
    Server,
}

impl Side {
    fn other(self) -> Self {
        match self {
            Self::Agent => Self::Server,
            Self::Server => Self::Agent,
        }
    }
}

pub fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

pub struct Link {
    random: Random,
    state: Mutex<State>,
}

struct State {
    /// What agent or server writes does not get through.
    blocked: [bool; 2],
    /// The longest that bytes take, in milliseconds.
    slow: u64,
    pipes: Vec<Weak<Pipe>>,
    opened: u64,
}

const QUICK: u64 = 4;

impl Link {
    pub fn new(random: Random) -> Arc<Self> {
        let state = State { blocked: [false; 2], slow: QUICK, pipes: Vec::new(), opened: 0 };
        Arc::new(Self { random, state: Mutex::new(state) })
    }

    pub fn block(&self, whose: Side, blocked: bool) {
        lock(&self.state).blocked[whose as usize] = blocked;
        self.pipes().iter().for_each(|pipe| pipe.wake());
    }

    pub fn slow(&self, milliseconds: Option<u64>) {
        lock(&self.state).slow = milliseconds.unwrap_or(QUICK);
    }

    pub fn is_good(&self) -> bool {
        let state = lock(&self.state);
        state.blocked == [false; 2] && state.slow == QUICK
    }

    /// Resets all connections, at both ends.
    pub fn cut(&self) {
        for pipe in self.pipes() {
            pipe.kill(Side::Agent, true);
            pipe.kill(Side::Server, true);
        }
    }

    /// One end's process is gone; where it is not `said`, its machine is, and the other end hears nothing.
    pub fn lose(&self, side: Side, said: bool) {
        self.pipes().iter().for_each(|pipe| pipe.kill(side, !said));
    }

    fn pipes(&self) -> Vec<Arc<Pipe>> {
        let mut state = lock(&self.state);
        state.pipes.retain(|pipe| pipe.strong_count() > 0);
        state.pipes.iter().filter_map(Weak::upgrade).collect()
    }

    fn is_blocked(&self, whose: Side) -> bool {
        lock(&self.state).blocked[whose as usize]
    }

    /// Waits for as long as it takes to get there and back.
    pub async fn greet(&self) {
        let mut random = {
            let mut state = lock(&self.state);
            state.opened += 1;
            self.random.fork(state.opened)
        };
        let slow = lock(&self.state).slow;
        sleep(Duration::from_millis(random.within(2, 2 * slow))).await;
        while self.is_blocked(Side::Agent) || self.is_blocked(Side::Server) {
            sleep(Duration::from_secs(1)).await; // as it is sent again
        }
    }

    /// A connection: the agent's end and the server's.
    pub fn connect(self: &Arc<Self>) -> (End, End) {
        let mut state = lock(&self.state);
        state.opened += 1;
        let random = self.random.fork(state.opened);
        let flow = |name| Mutex::new(Flow::new(random.fork(name)));
        let pipe = Arc::new(Pipe { link: self.clone(), flows: [flow(1), flow(2)] });
        state.pipes.push(Arc::downgrade(&pipe));
        (End::new(pipe.clone(), Side::Agent), End::new(pipe, Side::Server))
    }
}

struct Pipe {
    link: Arc<Link>,
    /// What agent and server write.
    flows: [Mutex<Flow>; 2],
}

struct Flow {
    on_the_way: VecDeque<(Instant, Arrival)>,
    latest: Option<Instant>,
    random: Random,
    /// Who reads it.
    reader: Option<Waker>,
    /// Nobody writes to it or reads from it any more.
    unwritten: bool,
    unread: bool,
    /// And whoever writes to it is not told.
    silent: bool,
}

enum Arrival {
    Bytes(Vec<u8>, usize),
    End,
    Reset,
}

impl Flow {
    fn new(random: Random) -> Self {
        let (unwritten, unread, silent) = Default::default();
        Self { on_the_way: VecDeque::new(), latest: None, random, reader: None, unwritten, unread, silent }
    }

    fn send(&mut self, arrival: Arrival, slow: u64) {
        let delay = match self.random.one_in(12) {
            true => self.random.within(slow, 8 * slow),
            false => self.random.within(1, slow),
        };
        let due = Instant::now() + Duration::from_millis(delay);
        let due = self.latest.map_or(due, |latest| latest.max(due));
        self.latest = Some(due);
        self.on_the_way.push_back((due, arrival));
        if let Some(waker) = self.reader.take() {
            waker.wake();
        }
    }
}

impl Pipe {
    fn written_by(&self, side: Side) -> MutexGuard<'_, Flow> {
        lock(&self.flows[side as usize])
    }

    fn slow(&self) -> u64 {
        lock(&self.link.state).slow
    }

    fn wake(&self) {
        for flow in &self.flows {
            if let Some(waker) = lock(flow).reader.take() {
                waker.wake();
            }
        }
    }

    fn kill(&self, side: Side, silent: bool) {
        let slow = self.slow();
        {
            let mut own = self.written_by(side);
            own.unwritten = true;
            if !silent {
                own.send(Arrival::Reset, slow);
            }
        }
        {
            let mut others = self.written_by(side.other());
            (others.unread, others.silent) = (true, silent);
        }
        self.wake();
    }
}

/// One end of a connection.
pub struct End {
    pipe: Arc<Pipe>,
    side: Side,
    sleep: Option<Pin<Box<Sleep>>>,
}

impl End {
    fn new(pipe: Arc<Pipe>, side: Side) -> Self {
        Self { pipe, side, sleep: None }
    }
}

fn gone() -> io::Error {
    io::ErrorKind::ConnectionReset.into()
}

impl AsyncRead for End {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let (pipe, other) = (self.pipe.clone(), self.side.other());
        loop {
            let blocked = pipe.link.is_blocked(other);
            let mut flow = pipe.written_by(other);
            if flow.unread {
                return Poll::Ready(Err(gone()));
            }
            let due = match flow.on_the_way.front_mut() {
                Some((due, arrival)) if !blocked && *due <= Instant::now() => {
                    let read = match arrival {
                        Arrival::End => Ok(()),
                        Arrival::Reset => Err(gone()),
                        Arrival::Bytes(bytes, taken) => {
                            let rest = &bytes[*taken..];
                            let now = rest.len().min(buf.remaining());
                            buf.put_slice(&rest[..now]);
                            *taken += now;
                            if *taken == bytes.len() {
                                flow.on_the_way.pop_front();
                            }
                            Ok(())
                        }
                    };
                    return Poll::Ready(read);
                }
                Some((due, _)) if !blocked => Some(*due),
                _ => None,
            };
            flow.reader = Some(cx.waker().clone());
            drop(flow);
            let Some(due) = due else { return Poll::Pending };
            match &mut self.sleep {
                Some(sleep) => sleep.as_mut().reset(due),
                none => *none = Some(Box::pin(sleep_until(due))),
            }
            let Some(sleep) = &mut self.sleep else { return Poll::Pending };
            if sleep.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
        }
    }
}

impl AsyncWrite for End {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let (slow, blocked) = (self.pipe.slow(), self.pipe.link.is_blocked(self.side));
        let mut flow = self.pipe.written_by(self.side);
        if flow.unwritten || (flow.unread && !flow.silent && !blocked) {
            return Poll::Ready(Err(gone()));
        }
        flow.send(Arrival::Bytes(bytes.to_vec(), 0), slow);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        let slow = self.pipe.slow();
        let mut flow = self.pipe.written_by(self.side);
        if !flow.unwritten {
            flow.unwritten = true;
            flow.send(Arrival::End, slow);
        }
        Poll::Ready(Ok(()))
    }
}

impl Drop for End {
    fn drop(&mut self) {
        let slow = self.pipe.slow();
        {
            let mut flow = self.pipe.written_by(self.side);
            if !flow.unwritten {
                flow.unwritten = true;
                flow.send(Arrival::End, slow);
            }
        }
        self.pipe.written_by(self.side.other()).unread = true;
    }
}
