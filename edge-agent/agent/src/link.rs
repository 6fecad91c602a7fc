//! Keeps the agent linked to its control plane: says what the node wants said, tells the node what it hears, brings up
//! the blobs that others need.

use crate::cloud_time::{CloudTime, SkewWatch};
use crate::config::AgentConfig;
use crate::device;
use crate::incarnation::Incarnation;
use crate::renewal;
use crate::runtime::{Outbound, Runtime};
use eyot_link::{AgentLink, Dialer, Events, Happening, TransferError};
use eyot_model::{BlobRef, Capacity, Digest, Load};
use eyot_wire::{Hello, ToAgent, ToCloud};
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, watch};

/// How often lines of tasks are sent and the load is looked at.
const PULSE: Duration = Duration::from_millis(200);
/// The pause after a peer that is not the control plane, or does not speak as it does.
const TURNED_AWAY: Duration = Duration::from_secs(30);
/// The pause after the control plane itself said that this agent is none of its. It may be restored to another state.
const NOT_WANTED: Duration = Duration::from_secs(10 * 60);
/// How often it is tried to write down what has to be on disk before a link.
const UNWRITTEN: Duration = Duration::from_secs(1);
/// How often this device's clock is held against the control plane's.
const SKEW_CHECK: Duration = Duration::from_secs(10);
/// Most digests in a profile: a hint for the planner, so it need not be complete.
const HOLDS: usize = 4_096;
/// Blobs that go up at the same time.
const UPLOADS: usize = 4;

/// What the link has to know of the agent.
pub struct LinkContext {
    pub runtime: Arc<Runtime>,
    pub config: AgentConfig,
    pub capacity: Capacity,
    pub data: PathBuf,
    pub incarnation: Incarnation,
    pub load: watch::Sender<Load>,
}

/// Dials, works, and dials again, until `stop` says so. Local work goes on whatever the control plane says.
pub async fn keep(
    context: LinkContext,
    mut dialer: Dialer,
    mut outbound: mpsc::UnboundedReceiver<Outbound>,
    mut stop: watch::Receiver<bool>,
) {
    loop {
        let numbers = tokio::select! {
            numbers = presentable(&context) => numbers,
            () = stopped(&mut stop) => return,
        };
        let dialled = tokio::select! {
            dialled = dialer.dial() => dialled,
            () = stopped(&mut stop) => return,
        };
        let live = match dialled {
            Ok(live) => live,
            Err(error) => {
                let pause = turned_away(&error);
                tokio::select! {
                    () = tokio::time::sleep(pause) => continue,
                    () = stopped(&mut stop) => return,
                }
            }
        };
        tracing::info!(cloud = %live.link.peer_addr(), "link is up");
        let (link, mut events) = (live.link, live.events);
        // What was meant for an earlier link: the inventory and the outbox say it again.
        while outbound.try_recv().is_ok() {}
        let reason = tokio::select! {
            reason = work(&context, numbers, &link, &mut events, &mut outbound, &dialer) => reason,
            () = stopped(&mut stop) => {
                context.runtime.set_link(None);
                context.runtime.turn(|node, now| node.link_down(now));
                link.shutdown(eyot_wire::CloseCode::Shutdown).await;
                dialer.shutdown().await;
                return;
            }
        };
        context.runtime.set_link(None);
        context.runtime.turn(|node, now| node.link_down(now));
        tracing::warn!(reason = %reason, "link is down; work goes on here");
        if matches!(*reason, eyot_link::Error::Copied) {
            context.runtime.turn(|node, now| node.turned_away(now));
            tracing::error!(error = %reason, advice = reason.advice(), "the control plane takes this device for a copy");
            tokio::select! {
                () = tokio::time::sleep(TURNED_AWAY) => {}
                () = stopped(&mut stop) => return,
            }
        }
    }
}

