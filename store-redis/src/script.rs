//! The scripts. Each compound write is one of them, so that it is done whole or not at all, and every key that one uses
//! is among its KEYS.
//!
//! A script is sent by its hash; a server that does not have it (it was restarted, or another one took over) says so and
//! has done nothing, and is given the text.

use std::sync::LazyLock;

use redis::Script;

macro_rules! scripts {
    ($($(#[$doc:meta])* $name:ident: $($file:literal),+;)*) => {
        $(
            $(#[$doc])*
            pub(crate) static $name: LazyLock<Script> =
                LazyLock::new(|| Script::new(concat!($(include_str!(concat!("lua/", $file)), "\n"),+)));
        )*
    };
}

scripts! {
    /// Finds or writes the store's record of itself.
    STORE: "store.lua";
    /// Creates a connection.
    INSERT: "common.lua", "insert.lua";
    /// Replaces a connection.
    SWAP: "common.lua", "swap.lua";
    /// Removes a connection.
    REMOVE: "common.lua", "remove.lua";
    /// Reads a connection and the time.
    READ: "read.lua";
    /// Writes hot facts.
    TOUCH: "touch.lua";
    /// Walks over the ids of a filter.
    WALK: "walk.lua";
    /// Reads the history of connections.
    HISTORY: "history.lua";
    /// Writes an integration.
    INTEGRATION: "integration.lua";
    /// Lists integrations.
    INTEGRATIONS: "integrations.lua";
    /// Writes a key.
    KEY: "key.lua";
    /// Lists or removes the keys of an integration.
    KEYS: "keys.lua";
    /// Puts or takes what may be used once.
    PENDING: "pending.lua";
    /// Removes what expired.
    PURGE: "purge.lua";
    /// Charges or refunds calls.
    USAGE: "usage.lua";
    /// Removes the usage of months.
    FORGET: "forget.lua";
}
