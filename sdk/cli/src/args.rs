//! The command line.

use crate::config::Connection;
use crate::inputs::Assignment;
use crate::output::Format;
use crate::paint::ColorChoice;
use clap::{Args, Parser, Subcommand, ValueHint};
use eyot_model::{Digest, Millis};
use std::path::PathBuf;

const AFTER: &str = "\
Exit codes: 0 it worked, 1 the run failed, 2 wrong usage, 3 the control plane cannot be reached, 4 the workflow or its
inputs are invalid, 5 the run was cancelled, 6 not authorised, 7 refused, 8 something on this machine failed,
9 --timeout passed, 130 interrupted.";

/// Run workflows on your own devices: planned in the cloud, executed at the edge.
#[derive(Debug, Parser)]
#[command(name = "eyot", version, after_help = AFTER, propagate_version = true, disable_help_subcommand = true)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) connection: Connection,
    #[command(flatten)]
    pub(crate) style: Style,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// How results are written.
#[derive(Clone, Debug, Args)]
pub(crate) struct Style {
    /// Form of the result on standard output
    #[arg(
        short = 'o',
        long = "output",
        global = true,
        value_enum,
        default_value_t,
        value_name = "FORM",
        help_heading = "Output"
    )]
    pub(crate) format: Format,
    /// No progress and no hints
    #[arg(short, long, global = true, help_heading = "Output")]
    pub(crate) quiet: bool,
    /// Colour of what is written to a terminal
    #[arg(long, global = true, value_enum, default_value_t, value_name = "WHEN", help_heading = "Output")]
    pub(crate) color: ColorChoice,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Start a control plane and agents on this machine, for trying out
    Dev(DevArgs),
    /// Run a workflow
    Run(RunArgs),
    /// Show what would run where, and why
    Plan(PlanArgs),
    /// Check workflow files
    Validate(ValidateArgs),
    /// Look at runs and cancel them
    #[command(subcommand)]
    Runs(RunsCommand),
    /// Look at agents, invite and remove them
    #[command(subcommand)]
    Agents(AgentsCommand),
    /// Store and list workflows
    #[command(subcommand)]
    Workflow(WorkflowCommand),
    /// Write, build and publish tasks
    #[command(subcommand)]
    Task(TaskCommand),
    /// Send and fetch blobs
    #[command(subcommand)]
    Blob(BlobCommand),
    /// Store address, token and CA of a control plane
    Login(LoginArgs),
    /// Print completions for a shell
    Completions {
        #[arg(value_enum)]
        shell: clap_complete::Shell,
    },
}

