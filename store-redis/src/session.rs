//! A connection as one call uses it.

use std::sync::Arc;

use redis::{
    Cmd, ErrorKind, FromRedisValue, Pipeline, RedisError, RedisResult, ServerErrorKind,
    aio::MultiplexedConnection,
};

use crate::{run::Run, script::Call};

/// A connection, and what is known about the server run behind it.
#[derive(Clone)]
pub(crate) struct Session {
    pub(crate) connection: MultiplexedConnection,
    pub(crate) run: Arc<Run>,
    pub(crate) number: u64,
    /// The call was redirected by `ASK`: the slot is being migrated to this node.
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
        let mut pipe = redis::pipe();
        let (answer,) = self.last_of(&mut pipe, command).await?;
        Ok(answer)
    }

    /// The server's time in seconds and microseconds, and the reply to a command that ran then or a little later.
    pub(crate) async fn since<T: FromRedisValue>(&mut self, command: &Cmd) -> RedisResult<((u64, u64), T)> {
        let mut pipe = redis::pipe();
        pipe.cmd("TIME");
        self.last_of(&mut pipe, command).await
    }

    /// The last reply of a pipeline that ends with this command.
    async fn last_of<T: FromRedisValue>(&mut self, pipe: &mut Pipeline, command: &Cmd) -> RedisResult<T> {
        if self.asking {
            // In the same pipeline, because `ASKING` applies to the connection's next command, even another caller's.
            pipe.cmd("ASKING").ignore();
        }
        pipe.add_command(command.clone());
        pipe.query_async(&mut self.connection)
            .await
            .map_err(
                |error: RedisError| match error.clone().into_server_errors().as_deref() {
                    Some([(_, first), ..]) => first.clone().into(),
                    _ => error,
                },
            )
    }
}
