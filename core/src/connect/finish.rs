//! The second half: finds the attempt that a callback belongs to, and checks that it does.

use std::sync::Arc;

use super::{Attempt, Binding, Outcome, attempt_context, connector::Connector};
use crate::{
    engine::directory::Loaded,
    error::{Code, Error},
    id::IntegrationRef,
    oauth::Callback,
    provider::AuthorizeError,
    store::Taken,
    vault::VaultError,
};

impl Connector {
    /// Finishes a connect attempt with the query that the provider sent the browser back with.
    ///
    /// # Cancel safety
    /// Runs in a task of its own: a closed tab loses nothing.
    pub(crate) async fn finish_connect(
        self: &Arc<Self>,
        path: &IntegrationRef,
        query: &str,
        binding: &Binding,
    ) -> Result<Outcome, Error> {
        let callback = Callback::parse(query)?;
        let key = callback.state().ok_or(Code::CallbackMissingState)?.digest();
        if self.tasks.closing() {
            return Err(Code::ShuttingDown.into());
        }
        let (connector, path, guard) = (self.clone(), path.clone(), *binding.digest());
        let work = async move { connector.take_and_judge(&path, callback, key, guard).await };
        self.tasks
            .run(work)
            .await
            .ok_or_else(|| Error::new(Code::Internal).because("connect_aborted"))?
    }

    async fn take_and_judge(
        self: &Arc<Self>,
        path: &IntegrationRef,
        callback: Callback,
        key: [u8; 32],
        guard: [u8; 32],
    ) -> Result<Outcome, Error> {
        // Everything that can be missing is fetched before the state is used up.
        let integration = self.directory.find(path).await?;
        let now = self.clock.wall();
        let sealed = match self.pending.take_pending(&key, &guard, now).await? {
            Taken::Row(sealed) => sealed,
            Taken::Guarded => return Err(Code::BrowserMismatch.into()),
            Taken::Missing => return Err(Code::StateUnknown.into()),
        };
        // The attempt is bound to its integration under the seal: another one in the path does not open it.
        let opened = match self.vault.open(&attempt_context(&integration.id), &sealed).await {
            Ok(opened) => opened,
            Err(VaultError::Tampered) => return Err(Code::CallbackIntegrationMismatch.into()),
            Err(error) => return Err(error.into()),
        };
        let attempt: Attempt = serde_json::from_slice(opened.expose())
            .map_err(|_| Error::new(Code::StoreCorrupt).because("session_corrupt"))?;
        if attempt.integration != integration.id {
            return Err(Code::CallbackIntegrationMismatch.into());
        }
        Ok(self.judge(&integration, &attempt, callback).await)
    }

    async fn judge(
        self: &Arc<Self>,
        integration: &Arc<Loaded>,
        attempt: &Attempt,
        callback: Callback,
    ) -> Outcome {
        let failed = |error: Error, oauth_error| {
            let return_to = attempt.return_to.clone();
            Outcome::Failed {
                error,
                oauth_error,
                return_to,
            }
        };
        let client = integration.client();
        if let Err(code) = callback.check_issuer(integration.provider.issuer(&client).as_deref()) {
            return failed(code.into(), "server_error");
        }
        if integration.provider.token_host(&client) != attempt.token_host {
            return failed(Code::StateUnknown.into(), "server_error");
        }
        if let Err(error) = integration.usable() {
            return failed(error, "temporarily_unavailable");
        }
        let code = match callback {
            Callback::Code { code, .. } => code,
            Callback::Error { error, .. } => {
                return match error.meaning(integration.provider.facts()) {
                    AuthorizeError::AccessDenied => failed(Code::AccessDenied.into(), "access_denied"),
                    error => failed(
                        Error::new(Code::ProviderRejected).because(error.as_str()),
                        "server_error",
                    ),
                };
            }
        };
        match self.complete(integration, attempt, &code).await {
            Ok((connection, reconnected)) => Outcome::Connected {
                connection,
                reconnected,
                return_to: attempt.return_to.clone(),
            },
            Err(error) => failed(error, "server_error"),
        }
    }
}
