//! The conformance suite is tested itself: for each promise there is a store that breaks it, and the case that must
//! fail for it.
#![cfg(feature = "conformance")]
#![expect(clippy::unwrap_used, reason = "all of this is a test")]

mod connections;
mod naive;
mod others;

use std::{
    collections::HashMap,
    panic::AssertUnwindSafe,
    sync::{Arc, Mutex, atomic::AtomicUsize},
};

use futures_util::FutureExt as _;
use grantry::{
    conformance::{self, Fixture},
    id::{ConnectionId, IntegrationId, Slug},
    store::{HotFacts, MemoryStore, PendingRow},
};

/// A store in memory that breaks one promise.
#[derive(Clone, Debug)]
struct Broken {
    fault: Fault,
    /// Which handle of the fixture this is.
    handle: usize,
    inner: MemoryStore,
    shared: Arc<Shared>,
}

/// What the faults need to remember.
#[derive(Debug, Default)]
struct Shared {
    handles: AtomicUsize,
    calls: AtomicUsize,
    hot: Mutex<HashMap<ConnectionId, HotFacts>>,
    first_emails: Mutex<HashMap<ConnectionId, String>>,
    last_revisions: Mutex<HashMap<ConnectionId, grantry::store::Revision>>,
    /// What rows show in place of the slugs that they have.
    slugs: Mutex<HashMap<IntegrationId, Option<Slug>>>,
    pending: Mutex<HashMap<[u8; 32], PendingRow>>,
    sequence: naive::Sequence,
}

/// The fixture gives this handle and further ones of it.
impl Fixture for Broken {
    type Store = Self;

    async fn open(&self) -> Self {
        let handle = self
            .shared
            .handles
            .fetch_add(1, std::sync::atomic::Ordering::SeqCst);
        Self {
            handle,
            ..self.clone()
        }
    }
}

impl Broken {
    fn new(fault: Fault) -> Self {
        Self {
            fault,
            handle: 0,
            inner: MemoryStore::default(),
            shared: Arc::default(),
        }
    }

    fn has(&self, fault: Fault) -> bool {
        self.fault == fault
    }

    /// Lets others run in the middle of what should be one step.
    async fn dawdle(&self, fault: Fault) {
        if self.has(fault) {
            for _ in 0..4 {
                tokio::task::yield_now().await;
            }
        }
    }
}

macro_rules! faults {
    ($($fault:ident => $module:ident::$case:ident;)*) => {
        /// One broken promise each.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        enum Fault {
            /// Not broken: these wrappers pass the suite.
            None,
            $($fault,)*
        }

        #[expect(non_snake_case, reason = "each test has the name of its fault")]
        mod caught {
            use super::*;
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $fault() {
                    let broken = Broken::new(Fault::$fault);
                    let case = conformance::$module::$case(&broken);
                    let outcome = AssertUnwindSafe(case).catch_unwind().await;
                    assert!(outcome.is_err(), "the case did not see the fault");
                }
            )*
        }
    };
}

