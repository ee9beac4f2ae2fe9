//! Everything that needs a real server, agent, shell or kernel. One target, so that it is linked once.

mod world; // a control plane on a free port, people and agents, all of them the real programs

mod line; // the whole line: a secret saved here is a variable in a shell there
mod matrix; // who may call what: every call by every kind of caller
