//! The one place that makes requests and reads answers.

use crate::options::is_loopback;
use crate::{Error, Options};
use eyot_model::api::Problem;
use futures_util::StreamExt;
use reqwest::{Method, RequestBuilder, Response, Url};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::sync::{Arc, Once};
use std::time::Duration;

/// Longest JSON answer that is read, in bytes.
const ANSWER_LIMIT: u64 = 64 << 20;
/// A connection that was idle this long is not used again.
const IDLE: Duration = Duration::from_secs(5);
/// Longest error answer that is read, in bytes.
const PROBLEM_LIMIT: u64 = 1 << 20;

/// The client. Cheap to clone; all clones share one pool of connections.
#[derive(Clone, Debug)]
pub struct Client {
    http: reqwest::Client,
    options: Arc<Options>,
    base: Url,
}

impl Client {
    /// Opens no connection yet.
    ///
    /// # Errors
    /// When the address or the CA is malformed, or a token would travel in clear text.
    pub fn new(options: &Options) -> Result<Self, Error> {
        install_provider();
        let base = options.url()?;
        let mut builder = reqwest::Client::builder()
            .user_agent(concat!("eyot/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(options.connect_timeout)
            .read_timeout(options.read_timeout)
            // Sooner than the control plane closes it: a request on a connection that is closing is lost.
            .pool_idle_timeout(IDLE)
            .redirect(reqwest::redirect::Policy::none());
        if is_loopback(&base) {
            builder = builder.no_proxy();
        }
        if let Some(socket) = &options.socket {
            builder = builder.no_proxy().unix_socket(socket.clone());
        }
        if let Some(pem) = &options.ca_pem {
            let bad = |reason: String| Error::BadCa { reason };
            let certificates = reqwest::Certificate::from_pem_bundle(pem.as_bytes()).map_err(|e| bad(e.to_string()))?;
            if certificates.is_empty() {
                return Err(bad("it holds no certificate in PEM form".to_owned()));
            }
            builder = builder.tls_certs_only(certificates);
        }
        Ok(Self {
            http: builder.build().map_err(|e| Error::Internal(Box::new(e)))?,
            options: Arc::new(options.clone()),
            base,
        })
    }

    /// The control plane's address, without a slash at the end; or the agent's socket.
    #[must_use]
    pub fn server(&self) -> &str {
        match &self.options.socket {
            Some(socket) => socket.to_str().unwrap_or("the agent's socket"),
            None => self.base.as_str().trim_end_matches('/'),
        }
    }

    pub(crate) fn request(&self, method: Method, path: &[&str]) -> RequestBuilder {
        let mut url = self.base.clone();
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.clear().extend(path);
        }
        let request = self.http.request(method, url);
        match &self.options.token {
            Some(token) => request.bearer_auth(token.reveal()),
            None => request,
        }
    }

    pub(crate) fn get(&self, path: &[&str]) -> RequestBuilder {
        self.request(Method::GET, path)
    }

    pub(crate) fn post(&self, path: &[&str]) -> RequestBuilder {
        self.request(Method::POST, path)
    }

    pub(crate) fn lost(&self, error: reqwest::Error) -> Error {
        Error::from_reqwest(self.server(), error)
    }

    /// Sends, and makes an error of every answer that is not a success.
    pub(crate) async fn send(&self, request: RequestBuilder) -> Result<Response, Error> {
        let response = request.send().await.map_err(|e| self.lost(e))?;
        if response.status().is_success() {
            return Ok(response);
        }
        let status = response.status().as_u16();
        let name = request_name(&response);
        let body = self.body(response, PROBLEM_LIMIT, &name).await.unwrap_or_default();
        match serde_json::from_slice::<Problem>(&body) {
            Ok(problem) => Err(Error::Refused {
                status,
                problem: Box::new(problem),
            }),
            Err(_) => Err(Error::NotEyot {
                server: self.server().to_owned(),
                status,
            }),
        }
    }

    pub(crate) async fn json<T: DeserializeOwned>(&self, request: RequestBuilder) -> Result<T, Error> {
        let response = self.send(request).await?;
        let name = request_name(&response);
        let body = self.body(response, ANSWER_LIMIT, &name).await?;
        serde_json::from_slice(&body).map_err(|cause| Error::Malformed { request: name, cause })
    }

    pub(crate) async fn post_json<T: DeserializeOwned>(&self, path: &[&str], body: &impl Serialize) -> Result<T, Error> {
        self.json(self.post(path).json(body)).await
    }

    /// For requests whose answer says nothing beyond that it worked.
    pub(crate) async fn done(&self, request: RequestBuilder) -> Result<(), Error> {
        self.send(request).await.map(drop)
    }

    async fn body(&self, response: Response, limit: u64, name: &str) -> Result<Vec<u8>, Error> {
        let mut body = Vec::new();
        let mut chunks = response.bytes_stream();
        while let Some(chunk) = chunks.next().await {
            let chunk = chunk.map_err(|e| self.lost(e))?;
            if (body.len() + chunk.len()) as u64 > limit {
                return Err(Error::TooLong {
                    request: name.to_owned(),
                    limit,
                });
            }
            body.extend_from_slice(&chunk);
        }
        Ok(body)
    }
}

/// The path of the request that a response answers.
pub(crate) fn request_name(response: &Response) -> String {
    response.url().path().to_owned()
}

/// rustls needs to be told once per process which cryptography to use.
fn install_provider() {
    static ONCE: Once = Once::new();
    // An error means that the program has chosen one already, which is as good.
    ONCE.call_once(|| drop(rustls::crypto::ring::default_provider().install_default()));
}
