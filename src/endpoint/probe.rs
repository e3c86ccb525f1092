//! A request of the engine's own: whether a token can be issued now.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde_json::{Map, Value};

use super::{Decision, Engine, Request};
use crate::clients::{Channel, Client, ClientSecret, ClientStore, SecretEntropy};
use crate::clock::UnixTime;
use crate::jose::{Algorithm, JwtError, KeyRing};
use crate::oauth::{ClientId, Format, GrantType, InvalidWord, Operation, Param, ScopeSet};
use crate::policy::{Policy, PolicyStore, ResourceServer, ResourceServerId, Scope, TokenFormat};
use crate::token::{TokenEntropy, verify};

/// The client, in a store of its own that holds nothing else. The engine's own store does not know it.
const CLIENT: &str = "credgate-probe";

/// Why no token can be had.
#[derive(Debug, thiserror::Error)]
pub enum ProbeFault {
    /// A request that nothing is wrong with was refused.
    #[error("a token signed by {alg} was refused: {reason}")]
    Refused {
        /// What the token was to be signed by.
        alg: &'static str,
        /// The reason code.
        reason: &'static str,
    },
    /// The answer has no token in it.
    #[error("the answer to a request for a token signed by {alg} is none")]
    NoToken {
        /// What the token was to be signed by.
        alg: &'static str,
    },
    /// The token does not verify by the JWK Set that is published.
    #[error("a token signed by {alg} does not verify by the published JWK Set")]
    NotVerified {
        /// What the token was signed by.
        alg: &'static str,
        /// Why.
        source: JwtError,
    },
    /// The probe itself cannot be made.
    #[error("the probe cannot be made")]
    Words(#[from] InvalidWord),
}

/// A client, and a resource server for each way to sign.
struct Stage {
    client: Arc<Client>,
    policy: Arc<Policy>,
}

impl ClientStore for Stage {
    fn client(&self, id: &ClientId) -> Option<Arc<Client>> {
        (*id == self.client.client_id).then(|| self.client.clone())
    }
}

impl PolicyStore for Stage {
    fn policy(&self) -> Arc<Policy> {
        self.policy.clone()
    }
}

impl Engine {
    /// Has a client of the probe's own ask for a token of each kind that this gateway signs, through all that a request goes through, with the keys
    /// and settings in use, and checks each by the JWK Set that is published. Changes, counts and remembers nothing.
    ///
    /// The arguments must be fresh random bytes.
    ///
    /// # Errors
    /// [`ProbeFault`] if a device could not get a token, or a resource server would refuse it.
    pub fn probe(&self, secret: &SecretEntropy, entropy: TokenEntropy, now: UnixTime) -> Result<(), ProbeFault> {
        let client_id: ClientId = CLIENT.parse()?;
        // The engine's own stores must answer as well, whatever they say.
        let (policy, _) = (self.policies.policy(), self.clients.client(&client_id));
        let kinds: BTreeSet<(Algorithm, TokenFormat)> = [Default::default()]
            .into_iter()
            .chain(policy.resource_servers.values().map(|server| (server.alg, server.token_format)))
            .collect();
        let (record, secret) = ClientSecret::generate(secret, now);
        let stage = Arc::new(stage(client_id.clone(), record, &kinds, now)?);
        let ring = self.keys();
        let engine = Engine::new(self.settings_in_force(), stage.clone(), stage, KeyRing::clone(&ring));
        for (slot, (alg, _)) in kinds.into_iter().enumerate() {
            let alg = alg.name();
            let payload = payload(&String::from_utf8_lossy(secret.expose()), slot);
            let request = Request {
                client_id: &client_id,
                operation: Operation::Token.as_str(),
                format: Format::Json,
                payload: &payload,
                channel: Channel::Trusted,
                correlation_data: None,
                envelope: Ok(()),
            };
            let reply = engine.handle(&request, now, entropy);
            if let Decision::Refused(refusal) = &reply.decision {
                return Err(ProbeFault::Refused { alg, reason: refusal.reason().name() });
            }
            let answer: Value = serde_json::from_slice(&reply.payload).unwrap_or_default();
            let token = answer.get(Param::AccessToken.name()).and_then(Value::as_str).ok_or(ProbeFault::NoToken { alg })?;
            verify(token, &self.settings.issuer, Some(&audience(slot)), &ring.jwk_set(), now)
                .map_err(|source| ProbeFault::NotVerified { alg, source })?;
        }
        Ok(())
    }
}

fn audience(slot: usize) -> String {
    format!("urn:credgate:probe:{slot}")
}

fn stage(
    client_id: ClientId,
    secret: ClientSecret,
    kinds: &BTreeSet<(Algorithm, TokenFormat)>,
    now: UnixTime,
) -> Result<Stage, InvalidWord> {
    let mut policy = Policy::default();
    for (slot, (alg, token_format)) in kinds.iter().enumerate() {
        let id: ResourceServerId = format!("probe-{slot}").parse()?;
        let scope = Scope::new(format!("probe-{slot}").parse()?, id.clone(), now);
        let server = ResourceServer { alg: *alg, token_format: *token_format, ..ResourceServer::new(id.clone(), audience(slot), now) };
        policy.scopes.insert(scope.name.clone(), Arc::new(scope));
        policy.resource_servers.insert(id, Arc::new(server));
    }
    let scope: ScopeSet = policy.scopes.keys().cloned().collect();
    let client = Client { scope, secrets: vec![secret], ..Client::new(client_id, now) };
    Ok(Stage { client: Arc::new(client), policy: Arc::new(policy) })
}

fn payload(secret: &str, slot: usize) -> Vec<u8> {
    let members: Map<String, Value> = [
        (Param::GrantType, GrantType::ClientCredentials.name().to_owned()),
        (Param::ClientSecret, secret.to_owned()),
        (Param::Audience, audience(slot)),
    ]
    .into_iter()
    .map(|(param, value)| (param.name().to_owned(), Value::String(value)))
    .collect();
    Value::Object(members).to_string().into_bytes()
}

#[cfg(test)]
mod tests {
    use zeroize::Zeroizing;

