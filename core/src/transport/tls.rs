//! TLS for everything that is sent to a provider: rustls with ring, and the roots of the platform.

use std::sync::{Arc, OnceLock};

use rustls::{
    ClientConfig, RootCertStore,
    crypto::{CryptoProvider, ring},
    pki_types::{CertificateDer, pem::PemObject as _},
};
use rustls_platform_verifier::Verifier;

/// Why there is no TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TlsError {
    /// An extra root is not a certificate in PEM.
    #[error("an extra root is not a certificate in PEM")]
    RootInvalid,
    /// The platform has no roots, and none were given.
    #[error("this machine has no root certificates; install its CA package or give roots")]
    NoRoots,
}

/// Root certificates in addition to the platform's, for private CAs.
#[derive(Clone, Debug, Default)]
pub(crate) struct ExtraRoots(Vec<CertificateDer<'static>>);

impl ExtraRoots {
    /// Adds the certificates in `pem`, at least one.
    pub(crate) fn add_pem(&mut self, pem: &[u8]) -> Result<(), TlsError> {
        let before = self.0.len();
        for certificate in CertificateDer::pem_slice_iter(pem) {
            let certificate = certificate.map_err(|_| TlsError::RootInvalid)?;
            let usable = RootCertStore::empty().add(certificate.clone()).is_ok();
            if !usable {
                return Err(TlsError::RootInvalid);
            }
            self.0.push(certificate);
        }
        if self.0.len() == before {
            Err(TlsError::RootInvalid)
        } else {
            Ok(())
        }
    }
}

/// A client configuration without ALPN. With `may_trust_nobody` a machine without roots gets one too: every https request
/// then fails, which does not matter to a host on loopback.
pub(crate) fn client_config(roots: &ExtraRoots, may_trust_nobody: bool) -> Result<ClientConfig, TlsError> {
    let provider = Arc::new(ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .map_err(|_| TlsError::NoRoots)?;
    let config = match verifier(roots, provider) {
        Ok(verifier) => builder
            .dangerous()
            .with_custom_certificate_verifier(verifier)
            .with_no_client_auth(),
        Err(_) if may_trust_nobody => builder
            .with_root_certificates(RootCertStore::empty())
            .with_no_client_auth(),
        Err(_) => return Err(TlsError::NoRoots),
    };
    Ok(config)
}

/// The platform's roots are read once: it takes milliseconds, and every broker needs them twice.
fn verifier(roots: &ExtraRoots, provider: Arc<CryptoProvider>) -> Result<Arc<Verifier>, rustls::Error> {
    static PLATFORM: OnceLock<Arc<Verifier>> = OnceLock::new();
    if !roots.0.is_empty() {
        return Verifier::new_with_extra_roots(roots.0.iter().cloned(), provider).map(Arc::new);
    }
    if let Some(verifier) = PLATFORM.get() {
        return Ok(verifier.clone());
    }
    let verifier = Arc::new(Verifier::new(provider)?);
    Ok(PLATFORM.get_or_init(|| verifier).clone())
}
