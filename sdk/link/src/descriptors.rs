//! How many files and sockets this process may have open.

use rustix::process::{Resource, getrlimit, setrlimit};
use std::io;

/// Raises this process's limit on open descriptors to the most that the system lets it have, and gives that; None where
/// there is no limit. Each socket, each open blob and each file of a task is one, and many systems give a process only
/// 1,024 unless it asks.
///
/// # Errors
/// What the system reports; the limit is then as it was.
pub fn allow_descriptors() -> io::Result<Option<u64>> {
    let mut limit = getrlimit(Resource::Nofile);
    if limit.current != limit.maximum {
        limit.current = limit.maximum;
        setrlimit(Resource::Nofile, limit)?;
    }
    Ok(limit.current)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_soft_limit_becomes_the_hard_one() {
        let most = allow_descriptors().unwrap();
        let limit = getrlimit(Resource::Nofile);
        assert_eq!((limit.current, limit.maximum), (most, most));
    }
}
