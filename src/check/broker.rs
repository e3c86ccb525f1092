//! The user's own broker, by a real conversation: what it lets the gateway do, and what it lets strangers do.
//!
//! Harmless: the probes have MQTT client ids of their own, publish empty messages to topics that are no device's, and leave nothing behind.

use std::sync::Arc;
use std::time::Duration;

use super::{Finding, Findings, Outcome, World};
use crate::clock::UnixTime;
use crate::config::{BrokerAddress, Config};
use crate::mqtt::Topics;
use crate::mqtt::link::{Probe, ProbeError, ProbeOptions};
use crate::oauth::Secret;
use crate::tls::{CertificateFacts, Inspector, TlsError};

/// Connections that the broker may close before somebody should look: one restart of it closes one.
const CLOSED_OFTEN: u64 = 3;
/// Bounds all probes together.
const PATIENCE: Duration = Duration::from_secs(60);

/// What was seen of the broker.
pub(super) struct BrokerFacts {
    address: String,
    /// CONNECT as the gateway, and whatever ended its conversation.
    connected: Result<(), ProbeError>,
    /// SUBSCRIBE to requests as the gateway.
    subscribed: Result<(), String>,
    /// PUBLISH of an answer as the gateway.
    answered: Result<(), String>,
    /// Whether what is published below the requests arrives.
    delivered: bool,
    /// PUBLISH of a retained message as the gateway.
    announced: Result<(), String>,
    strangers: Vec<Stranger>,
    /// What the broker showed, and whether it was accepted.
    certificate: Option<(CertificateFacts, bool)>,
}

/// Somebody whom the broker does not know.
struct Stranger {
    who: &'static str,
    /// What the broker said to CONNECT.
    let_in: Result<(), String>,
    /// Whether it overheard a message below the clients' topics.
    overheard: bool,
    /// Whether the broker took a message below the gateway's own topics.
    forged: bool,
}

/// Topics for probes alone.
struct ProbeTopics {
    /// Matches the filter of requests, and is none: no client id has a tilde.
    echo: String,
    /// Below the gateway's retained messages.
    announcement: String,
    /// All requests.
    requests: String,
    /// Everything of all clients.
    clients: String,
}

impl ProbeTopics {
    fn new(topics: &Topics, mark: &str) -> Self {
        let prefix = topics.prefix();
        Self {
            echo: format!("{prefix}/client/~{mark}/check/none"),
            announcement: format!("{}~{mark}", topics.server_root()),
            requests: topics.request_filter(),
            clients: format!("{prefix}/client/#"),
        }
    }
}

impl BrokerFacts {
    /// Looks at the broker of the configuration. Takes seconds, and never more than a minute.
    pub(super) fn gather(config: &Config) -> Result<Self, Finding> {
        let address = config.broker_address().ok_or_else(|| Finding::skipped("no broker of your own is configured"))?;
        let failed = |error: &dyn std::error::Error| Finding::error(error.to_string(), "correct the settings of [broker]");
        let (tls, inspector) = match address.tls {
            false => (None, None),
            true => {
                let (tls, inspector) =
                    Inspector::client(config.link_ca_file(), config.link_identity()).map_err(|error: TlsError| failed(&error))?;
                (Some(tls), Some(inspector))
            }
        };
        let password = config.read_link_password().map_err(|error| failed(&error))?;
        let mut mark = [0_u8; 8];
        getrandom::fill(&mut mark).map_err(|error| Finding::skipped(format!("the system gave no random bytes: {error}")))?;
        let mark: String = mark.iter().map(|byte| format!("{byte:02x}")).collect();
        let visit = Visit {
            address,
            tls,
            client_id: format!("{}-check-{mark}", config.file.broker.client_id),
            topics: ProbeTopics::new(config.topics(), &mark),
        };
        let username = config.link_username().unwrap_or_default().to_owned();
        let credentials =
            password.map(|password| (username.clone(), password)).or((!username.is_empty()).then(|| (username, Secret::new(Vec::new()))));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(|error| failed(&error))?;
        let facts = runtime.block_on(async { tokio::time::timeout(PATIENCE, visit.run(credentials)).await });
        let mut facts = facts
            .map_err(|_| Finding::error(format!("{address} does not get on within {} s", PATIENCE.as_secs()), "see the broker's log"))?;
        let shown = inspector.and_then(|inspector| inspector.shown());
        facts.certificate = shown.and_then(|shown| Some((CertificateFacts::of(&shown.certificate)?, shown.is_accepted)));
        Ok(facts)
    }
}

/// All probes of one broker.
struct Visit<'a> {
    address: &'a BrokerAddress,
    tls: Option<Arc<rustls::ClientConfig>>,
    client_id: String,
    topics: ProbeTopics,
}

