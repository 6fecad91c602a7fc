//! Retries, losses of contact, retention.

use super::Reader;
use super::fields::{ON_DISCONNECT, RETENTION, RETRY};
use crate::Place;
use crate::draft::Expression;
use crate::report::code;
use crate::text::Entry;
use eyot_model::{Jitter, Millis, OnDisconnect, Retention, RetryPolicy};

const MAX_ATTEMPTS: u32 = 1_000;

impl Reader<'_, '_> {
    pub(crate) fn retry<'t>(&mut self, entry: &'t Entry) -> (RetryPolicy, Option<Expression<'t>>) {
        let mut retry = RetryPolicy::default();
        let Some(fields) = self.fields(&entry.value, &RETRY, entry.place) else {
            return (retry, None);
        };
        if let Some(n) = fields.get("maxAttempts").and_then(|n| self.count(n, MAX_ATTEMPTS)) {
            retry.max_attempts = n;
        }
        if let Some(d) = fields.get("initialInterval").and_then(|n| self.duration(n)) {
            retry.initial_interval = d;
            // The default cap does not undo what was asked for.
            retry.max_interval = retry.max_interval.max(d);
        }
        if let Some(f) = fields.get("factor").and_then(|n| self.number(n, 1.0, 100.0)) {
            retry.factor = f;
        }
        if let Some(node) = fields.get("maxInterval")
            && let Some(d) = self.duration(node)
        {
            if d < retry.initial_interval {
                let message = format!("`maxInterval` ({d}) is shorter than `initialInterval` ({})", retry.initial_interval);
                self.report.error(node.place, code::INVALID_VALUE, message);
            }
            retry.max_interval = d;
        }
        if let Some(j) = fields
            .get("jitter")
            .and_then(|n| self.choice(n, &["none", "full"], &[Jitter::None, Jitter::Full]))
        {
            retry.jitter = j;
        }
        let when = fields.get("when").and_then(|n| self.condition(n));
        (retry, when)
    }

    /// The policy, and where `reassignAfter` stands.
    pub(crate) fn on_disconnect(&mut self, entry: &Entry) -> (OnDisconnect, Option<Place>) {
        let node = &entry.value;
        let mut policy = OnDisconnect::default();
        if let Some(scalar) = node.text() {
            if scalar.text != "continue" {
                let help = "such as `{reassignAfter: 5m}`".to_owned();
                self.expected(node, "`continue` or a map", Some(help));
            }
            return (policy, None);
        }
        let Some(fields) = self.fields(node, &ON_DISCONNECT, entry.place) else {
            return (policy, None);
        };
        let pause = fields.get("pauseAfter");
        let reassign = fields.entry("reassignAfter");
        policy.pause_after = pause.and_then(|n| self.positive_duration(n));
        policy.reassign_after = reassign.and_then(|e| self.positive_duration(&e.value));
        policy.accept_late = fields.get("acceptLate").and_then(|n| self.boolean(n)).unwrap_or(false);
        if let (Some(pause_after), Some(reassign_after), Some(node)) = (policy.pause_after, policy.reassign_after, pause)
            && OnDisconnect::least_reassign(pause_after) >= reassign_after
        {
            let message = format!("`pauseAfter` ({pause_after}) must be shorter than `reassignAfter` ({reassign_after})");
            let help = format!(
                "the agent has to stop before its work is given away: with {}% for clocks that differ and {} for stopping, `reassignAfter` \
                 must be longer than {}",
                OnDisconnect::DRIFT_PERCENT,
                OnDisconnect::MARGIN,
                OnDisconnect::least_reassign(pause_after)
            );
            self.report.error_with(node.place, code::INVALID_VALUE, message, help);
        }
        (policy, reassign.map(|e| e.place))
    }

    pub(crate) fn retention(&mut self, entry: &Entry) -> Retention {
        let Some(fields) = self.fields(&entry.value, &RETENTION, entry.place) else {
            return Retention::default();
        };
        let mut duration = |name: &str| -> Option<Millis> { fields.get(name).and_then(|n| self.duration(n)) };
        Retention {
            succeeded: duration("succeeded"),
            failed: duration("failed"),
        }
    }
}
