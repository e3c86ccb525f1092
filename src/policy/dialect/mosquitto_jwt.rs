//! The lists of topic filters that mosquitto-jwt-auth, a plugin of Mosquitto, takes from the claims `publ` and `subs`.

use super::super::{Action, Permissions, TopicPermission};

/// The filters for one action, each once.
pub(super) fn encode(permissions: &Permissions, wanted: Action) -> Vec<String> {
    permissions.actions().filter(|(action, _)| *action == wanted).map(|(_, filter)| filter.to_owned()).collect()
}

/// The plugin lets a wildcard in front match topics that begin with `$`, and a final `+` a level more if that is empty. It reads `a/#` without
/// `a` itself, which opens less and is left.
pub(super) fn check(permission: &TopicPermission) -> Result<(), &'static str> {
    let filter = permission.filter();
    if filter.starts_with(['#', '+']) {
        return Err("mosquitto-jwt-auth would open topics that begin with $ as well: begin the filter with a level that is no wildcard");
    }
    if filter.ends_with('+') {
        return Err("mosquitto-jwt-auth would open one level more: end the filter with # or with a level that is no wildcard");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::super::permissions::tests::permissions;
    use super::*;

    #[test]
    fn says_each_filter_once_for_each_action() {
        let granted = permissions(&["sub c/{client_id}/a", "pub t/{client_id}/#", "pub c/dev1/a", "pub t/dev1/#"]);
        assert_eq!(encode(&granted, Action::Pub), ["c/dev1/a", "t/dev1/#"]);
        assert_eq!(encode(&granted, Action::Sub), ["c/dev1/a"]);
        assert_eq!(encode(&permissions(&["pub a"]), Action::Sub), [""; 0]);
    }

    #[test]
    fn deny_what_the_plugin_reads_otherwise() {
        for filter in ["pub #", "sub +/a", "pub +", "pub a/+"] {
            assert!(check(&filter.parse().unwrap()).is_err(), "{filter}");
        }
        for filter in ["pub a/#", "sub a/+/b", "pub a", "sub a/b/#"] {
            assert!(check(&filter.parse().unwrap()).is_ok(), "{filter}");
        }
    }
}