    use super::*;
    use crate::endpoint::Settings;
    use crate::jose::SigningKey;
    use crate::token::Lifetimes;

    const NOW: UnixTime = UnixTime::from_secs(1_795_383_984);

    /// A gateway without clients, whose resource servers want these algorithms.
    fn engine(wanted: &[(Algorithm, TokenFormat)], max_payload: usize) -> Engine {
        let server = |(slot, (alg, token_format)): (usize, &(Algorithm, TokenFormat))| {
            let id: ResourceServerId = format!("rs{slot}").parse().unwrap();
            let server =
                ResourceServer { alg: *alg, token_format: *token_format, ..ResourceServer::new(id.clone(), format!("urn:{slot}"), NOW) };
            (id, Arc::new(server))
        };
        let resource_servers = wanted.iter().enumerate().map(server).collect();
        let nobody = Client::new("somebody".parse().unwrap(), NOW);
        let store = Arc::new(Stage { client: Arc::new(nobody), policy: Arc::new(Policy { resource_servers, ..Policy::default() }) });
        let settings = Settings { issuer: "https://as.example".into(), lifetimes: Lifetimes { default: 300, maximum: 3_600 }, max_payload };
        let keys = KeyRing::new(Arc::new(SigningKey::from_seed(&Zeroizing::new([9; 32]))), Vec::new());
        Engine::new(settings, store.clone(), store, keys)
    }

    fn probe(engine: &Engine) -> Result<(), String> {
        engine.probe(&Zeroizing::new([7; 32]), [3; 16], NOW).map_err(|fault| fault.to_string())
    }

    #[test]
    fn a_token_of_every_kind_can_be_had() {
        let engine = engine(&[(Algorithm::Ed25519, TokenFormat::Cwt), (Algorithm::EdDsa, TokenFormat::Jwt)], 256);
        assert_eq!(probe(&engine), Ok(()));
        let p256 = Arc::new(SigningKey::from_p256_scalar(&Zeroizing::new([1; 32])).unwrap());
        engine.set_keys(KeyRing::clone(&engine.keys()).with(KeyRing::new(p256, Vec::new())));
        assert_eq!(probe(&engine), Ok(()));
    }

    #[test]
    fn deny_without_a_key_that_a_resource_server_wants() {
        let lacking = engine(&[(Algorithm::Es256, TokenFormat::Jwt)], 256);
        assert_eq!(probe(&lacking), Err("a token signed by ES256 was refused: internal".into()));
        let p256 = Arc::new(SigningKey::from_p256_scalar(&Zeroizing::new([1; 32])).unwrap());
        lacking.set_keys(KeyRing::clone(&lacking.keys()).with(KeyRing::new(p256, Vec::new())));
        assert_eq!(probe(&lacking), Ok(()));
    }

    #[test]
    fn deny_if_no_request_can_be_read() {
        assert_eq!(probe(&engine(&[], 100)), Err("a token signed by EdDSA was refused: oversized".into()));
    }

    #[test]
    fn deny_the_probes_client_to_everybody_else() {
        let engine = engine(&[], 256);
        assert_eq!(probe(&engine), Ok(()));
        let (_, secret) = ClientSecret::generate(&Zeroizing::new([7; 32]), NOW);
        let client_id = CLIENT.parse().unwrap();
        let request = Request {
            client_id: &client_id,
            operation: "token",
            format: Format::Json,
            payload: &payload(&String::from_utf8_lossy(secret.expose()), 0),
            channel: Channel::Trusted,
            correlation_data: None,
            envelope: Ok(()),
        };
        let Decision::Refused(refusal) = engine.handle(&request, NOW, [3; 16]).decision else { panic!("a token for the probe's client") };
        assert_eq!(refusal.reason().name(), "unknown_client");
    }
}
