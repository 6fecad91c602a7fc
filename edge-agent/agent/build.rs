//! How the agent's program is linked.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    // The program is position-independent, and the loader reads every relocation at each start: packed they are some
    // pages instead of two MiB that stay resident. Asks for glibc 2.36 or musl 1.2.4.
    if std::env::var("CARGO_CFG_TARGET_OS").is_ok_and(|os| os == "linux") {
        println!("cargo::rustc-link-arg-bins=-Wl,-z,pack-relative-relocs");
    }
}
