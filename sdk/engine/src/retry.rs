//! When a failed attempt is tried again.

use eyot_expr::{EvaluateError, Program, Scope};
use eyot_model::{AttemptId, Failure, FailureKind, Jitter, Millis, RetryPolicy, Value};
use std::collections::BTreeMap;

/// How long to wait before the attempt after `id`, or None if there is none. `tries` says how many attempts count so far:
/// those that were stopped on purpose do not.
///
/// # Errors
/// When the policy's `when` cannot be evaluated.
pub(crate) fn delay(
    policy: &RetryPolicy,
    when: Option<&Program>,
    id: &AttemptId,
    tries: u32,
    failure: &Failure,
) -> Result<Option<Millis>, EvaluateError> {
    if tries >= policy.max_attempts {
        return Ok(None);
    }
    let wanted = match when {
        None => failure.is_retryable(),
        Some(program) => {
            let mut scope = Scope::new();
            scope.bind("error", error_value(failure));
            scope.bind("attempt", Value::Int(i64::from(tries)));
            program.evaluate_bool(&scope)?
        }
    };
    Ok(wanted.then(|| interval(policy, id, tries)))
}

/// What the failure of an attempt means that must not be begun twice: where it did not say itself how it ended, its effect may have
/// happened.
pub(crate) fn unknown_if_cut_off(mut failure: Failure) -> Failure {
    if matches!(failure.kind, FailureKind::Timeout | FailureKind::CpuLimit | FailureKind::Trap) {
        failure.message = format!("it was cut off, and whether its effect happened is not known: {}", failure.message);
        failure.kind = FailureKind::OutcomeUnknown;
    }
    failure
}

/// Exponential back-off with a cap. The jitter follows from the attempt's identity, so that the same history always
/// gives the same instant, and different instances spread out ("full jitter": Brooker, AWS Architecture Blog, 2015).
fn interval(policy: &RetryPolicy, id: &AttemptId, tries: u32) -> Millis {
    let factor = if policy.factor.is_finite() { policy.factor.max(1.0) } else { 1.0 };
    let exponent = f64::from(tries.saturating_sub(1));
    #[allow(clippy::cast_precision_loss, clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    let full = (policy.initial_interval.0 as f64 * factor.powf(exponent)).min(policy.max_interval.0 as f64) as u64;
    match policy.jitter {
        Jitter::None => Millis(full),
        Jitter::Full => Millis(if full == 0 { 0 } else { jitter_bits(id) % (full + 1) }),
    }
}

fn jitter_bits(id: &AttemptId) -> u64 {
    // SplitMix64's finaliser (Steele, Lea, Flood, OOPSLA 2014) over the identity.
    let low = id.run.0 as u64;
    let high = (id.run.0 >> 64) as u64;
    let path = (u64::from(id.path.task.0) << 32) ^ id.path.item.map_or(0, |i| u64::from(i) + 1) ^ (u64::from(id.attempt) << 56);
    let mut z = low ^ high.rotate_left(32) ^ path.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

fn error_value(failure: &Failure) -> Value {
    Value::Map(BTreeMap::from([
        (
            "kind".to_owned(),
            Value::from(failure.kind.code().rsplit('.').next().unwrap_or_default()),
        ),
        ("code".to_owned(), Value::from(failure.kind.code())),
        ("message".to_owned(), Value::String(failure.message.clone())),
        ("retryable".to_owned(), Value::Bool(failure.is_retryable())),
    ]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use eyot_model::{Epoch, FailureKind, Path, RunId, TaskIx};

    fn attempt(n: u32) -> AttemptId {
        AttemptId {
            run: RunId(77 << 64 | 5),
            path: Path::task(TaskIx(3)),
            attempt: n,
            epoch: Epoch(1),
        }
    }

    #[test]
    fn grows_by_the_factor_up_to_the_cap_and_ends_with_the_attempts() {
        let policy = RetryPolicy {
            max_attempts: 5,
            jitter: Jitter::None,
            max_interval: Millis(35_000),
            ..RetryPolicy::default()
        };
        let failure = Failure::new(FailureKind::Retryable, "busy");
        let waits: Vec<_> = (1..=5)
            .map(|n| delay(&policy, None, &attempt(n), n, &failure).unwrap().map(|m| m.0))
            .collect();
        assert_eq!(waits, [Some(10_000), Some(20_000), Some(35_000), Some(35_000), None]);
    }

    #[test]
    fn what_cannot_succeed_is_not_tried_again_unless_the_workflow_says_so() {
        let policy = RetryPolicy {
            jitter: Jitter::None,
            ..RetryPolicy::default()
        };
        let failure = Failure::new(FailureKind::InvalidInput, "not a picture");
        assert_eq!(delay(&policy, None, &attempt(1), 1, &failure).unwrap(), None);
        let when = Program::parse("error.kind == 'invalid-input' && attempt < 2").unwrap();
        assert!(delay(&policy, Some(&when), &attempt(1), 1, &failure).unwrap().is_some());
        assert_eq!(delay(&policy, Some(&when), &attempt(2), 2, &failure).unwrap(), None);
    }

    #[test]
    fn jitter_stays_within_the_interval_and_differs_between_instances() {
        let policy = RetryPolicy::default();
        let seen: std::collections::BTreeSet<u64> = (0..50)
            .map(|i| {
                interval(
                    &policy,
                    &AttemptId {
                        path: Path::item(TaskIx(1), i),
                        ..attempt(1)
                    },
                    1,
                )
                .0
            })
            .collect();
        assert!(seen.iter().all(|ms| *ms <= 10_000) && seen.len() > 40);
    }
}
