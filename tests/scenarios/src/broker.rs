//! A real MQTT broker on loopback.

use crate::{Process, Stage, until};
use anyhow::{Context, Result, ensure};
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::Command;

/// Mosquitto, with its sessions on disk.
#[derive(Debug)]
pub struct Broker {
    port: u16,
    settings: PathBuf,
    log: PathBuf,
    process: Option<Process>,
}

impl Broker {
    /// # Errors
    /// When it is not installed or does not come up.
    pub async fn start(stage: &Stage) -> Result<Self> {
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let data = stage.path("broker");
        std::fs::create_dir_all(&data)?;
        let settings = stage.write(
            "broker.conf",
            &format!(
                "listener {port} 127.0.0.1\nallow_anonymous true\npersistence true\npersistence_location {}/\nautosave_interval 1\nautosave_on_changes true\nuser root\n",
                data.display()
            ),
        )?;
        let mut broker = Self {
            port,
            settings,
            log: stage.path("broker.log"),
            process: None,
        };
        broker.serve().await?;
        Ok(broker)
    }

    /// # Errors
    /// When it does not come up.
    pub async fn serve(&mut self) -> Result<()> {
        let mut serve = Command::new(find("mosquitto").context("mosquitto is not installed; `.ci/run` installs it")?);
        serve.arg("-c").arg(&self.settings);
        self.process = Some(Process::start(serve, &self.log)?);
        let address = ("127.0.0.1", self.port);
        until("the broker listens", async || Ok(std::net::TcpStream::connect(address).ok()))
            .await
            .map(drop)
    }

    /// SIGTERM
    ///
    /// # Errors
    /// When it does not end well.
    pub fn stop(&mut self) -> Result<()> {
        self.process.take().context("it was not started")?.stop()
    }

    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Publishes a message at QoS 1, and comes back once the broker has it.
    ///
    /// # Errors
    /// When it does not take it.
    pub async fn publish(&self, topic: &str, payload: &str) -> Result<()> {
        let mut publish = Command::new(find("mosquitto_pub").context("mosquitto-clients is not installed; `.ci/run` installs it")?);
        publish.args([
            "-h",
            "127.0.0.1",
            "-p",
            &self.port.to_string(),
            "-q",
            "1",
            "-t",
            topic,
            "-m",
            payload,
        ]);
        let done = tokio::process::Command::from(publish).output().await?;
        ensure!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
        Ok(())
    }
}

/// Daemons are not on everybody's path.
fn find(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::env::split_paths(&path).chain(["/usr/sbin", "/usr/local/sbin"].map(PathBuf::from));
    folders.map(|folder| folder.join(name)).find(|file| file.is_file())
}
