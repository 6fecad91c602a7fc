//! Rows of scores, as likelihoods and as ranks.

#[eyot_task::data]
#[derive(Clone, Debug, PartialEq)]
pub struct Class {
    pub index: u32,
    /// Where labels were given and there is one for this class.
    pub label: Option<String>,
    pub score: f32,
}

/// Turns scores into likelihoods, in place.
pub(crate) fn softmax(row: &mut [f32]) {
    let largest = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    if !largest.is_finite() {
        return;
    }
    row.iter_mut().for_each(|score| *score = (*score - largest).exp());
    let sum: f32 = row.iter().sum();
    row.iter_mut().for_each(|score| *score /= sum);
}

/// The `count` classes with the highest scores; of equals the first one first.
pub(crate) fn top(row: &[f32], count: usize, labels: Option<&[String]>) -> Vec<Class> {
    let mut order: Vec<usize> = (0..row.len()).collect();
    order.sort_by(|a, b| row[*b].total_cmp(&row[*a]));
    order
        .into_iter()
        .take(count)
        .map(|index| Class {
            index: u32::try_from(index).unwrap_or(u32::MAX),
            label: labels.and_then(|labels| labels.get(index).cloned()),
            score: row[index],
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn likelihoods_add_up_and_do_not_overflow() {
        let mut row = [1000.0, 1000.0, 0.0];
        softmax(&mut row);
        assert_eq!(row, [0.5, 0.5, 0.0]);
        softmax(&mut []);
    }

    #[test]
    fn the_likeliest_come_first() {
        let labels = ["cat".to_owned(), "dog".to_owned()];
        let classes = top(&[0.1, 0.5, 0.4], 2, Some(&labels));
        assert_eq!((classes[0].index, classes[0].label.as_deref()), (1, Some("dog")));
        assert_eq!((classes[1].index, classes[1].label.as_deref()), (2, None));
        assert_eq!(top(&[0.5, 0.5], 9, None).len(), 2);
    }
}