impl Visit<'_> {
    fn options(&self, suffix: &str, credentials: Option<(String, Secret)>) -> ProbeOptions {
        ProbeOptions {
            host: self.address.host.clone(),
            port: self.address.port,
            tls: self.tls.clone(),
            client_id: format!("{}{suffix}", self.client_id),
            credentials,
        }
    }

    async fn run(&self, credentials: Option<(String, Secret)>) -> BrokerFacts {
        let unasked = || Err("not asked".to_owned());
        let mut facts = BrokerFacts {
            address: self.address.to_string(),
            connected: Ok(()),
            subscribed: unasked(),
            answered: unasked(),
            delivered: false,
            announced: unasked(),
            strangers: Vec::new(),
            certificate: None,
        };
        let mut own = match Probe::connect(self.options("", credentials)).await {
            Ok(probe) => Some(probe),
            Err(error) => {
                facts.connected = Err(error);
                None
            }
        };
        if let Some(probe) = &mut own
            && let Err(error) = self.look(probe, &mut facts).await
        {
            facts.connected = Err(error);
            own = None;
        }
        // Who is not reached is not asked, either.
        let is_there = own.is_some() || matches!(facts.connected, Err(ProbeError::Refused(_)));
        if is_there {
            let invented = || ("credgate-check-nobody".to_owned(), Secret::new(self.client_id.clone().into_bytes()));
            for (who, suffix, credentials) in [("without credentials", "-1", None), ("with invented credentials", "-2", Some(invented()))] {
                let stranger = self.knock(who, self.options(suffix, credentials), own.as_mut()).await;
                facts.strangers.push(stranger);
            }
        }
        if let Some(probe) = own {
            probe.disconnect().await;
        }
        facts
    }

    /// What the gateway may do.
    async fn look(&self, probe: &mut Probe, facts: &mut BrokerFacts) -> Result<(), ProbeError> {
        facts.subscribed = probe.subscribe(&self.topics.requests).await?;
        facts.answered = probe.publish(&self.topics.echo, false).await?;
        facts.delivered = facts.answered.is_ok() && facts.subscribed.is_ok() && probe.receives(&self.topics.echo).await?;
        facts.announced = probe.publish(&self.topics.announcement, true).await?;
        Ok(())
    }

    /// What a stranger may do. `own` says something that a stranger should not hear.
    async fn knock(&self, who: &'static str, options: ProbeOptions, own: Option<&mut Probe>) -> Stranger {
        let mut stranger = Stranger { who, let_in: Ok(()), overheard: false, forged: false };
        let mut probe = match Probe::connect(options).await {
            Ok(probe) => probe,
            Err(error) => {
                stranger.let_in = Err(error.to_string());
                return stranger;
            }
        };
        // A broker that ends the connection lets nothing more happen.
        if let (Ok(Ok(())), Some(own)) = (probe.subscribe(&self.topics.clients).await, own)
            && let Ok(Ok(())) = own.publish(&self.topics.echo, false).await
        {
            stranger.overheard = probe.receives(&self.topics.echo).await.unwrap_or(false);
        }
        stranger.forged = matches!(probe.publish(&self.topics.announcement, true).await, Ok(Ok(())));
        probe.disconnect().await;
        stranger
    }
}

pub(super) fn connection(world: &World<'_>) -> Findings {
    let facts = world.broker()?;
    match &facts.connected {
        Ok(()) => Ok(vec![Finding::ok(format!("{} lets the gateway's user in", facts.address))]),
        Err(error) => Err(Finding::error(error.to_string(), "correct the settings of [broker], or the broker; its log says more")),
    }
}

pub(super) fn certificate(world: &World<'_>) -> Findings {
    let (config, facts) = (world.config()?, world.broker()?);
    if config.broker_address().is_some_and(|address| !address.tls) {
        return Err(Finding::skipped("the broker is on this host, and is spoken to without TLS"));
    }
    let shown = facts.certificate.as_ref();
    let (certificate, is_accepted) = shown.ok_or_else(|| Finding::skipped("the broker showed no certificate: see broker-connection"))?;
    let renew = "renew the broker's certificate and reload the broker";
    let mut findings = vec![days_left(&facts.address, certificate, config, world.now(), renew)];
    findings.push(Finding::ok(format!("it is for {}", certificate.names.join(", "))));
    // The probe was told why, in the words of the link.
    if let (false, Err(error), true) = (is_accepted, &facts.connected, findings.iter().all(|finding| finding.outcome != Outcome::Error)) {
        findings
            .push(Finding::error(error.to_string(), "correct broker.url or broker.ca-file, or give the broker a certificate for its name"));
    }
    Ok(findings)
}

