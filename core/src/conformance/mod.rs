//! The conformance suite: every sentence of the [store traits](crate::store) as a test, for authors of stores.
//!
//! A store's crate enables the feature `conformance` of this crate for its tests, depends on tokio with `macros` and
//! `rt-multi-thread`, says how a handle on fresh data is opened, and names the suite:
//!
//! ```
//! use grantry::{conformance::Fixture, store::MemoryStore};
//!
//! /// Keeps the data of one test. Dropping it cleans up.
//! struct Fresh(MemoryStore);
//!
//! impl Fixture for Fresh {
//!     type Store = MemoryStore;
//!     async fn open(&self) -> MemoryStore {
//!         self.0.clone()
//!     }
//! }
//!
//! grantry::store_conformance!(Fresh(MemoryStore::default()));
//! # fn main() {}
//! ```
//!
//! It becomes one named test for each case, so that the usual ways to run, filter and skip tests work. A store that plays
//! some of the roles names their suites alone: [`connection_conformance!`](crate::connection_conformance),
//! [`integration_conformance!`](crate::integration_conformance), [`pending_conformance!`](crate::pending_conformance),
//! [`key_conformance!`](crate::key_conformance), [`usage_conformance!`](crate::usage_conformance).
//!
//! Whatever is under a fixture may be destroyed. A later minor release may add cases; the changelog names them.
//!
//! The suite is tested itself: `core/tests/conformance_catches` has a broken store for each promise.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a case says that a promise was broken by panicking, as every test does"
)]

pub mod attention;
pub mod cancel;
pub mod changes;
pub mod connection;
pub mod due;
pub mod filters;
pub mod hot;
pub mod integration;
pub mod key;
pub mod listing;
pub mod pending;
mod rows;
pub mod usage;
pub mod values;

use std::{
    future::Future,
    pin::{Pin, pin},
    sync::Arc,
    task::{Context, Poll, Wake, Waker},
    time::Duration,
};

use futures_util::future::join_all;
use tokio::{sync::Barrier, task::JoinSet};

/// What a case works on: data of its own, empty at first, and ways to reach it.
pub trait Fixture: Send + Sync {
    /// A handle on the data.
    type Store: Clone + Send + Sync + 'static;

    /// Opens a handle as another process would: all handles show the same data, and share no memory if the store can
    /// be shared by processes. A case may drop every handle and open another one.
    fn open(&self) -> impl Future<Output = Self::Store> + Send;
}

/// Calls that are made at once: in one task, where they take turns at each await, or in tasks of their own.
#[derive(Clone, Copy, Debug)]
enum AtOnce {
    Interleaved,
    Parallel,
}

impl AtOnce {
    const WAYS: [Self; 2] = [Self::Interleaved, Self::Parallel];

    /// Makes the calls and gives their results, in any order.
    async fn run<T: Send + 'static>(
        self,
        calls: impl IntoIterator<Item = impl Future<Output = T> + Send + 'static>,
    ) -> Vec<T> {
        match self {
            Self::Interleaved => join_all(calls).await,
            Self::Parallel => {
                let calls: Vec<_> = calls.into_iter().collect();
                let start = Arc::new(Barrier::new(calls.len()));
                let mut tasks = JoinSet::new();
                for call in calls {
                    let start = start.clone();
                    tasks.spawn(async move {
                        start.wait().await;
                        call.await
                    });
                }
                tasks.join_all().await
            }
        }
    }
}

/// Polls `call` at most `times` times and drops it then.
async fn poll_and_drop<T>(call: impl Future<Output = T>, times: usize) -> Option<T> {
    let mut call = pin!(call);
    for _ in 0..times {
        let polled = std::future::poll_fn(|context| Poll::Ready(call.as_mut().poll(context))).await;
        if let Poll::Ready(result) = polled {
            return Some(result);
        }
        tokio::task::yield_now().await;
    }
    None
}

/// Rings when a call can go on.
#[derive(Default)]
struct Bell(tokio::sync::Notify);

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.0.notify_one();
    }
}

/// Polls `call` until it has waited for something `stages` times, and what it waited for last has come; so it is held up in
/// the middle of what it does. Gives its result if it was over before.
async fn advance<T>(mut call: Pin<&mut impl Future<Output = T>>, stages: usize) -> Option<T> {
    /// It may wait for something that depends on others' progress.
    const MOMENT: Duration = Duration::from_millis(100);
    let bell = Arc::new(Bell::default());
    let waker = Waker::from(bell.clone());
    for _ in 0..stages {
        if let Poll::Ready(done) = call.as_mut().poll(&mut Context::from_waker(&waker)) {
            return Some(done);
        }
        let _ = tokio::time::timeout(MOMENT, bell.0.notified()).await;
    }
    None
}

