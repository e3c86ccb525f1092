//! What a token opens is a part of what was granted, in every dialect, whatever the scopes, the attributes and the request.
//!
//! The judges are written here, from the specifications alone: what a filter matches (MQTT 5 section 4.7), what braces stand for, and what each
//! dialect means to its broker.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use credgate::clients::{Channel, Client, ClientSecret, ClientStore};
use credgate::clock::UnixTime;
use credgate::endpoint::{Engine, Request, Settings};
use credgate::jose::cose::Sign1;
use credgate::jose::{Algorithm, KeyRing, SigningKey, decode_unverified};
use credgate::oauth::{ClientId, Format};
use credgate::policy::{Dialect, Policy, PolicyStore, ResourceServer, Scope, TokenFormat, TopicPermission};
use credgate::token::Lifetimes;
use proptest::prelude::*;
use serde_cbor::Value as Cbor;
use serde_json::Value;
use zeroize::Zeroizing;

const NOW: UnixTime = UnixTime::from_secs(1_795_383_984);

/// `pub` or `sub`, and a filter.
type Opened = BTreeSet<(String, String)>;

#[derive(Debug, Clone)]
struct Case {
    client_id: String,
    site: String,
    scopes: Vec<Defined>,
}

/// A scope.
#[derive(Debug, Clone)]
struct Defined {
    permissions: Vec<String>,
    is_granted: bool,
    is_asked_for: bool,
}

fn template() -> impl Strategy<Value = String> {
    let level = prop_oneof![
        4 => Just("{client_id}".to_owned()),
        2 => Just("{site}".to_owned()),
        1 => Just("x{site}-{client_id}".to_owned()),
        4 => "[ab]",
        2 => Just("+".to_owned()),
        1 => Just(String::new()),
    ];
    let filter = (prop::collection::vec(level, 1..4), any::<bool>()).prop_map(|(mut levels, wide)| {
        levels.extend(wide.then(|| "#".to_owned()));
        levels.join("/")
    });
    (prop_oneof!["pub", "sub"], filter).prop_map(|(action, filter)| format!("{action} {filter}"))
}

fn case() -> impl Strategy<Value = Case> {
    let scope = (prop::collection::vec(template(), 0..4), prop::bool::weighted(0.8), any::<bool>())
        .prop_map(|(permissions, is_granted, is_asked_for)| Defined { permissions, is_granted, is_asked_for });
    ("[A-Za-z0-9_-]{1,8}", "[A-Za-z0-9_-]{1,8}", prop::collection::vec(scope, 1..6)).prop_map(|(client_id, site, scopes)| Case {
        client_id,
        site,
        scopes,
    })
}

/// What the permissions of these scopes are for the client.
fn filled<'a>(case: &Case, permissions: impl Iterator<Item = &'a String>) -> Opened {
    let fill = |filter: &str| filter.replace("{client_id}", &case.client_id).replace("{site}", &case.site);
    permissions.map(|text| text.split_once(' ').unwrap()).map(|(action, filter)| (action.to_owned(), fill(filter))).collect()
}

struct Registry {
    client: Arc<Client>,
    policy: Arc<Policy>,
}

impl ClientStore for Registry {
    fn client(&self, id: &ClientId) -> Option<Arc<Client>> {
        Some(self.client.clone()).filter(|client| client.client_id == *id)
    }
}

impl PolicyStore for Registry {
    fn policy(&self) -> Arc<Policy> {
        self.policy.clone()
    }
}

