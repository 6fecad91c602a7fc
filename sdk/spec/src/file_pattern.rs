//! Which files a trigger looks for: a folder, and a name with `*` and `?`.

/// An absolute path whose last part may have `*` (any characters) and `?` (one character).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FilePattern {
    folder: String,
    name: Vec<char>,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FilePatternError {
    #[error("`{0}` is no absolute path")]
    Relative(String),
    #[error("`{0}` has `*` or `?` before its last part")]
    Wild(String),
    #[error("`{0}` names no files")]
    NoName(String),
    #[error("`{0}` has `..` in it")]
    Parent(String),
}

impl FilePattern {
    /// # Errors
    /// When it is no absolute path, or has wildcards elsewhere than in its last part.
    pub fn parse(text: &str) -> Result<Self, FilePatternError> {
        let shown = || text.chars().take(120).collect::<String>();
        let (folder, name) = text.rsplit_once('/').ok_or_else(|| FilePatternError::Relative(shown()))?;
        if !text.starts_with('/') {
            return Err(FilePatternError::Relative(shown()));
        }
        if folder.contains(['*', '?']) {
            return Err(FilePatternError::Wild(shown()));
        }
        if folder.split('/').any(|part| part == "..") || name == ".." {
            return Err(FilePatternError::Parent(shown()));
        }
        if name.is_empty() || name == "." {
            return Err(FilePatternError::NoName(shown()));
        }
        Ok(Self {
            folder: if folder.is_empty() { "/".to_owned() } else { folder.to_owned() },
            name: name.chars().collect(),
        })
    }

    /// The folder, without a slash at its end.
    #[must_use]
    pub fn folder(&self) -> &str {
        &self.folder
    }

    /// Whether a file of the folder is meant. Hidden ones only where the pattern begins with a dot.
    #[must_use]
    pub fn matches(&self, name: &str) -> bool {
        if name.starts_with('.') && self.name.first() != Some(&'.') {
            return false;
        }
        let name: Vec<char> = name.chars().collect();
        let (mut at, mut in_pattern) = (0, 0);
        // Where the last `*` stands, and how much of the name it takes so far.
        let mut star: Option<(usize, usize)> = None;
        while at < name.len() {
            match self.name.get(in_pattern) {
                Some('*') => {
                    star = Some((in_pattern, at));
                    in_pattern += 1;
                }
                Some(c) if *c == '?' || *c == name[at] => {
                    in_pattern += 1;
                    at += 1;
                }
                _ => {
                    let Some((stands, taken)) = star else { return false };
                    star = Some((stands, taken + 1));
                    (in_pattern, at) = (stands + 1, taken + 1);
                }
            }
        }
        self.name[in_pattern..].iter().all(|c| *c == '*')
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_match_as_in_a_shell() {
        for (pattern, name, expected) in [
            ("/in/*.jpg", "a.jpg", true),
            ("/in/*.jpg", ".jpg", false),
            ("/in/.*", ".hidden", true),
            ("/in/*.jpg", "a.jpg.part", false),
            ("/in/a?c*", "abcdef", true),
            ("/in/a?c*", "ac", false),
            ("/in/*a*a*b", "aaaaaaaaaaaaaaaaaaaaaaaaaaaac", false),
            ("/in/*", "ä", true),
            ("/x", "x", true),
        ] {
            assert_eq!(FilePattern::parse(pattern).unwrap().matches(name), expected, "{pattern} {name}");
        }
    }

    #[test]
    fn only_absolute_paths_with_wildcards_at_their_end() {
        for wrong in ["in/*.jpg", "*.jpg", "", "/in/", "/in/*/a.jpg", "/in/../etc/*", "/in/.."] {
            assert!(FilePattern::parse(wrong).is_err(), "{wrong}");
        }
        assert_eq!(FilePattern::parse("/data/in/*.jpg").unwrap().folder(), "/data/in");
    }
}
