//! Not a test: what a blob costs from agent to agent through the control plane, beside the bare network. Run with
//! `--ignored --nocapture measure`.

use super::blobs::{Open, bytes};
use super::cloud::Cloud;
use crate::{BlobService, fetch, floor, push};
use eyot_blob::Store;
use std::sync::Arc;
use std::time::Instant;

const SIZE: usize = 256 << 20;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a measurement"]
async fn measure() {
    for round in 0..5 {
        let bare = floor::relay(SIZE as u64).await.unwrap();
        let cloud = Cloud::start();
        let (from, to) = (cloud.link().await, cloud.link().await);
        let dirs: [_; 3] = std::array::from_fn(|_| tempfile::tempdir_in(".").unwrap());
        let stores: Vec<_> = dirs.iter().map(|dir| Store::open(dir.path()).unwrap()).collect();
        let [a, relay, b] = stores.as_slice() else { unreachable!() };
        let digest = a.put_durable(&bytes(SIZE, round)).unwrap().digest;
        for link in [&from.cloud.link, &to.cloud.link] {
            BlobService::new(relay.clone(), Arc::new(Open::default()), 8).attach(link);
        }
        let started = Instant::now();
        let pushing = push(&from.agent.link, digest, a);
        let fetching = async {
            let _ = relay.appears(&digest).await;
            fetch(&to.agent.link, digest, b, |_, _| {}).await
        };
        let (pushed, fetched) = tokio::join!(pushing, fetching);
        pushed.unwrap();
        fetched.unwrap();
        let took = started.elapsed();
        println!(
            "bare {bare:?}, whole {took:?}, ratio {:.2}",
            took.as_secs_f64() / bare.as_secs_f64()
        );
    }
}
