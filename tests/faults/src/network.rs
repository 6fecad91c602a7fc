//! Network namespaces with a bridge between them: a link of each device that can be cut as a cable is.
//!
//! Everything is made in the network and mount namespaces that this program was given of its own, so that it goes with
//! the program, and the machine's own network is never touched.

use anyhow::{Context, Result, ensure};
use eyot_scenarios::Manner;
use std::net::Ipv4Addr;
use std::process::Command;

const BRIDGE: &str = "eyf";
/// Of the block that is set aside for tests of networks (RFC 2544).
const HERE: Ipv4Addr = Ipv4Addr::new(198, 18, 0, 1);

/// A bridge at [`Network::address`], and a namespace for each name.
#[derive(Debug)]
pub struct Network {
    names: Vec<&'static str>,
}

impl Network {
    /// # Errors
    /// When the system refuses.
    pub fn make(names: &[&'static str]) -> Result<Self> {
        // Dropped when a step fails: what was made until then goes.
        let mut network = Self { names: Vec::new() };
        ip(&format!("link add {BRIDGE} type bridge"))?;
        ip(&format!("addr add {HERE}/24 dev {BRIDGE}"))?;
        ip(&format!("link set {BRIDGE} up"))?;
        for (n, name) in (11u8..).zip(names) {
            let space = namespace(name);
            ip(&format!("netns add {space}"))?;
            network.names.push(name);
            ip(&format!("link add {} type veth peer name eth0 netns {space}", cable(name)))?;
            ip(&format!("link set {} master {BRIDGE} up", cable(name)))?;
            ip(&format!("-n {space} addr add 198.18.0.{n}/24 dev eth0"))?;
            ip(&format!("-n {space} link set eth0 up"))?;
            ip(&format!("-n {space} link set lo up"))?;
        }
        Ok(network)
    }

    /// Where the devices reach what listens here.
    #[must_use]
    pub fn address(&self) -> Ipv4Addr {
        HERE
    }

    /// How a program is started on a device.
    #[must_use]
    pub fn on(&self, name: &str) -> Manner {
        Manner::by(["ip", "netns", "exec", &namespace(name)])
    }

    /// Pulls the cable of every device, or plugs it in again.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn plug(&self, plugged: bool) -> Result<()> {
        let state = if plugged { "up" } else { "down" };
        self.names
            .iter()
            .try_for_each(|name| ip(&format!("link set {} {state}", cable(name))))
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        for name in &self.names {
            // They go with this program at the latest.
            let _ = ip(&format!("netns del {}", namespace(name)));
        }
        let _ = ip(&format!("link del {BRIDGE}"));
    }
}

/// Names of namespaces are those of the whole machine, and each of these programs is process 1 of its own: what tells it from others
/// that run beside it is the number of its network.
fn namespace(name: &str) -> String {
    let own = std::fs::read_link("/proc/self/ns/net").unwrap_or_default();
    let number: String = own.to_string_lossy().chars().filter(char::is_ascii_digit).collect();
    format!("eyot-faults-{number}-{name}")
}

fn cable(name: &str) -> String {
    format!("eyf-{name}")
}

/// # Errors
/// What `ip` says.
pub fn ip(words: &str) -> Result<()> {
    let done = Command::new("ip")
        .args(words.split_whitespace())
        .output()
        .context("cannot run `ip`, of the package iproute2")?;
    ensure!(
        done.status.success(),
        "`ip {words}` failed: {}",
        String::from_utf8_lossy(&done.stderr).trim()
    );
    Ok(())
}
