use super::cloud::{Cloud, Linked, soon};
use super::log::warned;
use crate::link::Shared;
use crate::{BlobPolicy, BlobService, CloudLink, Peer, TransferError, fetch, frames, push};
use eyot_blob::{RANGE_LEN, Store};
use eyot_model::{AgentId, Digest};
use eyot_wire::{BlobProof, BlobReply, BlobRequest, StreamKind};
use quinn::{RecvStream, SendStream};
use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, OnceLock};
use tempfile::TempDir;

const MIB: usize = RANGE_LEN as usize;

pub(super) fn bytes(len: usize, seed: u8) -> Vec<u8> {
    let mut bytes = vec![0; len];
    let mut word = u64::from(seed) + 1;
    for chunk in bytes.chunks_mut(8) {
        word = word.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let random = (word ^ (word >> 29)).to_le_bytes();
        chunk.copy_from_slice(&random[..chunk.len()]);
    }
    bytes
}

/// Everybody may do everything, but for what is forbidden by name.
#[derive(Default)]
pub(super) struct Open {
    forbidden: Option<Digest>,
    /// Where a missing blob is fetched from.
    holder: OnceLock<(CloudLink, Store)>,
}

impl BlobPolicy for Open {
    fn may_read(&self, _: Peer, digest: &Digest) -> bool {
        self.forbidden != Some(*digest)
    }

    fn may_write(&self, _: Peer, digest: &Digest, _: u64) -> Result<(), String> {
        if self.forbidden == Some(*digest) {
            return Err("no assignment of this agent makes it".into());
        }
        Ok(())
    }

    fn provide<'a>(&'a self, _: Peer, digest: &'a Digest) -> crate::Future<'a, bool> {
        Box::pin(async move {
            let Some((link, store)) = self.holder.get().cloned() else {
                return false;
            };
            let digest = *digest;
            tokio::spawn(async move { fetch(&link, digest, &store, |_, _| {}).await });
            true
        })
    }
}

/// A store in a folder of its own.
struct Place {
    _dir: TempDir,
    store: Store,
}

fn place() -> Place {
    let dir = tempfile::tempdir().unwrap();
    Place {
        store: Store::open(dir.path()).unwrap(),
        _dir: dir,
    }
}

struct Scene {
    cloud: Cloud,
    linked: Linked,
    there: Place,
    here: Place,
}

/// One agent (`here`) linked to a control plane (`there`) that serves its store.
async fn scene(policy: Open) -> Scene {
    let cloud = Cloud::start();
    let linked = cloud.link().await;
    let (there, here) = (place(), place());
    BlobService::new(there.store.clone(), Arc::new(policy), 64).attach(&linked.cloud.link);
    Scene {
        cloud,
        linked,
        there,
        here,
    }
}

async fn raw_put(shared: &Shared, digest: Digest, size: u64) -> (SendStream, RecvStream, BlobReply) {
    let (mut send, mut recv) = shared.connection.open_bi().await.unwrap();
    frames::write_kind(&mut send, StreamKind::Blob).await.unwrap();
    frames::write_frame(&mut send, &BlobRequest::Put { digest, size }).await.unwrap();
    let reply = frames::read_frame(&mut recv, 1 << 16).await.unwrap();
    (send, recv, reply)
}

/// Waits until so much is acknowledged.
async fn acknowledged(recv: &mut RecvStream, want: u64) {
    loop {
        match frames::read_frame(recv, 1 << 16).await.unwrap() {
            BlobReply::Stored { offset } if offset >= want => return,
            BlobReply::Stored { .. } => {}
            other => panic!("{other:?}"),
        }
    }
}

async fn next_reply(recv: &mut RecvStream) -> BlobReply {
    loop {
        match frames::read_frame(recv, 1 << 16).await.unwrap() {
            BlobReply::Stored { .. } => {}
            other => return other,
        }
    }
}

