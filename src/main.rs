//! The `credgate` binary.

use std::process::ExitCode;

fn main() -> ExitCode {
    let vitals = credgate::daemon::Vitals::open();
    credgate::cli::protect_memory();
    credgate::cli::main(std::env::args_os(), vitals)
}
