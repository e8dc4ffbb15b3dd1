//! One table of the file, read key by key.
//!
//! A derived `Deserialize` stops at the first error; this goes on, so that all are seen at once (decision 0014). What was
//! never asked for is unknown, and is reported with the key that may have been meant.

use std::cell::RefCell;
use std::ops::Range;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::problem::{More, Problems};
use super::value;

/// A value and where it stands.
pub(super) type At<T> = Spanned<T>;

/// A table that is being read.
#[derive(Debug)]
pub(super) struct Section<'a> {
    table: &'a DeTable<'a>,
    span: Range<usize>,
    /// How errors name it: empty for the whole file, else such as `instance "gocd"`.
    title: String,
    asked: RefCell<Vec<&'static str>>,
    problems: &'a Problems<'a>,
}

impl<'a> Section<'a> {
    /// The whole document.
    pub(super) fn root(table: &'a DeTable<'a>, problems: &'a Problems<'a>) -> Self {
        Self { table, span: 0..0, title: String::new(), asked: RefCell::default(), problems }
    }

    /// Where it begins: its header.
    pub(super) fn span(&self) -> Range<usize> {
        self.span.clone()
    }

    pub(super) fn title(&self) -> &str {
        &self.title
    }

    /// The value of `key`, if it is there and right. If it is wrong, that is reported.
    pub(super) fn get<T>(
        &self,
        key: &'static str,
        read: impl FnOnce(&DeValue<'_>) -> Result<T, String>,
    ) -> Option<At<T>> {
        let value = self.value(key)?;
        self.read(key, value, read)
    }

    /// The same for a key that must be there.
    pub(super) fn need<T>(
        &self,
        key: &'static str,
        read: impl FnOnce(&DeValue<'_>) -> Result<T, String>,
    ) -> Option<At<T>> {
        if !self.has(key) {
            self.report(self.span(), "", format!("`{key}` is missing"));
        }
        self.get(key, read)
    }

    /// The elements of an array that are right; `None` if the key is not there or is no array.
    pub(super) fn list<T>(
        &self,
        key: &'static str,
        what: &str,
        read: impl Fn(&DeValue<'_>) -> Result<T, String>,
    ) -> Option<At<Vec<At<T>>>> {
        let value = self.value(key)?;
        let Some(array) = value.get_ref().as_array() else {
            let found = value::describe(value.get_ref());
            self.report(value.span(), key, format!("found {found}, expected a list of {what}"));
            return None;
        };
        let items = array.iter().filter_map(|item| self.read(key, item, &read)).collect();
        Some(Spanned::new(value.span(), items))
    }

    /// Whether the key is there, right or wrong.
    pub(super) fn has(&self, key: &str) -> bool {
        self.table.contains_key(key)
    }

    /// Whether the key is there and is a list of nothing.
    pub(super) fn is_empty_list(&self, key: &str) -> bool {
        self.length(key) == Some(0)
    }

    /// How many elements the list under `key` has in the file, right or wrong.
    pub(super) fn length(&self, key: &str) -> Option<usize> {
        Some(self.table.get(key)?.get_ref().as_array()?.len())
    }

    /// The table under `key`.
    pub(super) fn table(&self, key: &'static str) -> Option<Section<'a>> {
        let value = self.value(key)?;
        match value.get_ref().as_table() {
            Some(table) => Some(self.below(table, value.span(), key.to_owned())),
            None => {
                let found = value::describe(value.get_ref());
                self.report(value.span(), key, format!("found {found}, expected a table: [{key}]"));
                None
            }
        }
    }

    /// The tables of the array of tables under `key`, each titled by its name.
    pub(super) fn tables(&self, key: &'static str) -> Vec<Section<'a>> {
        let Some(value) = self.value(key) else { return Vec::new() };
        let tables = value.get_ref().as_array().filter(|array| array.iter().all(|item| item.get_ref().is_table()));
        let Some(array) = tables else {
            let found = value::describe(value.get_ref());
            self.report(value.span(), key, format!("found {found}, expected tables, each headed [[{key}]]"));
            return Vec::new();
        };
        let section = |(index, item): (usize, &'a Spanned<DeValue<'a>>)| {
            let table = item.get_ref().as_table()?;
            let name = table.get("name").and_then(|name| name.get_ref().as_str());
            let title =
                name.map_or_else(|| format!("{key} {}", index + 1), |name| format!("{key} {}", value::quoted(name)));
            Some(self.below(table, item.span(), title))
        };
        array.iter().enumerate().filter_map(section).collect()
    }

    /// Reports every key that was not asked for. To be called last.
    pub(super) fn finish(&self) {
        let asked = self.asked.borrow();
        for key in self.table.keys() {
            let name = key.get_ref().as_ref();
            if !asked.contains(&name) {
                self.report(key.span(), "", format!("unknown key {}; {}", value::quoted(name), suggest(name, &asked)));
            }
        }
    }

    /// Reports a problem with `key`, and what to do about it.
    pub(super) fn report_with_hint(&self, span: Range<usize>, key: &str, message: String, hint: String) {
        self.problems.report(span, self.key(key), message, More { hint: Some(hint), earlier: None });
    }

    /// Reports that `key` clashes with what stands at `earlier`.
    pub(super) fn report_clash(&self, span: Range<usize>, key: &str, message: String, earlier: Range<usize>) {
        self.problems.report(span, self.key(key), message, More { earlier: Some(earlier), hint: None });
    }

    /// Reports a problem with `key`, or with the section itself if that is empty.
    pub(super) fn report(&self, span: Range<usize>, key: &str, message: String) {
        self.problems.report(span, self.key(key), message, More::default());
    }

    /// Says that something about `key` is probably not meant.
    pub(super) fn warn(&self, span: Range<usize>, key: &str, message: String) {
        self.problems.warn(span, self.key(key), message);
    }

    fn key(&self, key: &str) -> String {
        match (self.title.as_str(), key) {
            ("", key) => key.to_owned(),
            (title, "") => title.to_owned(),
            (title, key) => format!("{title}: {key}"),
        }
    }

    fn below(&self, table: &'a DeTable<'a>, span: Range<usize>, title: String) -> Self {
        let title = self.key(&title);
        Self { table, span, title, asked: RefCell::default(), problems: self.problems }
    }

    fn value(&self, key: &'static str) -> Option<&'a Spanned<DeValue<'a>>> {
        self.asked.borrow_mut().push(key);
        self.table.get(key)
    }

    fn read<T>(
        &self,
        key: &str,
        value: &Spanned<DeValue<'_>>,
        read: impl FnOnce(&DeValue<'_>) -> Result<T, String>,
    ) -> Option<At<T>> {
        match read(value.get_ref()) {
            Ok(right) => Some(Spanned::new(value.span(), right)),
            Err(message) => {
                self.report(value.span(), key, message);
                None
            }
        }
    }
}

/// `did you mean …?`, or what there is.
pub(super) fn suggest(wrong: &str, known: &[&str]) -> String {
    let nearest = known.iter().map(|name| (strsim::jaro_winkler(wrong, name), name)).max_by(|a, b| a.0.total_cmp(&b.0));
    match nearest {
        None => "there is none".to_owned(),
        Some((score, name)) if score > 0.8 => format!("did you mean \"{name}\"?"),
        Some(_) => {
            let mut all = known.to_vec();
            all.sort_unstable();
            format!("expected one of {}", all.join(", "))
        }
    }
}
