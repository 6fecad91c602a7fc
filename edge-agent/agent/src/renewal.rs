//! Renews the certificate at two thirds of its life, over the link that is there.

use crate::cloud_time::CloudTime;
use eyot_clock::Clock;
use eyot_link::{AgentLink, Identity};
use std::sync::Arc;
use std::time::Duration;

/// Longest sleep: a machine that was suspended looks soon after.
const LOOK: Duration = Duration::from_secs(60);
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(5 * 60);
/// A control plane that does not answer a renewal in this time does not answer it.
const ANSWER: Duration = Duration::from_secs(30);

/// Until the link closes. When to renew goes by the control plane's clock, which made the certificate: a device whose
/// clock is wrong renews in time, too.
pub(crate) async fn keep(link: AgentLink, identity: Arc<Identity>, cloud: CloudTime, clock: Clock) {
    let mut pause = FIRST_PAUSE;
    loop {
        let left = identity.credential().validity.renew_in(cloud.now(&clock));
        let wait = if left.0 > 0 {
            left.as_duration().min(LOOK)
        } else {
            match tokio::time::timeout(ANSWER, link.renew(&identity)).await {
                Ok(Ok(_)) => {
                    tracing::info!("certificate was renewed");
                    pause = FIRST_PAUSE;
                    FIRST_PAUSE
                }
                failed => {
                    let error = failed.map_or_else(
                        |_| eyot_link::Error::TimedOut,
                        |done| done.err().unwrap_or(eyot_link::Error::Closed),
                    );
                    if link.is_closed() {
                        return;
                    }
                    tracing::warn!(%error, ?pause, "certificate was not renewed; trying again");
                    pause = (pause * 2).min(LONGEST_PAUSE);
                    pause
                }
            }
        };
        tokio::select! {
            () = tokio::time::sleep(wait) => {}
            _ = link.closed() => return,
        }
    }
}
