//! Statements with a parameter group that is repeated for each row: `VALUES (?, ?), ...`.

/// A statement, split at its repeated group.
#[derive(Debug, PartialEq)]
pub(super) struct Repeated<'a> {
    /// The text before the group.
    pub before: &'a str,
    /// The group with its parentheses.
    pub group: &'a str,
    pub after: &'a str,
}

impl<'a> Repeated<'a> {
    /// `None` when the statement has no such group.
    pub(super) fn find(statement: &'a str) -> Option<Self> {
        let dots = statement.find("...")?;
        let group_end = statement[..dots].trim_end().strip_suffix(',')?.trim_end().len();
        if !statement[..group_end].ends_with(')') {
            return None;
        }
        let mut depth = 0;
        let group_start = statement[..group_end].bytes().rposition(|byte| {
            match byte {
                b')' => depth += 1,
                b'(' => depth -= 1,
                _ => {}
            }
            depth == 0
        })?;
        Some(Self {
            before: &statement[..group_start],
            group: &statement[group_start..group_end],
            after: &statement[dots + "...".len()..],
        })
    }

    /// The statement for `count` rows, in a dialect with positional placeholders (`?`).
    pub(super) fn times(&self, count: usize) -> String {
        let Self { before, group, after } = self;
        let mut statement = String::with_capacity(before.len() + after.len() + count * (group.len() + 1));
        statement.push_str(before);
        for number in 0..count {
            if number > 0 {
                statement.push(',');
            }
            statement.push_str(group);
        }
        statement.push_str(after);
        statement
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_before_three_dots_is_repeated() {
        let statement = "INSERT INTO t (a, b) VALUES (?, lower(?)), ... ON CONFLICT DO NOTHING";
        let repeated = Repeated::find(statement).unwrap();
        assert_eq!(repeated.group, "(?, lower(?))");
        assert_eq!(repeated.times(1), "INSERT INTO t (a, b) VALUES (?, lower(?)) ON CONFLICT DO NOTHING");
        assert_eq!(repeated.times(2), "INSERT INTO t (a, b) VALUES (?, lower(?)),(?, lower(?)) ON CONFLICT DO NOTHING");
    }

    #[test]
    fn a_statement_without_a_repeated_group_is_not_changed() {
        for statement in ["SELECT 1", "INSERT INTO t VALUES (?)", "SELECT '...'", "SELECT a, ...", "), ...", "..."] {
            assert_eq!(Repeated::find(statement), None, "{statement}");
        }
    }
}
