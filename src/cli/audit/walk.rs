//! The whole trail, page by page.

use super::super::connect::Gateway;
use super::super::{CliError, Exit};
use super::page;
use crate::audit::{Anchor, Page, Query, Sealed};

/// The trail from its beginning to the entry that was the last when the walk began.
pub(super) struct Walk {
    pub(super) anchor: Anchor,
    /// The number of the last entry.
    pub(super) last: u64,
    first: Option<Page>,
}

impl Walk {
    pub(super) fn begin(gateway: &mut Gateway) -> Result<Self, CliError> {
        // A look at the end has what waits written.
        let last = page(gateway, Query { newest_first: true, limit: 1, ..Query::default() })?.head;
        let first = page(gateway, Query { before: last.checked_add(1), ..Query::default() })?;
        Ok(Self { anchor: first.anchor.clone(), last, first: Some(first) })
    }

    /// Hands out every entry, or its number if it cannot be read.
    pub(super) fn each(
        mut self,
        gateway: &mut Gateway,
        mut take: impl FnMut(Result<&Sealed, u64>) -> Result<(), CliError>,
    ) -> Result<(), CliError> {
        let mut next = self.first.take();
        while let Some(got) = next {
            let mut unreadable = got.unreadable.iter().copied().peekable();
            for sealed in &got.entries {
                while let Some(seq) = unreadable.next_if(|seq| *seq < sealed.entry.seq) {
                    take(Err(seq))?;
                }
                take(Ok(sealed))?;
            }
            unreadable.try_for_each(|seq| take(Err(seq)))?;
            next = match got.more_from {
                None => None,
                Some(after) => {
                    let more = page(gateway, Query { after, before: self.last.checked_add(1), ..Query::default() })?;
                    if more.anchor.link.seq > after {
                        let what = "the gateway dropped the oldest entries while they were being read";
                        return Err(CliError::new(Exit::Temporary, "audit_moved", what).with_help("try again"));
                    }
                    Some(more)
                }
            };
        }
        Ok(())
    }
}
