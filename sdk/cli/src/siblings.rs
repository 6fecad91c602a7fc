//! The programs that come with this one: `eyot-cloud` and `eyot-agent`.

use crate::exit::{Fault, Outcome};
use std::path::PathBuf;

/// Finds a sibling program: what `EYOT_CLOUD_BIN` or `EYOT_AGENT_BIN` names, next to this one, then in `PATH`.
///
/// # Errors
/// When it is nowhere.
pub(crate) fn find(name: &str) -> Outcome<PathBuf> {
    let variable = format!("{}_BIN", name.to_uppercase().replace('-', "_"));
    if let Some(path) = std::env::var_os(&variable).filter(|v| !v.is_empty()) {
        let path = PathBuf::from(path);
        return if path.is_file() {
            Ok(path)
        } else {
            Err(Fault::local(format!("{variable} names {}, which is not there", path.display())))
        };
    }
    let beside = std::env::current_exe()
        .ok()
        .and_then(|me| me.parent().map(|folder| folder.join(name)));
    let path = std::env::var_os("PATH").unwrap_or_default();
    let candidates = beside
        .into_iter()
        .chain(std::env::split_paths(&path).map(|folder| folder.join(name)));
    for candidate in candidates {
        if candidate.is_file() {
            return Ok(candidate);
        }
    }
    Err(Fault::local(format!("the program `{name}` is neither beside `eyot` nor in PATH"))
        .help(format!("install it, or name it in {variable}")))
}