/// The token of a case; what the dialect cannot say was not registered, and is taken out of the case.
fn token(case: &mut Case, format: TokenFormat, dialect: &Dialect) -> Option<Vec<u8>> {
    let alg = if dialect.takes(Algorithm::EdDsa) { Algorithm::EdDsa } else { Algorithm::Es256 };
    let server = ResourceServer {
        token_format: format,
        alg,
        dialect: dialect.clone(),
        ..ResourceServer::new("rs".parse().unwrap(), "urn:rs".into(), NOW)
    };
    for scope in &mut case.scopes {
        scope.permissions.retain(|text| text.parse::<TopicPermission>().is_ok_and(|permission| dialect.check(&permission).is_ok()));
    }
    let named = |index: usize| format!("s{index}");
    let names = |wanted: &dyn Fn(&Defined) -> bool| -> Vec<String> {
        case.scopes.iter().enumerate().filter(|(_, scope)| wanted(scope)).map(|(index, _)| named(index)).collect()
    };
    let (granted, asked) = (names(&|scope| scope.is_granted), names(&|scope| scope.is_granted && scope.is_asked_for));
    if granted.is_empty() {
        return None;
    }
    let scopes = case.scopes.iter().enumerate().map(|(index, scope)| {
        let permissions = scope.permissions.iter().map(|text| text.parse().unwrap()).collect();
        let scope = Scope { permissions, ..Scope::new(named(index).parse().unwrap(), server.id.clone(), NOW) };
        (scope.name.clone(), Arc::new(scope))
    });
    let (record, secret) = ClientSecret::generate(&Zeroizing::new([7; 32]), NOW);
    let client_id: ClientId = case.client_id.parse().unwrap();
    let client = Client {
        scope: granted.join(" ").parse().unwrap(),
        secrets: vec![record],
        attributes: [("site".parse().unwrap(), case.site.parse().unwrap())].into_iter().collect(),
        ..Client::new(client_id.clone(), NOW)
    };
    let scopes = scopes.collect();
    let policy = Policy { resource_servers: [(server.id.clone(), Arc::new(server))].into(), scopes, ..Policy::default() };
    let p256 = SigningKey::from_p256_scalar(&Zeroizing::new([9; 32])).unwrap();
    let ring = KeyRing::new(Arc::new(SigningKey::from_seed(&Zeroizing::new([9; 32]))), Vec::new());
    let registry = Arc::new(Registry { client: Arc::new(client), policy: Arc::new(policy) });
    let settings = Settings { issuer: "https://as".into(), lifetimes: Lifetimes { default: 300, maximum: 3_600 }, max_payload: 8_192 };
    let engine = Engine::new(settings, registry.clone(), registry, ring.with(KeyRing::new(Arc::new(p256), Vec::new())));
    let mut members = BTreeMap::from([(25, Cbor::Bytes(secret.expose().to_vec()))]);
    if !asked.is_empty() {
        members.insert(9, Cbor::Text(asked.join(" ")));
    }
    let payload = serde_cbor::to_vec(&members).unwrap();
    let (operation, payload, channel) = ("token", payload.as_slice(), Channel::Trusted);
    let request =
        Request { client_id: &client_id, operation, format: Format::Cbor, payload, channel, correlation_data: None, envelope: Ok(()) };
    let answer: BTreeMap<i64, Cbor> = serde_cbor::from_slice(&engine.handle(&request, NOW, [3; 16]).payload).unwrap();
    let Some(Cbor::Bytes(token)) = answer.get(&1) else { panic!("{answer:?} to {case:?}") };
    Some(token.clone())
}

fn claims(token: &[u8]) -> Value {
    decode_unverified(std::str::from_utf8(token).unwrap()).unwrap().1
}

/// AIF-MQTT: an array of filters, each with its actions.
fn aif(list: Vec<(String, Vec<String>)>) -> Opened {
    list.into_iter().flat_map(|(filter, actions)| actions.into_iter().map(move |action| (action, filter.clone()))).collect()
}

