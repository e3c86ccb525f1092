//! The difference, for people.

use serde_json::Value;

use super::secrets::SecretsArgs;
use crate::admin::{ChangeAction, ChangeDocument, PlanCounts, PlanDocument};
use crate::cli::table::Table;

/// Characters of a value that are shown.
const MAX_VALUE: usize = 120;

pub(super) fn difference(plan: &PlanDocument, changes: &[ChangeDocument], left_out: usize) -> String {
    let mut text = String::new();
    for change in changes {
        let sign = match change.action {
            ChangeAction::Added => '+',
            ChangeAction::Changed => '~',
            ChangeAction::Removed => '-',
        };
        text.push_str(&format!("{sign} {} {}\n", change.kind.as_str(), change.name));
        for member in &change.members {
            match change.action {
                ChangeAction::Added => text.push_str(&format!("    {}: {}\n", member.member, value(&member.after))),
                _ => text.push_str(&format!("    {}: {} -> {}\n", member.member, value(&member.before), value(&member.after))),
            }
        }
    }
    if left_out > 0 {
        text.push_str(&format!("and {left_out} more, which --limit 0 shows\n"));
    }
    if !text.is_empty() {
        text.push('\n');
    }
    text.push_str(&counts(plan));
    if plan.spared > 0 {
        text.push_str(&format!("{} clients that registered themselves by an enrolment are not named and stay\n", plan.spared));
    }
    if plan.secrets > 0 {
        text.push_str(&format!("secrets are made for {} of them: --secrets-file or --secrets-directory says where to\n", plan.secrets));
    }
    if !plan.total().is_nothing() {
        text.push_str(&format!("fingerprint {}\n", plan.fingerprint));
    }
    text
}

fn counts(plan: &PlanDocument) -> String {
    let mut table = Table::new(["KIND", "ADDED", "CHANGED", "REMOVED", "UNCHANGED"]);
    for (kind, PlanCounts { added, changed, removed, unchanged }) in &plan.counts {
        table.row([kind.as_str().to_owned(), added.to_string(), changed.to_string(), removed.to_string(), unchanged.to_string()]);
    }
    if table.is_empty() { "nothing is named\n".to_owned() } else { table.render_within(None).text }
}

/// What was done.
pub(super) fn done(plan: &PlanDocument, secrets: &SecretsArgs) -> String {
    let PlanCounts { added, changed, removed, .. } = plan.total();
    let mut text = format!("applied: {added} added, {changed} changed, {removed} removed\n");
    if plan.secrets > 0 {
        text.push_str(&format!("{} secrets are in {}; nothing can show them again\n", plan.secrets, secrets.told()));
    }
    text
}

/// A value on one line that can command no terminal.
fn value(value: &Value) -> String {
    let text = match value {
        Value::Null => "nothing".to_owned(),
        Value::String(text) => text.clone(),
        Value::Array(items) if items.iter().all(Value::is_string) => items.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(", "),
        Value::Object(members) => {
            members.iter().map(|(name, member)| format!("{name}={}", self::value(member))).collect::<Vec<_>>().join(" ")
        }
        other => other.to_string(),
    };
    let escaped = |character: char| if character.is_control() { character.escape_debug().to_string() } else { character.to_string() };
    let mut shown: String = text.chars().take(MAX_VALUE).map(escaped).collect();
    if text.chars().count() > MAX_VALUE {
        shown.push('…');
    }
    shown
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::admin::MemberChange;
    use crate::registry::Kind;

    #[test]
    fn each_record_is_shown_with_what_is_different() {
        let member = |before: Value, after: Value| MemberChange { member: "roles".into(), before, after };
        let change = |action, members| ChangeDocument { kind: Kind::Client, name: "dev1".into(), action, members };
        let counts = [(Kind::Client, PlanCounts { added: 1, changed: 1, removed: 1, unchanged: 7 })].into();
        let plan = PlanDocument { fingerprint: "FP".into(), counts, spared: 2, ..PlanDocument::default() };
        let changes = [
            change(ChangeAction::Added, vec![member(Value::Null, json!(["a", "b"]))]),
            change(ChangeAction::Changed, vec![member(json!(["a"]), Value::Null)]),
            change(ChangeAction::Removed, Vec::new()),
        ];
        let text = difference(&plan, &changes, 4);
        for line in [
            "+ client dev1\n    roles: a, b\n",
            "~ client dev1\n    roles: a -> nothing\n",
            "- client dev1\n",
            "and 4 more, which --limit 0 shows\n",
            "2 clients that registered themselves",
            "fingerprint FP\n",
        ] {
            assert!(text.contains(line), "{text}");
        }
    }

    #[test]
    fn no_value_commands_a_terminal_or_fills_it() {
        assert_eq!(value(&json!("a\u{1b}[2J")), "a\\u{1b}[2J");
        assert_eq!(value(&json!("x".repeat(500))).chars().count(), MAX_VALUE + 1);
        assert_eq!(value(&json!({"site": "berlin", "hall": 7})), "hall=7 site=berlin");
    }
}
