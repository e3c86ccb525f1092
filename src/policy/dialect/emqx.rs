//! The access control list that EMQX (5.5 and later) takes from the claim `acl`. What no rule allows goes on to EMQX's other authorizers, so
//! its `authorization.no_match` must be `deny`.

use serde::{Deserialize, Serialize};

use super::super::{Action, Permissions, TopicPermission};

/// A rule of EMQX.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AclRule {
    /// Always `allow`.
    pub permission: String,
    /// `publish` or `subscribe`.
    pub action: String,
    /// The topic filter.
    pub topic: String,
}

pub(super) fn encode(permissions: &Permissions) -> Vec<AclRule> {
    let rule = |(action, filter): (Action, &str)| AclRule {
        permission: "allow".into(),
        action: match action {
            Action::Pub => "publish".into(),
            Action::Sub => "subscribe".into(),
        },
        topic: filter.into(),
    };
    permissions.actions().map(rule).collect()
}

/// EMQX reads `eq a/#` as the filter `a/#` without its meaning. Its placeholders, `${..}`, cannot come here: braces are ours.
pub(super) fn check(permission: &TopicPermission) -> Result<(), &'static str> {
    if permission.filter().starts_with("eq ") {
        return Err("EMQX gives a topic that begins with \"eq \" another meaning");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::super::permissions::tests::permissions;
    use super::*;

    #[test]
    fn says_one_rule_for_each_action() {
        let rules = serde_json::to_string(&encode(&permissions(&["sub c/{client_id}/+", "pub t/{client_id}/#", "pub c/dev1/+"]))).unwrap();
        assert_eq!(
            rules,
            r#"[{"permission":"allow","action":"publish","topic":"c/dev1/+"},{"permission":"allow","action":"subscribe","topic":"c/dev1/+"},{"permission":"allow","action":"publish","topic":"t/dev1/#"}]"#
        );
    }

    #[test]
    fn deny_what_emqx_reads_otherwise() {
        assert!(check(&"sub eq a/#".parse().unwrap()).is_err());
        assert!(check(&"sub eq/a".parse().unwrap()).is_ok());
    }
}
