//! The program of people and orchestrators. All of it is [`keyfob::cli::main`].

/// Wipes every heap block when it is freed: the second line behind sealing.
#[global_allocator]
static ALLOC: zeroizing_alloc::ZeroAlloc<std::alloc::System> = zeroizing_alloc::ZeroAlloc(std::alloc::System);

fn main() -> std::process::ExitCode {
    keyfob::cli::main(std::env::args_os())
}
