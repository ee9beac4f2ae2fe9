//! The control plane. All of it is in `keyfob::server`; here is only what a program decides: its allocator, which wipes
//! every block that is freed.

use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: zeroizing_alloc::ZeroAlloc<std::alloc::System> = zeroizing_alloc::ZeroAlloc(std::alloc::System);

fn main() -> ExitCode {
    keyfob::server::main(std::env::args_os())
}
