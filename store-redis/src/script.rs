//! The Lua scripts. Every compound write is one script, so that it is atomic, and every key that a script uses is
//! among its KEYS.
//!
//! A script is called by its hash. A server that does not have it, because it restarted or took over, says so without
//! having done anything, and is then sent the text.

use std::sync::LazyLock;

use redis::{Cmd, ToRedisArgs};

/// A script and its hash.
pub(crate) struct Script {
    text: &'static str,
    hash: String,
}

impl Script {
    fn new(text: &'static str) -> Self {
        let hash = redis::Script::new(text).get_hash().to_owned();
        Self { text, hash }
    }

    /// A call without keys and arguments yet.
    pub(crate) fn call(&'static self) -> Call {
        Call {
            script: self,
            keys: Vec::new(),
            arguments: Vec::new(),
        }
    }

    /// A call with these keys.
    pub(crate) fn on(&'static self, keys: impl IntoIterator<Item = String>) -> Call {
        let mut call = self.call();
        call.keys.extend(keys);
        call
    }
}

/// A call of a script.
pub(crate) struct Call {
    script: &'static Script,
    keys: Vec<String>,
    arguments: Vec<Vec<u8>>,
}

impl Call {
    pub(crate) fn key(&mut self, key: String) -> &mut Self {
        self.keys.push(key);
        self
    }

    pub(crate) fn arg(&mut self, argument: impl ToRedisArgs) -> &mut Self {
        argument.write_redis_args(&mut self.arguments);
        self
    }

    /// For a server that has the script.
    pub(crate) fn by_hash(&self) -> Cmd {
        self.command("EVALSHA", &self.script.hash)
    }

    /// For a server that does not; it has the script afterwards.
    pub(crate) fn whole(&self) -> Cmd {
        self.command("EVAL", self.script.text)
    }

    fn command(&self, name: &str, script: &str) -> Cmd {
        let mut command = redis::cmd(name);
        command.arg(script).arg(self.keys.len());
        command.arg(&self.keys).arg(&self.arguments);
        command
    }
}

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
    /// Finds or writes the store's own record.
    STORE: "store.lua";
    /// Raises the format in the store's own record.
    RAISE: "raise.lua";
    /// Creates a connection.
    INSERT: "facts.lua", "insert.lua";
    /// Replaces a connection.
    SWAP: "swap.lua", "facts.lua", "swap_facts.lua";
    /// Removes a connection.
    REMOVE: "facts.lua", "remove.lua";
    /// Writes hot facts.
    TOUCH: "touch.lua";
    /// Walks over the ids of a filter.
    WALK: "order.lua", "walk.lua";
    /// Reads what is due.
    DUE: "order.lua", "due.lua";
    /// Reads the history of connections.
    HISTORY: "history.lua";
    /// Writes an integration.
    INTEGRATION: "integration.lua";
    /// Lists integrations.
    INTEGRATIONS: "integrations.lua";
    /// Reads an integration by its slug.
    SLUG: "slug.lua";
    /// Writes a key.
    KEY: "key.lua";
    /// Lists or removes the keys of an integration.
    KEYS: "keys.lua";
    /// Puts or takes a single-use entry.
    PENDING: "pending.lua";
    /// Removes what expired.
    PURGE: "purge.lua";
    /// Charges or refunds calls.
    USAGE: "usage.lua";
    /// Removes the usage of months.
    FORGET: "forget.lua";
}
