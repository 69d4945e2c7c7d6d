//! The id token: an RS256 JWT under a key that is published with this crate.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::rand::SystemRandom;
use ring::rsa::{KeyPair, PublicKeyComponents};
use ring::signature::RSA_PKCS1_SHA256;
use serde_json::{Value, json};

use crate::clock::Millis;
use crate::ids;

/// A key for tests only: everybody has it.
const KEY: &[u8] = include_bytes!("id_token_key.der");
const KEY_ID: &str = "simulator-1";

/// The claims of an id token.
#[derive(Debug)]
pub(crate) struct Claims {
    pub(crate) issuer: String,
    pub(crate) subject: String,
    pub(crate) audience: String,
    pub(crate) nonce: Option<String>,
    pub(crate) access_token: String,
    pub(crate) issued_at: Millis,
}

/// Signs id tokens.
#[derive(Debug)]
pub(crate) struct Signer(Option<KeyPair>);

impl Signer {
    pub(crate) fn new() -> Self {
        Self(KeyPair::from_pkcs8(KEY).ok())
    }

    /// The id token with these claims. Valid for two minutes, like Salesforce's default.
    pub(crate) fn sign(&self, claims: &Claims) -> Option<String> {
        const LIFETIME: i64 = 120;
        let key = self.0.as_ref()?;
        let header = json!({ "kid": KEY_ID, "typ": "JWT", "alg": "RS256" });
        let seconds = claims.issued_at.div_euclid(1000);
        let half_hash = URL_SAFE_NO_PAD.encode(&ids::digest(&claims.access_token)[..16]);
        let mut payload = json!({
            "iss": claims.issuer,
            "sub": claims.subject,
            "aud": claims.audience,
            "iat": seconds,
            "exp": seconds + LIFETIME,
            "at_hash": half_hash,
        });
        if let Some(nonce) = &claims.nonce {
            payload["nonce"] = Value::from(nonce.as_str());
        }
        let mut token = URL_SAFE_NO_PAD.encode(header.to_string());
        token.push('.');
        token.push_str(&URL_SAFE_NO_PAD.encode(payload.to_string()));
        let mut signature = vec![0; key.public().modulus_len()];
        key.sign(
            &RSA_PKCS1_SHA256,
            &SystemRandom::new(),
            token.as_bytes(),
            &mut signature,
        )
        .ok()?;
        token.push('.');
        token.push_str(&URL_SAFE_NO_PAD.encode(signature));
        Some(token)
    }

    /// The key set of `/id/keys`.
    pub(crate) fn key_set(&self) -> Value {
        let keys: Vec<Value> = self
            .0
            .iter()
            .map(|key| {
                let public = PublicKeyComponents::<Vec<u8>>::from(key.public());
                json!({
                    "kty": "RSA", "use": "sig", "alg": "RS256", "kid": KEY_ID,
                    "n": URL_SAFE_NO_PAD.encode(public.n), "e": URL_SAFE_NO_PAD.encode(public.e),
                })
            })
            .collect();
        json!({ "keys": keys })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn id_tokens_verify_under_the_published_key() {
        let signer = Signer::new();
        let token = signer
            .sign(&Claims {
                issuer: "http://127.0.0.1".into(),
                subject: "s".into(),
                audience: "a".into(),
                nonce: Some("n".into()),
                access_token: "t".into(),
                issued_at: 1_795_334_400_123,
            })
            .unwrap();
        let (signed, signature) = token.rsplit_once('.').unwrap();
        let keys = signer.key_set();
        let part = |name: &str| {
            URL_SAFE_NO_PAD
                .decode(keys["keys"][0][name].as_str().unwrap())
                .unwrap()
        };
        let key = PublicKeyComponents {
            n: part("n"),
            e: part("e"),
        };
        let signature = URL_SAFE_NO_PAD.decode(signature).unwrap();
        key.verify(
            &ring::signature::RSA_PKCS1_2048_8192_SHA256,
            signed.as_bytes(),
            &signature,
        )
        .unwrap();
    }
}
