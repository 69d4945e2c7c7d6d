//! Each operation of the table, dropped after 0, 1, 2, … polls, until it ends before it is dropped.

use std::{fmt, time::Duration};

use grantry::testing::{Fault, Op};

use crate::{
    drop_at::drop_at,
    judge::{self, Aftermath},
    operations::operations,
    stage::Stage,
    support::pass,
};

const ALL: [Op; 12] = [
    Op::Read,
    Op::Insert,
    Op::Swap,
    Op::Remove,
    Op::Confirm,
    Op::Changes,
    Op::List,
    Op::Touch,
    Op::Integrations,
    Op::Pending,
    Op::Keys,
    Op::Usage,
];
const SLOW: Duration = Duration::from_millis(7);
/// No operation is polled more often.
const MOST_POLLS: u32 = 200;

#[derive(Clone, Copy, Debug, Default)]
pub struct Mode {
    /// The store acts at once and answers late; else it acts late.
    pub slow_answers: bool,
    /// Dropped when what it waits for has just come.
    pub woken: bool,
    /// Another caller has a refresh on its way.
    pub beside_a_refresh: bool,
    /// The store does one call of each kind of write and says that it failed: one of the first six, in turn.
    pub lost_answer: Option<u32>,
    /// Its replicas are away for two confirmations: the first ones, or after one or two, in turn.
    pub at_risk: bool,
}

impl Mode {
    /// The store fails, so that an operation may.
    fn may_fail(self) -> bool {
        self.lost_answer.is_some() || self.at_risk
    }
}

/// What is told if a round fails.
struct Round(String);

impl Drop for Round {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("in this round: {self}");
        }
    }
}

impl fmt::Display for Round {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

pub async fn sweep(mode: Mode) {
    for operation in operations() {
        let changes_something = operation.judge.is_some() || operation.closes;
        if !changes_something && (mode.beside_a_refresh || mode.may_fail()) {
            continue;
        }
        for polls in 0.. {
            let name = operation.name;
            assert!(polls < MOST_POLLS, "{name} does not end");
            let _round = Round(format!("{name}, dropped after {polls} polls, {mode:?}"));
            let stage = Stage::new().await;
            slow_down(&stage, mode, polls);
            if mode.beside_a_refresh {
                let (broker, id) = (stage.broker().clone(), stage.id.clone());
                tokio::spawn(async move { drop(broker.credentials(&id).await) });
                pass(SLOW).await;
            }
            let run = (operation.run)(stage.clone());
            let answer = drop_at(polls, mode.woken, run).await;
            let ended = matches!(answer, Some(Ok(())));
            let after = Aftermath {
                polls,
                may_fail: mode.may_fail(),
                answer: answer.map(|answer| answer.map_err(|error| error.code())),
                later: judge::let_the_world_settle(&stage).await,
                stage,
            };
            if !mode.may_fail() {
                let failed = after.answer.as_ref().and_then(|answer| answer.as_ref().err());
                assert_eq!(failed, None, "it failed by itself");
            }
            if let Some(judge) = &operation.judge {
                judge(after.clone()).await;
            }
            judge::everything(&after, operation.closes).await;
            if ended {
                break;
            }
        }
    }
}

fn slow_down(stage: &Stage, mode: Mode, polls: u32) {
    let store = &stage.world.one.store;
    if let Some(call) = mode.lost_answer {
        for op in [
            Op::Insert,
            Op::Swap,
            Op::Remove,
            Op::Integrations,
            Op::Pending,
            Op::Keys,
        ] {
            store.script(op, (call + polls) % 6, 1, Fault::After);
        }
    }
    if mode.at_risk {
        store.unconfirmed(polls % 3, 2);
    }
    let slow = if mode.slow_answers {
        Fault::SlowAnswer(SLOW)
    } else {
        Fault::Slow(SLOW)
    };
    for op in ALL {
        store.script(op, 0, u32::MAX, slow);
    }
}
