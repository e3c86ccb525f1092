//! Requests of a client for another credential.

use serde_cbor::Value as Structure;

use super::super::{Format, Operation, Param, Refusal};
use super::{Ask, ClientRequest, Params};

/// A well-formed request for another credential.
pub type CredentialRequest = ClientRequest<CredentialAsk>;

/// What a client wants in place of the credential that it authenticates by.
#[derive(Debug)]
pub enum CredentialAsk {
    /// A secret that the gateway makes.
    Secret,
    /// To use this public key from now on: a JWK, as it stands.
    Jwk(Structure),
    /// The same as a COSE_Key.
    CoseKey(Structure),
}

impl Ask for CredentialAsk {
    const OPERATION: Operation = Operation::Credential;

    fn read(params: &Params) -> Result<Self, Refusal> {
        Ok(match (params.structure(Param::Jwk)?, params.format) {
            (None, _) => Self::Secret,
            (Some(key), Format::Json) => Self::Jwk(key.clone()),
            (Some(key), Format::Cbor) => Self::CoseKey(key.clone()),
        })
    }

    fn bound(params: &Params) -> Vec<(Param, Structure)> {
        params.bound_structure(Param::Jwk).into_iter().collect()
    }

    /// Whoever carries an assertion must not be able to put another key beside it.
    fn must_be_bound(&self) -> bool {
        true
    }
}
