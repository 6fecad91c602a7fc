use super::cloud::{Cloud, soon};
use super::log::warned;
use crate::dialer::client_config;
use crate::reach::{Client, Manner, reach};
use crate::socket::Heard;
use crate::{AgentKey, CLOUD_NAME, Error, Happening, Identity, Options, Serial, SigningRequest, frames, tls, transport};
use eyot_model::Millis;
use eyot_wire::{FRAME_LIMIT, LogRecord, StreamKind, ToCloud, alpn};
use quinn::{Connection, SendStream};
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

/// A client that speaks QUIC and TLS as it should, and then what the test wants.
async fn raw(cloud: &Cloud, identity: Arc<Identity>, alpn: &[u8]) -> Result<(Client, Connection), Error> {
    let config = client_config(tls::agent_config(identity, alpn, cloud.time.clock())?)?;
    let endpoint = Client::open()?;
    let connection = connect(&endpoint, cloud, config).await?;
    Ok((endpoint, connection))
}

async fn connect(endpoint: &Client, cloud: &Cloud, config: quinn::ClientConfig) -> Result<Connection, Error> {
    let manner = Manner { first: 0, eager: false };
    reach(endpoint, &[cloud.addr().to_string()], &config, manner).await
}

struct RawLink {
    _endpoint: Client,
    connection: Connection,
    control: SendStream,
    beats: SendStream,
}

async fn raw_link(cloud: &Cloud, identity: Arc<Identity>) -> RawLink {
    let (endpoint, connection) = raw(cloud, identity, alpn::WORK).await.unwrap();
    let (mut control, mut answer) = connection.open_bi().await.unwrap();
    let (mut beats, _) = connection.open_bi().await.unwrap();
    frames::write_kind(&mut control, StreamKind::Control).await.unwrap();
    frames::write_kind(&mut beats, StreamKind::Heartbeat).await.unwrap();
    assert_eq!(frames::read_kind(&mut answer).await.unwrap(), StreamKind::Control);
    RawLink {
        _endpoint: endpoint,
        connection,
        control,
        beats,
    }
}

fn identity(cloud: &Cloud) -> Arc<Identity> {
    cloud.identity(Millis::from_secs(3_600))
}

