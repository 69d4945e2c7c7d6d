//! A world: processes on one store, one provider, and connections.

use std::time::Duration;

use grantry::{
    Broker, NewIntegration,
    connect::{Binding, Outcome},
    error::{Code, Error},
    id::{ConnectionId, IntegrationId},
    secret::Secret,
    testing::{FakeProvider, Intervals, Signals},
    vault::Keyring,
};

use crate::{
    plan::Plan,
    sim::{Air, Sim},
    store,
    trace::Who,
    wire::Wire,
};

const RETURN: &str = "https://app.example/done";

/// A process: a broker, and what an operating system can do to it.
#[derive(Clone)]
pub struct Process {
    pub broker: Broker,
    pub signals: Signals,
}

pub struct World {
    pub sim: Sim,
    pub processes: Vec<Process>,
    pub integration: IntegrationId,
    /// What was switched off in the engine.
    pub rules: Rules,
}

/// What to switch off in a broker.
pub type Rules = fn(grantry::Builder) -> grantry::Builder;

impl World {
    pub async fn new(sim: Sim, rules: Rules) -> Self {
        let processes: Vec<_> = (0..sim.plan.processes).map(|p| start(&sim, p, rules)).collect();
        let new = NewIntegration::new("Test", "fake/production", "client", Secret::new("secret"))
            .redirect_uris([RETURN]);
        let integration = processes[0].broker.create_integration(new).await.unwrap().id;
        let world = Self {
            sim,
            processes,
            integration,
            rules,
        };
        for connection in 0..world.sim.plan.connections {
            world.connect(0, connection, None).await.unwrap();
        }
        world
    }

    pub fn plan(&self) -> &Plan {
        &self.sim.plan
    }

    /// The user goes through the provider's pages; `again` connects a connection again.
    pub async fn connect(
        &self,
        process: usize,
        connection: usize,
        again: Option<ConnectionId>,
    ) -> Result<(), Error> {
        let Process { broker, signals } = self.processes[process].clone();
        connect(
            self.sim.clone(),
            broker,
            signals,
            self.integration.clone(),
            connection,
            again,
        )
        .await
    }

    /// Starts a process that was killed, as a new one.
    pub fn restart(&mut self, process: usize) {
        if !self.sim.state().judge.processes[process].alive {
            self.processes[process] = start(&self.sim, process, self.rules);
        }
    }

    pub fn store_air(&self, process: usize, air: Air) {
        let mut state = self.sim.state();
        if air != Air::Calm {
            state.fault(Who::Process(process), "store", "troubled");
        }
        state.stores[process] = air;
        state.trouble(process);
    }
}

fn start(sim: &Sim, process: usize, rules: Rules) -> Process {
    let mut state = sim.state();
    let facts = &mut state.judge.processes[process];
    facts.incarnation += 1;
    facts.alive = true;
    facts.stopped = false;
    let incarnation = facts.incarnation;
    let signals = Signals::default();
    state.signals[process] = signals.clone();
    state.say(Who::Process(process), "starts", "", [incarnation.into(), 0, 0]);
    drop(state);
    let paces = if sim.plan.usual_intervals {
        Intervals::default()
    } else {
        Intervals {
            look: Duration::from_secs(3000),
            flush: Duration::from_secs(20_000),
            sweep: Duration::from_secs(1800),
        }
    };
    let wire = Wire {
        sim: sim.clone(),
        process,
    };
    let builder = Broker::builder(store::stores(sim, process), Keyring::parse(&sim.keys).unwrap())
        .provider(FakeProvider::new(&sim.upstream))
        .transport(wire)
        .clock(sim.machines[process].clone())
        .public_url(format!("https://app-{process}.example/integrations"))
        .cache_capacity(1000)
        .signals(signals.clone())
        .intervals(paces);
    Process {
        broker: rules(builder).build().unwrap(),
        signals,
    }
}

/// The user goes through the provider's pages, and comes back to the process.
pub async fn connect(
    sim: Sim,
    broker: Broker,
    signals: Signals,
    integration: IntegrationId,
    connection: usize,
    again: Option<ConnectionId>,
) -> Result<(), Error> {
    let binding = || Binding::new("the browser");
    let flow = async {
        let mut begin = broker
            .integration(&integration)
            .begin_connect(binding())
            .return_to(RETURN);
        if let Some(id) = again {
            begin = begin.reconnect(id);
        }
        let query = sim.upstream.consent(&begin.await?.url);
        let code = query
            .strip_prefix("code=")
            .and_then(|rest| rest.split('&').next())
            .unwrap();
        sim.state().codes.push((code.to_owned(), connection));
        match broker
            .integration(&integration)
            .finish_connect(&query, &binding())
            .await?
        {
            Outcome::Connected { .. } => Ok(()),
            Outcome::Failed { error, .. } => Err(error),
        }
    };
    signals
        .run(flow)
        .await
        .unwrap_or_else(|| Err(Code::ShuttingDown.into()))
}
