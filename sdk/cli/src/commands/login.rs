//! `eyot login`

use crate::args::LoginArgs;
use crate::config::{self, Connection, Login};
use crate::exit::{Exit, Fault, Outcome};
use crate::output::Output;
use eyot_client::{Client, Options, Token};
use std::path::Path;

/// Checks that the control plane takes the token before anything is stored.
pub(crate) async fn login(to: &Connection, args: LoginArgs, output: Output) -> Outcome {
    let Some(path) = config::config_path() else {
        return Err(Fault::local("there is no home folder to store the login in").help("set EYOT_CONFIG to a file"));
    };
    if args.forget {
        return match std::fs::remove_file(&path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(config::file_fault("remove", &path, error)),
            removed => {
                if output.is_json() {
                    return output.json(&serde_json::json!({"file": path, "forgotten": removed.is_ok()}));
                }
                output.note(if removed.is_ok() { "forgotten" } else { "there was no login" });
                Ok(())
            }
        };
    }
    let Some(address) = args.address.or_else(|| to.server.clone()) else {
        return show(to, &path, output);
    };
    let mut options = Options::new(address.trim_end_matches('/'));
    options.ca_pem = to.ca.as_deref().map(config::read_file).transpose()?;
    options.token = token(to, &options, output)?.map(Token::new);
    let client = Client::new(&options)?;
    client.agents().await.map_err(|error| {
        let denied = error.status() == Some(401);
        let fault = Fault::from(error);
        if denied {
            fault.help("nothing was stored; is this the right token?")
        } else {
            fault
        }
    })?;
    let login = Login {
        server: client.server().to_owned(),
        token: options.token.as_ref().map(|t| t.reveal().to_owned()),
        ca: options.ca_pem,
    };
    config::store(&path, &login)?;
    if output.is_json() {
        return output
            .json(&serde_json::json!({"server": login.server, "file": path, "token": login.token.is_some(), "ca": login.ca.is_some()}));
    }
    output.note(format!("logged in to {}; stored in {}", login.server, path.display()));
    Ok(())
}

/// From the file, the environment, or typed in (not shown).
fn token(to: &Connection, options: &Options, output: Output) -> Outcome<Option<String>> {
    if let Some(path) = &to.token_file {
        return config::read_secret(path).map(Some);
    }
    if let Ok(token) = std::env::var("EYOT_TOKEN")
        && !token.trim().is_empty()
    {
        return Ok(Some(token));
    }
    let plain = options.url()?.scheme() == "http";
    if plain || output.quiet || !std::io::IsTerminal::is_terminal(&std::io::stdin()) {
        return Ok(None);
    }
    typed().map(Some)
}

/// Reads a line from the terminal without showing it.
fn typed() -> Outcome<String> {
    use rustix::termios::{LocalModes, OptionalActions, tcgetattr, tcsetattr};
    let failed = |error: std::io::Error| config::file_fault("read", Path::new("the terminal"), error);
    let stdin = std::io::stdin();
    let before = tcgetattr(&stdin).map_err(|e| failed(e.into()))?;
    let mut silent = before.clone();
    silent.local_modes.remove(LocalModes::ECHO);
    silent.local_modes.insert(LocalModes::ECHONL);
    drop(std::io::Write::write_all(&mut std::io::stderr(), b"API token: "));
    tcsetattr(&stdin, OptionalActions::Flush, &silent).map_err(|e| failed(e.into()))?;
    let mut line = String::new();
    let read = stdin.read_line(&mut line);
    tcsetattr(&stdin, OptionalActions::Flush, &before).map_err(|e| failed(e.into()))?;
    read.map_err(failed)?;
    let line = line.trim().to_owned();
    if line.is_empty() {
        return Err(Fault::new(Exit::Usage, "cli.empty-token", anyhow::anyhow!("no token was typed")));
    }
    Ok(line)
}

fn show(to: &Connection, path: &Path, output: Output) -> Outcome {
    let options = to.options()?;
    let shown = serde_json::json!({
        "server": options.address, "token": options.token.is_some(), "ca": options.ca_pem.is_some(), "file": path, "stored": path.exists(),
    });
    output.show(&shown, |_, _| {
        let yes = |b: bool, what: &str| if b { what.to_owned() } else { format!("no {what}") };
        format!(
            "{} ({}, {})\n",
            options.address,
            yes(options.token.is_some(), "token"),
            yes(options.ca_pem.is_some(), "CA of its own")
        )
    })
}
