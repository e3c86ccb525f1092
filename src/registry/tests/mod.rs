#![expect(clippy::arithmetic_side_effects, reason = "tests count small numbers")]

mod backup;
mod changes;
mod credentials;
mod damage;
mod draft;
mod durability;
mod enrolments;
mod format;
mod inspection;
mod kill;
mod measure;
mod model;
mod revocations;
mod snapshots;
mod torn;
mod trail;

use std::path::Path;
use std::sync::Arc;

use zeroize::Zeroizing;

use super::*;
use crate::clients::{ClientSecret, ClientStore as _, MAX_SECRETS, Status};
use crate::enrolment::{DeviceState, TokenDigest};

const NOW: UnixTime = UnixTime::from_secs(1_795_383_984);

fn options(directory: &Path) -> RegistryOptions {
    RegistryOptions { directory: directory.join("registry"), cache_capacity: 8 << 20 }
}

fn open(directory: &Path) -> Arc<Registry> {
    Registry::open(&options(directory)).unwrap()
}

fn client(id: &str) -> Client {
    let (secret, _) = ClientSecret::generate(&Zeroizing::new([7; 32]), NOW);
    Client {
        client_name: "Pump 7".into(),
        secrets: vec![secret],
        jwks: Vec::new(),
        require_request_binding: false,
        software_id: "pump".into(),
        software_version: "1.2".into(),
        ..Client::new(id.parse().unwrap(), NOW)
    }
}

fn server(id: &str, audience: &str) -> ResourceServer {
    ResourceServer {
        description: "The broker".into(),
        max_token_lifetime: Some(600),
        ..ResourceServer::new(id.parse().unwrap(), audience.into(), NOW)
    }
}

fn scope(name: &str, server: &str) -> Scope {
    Scope {
        description: "Write telemetry".into(),
        permissions: vec!["pub telemetry/{client_id}/#".parse().unwrap()],
        ..Scope::new(name.parse().unwrap(), server.parse().unwrap(), NOW)
    }
}

fn role(name: &str, scope: &str) -> Role {
    Role {
        name: name.parse().unwrap(),
        description: "What pumps do".into(),
        scope: scope.parse().unwrap(),
        created_at: NOW,
        updated_at: NOW,
    }
}

fn id(text: &str) -> ClientId {
    text.parse().unwrap()
}

fn ids(registry: &Registry) -> Vec<String> {
    registry.clients().iter().map(|client| client.client_id.to_string()).collect()
}

fn enrolment(id: &str, template: &str) -> Enrolment {
    Enrolment {
        id: id.parse().unwrap(),
        description: "Hall 7".to_owned(),
        template: template.parse().unwrap(),
        uses: 2,
        used: 0,
        is_limited: false,
        expires_at: NOW.saturating_add(60),
        revoked_at: None,
        digest: TokenDigest::of(b"token"),
        created_at: NOW,
    }
}
