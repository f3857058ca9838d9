/// Whether `statement` is a single statement that reads or writes rows. Others may change settings, or leave a lock or a
/// transaction open.
pub(in super::super) fn is_row_statement(statement: &str) -> bool {
    const PLAIN: [&str; 8] = ["SELECT", "INSERT", "UPDATE", "DELETE", "REPLACE", "WITH", "VALUES", "TABLE"];
    let first = statement.lines().map(str::trim_start).find(|line| !line.is_empty() && !line.starts_with("--"));
    let word = first.unwrap_or_default().split(|letter: char| !letter.is_ascii_alphabetic()).next().unwrap_or_default();
    PLAIN.iter().any(|plain| plain.eq_ignore_ascii_case(word)) && !statement.contains(';')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_single_statements_about_rows_count() {
        for plain in ["SELECT 1", "insert INTO t VALUES (1)", "-- why\n  delete from t"] {
            assert!(is_row_statement(plain), "{plain}");
        }
        for other in [
            "BEGIN",
            "SET x = 1",
            "SELECT 1; BEGIN",
            "LOCK TABLES t WRITE",
            "CREATE TEMP TABLE t (a INT)",
            "(SELECT",
            "",
        ] {
            assert!(!is_row_statement(other), "{other}");
        }
    }
}
