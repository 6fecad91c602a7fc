use super::cloud::{Cloud, soon};
use super::refusals::line;
use crate::{Dialer, DialerOptions, Error, Happening, Kind};
use eyot_model::{DiskState, Epoch, FragmentId, Load, Millis, RunId};
use eyot_wire::{CloseCode, ToAgent, ToCloud};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn messages_keep_their_order_in_both_directions() {
    let cloud = Cloud::start();
    let mut linked = cloud.link().await;
    let n = 5_000;
    let up = linked.agent.link.clone();
    tokio::spawn(async move {
        for i in 0..n {
            let accepted = ToCloud::Accepted {
                run: RunId(i),
                fragment: FragmentId(0),
                epoch: Epoch(1),
            };
            up.send(&accepted).await.unwrap();
        }
    });
    let down = linked.cloud.link.clone();
    tokio::spawn(async move {
        for i in 0..n {
            down.send(&ToAgent::Release { run: RunId(i) }).await.unwrap();
        }
    });
    let (mut seen_up, mut seen_down) = (0, 0);
    soon(async {
        while seen_up < n || seen_down < n {
            tokio::select! {
                event = linked.cloud.events.next(), if seen_up < n => {
                    if let Happening::Message(ToCloud::Accepted { run, .. }) = event {
                        assert_eq!(run, RunId(seen_up));
                        seen_up += 1;
                    }
                }
                event = linked.agent.events.next(), if seen_down < n => {
                    if let Happening::Message(ToAgent::Release { run }) = event {
                        assert_eq!(run, RunId(seen_down));
                        seen_down += 1;
                    }
                }
            }
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_newer_of_two_links_of_an_agent_counts() {
    let cloud = Cloud::start();
    let mut linked = cloud.link().await;
    let agent = linked.credential().agent;
    let mut second = cloud.dialer(linked.dialer.identity().clone());
    let (newer, there) = soon(async { tokio::join!(second.dial(), cloud.server.accept()) }).await;
    let newer = newer.unwrap();
    let reason = soon(linked.agent.link.closed()).await;
    assert!(matches!(*reason, Error::Replaced), "{reason:?}");
    assert_eq!(reason.kind(), Kind::Retryable);
    soon(async { while !matches!(linked.cloud.events.next().await, Happening::Closed(_)) {} }).await;
    assert_eq!(cloud.server.agents(), [agent]);
    newer.link.send(&ToCloud::Logs(vec![])).await.unwrap();
    let mut there = there.unwrap();
    soon(async { while !matches!(there.events.next().await, Happening::Message(ToCloud::Logs(_))) {} }).await;
}

/// 64 MiB of messages that nobody takes: everything that can fill up is full, and heart-beats go on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn heartbeats_keep_going_while_messages_are_stuck() {
    let cloud = Cloud::start();
    let mut linked = cloud.link().await;
    linked.welcome(Millis(500)).await;
    let up = linked.agent.link.clone();
    let burst = tokio::spawn(async move {
        for _ in 0..16 {
            up.send(&ToCloud::Logs(vec![line(4 << 20)])).await.unwrap();
        }
    });
    // The control plane's end reads nothing; the agent's end sees its heart-beats answered.
    let mut answered = 0;
    soon(async {
        while answered < 10 {
            match linked.agent.events.next().await {
                Happening::Acknowledged(_) => answered += 1,
                // A busy machine alone makes a suspect now and then.
                Happening::Suspect | Happening::Restored => {}
                other => panic!("{other:?}"),
            }
        }
    })
    .await;
    let mut messages = 0;
    soon(async {
        while messages < 16 {
            match linked.cloud.events.next().await {
                Happening::Message(ToCloud::Logs(_)) => messages += 1,
                Happening::Heartbeat(_) | Happening::Suspect | Happening::Restored => {}
                other => panic!("{other:?}"),
            }
        }
    })
    .await;
    burst.await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sender_waits_for_a_slow_receiver() {
    let cloud = Cloud::start();
    let linked = cloud.link().await;
    let up = linked.agent.link.clone();
    let burst = tokio::spawn(async move {
        let mut sent = 0;
        loop {
            if up.send(&ToCloud::Logs(vec![line(8 << 20)])).await.is_err() {
                return sent;
            }
            sent += 1;
        }
    });
    // Everything in between holds a bounded number; then the sender is told that the link is closed.
    assert!(!linked.cloud.link.is_closed());
    tokio::task::yield_now().await;
    linked.cloud.link.close(CloseCode::Shutdown);
    let sent = soon(burst).await.unwrap();
    assert!(sent <= 16, "{sent}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_silent_agent_becomes_suspect_and_is_restored() {
    let cloud = Cloud::start();
    let mut linked = cloud.link().await;
    // The control plane expects many heart-beats; the agent goes on with one each second, the default, because the
    // message that says so is of the other direction.
    linked
        .cloud
        .link
        .shared
        .heartbeat_every
        .send_replace(std::time::Duration::from_millis(60));
    let mut seen = Vec::new();
    soon(async {
        while seen.len() < 4 {
            match linked.cloud.events.next().await {
                Happening::Suspect => seen.push("suspect"),
                Happening::Restored => seen.push("restored"),
                _ => {}
            }
        }
    })
    .await;
    assert_eq!(seen, ["suspect", "restored", "suspect", "restored"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn that_the_disk_runs_full_or_has_room_again_is_told_between_heartbeats() {
    let cloud = Cloud::start();
    let identity = cloud.identity(Millis::from_secs(3_600));
    let (load, seen) = tokio::sync::watch::channel(Load::default());
    let options = DialerOptions {
        addresses: vec![cloud.addr().to_string()],
        load: seen,
        steady: cloud.time.clock(),
        clock: cloud.time.clock(),
    };
    let mut dialer = Dialer::new(identity, options).unwrap();
    let (agent, there) = tokio::join!(dialer.dial(), cloud.server.accept());
    let (agent, mut there) = (agent.unwrap(), there.unwrap());
    let seldom = std::time::Duration::from_secs(3_600);
    there.link.shared.heartbeat_every.send_replace(seldom);
    agent.link.shared.heartbeat_every.send_replace(seldom);
    for disk in [DiskState::High, DiskState::Full, DiskState::Normal] {
        load.send_modify(|load| load.disk = disk);
        soon(async { while !matches!(there.events.next().await, Happening::Heartbeat(beat) if beat.load.disk == disk) {} }).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_agent_that_stays_silent_is_gone_although_its_connection_lingers() {
    let cloud = Cloud::start();
    let mut linked = cloud.link().await;
    let every = |seconds| std::time::Duration::from_secs(seconds);
    linked.agent.link.shared.heartbeat_every.send_replace(every(3_600));
    linked.cloud.link.shared.heartbeat_every.send_replace(every(1) / 20);
    soon(async {
        let reason = loop {
            if let Happening::Closed(reason) = linked.cloud.events.next().await {
                break reason;
            }
        };
        assert!(matches!(*reason, Error::TimedOut), "{reason}");
        let told = loop {
            if let Happening::Closed(reason) = linked.agent.events.next().await {
                break reason;
            }
        };
        assert!(matches!(*told, Error::TimedOut), "it is told, so that it comes back: {told}");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_queued_at_a_shutdown_arrives() {
    let cloud = Cloud::start();
    let mut linked = cloud.link().await;
    for _ in 0..100 {
        linked.agent.link.send(&ToCloud::Logs(vec![line(10_000)])).await.unwrap();
    }
    let link = linked.agent.link.clone();
    let closing = tokio::spawn(async move { link.shutdown(CloseCode::Shutdown).await });
    let mut messages = 0;
    let reason = soon(async {
        loop {
            match linked.cloud.events.next().await {
                Happening::Message(_) => messages += 1,
                Happening::Closed(reason) => return reason,
                _ => {}
            }
        }
    })
    .await;
    assert_eq!(messages, 100);
    assert!(matches!(*reason, Error::Shutdown), "{reason:?}");
    closing.await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_link_survives_a_move_to_another_port() {
    let cloud = Cloud::start();
    let mut linked = cloud.link().await;
    let before = linked.cloud.link.peer_addr();
    linked.dialer.rebind().unwrap();
    linked.welcome(Millis(50)).await;
    soon(async {
        while linked.cloud.link.peer_addr() == before {
            linked.agent.events.next().await;
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dialer_comes_back_to_a_restarted_control_plane() {
    let cloud = Cloud::start();
    let mut linked = cloud.link().await;
    let addr = cloud.addr();
    // A connection keeps its socket, and with it the port.
    drop(linked.cloud);
    cloud.server.shutdown().await;
    let reason = soon(linked.agent.link.closed()).await;
    assert_eq!(reason.kind(), Kind::Retryable, "{reason:?}");
    assert!(cloud.server.accept().await.is_none());
    let Cloud {
        ca,
        directory,
        server,
        time,
    } = cloud;
    drop(server);
    let options = crate::Options {
        clock: time.clock(),
        ..crate::Options::default()
    };
    let serving = async {
        // The port is free once the old socket's tasks have ended.
        let server = loop {
            match crate::Server::bind(addr, ca.clone(), directory.clone(), options.clone()) {
                Ok(server) => break server,
                Err(_) => tokio::task::yield_now().await,
            }
        };
        let live = server.accept().await.unwrap();
        (server, live)
    };
    let (here, _there) = soon(async { tokio::join!(linked.dialer.dial(), serving) }).await;
    here.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_address_is_tried_and_dead_ones_hold_up_nothing() {
    let cloud = Cloud::start();
    let silent = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let addresses = vec![
        "nowhere.invalid:7341".to_owned(),
        silent.local_addr().unwrap().to_string(),
        cloud.addr().to_string(),
    ];
    let identity = cloud.identity(Millis::from_secs(3_600));
    let mut dialer = cloud.dialer_with(identity, addresses, cloud.time.clock());
    let (live, _there) = soon(async { tokio::join!(dialer.dial_once(), cloud.server.accept()) }).await;
    assert_eq!(live.unwrap().link.peer_addr().port(), cloud.addr().port());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn where_nothing_comes_back_another_attempt_begins_soon() {
    let cloud = Cloud::start();
    let silent = tokio::net::UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let identity = cloud.identity(Millis::from_secs(3_600));
    let mut dialer = cloud.dialer_with(identity, vec![silent.local_addr().unwrap().to_string()], cloud.time.clock());
    let dialling = tokio::spawn(async move { dialer.dial_once().await.map(|_| ()) });
    // A first packet repeats its connection id; another attempt has one of its own.
    let mut ids = std::collections::BTreeSet::new();
    soon(async {
        let mut packet = [0; 2_048];
        while ids.len() < 3 {
            let (len, _) = silent.recv_from(&mut packet).await.unwrap();
            let id_len = usize::from(packet[5]);
            assert!(len > 6 + id_len);
            ids.insert(packet[6..6 + id_len].to_vec());
        }
    })
    .await;
    let ended = soon(dialling).await.unwrap();
    assert!(matches!(ended, Err(Error::TimedOut)), "{ended:?}");
}
