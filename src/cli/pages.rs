//! Lists that come page by page: printed as they come for programs, and as one table for people.

use std::cell::RefCell;
use std::fmt::Display;
use std::io::{self, BufWriter, Write};

use serde::ser::{Error as _, SerializeMap as _, SerializeSeq as _};
use serde::{Serialize, Serializer};

use super::CliError;
use super::output::{Format, Output};
use super::table::Table;

/// One page of records, and where the next one begins.
pub(super) struct Page<T, C> {
    pub(super) records: Vec<T>,
    pub(super) next: Option<C>,
}

/// What is printed of a list.
pub(super) struct List<'a, T, const COLUMNS: usize> {
    /// The name of the list in a document.
    pub(super) member: &'static str,
    /// Records at most; `None` for all.
    pub(super) limit: Option<u32>,
    /// What people are told of a list without a record.
    pub(super) empty: &'a str,
    /// The table for people, without rows.
    pub(super) table: Table<COLUMNS>,
    /// A row of it.
    pub(super) row: fn(&T) -> [String; COLUMNS],
}

impl<T: Serialize, const COLUMNS: usize> List<'_, T, COLUMNS> {
    /// Prints what `fetch` gives: the page after a place, with at most so many records.
    pub(super) fn print<C: Display>(
        self,
        output: &Output,
        after: Option<C>,
        fetch: impl FnMut(Option<C>, Option<u32>) -> Result<Page<T, C>, CliError>,
    ) -> Result<(), CliError> {
        let Self { member, limit, empty, mut table, row } = self;
        let mut pages = Pages { fetch, first: None, next: after, left: limit, more: true };
        // What is wrong from the beginning is told before anything is printed.
        pages.first = pages.fetch()?;
        if output.format() == Format::Json {
            return print_json(output, member, pages);
        }
        while let Some(records) = pages.take()? {
            records.iter().for_each(|record| table.row(row(record)));
        }
        if table.is_empty() {
            output.note(empty);
            return Ok(());
        }
        output.print_table(&table)?;
        if let Some(next) = pages.next.filter(|_| pages.more) {
            output.note(&format!("There are more: --after {next}"));
        }
        Ok(())
    }
}

/// The pages of a list, one after the other.
struct Pages<T, C, F> {
    fetch: F,
    first: Option<Vec<T>>,
    next: Option<C>,
    left: Option<u32>,
    /// Whether there is more than what was fetched.
    more: bool,
}

impl<T, C, F: FnMut(Option<C>, Option<u32>) -> Result<Page<T, C>, CliError>> Pages<T, C, F> {
    fn take(&mut self) -> Result<Option<Vec<T>>, CliError> {
        if let Some(first) = self.first.take() { Ok(Some(first)) } else { self.fetch() }
    }

    fn fetch(&mut self) -> Result<Option<Vec<T>>, CliError> {
        if !self.more || self.left == Some(0) {
            return Ok(None);
        }
        let Page { records, next } = (self.fetch)(self.next.take(), self.left)?;
        let count = u32::try_from(records.len()).unwrap_or(u32::MAX);
        self.left = self.left.map(|left| left.saturating_sub(count));
        self.more = next.is_some();
        self.next = next;
        Ok(Some(records))
    }
}

fn print_json<T: Serialize, C: Display>(
    output: &Output,
    member: &'static str,
    pages: Pages<T, C, impl FnMut(Option<C>, Option<u32>) -> Result<Page<T, C>, CliError>>,
) -> Result<(), CliError> {
    let document = Document { member, pages: RefCell::new(pages), failure: RefCell::new(None) };
    let written = output.stream(|results| {
        let mut results = BufWriter::with_capacity(65_536, results);
        serde_json::to_writer_pretty(&mut results, &document).map_err(io::Error::from)?;
        results.write_all(b"\n")?;
        results.flush()
    });
    match document.failure.into_inner() {
        Some(failure) => Err(failure),
        None => written,
    }
}

/// A document that fetches its records while it is written.
struct Document<T, C, F> {
    member: &'static str,
    pages: RefCell<Pages<T, C, F>>,
    failure: RefCell<Option<CliError>>,
}

