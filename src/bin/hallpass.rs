//! The command-line client: arguments, one call, and what came of it. Everything is in [`hallpass::cli`].

use std::process::ExitCode;

fn main() -> ExitCode {
    if let Err(failure) = hallpass::memory::keep_private() {
        eprintln!("error: cannot turn core dumps off: {failure}");
        return ExitCode::FAILURE;
    }
    hallpass::cli::main()
}
