//! The `eyot` command.

fn main() -> std::process::ExitCode {
    eyot_cli::main()
}