faults! {
    InsertReplaces => connection::a_taken_id_stays;
    RacyInsert => connection::an_insert_race_has_one_winner;
    OwnerLost => values::every_column_comes_back;
    BodyCut => values::bodies_come_back;
    IdsFolded => values::ids_are_told_apart;
    LongIdsCut => values::ids_are_told_apart;
    TextTrimmed => values::odd_values_come_back;
    TimeGoesBack => connection::store_time_never_goes_back;
    EraOfHandle => connection::store_time_never_goes_back;
    SwapIgnoresRevision => connection::a_stale_swap_conflicts;
    RacySwap => connection::a_swap_race_has_one_winner;
    NeverConfirms => connection::a_fresh_write_is_confirmed;
    CounterOnly => connection::a_revision_is_compared_whole;
    WriteIdOnly => connection::a_revision_is_compared_whole;
    RevisionKept => connection::a_revision_never_repeats;
    RevisionReused => connection::a_revision_never_repeats;
    SwapCreates => connection::what_is_not_there_is_missing;
    SwapKeepsDue => connection::a_swap_replaces_the_whole_row;
    RemoveIgnoresRevision => connection::a_removal_leaves_nothing;
    RemoveKeepsFacts => connection::a_removal_leaves_nothing;
    RemoveDoesNothing => connection::a_removal_leaves_nothing;
    MemoryOfHandle => values::reopening_keeps_all;
    CountsLiveOnly => connection::rows_are_counted_by_key;
    CountsOneIntegration => connection::rows_are_counted_by_key;
    DeletedCount => connection::deleted_rows_are_no_connections;
    OthersCount => connection::deleted_rows_are_no_connections;

    IntegrationIgnored => filters::filters_find_what_fits;
    StatusIgnored => filters::filters_find_what_fits;
    LiveHasDeleted => filters::filters_find_what_fits;
    LiveIsConnected => filters::filters_find_what_fits;
    EnvironmentIgnored => filters::filters_find_what_fits;
    EmailIgnored => filters::filters_find_what_fits;
    OwnerIgnored => filters::filters_find_what_fits;
    EmptyOwnerIsNone => filters::filters_find_what_fits;
    LabelsIgnored => filters::filters_find_what_fits;
    Ascending => filters::filters_find_what_fits;
    LimitIgnored => listing::pages_make_the_whole_list;
    NeverMore => listing::pages_make_the_whole_list;
    MoreWhenFull => listing::pages_make_the_whole_list;
    CursorRepeats => listing::a_page_begins_below_any_id;
    CursorMustExist => listing::a_page_begins_below_any_id;
    PagesByOffset => listing::pages_neither_skip_nor_repeat;
    EmailPattern => filters::an_email_text_is_literal;
    EmailPrefix => filters::an_email_text_is_literal;
    EmailFolded => filters::an_email_text_is_literal;
    ShortTextsFindNothing => filters::an_email_text_is_literal;
    PiecesSuffice => filters::an_email_text_is_literal;
    AnyLabel => filters::labels_match_whole;
    LabelKeysOnly => filters::labels_match_whole;
    LabelsJoined => filters::labels_match_whole;
    FirstEmailFound => filters::a_swap_moves_a_row_in_every_list;
    ListWithoutFacts => listing::an_entry_is_the_whole_row;

    SwapKeepsAttention => attention::attentions_follow_their_rows;
    AttentionsMixed => attention::each_attention_has_its_rows;
    AttentionsAscend => attention::each_attention_has_its_rows;
    AttentionNeverMore => attention::each_attention_has_its_rows;
    AttentionRepeats => attention::each_attention_has_its_rows;
    AttentionLiveOnly => attention::attentions_follow_their_rows;

    DueBefore => due::due_rows_come_in_order;
    DueById => due::due_rows_come_in_order;
    DueTiesSkipped => due::due_rows_come_in_order;
    DueRepeats => due::a_due_page_begins_above_any_entry;
    DueMoreWhenFull => due::due_rows_come_in_order;
    DueLiveOnly => due::due_rows_follow_their_rows;

    RemovalsUntold => changes::changes_of_another_handle_are_told;
    SwapsUntold => changes::changes_of_another_handle_are_told;
    RemovalAsItWas => changes::changes_of_another_handle_are_told;
    ToldTwice => changes::changes_of_another_handle_are_told;
    PointTooFar => changes::changes_of_another_handle_are_told;
    ReturnUntold => changes::a_row_that_came_back_is_told;
    TouchTold => changes::only_changes_are_told;
    GapUntold => changes::a_point_ahead_is_a_gap;
    RacyPoint => changes::a_watcher_misses_nothing;
    NumberBeforeCommit => changes::a_write_that_is_late_is_told;
    SlowCommitter => changes::a_watcher_misses_nothing;

    TouchBumps => hot::a_touch_moves_no_revision;
    TouchGoesBack => hot::facts_go_forward;
    TouchClears => hot::facts_go_forward;
    TouchStopsAtUnknown => hot::unknown_ids_are_passed_over;
    TouchFailsAtUnknown => hot::unknown_ids_are_passed_over;
    SwapDropsFacts => hot::facts_and_swaps_do_not_meet;

    TornInsert => cancel::a_dropped_insert_is_whole;
    TornSwap => cancel::a_dropped_swap_is_whole;
    TornTouch => cancel::a_dropped_touch_is_whole;

    IntegrationReplaced => integration::an_insert_race_has_one_winner;
    IntegrationSwapIgnoresRevision => integration::writes_need_the_revision;
    IntegrationRevisionKept => integration::writes_need_the_revision;
    IntegrationRacySwap => integration::a_swap_race_has_one_winner;
    SlugIgnored => integration::a_taken_slug_stays;
    RacySlug => integration::a_slug_race_has_one_winner;
    SwapTakesSlug => integration::a_swap_keeps_the_slug;
    SlugOutlivesRow => integration::a_removal_frees_the_slug;
    IntegrationsDescending => integration::the_list_is_by_id;
    IntegrationsRepeat => integration::the_list_is_by_id;
    VersionStands => integration::every_write_moves_the_version;
    VersionOfHandle => integration::every_write_moves_the_version;

    RacyTake => pending::one_taker_wins;
    GuardIgnored => pending::a_wrong_guard_leaves_the_row;
    GuardRemoves => pending::a_wrong_guard_leaves_the_row;
    ExpiryIgnored => pending::a_row_expires_by_the_given_time;
    ExpiryTooLate => pending::a_row_expires_by_the_given_time;
    PutReplaces => pending::a_taken_key_is_refused;
    RacyPut => pending::a_put_race_has_one_winner;
    PurgeUnbounded => pending::a_purge_removes_what_expired;
    PurgeTakesLiving => pending::a_purge_removes_what_expired;
    TakeBeforeDelete => pending::a_dropped_take_is_whole;

    RacyLimit => key::the_limit_holds_in_a_race;
    LimitCountsRevoked => key::only_live_keys_of_a_kind_count;
    LimitCountsExpired => key::only_live_keys_of_a_kind_count;
    LimitOverKinds => key::only_live_keys_of_a_kind_count;
    LimitOverIntegrations => key::only_live_keys_of_a_kind_count;
    KeyReplaced => key::a_taken_id_stays;
    LimitBeforeId => key::a_taken_id_stays;
    RevokedTwice => key::a_key_is_revoked_once;
    MissingRevoked => key::a_key_is_revoked_once;
    KeysUnordered => key::keys_are_listed_by_integration;
    AdminKeysForAll => key::keys_are_listed_by_integration;
    AllKeysRemoved => key::keys_of_an_integration_are_removed;

    RacyCharge => usage::charges_in_a_crowd_are_exact;
    LimitExclusive => usage::a_charge_stops_at_the_limit;
    RefusedCounts => usage::a_charge_stops_at_the_limit;
    LimitOfDay => usage::a_charge_stops_at_the_limit;
    ChargesLost => usage::no_charge_is_lost;
    RefundOfMonth => usage::a_refund_stops_at_zero;
    RefundIgnored => usage::a_refund_stops_at_zero;
    MonthsTogether => usage::months_and_integrations_are_apart;
    IntegrationsTogether => usage::months_and_integrations_are_apart;
    DaysDescending => usage::days_are_listed;
    EmptyDaysListed => usage::days_are_listed;
    PurgeTakesMonth => usage::a_purge_keeps_the_month;
    TornCharge => usage::a_dropped_charge_is_whole;
}

