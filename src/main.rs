//! The `credgate` binary.

use std::process::ExitCode;

fn main() -> ExitCode {
    credgate::cli::protect_memory();
    credgate::cli::main(std::env::args_os())
}
