//! The control plane's program.

fn main() -> std::process::ExitCode {
    eyot_control::command::main()
}
