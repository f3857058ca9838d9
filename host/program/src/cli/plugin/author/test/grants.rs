//! Grants on the command line.

use anyhow::Context;
use serde_json::{Map, Value};
use tempfile::TempDir;
use uuid::Uuid;

use reflow_tracing::plugin::Grants;

/// Replaced with a new temporary folder in every case.
const DIR: &str = "{dir}";
/// Replaced with a unique text in every case.
const RANDOM: &str = "{random}";

/// `CAPABILITY.LABEL=VALUE`, or `http=ORIGIN`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Grant {
    capability: String,
    label: Option<String>,
    value: String,
}

/// Parses one grant.
pub(super) fn parse(text: &str) -> Result<Grant, String> {
    let form = "expected CAPABILITY.LABEL=VALUE, for example sql.default=sqlite:{dir}/traces.db, or http=ORIGIN";
    let (target, value) = text.split_once('=').ok_or(form)?;
    let (capability, label) = match target.split_once('.') {
        Some((capability, label)) if !label.is_empty() => (capability, Some(label.to_owned())),
        None if target == "http" => (target, None),
        _ => return Err(form.into()),
    };
    let grant = Grant { capability: capability.into(), label, value: value.into() };
    // Refuses an unknown capability once, not in every case.
    to_grants(std::slice::from_ref(&grant), |value| value.to_owned()).map_err(|error| format!("{error:#}"))?;
    Ok(grant)
}

impl Grant {
    /// Whether it is a grant of this capability.
    pub(super) fn is_of(&self, capability: &str) -> bool {
        self.capability == capability
    }

    /// A new file in every case for a capability that stores in one.
    pub(super) fn of_file(capability: &str) -> Option<Self> {
        match capability {
            "sql" => Some(Self::default_of(capability, format!("sqlite:{DIR}/default.db"))),
            "keyvalue" => Some(Self::default_of(capability, format!("file:{DIR}/default.kv"))),
            _ => None,
        }
    }

    /// The Redis server with this URL, where every case has keys of its own.
    pub(super) fn of_redis(url: &str) -> Self {
        Self::default_of("redis", format!("{{ url = {url:?}, prefix = \"{RANDOM}:\" }}"))
    }

    fn default_of(capability: &str, value: String) -> Self {
        Self { capability: capability.into(), label: Some("default".into()), value }
    }
}

/// Whether each case has its own store with these grants.
pub(super) fn are_fresh(grants: &[Grant]) -> bool {
    let keeps = |grant: &&Grant| ["sql", "redis", "keyvalue"].contains(&grant.capability.as_str());
    grants
        .iter()
        .filter(keeps)
        .all(|grant| grant.value.contains(DIR) || grant.value.contains(RANDOM) || grant.value == "memory:")
}

/// The grants of one case, and their temporary folder.
pub(super) fn of_case(grants: &[Grant]) -> anyhow::Result<(Grants, TempDir)> {
    let folder = tempfile::tempdir().context("can't create a temporary folder")?;
    let dir = folder.path().to_str().context("the path of the temporary folder is not UTF-8")?.to_owned();
    let random = Uuid::new_v4().simple().to_string();
    let grants = to_grants(grants, |value| value.replace(DIR, &dir).replace(RANDOM, &random))?;
    Ok((grants, folder))
}

/// Parses the grants like those in the configuration.
fn to_grants(grants: &[Grant], fill: impl Fn(&str) -> String) -> anyhow::Result<Grants> {
    let mut all = Map::new();
    for Grant { capability, label, value } in grants {
        let value = read(&fill(value));
        match label {
            Some(label) => {
                let labels = all.entry(capability).or_insert_with(|| Value::Object(Map::new()));
                let labels = labels
                    .as_object_mut()
                    .with_context(|| format!("a grant of `{capability}` needs a label: {capability}.LABEL=VALUE"))?;
                labels.insert(label.clone(), value);
            }
            None => {
                let origins = all.entry(capability).or_insert_with(|| Value::Array(Vec::new()));
                origins
                    .as_array_mut()
                    .with_context(|| format!("a grant of `{capability}` has no label: {capability}=VALUE"))?
                    .push(value);
            }
        }
    }
    serde_json::from_value(Value::Object(all)).context("invalid grant")
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
        assert!(are_fresh(&grants));
        let (read, folder) = of_case(&grants).unwrap();
        assert_eq!(read.sql["default"], format!("sqlite:{}/a.db", folder.path().display()));
        assert_eq!(read.redis["default"].url, "redis://127.0.0.1");
        assert_eq!(read.redis["default"].prefix.len(), 33);
        assert_eq!(read.http, [HttpGrant::from("https://api.example.com")]);
    }

    #[test]
    fn what_stores_in_a_file_or_in_redis_is_new_in_every_case() {
        let files = ["http", "keyvalue", "redis", "sql"].into_iter().filter_map(Grant::of_file);
        let grants: Vec<_> = files.chain([Grant::of_redis("redis+unix:///tmp/redis.sock")]).collect();
        assert!(are_fresh(&grants));
        let (read, folder) = of_case(&grants).unwrap();
        assert_eq!(read.sql["default"], format!("sqlite:{}/default.db", folder.path().display()));
        assert_eq!((read.keyvalue.len(), read.http.len()), (1, 0));
        assert_eq!(read.redis["default"].url, "redis+unix:///tmp/redis.sock");
        assert_ne!(read.redis["default"].prefix, of_case(&grants).unwrap().0.redis["default"].prefix);
    }

    #[test]
    fn a_store_without_a_placeholder_is_not_fresh() {
        assert!(!are_fresh(&[parse("sql.default=postgres://localhost/test").unwrap()]));
        assert!(are_fresh(&[parse("secrets.token=env:TOKEN").unwrap()]));
    }

    #[test]
    fn an_invalid_grant_is_refused() {
        assert!(parse("sql=sqlite:a.db").is_err());
        assert!(parse("sql.default").is_err());
        let message = parse("files.default=/etc").unwrap_err();
        assert!(message.contains("files") && message.contains("keyvalue"), "{message}");
    }
}
