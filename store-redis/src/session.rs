//! A connection as a call uses it.

use std::sync::Arc;

use redis::{Cmd, ErrorKind, FromRedisValue, RedisResult, ServerErrorKind, aio::MultiplexedConnection};

use crate::{run::Run, script::Call};

/// A connection, and what is known of the server's run behind it.
#[derive(Clone)]
pub(crate) struct Session {
    pub(crate) connection: MultiplexedConnection,
    pub(crate) run: Arc<Run>,
    pub(crate) number: u64,
    /// The slot is on its way to this node, which serves it to those who say that they were sent.
    pub(crate) asking: bool,
}

impl Session {
    pub(crate) async fn script<T: FromRedisValue>(&mut self, call: &Call) -> RedisResult<T> {
        if self.asking {
            return self.command(&call.whole()).await;
        }
        match call.by_hash().query_async(&mut self.connection).await {
            Err(error) if error.kind() == ErrorKind::Server(ServerErrorKind::NoScript) => {
                call.whole().query_async(&mut self.connection).await
            }
            answer => answer,
        }
    }

    pub(crate) async fn command<T: FromRedisValue>(&mut self, command: &Cmd) -> RedisResult<T> {
        if !self.asking {
            return command.query_async(&mut self.connection).await;
        }
        // Both at once, since it is the connection's next command that may ask, whosever it is.
        let mut pipe = redis::pipe();
        pipe.cmd("ASKING").ignore().add_command(command.clone());
        match pipe.query_async(&mut self.connection).await {
            Ok((answer,)) => Ok(answer),
            Err(error) => Err(match error.clone().into_server_errors().as_deref() {
                Some([(_, first), ..]) => first.clone().into(),
                _ => error,
            }),
        }
    }
}
