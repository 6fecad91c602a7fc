//! Figures in Prometheus' format.

use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use std::sync::OnceLock;

/// From a sync on a fast disk to a request that waited: seconds.
const BUCKETS: [f64; 14] = [
    0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0,
];

/// The recorder of this process. Installed once; whoever starts later shares it.
pub(crate) fn recorder() -> &'static PrometheusHandle {
    static RECORDER: OnceLock<PrometheusHandle> = OnceLock::new();
    RECORDER.get_or_init(|| {
        let recorder = PrometheusBuilder::new()
            .set_buckets(&BUCKETS)
            .unwrap_or_else(|_| PrometheusBuilder::new())
            .build_recorder();
        let handle = recorder.handle();
        if metrics::set_global_recorder(recorder).is_err() {
            tracing::warn!("another recorder of metrics was there first; /metrics will be empty");
        }
        describe();
        handle
    })
}

fn describe() {
    use metrics::{Unit, describe_counter, describe_gauge, describe_histogram};
    describe_histogram!(
        "eyot_commit_seconds",
        Unit::Seconds,
        "Time of one transaction of the store, its sync included"
    );
    describe_counter!("eyot_commit_requests_total", "Requests committed; several share a transaction");
    describe_counter!("eyot_http_requests_total", "Requests answered, by route and status");
    describe_histogram!(
        "eyot_http_request_seconds",
        Unit::Seconds,
        "Time from a request to the head of its answer"
    );
    describe_counter!(
        "eyot_commit_failures_total",
        "Transactions that failed, by reason; nothing of them is stored"
    );
    describe_gauge!(
        "eyot_disk_state",
        "1 for the state of the disk: working, low (nothing new is taken), full or failing (nothing is stored)"
    );
    describe_gauge!("eyot_disk_free_bytes", Unit::Bytes, "Room that is left for the data folder");
    describe_gauge!("eyot_runs", "Stored runs, by state");
    describe_gauge!("eyot_agents", "Agents, by state of their link");
    describe_counter!("eyot_events_total", "Events committed, by kind");
    describe_counter!("eyot_alarms_total", "Things that must not happen and did");
    describe_counter!(
        "eyot_fragments_superseded_total",
        "Assignments that ended before their fragments did"
    );
    describe_counter!(
        "eyot_results_superseded_total",
        "Results that came under an epoch that had passed, and changed nothing"
    );
    describe_counter!("eyot_log_lines_dropped_total", "Lines of tasks that were not stored");
}