fn outline_of(store: &Store, blob: &[u8]) -> (Digest, Vec<u8>) {
    let digest = store.put(blob).unwrap().digest;
    (digest, store.outline(&digest).unwrap().encode())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn blobs_of_all_sizes_go_there_and_back() {
    let s = scene(Open::default()).await;
    for len in [0, 1, MIB - 1, MIB, MIB + 1, 5 * MIB + 77] {
        let blob = bytes(len, 1);
        let digest = s.here.store.put(&blob).unwrap().digest;
        let moved = soon(push(&s.linked.agent.link, digest, &s.here.store)).await.unwrap();
        assert_eq!((moved.size, moved.moved), (len as u64, len as u64), "{len}");
        assert!(s.there.store.read(&digest, u64::MAX).unwrap() == blob);
        let again = soon(push(&s.linked.agent.link, digest, &s.here.store)).await.unwrap();
        assert_eq!(again.moved, 0);

        let elsewhere = place();
        let mut last = 0;
        let moved = soon(fetch(&s.linked.agent.link, digest, &elsewhere.store, |at, _| last = at))
            .await
            .unwrap();
        assert_eq!((moved.size, last), (len as u64, len as u64));
        assert!(elsewhere.store.read(&digest, u64::MAX).unwrap() == blob);
        let again = soon(fetch(&s.linked.agent.link, digest, &elsewhere.store, |_, _| {}))
            .await
            .unwrap();
        assert_eq!(again.moved, 0);
    }
    assert!(s.linked.agent.link.bandwidth().up.is_some());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_transfers_at_a_time_end_all_right() {
    let s = scene(Open::default()).await;
    let blobs: Vec<_> = (0..40).map(|i| s.here.store.put(&bytes(300_000, i)).unwrap().digest).collect();
    let transfers: Vec<_> = blobs
        .iter()
        .flat_map(|digest| [*digest, *digest])
        .map(|digest| {
            let (link, store) = (s.linked.agent.link.clone(), s.here.store.clone());
            tokio::spawn(async move { push(&link, digest, &store).await })
        })
        .collect();
    for transfer in transfers {
        soon(transfer).await.unwrap().unwrap();
    }
    assert_eq!(s.there.store.usage().blobs, 40);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_missing_or_forbidden_is_refused() {
    let secret = bytes(10, 9);
    let s = scene(Open {
        forbidden: Some(Digest::of(&secret)),
        ..Open::default()
    })
    .await;
    let error = soon(fetch(&s.linked.agent.link, Digest::of(b"nothing"), &s.here.store, |_, _| {}))
        .await
        .unwrap_err();
    assert!(matches!(error, TransferError::NotFound { .. }), "{error:?}");
    let digest = s.there.store.put(&secret).unwrap().digest;
    let error = soon(fetch(&s.linked.agent.link, digest, &s.here.store, |_, _| {}))
        .await
        .unwrap_err();
    assert!(matches!(error, TransferError::Denied { .. }), "{error:?}");
    s.here.store.put(&secret).unwrap();
    let error = soon(push(&s.linked.agent.link, digest, &s.here.store)).await.unwrap_err();
    assert!(matches!(error, TransferError::Denied { .. }), "{error:?}");
    warned(&["refused a blob transfer", &digest.to_string()]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flipped_range_is_refused_where_it_is_wrong() {
    let s = scene(Open::default()).await;
    let blob = bytes(4 * MIB, 2);
    let (digest, outline) = outline_of(&s.here.store, &blob);
    let (mut send, mut recv, reply) = raw_put(&s.linked.agent.link.shared, digest, blob.len() as u64).await;
    assert!(
        matches!(
            reply,
            BlobReply::Ready {
                offset: 0,
                outline: true,
                ..
            }
        ),
        "{reply:?}"
    );
    let mut flipped = blob.clone();
    flipped[2 * MIB + 5] ^= 1;
    let _ = send.write_all(&outline).await;
    let _ = send.write_all(&flipped).await;
    assert_eq!(soon(next_reply(&mut recv)).await, BlobReply::Corrupt);
    warned(&["refused a blob", "range=2", &digest.to_string()]).await;
    assert!(!s.there.store.contains(&digest));
    // The two ranges before it are kept.
    let moved = soon(push(&s.linked.agent.link, digest, &s.here.store)).await.unwrap();
    assert_eq!(moved.moved, 2 * RANGE_LEN);
    s.there.store.verify(&digest).unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_forged_outline_is_refused() {
    let s = scene(Open::default()).await;
    let blob = bytes(3 * MIB, 3);
    let (digest, mut outline) = outline_of(&s.here.store, &blob);
    outline[40] ^= 1;
    let (mut send, mut recv, _) = raw_put(&s.linked.agent.link.shared, digest, blob.len() as u64).await;
    send.write_all(&outline).await.unwrap();
    assert_eq!(soon(next_reply(&mut recv)).await, BlobReply::Corrupt);
    warned(&["refused a blob transfer", &digest.to_string()]).await;
    soon(push(&s.linked.agent.link, digest, &s.here.store)).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_truncated_blob_is_not_stored_and_goes_on_later() {
    let s = scene(Open::default()).await;
    let blob = bytes(4 * MIB, 4);
    let (digest, outline) = outline_of(&s.here.store, &blob);
    let (mut send, mut recv, _) = raw_put(&s.linked.agent.link.shared, digest, blob.len() as u64).await;
    send.write_all(&outline).await.unwrap();
    send.write_all(&blob[..2 * MIB + MIB / 2]).await.unwrap();
    send.finish().unwrap();
    soon(acknowledged(&mut recv, 2 * RANGE_LEN)).await;
    let end: Result<BlobReply, _> = soon(frames::read_frame(&mut recv, 1 << 16)).await;
    assert!(end.is_err(), "{end:?}");
    assert!(!s.there.store.contains(&digest));
    let moved = soon(push(&s.linked.agent.link, digest, &s.here.store)).await.unwrap();
    assert_eq!(moved.moved, 2 * RANGE_LEN);
}

/// The bound that is promised: of what was acknowledged, a cut resends at most one range.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cut_resends_at_most_a_range_of_what_was_acknowledged() {
    let s = scene(Open::default()).await;
    let blob = bytes(8 * MIB, 5);
    let (digest, outline) = outline_of(&s.here.store, &blob);
    let mut acked = 0;
    for upto in [3 * MIB + 100, 6 * MIB + 1] {
        let mut linked = s.cloud.link().await;
        BlobService::new(s.there.store.clone(), Arc::new(Open::default()), 8).attach(&linked.cloud.link);
        let (mut send, mut recv, reply) = raw_put(&linked.agent.link.shared, digest, blob.len() as u64).await;
        let BlobReply::Ready {
            offset, outline: wanted, ..
        } = reply
        else {
            panic!("{reply:?}")
        };
        assert!(offset + RANGE_LEN >= acked, "{offset} after {acked}");
        if wanted {
            send.write_all(&outline).await.unwrap();
        }
        send.write_all(&blob[usize::try_from(offset).unwrap()..upto]).await.unwrap();
        acked = upto as u64 / RANGE_LEN * RANGE_LEN;
        soon(acknowledged(&mut recv, acked)).await;
        linked.agent.link.close(eyot_wire::CloseCode::Shutdown);
        soon(async { while !matches!(linked.cloud.events.next().await, crate::Happening::Closed(_)) {} }).await;
        // The receiving end lets go of the partial blob.
        while !matches!(s.there.store.whole(&digest).await, Err(eyot_blob::Error::Interrupted { .. })) {
            tokio::task::yield_now().await;
        }
    }
    let moved = soon(push(&s.linked.agent.link, digest, &s.here.store)).await.unwrap();
    assert!(moved.moved <= moved.size - acked + RANGE_LEN, "{moved:?}");
    s.there.store.verify(&digest).unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_receiver_resumes_after_its_own_restart() {
    let s = scene(Open::default()).await;
    let blob = bytes(4 * MIB, 6);
    let digest = s.there.store.put(&blob).unwrap().digest;
    let dir = tempfile::tempdir().unwrap();
    {
        let store = Store::open(dir.path()).unwrap();
        let outline = s.there.store.outline(&digest).unwrap();
        let eyot_blob::Begin::Arrival(mut arrival) = store.begin(outline).unwrap() else {
            panic!()
        };
        arrival.write(&blob[..MIB]).unwrap();
        arrival.write(&blob[MIB..2 * MIB]).unwrap();
    }
    let store = Store::open(dir.path()).unwrap();
    let moved = soon(fetch(&s.linked.agent.link, digest, &store, |_, _| {})).await.unwrap();
    assert_eq!(moved.moved, 2 * RANGE_LEN);
    assert!(store.read(&digest, u64::MAX).unwrap() == blob);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_blob_that_came_whole_and_has_no_name_yet_gets_it_and_no_byte_more() {
    let s = scene(Open::default()).await;
    for (size, seed) in [(MIB / 2 + 3, 8), (2 * MIB, 9), (2 * MIB + 7, 10)] {
        let blob = bytes(size, seed);
        let digest = s.there.store.put(&blob).unwrap().digest;
        let dir = tempfile::tempdir().unwrap();
        {
            let store = Store::open(dir.path()).unwrap();
            let outline = s.there.store.outline(&digest).unwrap();
            let eyot_blob::Begin::Arrival(mut arrival) = store.begin(outline).unwrap() else {
                panic!()
            };
            for range in blob.chunks(MIB) {
                arrival.write(range).unwrap();
            }
            assert!(arrival.write(&blob[..MIB.min(size)]).is_err(), "it is whole");
        }
        // The process ended there.
        let store = Store::open(dir.path()).unwrap();
        soon(fetch(&s.linked.agent.link, digest, &store, |_, _| {})).await.unwrap();
        assert!(store.read(&digest, u64::MAX).unwrap() == blob, "{size}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_blob_is_passed_on_while_it_arrives() {
    let s = scene(Open::default()).await;
    let blob = bytes(4 * MIB, 7);
    let (digest, outline) = outline_of(&s.here.store, &blob);
    let (mut send, mut recv, _) = raw_put(&s.linked.agent.link.shared, digest, blob.len() as u64).await;
    send.write_all(&outline).await.unwrap();
    send.write_all(&blob[..2 * MIB]).await.unwrap();
    soon(acknowledged(&mut recv, 2 * RANGE_LEN)).await;
    // Half of it is there: a second agent gets that half before the first one sends the rest.
    let second = s.cloud.link().await;
    BlobService::new(s.there.store.clone(), Arc::new(Open::default()), 8).attach(&second.cloud.link);
    let other = place();
    let (progress, mut seen) = tokio::sync::watch::channel(0);
    let (link, store) = (second.agent.link.clone(), other.store.clone());
    let fetching = tokio::spawn(async move {
        fetch(&link, digest, &store, |at, _| {
            progress.send_replace(at);
        })
        .await
    });
    soon(seen.wait_for(|at| *at == 2 * RANGE_LEN)).await.unwrap();
    send.write_all(&blob[2 * MIB..]).await.unwrap();
    send.finish().unwrap();
    soon(fetching).await.unwrap().unwrap();
    assert!(other.store.read(&digest, u64::MAX).unwrap() == blob);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_missing_blob_is_fetched_from_the_agent_that_holds_it() {
    let cloud = Cloud::start();
    let (holder, asker) = (cloud.link().await, cloud.link().await);
    let (held, relay, got) = (place(), place(), place());
    let blob = bytes(3 * MIB + 1, 8);
    let digest = held.store.put(&blob).unwrap().digest;
    BlobService::new(held.store.clone(), Arc::new(Open::default()), 8).attach(&holder.agent.link);
    let policy = Open::default();
    let _ = policy.holder.set((holder.cloud.link.clone(), relay.store.clone()));
    BlobService::new(relay.store.clone(), Arc::new(policy), 8).attach(&asker.cloud.link);
    soon(fetch(&asker.agent.link, digest, &got.store, |_, _| {})).await.unwrap();
    assert!(got.store.read(&digest, u64::MAX).unwrap() == blob);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_that_rots_is_refused_by_the_receiver_and_quarantined_by_the_holder() {
    let cloud = Cloud::start();
    let linked = cloud.link().await;
    let (dir, here) = (tempfile::tempdir().unwrap(), place());
    let store = Store::open(dir.path()).unwrap();
    let digest = store.put_durable(&bytes(3 * MIB, 10)).unwrap().digest;
    let hex = digest.to_hex();
    let path = dir.path().join("blobs").join(&hex[..2]).join(&hex[2..]);
    let mut rotten = std::fs::read(&path).unwrap();
    rotten[MIB + 3] ^= 4;
    std::fs::write(&path, rotten).unwrap();
    BlobService::new(store.clone(), Arc::new(Open::default()), 8).attach(&linked.cloud.link);
    let error = soon(fetch(&linked.agent.link, digest, &here.store, |_, _| {})).await.unwrap_err();
    assert!(matches!(error, TransferError::Corrupt { .. }), "{error:?}");
    assert!(!here.store.contains(&digest));
    let error = soon(async {
        loop {
            match fetch(&linked.agent.link, digest, &here.store, |_, _| {}).await {
                Err(TransferError::NotFound { .. }) => return true,
                Err(_) => tokio::task::yield_now().await,
                Ok(_) => return false,
            }
        }
    })
    .await;
    assert!(error);
    assert!(std::fs::read_dir(dir.path().join("quarantine")).unwrap().next().is_some());
}

/// Takes nobody at their word.
#[derive(Default)]
struct Strict(Mutex<BTreeSet<(AgentId, Digest)>>);

impl Strict {
    fn has(&self, peer: Peer, digest: &Digest) -> bool {
        matches!(peer, Peer::Agent(agent) if self.0.lock().unwrap().contains(&(agent, *digest)))
    }
}

impl BlobPolicy for Strict {
    fn may_read(&self, _: Peer, _: &Digest) -> bool {
        false
    }

    fn may_write(&self, _: Peer, _: &Digest, _: u64) -> Result<(), String> {
        Ok(())
    }

    fn may_name(&self, peer: Peer, digest: &Digest) -> bool {
        self.has(peer, digest)
    }

    fn brought(&self, peer: Peer, digest: &Digest) {
        if let Peer::Agent(agent) = peer {
            self.0.lock().unwrap().insert((agent, *digest));
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_offers_a_blob_that_is_there_proves_to_have_it() {
    let cloud = Cloud::start();
    let (there, here) = (place(), place());
    let policy = Arc::new(Strict::default());
    let service = BlobService::new(there.store.clone(), policy.clone(), 64);
    let (first, second, spy) = (cloud.link().await, cloud.link().await, cloud.link().await);
    for linked in [&first, &second, &spy] {
        service.attach(&linked.cloud.link);
    }
    let peer = |linked: &Linked| Peer::Agent(linked.credential().agent);
    let blob = bytes(3 * MIB + 7, 1);
    let digest = here.store.put(&blob).unwrap().digest;
    let size = blob.len() as u64;

    let moved = soon(push(&first.agent.link, digest, &here.store)).await.unwrap();
    assert_eq!((moved.moved, policy.has(peer(&first), &digest)), (size, true));
    // It has the bytes, and need not send them.
    assert!(!policy.has(peer(&second), &digest));
    let moved = soon(push(&second.agent.link, digest, &here.store)).await.unwrap();
    assert_eq!((moved.moved, policy.has(peer(&second), &digest)), (0, true));
    // Once more, without a proof.
    soon(push(&second.agent.link, digest, &here.store)).await.unwrap();

    // To know the digest is not enough, nor is a proof for another nonce.
    for keyed in [digest.0, *blake3::keyed_hash(&[7; 32], &blob).as_bytes()] {
        let (mut send, mut recv, reply) = soon(raw_put(&spy.agent.link.shared, digest, size)).await;
        assert!(matches!(reply, BlobReply::Ready { offset, .. } if offset == size), "{reply:?}");
        let reply: BlobReply = soon(frames::read_frame(&mut recv, 1 << 16)).await.unwrap();
        assert!(matches!(reply, BlobReply::Prove { .. }), "{reply:?}");
        frames::write_frame(&mut send, &BlobProof { keyed }).await.unwrap();
        let reply: BlobReply = soon(frames::read_frame(&mut recv, 1 << 16)).await.unwrap();
        assert!(matches!(reply, BlobReply::Denied { .. }), "{reply:?}");
    }
    assert!(!policy.has(peer(&spy), &digest));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_brings_the_end_of_a_blob_proves_to_have_its_beginning() {
    let cloud = Cloud::start();
    let (there, here) = (place(), place());
    let policy = Arc::new(Strict::default());
    let service = BlobService::new(there.store.clone(), policy.clone(), 64);
    let (first, second) = (cloud.link().await, cloud.link().await);
    service.attach(&first.cloud.link);
    service.attach(&second.cloud.link);
    let blob = bytes(3 * MIB, 2);
    let digest = here.store.put(&blob).unwrap().digest;
    let outline = here.store.source(&digest).unwrap().unwrap().outline().encode();

    // Two ranges, and then a cut.
    let (mut send, mut recv, reply) = soon(raw_put(&first.agent.link.shared, digest, blob.len() as u64)).await;
    assert!(matches!(reply, BlobReply::Ready { outline: true, .. }), "{reply:?}");
    send.write_all(&outline).await.unwrap();
    send.write_all(&blob[..2 * MIB]).await.unwrap();
    soon(acknowledged(&mut recv, 2 * RANGE_LEN)).await;
    send.finish().unwrap();
    soon(async { while frames::read_frame::<BlobReply>(&mut recv, 1 << 16).await.is_ok() {} }).await;

    let moved = soon(push(&second.agent.link, digest, &here.store)).await.unwrap();
    assert_eq!(moved.moved, RANGE_LEN);
    let has = |linked: &Linked| policy.has(Peer::Agent(linked.credential().agent), &digest);
    assert_eq!((has(&first), has(&second)), (false, true));
}
