//! Grants on the command line.

use anyhow::Context;
use serde_json::{Map, Value};
use tempfile::TempDir;
use uuid::Uuid;

use reflow_tracing::plugin::Grants;

/// Placeholder for a temporary folder, a new one for each case.
const DIR: &str = "{dir}";
/// Placeholder for a random text, a new one for each case.
const RANDOM: &str = "{random}";

/// `CAPABILITY.LABEL=VALUE`, or `http=ORIGIN`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Grant {
    capability: String,
    label: Option<String>,
    value: String,
}

/// Parses a grant.
pub(super) fn parse(text: &str) -> Result<Grant, String> {
    let form = "write CAPABILITY.LABEL=VALUE, for example sql.default=sqlite:{dir}/traces.db, or http=ORIGIN";
    let (target, value) = text.split_once('=').ok_or(form)?;
    let (capability, label) = match target.split_once('.') {
        Some((capability, label)) if !label.is_empty() => (capability, Some(label.to_owned())),
        None if target == "http" => (target, None),
        _ => return Err(form.into()),
    };
    let grant = Grant { capability: capability.into(), label, value: value.into() };
    // Refuses unknown capabilities here rather than in every case.
    to_grants(std::slice::from_ref(&grant), |value| value.to_owned()).map_err(|error| format!("{error:#}"))?;
    Ok(grant)
}

/// The default grant of a plugin that needs SQL.
pub(super) fn temporary_sqlite() -> Grant {
    Grant { capability: "sql".into(), label: Some("default".into()), value: format!("sqlite:{DIR}/default.db") }
}

/// Whether these grants give each case its own store.
pub(super) fn are_isolated(grants: &[Grant]) -> bool {
    let keeps = |grant: &&Grant| ["sql", "redis", "keyvalue"].contains(&grant.capability.as_str());
    grants
        .iter()
        .filter(keeps)
        .all(|grant| grant.value.contains(DIR) || grant.value.contains(RANDOM) || grant.value == "memory:")
}

/// The grants of one case, with their temporary folder.
pub(super) fn of_case(grants: &[Grant]) -> anyhow::Result<(Grants, TempDir)> {
    let folder = tempfile::tempdir().context("can't create a temporary folder")?;
    let dir = folder.path().to_str().context("the path of the temporary folder is not UTF-8")?.to_owned();
    let random = Uuid::new_v4().simple().to_string();
    let grants = to_grants(grants, |value| value.replace(DIR, &dir).replace(RANDOM, &random))?;
    Ok((grants, folder))
}

/// Deserializes the grants as in the configuration.
fn to_grants(grants: &[Grant], fill: impl Fn(&str) -> String) -> anyhow::Result<Grants> {
    let mut all = Map::new();
    for Grant { capability, label, value } in grants {
        let value = read(&fill(value));
        match label {
            Some(label) => {
                let labels = all.entry(capability).or_insert_with(|| Value::Object(Map::new()));
                let labels = labels
                    .as_object_mut()
                    .with_context(|| format!("`{capability}` needs a label: write {capability}.LABEL=VALUE"))?;
                labels.insert(label.clone(), value);
            }
            None => {
                let origins = all.entry(capability).or_insert_with(|| Value::Array(Vec::new()));
                origins
                    .as_array_mut()
                    .with_context(|| format!("`{capability}` takes no label: write {capability}=VALUE"))?
                    .push(value);
            }
        }
    }
    serde_json::from_value(Value::Object(all)).context("the grant is not valid")
}

/// Parses a table such as `{ url = "redis://127.0.0.1", prefix = "{random}:" }`, or a text.
fn read(value: &str) -> Value {
    let table = format!("value = {value}");
    match toml::from_str::<Map<String, Value>>(&table) {
        Ok(mut table) if value.starts_with('{') => table.remove("value").unwrap_or_default(),
        _ => Value::String(value.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use reflow_tracing::plugin::HttpGrant;

    #[test]
    fn grants_are_read_as_in_the_configuration() {
        let texts = [
            "sql.default=sqlite:{dir}/a.db",
            "redis.default={ url = \"redis://127.0.0.1\", prefix = \"{random}:\" }",
            "http=https://api.example.com",
        ];
        let grants: Vec<_> = texts.iter().map(|text| parse(text).unwrap()).collect();
        assert!(are_isolated(&grants));
        let (read, folder) = of_case(&grants).unwrap();
        assert_eq!(read.sql["default"], format!("sqlite:{}/a.db", folder.path().display()));
        assert_eq!(read.redis["default"].url, "redis://127.0.0.1");
        assert_eq!(read.redis["default"].prefix.len(), 33);
        assert_eq!(read.http, [HttpGrant::from("https://api.example.com")]);
    }

    #[test]
    fn a_store_without_a_placeholder_is_shared() {
        assert!(!are_isolated(&[parse("sql.default=postgres://localhost/test").unwrap()]));
        assert!(are_isolated(&[parse("secrets.token=env:TOKEN").unwrap()]));
    }

    #[test]
    fn an_invalid_grant_is_refused() {
        assert!(parse("sql=sqlite:a.db").is_err());
        assert!(parse("sql.default").is_err());
        let message = parse("files.default=/etc").unwrap_err();
        assert!(message.contains("files") && message.contains("keyvalue"), "{message}");
    }
}
