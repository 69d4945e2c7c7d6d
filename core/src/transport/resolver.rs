//! Resolves names and checks the addresses before connecting, so that a name cannot be pointed at this machine or its
//! network between the check and its use.

use std::{
    net::SocketAddr,
    pin::Pin,
    task::{Context, Poll},
    vec,
};

use hyper_util::client::legacy::connect::dns::{GaiResolver, Name};
use tower_service::Service;

use crate::address;

/// Why a name gave no address. The resolver's own text is dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ResolveError {
    /// One of the addresses is not public.
    #[error("the name resolves to a forbidden address")]
    Forbidden,
    /// There is no answer.
    #[error("the name does not resolve")]
    Failed,
}

/// The system's resolver, for public addresses only. Serves reqwest and hyper-util's connector alike.
#[derive(Clone, Debug)]
pub(crate) struct PublicResolver(GaiResolver);

impl PublicResolver {
    pub(crate) fn new() -> Self {
        Self(GaiResolver::new())
    }
}

/// Refuses the whole result if any address is not public: a mixed result is an attack.
fn judge(found: Vec<SocketAddr>) -> Result<Vec<SocketAddr>, ResolveError> {
    if found.is_empty() {
        return Err(ResolveError::Failed);
    }
    if found.iter().all(|found| address::is_public(found.ip())) {
        Ok(found)
    } else {
        Err(ResolveError::Forbidden)
    }
}

async fn resolve(mut system: GaiResolver, name: Name) -> Result<Vec<SocketAddr>, ResolveError> {
    let found = system.call(name).await.map_err(|_| ResolveError::Failed)?;
    judge(found.collect())
}

impl Service<Name> for PublicResolver {
    type Response = vec::IntoIter<SocketAddr>;
    type Error = ResolveError;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, ResolveError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), ResolveError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, name: Name) -> Self::Future {
        let system = self.0.clone();
        Box::pin(async move { Ok(resolve(system, name).await?.into_iter()) })
    }
}

impl reqwest::dns::Resolve for PublicResolver {
    fn resolve(&self, name: reqwest::dns::Name) -> reqwest::dns::Resolving {
        let system = self.0.clone();
        let name = name.as_str().parse::<Name>();
        Box::pin(async move {
            let name = name.map_err(|_| ResolveError::Failed)?;
            let found: reqwest::dns::Addrs = Box::new(resolve(system, name).await?.into_iter());
            Ok(found)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// P43 and P44.
    #[test]
    fn one_forbidden_address_refuses_the_answer() {
        let judge = |found: &[&str]| {
            let found = found.iter().map(|ip| SocketAddr::new(ip.parse().unwrap(), 443));
            judge(found.collect()).map(|found| found.len())
        };
        assert_eq!(judge(&["8.8.8.8", "2606:4700::1111"]), Ok(2));
        assert_eq!(judge(&["8.8.8.8", "10.0.0.1"]), Err(ResolveError::Forbidden));
        assert_eq!(judge(&["::ffff:8.8.8.8"]), Err(ResolveError::Forbidden));
        assert_eq!(judge(&[]), Err(ResolveError::Failed));
    }

    #[tokio::test]
    async fn a_name_of_this_machine_is_forbidden() {
        let name = "localhost".parse().unwrap();
        let answer = PublicResolver::new().call(name).await;
        assert_eq!(answer.unwrap_err(), ResolveError::Forbidden);
    }
}
