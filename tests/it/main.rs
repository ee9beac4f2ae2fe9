//! Everything that needs a real server, agent, shell or kernel. One target, so that it is linked once.

mod world; // a control plane on a free port, people and agents, all of them the real programs

mod agent; // where its join string comes from, boot policy, exec, mounting
mod boot; // boot policies on their way into VMs, reports on their way back
mod canary; // one value through every path, searched in everything that is written
mod chaos; // boots while the way to the server is cut, silent, late or another's
mod cli; // transcripts of the CLI
mod console; // the pages for browsers: who gets in, by what, for how long, and what every answer says
mod crash; // kill -9 under mixed writes
mod demo;
mod edge; // the accept loop under attack
mod exec; // what a command prints, masked; terminals; what it asks of the agent
mod files; // the runtime directory: modes, ladder, atomicity, refusals
mod fleet; // all agents: found, watched, silent, cloned; metrics
mod integrity; // rows swapped, rolled back, flipped; the audit chain edited; keys rotated
mod leaks; // what sessions report of masked values: who sees it, what is refused, what it does to the audit log
mod line; // the whole line: a secret saved here is a variable in a shell there
mod matrix; // who may call what: every call by every kind of caller
mod memory; // no copy of a value in the memory of agent or server, by scanning it
mod named; // secrets by name, for one command
mod packaging; // what a package installs: units, pages, completions, the list of it
mod pam; // the PAM module under real libpam, su, sudo, sshd; the snippets in the shells they are for
mod redaction; // values in every form, clean logs, others' leaks, real encoders, an attack on a dump
mod rollouts; // pushes into running sessions: whom they concern, receipts, revocation, fleets of agents in bad weather
mod shells; // hostile values through real shells and systemd's parser
mod status; // what an agent says of itself: to whom, over what, and each change
mod third_party; // a gRPC client that is not ours
mod tokens; // join tokens under many redeemers, renewal, revocation // keyfob demo
