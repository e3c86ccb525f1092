//! The `credgate` binary.

use std::process::ExitCode;

fn main() -> ExitCode {
    let vitals = credgate::daemon::Vitals::open();
    credgate::daemon::protect_memory();
    #[cfg(feature = "commands")]
    let exit = credgate::cli::main(std::env::args_os(), vitals);
    #[cfg(not(feature = "commands"))]
    let exit = credgate::alone::main(std::env::args_os(), vitals);
    exit
}
