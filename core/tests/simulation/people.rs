//! What people do meanwhile: hosts and their admins, users, and admins at the provider.

use grantry::{Broker, error::Code, id::IntegrationId, store::IntegrationStore as _, testing::Signals};

use crate::{
    facts::Token,
    sim::Sim,
    trace::Who,
    world::{Process, World, connect},
};

impl World {
    /// What people do meanwhile. It runs in a task of its own, as a part of the process.
    pub fn administer(&self, process: usize) {
        let (connection, what) = {
            let dice = &mut self.sim.state().dice;
            (dice.below(self.sim.plan.connections), dice.below(12))
        };
        let id = self.sim.state().ids[connection].clone();
        let Process { broker, signals } = self.processes[process].clone();
        let integration = self.integration.clone();
        match what {
            0..4 => {
                let flow = connect(
                    self.sim.clone(),
                    broker,
                    signals.clone(),
                    integration,
                    connection,
                    Some(id),
                );
                self.errand(process, "reconnect", signals, async move {
                    flow.await.map_err(|e| e.code())
                });
            }
            4..7 => self.errand(process, "revoke", signals, async move {
                broker.connection(&id).revoke().await.map_err(|e| e.code())
            }),
            7 => self.errand(process, "delete", signals, async move {
                broker.connection(&id).disconnect().await.map_err(|e| e.code())
            }),
            8..10 => self.end_grant(connection),
            10 => {
                self.sim.state().perhaps_disabled = true;
                let (sim, freezes) = (self.sim.clone(), self.sim.state().dice.percent(30));
                let what = if freezes { "freeze" } else { "disable" };
                self.errand(process, what, signals, async move {
                    let done = if freezes {
                        broker.integration(&integration).freeze("a suspected leak").await
                    } else {
                        broker.integration(&integration).disable().await
                    };
                    done.map_err(|e| e.code())?;
                    note_disabled(&sim, &integration).await;
                    Ok(())
                });
            }
            _ => {
                let (sim, processes) = (self.sim.clone(), self.processes.clone());
                self.errand(process, "enable", signals, async move {
                    enable(&sim, &processes[process].broker, &integration).await
                });
            }
        }
    }

    fn errand(
        &self,
        process: usize,
        what: &'static str,
        signals: Signals,
        work: impl Future<Output = Result<(), Code>> + Send + 'static,
    ) {
        let sim = self.sim.clone();
        sim.say(Who::Process(process), what, "begins", [0; 3]);
        sim.state().open += 1;
        tokio::spawn(async move {
            let done = signals.run(work).await;
            let about = done.map_or("died", |done| done.err().map_or("done", Code::as_str));
            sim.say(Who::Process(process), what, about, [0; 3]);
            sim.state().open -= 1;
        });
    }

    fn end_grant(&self, connection: usize) {
        let mut state = self.sim.state();
        if let Some(token) = Token::parse(&state.judge.connections[connection].seen.refresh) {
            state.fault(Who::World, "an admin ends it", "");
            state.judge.family(token.family).ended_by_admin = true;
            drop(state);
            self.sim.upstream.end_grant(&token.text());
        }
    }

    /// For worlds in which nobody else does so. Refused while a freeze is not done.
    pub async fn enable(&self) -> bool {
        enable(&self.sim, &self.processes[0].broker, &self.integration)
            .await
            .is_ok()
    }
}

async fn enable(sim: &Sim, broker: &Broker, integration: &IntegrationId) -> Result<(), Code> {
    {
        let mut state = sim.state();
        state.enabling += 1;
        state.disabled_since = None;
    }
    let enabled = broker.integration(integration).enable().await;
    sim.state().enabling -= 1;
    note_disabled(sim, integration).await;
    enabled.map(drop).map_err(|e| e.code())
}

/// Reads in the store whether the integration is switched off, by now for certain.
pub async fn note_disabled(sim: &Sim, integration: &IntegrationId) {
    let stored = sim.memory.integration(integration).await.unwrap().unwrap();
    let body: serde_json::Value = serde_json::from_slice(&stored.row.body).unwrap();
    let mut state = sim.state();
    let off = body["switch"] != "On" && state.enabling == 0;
    let now = state.now;
    state.disabled_since = off.then(|| state.disabled_since.unwrap_or(now));
}
