//! Callers: they want credentials, come and go, and are judged by what they were given.

use std::time::Duration;

use grantry::{
    connection::{GrantVersion, Status},
    error::Error,
    time::Clock as _,
};

use crate::{
    facts::family_of_access,
    sim::{Air, Sim},
    trace::Who,
    world::World,
};

/// What a caller asks for.
#[derive(Clone, Copy, Debug)]
pub enum Wish {
    Credentials,
    ValidFor(Duration),
    Refused(GrantVersion),
}

/// What a caller was given: the set and the access token.
pub type Given = Result<(GrantVersion, String), Error>;

/// What was true when a call began.
struct Begun {
    at: u64,
    asked: Duration,
    ticks: tokio::time::Instant,
    disturbances: u64,
    must_serve: bool,
    name: GrantVersion,
    access: String,
    over_for: Option<u64>,
    disabled_since: Option<u64>,
}

impl World {
    /// One call in its own task, which may be dropped on the way. `None` if it was, or if the process died.
    pub fn call(
        &self,
        process: usize,
        connection: usize,
        wish: Wish,
        wait: Duration,
        patience: Option<Duration>,
    ) -> tokio::task::JoinHandle<Option<Given>> {
        let sim = self.sim.clone();
        let running = self.processes[process].clone();
        let id = sim.state().ids[connection].clone();
        sim.state().open += 1;
        tokio::spawn(async move {
            tokio::time::sleep(wait).await;
            let begun = begin(&sim, process, connection, wish);
            let broker = running.broker;
            let call = running.signals.run(async {
                match wish {
                    Wish::Credentials => broker.credentials(&id).await,
                    Wish::ValidFor(span) => broker.connection(&id).credentials_valid_for(span).await,
                    Wish::Refused(set) => broker.connection(&id).refused(set).await,
                }
            });
            let limit = patience.unwrap_or(Duration::from_secs(1_000_000));
            let given = tokio::time::timeout(limit, call).await.ok().flatten();
            let given = given.map(|given| given.map(|c| (c.version, c.access_token.expose().to_owned())));
            finish(&sim, process, connection, &begun, given.as_ref());
            sim.state().open -= 1;
            given
        })
    }
}

fn begin(sim: &Sim, process: usize, connection: usize, wish: Wish) -> Begun {
    let mut state = sim.state();
    let (about, asked) = match wish {
        Wish::Credentials => ("credentials", Duration::from_secs(300)),
        Wish::ValidFor(span) => ("valid for", span),
        Wish::Refused(_) => ("refused", Duration::ZERO),
    };
    let asked_seconds = asked.as_secs();
    state.say(
        Who::Process(process),
        "call",
        about,
        [connection as u64, asked_seconds, 0],
    );
    let judge = &state.judge;
    let row = &judge.connections[connection];
    let facts = &judge.processes[process];
    let left = sim.machines[process].wall().until(row.seen.access_ends);
    let name = row.seen.row.version;
    let refused = judge.is_refused(process, connection, name);
    let must_serve = !matches!(wish, Wish::Refused(_))
        && row.seen.row.status == Status::Connected
        && left > asked + Duration::from_secs(1)
        && !refused
        && !row.rolled_back
        && sim.upstream.works(&row.seen.access)
        // Another process's set is seen within a second.
        && state.now > row.changed_at + 1300
        && !state.perhaps_disabled
        && state.stores[process] == Air::Calm
        && !facts.stopped;
    let begun = Begun {
        at: state.now,
        asked,
        ticks: tokio::time::Instant::now(),
        disturbances: facts.disturbances,
        must_serve,
        name,
        access: row.seen.access.clone(),
        over_for: row.ended_at,
        disabled_since: state.disabled_since,
    };
    if let Wish::Refused(set) = wish {
        let incarnation = facts.incarnation;
        state
            .judge
            .refused
            .insert((process, incarnation, connection, set));
    }
    begun
}

fn finish(sim: &Sim, process: usize, connection: usize, begun: &Begun, given: Option<&Given>) {
    let mut state = sim.state();
    let number = connection as u64;
    let Some(given) = given else {
        state.say(Who::Process(process), "call dropped", "", [number, 0, 0]);
        return;
    };
    match given {
        Ok((set, _)) => {
            state.served[connection] = Some(*set);
            state.say(
                Who::Process(process),
                "call served",
                "",
                [number, set.epoch, set.generation],
            );
        }
        Err(error) => {
            state.say(
                Who::Process(process),
                "call failed",
                error.code().as_str(),
                [number, 0, 0],
            );
        }
    }
    // I8: nothing about a refresh matters to whoever's token lives.
    let row = state.judge.connections[connection].seen.row;
    let facts = &state.judge.processes[process];
    let refused = state.judge.is_refused(process, connection, begun.name);
    // A set that was put in its place by a machine whose clock is another may be over by this one's.
    let seen = &state.judge.connections[connection].seen;
    let left = sim.machines[process].wall().until(seen.access_ends);
    let lasts = !sim.plan.faults.clock
        || seen.row.version == begun.name
        || left > begun.asked + Duration::from_secs(1);
    let undisturbed = facts.disturbances == begun.disturbances
        && lasts
        && !refused
        && sim.upstream.works(&begun.access)
        && row.status == Status::Connected
        && row.version.epoch == begun.name.epoch
        && !state.perhaps_disabled;
    let slow = begun.ticks.elapsed() > Duration::from_secs(1);
    if begun.must_serve && undisturbed && (given.is_err() || slow) {
        let code = given.as_ref().map_or_else(|e| e.code().as_str(), |_| "slow");
        state.judge.violated(
            "I8",
            format_args!("process {process}: a caller whose token lives: {code}"),
        );
    }
    let Ok((set, access)) = given else { return };
    // I5: the token is one of the connection's own.
    let family = family_of_access(access).unwrap();
    if state.judge.family(family).connection != Some(connection) {
        state
            .judge
            .violated("I5", format_args!("connection {connection} was given {access}"));
    }
    judge_ended(&mut state, process, connection, begun, *set);
}

/// I10: what was ended a second before a call began is not served.
fn judge_ended(
    state: &mut crate::sim::Held<'_>,
    process: usize,
    connection: usize,
    begun: &Begun,
    set: GrantVersion,
) {
    let row = &state.judge.connections[connection];
    let trouble = state.judge.processes[process].trouble;
    let reached = |since: u64| trouble < since && state.stores[process] == Air::Calm;
    let late = |since: Option<u64>| since.filter(|since| begun.at > since + 1050 && reached(*since));
    let ended = late(begun.over_for.filter(|_| row.ended_at == begun.over_for));
    let disabled = late(
        begun
            .disabled_since
            .filter(|_| state.disabled_since == begun.disabled_since),
    );
    if ended.is_some() && !row.rolled_back {
        state.judge.violated(
            "I10",
            format_args!("{set} of connection {connection} was served after its end"),
        );
    }
    if disabled.is_some() {
        state
            .judge
            .violated("I10", format_args!("{set} was served of a disabled integration"));
    }
}
