//! The one table of parameter names and their CBOR keys: RFC 9200 Table 5, RFC 9201 Table 1, and ours below -65536.

macro_rules! params {
    ($($(#[$doc:meta])* $variant:ident = $name:literal, $key:expr;)+) => {
        /// A parameter of a request or response at the token endpoint, with its JSON name and its CBOR key.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum Param { $($(#[$doc])* $variant,)+ }

        impl Param {
            /// Every parameter, in the order of the table.
            pub const ALL: &'static [Param] = &[$(Param::$variant,)+];

            /// The name used in JSON.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Param::$variant => $name,)+ }
            }

            /// The key used in CBOR; none for a parameter that CBOR implies.
            #[must_use]
            pub const fn key(self) -> Option<i64> {
                match self { $(Param::$variant => $key,)+ }
            }
        }
    };
}

params! {
    /// RFC 6749 section 5.1.
    AccessToken = "access_token", Some(1);
    /// RFC 6749 section 5.1; seconds.
    ExpiresIn = "expires_in", Some(2);
    /// RFC 9201 section 3.1.
    ReqCnf = "req_cnf", Some(4);
    /// RFC 9200 section 5.8.1.
    Audience = "audience", Some(5);
    /// RFC 9201 section 3.2.
    Cnf = "cnf", Some(8);
    /// RFC 6749 section 3.3.
    Scope = "scope", Some(9);
    /// RFC 6749 section 2.2.
    ClientId = "client_id", Some(24);
    /// RFC 6749 section 2.3.1.
    ClientSecret = "client_secret", Some(25);
    /// Echoed, to pair an answer with its request.
    State = "state", Some(28);
    /// RFC 6749 section 5.2.
    Error = "error", Some(30);
    /// RFC 6749 section 5.2.
    ErrorDescription = "error_description", Some(31);
    /// RFC 6749 section 5.2.
    ErrorUri = "error_uri", Some(32);
    /// RFC 6749 section 4.4.2.
    GrantType = "grant_type", Some(33);
    /// RFC 6749 section 7.1.
    TokenType = "token_type", Some(34);
    /// RFC 6749 section 1.5; never issued here.
    RefreshToken = "refresh_token", Some(37);
    /// RFC 9200 section 5.8.4.3.
    AceProfile = "ace_profile", Some(38);
    /// RFC 9200 section 5.3.1.
    Cnonce = "cnonce", Some(39);
    /// RFC 9201 section 3.2.
    RsCnf = "rs_cnf", Some(41);
    /// RFC 7521 section 4.2.
    ClientAssertion = "client_assertion", Some(-65_537);
    /// RFC 7521 section 4.2; CBOR implies it.
    ClientAssertionType = "client_assertion_type", None;
    /// Seconds to wait before the next try.
    RetryAfter = "retry_after", Some(-65_538);
}

impl Param {
    /// The parameter of that JSON name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|param| param.name() == name)
    }

    /// The parameter of that CBOR key.
    #[must_use]
    pub fn from_key(key: i64) -> Option<Self> {
        Self::ALL.iter().copied().find(|param| param.key() == Some(key))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 9200 Table 5 and RFC 9201 Table 1, typed from the RFCs.
    const REGISTERED: &[(&str, i64)] = &[
        ("access_token", 1),
        ("expires_in", 2),
        ("req_cnf", 4),
        ("audience", 5),
        ("cnf", 8),
        ("scope", 9),
        ("client_id", 24),
        ("client_secret", 25),
        ("state", 28),
        ("error", 30),
        ("error_description", 31),
        ("error_uri", 32),
        ("grant_type", 33),
        ("token_type", 34),
        ("refresh_token", 37),
        ("ace_profile", 38),
        ("cnonce", 39),
        ("rs_cnf", 41),
    ];

    #[test]
    fn keys_are_those_of_the_registry() {
        for (name, key) in REGISTERED {
            assert_eq!(Param::from_name(name).and_then(Param::key), Some(*key), "{name}");
        }
    }

    #[test]
    fn keys_without_a_registry_are_private_use() {
        for param in Param::ALL.iter().filter(|param| !REGISTERED.iter().any(|(name, _)| *name == param.name())) {
            assert!(param.key().is_none_or(|key| key < -65_536), "{param:?}");
        }
    }

    #[test]
    fn names_and_keys_are_unique() {
        for param in Param::ALL {
            assert_eq!(Param::from_name(param.name()), Some(*param));
            assert!(param.key().is_none_or(|key| Param::from_key(key) == Some(*param)));
        }
    }
}
