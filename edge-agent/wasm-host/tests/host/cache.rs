//! Compiling and the cache of compiled code.

use crate::support::{KEY, block_on, compiler, digest_of, guest};
use eyot_model::{Digest, FailureKind};
use eyot_wasm_host::{Compiler, Error, Host, HostConfig};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

fn config(folder: &Path) -> HostConfig {
    HostConfig::new(folder.join("code"), KEY, 2, compiler())
}

/// A compiler that cannot be started: whoever uses it needs the cache.
fn no_compiler() -> Compiler {
    Compiler::program("/nonexistent/compiler".into())
}

fn prepare(host: &Host, name: &str) -> Result<(), Error> {
    block_on(host.prepare(digest_of(name), &guest(name))).map(drop)
}

/// The files of compiled code.
fn entries(folder: &Path) -> Vec<PathBuf> {
    let all = std::fs::read_dir(folder.join("code")).unwrap().map(|e| e.unwrap().path());
    let mut paths: Vec<PathBuf> = all.filter(|path| path.is_file()).collect();
    paths.sort();
    paths
}

#[test]
fn code_is_compiled_once_and_found_again() {
    let folder = tempfile::tempdir().unwrap();
    let host = Host::new(config(folder.path())).unwrap();
    assert!(host.ready(&digest_of("noop")).is_none());
    prepare(&host, "noop").unwrap();
    assert!(host.ready(&digest_of("noop")).is_some());

    let paths = entries(folder.path());
    assert_eq!(paths.len(), 1, "{paths:?}");
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&paths[0]), mode(&folder.path().join("code"))), (0o600, 0o700));

    let again = Host::new(HostConfig {
        compiler: no_compiler(),
        ..config(folder.path())
    });
    prepare(&again.unwrap(), "noop").unwrap();
}

#[test]
fn code_that_was_changed_is_compiled_again() {
    let folder = tempfile::tempdir().unwrap();
    prepare(&Host::new(config(folder.path())).unwrap(), "noop").unwrap();
    let path = entries(folder.path()).remove(0);
    let good = std::fs::read(&path).unwrap();
    for at in [0, good.len() / 2, good.len() - 1] {
        let mut bad = good.clone();
        bad[at] ^= 1;
        std::fs::write(&path, &bad).unwrap();
        let refused = Host::new(HostConfig {
            compiler: no_compiler(),
            ..config(folder.path())
        });
        assert!(prepare(&refused.unwrap(), "noop").is_err(), "byte {at}");
        assert!(entries(folder.path()).is_empty(), "byte {at}: the bad file is still there");
        prepare(&Host::new(config(folder.path())).unwrap(), "noop").unwrap();
        assert_eq!(entries(folder.path()), [path.clone()]);
    }
    std::fs::write(&path, b"short").unwrap();
    prepare(&Host::new(config(folder.path())).unwrap(), "noop").unwrap();
}

#[test]
fn code_of_another_device_is_not_accepted() {
    let folder = tempfile::tempdir().unwrap();
    prepare(&Host::new(config(folder.path())).unwrap(), "noop").unwrap();
    let other = HostConfig {
        mac_key: [1; 32],
        compiler: no_compiler(),
        ..config(folder.path())
    };
    assert!(prepare(&Host::new(other).unwrap(), "noop").is_err());
}

#[test]
fn code_of_one_component_does_not_pass_for_another() {
    let folder = tempfile::tempdir().unwrap();
    let host = Host::new(config(folder.path())).unwrap();
    prepare(&host, "noop").unwrap();
    let noop = entries(folder.path()).remove(0);
    let code = std::fs::read(&noop).unwrap();
    prepare(&host, "model").unwrap();
    let model = entries(folder.path()).into_iter().find(|path| *path != noop).unwrap();
    std::fs::write(&model, code).unwrap();
    let refused = HostConfig {
        compiler: no_compiler(),
        ..config(folder.path())
    };
    assert!(prepare(&Host::new(refused).unwrap(), "model").is_err());
}

#[test]
fn the_cache_keeps_to_its_size() {
    let folder = tempfile::tempdir().unwrap();
    let small = HostConfig {
        cache_bytes: 1,
        ..config(folder.path())
    };
    let host = Host::new(small).unwrap();
    // Nothing fits, so the last one alone stays.
    prepare(&host, "noop").unwrap();
    prepare(&host, "model").unwrap();
    assert_eq!(entries(folder.path()).len(), 1);
}

#[test]
fn what_a_crash_left_behind_is_removed() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("code")).unwrap();
    std::fs::write(folder.path().join("code/1-1.tmp"), b"half").unwrap();
    Host::new(config(folder.path())).unwrap();
    assert!(entries(folder.path()).is_empty());
}

#[test]
fn bytes_that_are_no_component_are_refused_with_the_reason() {
    let folder = tempfile::tempdir().unwrap();
    let host = Host::new(config(folder.path())).unwrap();
    let wasm = folder.path().join("x.wasm");
    // A core module, not a component; text; nothing.
    for bytes in [&b"\0asm\x01\0\0\0"[..], b"hello", b""] {
        std::fs::write(&wasm, bytes).unwrap();
        let error = block_on(host.prepare(Digest::of(bytes), &wasm)).map(drop).unwrap_err();
        assert_eq!(error.to_failure().kind, FailureKind::Component, "{error}");
    }
    let error = block_on(host.prepare(Digest::of(b"other"), &wasm)).map(drop).unwrap_err();
    assert!(error.to_string().contains("not those of its digest"), "{error}");
    assert!(entries(folder.path()).is_empty(), "nothing half done stays");
}

#[test]
fn a_compiler_at_its_limits_is_the_agents_failure() {
    let folder = tempfile::tempdir().unwrap();
    for compiler in [
        Compiler {
            memory_bytes: 1 << 20,
            ..compiler()
        },
        Compiler {
            output_bytes: 100,
            ..compiler()
        },
        Compiler {
            wall: std::time::Duration::ZERO,
            ..compiler()
        },
        no_compiler(),
    ] {
        let host = Host::new(HostConfig {
            compiler,
            ..config(folder.path())
        })
        .unwrap();
        let error = prepare(&host, "noop").unwrap_err();
        assert_eq!(error.to_failure().kind, FailureKind::Agent, "{error}");
        assert!(entries(folder.path()).is_empty(), "nothing half done stays");
    }
}

#[test]
fn one_component_is_compiled_once_for_all_who_ask() {
    let folder = tempfile::tempdir().unwrap();
    let host = Host::new(config(folder.path())).unwrap();
    let (digest, wasm) = (digest_of("noop"), guest("noop"));
    let (first, second) = block_on(async { tokio::join!(host.prepare(digest, &wasm), host.prepare(digest, &wasm)) });
    assert!(Arc::ptr_eq(&first.unwrap(), &second.unwrap()));
}
