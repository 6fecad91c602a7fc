//! `eyot validate`

use crate::args::ValidateArgs;
use crate::config::Connection;
use crate::diagnostics;
use crate::exit::{Exit, Fault, Outcome};
use crate::output::Output;
use crate::source::WorkflowFile;
use eyot_client::Client;
use eyot_model::api::{Diagnostic, Severity};
use std::time::Duration;

/// Longest wait for a control plane that may not be there.
const REACH: Duration = Duration::from_secs(2);

/// What was found in one file.
struct Checked {
    file: WorkflowFile,
    diagnostics: Vec<Diagnostic>,
    /// Whether the control plane has looked at it too.
    online: bool,
}

impl Checked {
    fn valid(&self) -> bool {
        self.diagnostics.iter().all(|d| d.severity != Severity::Error)
    }
}

/// Checks each file by its text and, where there is a control plane, against its registry.
pub(crate) async fn validate(to: &Connection, args: ValidateArgs, output: Output) -> Outcome {
    if args.schema {
        return output.text(format!("{:#}\n", eyot_spec::json_schema()));
    }
    let client = if args.offline { None } else { reach(to, &output).await? };
    let mut all = Vec::new();
    let mut unread = Vec::new();
    for path in &args.files {
        let file = match WorkflowFile::read(path) {
            Ok(file) => file,
            Err(fault) => {
                unread.push((path, fault));
                continue;
            }
        };
        let diagnostics = file.diagnose();
        let mut checked = Checked {
            file,
            diagnostics,
            online: false,
        };
        if let Some(client) = client.as_ref().filter(|_| checked.valid()) {
            ask(client, &mut checked, &output).await?;
        }
        all.push(checked);
    }
    let valid = unread.is_empty() && all.iter().all(Checked::valid);
    if output.is_json() {
        let mut files: Vec<_> = all
            .iter()
            .map(|c| serde_json::json!({"file": c.file.path, "valid": c.valid(), "online": c.online, "diagnostics": c.diagnostics}))
            .collect();
        files.extend(unread.iter().map(|(path, fault)| {
            serde_json::json!({"file": path, "valid": false, "online": false, "diagnostics": [], "error": format!("{:#}", fault.error)})
        }));
        output.json(&serde_json::json!({"valid": valid, "files": files}))?;
    } else {
        all.iter().for_each(|checked| tell(checked, &output));
        unread.iter().for_each(|(_, fault)| output.fault(fault, None));
    }
    match unread.first() {
        _ if valid => Ok(()),
        Some((_, fault)) if all.iter().all(Checked::valid) => Err(Fault::silent(fault.exit)),
        _ => Err(Fault::silent(Exit::Invalid)),
    }
}

/// A client, if anything answers. Only a control plane that was named must be there.
async fn reach(to: &Connection, output: &Output) -> Outcome<Option<Client>> {
    let options = to.options()?;
    let named = to.server.is_some();
    let client = match Client::new(&options) {
        Ok(client) => client,
        Err(error) if named => return Err(error.into()),
        Err(_) => return Ok(None),
    };
    match tokio::time::timeout(REACH, client.health()).await {
        Ok(Ok(_)) => Ok(Some(client)),
        Ok(Err(error)) if named => Err(error.into()),
        _ => {
            output.note(
                output
                    .note_paint
                    .dim(&format!("{} cannot be reached: checking the text alone", client.server())),
            );
            Ok(None)
        }
    }
}

async fn ask(client: &Client, checked: &mut Checked, output: &Output) -> Outcome {
    let source = match checked.file.upload(client, output).await {
        Ok(source) => source,
        Err(fault) if !fault.diagnostics.is_empty() => {
            checked.diagnostics = fault.diagnostics;
            return Ok(());
        }
        Err(fault) => return Err(fault),
    };
    match client.validate(&source).await {
        Ok(answer) => {
            checked.diagnostics = answer.diagnostics;
            checked.online = true;
            Ok(())
        }
        Err(error) if error.status() == Some(401) => {
            output.note(format!("{error}: checking the text alone"));
            Ok(())
        }
        Err(error) => Err(error.into()),
    }
}

fn tell(checked: &Checked, output: &Output) {
    let paint = output.note_paint;
    let name = checked.file.name();
    if !checked.diagnostics.is_empty() {
        let text = diagnostics::render(&checked.diagnostics, &name, &checked.file.text, paint);
        output.warn(text.trim_end());
    }
    if checked.valid() {
        let how = if checked.online { "" } else { " by its text" };
        let summary = diagnostics::summary(&checked.diagnostics);
        let rest = if summary.is_empty() {
            String::new()
        } else {
            format!(" ({summary})")
        };
        output.note(format!("{} {name} is valid{how}{rest}", paint.green("✓")));
    } else {
        output.warn(format!("{} {name}: {}", paint.red("✗"), diagnostics::summary(&checked.diagnostics)));
    }
}
