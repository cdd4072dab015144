//! The keys that signatures are checked with. A key is for one algorithm, which comes from what the key is and never from
//! what a token asks for (RFC 8725 section 3.1).

use std::{fmt, str::FromStr};

use jsonwebtoken::{Algorithm, DecodingKey, DecodingKeyKind, crypto};
use serde_json::{Map, Value};

/// What public keys can verify here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PublicAlgorithm {
    /// RSA, PKCS #1 v1.5, SHA-256.
    Rs256,
    /// ECDSA on P-256, SHA-256.
    Es256,
    /// Ed25519.
    EdDsa,
}

impl PublicAlgorithm {
    /// As `alg` in a token's header names it (RFC 7518 section 3.1, RFC 8037 section 3.1).
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Rs256 => "RS256",
            Self::Es256 => "ES256",
            Self::EdDsa => "EdDSA",
        }
    }
}

impl FromStr for PublicAlgorithm {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let known = [Self::Rs256, Self::Es256, Self::EdDsa];
        let found = known.into_iter().find(|known| known.as_str() == text);
        found.ok_or("use RS256, ES256 or EdDSA; a secret is no public key")
    }
}

impl From<PublicAlgorithm> for Algorithm {
    fn from(algorithm: PublicAlgorithm) -> Self {
        match algorithm {
            PublicAlgorithm::Rs256 => Self::RS256,
            PublicAlgorithm::Es256 => Self::ES256,
            PublicAlgorithm::EdDsa => Self::EdDSA,
        }
    }
}

/// A key and what it is called in error messages.
pub struct Key {
    algorithm: Algorithm,
    decoding: DecodingKey,
    /// `JWT_SECRET`, or the flag that it came from.
    pub name: &'static str,
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Key")
            .field("algorithm", &self.algorithm)
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

/// Shortest RSA key in bytes of its encoding: that of a modulus of 2,048 bits (RFC 7518 section 3.3).
const RSA_MIN_BYTES: usize = 256;
/// An uncompressed point of P-256 (SEC 1 section 2.3.3).
const P256_POINT_BYTES: usize = 65;
/// A key of Ed25519 (RFC 8032 section 5.1.5).
const ED25519_BYTES: usize = 32;

impl Key {
    /// A secret that signs and verifies, with HS256.
    pub fn of_secret(secret: &[u8], name: &'static str) -> Self {
        Self {
            algorithm: Algorithm::HS256,
            decoding: DecodingKey::from_secret(secret),
            name,
        }
    }

    /// A public key in PEM: RSA for RS256, P-256 for ES256, Ed25519 for EdDSA. An error says what is wrong and what to do.
    pub fn of_pem(pem: &[u8], name: &'static str) -> Result<Self, &'static str> {
        let text = String::from_utf8_lossy(pem);
        if text.contains("PRIVATE KEY-----") {
            return Err(
                "holds a private key, which stays with the backend: give its public half (openssl pkey -in key.pem -pubout)",
            );
        }
        if text.contains("BEGIN CERTIFICATE-----") {
            return Err(
                "holds a certificate: give the key in it (openssl x509 -in cert.pem -pubkey -noout)",
            );
        }
        let families = [
            (Algorithm::RS256, DecodingKey::from_rsa_pem(pem)),
            (Algorithm::ES256, DecodingKey::from_ec_pem(pem)),
            (Algorithm::EdDSA, DecodingKey::from_ed_pem(pem)),
        ];
        let found = families
            .into_iter()
            .find_map(|(algorithm, key)| Some((algorithm, key.ok()?)));
        let Some((algorithm, decoding)) = found else {
            return Err(
                "holds no public key that is known: give one in PEM (-----BEGIN PUBLIC KEY-----) of RSA, P-256 or Ed25519",
            );
        };
        Self::of(algorithm, decoding, name)
    }

    /// A public key as a JSON Web Key (RFC 7517) for `algorithm`: RSA, or P-256 or Ed25519 (RFC 7518 section 6, RFC 8037).
    /// A key for anything else, and a secret, is an error.
    pub fn of_jwk(
        jwk: &Map<String, Value>,
        algorithm: PublicAlgorithm,
        name: &'static str,
    ) -> Result<Self, &'static str> {
        const DAMAGED: &str = "holds a damaged key";
        let text = |field| jwk.get(field).and_then(Value::as_str);
        if text("use").is_some_and(|purpose| purpose != "sig") {
            return Err("holds a key that is not for signatures");
        }
        if text("alg").is_some_and(|theirs| theirs != algorithm.as_str()) {
            return Err("holds a key for another algorithm");
        }
        let part = |field| text(field).ok_or(DAMAGED);
        let decoding = match (algorithm, text("kty"), text("crv")) {
            (PublicAlgorithm::Rs256, Some("RSA"), _) => {
                DecodingKey::from_rsa_components(part("n")?, part("e")?)
            }
            (PublicAlgorithm::Es256, Some("EC"), Some("P-256")) => {
                DecodingKey::from_ec_components(part("x")?, part("y")?)
            }
            (PublicAlgorithm::EdDsa, Some("OKP"), Some("Ed25519")) => {
                DecodingKey::from_ed_components(part("x")?)
            }
            _ => return Err("holds a key for another algorithm"),
        };
        Self::of(algorithm.into(), decoding.map_err(|_| DAMAGED)?, name)
    }

    fn of(
        algorithm: Algorithm,
        decoding: DecodingKey,
        name: &'static str,
    ) -> Result<Self, &'static str> {
        let bytes = match decoding.kind() {
            DecodingKeyKind::SecretOrDer(bytes) => bytes.len(),
            DecodingKeyKind::RsaModulusExponent { n, .. } => n.len(),
        };
        match algorithm {
            Algorithm::RS256 if bytes < RSA_MIN_BYTES => Err(
                "holds an RSA key of fewer than 2,048 bits, which can be broken: make a longer one",
            ),
            Algorithm::ES256 if bytes != P256_POINT_BYTES => {
                Err("holds a key of another curve than P-256: ES256 is what is supported")
            }
            Algorithm::EdDSA if bytes != ED25519_BYTES => {
                Err("holds a key of another curve than Ed25519, which alone is supported for EdDSA")
            }
            _ => Ok(Self {
                algorithm,
                decoding,
                name,
            }),
        }
    }

    /// As `alg` in a token's header names it.
    pub fn algorithm(&self) -> &'static str {
        match self.algorithm {
            Algorithm::RS256 => "RS256",
            Algorithm::ES256 => "ES256",
            Algorithm::EdDSA => "EdDSA",
            _ => "HS256",
        }
    }

    /// Whether whoever verifies with it can sign, too.
    pub fn is_shared(&self) -> bool {
        self.algorithm == Algorithm::HS256
    }

    /// Whether `signature` is of `message`; `None` when it is no base64url.
    pub(super) fn verifies(&self, signature: &str, message: &str) -> Option<bool> {
        crypto::verify(
            signature,
            message.as_bytes(),
            &self.decoding,
            self.algorithm,
        )
        .ok()
    }
}
