//! Who comes first when there is not enough for all: after a power return, or in a flood.

use super::{AttributeName, AttributeValue, Attributes};

/// The attribute that says how critical a client is.
pub const CRITICALITY: &str = "criticality";

/// How critical a client is, the least first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum Criticality {
    /// Waits first.
    Low,
    /// Whoever says nothing else, and whoever is not registered.
    #[default]
    Normal,
    /// Before most.
    High,
    /// As long as there is anything left.
    Critical,
}

impl Criticality {
    /// Every one, the least first.
    pub const ALL: [Self; 4] = [Self::Low, Self::Normal, Self::High, Self::Critical];

    /// The value of the attribute.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Low => "low",
            Self::Normal => "normal",
            Self::High => "high",
            Self::Critical => "critical",
        }
    }

    /// What these attributes say; what is none of the words was refused when they were registered.
    #[must_use]
    pub fn of(attributes: &Attributes) -> Self {
        let word = attributes.get(CRITICALITY).map(AttributeValue::as_str);
        word.and_then(|word| Self::ALL.into_iter().find(|known| known.as_str() == word)).unwrap_or_default()
    }

    /// How much of the whole is kept for those who are more critical.
    #[must_use]
    pub const fn reserve(self, whole: u32) -> u32 {
        match self {
            Self::Low => whole / 2,
            Self::Normal => whole / 4,
            Self::High => whole / 8,
            Self::Critical => 0,
        }
    }

    /// Over how many times the usual seconds those are spread who are sent away.
    #[must_use]
    pub const fn patience(self) -> u32 {
        match self {
            Self::Low => 4,
            Self::Normal => 2,
            Self::High | Self::Critical => 1,
        }
    }
}

/// What is wrong with the attribute, for the rest of a sentence that begins with the client.
#[must_use]
pub fn fault(attributes: &Attributes) -> Option<String> {
    let (name, value): (&AttributeName, &AttributeValue) = attributes.get_key_value(CRITICALITY)?;
    let words = Criticality::ALL.map(Criticality::as_str);
    (!words.contains(&value.as_str())).then(|| format!("has the {name} {value}, which is none of {}", words.join(", ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn attributes(value: &str) -> Attributes {
        [(CRITICALITY.parse().unwrap(), value.parse().unwrap())].into()
    }

    #[test]
    fn the_attribute_says_it() {
        assert_eq!(Criticality::of(&Attributes::new()), Criticality::Normal);
        for known in Criticality::ALL {
            assert_eq!((Criticality::of(&attributes(known.as_str())), fault(&attributes(known.as_str()))), (known, None));
        }
        assert_eq!(fault(&attributes("very")).unwrap(), "has the criticality very, which is none of low, normal, high, critical");
        assert_eq!(fault(&Attributes::new()), None);
    }

    #[test]
    fn the_more_critical_the_more_is_left() {
        let reserves = Criticality::ALL.map(|criticality| criticality.reserve(4_000));
        assert_eq!(reserves, [2_000, 1_000, 500, 0]);
        assert!(Criticality::ALL.map(|criticality| criticality.reserve(1)).iter().all(|reserve| *reserve == 0), "one is for everybody");
    }
}
