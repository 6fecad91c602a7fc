use super::cloud::{Cloud, soon};
use super::log::warned;
use crate::{AgentKey, Error, Happening, Identity, Kind, Secret, Standing, join};
use eyot_model::{Digest, Millis};
use eyot_wire::ToCloud;
use std::os::unix::fs::PermissionsExt;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_device_joins_keeps_its_identity_and_works() {
    let cloud = Cloud::start();
    let dir = tempfile::tempdir().unwrap();
    let key = AgentKey::open_or_create(dir.path()).unwrap();
    let agent = key.agent();
    let joined = soon(join(&cloud.invite(), "camera", key, cloud.time.clock())).await.unwrap();
    assert_eq!(joined.name, "the camera", "the control plane names it");
    let identity = joined.identity;
    assert_eq!(identity.agent(), agent);
    identity.save(dir.path()).unwrap();
    for file in ["agent-key.pem", "agent.pem"] {
        let mode = std::fs::metadata(dir.path().join(file)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{file}");
    }
    let again = Identity::load(dir.path()).unwrap().unwrap();
    assert_eq!(again.credential(), identity.credential());
    let mut dialer = cloud.dialer(again);
    let (here, there) = soon(async { tokio::join!(dialer.dial(), cloud.server.accept()) }).await;
    assert_eq!(here.unwrap().link.peer(), crate::Peer::Cloud);
    assert_eq!(there.unwrap().link.peer(), crate::Peer::Agent(agent));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_folder_without_identity_is_no_error() {
    let dir = tempfile::tempdir().unwrap();
    assert!(Identity::load(dir.path()).unwrap().is_none());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wrong_token_is_refused_with_a_reason_on_both_sides() {
    let cloud = Cloud::start();
    let mut token = cloud.invite();
    token.secret = Secret::random().unwrap();
    let error = soon(join(&token, "wrong-token", AgentKey::create().unwrap(), cloud.time.clock()))
        .await
        .unwrap_err();
    assert!(
        matches!(&error, Error::EnrolmentDenied(reason) if reason.contains("not known")),
        "{error}"
    );
    assert_eq!(error.kind(), Kind::Terminal);
    warned(&["refused an enrolment", "wrong-token", "the token is not known", "peer=127.0.0.1"]).await;
    // The rest goes on.
    cloud.join().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_over_its_time_or_used_by_another_device_is_refused() {
    let cloud = Cloud::start();
    let token = cloud.invite();
    let key = AgentKey::create().unwrap();
    let again = tempfile::tempdir().unwrap();
    let kept = AgentKey::open_or_create(again.path()).unwrap();
    soon(join(&token, "a", kept, cloud.time.clock())).await.unwrap();
    let used = soon(join(&token, "b", key, cloud.time.clock())).await.unwrap_err();
    assert!(matches!(&used, Error::EnrolmentDenied(reason) if reason.contains("used")), "{used}");
    // The answer was lost, maybe: the same device may ask again.
    let kept = AgentKey::open_or_create(again.path()).unwrap();
    soon(join(&token, "a", kept, cloud.time.clock())).await.unwrap();

    let late = cloud.invite();
    cloud.time.forward(Millis::from_secs(3_601));
    let error = soon(join(&late, "late", AgentKey::create().unwrap(), cloud.time.clock()))
        .await
        .unwrap_err();
    assert!(
        matches!(&error, Error::EnrolmentDenied(reason) if reason.contains("over its time")),
        "{error}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_device_does_not_give_its_token_to_an_unknown_ca() {
    let cloud = Cloud::start();
    let mut token = cloud.invite();
    token.ca = Digest::of(b"another CA");
    let error = soon(join(&token, "x", AgentKey::create().unwrap(), cloud.time.clock()))
        .await
        .unwrap_err();
    assert!(matches!(error, Error::UnknownCa), "{error:?}");
    warned(&["refused a connection", "unknown CA", "peer=127.0.0.1"]).await;
    // The secret never left the device: the token still works.
    token.ca = cloud.ca.digest();
    soon(join(&token, "x", AgentKey::create().unwrap(), cloud.time.clock()))
        .await
        .unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_expired_certificate_does_no_work_but_renews() {
    let cloud = Cloud::start();
    let identity = cloud.identity(Millis::from_secs(60));
    cloud.time.forward(Millis::from_secs(100 * 86_400 - 90 * 86_400));
    let before = identity.credential();
    let mut dialer = cloud.dialer(identity.clone());
    let error = soon(dialer.dial_once()).await.err().unwrap();
    assert!(matches!(error, Error::Expired), "{error:?}");
    warned(&["refused a connection", "expired certificate", &before.agent.to_string()]).await;
    let (live, there) = soon(async { tokio::join!(dialer.dial(), cloud.server.accept()) }).await;
    live.unwrap();
    there.unwrap();
    assert_ne!(identity.credential().serial, before.serial);
    assert_eq!(identity.agent(), before.agent);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_revoked_agent_neither_works_nor_renews() {
    let cloud = Cloud::start();
    let identity = cloud.identity(Millis::from_secs(3_600));
    let agent = identity.agent();
    let mut dialer = cloud.dialer(identity);
    cloud.directory.set(agent, Standing::Revoked);
    let error = soon(dialer.dial()).await.err().unwrap();
    assert!(matches!(error, Error::Revoked), "{error:?}");
    assert_eq!(error.kind(), Kind::Terminal);
    warned(&["refused a connection", "revoked certificate"]).await;
    cloud.time.forward(Millis::from_secs(7_200));
    let error = soon(dialer.renew()).await.unwrap_err();
    assert!(matches!(error, Error::Revoked), "{error:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_agent_that_was_removed_is_unknown() {
    let cloud = Cloud::start();
    let identity = cloud.identity(Millis::from_secs(3_600));
    cloud.directory.set(identity.agent(), Standing::Unknown);
    let error = soon(cloud.dialer(identity.clone()).dial()).await.err().unwrap();
    assert!(matches!(error, Error::UnknownAgent), "{error:?}");
    warned(&["refused a connection", &identity.agent().to_string(), "not known here"]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_certificate_is_renewed_over_a_live_link_which_lives_on() {
    let cloud = Cloud::start();
    let mut linked = cloud.link().await;
    let identity = linked.dialer.identity().clone();
    let before = identity.credential();
    let mut changes = identity.watch();
    cloud.directory.set_life(Millis::from_secs(7_200));
    let renewed = soon(linked.agent.link.renew(&identity)).await.unwrap();
    assert!(renewed.validity.not_after > before.validity.not_after);
    assert_eq!(*changes.borrow_and_update(), renewed);
    linked.welcome(Millis(1_000)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_link_ends_with_its_certificate() {
    let cloud = Cloud::start();
    let identity = cloud.identity(Millis::from_secs(2));
    let mut dialer = cloud.dialer(identity);
    let (live, _there) = soon(async { tokio::join!(dialer.dial(), cloud.server.accept()) }).await;
    let reason = soon(live.unwrap().link.closed()).await;
    assert!(matches!(*reason, Error::Expired), "{reason:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_link_outlives_its_certificate_if_the_agent_got_a_newer_one_by_another_connection() {
    let cloud = Cloud::start();
    let identity = cloud.identity(Millis::from_secs(3));
    let mut dialer = cloud.dialer(identity.clone());
    let (live, there) = soon(async { tokio::join!(dialer.dial(), cloud.server.accept()) }).await;
    let (live, mut there) = (live.unwrap(), there.unwrap());
    cloud.directory.set_life(Millis::from_secs(3_600));
    let first = identity.credential().validity.not_after;
    soon(dialer.renew()).await.unwrap();
    // Past the end of the certificate that the link came up with, and past the moment at which that is looked at.
    soon(async {
        while cloud.time.clock().now() < first.after(Millis::from_secs(1)) {
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
    })
    .await;
    live.link.send(&ToCloud::Logs(vec![])).await.unwrap();
    soon(async { while !matches!(there.events.next().await, Happening::Message(ToCloud::Logs(_))) {} }).await;
    // New connections show the new certificate: with the old one they would not work.
    let (newer, _there) = soon(async { tokio::join!(dialer.dial_once(), cloud.server.accept()) }).await;
    newer.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_certificate_from_the_future_is_renewed_like_an_expired_one() {
    // The control plane made it while its clock was ahead, which was set right since.
    let cloud = Cloud::start();
    let key = AgentKey::create().unwrap();
    cloud.directory.set(key.agent(), Standing::Allowed);
    let csr = crate::SigningRequest::read(&key.signing_request().unwrap()).unwrap();
    let made = cloud.time.clock().now().after(Millis::from_secs(86_400));
    let chain = cloud
        .ca
        .sign(&csr, crate::Serial::random().unwrap(), made, made.after(Millis::from_secs(3_600)))
        .unwrap();
    let identity = Identity::new(key, chain).unwrap();
    let before = identity.credential().serial;
    let mut dialer = cloud.dialer(identity.clone());
    let (live, _there) = soon(async { tokio::join!(dialer.dial(), cloud.server.accept()) }).await;
    live.unwrap();
    assert_ne!(identity.credential().serial, before);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_device_whose_clock_is_behind_links_and_one_far_ahead_is_told_why_not() {
    let cloud = Cloud::start();
    let identity = cloud.identity(Millis::from_secs(3_600));
    let at = |micros: u64| crate::Clock::new(move || eyot_model::Timestamp(micros));
    let mut behind = cloud.dialer_with(identity.clone(), vec![cloud.addr().to_string()], at(0));
    let (live, _there) = soon(async { tokio::join!(behind.dial(), cloud.server.accept()) }).await;
    live.unwrap();
    let years_ahead = cloud.time.clock().now().after(Millis::from_secs(10 * 365 * 86_400));
    let mut ahead = cloud.dialer_with(identity, vec![cloud.addr().to_string()], at(years_ahead.0));
    let error = soon(ahead.dial_once()).await.err().unwrap();
    assert!(matches!(error, Error::CloudExpired), "{error:?}");
    assert!(error.advice().contains("clock"));
}
