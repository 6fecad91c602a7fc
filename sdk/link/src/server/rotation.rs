//! Keeps the server's own certificate young, and warns long before the CA's ends.

use super::Options;
use super::admission::Acceptor;
use crate::tls::ServerChain;
use crate::{Ca, Validity};
use eyot_model::{Millis, Timestamp};
use std::sync::{Arc, Weak};
use std::time::Duration;

/// How often the ages are looked at.
const CHECK: Duration = Duration::from_secs(600);
/// A CA that ends within this time is an error in the log: every agent has to join anew before.
const CA_ENDS_SOON: Millis = Millis(2 * 365 * 86_400 * 1_000);
/// How often that is said.
const SAY_AGAIN: Millis = Millis(86_400 * 1_000);

pub(super) struct Rotation {
    pub(super) ca: Arc<Ca>,
    pub(super) chain: Arc<ServerChain>,
    pub(super) present: Validity,
    pub(super) options: Options,
    pub(super) serving: Weak<Acceptor>,
}

impl Rotation {
    /// Until the server is gone.
    pub(super) async fn run(mut self) {
        let mut ticks = tokio::time::interval(CHECK);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut say_at = Timestamp(0);
        loop {
            ticks.tick().await;
            if self.serving.strong_count() == 0 {
                return;
            }
            let now = self.options.clock.now();
            if now >= say_at && ca_ends_soon(self.ca.validity(), now) {
                tracing::error!(
                    days_left = self.ca.validity().not_after.since(now).0 / 86_400_000,
                    "the control plane's CA ends soon: set up a new one and let the agents join it (docs/identity.md)"
                );
                say_at = now.after(SAY_AGAIN);
            }
            if now >= self.present.renew_at() {
                self.renew(now);
            }
        }
    }

    fn renew(&mut self, now: Timestamp) {
        let next = self.ca.server_certificate(&self.options.names, now, self.options.certificate_life);
        let renewed = next.and_then(|next| {
            self.present = next.validity;
            self.chain.replace(next)
        });
        match renewed {
            Ok(()) => tracing::info!("the server certificate was renewed"),
            Err(error) => tracing::error!(%error, "the server certificate cannot be renewed"),
        }
    }
}

fn ca_ends_soon(ca: Validity, now: Timestamp) -> bool {
    ca.not_after.since(now) < CA_ENDS_SOON
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_the_ca_is_told_two_years_before() {
        let year = 365 * 86_400 * 1_000_000;
        let ca = Ca::create(Timestamp(50 * year)).unwrap().validity();
        assert!(!ca_ends_soon(ca, Timestamp(72 * year)));
        assert!(ca_ends_soon(ca, Timestamp(73 * year + year / 2)));
        assert!(ca_ends_soon(ca, Timestamp(80 * year)));
    }
}
