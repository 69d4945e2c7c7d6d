//! Drops every public future of the broker at every poll. Whatever was begun must be done, be undone, or be completed
//! later in plain sight. The judge is the far side: the provider's log, the rows, and a process that comes later.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::disallowed_methods,
    clippy::unchecked_time_subtraction,
    unreachable_pub,
    reason = "a test, in paused time"
)]

mod coverage;
mod drop_at;
mod judge;
mod operations;
mod sending;
mod stage;
#[path = "../support/mod.rs"]
mod support;
mod sweep;

use sweep::{Mode, sweep};

#[tokio::test(start_paused = true)]
async fn a_caller_who_goes_away_leaves_nothing_half_done() {
    for slow_answers in [false, true] {
        for woken in [false, true] {
            sweep(Mode {
                slow_answers,
                woken,
                ..Mode::default()
            })
            .await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn nor_while_the_connection_is_being_refreshed() {
    for slow_answers in [false, true] {
        sweep(Mode {
            slow_answers,
            beside_a_refresh: true,
            ..Mode::default()
        })
        .await;
    }
}

#[tokio::test(start_paused = true)]
async fn nor_when_the_store_may_forget_what_it_acknowledged() {
    for beside_a_refresh in [false, true] {
        sweep(Mode {
            beside_a_refresh,
            at_risk: true,
            ..Mode::default()
        })
        .await;
    }
}

#[tokio::test(start_paused = true)]
async fn nor_when_the_store_loses_an_answer_too() {
    for lost_answer in [0, 2, 4] {
        sweep(Mode {
            slow_answers: true,
            lost_answer: Some(lost_answer),
            ..Mode::default()
        })
        .await;
    }
    sweep(Mode {
        beside_a_refresh: true,
        lost_answer: Some(1),
        ..Mode::default()
    })
    .await;
}
