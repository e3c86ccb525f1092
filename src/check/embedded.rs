//! The embedded broker: its certificate, and where it listens.

use std::net::SocketAddr;

use super::broker::days_left;
use super::{Finding, Findings, World};
use crate::config::EmbeddedBrokerSection;
use crate::tls::{CertificateFacts, TlsError, first_certificate, server_config, verify_file};

pub(super) fn certificate(world: &World<'_>) -> Findings {
    let config = world.config()?;
    if !config.file.embedded_broker.enabled {
        return Err(Finding::skipped("the embedded broker is off"));
    }
    let (path, key) = (config.broker_certificate(), config.broker_private_key());
    let replace = "make a new certificate: see docs/operations.md, The embedded broker's certificate";
    server_config(&path, &key).map_err(|error| {
        let advice = match error {
            TlsError::Read { .. } => "make it with `credgate init`, or correct embedded-broker.certificate-file",
            _ => "correct embedded-broker.certificate-file and embedded-broker.private-key-file",
        };
        Finding::error(error.to_string(), advice)
    })?;
    let facts = first_certificate(&path).ok().and_then(|certificate| CertificateFacts::of(&certificate));
    let facts = facts.ok_or_else(|| Finding::error(format!("{}: the certificate cannot be read", path.display()), replace))?;
    let mut findings = vec![days_left(&path.display().to_string(), &facts, config, world.now(), replace)];
    let Some(name) = facts.names.first() else {
        findings.push(Finding::error(format!("{}: it holds no name, and no device accepts it", path.display()), replace));
        return Ok(findings);
    };
    findings.push(Finding::ok(format!("it is for {}", facts.names.join(", "))));
    // Of another CA the devices' copy is not known here.
    let ca = config.tls_directory().join("ca.crt");
    let is_own = path == config.tls_directory().join("broker.crt") && ca.exists();
    let is_in_time = facts.not_before <= world.now() && world.now() < facts.not_after;
    if is_own
        && is_in_time
        && let Err(error) = verify_file(&path, &ca, name, world.now())
    {
        let what = format!("{}: devices that trust {} do not accept it: {error}", path.display(), ca.display());
        findings.push(Finding::error(what, replace));
    }
    Ok(findings)
}

pub(super) fn listeners(world: &World<'_>) -> Findings {
    let config = world.config()?;
    let mut findings = Vec::new();
    for address in config.file.http.listen.iter().filter(|address| address.is_remote()) {
        let what = format!("metrics and health are served on {address} to other hosts, without TLS or a password");
        findings.push(Finding::warning(what, "set http.listen to a loopback address unless the network in between is trusted"));
    }
    if config.file.embedded_broker.enabled {
        findings.extend(of_broker(world, &config.file.embedded_broker));
    } else if findings.is_empty() {
        return Err(Finding::skipped("the embedded broker is off: no other host reaches the gateway"));
    }
    Ok(findings)
}

fn of_broker(world: &World<'_>, section: &EmbeddedBrokerSection) -> Vec<Finding> {
    let in_use: Vec<SocketAddr> = match world.running() {
        Ok(status) => status.embedded_broker.iter().flat_map(|listener| &listener.addresses).filter_map(|text| text.parse().ok()).collect(),
        Err(_) => section.listen.clone(),
    };
    let told = in_use.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    // Port 0 is any port, and [::] is 0.0.0.0 on a host without IPv6.
    let is_meant = |address: &SocketAddr| {
        section.listen.iter().any(|meant| {
            let same_host = meant.ip() == address.ip() || (meant.ip().is_unspecified() && address.ip().is_unspecified());
            same_host && (meant.port() == 0 || meant.port() == address.port())
        })
    };
    let mut findings = Vec::new();
    if in_use.len() != section.listen.len() || !in_use.iter().all(is_meant) {
        let what = format!("the gateway listens on {told}, and embedded-broker.listen says otherwise");
        findings.push(Finding::warning(what, "restart the gateway to apply the configuration"));
    }
    if in_use.iter().all(|address| address.ip().is_loopback()) {
        let what = format!("the embedded broker listens on {told} alone: no device but this host reaches it");
        findings.push(Finding::warning(what, "set embedded-broker.listen to an address that devices reach, such as [::]:8883"));
    }
    if findings.is_empty() {
        findings.push(Finding::ok(format!("the embedded broker listens on {told}, by TLS")));
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::super::Outcome;
    use super::super::host::tests::host;
    use super::super::world::tests::running;
    use super::*;
    use crate::admin::ListenerStatus;

    #[test]
    fn other_addresses_than_configured_are_told() {
        let (_directory, host) = host(&[]);
        let on = |addresses: &[&str]| {
            let addresses = addresses.iter().map(|address| (*address).to_owned()).collect();
            let world = running(&host, |status| status.embedded_broker = Some(ListenerStatus { addresses, ..ListenerStatus::default() }));
            listeners(&world).unwrap().iter().map(|finding| finding.outcome).collect::<Vec<_>>()
        };
        if cfg!(feature = "embedded-broker") {
            assert_eq!(on(&["[::]:8883"]), [Outcome::Ok]);
            assert_eq!(on(&["0.0.0.0:8883"]), [Outcome::Ok]);
            assert_eq!(on(&["[::]:8884"]), [Outcome::Warning]);
            assert_eq!(on(&["127.0.0.1:8883"]), [Outcome::Warning, Outcome::Warning]);
        }
    }
}
