//! The command-line client: arguments, one call, and what came of it. Everything is in [`hallpass::cli`].

use std::process::ExitCode;

fn main() -> ExitCode {
    hallpass::cli::main()
}
