//! Who may join and who may work: the link's questions, answered from the fleet and the store.

use crate::api::agents::is_agent_name;
use crate::clock;
use crate::fleet::Fleet;
use crate::grants::may_be_named;
use crate::store::{AgentRecord, Change, Error, Guard, Store};
use eyot_link::{Admission, Enrolment, Serial, Standing};
use eyot_model::{AgentId, Millis, Position, Timestamp};
use std::pin::Pin;

type Later<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Names that are tried where the one that a device wants is taken.
const NAME_TRIES: u32 = 100;

pub(crate) struct Authority {
    pub(crate) store: Store,
    pub(crate) fleet: Fleet,
    pub(crate) certificate_life: Millis,
}

impl eyot_link::Authority for Authority {
    fn check(&self, agent: AgentId, _serial: Serial) -> Standing {
        self.fleet.standing(agent)
    }

    fn enrol<'a>(&'a self, enrolment: Enrolment<'a>) -> Later<'a, Result<Admission, String>> {
        Box::pin(async move {
            let now = clock::now();
            let hash = enrolment.secret.digest().0;
            let invite = self.store.invite(&hash).await.map_err(|error| broken(&error))?;
            let Some(invite) = invite else {
                return Err("the token is not known here".to_owned());
            };
            if invite.expires_at <= now {
                return Err("the token is over its time: ask for a new one".to_owned());
            }
            if invite.used_by.is_some_and(|by| by != enrolment.agent) {
                return Err("the token was used by another device: ask for a new one".to_owned());
            }
            let name = match &invite.name {
                Some(name) => name.clone(),
                None => self
                    .free_name(enrolment.name, enrolment.agent)
                    .await
                    .map_err(|error| broken(&error))?,
            };
            let admission = self.admission(clock::wall(), name.clone())?;
            let record = AgentRecord {
                id: enrolment.agent,
                name: name.clone(),
                joined_at: now,
                certificate_expires_at: admission.not_after,
                revoked: false,
                draining: false,
                last_seen: None,
                profile: None,
                committed: Position::default(),
                incarnation: None,
            };
            let guards = vec![
                Guard::InviteOpen {
                    hash,
                    agent: enrolment.agent,
                    now,
                },
                Guard::AgentWelcome(enrolment.agent),
                Guard::AgentNameFree {
                    name: name.clone(),
                    agent: enrolment.agent,
                },
            ];
            let changes = vec![
                Change::PutAgent(Box::new(record.clone())),
                Change::UseInvite {
                    hash,
                    agent: enrolment.agent,
                },
            ];
            match self.store.commit(guards.clone(), changes).await {
                Ok(()) => {
                    self.fleet.put(record);
                    Ok(admission)
                }
                Err(Error::Guard(what)) if what == guards[1].name() => {
                    Err("this device's key was revoked; an operator can remove the agent and invite it again".to_owned())
                }
                Err(Error::Guard(what)) if what == guards[2].name() => Err(format!("the name `{name}` is taken")),
                Err(Error::Guard(_)) => Err("the token was used or is over its time: ask for a new one".to_owned()),
                Err(error) => Err(broken(&error)),
            }
        })
    }

    fn renew(&self, agent: AgentId, _serial: Serial) -> Later<'_, Result<Admission, String>> {
        Box::pin(async move {
            let admission = self.admission(clock::wall(), self.fleet.name(agent))?;
            let change = Change::SetCertificate {
                agent,
                expires_at: admission.not_after,
            };
            match self.store.commit(vec![Guard::AgentWelcome(agent)], vec![change]).await {
                Ok(()) => {
                    self.fleet.set_certificate(agent, admission.not_after);
                    Ok(admission)
                }
                Err(Error::Guard(_)) => Err("this agent was revoked".to_owned()),
                Err(error) => Err(broken(&error)),
            }
        })
    }
}

impl Authority {
    fn admission(&self, now: Timestamp, name: String) -> Result<Admission, String> {
        let serial = Serial::random().map_err(|error| {
            tracing::error!(error = %crate::chain(&error), "no serial number");
            "the control plane has no random numbers".to_owned()
        })?;
        // Certificates know whole seconds.
        let not_after = Timestamp(now.after(self.certificate_life).0 / 1_000_000 * 1_000_000);
        Ok(Admission { serial, not_after, name })
    }

    /// The wanted name if it is one, with a number behind it if it is another agent's, or a namespace of others.
    async fn free_name(&self, wanted: &str, agent: AgentId) -> Result<String, Error> {
        let mut base: String = wanted
            .chars()
            .take(50)
            .map(|c| if c.is_ascii_alphanumeric() || "-_.".contains(c) { c } else { '-' })
            .collect();
        base = base.trim_start_matches(['-', '.']).to_owned();
        if !is_agent_name(&base) {
            "agent".clone_into(&mut base);
        }
        let numbered = (2..NAME_TRIES).map(|n| format!("{base}-{n}"));
        for name in std::iter::once(base.clone()).chain(numbered) {
            let free = self.fleet.find(&name).is_none_or(|other| other == agent);
            if free && may_be_named(&self.store, &name, Some(agent)).await? {
                return Ok(name);
            }
        }
        Ok(format!("{base}-{:x}", agent.0 >> 96))
    }
}

fn broken(error: &Error) -> String {
    tracing::error!(error = %crate::chain(error), "an enrolment failed");
    "the control plane's store failed; try again later".to_owned()
}
