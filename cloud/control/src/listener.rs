//! Accepts HTTP connections, with TLS or without, and serves the router on them. Who has a place and says nothing loses
//! it, before and after any handshake.

use crate::api::Peer;
use crate::crowd::{Crowd, Place};
use axum::Router;
use axum::body::Body;
use axum::http::Request;
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::Service;

/// A client that has not said what it wants by then is sent away.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);
/// How often a client of HTTP/2 is asked whether it is still there, and how long it may take to say so.
const PING: Duration = Duration::from_secs(20);
/// Of all places, those that one address may have.
const SHARE: usize = 4;
/// Most of a request in clear text that is read, in bytes.
const REQUEST: u64 = 64 << 10;
const IN_CLEAR_TEXT: &str = concat!(
    "HTTP/1.1 400 Bad Request\r\nContent-Type: application/problem+json\r\nConnection: close\r\n\r\n",
    r#"{"code":"request.clear-text","message":"this port speaks HTTPS: write https:// in place of http://"}"#,
    "\n"
);
/// Time for requests that are being served when the control plane stops.
const FAREWELL: Duration = Duration::from_secs(5);

/// How many connections are taken, and how long one may say nothing.
#[derive(Clone, Copy)]
pub(crate) struct Bounds {
    pub(crate) connections: usize,
    pub(crate) patience: Duration,
}

/// What the client and the server have agreed to speak.
#[derive(Clone, Copy)]
enum Protocol {
    Http1,
    Http2,
}

/// Serves until `stop`; comes back when the last connection is gone.
pub(crate) async fn serve(listener: TcpListener, tls: Option<TlsAcceptor>, router: Router, bounds: Bounds, stop: CancellationToken) {
    let room = Arc::new(Semaphore::new(bounds.connections));
    let crowd = Crowd::new(u32::try_from(bounds.connections / SHARE).unwrap_or(u32::MAX));
    let connections = TaskTracker::new();
    loop {
        let accepted = tokio::select! {
            () = stop.cancelled() => break,
            accepted = accept(&listener, &room, &crowd) => accepted,
        };
        let Some((stream, peer, permit)) = accepted else { continue };
        let (tls, router, stop) = (tls.clone(), router.clone(), stop.clone());
        connections.spawn(async move {
            let _permit = permit;
            match tls {
                // Without TLS nobody can say that it speaks HTTP/2, and a client that may speak either is waited for without end.
                None => converse(stream, (Protocol::Http1, bounds.patience), peer, router, stop).await,
                Some(tls) => match tokio::time::timeout(bounds.patience, handshake(tls, stream)).await {
                    Ok(Ok(Some(stream))) => {
                        let protocol = match stream.get_ref().1.alpn_protocol() {
                            Some(b"h2") => Protocol::Http2,
                            _ => Protocol::Http1,
                        };
                        converse(stream, (protocol, bounds.patience), peer, router, stop).await;
                    }
                    Ok(Ok(None)) => tracing::debug!(%peer, "a client spoke HTTP to a port of HTTPS"),
                    Ok(Err(error)) => tracing::debug!(%peer, %error, "TLS handshake failed"),
                    Err(_) => tracing::debug!(%peer, "TLS handshake took too long"),
                },
            }
        });
    }
    drop(listener);
    connections.close();
    if tokio::time::timeout(FAREWELL, connections.wait()).await.is_err() {
        tracing::warn!(open = connections.len(), "connections cut off");
    }
}

/// The next connection, with its place among all and its place among those of its address.
async fn accept(
    listener: &TcpListener,
    room: &Arc<Semaphore>,
    crowd: &Crowd,
) -> Option<(TcpStream, SocketAddr, (OwnedSemaphorePermit, Place))> {
    let permit = Arc::clone(room).acquire_owned().await.ok()?;
    match listener.accept().await {
        Ok((stream, peer)) => {
            let Some(place) = crowd.enter(peer.ip()) else {
                tracing::debug!(%peer, "this address has its share of connections");
                return None;
            };
            // Answers are small and waited for.
            if let Err(error) = stream.set_nodelay(true) {
                tracing::debug!(%peer, %error, "TCP_NODELAY not set");
            }
            Some((stream, peer, (permit, place)))
        }
        Err(error) => {
            // Out of file descriptors, mostly: it passes when others hang up.
            tracing::warn!(%error, "a connection could not be accepted");
            tokio::time::sleep(Duration::from_millis(100)).await;
            None
        }
    }
}

