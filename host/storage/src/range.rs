//! The ranges of the numbers in a configuration. A number beyond them was not meant, and some would stop the process.

use std::ops::RangeInclusive;

/// A day, in milliseconds.
pub const DAY_MS: u64 = 86_400_000;
/// A year, in milliseconds.
pub const YEAR_MS: u64 = 365 * DAY_MS;
/// A century, in days.
pub const CENTURY_DAYS: u64 = 36_500;
/// A tebibyte, in MiB.
pub const TEBIBYTE_MB: u64 = 1 << 20;

/// A setting that is a number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Number {
    /// The name of the setting.
    pub name: &'static str,
    /// The value.
    pub value: u64,
    /// The values that it may have.
    pub range: RangeInclusive<u64>,
}

impl Number {
    /// The setting `name` with this value.
    pub fn new(name: &'static str, value: impl TryInto<u64>, range: RangeInclusive<u64>) -> Self {
        Self { name, value: value.try_into().unwrap_or(u64::MAX), range }
    }

    /// What is wrong with the value.
    pub fn problem(&self) -> Option<String> {
        let Self { name, value, range } = self;
        let (least, most) = (range.start(), range.end());
        (!range.contains(value)).then(|| format!("`{name}` is {value}; it must be {least} to {most}"))
    }
}

/// The first problem of these settings.
pub fn problem(numbers: &[Number]) -> Option<String> {
    numbers.iter().find_map(Number::problem)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_out_of_its_range_is_named_with_the_range() {
        let number = |value: u64| Number::new("max_connections", value, 1..=10);
        assert_eq!(number(0).problem().unwrap(), "`max_connections` is 0; it must be 1 to 10");
        assert!(number(11).problem().is_some());
        assert!(problem(&[number(1), number(10)]).is_none());
    }
}
