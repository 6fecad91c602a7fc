//! Which control plane to speak to: flags, then the environment, then what `eyot login` stored, then this machine.

use crate::exit::{Exit, Fault, Outcome};
use anyhow::Context;
use eyot_client::{Client, DEFAULT_ADDRESS, Options, Token};
use serde::{Deserialize, Serialize};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// What `eyot login` stores, with mode 0600.
#[derive(Clone, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Login {
    pub(crate) server: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) token: Option<String>,
    /// PEM.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) ca: Option<String>,
}

/// The flags of every command that say where the control plane is.
#[derive(Clone, Debug, Default, clap::Args)]
pub(crate) struct Connection {
    /// Address of the control plane [default: what `eyot login` stored, else http://127.0.0.1:7340]
    #[arg(long, global = true, env = "EYOT_SERVER", value_name = "URL", help_heading = "Connection")]
    pub(crate) server: Option<String>,
    /// File with the API token, or `-` for standard input; EYOT_TOKEN holds the token itself
    #[arg(long, global = true, env = "EYOT_TOKEN_FILE", value_name = "FILE", help_heading = "Connection")]
    pub(crate) token_file: Option<PathBuf>,
    /// PEM file with the control plane's CA certificate
    #[arg(long, global = true, env = "EYOT_CA", value_name = "FILE", help_heading = "Connection")]
    pub(crate) ca: Option<PathBuf>,
    /// Ask the agent on this device instead of a control plane: its socket or data folder. Stands before the command
    #[arg(
        long,
        env = "EYOT_AGENT_SOCKET",
        value_name = "PATH",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = AGENT_DATA,
        conflicts_with_all = ["server", "token_file", "ca"],
        help_heading = "Connection"
    )]
    pub(crate) agent: Option<PathBuf>,
}

/// Where an agent keeps its data if it is not told.
const AGENT_DATA: &str = "/var/lib/eyot-agent";

impl Connection {
    /// # Errors
    /// When a file that was named cannot be read or the address is malformed.
    pub(crate) fn options(&self) -> Outcome<Options> {
        if let Some(agent) = &self.agent {
            let socket = if agent.is_dir() { agent.join("agent.sock") } else { agent.clone() };
            return Ok(Options::agent(socket));
        }
        let stored = match config_path() {
            Some(path) => read(&path)?,
            None => None,
        }
        .unwrap_or_default();
        let address = match &self.server {
            Some(address) => address.clone(),
            None if stored.server.is_empty() => DEFAULT_ADDRESS.to_owned(),
            None => stored.server.clone(),
        };
        // A stored secret is for the server that it was stored with, and for no other.
        let same = !stored.server.is_empty() && trim(&address) == trim(&stored.server);
        let mut options = Options::new(address);
        options.token = match (&self.token_file, std::env::var("EYOT_TOKEN")) {
            (Some(path), _) => Some(Token::new(read_secret(path)?)),
            (None, Ok(token)) if !token.trim().is_empty() => Some(Token::new(token)),
            _ => stored.token.filter(|_| same).map(Token::new),
        };
        options.ca_pem = match &self.ca {
            Some(path) => Some(read_file(path)?),
            None => stored.ca.filter(|_| same),
        };
        Ok(options)
    }

    /// For what only a control plane does.
    ///
    /// # Errors
    /// Where an agent is asked.
    pub(crate) fn cloud_only(&self, what: &str) -> Outcome {
        match &self.agent {
            None => Ok(()),
            Some(_) => Err(
                Fault::usage(format!("an agent by itself does not {what}; that is its control plane's to do"))
                    .help("leave --agent (or EYOT_AGENT_SOCKET) out, and say which control plane with --server"),
            ),
        }
    }

    /// # Errors
    /// As [`Self::options`], and when a token would travel in clear text.
    pub(crate) fn client(&self) -> Outcome<Client> {
        Ok(Client::new(&self.options()?)?)
    }
}

fn trim(address: &str) -> &str {
    address.trim().trim_end_matches('/')
}

/// `$EYOT_CONFIG`, else `$XDG_CONFIG_HOME/eyot/config.json`, else `~/.config/eyot/config.json`.
#[must_use]
pub(crate) fn config_path() -> Option<PathBuf> {
    let var = |name: &str| std::env::var_os(name).filter(|v| !v.is_empty()).map(PathBuf::from);
    var("EYOT_CONFIG").or_else(|| {
        var("XDG_CONFIG_HOME")
            .or_else(|| var("HOME").map(|home| home.join(".config")))
            .map(|base| base.join("eyot").join("config.json"))
    })
}

fn read(path: &Path) -> Outcome<Option<Login>> {
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(file_fault("read", path, error)),
    };
    let login = serde_json::from_str(&text).with_context(|| format!("{} is damaged", path.display()))?;
    Ok(Some(login))
}

/// Writes the login so that no other user can read it and no crash leaves half of it.
///
/// # Errors
/// When the file cannot be written.
pub(crate) fn store(path: &Path, login: &Login) -> Outcome {
    let text = serde_json::to_string_pretty(login).map_err(anyhow::Error::new)?;
    let write = || -> std::io::Result<()> {
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder)?;
        }
        let part = path.with_extension(format!("{}.part", std::process::id()));
        let mut file = std::fs::OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&part)?;
        file.write_all(text.as_bytes())?;
        file.write_all(b"\n")?;
        file.sync_all()?;
        std::fs::rename(&part, path)
    };
    write().map_err(|error| file_fault("write", path, error))
}

/// # Errors
/// When the file cannot be read.
pub(crate) fn read_file(path: &Path) -> Outcome<String> {
    std::fs::read_to_string(path).map_err(|error| file_fault("read", path, error))
}

/// A secret from a file or, for `-`, from standard input.
///
/// # Errors
/// When it cannot be read or is empty.
pub(crate) fn read_secret(path: &Path) -> Outcome<String> {
    let text = if path == Path::new("-") {
        std::io::read_to_string(std::io::stdin().lock()).map_err(|error| file_fault("read", Path::new("standard input"), error))?
    } else {
        read_file(path)?
    };
    let text = text.trim().to_owned();
    if text.is_empty() {
        return Err(Fault::new(
            Exit::Usage,
            "cli.empty-token",
            anyhow::anyhow!("{} holds no token", path.display()),
        ));
    }
    Ok(text)
}

pub(crate) fn file_fault(action: &str, path: &Path, error: std::io::Error) -> Fault {
    Fault::new(
        Exit::Local,
        "cli.file",
        anyhow::Error::new(error).context(format!("cannot {action} {}", path.display())),
    )
}
