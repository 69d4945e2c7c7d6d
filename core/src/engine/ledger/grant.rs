//! The token set inside a connection, and its form under the seal: one blob, so that parts of two sets never mix.

use zeroize::Zeroizing;

use crate::{
    connection::GrantVersion,
    error::{Code, Error},
    id::{ConnectionId, IntegrationId},
    provider::{Expiry, TokenSet},
    secret::Secret,
    time::Timestamp,
    vault::{Purpose, SealContext, TokenVault},
};

/// A token set as it is kept.
#[derive(Debug)]
pub(crate) struct Grant {
    pub(crate) access_token: Secret,
    pub(crate) refresh_token: Option<Secret>,
    pub(crate) instance_url: String,
    pub(crate) scopes: Vec<String>,
    pub(crate) obtained_at: Timestamp,
    pub(crate) expiry: Expiry,
}

/// Format byte of the sealed text.
const FORMAT: u8 = 1;

impl Grant {
    /// The set that results from a response and the set that was spent: omitted fields are kept.
    pub(crate) fn merged(answer: TokenSet, spent: &Grant, now: Timestamp) -> Self {
        Self {
            access_token: answer.access_token,
            refresh_token: answer
                .refresh_token
                .or_else(|| spent.refresh_token.as_ref().map(Secret::duplicate)),
            instance_url: answer.instance_url.unwrap_or_else(|| spent.instance_url.clone()),
            scopes: answer.scopes.unwrap_or_else(|| spent.scopes.clone()),
            obtained_at: now,
            expiry: answer.expiry,
        }
    }

    /// An explicit copy; secrets do not implement `Clone`.
    pub(crate) fn duplicate(&self) -> Self {
        Self {
            access_token: self.access_token.duplicate(),
            refresh_token: self.refresh_token.as_ref().map(Secret::duplicate),
            instance_url: self.instance_url.clone(),
            scopes: self.scopes.clone(),
            obtained_at: self.obtained_at,
            expiry: self.expiry,
        }
    }

    /// The token with which the grant is revoked.
    pub(crate) fn revocable(&self) -> &Secret {
        self.refresh_token.as_ref().unwrap_or(&self.access_token)
    }

    /// What is sealed. The buffer is sized once, so that no earlier copy of it is left behind.
    pub(crate) fn encode(&self) -> Zeroizing<Vec<u8>> {
        let refresh = self.refresh_token.as_ref().map_or("", Secret::expose);
        let scopes = self.scopes.join(" ");
        let fields = [self.access_token.expose(), refresh, &self.instance_url, &scopes];
        let size = 18 + fields.iter().map(|f| f.len() + 4).sum::<usize>();
        let mut out = Zeroizing::new(Vec::with_capacity(size));
        let (kind, at) = match self.expiry {
            Expiry::Known(at) => (1, at),
            Expiry::Assumed(at) => (0, at),
        };
        out.push(FORMAT);
        out.push(kind);
        out.extend_from_slice(&at.0.to_le_bytes());
        out.extend_from_slice(&self.obtained_at.0.to_le_bytes());
        for field in fields {
            // Token responses are limited to 16 MiB, so a length always fits.
            out.extend_from_slice(&u32::try_from(field.len()).unwrap_or(u32::MAX).to_le_bytes());
            out.extend_from_slice(field.as_bytes());
        }
        out
    }

    /// Reads what [`Grant::encode`] wrote.
    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, Error> {
        Self::parse(bytes).ok_or_else(|| Error::new(Code::ConnectionCorrupt).because("payload_version"))
    }

