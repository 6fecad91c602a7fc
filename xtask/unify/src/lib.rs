//! Depends on every outside crate of the workspace and holds no code.
//!
//! Cargo unites the features of a dependency over the packages that a command selects, so `cargo test -p eyot-engine`
//! and `cargo test --workspace` would each compile wasmtime and its like anew. Name this package beside the one you
//! work on (`cargo test --release -p eyot-unify -p eyot-wasm-host`) and both share what is compiled.
