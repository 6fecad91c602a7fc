//! The async client of the control plane's HTTP API.
//!
//! [`Client`] has one typed method per route and speaks the types of [`eyot_model::api`]. It pins the control plane's
//! own CA where one is given, refuses to send a token in clear text to another machine, streams files up and blobs
//! down without holding them in memory, and follows a run's events over lost connections ([`Events`]).
//!
//! It does not read configuration files, the environment or the terminal: that is the `eyot` command's part. It does
//! not repeat a request by itself, but where repeating is harmless and the answer was lost on the way.
//!
//! ```no_run
//! # async fn example() -> Result<(), eyot_client::Error> {
//! let client = eyot_client::Client::new(&eyot_client::Options::local())?;
//! for run in client.runs(&eyot_client::RunFilter::default()).await?.items {
//!     println!("{} {}", run.id, run.state);
//! }
//! # Ok(()) }
//! ```

mod agents;
mod blobs;
mod error;
mod events;
mod http;
mod options;
mod registry;
mod runs;
mod sse;

pub use blobs::Progress;
pub use error::{Error, Recovery, Unreachable};
pub use events::{Events, Update};
pub use http::Client;
pub use options::{DEFAULT_ADDRESS, Options, Token};
pub use registry::{ComponentSpec, Health};
pub use runs::RunFilter;
