//! What may leave, and what leaves masked.

use super::{
    finder::Finder,
    track::{self, Span, Text, Track, free_by_newline},
    view::{self, View, Without},
};

/// Where the text goes.
pub trait Sink {
    /// As it came.
    fn clean(&mut self, bytes: &[u8]);
    /// The same for bytes of what is pushed, from its byte `at` on: who still has that need not copy them.
    fn passed(&mut self, _at: usize, bytes: &[u8]) {
        self.clean(bytes);
    }
    /// Instead of bytes that patterns with these labels cover, sorted, each told once.
    fn masked(&mut self, labels: &[u32]);
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// A newline lets everything before it out, unless a window stands for a pattern that is not all there yet. A pattern of
    /// several lines is then masked from the line on in which its windows are. Patterns are also found through escape sequences.
    Lines,
    /// Patterns are also found through escape sequences, CRLF and line wraps; only what follows, and idling, let text out.
    Terminal,
}

/// One stream, in whatever pieces it comes: how it is cut makes no difference to what comes out in the end.
pub struct Stream {
    mode: Mode,
    pub(super) raw: Track,
    views: Vec<View>,
    pub(super) pending: Pending,
}

impl Stream {
    pub fn new(mode: Mode) -> Self {
        let views = match mode {
            Mode::Lines => vec![View::new(Without::Escapes, true)],
            Mode::Terminal => vec![View::new(Without::Returns, false), View::new(Without::Breaks, false)],
        };
        Self { mode, raw: Track::default(), views, pending: Pending::default() }
    }

    /// Gives the sink what may leave now.
    pub fn push(&mut self, finder: &Finder, input: &[u8], sink: &mut impl Sink) {
        let tables = finder.tables();
        let end = self.raw.end() + input.len() as u64;
        let lines = self.mode == Mode::Lines;
        self.raw.push(&tables, input, lines, &mut self.pending.found);
        let free =
            if lines { free_by_newline(input, end, finder.hold) } else { end.saturating_sub(finder.hold as u64) };
        let mut limit = free.min(self.raw.undecided(end));
        for view in &mut self.views {
            let text = self.raw.with(input);
            limit = limit.min(view.push(finder, &tables, &text, Some(&self.raw), &mut self.pending.found));
        }
        self.pending.release(limit, &self.raw.with(input), sink);
        self.raw.settle(finder, self.pending.released, input);
    }

    /// Whether something is held back that [`Self::idle`] would let out.
    pub fn holds(&self) -> bool {
        let limit = self.limit_when_idle();
        let whole = self.pending.union_from(0).is_some_and(|(union, _)| union.end <= limit);
        let in_vain = self.raw.waits_in_vain() || self.views.iter().any(View::waits_in_vain);
        whole || in_vain || self.pending.next_stop(limit) > self.pending.released
    }

    /// Nothing has come for a while: lets out all but what a window speaks for. It is remembered, so that the rest of a
    /// pattern is masked when it comes too late.
    pub fn idle(&mut self, finder: &Finder, sink: &mut impl Sink) {
        let limit = self.limit_when_idle();
        self.raw.idle();
        self.views.iter_mut().for_each(View::idle);
        self.pending.release(limit, &self.raw.with(&[]), sink);
        self.raw.settle(finder, self.pending.released, &[]);
    }

    /// Lets out everything, and wipes what was held. What comes after it is a new text.
    pub fn finish(&mut self, finder: &Finder, sink: &mut impl Sink) {
        let tables = finder.tables();
        self.raw.end_of_text(&tables, &[], self.mode == Mode::Lines, &mut self.pending.found);
        self.views.iter_mut().for_each(|view| view.end_of_text(&tables, &mut self.pending.found));
        self.pending.release(self.raw.end(), &self.raw.with(&[]), sink);
        *self = Self::new(self.mode);
    }

    fn limit_when_idle(&self) -> u64 {
        let end = self.raw.end();
        self.views
            .iter()
            .fold(self.raw.undecided_when_idle(end), |limit, view| limit.min(view.undecided_when_idle(end)))
    }
}

/// Finds all in one whole message.
pub fn find_all(finder: &Finder, whole: &[u8], sink: &mut impl Sink) {
    let tables = finder.tables();
    let has_escapes = view::has_escapes(whole);
    if track::has_none(&tables, whole) && (!has_escapes || view::has_none(&tables, whole)) {
        return sink.passed(0, whole);
    }
    let (mut pending, mut track) = (Pending::default(), Track::default());
    track.push(&tables, whole, false, &mut pending.found);
    track.end_of_text(&tables, whole, false, &mut pending.found);
    if has_escapes {
        let mut view = View::new(Without::Escapes, false);
        view.push(finder, &tables, &Text::whole(whole), None, &mut pending.found);
        view.end_of_text(&tables, &mut pending.found);
    }
    pending.release(whole.len() as u64, &Text::whole(whole), sink);
}

/// Values that overlap without end would otherwise be held without end. Longer than nearly all forms of values.
const LONGEST_UNION: u64 = 256 * 1024;

/// What was found and has not left yet.
#[derive(Default)]
pub(super) struct Pending {
    found: Vec<Span>,
    pub released: u64,
}

impl Pending {
    /// Lets out what is before `limit`, where all that starts there is known. A union that reaches over it waits, but for its
    /// first [`LONGEST_UNION`] bytes, which leave as one of their own.
    fn release(&mut self, limit: u64, text: &Text, sink: &mut impl Sink) {
        self.found.sort_unstable();
        let mut done = 0;
        while let Some((union, members)) = self.union_from(done) {
            let end = union.end.min(union.start + LONGEST_UNION);
            if end > limit {
                break;
            }
            // Of one that is cut, those that start later are of the next piece only.
            let members = self.found[done..done + members].partition_point(|s| s.start < end);
            if end > self.released {
                self.clean(union.start, text, sink);
                let mut labels: Vec<u32> = self.found[done..done + members].iter().map(|s| s.label).collect();
                labels.sort_unstable();
                labels.dedup();
                sink.masked(&labels);
                self.released = end;
            }
            done += members;
            if end < union.end {
                let rest = self.found[done - members..done].iter().filter(|s| s.end > end);
                let rest: Vec<Span> = rest.map(|s| Span { start: end, ..*s }).collect();
                self.found.splice(..done, rest);
                self.found.sort_unstable();
                done = 0;
            }
        }
        self.found.drain(..done);
        self.clean(self.next_stop(limit), text, sink);
    }

    fn clean(&mut self, to: u64, text: &Text, sink: &mut impl Sink) {
        if to > self.released {
            let (held, input) = text.parts(self.released, to);
            if !held.is_empty() {
                sink.clean(held);
            }
            if !input.is_empty() {
                sink.passed(text.in_input(to) - input.len(), input);
            }
            self.released = to;
        }
    }

    /// `limit`, or the start of what is found before it.
    fn next_stop(&self, limit: u64) -> u64 {
        self.found.iter().map(|s| s.start).min().map_or(limit, |start| limit.min(start))
    }

    /// The union that begins with the sorted spans' `first`, and of how many it is made. Spans that only touch are two.
    fn union_from(&self, first: usize) -> Option<(Span, usize)> {
        let mut union = *self.found.get(first)?;
        let rest = &self.found[first + 1..];
        let members = rest
            .iter()
            .take_while(|next| {
                let overlaps = next.start < union.end;
                if overlaps {
                    union.end = union.end.max(next.end);
                }
                overlaps
            })
            .count();
        Some((union, members + 1))
    }
}
