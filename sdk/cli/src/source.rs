//! A workflow as the user names it: a file with the components beside it, or a reference to a stored one.

use crate::config::{file_fault, read_file};
use crate::exit::{Exit, Fault, Outcome};
use crate::inputs::Pending;
use crate::output::Output;
use crate::{diagnostics, human};
use eyot_client::Client;
use eyot_model::api::{Diagnostic, Severity, WorkflowChoice, WorkflowSource};
use eyot_model::{Digest, Inputs, Value, ValueType};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// A file of this size or more is looked for on the control plane before it is sent, in bytes.
const ASK_FIRST: u64 = 1 << 20;

/// What stands on the command line.
#[derive(Debug)]
pub(crate) enum Named {
    File(WorkflowFile),
    Ref(String),
}

/// A workflow file, read.
#[derive(Debug)]
pub(crate) struct WorkflowFile {
    pub(crate) path: PathBuf,
    pub(crate) text: String,
}

impl Named {
    /// A file where there is one of that name, else a reference.
    ///
    /// # Errors
    /// When it looks like a file and cannot be read.
    pub(crate) fn find(text: &str) -> Outcome<Self> {
        let path = Path::new(text);
        let looks_like_file = [".yaml", ".yml", ".json"].iter().any(|end| text.ends_with(end)) || text.starts_with(['.', '/']);
        if path.is_file() || looks_like_file {
            return Ok(Self::File(WorkflowFile::read(path)?));
        }
        Ok(Self::Ref(text.to_owned()))
    }

    /// The declared inputs.
    ///
    /// # Errors
    /// When the stored workflow cannot be had.
    pub(crate) async fn input_types(&self, client: &Client) -> Outcome<Option<BTreeMap<String, ValueType>>> {
        match self {
            Self::File(file) => Ok(file.input_types()),
            Self::Ref(reference) => {
                let (namespace, name, version) = parse_ref(reference);
                let view = client.workflow(namespace, name, version).await?;
                Ok(view.text.as_deref().and_then(|text| types(&crate::spec::parse(text).workflow)))
            }
        }
    }

    /// What goes into the request; components that the file names by path are uploaded.
    ///
    /// # Errors
    /// When a component cannot be read or sent.
    pub(crate) async fn choice(&self, client: &Client, output: &Output) -> Outcome<WorkflowChoice> {
        match self {
            Self::Ref(reference) => Ok(WorkflowChoice::Ref(reference.clone())),
            Self::File(file) => {
                let source = file.upload(client, output).await;
                Ok(WorkflowChoice::Source(source.map_err(|fault| file.explain(fault, output))?))
            }
        }
    }

    /// Tells a refusal with the places in the file, where it names any.
    pub(crate) fn explain(&self, fault: Fault, output: &Output) -> Fault {
        match self {
            Self::Ref(_) => fault,
            Self::File(file) => file.explain(fault, output),
        }
    }
}

impl WorkflowFile {
    /// # Errors
    /// When the file cannot be read.
    pub(crate) fn read(path: &Path) -> Outcome<Self> {
        Ok(Self {
            path: path.to_owned(),
            text: read_file(path)?,
        })
    }

    #[must_use]
    pub(crate) fn name(&self) -> String {
        self.path.display().to_string()
    }

    /// What is wrong with it as far as the text alone tells, by place.
    #[must_use]
    pub(crate) fn diagnose(&self) -> Vec<Diagnostic> {
        crate::spec::parse(&self.text).diagnostics
    }

    /// Shows warnings, and refuses a file with errors before anything is sent.
    ///
    /// # Errors
    /// When the workflow is invalid.
    pub(crate) fn check(&self, output: &Output) -> Outcome {
        let found = self.diagnose();
        if found.iter().any(|d| d.severity == Severity::Error) {
            return Err(self.explain(invalid(&self.name(), found), output));
        }
        if !found.is_empty() && !output.is_json() {
            output.note(diagnostics::render(&found, &self.name(), &self.text, output.note_paint).trim_end());
        }
        Ok(())
    }

    /// Shows where in the file the fault is; in JSON the diagnostics go with the error.
    pub(crate) fn explain(&self, mut fault: Fault, output: &Output) -> Fault {
        if fault.diagnostics.is_empty() {
            return fault;
        }
        fault.exit = Exit::Invalid;
        if output.is_json() {
            return fault;
        }
        output.fault(&fault, Some((&self.name(), &self.text)));
        Fault::silent(fault.exit)
    }

    fn input_types(&self) -> Option<BTreeMap<String, ValueType>> {
        types(&crate::spec::parse(&self.text).workflow)
    }

    /// The components that the text names by path, as it names them.
    fn local_components(&self) -> BTreeSet<String> {
        let Some(workflow) = crate::spec::parse(&self.text).workflow else {
            return BTreeSet::new();
        };
        workflow
            .tasks
            .iter()
            .map(|t| t.uses.name.clone())
            .filter(|name| is_path(name))
            .collect()
    }

    /// Puts a fault with a component to the place that names it.
    fn at_uses(&self, mut fault: Fault, name: &str) -> Fault {
        let Some((line, column)) = place_of(&self.text, name) else {
            return fault;
        };
        fault.diagnostics.push(Diagnostic {
            line,
            column,
            severity: Severity::Error,
            code: "missing-component".to_owned(),
            message: fault.error.to_string(),
            help: fault.help.clone(),
        });
        fault
    }

