//! What was meant by a name that does not exist.

/// How alike two names must be, from 0 to 1: a typo or two.
const LIKENESS: f64 = 0.6;

/// The name that is most like `name`, if one is a typo away.
pub(super) fn closest<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let likeness = |known: &str| strsim::normalized_damerau_levenshtein(&name.to_lowercase(), &known.to_lowercase());
    let known = known.into_iter().map(|known| (likeness(known), known));
    let (likeness, closest) = known.max_by(|(a, _), (b, _)| a.total_cmp(b))?;
    (likeness >= LIKENESS).then_some(closest)
}

/// The same as a question; nothing if there is none.
pub(super) fn question<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> String {
    closest(name, known).map_or_else(String::new, |closest| format!("; did you mean `{closest}`?"))
}

/// The question for serde's error about an unknown field or variant, which names the known ones.
pub(crate) fn for_error(message: &str) -> String {
    let mut quoted = message.split('`').skip(1).step_by(2);
    match quoted.next() {
        Some(name) if message.starts_with("unknown ") => question(name, quoted),
        _ => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_typo_is_recognized_and_another_name_is_not() {
        assert_eq!(closest("prot", ["host", "port"]), Some("port"));
        assert_eq!(closest("NROMAL", ["off", "normal"]), Some("normal"));
        assert_eq!(closest("max_conections", ["max_connections", "min_connections"]), Some("max_connections"));
        assert_eq!(closest("colour", ["host", "port"]), None);
        assert_eq!(closest("x", []), None);
    }

    #[test]
    fn the_names_are_taken_from_the_error() {
        let error = "unknown field `prot`, expected one of `host`, `port`";
        assert_eq!(for_error(error), "; did you mean `port`?");
        assert_eq!(for_error("unknown variant `deily`, expected `hourly` or `daily`"), "; did you mean `daily`?");
        assert_eq!(for_error("invalid type: string `prot`, expected `port`"), "");
    }
}