/// Says why there is no link, and how long to wait before the next try.
fn turned_away(error: &eyot_link::Error) -> Duration {
    use eyot_link::Error;
    if matches!(error, Error::Revoked | Error::UnknownAgent) {
        // The control plane's own word.
        tracing::error!(error = %error, advice = error.advice(), "the control plane does not take this agent back; its work goes on here");
        NOT_WANTED
    } else {
        // Nobody who has shown to be the control plane said so, or it could not do better: another machine may have its
        // address for a while.
        tracing::error!(error = %error, advice = error.advice(), "no link to the control plane; it is tried again");
        TURNED_AWAY
    }
}

async fn stopped(stop: &mut watch::Receiver<bool>) {
    // An error means that whoever could say stop is gone, which is a stop as well.
    let _ = stop.wait_for(|stop| *stop).await;
}

/// The numbers to greet with. What is presented is on disk before: a number that a crash could take back would be no number of
/// this device. So on a full disk there is no link until there is room for it, and then soon.
async fn presentable(context: &LinkContext) -> (u64, Vec<u64>) {
    let mut told = false;
    loop {
        match context.incarnation.propose() {
            Ok(numbers) => return numbers,
            Err(error) if !std::mem::replace(&mut told, true) => {
                tracing::error!(%error, "the number of this start cannot be written down; there is no link until it can");
            }
            Err(_) => {}
        }
        tokio::time::sleep(UNWRITTEN).await;
    }
}

async fn work(
    context: &LinkContext,
    (incarnation, before): (u64, Vec<u64>),
    link: &AgentLink,
    events: &mut Events<ToAgent>,
    outbound: &mut mpsc::UnboundedReceiver<Outbound>,
    dialer: &Dialer,
) -> Arc<eyot_link::Error> {
    let runtime = &context.runtime;
    let hello = ToCloud::Hello(Box::new(Hello {
        profile: profile(context, dialer).await,
        incarnation,
        before,
        clock: runtime.clock.wall(),
    }));
    if let Err(error) = link.send(&hello).await {
        return Arc::new(error);
    }
    let mut pulse = tokio::time::interval(PULSE);
    pulse.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let (mut skew, mut skew_check) = (SkewWatch::default(), tokio::time::interval(SKEW_CHECK));
    let (up, mut uploads) = mpsc::unbounded_channel::<BlobRef>();
    let uploader = async {
        let mut running = tokio::task::JoinSet::new();
        loop {
            tokio::select! {
                blob = uploads.recv(), if running.len() < UPLOADS => match blob {
                    Some(blob) => drop(running.spawn(upload(Arc::clone(runtime), link.clone(), blob.digest))),
                    None => return,
                },
                Some(_) = running.join_next() => {}
            }
        }
    };
    tokio::pin!(uploader);
    loop {
        tokio::select! {
            happening = events.next() => match happening {
                Happening::Message(message) => hear(context, link, message, dialer),
                Happening::Closed(reason) => return reason,
                Happening::Suspect => tracing::warn!("the control plane has not answered three heart-beats"),
                Happening::Restored => tracing::info!("the control plane answers again"),
                Happening::Acknowledged(reply) => runtime.turn(|node, now| node.acknowledged(reply.sent_at, now)),
                Happening::Heartbeat(_) => {}
            },
            Some(item) = outbound.recv() => match item {
                Outbound::Send(message) => match link.send(&message).await {
                    Ok(()) => {}
                    Err(error @ eyot_link::Error::Encode(_)) => cannot_be_told(runtime, &message, &error),
                    Err(error) => return Arc::new(error),
                },
                Outbound::Upload(blob) => drop(up.send(blob)),
            },
            _ = pulse.tick() => {
                let mut load = runtime.look(eyot_node::Node::load);
                load.disk_bytes_free = device::disk(&context.data).map_or(0, |(_, free)| free);
                context.load.send_if_modified(|known| std::mem::replace(known, load) != load);
                for message in runtime.states_to_send() {
                    match &message {
                        ToCloud::Saved { state, .. } if state.blob().is_some() => {
                            tokio::spawn(send_state(Arc::clone(runtime), link.clone(), message));
                        }
                        _ => if let Err(error) = link.send(&message).await {
                            return Arc::new(error);
                        }
                    }
                }
                // Not before the inventory: the control plane takes nothing else first.
                if runtime.look(eyot_node::Node::is_linked) && let Err(error) = send_logs(runtime, link).await {
                    return Arc::new(error);
                }
            }
            _ = skew_check.tick() => if let Some(millis) = runtime.skew_millis() {
                skew.look(millis);
            },
            () = &mut uploader => {}
        }
    }
}

