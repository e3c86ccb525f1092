//! Signature algorithms: what stands in the header of a JWS or COSE_Sign1, and what kind of key it takes.

use serde::{Deserialize, Serialize};

/// The kind of a signing key.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum KeyType {
    /// RFC 8032; OKP in a JWK (RFC 8037).
    #[default]
    Ed25519,
    /// NIST P-256; EC in a JWK (RFC 7518 section 6.2).
    #[serde(rename = "P-256")]
    P256,
}

impl KeyType {
    /// Every kind.
    pub const ALL: [KeyType; 2] = [KeyType::Ed25519, KeyType::P256];

    /// The JWK `crv`.
    #[must_use]
    pub const fn crv(self) -> &'static str {
        match self {
            Self::Ed25519 => "Ed25519",
            Self::P256 => "P-256",
        }
    }

    /// The JWK `kty`.
    #[must_use]
    pub const fn kty(self) -> &'static str {
        match self {
            Self::Ed25519 => "OKP",
            Self::P256 => "EC",
        }
    }

    /// The algorithm that most verifiers know for it.
    #[must_use]
    pub const fn algorithm(self) -> Algorithm {
        match self {
            Self::Ed25519 => Algorithm::EdDsa,
            Self::P256 => Algorithm::Es256,
        }
    }
}

/// A signature algorithm by its registered name.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Algorithm {
    /// Ed25519 by the name of RFC 8037 section 3.1, which most verifiers know.
    #[default]
    #[serde(rename = "EdDSA")]
    EdDsa,
    /// Ed25519 by the name of RFC 9864, which leaves no doubt about the curve.
    Ed25519,
    /// ECDSA on P-256 with SHA-256 (RFC 7518 section 3.4).
    #[serde(rename = "ES256")]
    Es256,
}

impl Algorithm {
    /// Every algorithm.
    pub const ALL: [Algorithm; 3] = [Algorithm::EdDsa, Algorithm::Ed25519, Algorithm::Es256];
    /// Their JOSE names.
    pub const NAMES: &'static [&'static str] = &[Self::EdDsa.name(), Self::Ed25519.name(), Self::Es256.name()];

    /// The JOSE name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::EdDsa => "EdDSA",
            Self::Ed25519 => "Ed25519",
            Self::Es256 => "ES256",
        }
    }

    /// The COSE number (RFC 9053 section 2, RFC 9864 section 2).
    #[must_use]
    pub const fn number(self) -> i64 {
        match self {
            Self::EdDsa => -8,
            Self::Ed25519 => -19,
            Self::Es256 => -7,
        }
    }

    /// The algorithm of that JOSE name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|algorithm| algorithm.name() == name)
    }

    /// The algorithm of that COSE number.
    #[must_use]
    pub fn from_number(number: i64) -> Option<Self> {
        Self::ALL.into_iter().find(|algorithm| algorithm.number() == number)
    }

    /// The kind of key it takes.
    #[must_use]
    pub const fn key_type(self) -> KeyType {
        match self {
            Self::EdDsa | Self::Ed25519 => KeyType::Ed25519,
            Self::Es256 => KeyType::P256,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_numbers_are_those_of_the_registries() {
        // RFC 8037 section 3.1, RFC 9864 section 2, RFC 7518 section 3.1; RFC 9053 Tables 1 and 2, RFC 9864 section 4.2.
        for (algorithm, name, number) in
            [(Algorithm::EdDsa, "EdDSA", -8), (Algorithm::Ed25519, "Ed25519", -19), (Algorithm::Es256, "ES256", -7)]
        {
            assert_eq!((algorithm.name(), algorithm.number()), (name, number));
            assert_eq!((Algorithm::from_name(name), Algorithm::from_number(number)), (Some(algorithm), Some(algorithm)));
            assert_eq!(serde_json::to_value(algorithm).unwrap(), name);
        }
        assert_eq!((Algorithm::from_name("none"), Algorithm::from_name("HS256"), Algorithm::from_number(0)), (None, None, None));
    }
}
