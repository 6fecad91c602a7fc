//! Settings of `eyot-cloud serve`: flags and `EYOT_*` variables, then checked and typed.

use eyot_model::Millis;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

/// As it is given on the command line.
#[derive(Clone, Debug, clap::Args)]
pub struct ServeArgs {
    /// Folder with everything that the control plane keeps: store, blobs, CA, admin token
    #[arg(long, env = "EYOT_DATA", default_value = "/var/lib/eyot-cloud")]
    pub data: PathBuf,
    /// Address of the HTTP API
    #[arg(long, env = "EYOT_LISTEN_HTTP", default_value = "127.0.0.1:7340")]
    pub listen_http: SocketAddr,
    /// Address that agents connect to (UDP)
    #[arg(long, env = "EYOT_LISTEN_QUIC", default_value = "0.0.0.0:7341")]
    pub listen_quic: SocketAddr,
    /// `host:port` under which agents reach this control plane; goes into join tokens. Default: this machine's name
    #[arg(long, env = "EYOT_PUBLIC_ADDRESS")]
    pub public_address: Option<String>,
    /// More names or addresses that the HTTP certificate is valid for
    #[arg(long = "http-name", env = "EYOT_HTTP_NAMES", value_delimiter = ',')]
    pub http_names: Vec<String>,
    /// For trying out: HTTP without TLS and token, on loopback only
    #[arg(long, env = "EYOT_DEV", value_parser = clap::builder::BoolishValueParser::new())]
    pub dev: bool,
    #[command(flatten)]
    pub retention: RetentionArgs,
    #[command(flatten)]
    pub limits: LimitArgs,
    /// How often agents show that they are alive
    #[arg(long, env = "EYOT_HEARTBEAT", default_value = "2s", value_parser = length)]
    pub heartbeat: Millis,
    /// Life of an agent's certificate; it is renewed at two thirds of it
    #[arg(long, env = "EYOT_CERTIFICATE_LIFE", default_value = "30d", value_parser = length)]
    pub certificate_life: Millis,
}

/// What is kept how long.
#[derive(Clone, Debug, clap::Args)]
#[command(next_help_heading = "Retention")]
pub struct RetentionArgs {
    /// Keep runs that succeeded this long, unless their workflow says otherwise
    #[arg(long, env = "EYOT_KEEP_SUCCEEDED", default_value = "7d", value_parser = length)]
    pub keep_succeeded: Millis,
    /// Keep runs that failed or were cancelled this long, unless their workflow says otherwise
    #[arg(long, env = "EYOT_KEEP_FAILED", default_value = "30d", value_parser = length)]
    pub keep_failed: Millis,
    /// Keep uploads that nothing names this long
    #[arg(long, env = "EYOT_KEEP_UPLOADS", default_value = "1d", value_parser = length)]
    pub keep_uploads: Millis,
    /// Time between two sweeps
    #[arg(long, env = "EYOT_SWEEP_EVERY", default_value = "10m", value_parser = length)]
    pub sweep_every: Millis,
}

/// What clients may ask of the API.
#[derive(Clone, Debug, clap::Args)]
#[command(next_help_heading = "Limits")]
pub struct LimitArgs {
    /// Requests per second from one address, with bursts of twice as many; 0: no limit
    #[arg(long, env = "EYOT_REQUESTS_PER_SEC", default_value_t = 500)]
    pub requests_per_sec: u32,
    /// Requests that are served at the same time
    #[arg(long, env = "EYOT_MAX_REQUESTS", default_value_t = 512)]
    pub max_requests: u32,
    /// Connections that are open at the same time, a quarter of them from one address
    #[arg(long, env = "EYOT_MAX_CONNECTIONS", default_value_t = 2048)]
    pub max_connections: u32,
    /// Longest time for a request that is not an upload, a download or a stream of events
    #[arg(long, env = "EYOT_REQUEST_TIMEOUT", default_value = "30s", value_parser = length)]
    pub request_timeout: Millis,
    /// Largest upload
    #[arg(long, env = "EYOT_MAX_UPLOAD", default_value = "16Gi", value_parser = size)]
    pub max_upload: u64,
}

/// What does not go together in the settings.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    #[error("--dev has neither TLS nor a token, so --listen-http must be a loopback address, and {0} is not")]
    DevBeyondLoopback(SocketAddr),
    #[error("--public-address must be `host:port`, and `{0}` is not")]
    PublicAddress(String),
    #[error("--{0} must be longer than zero")]
    Zero(&'static str),
}