/// A message that no frame can hold is its own failure and not the link's: what comes after it goes on.
fn cannot_be_told(runtime: &Arc<Runtime>, message: &ToCloud, error: &eyot_link::Error) {
    let why = crate::chain(error);
    match message {
        ToCloud::OwnRun(own) => {
            tracing::error!(run = %own.run, error = why, "the control plane cannot be told of this run; it stays here");
            runtime.turn(|node, _| node.refuse_own(own.run, why));
        }
        ToCloud::Report(report) => {
            let runs: BTreeSet<String> = report.items.iter().map(|item| item.run.to_string()).collect();
            tracing::error!(?runs, error = why, "the control plane cannot be told of results; they stay here");
        }
        _ => tracing::error!(error = why, "the control plane cannot be told of something"),
    }
}

fn hear(context: &LinkContext, link: &AgentLink, message: ToAgent, dialer: &Dialer) {
    let runtime = &context.runtime;
    if let ToAgent::Welcome(welcome) = &message {
        let cloud = CloudTime::heard(welcome.clock, &runtime.clock);
        runtime.set_cloud_time(cloud);
        tokio::spawn(renewal::keep(
            link.clone(),
            Arc::clone(dialer.identity()),
            cloud,
            runtime.clock.clone(),
        ));
        context.incarnation.taken();
        runtime.set_link(Some(link.clone()));
        let (uploads, store) = (welcome.uploads, welcome.store);
        runtime.turn(|node, now| {
            node.set_upload_limits(uploads);
            if node.set_cloud_store(store) {
                tracing::warn!("the control plane has another store than before: it is told of the runs of this agent's own again");
            }
            node.link_up(now);
        });
    } else if let ToAgent::Deploy(deployment) = message {
        tokio::spawn(deploy(Arc::clone(runtime), link.clone(), *deployment));
    } else {
        if let ToAgent::OwnRunRefused { run, why } = &message
            // It is offered over each new link: said once.
            && runtime.look(|node| node.own_run(*run).is_some_and(|own| own.refused.as_ref() != Some(why)))
        {
            tracing::warn!(%run, why, "the control plane does not take a run of this agent's own; it goes on here");
        }
        let undeployed = matches!(message, ToAgent::Undeploy { .. });
        runtime.turn(|node, now| node.handle_message(message, now));
        if undeployed {
            runtime.workflows_changed();
        }
    }
}

async fn send_logs(runtime: &Runtime, link: &AgentLink) -> Result<(), eyot_link::Error> {
    let lines = runtime.logs.take(runtime.clock.now());
    if lines.is_empty() {
        return Ok(());
    }
    let message = ToCloud::Logs(lines);
    let sent = link.send(&message).await;
    if sent.is_err()
        && let ToCloud::Logs(lines) = message
    {
        runtime.logs.put_back(lines);
    }
    sent
}

