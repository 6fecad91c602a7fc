//! The compiling child as a program of its own, for tests and tools whose `main` is not theirs to change.

fn main() -> std::process::ExitCode {
    eyot_wasm_host::compile_child::main()
}