async fn closed_by_server(connection: &Connection) -> Error {
    soon(connection.closed()).await.into()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_certificate_of_another_ca_is_refused() {
    let cloud = Cloud::start();
    let other = Cloud::start();
    let key = AgentKey::create().unwrap();
    let csr = SigningRequest::read(&key.signing_request().unwrap()).unwrap();
    let now = cloud.time.clock().now();
    let mut chain = other
        .ca
        .sign(&csr, Serial::random().unwrap(), now, now.after(Millis::from_secs(60)))
        .unwrap();
    // It knows our control plane, but its certificate is of another one.
    chain[1] = cloud.ca.certificate().to_vec();
    let stranger = Identity::new(key, chain).unwrap();
    let error = soon(cloud.dialer(stranger).dial()).await.err().unwrap();
    assert!(matches!(error, Error::CertificateRefused), "{error:?}");
    warned(&["refused a connection", "certificate of another CA", "peer=127.0.0.1"]).await;
    cloud.link().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn work_and_renewal_need_a_certificate() {
    let cloud = Cloud::start();
    for protocol in [alpn::WORK, alpn::RENEW] {
        let mut tls = tls::join_config(cloud.ca.digest(), cloud.time.clock()).unwrap();
        tls.alpn_protocols = vec![protocol.to_vec()];
        let endpoint = Client::open().unwrap();
        let connection = connect(&endpoint, &cloud, client_config(tls).unwrap()).await.unwrap();
        let error = closed_by_server(&connection).await;
        assert!(matches!(error, Error::NoCertificate), "{error:?}");
    }
    warned(&["refused a connection", "no certificate"]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_unknown_protocol_is_refused() {
    let cloud = Cloud::start();
    let error = soon(raw(&cloud, identity(&cloud), b"eyot/999")).await.err().unwrap();
    assert!(matches!(error, Error::Version), "{error:?}");
    warned(&["refused a connection", "unknown protocol"]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_oversized_frame_is_refused_before_it_is_read() {
    let cloud = Cloud::start();
    let identity = identity(&cloud);
    let mut raw = raw_link(&cloud, identity.clone()).await;
    let header = u32::try_from(FRAME_LIMIT + 1).unwrap().to_le_bytes();
    raw.control.write_all(&header).await.unwrap();
    let error = closed_by_server(&raw.connection).await;
    assert!(matches!(error, Error::Protocol(_)), "{error:?}");
    warned(&["closed a link", "over the limit", &identity.agent().to_string(), "peer=127.0.0.1"]).await;
    cloud.link().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_garbage_frame_is_refused() {
    let cloud = Cloud::start();
    for stream in 0..2 {
        let identity = identity(&cloud);
        let mut raw = raw_link(&cloud, identity.clone()).await;
        let garbage = [&5u32.to_le_bytes()[..], b"\xff\xff\xff\xff\xff"].concat();
        let into = if stream == 0 { &mut raw.control } else { &mut raw.beats };
        into.write_all(&garbage).await.unwrap();
        let error = closed_by_server(&raw.connection).await;
        assert!(matches!(error, Error::Protocol(_)), "{error:?}");
        warned(&["closed a link", "not a message", &identity.agent().to_string()]).await;
    }
    cloud.link().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_of_an_unknown_kind_is_refused() {
    let cloud = Cloud::start();
    let identity = identity(&cloud);
    let raw = raw_link(&cloud, identity.clone()).await;
    let (mut send, _recv) = raw.connection.open_bi().await.unwrap();
    send.write_all(&[77]).await.unwrap();
    closed_by_server(&raw.connection).await;
    warned(&["closed a link", "unknown kind 77", &identity.agent().to_string()]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn garbage_datagrams_are_told_once_and_change_nothing() {
    let cloud = Cloud::start();
    let mut linked = cloud.link().await;
    let socket = tokio::net::UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let from = socket.local_addr().unwrap().to_string();
    for garbage in [&b"garbage"[..], &[0; 1_200], &[0xff; 1_452], &[0x40; 100]] {
        socket.send_to(garbage, cloud.addr()).await.unwrap();
    }
    warned(&["ignored a malformed datagram", &from]).await;
    linked.welcome(Millis(1_000)).await;
    cloud.link().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_says_nothing_is_let_go() {
    let cloud = Cloud::start_with(Options {
        handshake_timeout: Duration::from_millis(200),
        ..Options::default()
    });
    for protocol in [alpn::WORK, alpn::RENEW] {
        let (_endpoint, connection) = raw(&cloud, identity(&cloud), protocol).await.unwrap();
        let error = closed_by_server(&connection).await;
        assert!(matches!(error, Error::TimedOut), "{error:?}");
    }
    warned(&["refused a connection", "did not say in time"]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_revoked_agent_is_cut_off_in_the_middle_of_its_messages() {
    let cloud = Cloud::start();
    let mut linked = cloud.link().await;
    let agent = linked.credential().agent;
    for _ in 0..10 {
        linked.agent.link.send(&ToCloud::Logs(vec![line(1)])).await.unwrap();
    }
    cloud.directory.set(agent, crate::Standing::Revoked);
    assert!(cloud.server.disconnect(agent, eyot_wire::CloseCode::Revoked));
    let reason = soon(async {
        loop {
            match linked.cloud.events.next().await {
                Happening::Closed(reason) => return reason,
                Happening::Heartbeat(_) => {}
                other => panic!("{other:?}"),
            }
        }
    })
    .await;
    assert!(matches!(*reason, Error::Revoked), "{reason:?}");
    let reason = soon(linked.agent.link.closed()).await;
    assert!(matches!(*reason, Error::Revoked), "{reason:?}");
    let error = soon(linked.dialer.dial()).await.err().unwrap();
    assert!(matches!(error, Error::Revoked), "{error:?}");
}

pub(super) fn line(bytes: usize) -> LogRecord {
    LogRecord {
        run: eyot_model::RunId(1),
        path: eyot_model::Path::task(eyot_model::TaskIx(0)),
        attempt: 1,
        at: eyot_model::Timestamp(0),
        level: 3,
        message: "x".repeat(bytes),
    }
}

/// Connections that say nothing, from an address of this machine that no agent has.
async fn crowd(cloud: &Cloud, size: usize) -> (quinn::Endpoint, Vec<Connection>) {
    let mut tls = tls::join_config(cloud.ca.digest(), cloud.time.clock()).unwrap();
    tls.alpn_protocols = vec![alpn::JOIN.to_vec()];
    let config = client_config(tls).unwrap();
    let endpoint = transport::client((Ipv4Addr::new(127, 0, 0, 2), 0).into(), Heard::default()).unwrap();
    let connecting: Vec<_> = (0..size)
        .map(|_| endpoint.connect_with(config.clone(), cloud.addr(), CLOUD_NAME).unwrap())
        .map(tokio::spawn)
        .collect();
    let mut connections = Vec::new();
    for connecting in connecting {
        connections.extend(connecting.await.unwrap());
    }
    (endpoint, connections)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crowd_from_one_address_that_says_nothing_keeps_no_agent_out() {
    let cloud = Cloud::start();
    let (_endpoint, connections) = soon(crowd(&cloud, 600)).await;
    assert!(connections.len() > 16, "{}", connections.len());
    let mut dialer = cloud.dialer(identity(&cloud));
    let (agent, _cloud) = soon(async { tokio::join!(dialer.dial_once(), cloud.server.accept()) }).await;
    agent.expect("an agent links in its first round");
    // What a device that joins needs is not theirs alone either.
    soon(cloud.join()).await;
    for connection in &connections {
        let error = closed_by_server(connection).await;
        assert!(matches!(error, Error::Busy | Error::TimedOut), "{error:?}");
    }
}
