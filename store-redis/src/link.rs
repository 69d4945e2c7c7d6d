//! Calls to one server or to the nodes of a Cluster: each within the time limit, and never repeated unless that is
//! known to be harmless.

use std::{fmt, future::Future, sync::Arc, time::Duration};

use futures_util::FutureExt as _;
use grantry::time::{BootInstant, Clock as _, SystemClock};
use redis::{Client, RedisResult};

use crate::{
    cluster::Cluster,
    error::{Failure, Trouble},
    node::{Node, Used},
    place::Place,
    session::Session,
};

/// Longer than a healthy server needs.
const A_WHILE: Duration = Duration::from_secs(1);

pub(crate) enum Link {
    Node(Arc<Node>, Duration),
    Cluster(Box<Cluster>, Duration),
}

impl Link {
    /// Makes a call once.
    pub(crate) async fn once<T, F>(
        &self,
        place: Place,
        call: impl Fn(Session) -> F + Send + Sync,
    ) -> Result<T, Failure>
    where
        F: Future<Output = RedisResult<T>> + Send,
    {
        let used = Used::default();
        self.limited(&used, self.attempt(place, &used, &call)).await
    }

    /// Makes a call that may be repeated: once more if the connection was cut, as happens to idle ones. `sure` says
    /// which replies to the second call leave no doubt about the first.
    pub(crate) async fn again<T, F>(
        &self,
        place: Place,
        call: impl Fn(Session) -> F + Send + Sync,
        sure: impl Fn(&T) -> bool + Send,
    ) -> Result<T, Failure>
    where
        F: Future<Output = RedisResult<T>> + Send,
    {
        let used = Used::default();
        let calls = async {
            match self.attempt(place, &used, &call).await {
                Err(failure) if failure.is_cut() => match self.attempt(place, &used, &call).await {
                    Ok(result) if sure(&result) => Ok(result),
                    _ => Err(failure),
                },
                first => first,
            }
        };
        self.limited(&used, calls).await
    }

    /// Makes the same call to every primary in turn. Each reply comes with the primary's address.
    pub(crate) async fn everywhere<T, F>(
        &self,
        call: impl Fn(Session) -> F + Send + Sync,
    ) -> Result<Vec<(Option<String>, T)>, Failure>
    where
        F: Future<Output = RedisResult<T>> + Send,
    {
        let nodes = match self {
            Self::Node(node, _) => vec![(None, node.clone())],
            Self::Cluster(cluster, _) => cluster.primaries().await?,
        };
        let mut answers = Vec::new();
        for (name, node) in nodes {
            let used = Used::default();
            let asked = async { node.attempt(&used, false, &call).await.map_err(|t| t.failure) };
            answers.push((name, self.limited(&used, asked).await?));
        }
        Ok(answers)
    }

    /// A client for a server that receives everything that is published.
    pub(crate) async fn client(&self) -> Result<Client, Failure> {
        let node = match self {
            Self::Node(node, _) => node.clone(),
            Self::Cluster(cluster, _) => cluster.node(&cluster.primary(Place::Store.slot()).await?)?,
        };
        node.client().await.map_err(|error| Failure::of(&error))
    }

    pub(crate) fn is_cluster(&self) -> bool {
        matches!(self, Self::Cluster(..))
    }

    async fn limited<T>(
        &self,
        used: &Used,
        calls: impl Future<Output = Result<T, Failure>>,
    ) -> Result<T, Failure> {
        let (Self::Node(_, limit) | Self::Cluster(_, limit)) = self;
        let mut call = UnderWay {
            link: self,
            used,
            since: SystemClock.boot(),
            is_answered: false,
        };
        if let Ok(answer) = tokio::time::timeout(*limit, calls).await {
            call.is_answered = true;
            return answer;
        }
        self.give_up(used);
        Err(Failure::TIMEOUT)
    }

    /// Gives up on a call without a reply: the next one starts with a new connection.
    fn give_up(&self, used: &Used) {
        used.give_up();
        if let Self::Cluster(cluster, _) = self {
            cluster.mark_stale();
        }
    }

    async fn attempt<T, F>(
        &self,
        place: Place,
        used: &Used,
        call: &(impl Fn(Session) -> F + Send + Sync),
    ) -> Result<T, Failure>
    where
        F: Future<Output = RedisResult<T>> + Send,
    {
        // Boxed, because the future is large and the caller's compiler would lay out every layer of it.
        let made = async {
            match self {
                Self::Node(node, _) => {
                    let made = node.attempt(used, false, call).await;
                    made.map_err(|Trouble { failure, .. }| failure)
                }
                Self::Cluster(cluster, _) => cluster.attempt(place, used, call).await,
            }
        };
        made.boxed().await
    }
}

/// A call in progress. Callers may give up before the time limit, and so may every one of them: a caller that leaves
/// after a while got no reply, either.
struct UnderWay<'a> {
    link: &'a Link,
    used: &'a Used,
    since: BootInstant,
    is_answered: bool,
}

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        if !self.is_answered && SystemClock.boot() - self.since >= A_WHILE {
            self.link.give_up(self.used);
        }
    }
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (kind, limit) = match self {
            Self::Node(_, limit) => ("Node", limit),
            Self::Cluster(_, limit) => ("Cluster", limit),
        };
        f.debug_struct(kind).field("limit", limit).finish_non_exhaustive()
    }
}