impl ServeArgs {
    /// # Errors
    /// When two settings do not go together.
    pub fn check(&self) -> Result<(), Error> {
        if self.dev && !self.listen_http.ip().is_loopback() {
            return Err(Error::DevBeyondLoopback(self.listen_http));
        }
        if let Some(address) = &self.public_address {
            let well_formed = address
                .rsplit_once(':')
                .is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok_and(|port| port > 0));
            if !well_formed {
                return Err(Error::PublicAddress(address.clone()));
            }
        }
        for (name, value) in [
            ("heartbeat", self.heartbeat),
            ("certificate-life", self.certificate_life),
            ("sweep-every", self.retention.sweep_every),
            ("request-timeout", self.limits.request_timeout),
        ] {
            if value.0 == 0 {
                return Err(Error::Zero(name));
            }
        }
        Ok(())
    }

    /// Settings for tests and for trying out: loopback, ports chosen by the system.
    #[must_use]
    pub fn local(data: PathBuf) -> Self {
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        Self {
            data,
            listen_http: any,
            listen_quic: any,
            public_address: None,
            http_names: Vec::new(),
            dev: true,
            retention: RetentionArgs {
                keep_succeeded: Millis::from_secs(7 * 86_400),
                keep_failed: Millis::from_secs(30 * 86_400),
                keep_uploads: Millis::from_secs(86_400),
                sweep_every: Millis::from_secs(600),
            },
            limits: LimitArgs {
                requests_per_sec: 0,
                max_requests: 512,
                max_connections: 2048,
                request_timeout: Millis::from_secs(30),
                max_upload: 16 << 30,
            },
            heartbeat: Millis::from_secs(2),
            certificate_life: Millis::from_secs(30 * 86_400),
        }
    }

    pub(crate) fn request_timeout(&self) -> Duration {
        self.limits.request_timeout.as_duration()
    }
}

/// A length of time as people write it: `250ms`, `5s`, `10m`, `6h`, `7d`.
fn length(text: &str) -> Result<Millis, String> {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let factor = match unit {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return Err("write a number and a unit: ms, s, m, h or d".to_owned()),
    };
    let number: u64 = number
        .parse()
        .map_err(|_| "write a number and a unit: ms, s, m, h or d".to_owned())?;
    number.checked_mul(factor).map(Millis).ok_or_else(|| "that is too long".to_owned())
}

/// A number of bytes as people write it: `512Mi`, `16Gi`, `1000`.
fn size(text: &str) -> Result<u64, String> {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let factor: u64 = match unit {
        "" | "B" => 1,
        "Ki" => 1 << 10,
        "Mi" => 1 << 20,
        "Gi" => 1 << 30,
        "kB" => 1_000,
        "MB" => 1_000_000,
        "GB" => 1_000_000_000,
        _ => return Err("write a number and a unit: Ki, Mi, Gi, kB, MB or GB".to_owned()),
    };
    let number: u64 = number.parse().map_err(|_| "write a number and a unit: Ki, Mi or Gi".to_owned())?;
    number.checked_mul(factor).ok_or_else(|| "that is too much".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_and_sizes_are_read_as_people_write_them() {
        for (text, ms) in [
            ("250ms", 250),
            ("5s", 5_000),
            ("10m", 600_000),
            ("6h", 21_600_000),
            ("7d", 604_800_000),
        ] {
            assert_eq!(length(text), Ok(Millis(ms)));
            assert_eq!(length(&Millis(ms).to_string()), Ok(Millis(ms)));
        }
        for text in ["", "5", "s", "-1s", "1.5s", "5 s", "99999999999999999999d", "9999999999999999d"] {
            assert!(length(text).is_err(), "{text}");
        }
        assert_eq!(size("16Gi"), Ok(16 << 30));
        assert_eq!(size("1000"), Ok(1_000));
        assert!(size("lots").is_err());
    }

    #[test]
    fn what_would_be_open_to_the_world_without_a_token_is_refused() {
        let mut args = ServeArgs::local("/nowhere".into());
        assert_eq!(args.check(), Ok(()));
        args.listen_http = SocketAddr::from(([0, 0, 0, 0], 1));
        assert!(matches!(args.check(), Err(Error::DevBeyondLoopback(_))));
        args.dev = false;
        assert_eq!(args.check(), Ok(()));
        for bad in ["host", ":1", "host:0", "host:port", "host:99999"] {
            args.public_address = Some(bad.into());
            assert!(matches!(args.check(), Err(Error::PublicAddress(_))), "{bad}");
        }
    }
}
