//! File patterns: `*`, `?` and `[abc]` within one part of a path, `**` for any number of folders.

use std::io;
use std::path::{Path, PathBuf};

/// Most files that one pattern may give.
pub(crate) const LIMIT: usize = 100_000;

/// Whether the text means more than the file of that name.
#[must_use]
pub(crate) fn is_pattern(text: &str) -> bool {
    text.contains(['*', '?', '['])
}

/// The regular files that fit, sorted by path. Names that begin with a dot fit only where the pattern says so.
///
/// # Errors
/// When a folder cannot be read, or too many files fit.
pub(crate) fn expand(pattern: &str) -> io::Result<Vec<PathBuf>> {
    let (root, rest) = match pattern.strip_prefix('/') {
        Some(rest) => (PathBuf::from("/"), rest),
        None => (PathBuf::new(), pattern),
    };
    let parts: Vec<&str> = rest.split('/').filter(|p| !p.is_empty()).collect();
    let mut found = Vec::new();
    walk(&root, &parts, &mut found)?;
    found.sort();
    found.dedup();
    Ok(found)
}

fn walk(at: &Path, parts: &[&str], found: &mut Vec<PathBuf>) -> io::Result<()> {
    let Some((part, rest)) = parts.split_first() else {
        if at.is_file() {
            if found.len() >= LIMIT {
                return Err(io::Error::other(format!("more than {LIMIT} files fit")));
            }
            found.push(at.to_owned());
        }
        return Ok(());
    };
    if *part == "**" {
        walk(at, rest, found)?;
        for (name, folder) in entries(at)? {
            // Links to folders are not followed here: they could go round in a circle.
            if folder && !name.starts_with('.') && !at.join(&name).is_symlink() {
                walk(&at.join(&name), parts, found)?;
            }
        }
        return Ok(());
    }
    if !is_pattern(part) {
        let next = at.join(part);
        return if next.exists() { walk(&next, rest, found) } else { Ok(()) };
    }
    let pattern: Vec<char> = part.chars().collect();
    for (name, folder) in entries(at)? {
        let hidden = name.starts_with('.') && !part.starts_with('.');
        if !hidden && (rest.is_empty() || folder) && fits(&pattern, &name.chars().collect::<Vec<_>>()) {
            walk(&at.join(&name), rest, found)?;
        }
    }
    Ok(())
}

fn entries(folder: &Path) -> io::Result<Vec<(String, bool)>> {
    let shown = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
    let mut out = Vec::new();
    for entry in std::fs::read_dir(shown)? {
        let entry = entry?;
        if let Ok(name) = entry.file_name().into_string() {
            out.push((name, entry.path().is_dir()));
        }
    }
    out.sort();
    Ok(out)
}

/// Whether the name fits the pattern; linear apart from going back to the last star.
fn fits(pattern: &[char], name: &[char]) -> bool {
    let (mut p, mut n) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while n < name.len() {
        if pattern.get(p) == Some(&'*') {
            star = Some((p, n));
            p += 1;
            continue;
        }
        if let Some(length) = one(&pattern[p..], name[n]) {
            p += length;
            n += 1;
            continue;
        }
        let Some((at, taken)) = star else { return false };
        star = Some((at, taken + 1));
        p = at + 1;
        n = taken + 1;
    }
    pattern[p..].iter().all(|c| *c == '*')
}

/// How many pattern characters match this one character of the name, if they do.
fn one(pattern: &[char], c: char) -> Option<usize> {
    match pattern.first()? {
        '?' => Some(1),
        '[' => {
            let close = pattern.iter().skip(2).position(|p| *p == ']')? + 2;
            let (negated, set) = match pattern[1] {
                '!' | '^' => (true, &pattern[2..close]),
                _ => (false, &pattern[1..close]),
            };
            let mut inside = false;
            let mut at = 0;
            while at < set.len() {
                if at + 2 < set.len() && set[at + 1] == '-' {
                    inside |= (set[at]..=set[at + 2]).contains(&c);
                    at += 3;
                } else {
                    inside |= set[at] == c;
                    at += 1;
                }
            }
            (inside != negated).then_some(close + 1)
        }
        literal => (*literal == c).then_some(1),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(pattern: &str, name: &str) -> bool {
        fits(&pattern.chars().collect::<Vec<_>>(), &name.chars().collect::<Vec<_>>())
    }

    #[test]
    fn one_part() {
        for (pattern, name, want) in [
            ("*.png", "a.png", true),
            ("*.png", "a.jpg", false),
            ("*", "", true),
            ("a*b*c", "axxbyyc", true),
            ("a*b*c", "axxbyy", false),
            ("?.png", "ü.png", true),
            ("[ab]?", "bx", true),
            ("[!ab]", "a", false),
            ("[0-9]*", "7up", true),
            ("[", "[", false),
            ("*************************b", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", false),
        ] {
            assert_eq!(matches(pattern, name), want, "{pattern} {name}");
        }
    }

    #[test]
    fn folders() {
        let dir = tempfile::tempdir().unwrap();
        for file in ["b.png", "a.png", ".hidden.png", "c.jpg", "x/d.png", "x/y/e.png"] {
            let path = dir.path().join(file);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, "").unwrap();
        }
        let names = |pattern: &str| -> Vec<String> {
            expand(&format!("{}/{pattern}", dir.path().display()))
                .unwrap()
                .iter()
                .map(|p| p.strip_prefix(dir.path()).unwrap().display().to_string())
                .collect()
        };
        assert_eq!(names("*.png"), ["a.png", "b.png"]);
        assert_eq!(names("*/*.png"), ["x/d.png"]);
        assert_eq!(names("**/*.png"), ["a.png", "b.png", "x/d.png", "x/y/e.png"]);
        assert_eq!(names("none/*.png"), Vec::<String>::new());
        assert_eq!(names("x"), Vec::<String>::new());
    }
}
