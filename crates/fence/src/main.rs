//! The `fence` program; everything is in the library, so that its decoders can be fuzzed.

use std::process::ExitCode;

fn main() -> ExitCode {
    fence::main()
}