/// How long a certificate is still valid.
pub(super) fn days_left(what: &str, certificate: &CertificateFacts, config: &Config, now: UnixTime, advice: &str) -> Finding {
    let CertificateFacts { not_before, not_after, .. } = certificate;
    let left = not_after.as_secs().saturating_sub(now.as_secs());
    if *not_before > now {
        return Finding::error(
            format!("{what}: the certificate is valid from {not_before} on, and it is {now}"),
            "is the clock right? See the check clock",
        );
    }
    let told = format!("{what}: the certificate is valid until {not_after}");
    if left == 0 {
        Finding::error(format!("{what}: the certificate has expired at {not_after}"), advice)
    } else if left < u64::from(config.file.check.certificate_warning) {
        Finding::warning(format!("{told}, which is in {} days", left / 86_400), advice)
    } else {
        Finding::ok(told)
    }
}

pub(super) fn acl(world: &World<'_>) -> Findings {
    let (config, facts) = (world.config()?, world.broker()?);
    if facts.connected.is_err() {
        return Err(Finding::skipped("the broker does not let the gateway in: see broker-connection"));
    }
    let prefix = config.topics().prefix();
    let advice = format!(
        "let the gateway's user read and write below {prefix}/ (Mosquitto ACL file: `topic readwrite {prefix}/#` below its `user` line)"
    );
    let mut findings = Vec::new();
    if let Err(error) = &facts.subscribed {
        findings.push(Finding::error(format!("the broker refused the subscription to requests ({error})"), advice.as_str()));
    }
    if let Err(error) = &facts.answered {
        findings.push(Finding::error(
            format!("the broker refused a message below {prefix}/client/ ({error}): no device gets an answer"),
            advice.as_str(),
        ));
    }
    if facts.subscribed.is_ok() && facts.answered.is_ok() && !facts.delivered {
        let what = "the broker accepted the subscription to requests and delivers none: no request reaches the gateway";
        findings.push(Finding::error(what, advice.as_str()));
    }
    if let Err(error) = &facts.announced {
        let what = format!("the broker refused a retained message below {prefix}/as/ ({error}): nobody finds the keys there");
        findings.push(Finding::error(what, advice.as_str()));
    }
    if findings.is_empty() {
        findings.push(Finding::ok(format!("the gateway's user reads requests, answers them, and writes below {prefix}/as/")));
    }
    Ok(findings)
}

pub(super) fn strangers(world: &World<'_>) -> Findings {
    let (config, facts) = (world.config()?, world.broker()?);
    if facts.strangers.is_empty() {
        return Err(Finding::skipped("the broker is not reached: see broker-connection"));
    }
    let prefix = config.topics().prefix();
    let told = facts.strangers.iter().map(|stranger| {
        let Stranger { who, let_in, overheard, forged } = stranger;
        match (let_in, overheard, forged) {
            (Err(_), ..) => Finding::ok(format!("nobody is let in {who}")),
            (Ok(()), true, _) => Finding::error(
                format!("anybody who connects {who} reads what devices send below {prefix}/client/, their secrets included"),
                format!("refuse strangers (Mosquitto: `allow_anonymous false` and a password_file), and give `pattern readwrite {prefix}/client/%u/#` to users alone"),
            ),
            (Ok(()), false, true) => Finding::error(
                format!("anybody who connects {who} can write below {prefix}/as/, and so replace the keys that tokens are checked by"),
                format!("refuse strangers (Mosquitto: `allow_anonymous false`), and let nobody but the gateway write below {prefix}/as/"),
            ),
            (Ok(()), false, false) => Finding::warning(
                format!("anybody is let in {who}, though neither to what devices send nor to the gateway's own topics"),
                "refuse strangers unless you need them (Mosquitto: `allow_anonymous false`)",
            ),
        }
    });
    Ok(told.collect())
}

pub(super) fn session(world: &World<'_>) -> Findings {
    let (config, status) = (world.config()?, world.running()?);
    let link = status.broker.as_ref().ok_or_else(|| Finding::skipped("no broker of your own is configured"))?;
    let id = &config.file.broker.client_id;
    let closed = link.counters.closed;
    if closed < CLOSED_OFTEN {
        return Ok(vec![Finding::ok(format!("the broker closed {closed} connections of {id} since the gateway started"))]);
    }
    Err(Finding::warning(
        format!(
            "the broker closed {closed} connections of {id} since the gateway started, as if another client used that id and took its session over"
        ),
        "give each gateway a broker.client-id of its own; the broker's log says who connects",
    ))
}