/// Which workflow, with which inputs.
#[derive(Clone, Debug, Args)]
pub(crate) struct WorkflowArgs {
    /// A YAML or JSON file, or a stored workflow: [NAMESPACE/]NAME[@VERSION]
    #[arg(value_name = "FILE|REF", value_hint = ValueHint::FilePath)]
    pub(crate) workflow: String,
    /// An input: NAME=VALUE, NAME=@FILE or NAME='@FOLDER/*.png'; a name that comes again makes a list
    #[arg(short = 'i', long = "input", value_name = "NAME=VALUE", value_parser = crate::inputs::parse)]
    pub(crate) inputs: Vec<Assignment>,
    /// A JSON file with inputs; -i goes before it
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) inputs_file: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct RunArgs {
    #[command(flatten)]
    pub(crate) workflow: WorkflowArgs,
    /// Wait for the end and show progress; the exit code tells how it ended
    #[arg(short, long)]
    pub(crate) wait: bool,
    /// With --wait: stop waiting after this long (the run goes on)
    #[arg(long, requires = "wait", value_name = "TIME", value_parser = crate::human::parse_duration)]
    pub(crate) timeout: Option<Millis>,
    /// With --wait: write the outputs to files in this folder, blobs too
    #[arg(long, requires = "wait", value_name = "FOLDER", value_hint = ValueHint::DirPath)]
    pub(crate) save: Option<PathBuf>,
    /// With --wait: also show when each task starts
    #[arg(short, long, requires = "wait")]
    pub(crate) verbose: bool,
    /// The same key again gives the run that the first request made [default: random]
    #[arg(long, value_name = "KEY")]
    pub(crate) idempotency_key: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct PlanArgs {
    #[command(flatten)]
    pub(crate) workflow: WorkflowArgs,
    /// Say why each task is where it is, and why not elsewhere
    #[arg(short, long)]
    pub(crate) explain: bool,
}

#[derive(Debug, Args)]
pub(crate) struct ValidateArgs {
    #[arg(required_unless_present = "schema", value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) files: Vec<PathBuf>,
    /// Print the JSON Schema of workflows, for editors, and check nothing
    #[arg(long)]
    pub(crate) schema: bool,
    /// Do not ask the control plane, even if it can be reached
    #[arg(long)]
    pub(crate) offline: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum RunsCommand {
    /// List runs, newest first
    Ls {
        /// Only runs in this state
        #[arg(long, value_name = "STATE", value_parser = ["pending", "running", "cancelling", "succeeded", "failed", "cancelled"])]
        state: Option<String>,
        #[arg(long, default_value_t = 20, value_name = "N")]
        limit: u32,
        /// Go on where the page before ended
        #[arg(long, value_name = "CURSOR")]
        after: Option<String>,
    },
    /// Show a run, its tasks and its outputs
    Show {
        /// Id, the beginning of one, or `last`
        run: String,
        /// Every item of every forEach
        #[arg(long)]
        all: bool,
    },
    /// Print what the tasks of a run wrote
    Logs {
        /// Id, the beginning of one, or `last`
        run: String,
        /// Only this task
        #[arg(long)]
        task: Option<String>,
        /// Go on until the run ends
        #[arg(short, long)]
        follow: bool,
    },
    /// Follow a run that goes on, as `run --wait` does
    Wait {
        /// Id, the beginning of one, or `last`
        run: String,
        #[arg(long, value_name = "TIME", value_parser = crate::human::parse_duration)]
        timeout: Option<Millis>,
    },
    /// Ask a run to stop
    Cancel {
        /// Id, the beginning of one, or `last`
        run: String,
    },
    /// Take fragments of a run from their agents and give them to others; of a cancelled run, end them
    ///
    /// Without --agent or --fragment: the fragments whose agent is out of contact. What those agents still do commits
    /// nothing from then on; a task that is not idempotent may run twice.
    Reassign {
        /// Id, the beginning of one, or `last`
        run: String,
        /// The fragments of this agent
        #[arg(long, value_name = "NAME", conflicts_with = "fragment")]
        agent: Option<String>,
        /// This fragment, by its number in `eyot runs show`
        #[arg(long, value_name = "N")]
        fragment: Option<u32>,
    },
    /// Say what became of an attempt whose end nobody knows
    Resolve(ResolveArgs),
    /// Drop an ended run of an agent's own that the control plane refuses (with --agent)
    ///
    /// It stays on the device otherwise, until the control plane takes it: `eyot agents grant` there may be what it lacks.
    Rm {
        /// Id, the beginning of one, or `last`
        run: String,
    },
}

#[derive(Debug, Args)]
#[command(group = clap::ArgGroup::new("resolution").required(true))]
pub(crate) struct ResolveArgs {
    /// Id, the beginning of one, or `last`
    pub(crate) run: String,
    /// The task, or one item of it: TASK/ITEM
    #[arg(value_name = "TASK[/ITEM]")]
    pub(crate) task: String,
    /// Its effect happened; the task has succeeded
    #[arg(long, group = "resolution")]
    pub(crate) succeeded: bool,
    /// It did not happen and is not wanted any more; the task has failed
    #[arg(long, group = "resolution")]
    pub(crate) failed: bool,
    /// Try it again
    #[arg(long, group = "resolution")]
    pub(crate) retry: bool,
    /// What the task gave, where it succeeded
    #[arg(long = "value", value_name = "NAME=VALUE", value_parser = crate::inputs::parse, requires = "succeeded")]
    pub(crate) values: Vec<Assignment>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum AgentsCommand {
    /// List agents
    Ls,
    /// Show one agent
    Show { agent: String },
    /// Make a one-time token with which a device joins
    Invite {
        /// Name of the agent to be; otherwise the device's host name
        #[arg(long)]
        name: Option<String>,
        /// How long the token may be used: more than nothing, at most an hour
        #[arg(long, value_name = "TIME", value_parser = crate::human::parse_duration)]
        valid_for: Option<Millis>,
    },
    /// Move everything that an agent has elsewhere, and give it no new work
    ///
    /// Ends once the agent is empty. What cannot move says why, and is tried again; Ctrl-C stops the waiting and no move.
    Drain {
        agent: String,
        /// Give up waiting after this long
        #[arg(long, value_name = "TIME", value_parser = crate::human::parse_duration)]
        timeout: Option<Millis>,
    },
    /// Give an agent no new work; what it has ends there
    Cordon {
        agent: String,
        /// Give it work again
        #[arg(long)]
        off: bool,
    },
    /// Let an agent coordinate runs of a namespace by itself, beside the one that has its name
    Grant {
        agent: String,
        namespace: String,
        /// Not any more
        #[arg(long)]
        off: bool,
    },
    /// Shut an agent out for good
    Revoke { agent: String },
    /// Let an agent begin anew that was refused because its disk was taken for a copy
    Readmit { agent: String },
    /// Forget an agent
    Rm { agent: String },
}

#[derive(Debug, Subcommand)]
pub(crate) enum WorkflowCommand {
    /// Store a version of a workflow
    Push {
        #[arg(value_name = "FILE", value_hint = ValueHint::FilePath)]
        file: PathBuf,
    },
    /// List the stored workflows
    Ls,
    /// Give a stored workflow to an agent to own: its triggers fire there
    Deploy {
        /// [NAMESPACE/]NAME[@VERSION]
        #[arg(value_name = "REF")]
        workflow: String,
        /// Name or id of the agent
        #[arg(long = "to", value_name = "AGENT", visible_alias = "agent")]
        to: String,
    },
    /// End an agent's ownership of a workflow; its runs go on
    Undeploy {
        /// [NAMESPACE/]NAME
        #[arg(value_name = "REF")]
        workflow: String,
        /// Name or id of the agent
        #[arg(long = "from", value_name = "AGENT", visible_alias = "agent")]
        from: String,
    },
    /// List the workflows that an agent was given to own
    Deployed { agent: String },
    /// End an agent's ownership of a workflow (with --agent): its triggers fire no more
    Rm {
        /// [NAMESPACE/]NAME
        #[arg(value_name = "REF")]
        workflow: String,
    },
    /// Print a stored workflow
    Show {
        /// [NAMESPACE/]NAME[@VERSION]
        #[arg(value_name = "REF")]
        workflow: String,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum TaskCommand {
    /// Make a folder with a new task
    New {
        name: String,
        /// Where [default: ./NAME]
        #[arg(long, value_hint = ValueHint::DirPath)]
        dir: Option<PathBuf>,
        /// A local checkout of Eyot whose SDK the task uses
        #[arg(long, value_name = "FOLDER", value_hint = ValueHint::DirPath)]
        sdk: Option<PathBuf>,
    },
    /// Compile a task to a component
    Build {
        /// The task's folder
        #[arg(default_value = ".", value_hint = ValueHint::DirPath)]
        dir: PathBuf,
    },
    /// Register a component with the control plane
    Push {
        /// A component, or a task's folder, which is built first
        #[arg(default_value = ".", value_hint = ValueHint::AnyPath)]
        path: PathBuf,
        /// Name in the registry [default: the component's own]
        #[arg(long)]
        name: Option<String>,
        /// Version in the registry [default: the component's own]
        #[arg(long = "as-version", value_name = "VERSION")]
        version: Option<String>,
    },
    /// List the registered components
    Ls,
}

#[derive(Debug, Subcommand)]
pub(crate) enum BlobCommand {
    /// Upload a file and print its digest
    Put {
        #[arg(value_hint = ValueHint::FilePath)]
        file: PathBuf,
    },
    /// Download a blob
    Get {
        digest: Digest,
        /// Where to write it
        #[arg(value_hint = ValueHint::FilePath)]
        file: PathBuf,
    },
}

#[derive(Debug, Args)]
pub(crate) struct LoginArgs {
    /// For example https://eyot.example.org:7340
    #[arg(value_name = "URL")]
    pub(crate) address: Option<String>,
    /// Forget what is stored
    #[arg(long, conflicts_with = "address")]
    pub(crate) forget: bool,
}

#[derive(Debug, Args)]
pub(crate) struct DevArgs {
    /// How many agents; named ones (--agent) count
    #[arg(long, default_value_t = 1, value_name = "N")]
    pub(crate) agents: u32,
    /// An agent with a name and labels: NAME[:LABEL=VALUE,…]
    #[arg(long = "agent", value_name = "NAME:LABELS", value_parser = crate::dev::parse_agent)]
    pub(crate) named: Vec<crate::dev::AgentSpec>,
    /// Keep the data here [default: a temporary folder, removed at the end]
    #[arg(long, value_name = "FOLDER", value_hint = ValueHint::DirPath)]
    pub(crate) data: Option<PathBuf>,
    /// Port of the API on loopback
    #[arg(long, default_value_t = 7340, value_name = "PORT")]
    pub(crate) port: u16,
    /// Show the logs of agents and control plane in full
    #[arg(short, long)]
    pub(crate) verbose: bool,
}