/// Without a fault the wrappers pass, so what is caught is the fault.
mod unbroken {
    use super::*;

    grantry::store_conformance!(Broken::new(Fault::None));
}

/// A case that no macro names would never run.
#[test]
fn every_case_is_named() {
    let suite = include_str!("../../src/conformance/mod.rs");
    let modules = [
        include_str!("../../src/conformance/connection.rs"),
        include_str!("../../src/conformance/values.rs"),
        include_str!("../../src/conformance/filters.rs"),
        include_str!("../../src/conformance/listing.rs"),
        include_str!("../../src/conformance/attention.rs"),
        include_str!("../../src/conformance/due.rs"),
        include_str!("../../src/conformance/changes.rs"),
        include_str!("../../src/conformance/hot.rs"),
        include_str!("../../src/conformance/cancel.rs"),
        include_str!("../../src/conformance/integration.rs"),
        include_str!("../../src/conformance/pending.rs"),
        include_str!("../../src/conformance/key.rs"),
        include_str!("../../src/conformance/usage.rs"),
    ];
    let mut cases = 0;
    for case in modules
        .iter()
        .flat_map(|module| module.split("pub async fn ").skip(1))
    {
        let name = case.split('<').next().unwrap();
        cases += 1;
        let named = suite
            .split(|c: char| !c.is_alphanumeric() && c != '_')
            .any(|word| word == name);
        assert!(named, "{name} is in no macro");
    }
    assert!(cases > 70, "{cases}");
}
