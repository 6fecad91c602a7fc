//! A control plane with two devices, `left` and `right`, on a stage of their own.

use crate::network::Network;
use crate::relay::Relay;
use anyhow::Result;
use eyot_scenarios::{Agent, Cloud, Place, Stage};

/// The two devices.
pub const SIDES: [&str; 2] = ["left", "right"];

pub struct World {
    pub cloud: Cloud,
    /// As [`SIDES`].
    pub agents: Vec<Agent>,
    /// Last, so that the processes end before their folder goes.
    pub stage: Stage,
}

impl World {
    /// All connected, the probe registered.
    ///
    /// # Errors
    /// When something does not come up.
    pub async fn open() -> Result<Self> {
        let stage = Stage::open()?;
        let cloud = Cloud::start(&stage, "cloud").await?;
        Self::people(stage, cloud).await
    }

    /// As [`World::open`], with the devices' links going through a relay.
    ///
    /// # Errors
    /// When something does not come up.
    pub async fn behind(relay: &Relay) -> Result<Self> {
        let stage = Stage::open()?;
        let place = Place {
            public: Some(relay.address()),
            ..Place::default()
        };
        let cloud = Cloud::start_at(&stage, "cloud", &place).await?;
        relay.leads_to(cloud.quic());
        Self::people(stage, cloud).await
    }

    /// As [`World::open`], with each device in a network namespace of its own.
    ///
    /// # Errors
    /// When something does not come up.
    pub async fn on(network: &Network) -> Result<Self> {
        let stage = Stage::open()?;
        let place = Place {
            quic: network.address().into(),
            ..Place::default()
        };
        let cloud = Cloud::start_at(&stage, "cloud", &place).await?;
        cloud.push_probe().await?;
        let mut agents = Vec::new();
        for name in SIDES {
            let agent = Agent::join_by(&stage, name, &cloud.invite().await?, network.on(name))?;
            agents.push(agent.run()?);
            cloud.connected(name).await?;
        }
        Ok(Self { cloud, agents, stage })
    }

    async fn people(stage: Stage, cloud: Cloud) -> Result<Self> {
        cloud.push_probe().await?;
        let mut agents = Vec::new();
        for name in SIDES {
            agents.push(cloud.agent(&stage, name).await?);
        }
        Ok(Self { cloud, agents, stage })
    }

    /// All went well: the logs are of no interest.
    ///
    /// # Errors
    /// When one of the processes has ended by itself.
    pub fn close(mut self) -> Result<()> {
        self.cloud.must_live()?;
        for agent in &mut self.agents {
            agent.must_live()?;
        }
        drop(self.agents);
        drop(self.cloud);
        self.stage.close();
        Ok(())
    }
}
