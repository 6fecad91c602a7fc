//! From columns of likelihoods to text.

/// What the classes of the model mean: class 0 is "nothing new here", then the listed characters, then the space.
pub(crate) struct Alphabet<'a> {
    characters: Vec<&'a str>,
}

impl<'a> Alphabet<'a> {
    /// From one character (or more) a line.
    pub(crate) fn new(lines: &'a str) -> Self {
        Self {
            characters: lines.lines().chain([" "]).collect(),
        }
    }

    /// Number of classes.
    pub(crate) fn len(&self) -> usize {
        self.characters.len() + 1
    }

    /// The likeliest class of each column, repeats counted once, and the mean likelihood of what is left. `columns` has the
    /// likelihoods of all classes for each column. None where they do not come out even.
    pub(crate) fn decode(&self, columns: &[f32]) -> Option<(String, f64)> {
        if !columns.len().is_multiple_of(self.len()) {
            return None;
        }
        let (mut text, mut sum, mut count, mut before) = (String::new(), 0.0, 0u32, 0);
        for column in columns.chunks_exact(self.len()) {
            let (class, likelihood) = likeliest(column);
            if class != 0 && class != before {
                text.push_str(self.characters[class - 1]);
                sum += f64::from(likelihood);
                count += 1;
            }
            before = class;
        }
        Some((text, if count == 0 { 0.0 } else { sum / f64::from(count) }))
    }
}

/// The first of the largest.
fn likeliest(column: &[f32]) -> (usize, f32) {
    column.iter().enumerate().fold(
        (0, f32::MIN),
        |best, (class, value)| if *value > best.1 { (class, *value) } else { best },
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn columns(classes: &[usize]) -> Vec<f32> {
        classes
            .iter()
            .flat_map(|class| (0..4).map(move |i| if i == *class { 0.75 } else { 0.05 }))
            .collect()
    }

    #[test]
    fn repeats_count_once_unless_parted() {
        let alphabet = Alphabet::new("a\nb");
        assert_eq!(alphabet.len(), 4);
        for (classes, text) in [
            (&[1, 1, 0, 1, 2, 2, 3, 1][..], "aab a"),
            (&[0, 0, 0], ""),
            (&[], ""),
            (&[3, 3, 2], " b"),
        ] {
            assert_eq!(alphabet.decode(&columns(classes)).unwrap().0, text);
        }
        assert_eq!(alphabet.decode(&columns(&[0, 1])).unwrap().1, 0.75);
        assert_eq!(alphabet.decode(&[0.5; 6]), None);
    }
}
