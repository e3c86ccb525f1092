//! What a token opens on a broker.

use std::collections::{BTreeMap, BTreeSet};

use super::{Action, MissingAttribute, TopicPermission};
use crate::clients::Client;

/// Topic permissions: each filter once, with all that may be done, in the order in which the scopes name them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Permissions(Vec<(String, BTreeSet<Action>)>);

impl Permissions {
    /// The permissions that templates give a client.
    ///
    /// # Errors
    /// If a template names an attribute that the client lacks.
    pub fn compile<'a>(templates: impl IntoIterator<Item = &'a TopicPermission>, client: &Client) -> Result<Self, MissingAttribute> {
        let (mut merged, mut places) = (Vec::<(String, BTreeSet<Action>)>::new(), BTreeMap::new());
        for template in templates {
            let filter = template.compile(client)?;
            let place = *places.entry(filter.clone()).or_insert(merged.len());
            match merged.get_mut(place) {
                Some((_, actions)) => drop(actions.insert(template.action())),
                None => merged.push((filter, [template.action()].into())),
            }
        }
        Ok(Self(merged))
    }

    /// Each filter and what may be done.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &BTreeSet<Action>)> {
        self.0.iter().map(|(filter, actions)| (filter.as_str(), actions))
    }

    /// Each action on each filter.
    pub fn actions(&self) -> impl Iterator<Item = (Action, &str)> {
        self.iter().flat_map(|(filter, actions)| actions.iter().map(move |action| (*action, filter)))
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::clock::UnixTime;

    /// The permissions of the client `dev1`.
    pub(in crate::policy) fn permissions(templates: &[&str]) -> Permissions {
        let templates: Vec<TopicPermission> = templates.iter().map(|text| text.parse().unwrap()).collect();
        Permissions::compile(&templates, &Client::new("dev1".parse().unwrap(), UnixTime::from_secs(0))).unwrap()
    }

    #[test]
    fn the_same_filter_is_merged_in_the_order_of_the_scopes() {
        let merged = permissions(&["sub b/{client_id}", "pub a", "pub b/dev1", "sub b/dev1"]);
        let listed: Vec<_> = merged.iter().map(|(filter, actions)| (filter, actions.iter().copied().collect::<Vec<_>>())).collect();
        assert_eq!(listed, [("b/dev1", vec![Action::Pub, Action::Sub]), ("a", vec![Action::Pub])]);
        assert_eq!(merged.actions().collect::<Vec<_>>(), [(Action::Pub, "b/dev1"), (Action::Sub, "b/dev1"), (Action::Pub, "a")]);
    }
}