    fn parse(bytes: &[u8]) -> Option<Self> {
        let (&format, rest) = bytes.split_first()?;
        let (&kind, rest) = rest.split_first()?;
        let (at, rest) = rest.split_first_chunk::<8>()?;
        let (obtained, mut rest) = rest.split_first_chunk::<8>()?;
        let at = Timestamp(i64::from_le_bytes(*at));
        let mut field = || {
            let (length, tail) = rest.split_first_chunk::<4>()?;
            let (text, tail) = tail.split_at_checked(usize::try_from(u32::from_le_bytes(*length)).ok()?)?;
            rest = tail;
            std::str::from_utf8(text).ok()
        };
        let (access, refresh, instance, scopes) = (field()?, field()?, field()?, field()?);
        (format == FORMAT && rest.is_empty()).then(|| Self {
            access_token: Secret::new(access),
            refresh_token: (!refresh.is_empty()).then(|| Secret::new(refresh)),
            instance_url: instance.to_owned(),
            scopes: scopes
                .split(' ')
                .filter(|s| !s.is_empty())
                .map(str::to_owned)
                .collect(),
            obtained_at: Timestamp(i64::from_le_bytes(*obtained)),
            expiry: if kind == 1 {
                Expiry::Known(at)
            } else {
                Expiry::Assumed(at)
            },
        })
    }
}

/// What a connection's tokens are bound to.
pub(crate) fn tokens_context<'a>(
    integration: &'a IntegrationId,
    connection: &'a ConnectionId,
    version: GrantVersion,
) -> SealContext<'a> {
    SealContext {
        purpose: Purpose::Tokens,
        integration: integration.as_str(),
        subject: connection.as_str(),
        epoch: version.epoch,
        generation: version.generation,
    }
}

/// Opens a row's sealed set.
///
/// # Errors
/// The vault's; `connection_corrupt`.
pub(crate) async fn open(
    vault: &dyn TokenVault,
    integration: &IntegrationId,
    connection: &ConnectionId,
    version: GrantVersion,
    sealed: &[u8],
) -> Result<Grant, Error> {
    let opened = vault
        .open(&tokens_context(integration, connection, version), sealed)
        .await?;
    Grant::decode(opened.expose())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grant() -> Grant {
        Grant {
            access_token: Secret::new("00Dxx!access"),
            refresh_token: Some(Secret::new("5Aep861refresh")),
            instance_url: "https://acme.api.test".to_owned(),
            scopes: vec!["api".to_owned(), "refresh_token".to_owned()],
            obtained_at: Timestamp(17),
            expiry: Expiry::Assumed(Timestamp(1700)),
        }
    }

    #[test]
    fn comes_back_whole() {
        let bytes = grant().encode();
        assert_eq!(bytes.capacity(), bytes.len(), "the buffer never grew");
        let back = Grant::decode(&bytes).unwrap();
        assert_eq!(back.access_token, grant().access_token);
        assert_eq!(back.refresh_token, grant().refresh_token);
        assert_eq!(back.instance_url, grant().instance_url);
        assert_eq!(back.scopes, grant().scopes);
        assert_eq!(
            (back.obtained_at, back.expiry),
            (Timestamp(17), Expiry::Assumed(Timestamp(1700)))
        );
    }

    #[test]
    fn a_cut_or_foreign_payload_is_one_typed_error() {
        let bytes = grant().encode();
        for end in 0..bytes.len() {
            assert_eq!(
                Grant::decode(&bytes[..end]).unwrap_err().reason(),
                Some("payload_version")
            );
        }
        let mut newer = bytes.to_vec();
        newer[0] = 2;
        assert!(Grant::decode(&newer).is_err());
    }

    #[test]
    fn what_an_answer_omits_stays() {
        let answer = TokenSet {
            access_token: Secret::new("new"),
            refresh_token: None,
            instance_url: None,
            scopes: None,
            expiry: Expiry::Known(Timestamp(9)),
            subject: None,
        };
        let merged = Grant::merged(answer, &grant(), Timestamp(5));
        assert_eq!(merged.access_token.expose(), "new");
        assert_eq!(merged.refresh_token, grant().refresh_token);
        assert_eq!(merged.instance_url, grant().instance_url);
        assert_eq!(merged.scopes, grant().scopes);
    }
}