/// Tests of the named cases. What the `*_conformance!` macros are made of.
#[doc(hidden)]
#[macro_export]
macro_rules! conformance_cases {
    ($fixture:expr; $($module:ident: $($case:ident)*;)*) => {
        $(
            mod $module {
                #[allow(unused_imports, reason = "the fixture's expression may use what is in scope around")]
                use super::*;
                $(
                    #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
                    async fn $case() {
                        let fixture = $fixture;
                        $crate::conformance::$module::$case(&fixture).await;
                    }
                )*
            }
        )*
    };
}

/// All suites, for a store that plays all five roles. The expression makes a [`Fixture`] and may await.
#[macro_export]
macro_rules! store_conformance {
    ($fixture:expr) => {
        $crate::connection_conformance!($fixture);
        $crate::integration_conformance!($fixture);
        $crate::pending_conformance!($fixture);
        $crate::key_conformance!($fixture);
        $crate::usage_conformance!($fixture);
    };
}

/// The suite of [`ConnectionStore`](crate::store::ConnectionStore).
#[macro_export]
macro_rules! connection_conformance {
    ($fixture:expr) => {
        $crate::conformance_cases! { $fixture;
            connection:
                an_insert_race_has_one_winner
                a_taken_id_stays
                a_swap_replaces_the_whole_row
                a_fresh_write_is_confirmed
                a_stale_swap_conflicts
                a_revision_is_compared_whole
                a_swap_race_has_one_winner
                a_revision_never_repeats
                what_is_not_there_is_missing
                a_removal_leaves_nothing
                store_time_never_goes_back
                rows_are_counted_by_key
                deleted_rows_are_no_connections;
            values:
                every_column_comes_back
                bodies_come_back
                ids_are_told_apart
                odd_values_come_back
                reopening_keeps_all;
            filters:
                filters_find_what_fits
                an_email_text_is_literal
                labels_match_whole
                a_swap_moves_a_row_in_every_list;
            listing:
                pages_make_the_whole_list
                a_page_begins_below_any_id
                pages_neither_skip_nor_repeat
                pages_stand_a_crowd
                an_entry_is_the_whole_row;
            attention:
                each_attention_has_its_rows
                attentions_follow_their_rows;
            due:
                due_rows_come_in_order
                a_due_page_begins_above_any_entry
                due_rows_follow_their_rows;
            changes:
                changes_of_another_handle_are_told
                a_row_that_came_back_is_told
                only_changes_are_told
                a_point_ahead_is_a_gap
                a_write_that_is_late_is_told
                a_watcher_misses_nothing;
            hot:
                a_touch_moves_no_revision
                facts_go_forward
                unknown_ids_are_passed_over
                facts_and_swaps_do_not_meet;
            cancel:
                a_dropped_insert_is_whole
                a_dropped_swap_is_whole
                a_dropped_removal_is_whole
                a_dropped_touch_is_whole;
        }
    };
}

/// The suite of [`IntegrationStore`](crate::store::IntegrationStore).
#[macro_export]
macro_rules! integration_conformance {
    ($fixture:expr) => {
        $crate::conformance_cases! { $fixture;
            integration:
                rows_come_back
                an_insert_race_has_one_winner
                writes_need_the_revision
                a_swap_race_has_one_winner
                a_taken_slug_stays
                a_slug_race_has_one_winner
                a_swap_keeps_the_slug
                a_removal_frees_the_slug
                the_list_is_by_id
                every_write_moves_the_version
                a_dropped_write_is_whole;
        }
    };
}

/// The suite of [`PendingStore`](crate::store::PendingStore).
#[macro_export]
macro_rules! pending_conformance {
    ($fixture:expr) => {
        $crate::conformance_cases! { $fixture;
            pending:
                one_taker_wins
                a_wrong_guard_leaves_the_row
                a_row_expires_by_the_given_time
                a_taken_key_is_refused
                a_put_race_has_one_winner
                a_purge_removes_what_expired
                rows_come_back
                a_dropped_take_is_whole;
        }
    };
}

/// The suite of [`KeyStore`](crate::store::KeyStore).
#[macro_export]
macro_rules! key_conformance {
    ($fixture:expr) => {
        $crate::conformance_cases! { $fixture;
            key:
                keys_come_back
                keys_are_listed_by_integration
                only_live_keys_of_a_kind_count
                the_limit_holds_in_a_race
                a_taken_id_stays
                a_key_is_revoked_once
                keys_of_an_integration_are_removed
                a_dropped_write_is_whole;
        }
    };
}

/// The suite of [`UsageStore`](crate::store::UsageStore).
#[macro_export]
macro_rules! usage_conformance {
    ($fixture:expr) => {
        $crate::conformance_cases! { $fixture;
            usage:
                a_charge_stops_at_the_limit
                charges_in_a_crowd_are_exact
                no_charge_is_lost
                a_refund_stops_at_zero
                months_and_integrations_are_apart
                days_are_listed
                a_purge_keeps_the_month
                a_dropped_charge_is_whole;
        }
    };
}
