//! What somebody probably meant.

/// The known word closest to a wrong one, as a question; None where none is close.
pub(crate) fn did_you_mean<'a>(wrong: &str, known: impl IntoIterator<Item = &'a str>) -> Option<String> {
    closest(wrong, known).map(|word| format!("did you mean `{word}`?"))
}

pub(crate) fn closest<'a>(wrong: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let wrong_len = wrong.chars().count();
    if wrong_len > 200 {
        return None;
    }
    // Something of the word must be right.
    let most = (1 + wrong_len / 4).min(wrong_len.saturating_sub(1));
    let mut best: Option<(usize, &str)> = None;
    for word in known {
        if word.eq_ignore_ascii_case(wrong) {
            return Some(word);
        }
        // Words of very different length are never close: this keeps long lists of names cheap.
        if word.len().abs_diff(wrong.len()) > most * 2 {
            continue;
        }
        let distance = strsim::osa_distance(wrong, word);
        if distance <= most && best.is_none_or(|(d, w)| (distance, word) < (d, w)) {
            best = Some((distance, word));
        }
    }
    best.map(|(_, word)| word)
}

/// `a`, `a or b`, `a, b or c`, each in back-ticks.
pub(crate) fn one_of(words: &[&str]) -> String {
    let quoted: Vec<String> = words.iter().map(|w| format!("`{w}`")).collect();
    match quoted.split_last() {
        None => String::new(),
        Some((last, [])) => last.clone(),
        Some((last, rest)) => format!("{} or {last}", rest.join(", ")),
    }
}
