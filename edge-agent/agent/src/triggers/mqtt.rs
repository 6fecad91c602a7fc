//! Messages of an MQTT broker, at QoS 1: a message is acknowledged once its run is durable, so the broker keeps it until
//! then. A session of the agent's own lasts at the broker while the agent is away.

use super::file::content_of;
use super::settings::Broker;
use super::{Listener, Missed, map, text};
use eyot_model::{BlobForm, TriggerSource, Value};
use eyot_node::Happening;
use rumqttc::{AsyncClient, ConnectionError, Event, EventLoop, Incoming, MqttOptions, Publish, QoS};
use std::sync::Arc;
use std::time::Duration;

/// Longest message, in bytes.
const MESSAGE_LIMIT: usize = 16 << 20;
/// A larger payload becomes a blob, in bytes.
const VALUE_LIMIT: usize = 1 << 20;
/// Messages that wait for their runs: each may be as long as a message can be.
const AHEAD: usize = 4;
/// Requests that wait for the connection: more than there are messages to acknowledge.
const REQUESTS: usize = 1_024;
const FIRST_PAUSE: Duration = Duration::from_millis(250);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// The pause after something that an operator has to mend.
const MEND: Duration = Duration::from_secs(5);

/// How long a session waits before the next one, because its message starts no run now: longer each time.
struct Patience(Duration);

impl Patience {
    fn is_fresh(&self) -> bool {
        self.0 == FIRST_PAUSE
    }

    fn next(&mut self) -> Duration {
        let longer = (self.0 * 2).min(LONGEST_PAUSE);
        std::mem::replace(&mut self.0, longer)
    }
}

pub(super) async fn listen(listener: Listener, source: &TriggerSource, broker: &str, topic: &str) {
    let mut patience = Patience(FIRST_PAUSE);
    loop {
        let allowed = listener.allowed(source).await;
        let known = listener.settings.read().brokers.get(broker).cloned();
        let Some(known) = known.filter(|_| allowed) else {
            tokio::time::sleep(MEND).await;
            continue;
        };
        let options = match options(&listener, &known) {
            Ok(options) => options,
            Err(error) => {
                listener.stands(Some(format!("the password of broker `{broker}` cannot be read: {error}")));
                tokio::time::sleep(MEND).await;
                continue;
            }
        };
        let (client, events) = AsyncClient::new(options, REQUESTS);
        if session(&listener, &client, events, broker, topic, &mut patience).await.is_err() {
            return;
        }
    }
}

fn options(listener: &Listener, broker: &Broker) -> std::io::Result<MqttOptions> {
    let key = &listener.key;
    let who = content_of(&[
        &listener.owner.0.to_be_bytes(),
        key.namespace.as_bytes(),
        key.workflow.as_bytes(),
        key.trigger.as_bytes(),
    ]);
    let name: String = who.0[..8].iter().map(|byte| format!("{byte:02x}")).collect();
    let mut options = MqttOptions::new(format!("eyot-{name}"), broker.host.clone(), broker.port);
    options
        .set_clean_session(false)
        .set_manual_acks(true)
        .set_keep_alive(Duration::from_secs(15))
        .set_max_packet_size(MESSAGE_LIMIT, MESSAGE_LIMIT);
    if let Some(user) = &broker.user {
        let password = match &broker.password_file {
            Some(path) => std::fs::read_to_string(path)?.trim_end().to_owned(),
            None => String::new(),
        };
        options.set_credentials(user.clone(), password);
    }
    Ok(options)
}