/// What a token opens, as whoever reads its dialect has it.
fn opened(token: &[u8], format: TokenFormat, dialect: &Dialect) -> Opened {
    match (dialect, format) {
        (Dialect::Aif, TokenFormat::Jwt) => {
            aif(serde_json::from_slice(&URL_SAFE_NO_PAD.decode(claims(token)["scope"].as_str().unwrap()).unwrap()).unwrap())
        }
        (Dialect::Aif, TokenFormat::Cwt) => {
            let claims: BTreeMap<i64, Cbor> = serde_cbor::from_slice(Sign1::parse(token).unwrap().payload()).unwrap();
            let Cbor::Bytes(scope) = &claims[&9] else { panic!("{claims:?}") };
            aif(serde_cbor::from_slice(scope).unwrap())
        }
        (Dialect::Emqx, _) => {
            let rule = |rule: &Value| {
                assert_eq!(rule["permission"], "allow");
                let action = if rule["action"] == "publish" { "pub" } else { "sub" };
                (action.to_owned(), rule["topic"].as_str().unwrap().to_owned())
            };
            claims(token)["acl"].as_array().unwrap().iter().map(rule).collect()
        }
        (Dialect::MosquittoJwt, _) => {
            let claims = claims(token);
            let list = |action: &str, name: &str| -> Vec<(String, String)> {
                claims[name].as_array().unwrap().iter().map(|filter| (action.to_owned(), filter.as_str().unwrap().to_owned())).collect()
            };
            list("pub", "publ").into_iter().chain(list("sub", "subs")).collect()
        }
        _ => panic!("{} says nothing of topics", dialect.as_str()),
    }
}

/// MQTT 5 section 4.7: whether a filter matches a topic.
fn matches(filter: &str, topic: &str) -> bool {
    let (mut levels, mut names) = (filter.split('/'), topic.split('/'));
    loop {
        match (levels.next(), names.next()) {
            (Some("#"), _) | (None, None) => return true,
            (Some(level), Some(name)) if level == "+" || level == name => {}
            _ => return false,
        }
    }
}