/// None for a client that speaks plain HTTP: it is told so in its own words, where an alert of TLS would look to it like a
/// connection that was lost.
async fn handshake(tls: TlsAcceptor, mut stream: TcpStream) -> io::Result<Option<TlsStream<TcpStream>>> {
    let mut first = [0];
    let seen = stream.peek(&mut first).await?;
    // Methods of HTTP are capital letters; a handshake of TLS begins with 22.
    if seen == 1 && first[0].is_ascii_uppercase() {
        stream.write_all(IN_CLEAR_TEXT.as_bytes()).await?;
        stream.shutdown().await?;
        // What is closed while something is unread is reset, and the answer may be lost with it.
        tokio::io::copy(&mut stream.take(REQUEST), &mut tokio::io::sink()).await?;
        return Ok(None);
    }
    tls.accept(stream).await.map(Some)
}

async fn converse<S>(stream: S, (protocol, patience): (Protocol, Duration), peer: SocketAddr, router: Router, stop: CancellationToken)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let service = hyper::service::service_fn(move |request: Request<Incoming>| {
        let mut request = request.map(Body::new);
        request.extensions_mut().insert(Peer(peer));
        router.clone().call(request)
    });
    let mut builder = Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(patience)
        .max_buf_size(64 << 10);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(100)
        .max_header_list_size(64 << 10)
        .keep_alive_interval(PING)
        .keep_alive_timeout(patience);
    let builder = match protocol {
        Protocol::Http1 => builder.http1_only(),
        Protocol::Http2 => builder.http2_only(),
    };
    let connection = builder.serve_connection(TokioIo::new(stream), service);
    tokio::pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = stop.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%peer, error, "connection ended early");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::routing::get;
    use std::net::Ipv4Addr;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpSocket;

    struct Served {
        address: SocketAddr,
        stop: CancellationToken,
    }

    async fn serve_here(patience: Duration) -> Served {
        let bounds = Bounds { connections: 8, patience };
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let router = Router::new().route("/healthz", get(|| async { "ok" }));
        let stop = CancellationToken::new();
        tokio::spawn(serve(listener, None, router, bounds, stop.clone()));
        Served { address, stop }
    }

    impl Served {
        async fn connect(&self, from: [u8; 4]) -> TcpStream {
            let socket = TcpSocket::new_v4().unwrap();
            socket.bind((Ipv4Addr::from(from), 0).into()).unwrap();
            socket.connect(self.address).await.unwrap()
        }

        async fn answers(&self, from: [u8; 4]) -> bool {
            let mut stream = self.connect(from).await;
            let asked = stream
                .write_all(b"GET /healthz HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
                .await;
            let mut answer = Vec::new();
            asked.is_ok() && stream.read_to_end(&mut answer).await.is_ok() && answer.starts_with(b"HTTP/1.1 200")
        }
    }

    const ONE: [u8; 4] = [127, 0, 0, 1];
    const OTHER: [u8; 4] = [127, 0, 0, 2];

    #[tokio::test]
    async fn one_address_does_not_take_every_place() {
        let served = serve_here(PATIENCE).await;
        let mut silent = Vec::new();
        for _ in 0..8 {
            silent.push(served.connect(ONE).await);
        }
        assert!(!served.answers(ONE).await, "it has its share");
        assert!(served.answers(OTHER).await);
        drop(silent);
        while !served.answers(ONE).await {
            tokio::task::yield_now().await;
        }
        served.stop.cancel();
    }

    #[tokio::test]
    async fn who_says_nothing_loses_its_place() {
        let served = serve_here(Duration::from_millis(50)).await;
        for first in [&b""[..], b"P", b"GET / HT", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"] {
            let mut stream = served.connect(ONE).await;
            stream.write_all(first).await.unwrap();
            let mut answer = Vec::new();
            // Comes back once the other end has closed.
            let _ = stream.read_to_end(&mut answer).await;
        }
        served.stop.cancel();
    }
}
