//! Which statements leave nothing in their session: those of functions that are known to. A statement that is not understood
//! counts as harmful, which costs a new connection.

/// Words that stand before a parenthesis and are not functions.
const KEYWORDS: &str = "\
    ALL AND ANY AS BETWEEN BINARY BY CASE CHAR DECIMAL DISTINCT DIV ELSE EXCEPT EXISTS FOR FROM HAVING IN INDEX \
    INTERSECT INTERVAL IS JOIN KEY LIKE LIMIT MATCH MOD NOT ON OR OVER PARTITION REGEXP RLIKE ROW SELECT SET SOME \
    TABLE THEN UNION USING VALUE VALUES VARCHAR WHEN WHERE WITH XOR";

/// Functions of the server that depend on their arguments alone, or on the rows and the time.
const FUNCTIONS: &str = "\
    ABS ACOS ADDDATE ADDTIME ASCII ASIN ATAN ATAN2 AVG BIN BIT_AND BIT_COUNT BIT_LENGTH BIT_OR BIT_XOR CAST CEIL \
    CEILING CHAR CHARACTER_LENGTH CHARSET CHAR_LENGTH COALESCE COLLATION CONCAT CONCAT_WS CONV CONVERT COS COT COUNT \
    CRC32 CUME_DIST CURDATE CURRENT_DATE CURRENT_TIME CURRENT_TIMESTAMP CURRENT_USER CURTIME DATABASE DATE DATEDIFF \
    DATE_ADD DATE_FORMAT DATE_SUB DAY DAYNAME DAYOFMONTH DAYOFWEEK DAYOFYEAR DEGREES DENSE_RANK ELT EXP EXTRACT \
    FIELD FIND_IN_SET FIRST_VALUE FLOOR FORMAT FROM_BASE64 FROM_DAYS FROM_UNIXTIME GREATEST GROUP_CONCAT HEX HOUR IF \
    IFNULL INET6_ATON INET6_NTOA INET_ATON INET_NTOA INSERT INSTR ISNULL JSON_ARRAY JSON_ARRAYAGG JSON_COMPACT \
    JSON_CONTAINS JSON_CONTAINS_PATH JSON_DEPTH JSON_EXISTS JSON_EXTRACT JSON_INSERT JSON_KEYS JSON_LENGTH \
    JSON_MERGE_PATCH JSON_MERGE_PRESERVE JSON_OBJECT JSON_OBJECTAGG JSON_OVERLAPS JSON_QUERY JSON_QUOTE JSON_REMOVE \
    JSON_REPLACE JSON_SEARCH JSON_SET JSON_TYPE JSON_UNQUOTE JSON_VALID JSON_VALUE LAG LAST_DAY LAST_VALUE LCASE \
    LEAD LEAST LEFT LENGTH LN LOCATE LOG LOG10 LOG2 LOWER LPAD LTRIM MAKEDATE MAKETIME MAX MD5 MEDIAN MICROSECOND \
    MID MIN MINUTE MOD MONTH MONTHNAME NOW NTH_VALUE NTILE NULLIF OCT OCTET_LENGTH ORD PERCENT_RANK PI POSITION POW \
    POWER QUARTER QUOTE RADIANS RANK REGEXP_INSTR REGEXP_REPLACE REGEXP_SUBSTR REPEAT REPLACE REVERSE RIGHT ROUND \
    ROW_NUMBER RPAD RTRIM SECOND SEC_TO_TIME SHA SHA1 SHA2 SIGN SIN SPACE SQRT STD STDDEV STDDEV_POP STDDEV_SAMP \
    STRCMP STR_TO_DATE SUBDATE SUBSTR SUBSTRING SUBSTRING_INDEX SUBTIME SUM TAN TIME TIMEDIFF TIMESTAMP TIMESTAMPADD \
    TIMESTAMPDIFF TIME_FORMAT TIME_TO_SEC TO_BASE64 TO_DAYS TO_SECONDS TRIM TRUNCATE UCASE UNHEX UNIX_TIMESTAMP \
    UPPER UTC_DATE UTC_TIME UTC_TIMESTAMP UUID VALUE VALUES VAR_POP VAR_SAMP VARIANCE VERSION WEEK WEEKDAY \
    WEEKOFYEAR YEAR YEARWEEK";

/// Words with a lasting effect of their own.
const HARMFUL: &str = "NEXT PREVIOUS PROCEDURE SQL_CALC_FOUND_ROWS";

/// Whether a statement about rows leaves nothing in its session but a named lock and the last inserted id.
pub(super) fn is_harmless(statement: &str) -> bool {
    let Some(tokens) = tokens(statement) else { return false };
    tokens.iter().enumerate().all(|(index, token)| match token {
        Token::Word { text, .. } => !is_one_of(HARMFUL, text),
        Token::Sign('(') => index == 0 || opens_harmlessly(&tokens[..index], statement),
        Token::Name | Token::Sign(_) => true,
    })
}

