//! Authorization server metadata (RFC 8414): what is enabled, and nothing else.

use serde::Serialize;

use super::Engine;
use crate::clients::{AuthMethod, Channel};
use crate::clock::Confidence;
use crate::jose::{self, Algorithm, seal};
use crate::oauth::{Format, GrantType, Operation, Param, TokenType};

/// The `typ` of signed metadata: no specification gives it one of its own.
const SIGNED_METADATA_TYP: &str = "JWT";

/// The metadata document (RFC 8414 section 2) with members of ours, prefixed `mqtt_`, for what RFC 8414 says in URLs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Metadata {
    /// The issuer identifier.
    pub issuer: String,
    /// Always empty: there is no authorization endpoint, and RFC 8414 requires the member.
    pub response_types_supported: Vec<&'static str>,
    /// The grant types.
    pub grant_types_supported: Vec<&'static str>,
    /// How clients authenticate through this broker.
    pub token_endpoint_auth_methods_supported: Vec<&'static str>,
    /// The algorithms of assertions.
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    pub token_endpoint_auth_signing_alg_values_supported: &'static [&'static str],
    /// How clients authenticate to revoke a token; the same.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub revocation_endpoint_auth_methods_supported: Vec<&'static str>,
    /// How resource servers authenticate to introspect a token; the same.
    pub introspection_endpoint_auth_methods_supported: Vec<&'static str>,
    /// The predefined scopes.
    pub scopes_supported: Vec<String>,
    /// Where things are.
    #[serde(flatten)]
    pub mqtt: MqttMetadata,
    /// All other members, and `iss`, as a JWT signed by the active key (RFC 8414 section 2.1), so that a copy needs no trust in who carries it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub signed_metadata: Option<String>,
}

/// The claims of `signed_metadata`.
#[derive(Serialize)]
struct SignedMetadata<'a> {
    iss: &'a str,
    #[serde(flatten)]
    metadata: &'a Metadata,
}

/// What a client needs to know of the topics.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct MqttMetadata {
    /// Where requests go; `{client_id}`, `{operation}` and `{format}` are to be filled in.
    pub mqtt_request_topic: String,
    /// The retained JWK Set (RFC 7517).
    pub mqtt_jwks_topic: String,
    /// The retained status.
    pub mqtt_status_topic: String,
    /// The retained revocation list of a resource server; `{rs_id}` is to be filled in.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mqtt_trl_topic: Option<String>,
    /// The operations.
    pub mqtt_operations_supported: Vec<&'static str>,
    /// How a device shows through this broker that it may register.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub mqtt_registration_proofs_supported: Vec<&'static str>,
    /// The encodings.
    pub mqtt_formats_supported: Vec<&'static str>,
    /// The types of token: PoP needs assertions, which show possession of a key.
    pub mqtt_token_types_supported: Vec<&'static str>,
    /// The key agreement by which the token of an answer is sealed for who wants it (RFC 7518 section 4.1).
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    pub mqtt_token_encryption_alg_values_supported: &'static [&'static str],
    /// The content encryption of that (RFC 7518 section 5.1).
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    pub mqtt_token_encryption_enc_values_supported: &'static [&'static str],
    /// Bytes of the largest request.
    pub mqtt_max_payload: usize,
    /// How far the gateway trusts its clock.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mqtt_clock: Option<Confidence>,
}

impl Engine {
    /// The metadata to publish through a broker whose topics begin with `prefix`.
    #[must_use]
    pub fn metadata(&self, prefix: &str, channel: Channel) -> Metadata {
        let mut metadata = self.unsigned_metadata(prefix, channel);
        let claims = SignedMetadata { iss: &self.settings.issuer, metadata: &metadata };
        // Signing fails only for claims that are no JSON object. The member is optional: without it the rest still holds.
        metadata.signed_metadata = jose::sign(SIGNED_METADATA_TYP, &claims, self.keys().active()).ok();
        metadata
    }

    fn unsigned_metadata(&self, prefix: &str, channel: Channel) -> Metadata {
        let auth_methods: Vec<_> = {
            let secret = (channel == Channel::Trusted).then_some(AuthMethod::ClientSecretPost);
            let assertion = self.assertions.as_ref().map(|_| AuthMethod::PrivateKeyJwt);
            secret.into_iter().chain(assertion).map(AuthMethod::as_str).collect()
        };
        Metadata {
            issuer: self.settings.issuer.clone(),
            response_types_supported: Vec::new(),
            grant_types_supported: vec![GrantType::ClientCredentials.name()],
            revocation_endpoint_auth_methods_supported: if self.revocations.is_some() { auth_methods.clone() } else { Vec::new() },
            introspection_endpoint_auth_methods_supported: auth_methods.clone(),
            token_endpoint_auth_methods_supported: auth_methods,
            token_endpoint_auth_signing_alg_values_supported: self.assertions.as_ref().map(|_| Algorithm::NAMES).unwrap_or_default(),
            scopes_supported: self.policies.policy().scopes.keys().map(|name| name.as_str().to_owned()).collect(),
            mqtt: MqttMetadata {
                mqtt_request_topic: format!("{prefix}/client/{{client_id}}/{{operation}}/{{format}}"),
                mqtt_jwks_topic: format!("{prefix}/as/jwks"),
                mqtt_status_topic: format!("{prefix}/as/status"),
                mqtt_trl_topic: self.revocations.as_ref().map(|_| format!("{prefix}/rs/{{rs_id}}/trl")),
                mqtt_operations_supported: Operation::ALL
                    .iter()
                    .filter(|operation| self.serves(**operation))
                    .map(|operation| operation.as_str())
                    .collect(),
                mqtt_registration_proofs_supported: {
                    let token = (channel == Channel::Trusted).then_some(Param::InitialAccessToken);
                    let proofs = token.into_iter().chain([Param::EnrolmentMac]).filter(|_| self.serves(Operation::Register));
                    proofs.map(Param::name).collect()
                },
                mqtt_formats_supported: vec![Format::Json.as_str(), Format::Cbor.as_str()],
                mqtt_token_types_supported: {
                    let pop = self.assertions.as_ref().map(|_| TokenType::Pop);
                    std::iter::once(TokenType::Bearer).chain(pop).map(TokenType::name).collect()
                },
                mqtt_token_encryption_alg_values_supported: if self.seals() { &[seal::ALG] } else { &[] },
                mqtt_token_encryption_enc_values_supported: if self.seals() { &[seal::ENC] } else { &[] },
                mqtt_max_payload: self.settings.max_payload,
                mqtt_clock: self.clock().map(|standing| standing.confidence),
            },
            signed_metadata: None,
        }
    }
}