/// All topics of one to three levels made of what may be in a filter, and of what belongs to somebody else.
fn topics(case: &Case) -> Vec<String> {
    let levels = ["a", "b", "", "somebody-else", &case.client_id, &case.site, &format!("x{}-{}", case.site, case.client_id)];
    let mut all: Vec<String> = levels.map(str::to_owned).into();
    let mut last = all.clone();
    for _ in 0..2 {
        last = last.iter().flat_map(|topic| levels.map(|level| format!("{topic}/{level}"))).collect();
        all.extend(last.iter().cloned());
    }
    all
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_token_opens_what_was_asked_for_of_what_was_granted(case in case()) {
        let forms = [
            (TokenFormat::Jwt, Dialect::Aif), (TokenFormat::Cwt, Dialect::Aif), (TokenFormat::Jwt, Dialect::Emqx), (TokenFormat::Jwt, Dialect::MosquittoJwt),
        ];
        for (format, dialect) in forms {
            let mut case = case.clone();
            let Some(token) = token(&mut case, format, &dialect) else { continue };
            let opened = opened(&token, format, &dialect);
            let granted = || case.scopes.iter().filter(|scope| scope.is_granted);
            let asked = granted().any(|scope| scope.is_asked_for);
            let wanted = filled(&case, granted().filter(|scope| scope.is_asked_for || !asked).flat_map(|scope| &scope.permissions));
            prop_assert_eq!(&opened, &wanted, "{} for {:?}", dialect.as_str(), case);
            let everything = filled(&case, granted().flat_map(|scope| &scope.permissions));
            prop_assert!(opened.is_subset(&everything));
        }
    }

    #[test]
    fn a_level_with_the_clients_own_name_is_nobody_elses(case in case()) {
        let mut case = case;
        let Some(token) = token(&mut case, TokenFormat::Jwt, &Dialect::Aif) else { return Ok(()) };
        let opened = opened(&token, TokenFormat::Jwt, &Dialect::Aif);
        let templates: Vec<&String> = case.scopes.iter().filter(|scope| scope.is_granted).flat_map(|scope| &scope.permissions).collect();
        for topic in topics(&case) {
            for (action, _) in opened.iter().filter(|(_, filter)| matches(filter, &topic)) {
                // Some template opens it, and where that names the client or its site, the topic does.
                let opens = |template: &&&String| {
                    let (verb, filter) = template.split_once(' ').unwrap();
                    let wide = filter.split('/').map(|level| if level.contains('{') { "+" } else { level }).collect::<Vec<_>>().join("/");
                    let own = filter.split('/').zip(topic.split('/')).all(|(level, name)| match level {
                        "{client_id}" => name == case.client_id,
                        "{site}" => name == case.site,
                        _ => true,
                    });
                    verb == action && matches(&wide, &topic) && own
                };
                prop_assert!(templates.iter().any(|template| opens(&template)), "{} {}", action, topic);
            }
        }
    }

    #[test]
    fn rabbitmq_opens_no_more_than_mqtt_would(case in case()) {
        let dialect = Dialect::Rabbitmq { prefix: "mq".parse().unwrap(), vhost: "v".into() };
        let mut case = case;
        let Some(token) = token(&mut case, TokenFormat::Jwt, &dialect) else { return Ok(()) };
        let scope = claims(&token)["scope"].as_str().unwrap().to_owned();
        let granted = filled(&case, case.scopes.iter().filter(|scope| scope.is_granted).flat_map(|scope| &scope.permissions));
        for topic in topics(&case) {
            for (verb, action) in [("write", "pub"), ("read", "sub")] {
                let patterns = scope.split(' ').filter_map(|scope| scope.strip_prefix(&format!("mq.{verb}:v/amq.topic/")));
                if patterns.clone().any(|pattern| rabbitmq_matches(pattern, &topic.replace('/', "."))) {
                    let may = granted.iter().any(|(granted, filter)| granted == action && matches(filter, &topic));
                    prop_assert!(may, "{} {} of {}", action, topic, scope);
                }
            }
        }
        // Besides, only queues of the client's own.
        let queue = format!("v/mqtt-subscription-{}qos", case.client_id);
        for other in scope.split(' ').filter(|scope| !scope.is_empty() && !scope.contains("/amq.topic/")) {
            let (verb, name) = other.split_once(':').unwrap();
            prop_assert!(["mq.configure", "mq.read", "mq.write"].contains(&verb));
            prop_assert!(name.strip_prefix(&queue).is_some_and(|qos| ["0", "1"].contains(&qos)), "{}", other);
        }
    }
}

/// The plugin's matcher: `*` stands for any characters, the rest is percent-decoded.
fn rabbitmq_matches(pattern: &str, subject: &str) -> bool {
    let decode = |part: &str| {
        let mut pieces = part.split('%');
        let first = pieces.next().unwrap().to_owned();
        pieces.fold(first, |text, piece| text + &char::from(u8::from_str_radix(&piece[..2], 16).unwrap()).to_string() + &piece[2..])
    };
    match pattern.split_once('*') {
        None => subject == decode(pattern),
        Some((first, rest)) => {
            let tail = subject.strip_prefix(&decode(first));
            tail.is_some_and(|tail| (0..=tail.len()).any(|at| rabbitmq_matches(rest, &tail[at..])))
        }
    }
}

#[test]
fn the_judges_can_say_no() {
    for (filter, inside, outside) in [
        ("a/+", &["a/b", "a/"][..], &["a", "a/b/c", "b/a"][..]),
        ("a/#", &["a", "a/b", "a/b/c"], &["ab", "b"]),
        ("#", &["a", "a/b"], &[]),
        ("a", &["a"], &["a/", "/a", "b"]),
    ] {
        assert!(inside.iter().all(|topic| matches(filter, topic)), "{filter}");
        assert!(!outside.iter().any(|topic| matches(filter, topic)), "{filter}");
    }
    assert!(rabbitmq_matches("a.*", "a.b.c") && rabbitmq_matches("%2A", "*") && !rabbitmq_matches("a.%2A", "a.b"));
}