    /// Uploads the components beside the file.
    ///
    /// # Errors
    /// When one cannot be read or sent.
    pub(crate) async fn upload(&self, client: &Client, output: &Output) -> Outcome<WorkflowSource> {
        let folder = self.path.parent().unwrap_or(Path::new(""));
        let mut files = BTreeMap::new();
        for name in self.local_components() {
            let path = component_file(folder, &name).map_err(|fault| self.at_uses(fault, &name))?;
            files.insert(name, send(client, &path, output).await?.0);
        }
        Ok(WorkflowSource {
            text: self.text.clone(),
            files,
        })
    }
}

/// Line and column, from 1, of the component that the first `uses` of this name names.
fn place_of(text: &str, name: &str) -> Option<(u32, u32)> {
    text.lines().enumerate().find_map(|(n, line)| {
        let uses = line.find("uses")?;
        let at = uses + line[uses..].find(name)?;
        let column = line[..at].chars().count() + 1;
        Some((u32::try_from(n + 1).ok()?, u32::try_from(column).ok()?))
    })
}

/// The fault of an invalid workflow.
#[must_use]
pub(crate) fn invalid(name: &str, diagnostics: Vec<Diagnostic>) -> Fault {
    let mut fault = Fault::new(
        Exit::Invalid,
        "workflow.invalid",
        anyhow::anyhow!("{name} is not a valid workflow ({})", diagnostics::summary(&diagnostics)),
    );
    fault.diagnostics = diagnostics;
    fault
}

fn types(workflow: &Option<eyot_model::Workflow>) -> Option<BTreeMap<String, ValueType>> {
    let workflow = workflow.as_ref()?;
    Some(workflow.inputs.iter().map(|(name, decl)| (name.clone(), decl.value_type)).collect())
}

fn is_path(name: &str) -> bool {
    name.starts_with("./") || name.starts_with("../") || name.starts_with('/') || name.ends_with(".wasm")
}

/// `./task` is `./task.wasm` where there is no file of the plain name.
fn component_file(folder: &Path, name: &str) -> Outcome<PathBuf> {
    let path = folder.join(name);
    let with_end = folder.join(format!("{name}.wasm"));
    if path.is_file() {
        Ok(path)
    } else if with_end.is_file() {
        Ok(with_end)
    } else if path.join("Cargo.toml").is_file() {
        Err(
            Fault::invalid(format!("`uses: {name}` names the folder of a task, not a component")).help(format!(
                "build it with `eyot task build {}` and name the .wasm file",
                path.display()
            )),
        )
    } else {
        Err(Fault::invalid(format!("`uses: {name}`: there is no file {}", path.display())))
    }
}

/// Uploads a file, unless the control plane has it.
///
/// # Errors
/// When it cannot be read or sent.
pub(crate) async fn send(client: &Client, path: &Path, output: &Output) -> Outcome<(Digest, u64)> {
    let size = std::fs::metadata(path).map_err(|error| file_fault("read", path, error))?.len();
    if size >= ASK_FIRST {
        let file = path.to_owned();
        let hashed = tokio::task::spawn_blocking(move || digest_of(&file)).await;
        let digest = hashed
            .map_err(anyhow::Error::new)?
            .map_err(|error| file_fault("read", path, error))?;
        if client.has_blob(&digest).await? {
            return Ok((digest, size));
        }
        output.note(format!("sending {} ({})", path.display(), human::bytes(size)));
    }
    let blob = client.upload_file(path, None).await?;
    Ok((blob.digest, blob.size))
}

fn digest_of(path: &Path) -> std::io::Result<Digest> {
    let mut hasher = blake3::Hasher::new();
    hasher.update_reader(std::fs::File::open(path)?)?;
    Ok(Digest(*hasher.finalize().as_bytes()))
}

/// Uploads the files among the inputs, each once.
///
/// # Errors
/// When one cannot be read or sent.
pub(crate) async fn send_inputs(client: &Client, pending: BTreeMap<String, Pending>, output: &Output) -> Outcome<Inputs> {
    let mut paths = Vec::new();
    pending.values().for_each(|input| input.files(&mut paths));
    let paths: BTreeSet<PathBuf> = paths.into_iter().map(Path::to_owned).collect();
    let mut blobs = BTreeMap::new();
    for path in paths {
        let (digest, size) = send(client, &path, output).await?;
        let form = eyot_model::BlobForm::Raw;
        blobs.insert(path, Value::Blob(eyot_model::BlobRef { digest, size, form }));
    }
    pending
        .into_iter()
        .map(|(name, input)| Ok((name, input.resolve(&blobs)?)))
        .collect()
}

/// `[namespace/]name[@version]`; the namespace is `default` where none is named.
#[must_use]
pub(crate) fn parse_ref(text: &str) -> (&str, &str, Option<&str>) {
    let (rest, version) = match text.rsplit_once('@') {
        Some((rest, version)) => (rest, Some(version)),
        None => (text, None),
    };
    let (namespace, name) = rest.split_once('/').unwrap_or(("default", rest));
    (namespace, name, version)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references() {
        for (text, want) in [
            ("a", ("default", "a", None)),
            ("n/a@1.4", ("n", "a", Some("1.4"))),
            ("a@2", ("default", "a", Some("2"))),
        ] {
            assert_eq!(parse_ref(text), want);
        }
    }

    #[test]
    fn a_component_is_found_where_it_is_named() {
        let text = "tasks:\n  a:\n    uses: eyot/image@1\n  b: {uses: ./b.wasm}\n";
        assert_eq!(place_of(text, "./b.wasm"), Some((4, 13)));
        assert_eq!(place_of(text, "./c.wasm"), None);
    }

    #[test]
    fn what_is_a_path() {
        for (name, want) in [("./a", true), ("../a.wasm", true), ("a.wasm", true), ("eyot/image@1", false)] {
            assert_eq!(is_path(name), want, "{name}");
        }
    }
}