/// One client over all its connections. Comes back where it has to be made anew; the error says that the trigger is gone.
async fn session(
    listener: &Listener,
    client: &AsyncClient,
    mut events: EventLoop,
    broker: &str,
    topic: &str,
    patience: &mut Patience,
) -> Result<(), ()> {
    let (messages, mut coming) = tokio::sync::mpsc::channel::<Publish>(AHEAD);
    let firing = async {
        while let Some(message) = coming.recv().await {
            if !take(listener, client, message, patience.is_fresh()).await? {
                // Not acknowledged: the broker sends it again over the next connection.
                return Ok(patience.next());
            }
            *patience = Patience(FIRST_PAUSE);
        }
        Ok(FIRST_PAUSE)
    };
    let polling = async {
        let mut pause = FIRST_PAUSE;
        loop {
            match events.poll().await {
                Ok(Event::Incoming(Incoming::ConnAck(_))) => {
                    pause = FIRST_PAUSE;
                    listener.stands(None);
                    tracing::info!(broker, topic, "listening to the broker");
                    if client.try_subscribe(topic, QoS::AtLeastOnce).is_err() {
                        return;
                    }
                }
                Ok(Event::Incoming(Incoming::SubAck(answer))) => {
                    if answer.return_codes.contains(&rumqttc::SubscribeReasonCode::Failure) {
                        listener.stands(Some(format!("broker `{broker}` does not allow the topic `{topic}`")));
                    }
                }
                Ok(Event::Incoming(Incoming::Publish(message))) => {
                    // With a full queue nothing more is read: the broker waits for acknowledgements.
                    if messages.send(message).await.is_err() {
                        return;
                    }
                }
                Ok(_) => {}
                Err(ConnectionError::RequestsDone) => return,
                Err(error) => {
                    tracing::debug!(%error, broker, "no connection to the broker; trying again");
                    listener.stands(Some(format!("no connection to broker `{broker}`: {error}")));
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(LONGEST_PAUSE);
                }
            }
        }
    };
    tokio::select! {
        fired = firing => {
            let fired: Result<Duration, ()> = fired;
            tokio::time::sleep(fired?).await;
            Ok(())
        }
        () = polling => Ok(()),
    }
}

/// Starts the run of a message and acknowledges it. False if it is not done with now, which is said where `aloud`.
async fn take(listener: &Listener, client: &AsyncClient, message: Publish, aloud: bool) -> Result<bool, ()> {
    // A retained message tells what holds, not that something happened; it comes with every subscription.
    if !message.retain {
        let payload = match payload(listener, &message).await {
            Ok(payload) => payload,
            Err(error) => {
                tracing::warn!(error, "a message cannot be kept now; trying again");
                return Ok(false);
            }
        };
        let happening = Happening::Message {
            packet: message.pkid,
            content: content_of(&[message.topic.as_bytes(), &message.payload]),
            again: message.dup,
        };
        let event = map([
            ("source", text("mqtt")),
            ("topic", text(message.topic.clone())),
            ("payload", payload),
        ]);
        match listener.fire(happening, event).await {
            Ok(()) => {}
            Err(Missed::Gone) => return Err(()),
            Err(Missed::Later(why)) => {
                if aloud {
                    tracing::warn!(
                        why,
                        trigger = listener.key.trigger,
                        "a message starts no run now; the broker keeps it"
                    );
                }
                return Ok(false);
            }
        }
    }
    // Without a connection the broker sends it again, and it is known then.
    let _ = client.ack(&message).await;
    Ok(true)
}

/// JSON as what it says, other text as text, other bytes as bytes; what is large as a blob.
async fn payload(listener: &Listener, message: &Publish) -> Result<Value, String> {
    if message.payload.len() > VALUE_LIMIT {
        let (runtime, bytes) = (Arc::clone(&listener.runtime), message.payload.clone());
        let stored = tokio::task::spawn_blocking(move || runtime.blobs.put_durable(&bytes)).await;
        let stored = stored.map_err(|error| error.to_string())?.map_err(|error| error.to_string())?;
        return Ok(Value::Blob(stored.reference(BlobForm::Raw)));
    }
    Ok(read(&message.payload))
}

fn read(payload: &[u8]) -> Value {
    let Ok(text) = std::str::from_utf8(payload) else {
        return Value::Bytes(payload.to_vec());
    };
    let json = serde_json::from_str(text).ok().and_then(|json| Value::from_json(json).ok());
    json.unwrap_or_else(|| Value::String(text.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_broker_is_asked_more_and_more_seldom_for_what_starts_no_run() {
        let mut patience = Patience(FIRST_PAUSE);
        assert!(patience.is_fresh());
        let waits: Vec<Duration> = (0..10).map(|_| patience.next()).collect();
        assert!(!patience.is_fresh() && waits.is_sorted());
        assert_eq!((waits[0], waits[9]), (FIRST_PAUSE, LONGEST_PAUSE));
    }

    #[test]
    fn payloads_are_read_as_what_they_are() {
        assert_eq!(read(b"{\"count\": 3}"), map([("count", Value::Int(3))]));
        assert_eq!(read(b"17.5"), Value::Float(17.5));
        assert_eq!(read(b"door open"), text("door open"));
        assert_eq!(read(&[0xff, 0]), Value::Bytes(vec![0xff, 0]));
    }
}