/// Whether a statement may define a trigger or a function, which a statement about rows may run.
pub(super) fn defines_code(statement: &str) -> bool {
    let words = statement.split(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_');
    words.into_iter().any(|word| is_one_of("TRIGGER FUNCTION PROCEDURE PACKAGE", word))
}

/// Whether a parenthesis after these tokens does not call a function that could leave something.
fn opens_harmlessly(before: &[Token<'_>], statement: &str) -> bool {
    match before {
        // The columns of an INSERT.
        [.., Token::Word { text: into, .. }, Token::Word { .. } | Token::Name] if into.eq_ignore_ascii_case("INTO") => {
            true
        }
        // A function of some database.
        [.., Token::Sign('.'), Token::Word { .. }] | [.., Token::Name] => false,
        [.., Token::Word { text, end }] => {
            // With a space in between, some names are those of functions in the database.
            is_one_of(KEYWORDS, text) || (is_one_of(FUNCTIONS, text) && statement[*end..].starts_with('('))
        }
        _ => true,
    }
}

fn is_one_of(words: &str, word: &str) -> bool {
    words.split(' ').any(|one| one.eq_ignore_ascii_case(word))
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Token<'a> {
    /// A word, and where it ends.
    Word {
        text: &'a str,
        end: usize,
    },
    /// A text or a name in quotes.
    Name,
    Sign(char),
}

/// The tokens of a statement; `None` when it has variables, or what is not read here: comments that the server may run, and
/// backslashes, whose meaning is a setting.
fn tokens(statement: &str) -> Option<Vec<Token<'_>>> {
    let mut tokens = Vec::new();
    let mut rest = statement;
    while let Some(first) = rest.chars().next() {
        let start = statement.len() - rest.len();
        let length = match first {
            '@' | ';' | '#' | '\\' => return None,
            // Only with a space it begins a comment.
            '-' if rest.starts_with("-- ") => rest.find('\n').unwrap_or(rest.len()),
            _ if rest.starts_with("/*") || rest.starts_with("--") => return None,
            '\'' | '"' | '`' => {
                // A quote in the text is written twice, which reads as two texts side by side.
                let length = 2 + rest[1..].find(first)?;
                if rest[..length].contains('\\') {
                    return None;
                }
                tokens.push(Token::Name);
                length
            }
            _ if is_of_word(first) => {
                let length = rest.find(|letter| !is_of_word(letter)).unwrap_or(rest.len());
                tokens.push(Token::Word { text: &rest[..length], end: start + length });
                length
            }
            _ => {
                if !first.is_whitespace() {
                    tokens.push(Token::Sign(first));
                }
                first.len_utf8()
            }
        };
        rest = &rest[length..];
    }
    Some(tokens)
}

fn is_of_word(letter: char) -> bool {
    letter.is_alphanumeric() || matches!(letter, '_' | '$')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ordinary_statements_keep_their_connection() {
        for statement in [
            "SELECT 1",
            "SELECT seq, repeat('x', 1000) FROM seq_1_to_100000",
            "INSERT INTO t (id, name) VALUES (?, ?), (?, ?) ON DUPLICATE KEY UPDATE name = VALUES(name)",
            "INSERT INTO `t` (id) SELECT (1 + 2) FROM t WHERE id IN (1, 2) AND NOT (id = 3)",
            "SELECT trace_id FROM trace WHERE (start_time < ? OR trace_id > ?) AND EXISTS (SELECT 1 FROM tag)",
            "SELECT 'it''s @ not; a (variable)', \"x\", `a` FROM t WHERE t.a LIKE 'b%' LIMIT 3",
            "-- Not INSERT IGNORE: it'd cut off.\nINSERT INTO event (trace_id, body)\nVALUES (?, ?)\n\
             ON DUPLICATE KEY UPDATE trace_id = event.trace_id",
            "SELECT body FROM event WHERE locate(?, actor) > 0 AND CAST(end_time AS DECIMAL(20)) - start_time >= ?",
            "SELECT count(*), CAST(sum(a) AS SIGNED) FROM t WHERE table_schema = DATABASE()",
        ] {
            assert!(is_harmless(statement), "{statement}");
        }
    }

    #[test]
    fn what_may_last_or_is_not_understood_costs_the_connection() {
        for statement in [
            "SELECT GET_LOCK('a', 1)",
            "SELECT @a := 1",
            "SELECT 1 INTO @a",
            "SELECT LAST_INSERT_ID(7)",
            "SELECT f(1)",
            "SELECT db.count(1)",
            "SELECT `f`(1)",
            "SELECT count (1)",
            "SELECT count/**/(1)",
            "SELECT 1 /*! INTO @a */",
            "SELECT '\\', @a := 1, '",
            "SELECT '\\'', GET_LOCK('a', 1), '",
            "SELECT 'not closed",
            "SELECT SQL_CALC_FOUND_ROWS * FROM t",
            "SELECT NEXT VALUE FOR s",
            "SELECT 1 -- '\n, GET_LOCK('a', 1) -- '",
            "SELECT 1 --\n, GET_LOCK('a', 1)",
            "SELECT 1 # '\n, GET_LOCK('a', 1) # '",
        ] {
            assert!(!is_harmless(statement), "{statement}");
        }
    }

    #[test]
    fn code_of_the_database_is_noticed() {
        assert!(defines_code("CREATE OR REPLACE TRIGGER a BEFORE INSERT ON t FOR EACH ROW SET @a = 1"));
        assert!(defines_code("create/**/function f() RETURNS INT RETURN 1"));
        assert!(!defines_code("CREATE TABLE t (a INT)"));
    }
}