/// Takes a deployment once its components are here: it has to fire without the link. Over the next link the control
/// plane asks again, if this one is lost meanwhile.
async fn deploy(runtime: Arc<Runtime>, link: AgentLink, deployment: eyot_wire::Deployment) {
    let workflow = Arc::clone(&deployment.workflow);
    if let Err(error) = runtime.look(|node| node.check_needs(&workflow, None)) {
        tracing::error!(%error, workflow = workflow.name, namespace = workflow.namespace, "a deployment is not taken");
        let refused = eyot_wire::Deployed {
            namespace: workflow.namespace.clone(),
            name: workflow.name.clone(),
            revision: deployment.revision,
            refused: Some(error.to_string()),
        };
        return runtime.turn(|node, _| node.answer_deployment(refused));
    }
    let components: BTreeSet<Digest> = workflow.tasks.iter().filter_map(|task| task.uses.digest).collect();
    let mut wait = Duration::from_millis(100);
    for digest in components {
        while !runtime.blobs.contains(&digest) {
            match eyot_link::fetch(&link, digest, &runtime.blobs, |_, _| {}).await {
                Ok(_) => {}
                Err(TransferError::Link(_)) => return,
                Err(error) => {
                    tracing::warn!(%digest, %error, workflow = workflow.name, "a component of a deployment cannot be had; trying again");
                    tokio::time::sleep(wait).await;
                    wait = (wait * 2).min(Duration::from_secs(10));
                }
            }
        }
        let (blobs, own) = (Arc::clone(&runtime), digest);
        let synced = tokio::task::spawn_blocking(move || blobs.blobs.sync(&[own])).await;
        if !matches!(synced, Ok(Ok(()))) {
            tracing::error!(%digest, "a component of a deployment could not be made durable");
            return;
        }
    }
    tracing::info!(
        workflow = workflow.name,
        namespace = workflow.namespace,
        "deployed by the control plane"
    );
    runtime.turn(|node, now| node.deploy(deployment, now));
    runtime.workflows_changed();
}

async fn upload(runtime: Arc<Runtime>, link: AgentLink, digest: Digest) {
    let mut wait = Duration::from_millis(100);
    while !link.is_closed() {
        match eyot_link::push(&link, digest, &runtime.blobs).await {
            Ok(moved) => {
                tracing::debug!(%digest, size = moved.size, moved = moved.moved, "blob is in the cloud");
                return runtime.turn(|node, _| node.uploaded(digest));
            }
            Err(TransferError::Link(_)) => return,
            Err(TransferError::Store(eyot_blob::Error::Missing { .. } | eyot_blob::Error::Corrupt { .. })) => {
                // It may have been in the cloud already, before a restart.
                match eyot_link::fetch(&link, digest, &runtime.blobs, |_, _| {}).await {
                    Ok(_) => continue,
                    Err(TransferError::NotFound { .. } | TransferError::Denied { .. }) => {
                        tracing::error!(%digest, "an output is damaged and the control plane does not have it: its task fails");
                        return runtime.turn(|node, _| node.blob_lost(digest));
                    }
                    Err(TransferError::Link(_)) => return,
                    Err(error) => tracing::warn!(%digest, %error, "a damaged blob cannot be had; trying again"),
                }
            }
            Err(error) => tracing::warn!(%digest, %error, "blob does not go up; trying again"),
        }
        tokio::time::sleep(wait).await;
        wait = (wait * 2).min(Duration::from_secs(10));
    }
}

/// Sends a saved state whose bytes are a blob: after it. One that does not get through is left out: a later one follows.
async fn send_state(runtime: Arc<Runtime>, link: AgentLink, message: ToCloud) {
    let ToCloud::Saved { state, .. } = &message else { return };
    let Some(blob) = state.blob() else { return };
    match eyot_link::push(&link, blob.digest, &runtime.blobs).await {
        // An error means that the link is gone, and the next one is told everything anew.
        Ok(_) => drop(link.send(&message).await),
        Err(error) => tracing::debug!(digest = %blob.digest, %error, "a saved state does not go up"),
    }
}

async fn profile(context: &LinkContext, dialer: &Dialer) -> eyot_model::AgentProfile {
    let blobs = Arc::clone(&context.runtime.blobs);
    let holds: BTreeSet<Digest> = tokio::task::spawn_blocking(move || {
        blobs
            .list()
            .map(|list| list.into_iter().take(HOLDS).map(|(digest, _)| digest).collect())
            .unwrap_or_default()
    })
    .await
    .unwrap_or_default();
    let load = context.runtime.look(eyot_node::Node::load);
    device::profile(dialer.identity().agent(), &context.config, context.capacity, load, holds)
}