impl<T, C, F> Serialize for Document<T, C, F>
where
    T: Serialize,
    C: Display,
    F: FnMut(Option<C>, Option<u32>) -> Result<Page<T, C>, CliError>,
{
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry(self.member, &Records(self))?;
        let pages = self.pages.borrow();
        if let Some(next) = pages.next.as_ref().filter(|_| pages.more) {
            map.serialize_entry("next", &next.to_string())?;
        }
        map.end()
    }
}

struct Records<'a, T, C, F>(&'a Document<T, C, F>);

impl<T, C, F> Serialize for Records<'_, T, C, F>
where
    T: Serialize,
    C: Display,
    F: FnMut(Option<C>, Option<u32>) -> Result<Page<T, C>, CliError>,
{
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut list = serializer.serialize_seq(None)?;
        loop {
            match self.0.pages.borrow_mut().take() {
                Ok(None) => return list.end(),
                Ok(Some(records)) => records.iter().try_for_each(|record| list.serialize_element(record))?,
                Err(failure) => {
                    *self.0.failure.borrow_mut() = Some(failure);
                    return Err(S::Error::custom("the list ends early"));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::Exit;
    use super::super::output::tests::{Failing, Printed};
    use super::*;

    /// Numbers from 1 to 5, two a page.
    fn fetch(after: Option<u32>, limit: Option<u32>) -> Result<Page<u32, u32>, CliError> {
        let most = limit.map_or(2, |limit| limit.min(2));
        let first = after.unwrap_or(0).saturating_add(1);
        let records: Vec<u32> = (first..=5).take(most.try_into().unwrap()).collect();
        let next = records.last().copied().filter(|last| *last < 5);
        Ok(Page { records, next })
    }

    fn list(limit: Option<u32>) -> List<'static, u32, 1> {
        List { member: "numbers", limit, empty: "none", table: Table::new(["NUMBER"]), row: |number| [number.to_string()] }
    }

    fn printed(format: Format, limit: Option<u32>, after: Option<u32>) -> String {
        let printed = Printed::default();
        list(limit).print(&printed.output(format), after, fetch).unwrap();
        printed.take()
    }

    #[test]
    fn all_pages_are_printed_or_as_much_as_was_asked_for() {
        assert_eq!(printed(Format::Table, None, None), "NUMBER\n1\n2\n3\n4\n5\n");
        assert_eq!(printed(Format::Table, Some(3), Some(1)), "NUMBER\n2\n3\n4\n");
        assert_eq!(printed(Format::Table, None, Some(5)), "");
        let json = |limit, after| serde_json::from_str::<serde_json::Value>(&printed(Format::Json, limit, after)).unwrap();
        assert_eq!(json(None, None), serde_json::json!({"numbers": [1, 2, 3, 4, 5]}));
        assert_eq!(json(Some(3), None), serde_json::json!({"numbers": [1, 2, 3], "next": "3"}));
        assert_eq!(json(Some(5), None), serde_json::json!({"numbers": [1, 2, 3, 4, 5]}));
        assert_eq!(json(None, Some(5)), serde_json::json!({"numbers": []}));
        assert!(printed(Format::Json, None, None).starts_with("{\n  \"numbers\": [\n    1,\n"), "as any other document");
    }

    #[test]
    fn a_failure_on_the_way_is_told_and_a_closed_pipe_is_none() {
        let failing = |after: Option<u32>, limit| match after {
            Some(_) => Err(CliError::new(Exit::Unavailable, "gone", "gone")),
            None => fetch(after, limit),
        };
        for format in [Format::Json, Format::Table] {
            let error = list(None).print(&Printed::default().output(format), None, failing).unwrap_err();
            assert_eq!(error.exit(), Exit::Unavailable);
            let closed = Output::to(format, Box::new(Failing(io::ErrorKind::BrokenPipe)));
            assert!(list(None).print(&closed, None, fetch).is_ok());
            let full = Output::to(format, Box::new(Failing(io::ErrorKind::StorageFull)));
            assert_eq!(list(None).print(&full, None, fetch).unwrap_err().exit(), Exit::Io);
        }
    }
}
